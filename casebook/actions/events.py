"""Clinical events: death, relapse, graft failure, engraftment, GVHD, last contact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db import transaction

import audit.context
from casebook import selectors
from casebook.actions.entries import Refused, lock_all, locked
from casebook.announcements import observation_recorded
from casebook.domain.answers import Moment, Problem
from casebook.domain.clinical_events import EventKind, KnownEvent, ReadEvent, out_of_order, read_event
from casebook.models import ClinicalEvent
from casebook.permissions import Conflict, check_can_record
from trials.actions import record_death, resume_follow_up
from trials.domain.lifecycle import PARTICIPANT, ParticipantEvent, ParticipantState
from trials.domain.partial_dates import PartialDate
from trials.models import Membership, Participant
from trials.permissions import NotPossible


@dataclass(frozen=True)
class EventRow:
    """One event of a file: texts as they would be typed."""

    participant: Participant
    kind: str
    occurred: str
    grade: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@transaction.atomic
def record_event(
    *,
    participant: Participant,
    kind: str,
    occurred: str,
    by: Membership | None,
    grade: str = "",
    detail: Mapping[str, str] | None = None,
    note: str = "",
) -> ClinicalEvent:
    """Record what happened and when (``occurred`` as typed, in part where only that is known).

    The same event again returns the one that there is. Death takes the participant out of follow-up.
    """
    check_can_record(by, participant, what="record a clinical event")
    locked(participant)
    read = _read(participant, kind, occurred, grade, detail, selectors.moment_for(participant))
    known = _same(participant, kind, read, note)
    if known is not None:
        return known
    _check_order(participant, EventKind(kind), read)
    with audit.context.context(by=by):
        event = ClinicalEvent.objects.create(
            participant=participant,
            kind=kind,
            occurred=read.occurred.iso(),
            grade=read.grade,
            detail=dict(read.detail),
            note=note.strip(),
        )
        if kind == EventKind.DEATH and by is not None and _can(participant, ParticipantEvent.DIE):
            today = selectors.moment_for(participant).today
            record_death(participant=participant, on=min(read.occurred.latest, today), by=by)
        observation_recorded.send(sender=ClinicalEvent, participant_ids=(participant.pk,))
    return event


@transaction.atomic
def correct_event(
    *,
    event: ClinicalEvent,
    occurred: str,
    by: Membership,
    reason: str,
    revision: int,
    grade: str = "",
    detail: Mapping[str, str] | None = None,
    note: str = "",
) -> ClinicalEvent:
    """Correct an event; its kind stays (another kind is another event). What it said before is in the audit trail."""
    check_can_record(by, event.participant, what="correct a clinical event")
    locked(event.participant)
    event = ClinicalEvent.objects.select_related("participant").get(pk=event.pk)
    participant = event.participant
    if event.is_void:
        raise NotPossible("This event is void. Record it anew.")
    read = _read(participant, event.kind, occurred, grade, detail, selectors.moment_for(participant))
    facts = {
        "occurred": read.occurred.iso(),
        "grade": read.grade,
        "detail": dict(read.detail),
        "note": note.strip(),
    }
    if all(getattr(event, name) == value for name, value in facts.items()):
        return event
    if revision != event.revision:
        raise Conflict(f"{event.get_kind_display().capitalize()} was changed meanwhile. Open it again and compare.")
    if not reason.strip():
        raise Refused((Problem("reason", "Say why the event changes."),))
    _check_order(participant, EventKind(event.kind), read, without=event.pk)
    with audit.context.context(by=by, reason=reason.strip()):
        for name, value in facts.items():
            setattr(event, name, value)
        event.revision += 1
        event.save(update_fields=[*facts, "revision", "changed_at"])
        observation_recorded.send(sender=ClinicalEvent, participant_ids=(participant.pk,))
    return event


@transaction.atomic
def void_event(*, event: ClinicalEvent, by: Membership, reason: str) -> ClinicalEvent:
    """Take back an event that was recorded in error. The row stays and no longer counts."""
    check_can_record(by, event.participant, what="void a clinical event")
    locked(event.participant)
    event = ClinicalEvent.objects.select_related("participant__site", "participant__protocol_version").get(pk=event.pk)
    if event.is_void:
        return event
    if not reason.strip():
        raise Refused((Problem("reason", "Say why the event is void."),))
    with audit.context.context(by=by, reason=reason.strip()):
        event.is_void = True
        event.revision += 1
        event.save(update_fields=["is_void", "revision", "changed_at"])
        if event.kind == EventKind.DEATH and event.participant.status == ParticipantState.DIED:
            resume_follow_up(participant=event.participant, reason=reason.strip(), by=by)
        observation_recorded.send(sender=ClinicalEvent, participant_ids=(event.participant_id,))
    return event


@transaction.atomic
def import_events(*, rows: Iterable[EventRow], by: Membership | None, reason: str = "Import") -> int:
    """Write many events of a file in one transaction, read as if typed; those that are there already stay.

    Raises Refused naming the participant of the first row that cannot be kept; nothing is written then. Returns how
    many were written. Follow-up states come with the participants of the file and are not derived here.
    """
    rows = list(rows)
    lock_all({row.participant.pk for row in rows})
    moments: dict[int, Moment] = {}
    fresh: list[ClinicalEvent] = []
    known: dict[int, list[ClinicalEvent]] = {}
    for row in rows:
        participant = row.participant
        check_can_record(by, participant, what="import clinical events", is_import=True)
        if participant.pk not in moments:
            moments[participant.pk] = selectors.moment_for(participant)
            known[participant.pk] = list(ClinicalEvent.objects.filter(participant=participant, is_void=False))
        try:
            read = _read(participant, row.kind, row.occurred, row.grade, row.detail, moments[participant.pk])
            events = known[participant.pk]
            if any(_is(event, row.kind, read, row.note) for event in events):
                continue
            _refuse_order(EventKind(row.kind), read, events)
        except Refused as refused:
            sentences = "; ".join(problem.sentence for problem in refused.problems)
            raise Refused(
                (Problem(str(participant), f"{participant} {row.kind} {row.occurred}: {sentences}"),)
            ) from None
        event = ClinicalEvent(
            participant=participant,
            kind=row.kind,
            occurred=read.occurred.iso(),
            grade=read.grade,
            detail=dict(read.detail),
            note=row.note.strip(),
        )
        events.append(event)
        fresh.append(event)
    with audit.context.context(by=by, reason=reason, source=audit.context.Source.IMPORT):
        ClinicalEvent.objects.bulk_create(fresh, batch_size=1000)
        if fresh:
            concerned = tuple(sorted({event.participant_id for event in fresh}))
            observation_recorded.send(sender=ClinicalEvent, participant_ids=concerned)
    return len(fresh)


def _read(
    participant: Participant,
    kind: str,
    occurred: str,
    grade: str,
    detail: Mapping[str, str] | None,
    moment: Moment,
) -> ReadEvent:
    try:
        known_kind = EventKind(kind)
    except ValueError:
        kinds = ", ".join(EventKind)
        raise Refused((Problem("kind", f"“{kind}” is no kind of event. Choose one of {kinds}."),)) from None
    reading = read_event(known_kind, occurred, grade=grade, detail=detail, moment=moment)
    if reading.event is None:
        raise Refused(reading.problems)
    return reading.event


def _same(participant: Participant, kind: str, read: ReadEvent, note: str) -> ClinicalEvent | None:
    events = ClinicalEvent.objects.filter(participant=participant, kind=kind, is_void=False)
    return next((event for event in events if _is(event, kind, read, note)), None)


def _is(event: ClinicalEvent, kind: str, read: ReadEvent, note: str) -> bool:
    return (event.kind, event.occurred, event.grade, event.detail, event.note) == (
        kind,
        read.occurred.iso(),
        read.grade,
        dict(read.detail),
        note.strip(),
    )


def _check_order(participant: Participant, kind: EventKind, read: ReadEvent, *, without: int | None = None) -> None:
    events = ClinicalEvent.objects.filter(participant=participant, is_void=False)
    _refuse_order(kind, read, [event for event in events if event.pk != without])


def _refuse_order(kind: EventKind, read: ReadEvent, events: list[ClinicalEvent]) -> None:
    if kind is EventKind.DEATH and any(event.kind == EventKind.DEATH for event in events):
        raise Refused((Problem("kind", "A death is recorded already. Correct that one, or void it with a reason."),))
    known = tuple(KnownEvent(EventKind(event.kind), PartialDate.from_iso(event.occurred)) for event in events)
    if sentence := out_of_order(kind, read.occurred, known):
        raise Refused((Problem("occurred", sentence),))


def _can(participant: Participant, event: ParticipantEvent) -> bool:
    state = Participant.objects.values_list("status", flat=True).get(pk=participant.pk)
    return (ParticipantState(state), event) in PARTICIPANT
