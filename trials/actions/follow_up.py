"""How a participant's time in the trial ends, and that it did not."""

from __future__ import annotations

from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit import context
from trials.announcements import follow_up_changed
from trials.domain.lifecycle import ParticipantEvent
from trials.models import Membership, Participant
from trials.permissions import check_can_end_follow_up, check_can_withdraw, next_state


@transaction.atomic
def complete_participant(*, participant: Participant, by: Membership, reason: str = "") -> Participant:
    """Record that the participant's follow-up is complete as the protocol planned it."""
    check_can_end_follow_up(by, participant)
    return _change(participant, ParticipantEvent.COMPLETE, by, reason)


@transaction.atomic
def withdraw_participant(*, participant: Participant, on: date, reason: str, by: Membership) -> Participant:
    """Record that the participant leaves the trial, when and why; what was recorded until then stays."""
    check_can_withdraw(by, participant)
    _check_past(on)
    return _change(participant, ParticipantEvent.WITHDRAW, by, f"{_given(reason)} (withdrawn on {on:%d-%b-%Y})")


@transaction.atomic
def lose_participant(*, participant: Participant, reason: str, by: Membership) -> Participant:
    """Record that the participant is lost to follow-up."""
    check_can_end_follow_up(by, participant)
    return _change(participant, ParticipantEvent.LOSE, by, _given(reason))


@transaction.atomic
def record_death(
    *,
    participant: Participant,
    on: date,
    by: Membership | None,
    reason: str = "",
    source: context.Source = context.Source.USER,
) -> Participant:
    """Take the participant out of follow-up because of death; its date and cause are a clinical event of the casebook.

    An import or a computation may do so without a membership.
    """
    if by is not None or source == context.Source.USER:
        check_can_end_follow_up(by, participant)
    _check_past(on)
    return _change(participant, ParticipantEvent.DIE, by, reason or f"Died on {on:%d-%b-%Y}.", source)


@transaction.atomic
def resume_follow_up(*, participant: Participant, reason: str, by: Membership) -> Participant:
    """Correct an end of follow-up that was recorded in error."""
    check_can_end_follow_up(by, participant)
    return _change(participant, ParticipantEvent.RESUME, by, _given(reason))


def _change(
    participant: Participant,
    event: ParticipantEvent,
    by: Membership | None,
    reason: str,
    source: context.Source = context.Source.USER,
) -> Participant:
    locked = (
        Participant.objects.select_for_update(of=("self",)).select_related("protocol_version").get(pk=participant.pk)
    )
    state = next_state(locked, event)
    with context.context(by=by, reason=reason, source=source):
        participant.status = locked.status = state
        locked.save(update_fields=["status"])
        follow_up_changed.send(sender=Participant, participant=locked)
    return locked


def _given(reason: str) -> str:
    if not reason.strip():
        raise ValidationError({"reason": "Give the reason; it stands in the audit trail."})
    return reason.strip()


def _check_past(on: date) -> None:
    if on > timezone.localdate():
        raise ValidationError({"on": "This day is still to come; record it when it has happened."})
