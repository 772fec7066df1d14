"""Signatures: given with what was signed, and on record where they were asked for and not given."""

from __future__ import annotations

from django.db import transaction

from accounts.signing import Proof
from audit import context
from trials.models import FailedSignature, Membership, Participant, Signature
from trials.permissions import check_is_proved


@transaction.atomic
def sign(
    *, by: Membership, proof: Proof, meaning: str, subject: str, sha256: str, participant: Participant | None = None
) -> Signature:
    """Sign what has the hash ``sha256``, in the transaction that writes it. ``meaning`` is what the signature says."""
    check_is_proved(by, proof)
    with context.context(by=by, reason=meaning):
        return Signature.objects.create(
            trial_id=by.trial_id,
            participant=participant,
            by=by,
            signed_name=by.user.printed_name,
            meaning=meaning,
            subject=subject,
            sha256=sha256,
            components=proof.words,
        )


@transaction.atomic
def record_failed_signature(*, by: Membership, meaning: str, why: str) -> FailedSignature:
    """Put on record that ``by`` asked to sign and did not show who they are (21 CFR 11.300(d))."""
    with context.context(by=by, reason=f"{meaning}: not signed, {why}"):
        return FailedSignature.objects.create(trial_id=by.trial_id, by=by, meaning=meaning, why=why)
