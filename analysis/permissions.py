"""May this membership do this to this gate? Each function returns, or raises with a sentence."""

from __future__ import annotations

from accounts.roles import Permission
from analysis.domain.gates import GateEvent, GateState, after
from analysis.domain.readings import Case
from analysis.models import Gate
from trials.domain.definition import Protocol
from trials.models import Membership, Participant, Trial
from trials.permissions import NotPossible, require, require_for


class CannotDecide(NotPossible):
    """The gate's state does not allow it; the message says why and what to do."""


def check_can_view_results(by: Membership, trial: Trial) -> None:
    """The dashboard, the listings behind its numbers, and the gates."""
    require(
        by,
        Permission.VIEW_DASHBOARD,
        doing="see the results of the trial",
        trial_id=trial.pk,
        site_matters=False,
    )


def check_can_sign_safety_review(by: Membership, gate: Gate) -> None:
    _check_member(by, gate, Permission.SIGN_SAFETY_REVIEW, "sign a safety review")
    if gate.state == GateState.WAITING:
        raise CannotDecide(
            f"Stage {gate.stage} has no snapshot yet. The safety review is signed on the data that the gate rests on."
        )
    if gate.state == GateState.DECIDED:
        raise CannotDecide(f"Stage {gate.stage} is decided; its safety review is closed.")
    if gate.safety_reviewed_at is not None:
        raise CannotDecide(f"The safety review of stage {gate.stage} is signed. A new snapshot asks for a new review.")


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


def check_is_the_snapshot(gate: Gate, seen: str) -> None:
    """What was read is what is decided: ``seen`` is the hash of the snapshot on the page, "" where none was shown."""
    if seen and seen != gate.snapshot_sha256:
        raise CannotDecide(
            f"Stage {gate.stage} has a newer snapshot than the one you read. Read the page again and decide on that."
        )


def check_has_packet(gate: Gate) -> None:
    if not gate.snapshot:
        raise NotPossible("The stage still waits for participants: there is a packet once a snapshot is frozen.")


def _check_member(by: Membership, gate: Gate, permission: Permission, doing: str) -> None:
    require(by, permission, doing=doing, trial_id=gate.trial_id, site_matters=False)


_NOT_NOW = {
    GateState.WAITING: "it still waits for participants, so there is nothing to decide.",
    GateState.PROPOSED: "it is proposed already.",
    GateState.DECIDED: "it is decided, and a decided gate stays as it is. Late data are shown beside it.",
}


def _check_state(gate: Gate, event: GateEvent) -> None:
    state = GateState(gate.state)
    try:
        after(state, event)
    except ValueError:
        raise CannotDecide(f"Stage {gate.stage}: {_NOT_NOW[state]}") from None


# --- The statistical plan -----------------------------------------------------------------------------------------


def check_can_run_analyses(by: Membership, trial: Trial) -> None:
    """Computing the plan. Its numbers are of all sites, so that a membership of one site neither makes nor reads it."""
    require(by, Permission.RUN_ANALYSIS, doing="run the analyses", trial_id=trial.pk, site_matters=False)
    if by.site_id is not None:
        raise NotPossible("The analyses are of all sites; a membership of all sites runs them.")


# --- Independent readers ------------------------------------------------------------------------------------------


class CannotRead(NotPossible):
    """The case does not want this person's reading; the message says why."""


def check_can_see_cases(by: Membership, trial: Trial) -> None:
    """The queue of the independent readers."""
    require(by, Permission.ADJUDICATE_ENDPOINT, doing="read endpoints", trial_id=trial.pk, site_matters=False)
    check_has_readers(trial.protocol)


def check_has_readers(protocol: Protocol) -> None:
    if protocol.review.readers < 2:
        raise CannotRead("The definition of this trial names no independent readers.")


def check_can_read(by: Membership, participant: Participant, case: Case) -> None:
    """One vote a person, two independent ones a case, and a third where those differ."""
    require_for(by, Permission.ADJUDICATE_ENDPOINT, participant, doing="read an endpoint")
    check_has_readers(participant.protocol)
    if by.site_id is not None or by.may(Permission.VIEW_DASHBOARD):
        raise CannotRead(
            "An independent reader belongs to no site and does not see computed results; your role does. "
            "The cases are read by members with the role endpoint reader."
        )
    if case.voted(by.user_id):
        raise CannotRead("You have read this case. A reading is signed once and stays.")
    if not case.wants(by.user_id):
        raise CannotRead("This case is closed: two readers agreed, or a third one settled it.")
    if len(case.votes) == 2 and not participant.protocol.review.third_reader_decides:
        raise CannotRead("The two readers differ, and the definition names no third reader who decides.")
