"""May this membership do this to this gate? Each function returns, or raises with a sentence."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied

from accounts.roles import Permission
from analysis.domain.gates import GateEvent, GateState, after
from analysis.models import Gate
from trials.models import Membership


class CannotDecide(Exception):
    """The gate's state does not allow it; the message says why and what to do."""


def check_can_sign_safety_review(by: Membership, gate: Gate) -> None:
    _check_member(by, gate, Permission.SIGN_SAFETY_REVIEW, "sign a safety review")
    if gate.state == GateState.DECIDED:
        raise CannotDecide(f"Stage {gate.stage} is decided; its safety review is closed.")


def check_can_renew_proposal(by: Membership, gate: Gate) -> None:
    _check_member(by, gate, Permission.DECIDE_GATE, "ask for a new snapshot")
    _check_state(gate, GateEvent.RENEW)


def check_can_decide(by: Membership, gate: Gate) -> None:
    _check_member(by, gate, Permission.DECIDE_GATE, "decide a stage gate")
    _check_state(gate, GateEvent.DECIDE)
    if gate.protocol_version.protocol.design.safety_review_required and gate.safety_reviewed_at is None:
        raise CannotDecide(
            f"Stage {gate.stage} cannot be decided yet: the protocol asks for a signed safety review first."
        )


def _check_member(by: Membership, gate: Gate, permission: Permission, deed: str) -> None:
    if by.trial_id != gate.trial_id or not by.may(permission):
        raise PermissionDenied(f"As {by.get_role_display().lower()} you cannot {deed} in {gate.trial}.")


def _check_state(gate: Gate, event: GateEvent) -> None:
    try:
        after(GateState(gate.state), event)
    except ValueError as exc:
        raise CannotDecide(f"Stage {gate.stage}: {exc}") from None
