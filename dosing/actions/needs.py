"""Marks of what has to be computed, written in the transaction that made it necessary."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from django.utils import timezone

from dosing import selectors
from dosing.models import DoseNeed
from trials.models import Participant, Trial


def need(participant_ids: Iterable[int], *, due_on: date | None = None) -> list[int]:
    """Mark those of the participants who get a worksheet; returns them. Called inside another transaction."""
    ids = selectors.dosed(participant_ids)
    now = timezone.now()
    DoseNeed.objects.bulk_create(
        [DoseNeed(participant_id=pk, since=now, due_on=due_on or timezone.localdate()) for pk in ids],
        update_conflicts=True,
        unique_fields=["participant"],
        update_fields=["since", "due_on"],
    )
    return ids


def need_trial(trial: Trial) -> list[int]:
    """Mark every enrolled participant of the trial."""
    return need(Participant.objects.filter(trial=trial, is_external=False).enrolled().values_list("pk", flat=True))


def locked_trial(trial: Trial) -> None:
    """Nobody else approves in the trial, and no enrolled person's dose is computed, released or given meanwhile.

    Who is not enrolled is left alone: enrolment locks its places before its participant.
    """
    Trial.objects.select_for_update(no_key=True).get(pk=trial.pk)
    lock_participants(
        Participant.objects.filter(trial=trial, is_external=False).enrolled().values_list("pk", flat=True)
    )


def lock_participants(participant_ids: Iterable[int]) -> None:
    """The lock of a single participant's writers, for many: in the order of their keys, as everywhere."""
    people = Participant.objects.select_for_update(no_key=True).filter(pk__in=list(participant_ids)).order_by("pk")
    list(people.values_list("pk", flat=True))


def done(participant: Participant, *, since: datetime, next_on: date | None) -> None:
    """Take the mark away, or put it off to the day on which the course is judged; a newer mark stays."""
    marks = DoseNeed.objects.filter(participant=participant, since__lte=since)
    if next_on is None:
        marks.delete()
    elif not marks.update(due_on=next_on):
        DoseNeed.objects.get_or_create(participant=participant, defaults={"since": since, "due_on": next_on})
