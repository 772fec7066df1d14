"""May this membership record or change this adverse event? Each function returns, or raises with a sentence."""

from __future__ import annotations

from accounts.roles import Permission
from adverse_events.models import AdverseEvent
from trials.models import Membership, Participant
from trials.permissions import NotPossible, require_for


def check_can_record(by: Membership | None, participant: Participant) -> None:
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
