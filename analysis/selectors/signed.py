"""Exactly what a signature of this floor is on, and whether it still is (21 CFR 11.70)."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.domain.fingerprints import fingerprint
from analysis.models import Gate, Reading
from trials.models import Signature

SAFETY_REVIEW = "safety review"
GATE_DECISION = "decision of the stage gate"
READING = "independent reading"
SETTLING = "reading that settles a difference"


def of_safety_review(gate: Gate) -> str:
    """The hash of the review and of the snapshot that was reviewed."""
    return fingerprint(
        {
            "trial": gate.trial_id,
            "stage": gate.stage,
            "snapshot_sha256": gate.snapshot_sha256,
            "safety_review": gate.safety_review,
        }
    )


def of_decision(gate: Gate) -> str:
    """The hash of the decision, its reason, and the snapshot and safety review that it rests on."""
    return fingerprint(
        {
            "trial": gate.trial_id,
            "stage": gate.stage,
            "snapshot_sha256": gate.snapshot_sha256,
            "safety_review": gate.safety_review,
            "decision": gate.decision,
            "decision_reason": gate.decision_reason,
        }
    )


def of_reading(reading: Reading) -> str:
    """The hash of the answer, the comment, and the data that were read."""
    return fingerprint(
        {
            "participant": reading.participant_id,
            "endpoint": reading.endpoint,
            "position": reading.position,
            "answer": reading.answer,
            "comment": reading.comment,
            "evidence_sha256": reading.evidence_sha256,
        }
    )


@dataclass(frozen=True)
class Signed:
    """A signature as pages show it, and whether what it is on is still what was signed."""

    signature: Signature
    holds: bool


def signatures_of(gate: Gate) -> dict[str, Signed | None]:
    """The signatures of a gate's ``review`` and ``decision``; None where there is none."""
    return {
        "review": _signed(gate.safety_signature, of_safety_review(gate)),
        "decision": _signed(gate.decision_signature, of_decision(gate)),
    }


def signature_of(reading: Reading) -> Signed | None:
    return _signed(reading.signature, of_reading(reading))


def _signed(signature: Signature | None, sha256: str) -> Signed | None:
    return None if signature is None else Signed(signature, signature.sha256 == sha256)
