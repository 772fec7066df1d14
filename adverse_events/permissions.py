"""May this membership record or change this adverse event? Each function returns, or raises with a sentence."""

from __future__ import annotations

from accounts.roles import Permission
from adverse_events.models import AdverseEvent
from audit.context import Source
from trials.models import Membership, Participant
from trials.permissions import NotPossible, may, require, require_for


def check_can_view(by: Membership) -> None:
    require(by, Permission.VIEW_PARTICIPANT, doing="see adverse events", trial_id=by.trial_id, site_matters=False)


def check_can_record(by: Membership | None, participant: Participant, source: Source = Source.USER) -> None:
    """The command line (None) records what a file reports, and nothing else."""
    if by is not None or source is not Source.IMPORT:
        require_for(by, Permission.RECORD_ADVERSE_EVENT, participant, doing="record an adverse event")
    if participant.is_external:
        raise NotPossible(f"{participant} is an external control: the trial collects no adverse events of controls.")
    if not hasattr(participant, "enrolment"):
        raise NotPossible(
            f"{participant} is not enrolled. Adverse events are collected from enrolment on; enrol first, or note the "
            "event in the medical history."
        )


def check_can_correct(by: Membership | None, event: AdverseEvent) -> None:
    require_for(by, Permission.RECORD_ADVERSE_EVENT, event.participant, doing="correct an adverse event")
    if event.is_void:
        raise NotPossible(
            f"AE {event.number} of {event.participant} was recorded in error and does not count; enter a new one."
        )


def may_record(by: Membership, participant: Participant) -> bool:
    """Whether a page offers to record an adverse event of this participant."""
    able = not participant.is_external and hasattr(participant, "enrolment")
    return able and may(by, Permission.RECORD_ADVERSE_EVENT, participant)


def may_correct(by: Membership, event: AdverseEvent) -> bool:
    """Whether a page offers to correct this event."""
    return not event.is_void and may(by, Permission.RECORD_ADVERSE_EVENT, event.participant)
