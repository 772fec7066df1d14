"""Saving a form: whole, versioned, and with what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

import audit.context
from casebook import selectors
from casebook.announcements import observation_recorded
from casebook.domain.answers import FormAnswer, FormReading, Moment, Problem, day_observed, incomplete_words, read_form
from casebook.domain.entries import EntryEvent, EntryStatus, after
from casebook.domain.places import GIVEN, planned_anchor_item
from casebook.models import FormEntry
from casebook.permissions import Conflict, check_can_record, check_can_save_form
from trials.actions import import_anchors_of_controls, set_anchor
from trials.domain.definition import Form
from trials.models import Anchor, Membership, Participant, Visit
from trials.permissions import NotPossible


class Refused(ValidationError):
    """What was typed cannot be kept; ``problems`` names each item, ``message_dict`` has the sentences by item."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        sentences: dict[str, list[str]] = {}
        for problem in problems:
            sentences.setdefault(problem.item, []).append(problem.sentence)
        super().__init__(sentences)


@dataclass(frozen=True)
class FormRow:
    """One form of a file: texts as they would be typed; ``visit`` is the visit's code, empty for none."""

    participant: Participant
    form: str
    answers: Mapping[str, str]
    visit: str = ""
    repeat: int = 1

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.participant), self.visit, self.form, str(self.repeat))))


class StaleEntry(Conflict):
    """The entry was saved by somebody else since it was opened; ``stored`` is theirs, ``typed`` is ours."""

    def __init__(self, stored: FormEntry, typed: Mapping[str, FormAnswer]) -> None:
        self.stored, self.typed = stored, typed
        super().__init__(
            f"{stored} was changed at {stored.changed_at:%H:%M} UTC, after you opened it (version {stored.revision} "
            "now). Nothing of yours was written yet: compare the two and choose."
        )


def locked(participant: Participant) -> None:
    """One writer of a participant's casebook at a time; readers and other participants do not wait."""
    Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)


def lock_all(participant_ids: Iterable[int]) -> list[Participant]:
    """The same for many participants, in the order of their keys, so that two writers never wait for each other."""
    rows = Participant.objects.filter(pk__in=list(participant_ids)).order_by("pk")
    return list(rows.select_for_update(no_key=True))


@transaction.atomic
def save_entry(
    *,
    participant: Participant,
    form: str,
    answers: Mapping[str, str],
    by: Membership | None,
    visit: Visit | None = None,
    repeat: int = 1,
    revision: int | None = None,
    complete: bool = False,
    units: Mapping[str, str] | None = None,
    reason: str = "",
    source: audit.context.Source = audit.context.Source.USER,
) -> FormEntry:
    """Save one form as it was typed, all of it or nothing.

    ``answers`` maps item ids to texts; an item left out keeps its answer, an empty text clears it. ``revision`` is the
    version that was opened (None or 0: the entry is new). Saving what is stored already changes nothing, so that a form
    sent twice is saved once. From the first completion on, a change needs ``reason``.

    Raises Refused with every problem, StaleEntry when somebody else saved meanwhile, NotPossible, PermissionDenied.
    """
    spec = _form(participant, form)
    check_can_save_form(by, participant, spec, visit, is_import=source is audit.context.Source.IMPORT)
    if repeat < 1 or (repeat > 1 and not spec.repeating):
        raise NotPossible(f"{spec.label} has one entry; it does not repeat.")
    locked(participant)
    entry = selectors.entry_at(participant, form, visit, repeat)
    stored = {name: FormAnswer.from_stored(one) for name, one in entry.answers.items()} if entry else {}
    reading = _read(participant, spec, answers, stored, entry, visit, units)
    if reading.problems:
        raise Refused(reading.problems)
    answers_now = {name: answer.as_stored() for name, answer in reading.answers.items()}
    status = EntryStatus(entry.status) if entry else EntryStatus.IN_PROGRESS
    event = EntryEvent.COMPLETE if complete else EntryEvent.SAVE
    status_after = after(status, event)
    if entry and entry.answers == answers_now and status is status_after:
        return entry
    if entry and entry.answers != answers_now and (revision or 0) != entry.revision:
        raise StaleEntry(entry, reading.answers)
    if entry is None and revision:
        raise Conflict(f"{spec.label} has no version {revision}: nothing is saved there yet. Open the form again.")
    if not answers_now and entry is None:
        raise Refused((Problem("", "Nothing was filled in. Answer at least one question, or leave the form."),))
    _check_complete(spec, reading, status_after, was_complete=status is EntryStatus.COMPLETE)
    if entry and entry.completed_at and entry.answers != answers_now and not reason.strip():
        raise Refused((Problem("reason", f"{spec.label} was complete: say why an answer changes."),))
    visit_date = visit.done_on if visit else None
    with audit.context.context(by=by, reason=reason.strip(), source=source):
        if entry is None:
            entry = FormEntry(participant=participant, visit=visit, form=form, repeat=repeat)
        else:
            entry.revision += 1
        entry.answers, entry.status = answers_now, status_after
        entry.observed_on = day_observed(spec, reading.answers, visit_date)
        if status_after is EntryStatus.COMPLETE and entry.completed_at is None:
            entry.completed_at = timezone.now()
        entry.save()
        _follow_anchor(participant, spec, reading, by, reason.strip(), source)
        observation_recorded.send(sender=FormEntry, participant_ids=(participant.pk,))
    return entry


@transaction.atomic
def import_entries(
    *, rows: Iterable[FormRow], by: Membership | None, reason: str = "Import", complete: bool = False
) -> int:
    """Write many forms of a file in one transaction, read as if typed; those that say the same already stay.

    With ``complete``, a form on which nothing is left open is complete. Raises Refused naming the form of the first row
    that cannot be kept; nothing is written then. Returns how many were written.
    """
    todo = list(rows)
    # The skip logic of a form leans on what the others say: those forms come last, one by one.
    leaning = [row for row in todo if _asks_others(_form(row.participant, row.form))]
    plain = [row for row in todo if not _asks_others(_form(row.participant, row.form))]
    with audit.context.context(by=by, reason=reason, source=audit.context.Source.IMPORT):
        written = _import_plain(plain, by, reason, complete)
        for row in leaning:
            written += _import_leaning(row, by, reason, complete)
    return written


def _import_plain(rows: Sequence[FormRow], by: Membership | None, reason: str, complete: bool) -> int:
    people = {row.participant.pk: row.participant for row in rows}
    for participant in lock_all(people):
        people[participant.pk].status = participant.status
    visits = {
        (visit.participant_id, visit.code): visit
        for visit in Visit.objects.filter(participant__in=people, code__in={row.visit for row in rows if row.visit})
    }
    known = {
        (entry.participant_id, entry.visit_id, entry.form, entry.repeat): entry
        for entry in FormEntry.objects.filter(participant__in=people, form__in={row.form for row in rows})
    }
    moments: dict[int, Moment] = {}
    days_of_controls: dict[int, date] = {}
    seen: set[tuple[int, int | None, str, int]] = set()
    fresh: list[FormEntry] = []
    changed: list[FormEntry] = []
    for row in rows:
        participant = people[row.participant.pk]
        spec = _form(participant, row.form)
        visit = visits.get((participant.pk, row.visit))
        if row.visit and visit is None:
            raise NotPossible(f"{participant} has no visit {row.visit}.")
        check_can_save_form(by, participant, spec, visit, is_import=True)
        place = (participant.pk, visit.pk if visit else None, row.form, row.repeat)
        if place in seen:
            raise Refused((Problem("", f"{row}: the file has this form twice."),))
        seen.add(place)
        entry = known.get(place)
        if participant.pk not in moments:
            moments[participant.pk] = selectors.moment_for(participant)
        read = _imported(row, spec, entry, moments[participant.pk], visit)
        answers = {name: answer.as_stored() for name, answer in read.answers.items()}
        done = complete and read.can_be_complete
        if entry is None:
            entry = FormEntry(participant=participant, visit=visit, form=row.form, repeat=row.repeat)
            entry.status = EntryStatus.IN_PROGRESS
            fresh.append(entry)
        elif entry.answers == answers and (not done or entry.status == EntryStatus.COMPLETE):
            continue
        else:
            entry.revision += 1
            changed.append(entry)
        entry.status = after(EntryStatus(entry.status), EntryEvent.COMPLETE if done else EntryEvent.SAVE)
        _check_complete(spec, read, entry.status, was_complete=not done)
        entry.answers, entry.changed_at = answers, timezone.now()
        entry.observed_on = day_observed(spec, read.answers, visit.done_on if visit else None)
        if done and entry.completed_at is None:
            entry.completed_at = timezone.now()
        anchor = participant.protocol.anchor.item
        day = read.answers.get(anchor.partition(".")[2]) if anchor.startswith(f"{spec.id}.") else None
        if day is not None and participant.is_external and "T" not in day.value:
            days_of_controls[participant.pk] = date.fromisoformat(day.value)
        elif anchor.startswith(f"{spec.id}."):
            _follow_anchor(participant, spec, read, by, reason, audit.context.Source.IMPORT)
            del moments[participant.pk]
    FormEntry.objects.bulk_create(fresh, batch_size=1000)
    FormEntry.objects.bulk_update(
        changed,
        ["answers", "status", "observed_on", "completed_at", "revision", "changed_at"],
        batch_size=500,
    )
    standing = Anchor.objects.filter(participant__in=days_of_controls).order_by("participant_id", "revision")
    for pk, day_now in dict(standing.values_list("participant_id", "day")).items():
        day_read = days_of_controls.pop(pk)
        if day_now != day_read:
            set_anchor(
                participant=people[pk],
                day=day_read,
                by=by,
                is_actual=True,
                reason=reason,
                source=audit.context.Source.IMPORT,
            )
    import_anchors_of_controls(days=days_of_controls, by=by, reason=reason)
    concerned = sorted({entry.participant_id for entry in (*fresh, *changed)})
    if concerned:
        observation_recorded.send(sender=FormEntry, participant_ids=tuple(concerned))
    return len(fresh) + len(changed)


def _imported(row: FormRow, spec: Form, entry: FormEntry | None, moment: Moment, visit: Visit | None) -> FormReading:
    if row.repeat < 1 or (row.repeat > 1 and not spec.repeating):
        raise NotPossible(f"{row}: {spec.label} has one entry; it does not repeat.")
    _refuse_given(spec, row.answers)
    if visit is not None:
        moment = replace(moment, visit_date=visit.done_on or visit.planned_date)
    read = read_form(
        row.participant.protocol,
        spec,
        row.answers,
        stored={name: FormAnswer.from_stored(one) for name, one in entry.answers.items()} if entry else {},
        others={},
        moment=moment,
    )
    if read.problems:
        raise Refused(tuple(replace(one, sentence=f"{row}: {one.sentence}") for one in read.problems))
    if not read.answers:
        raise Refused((Problem("", f"{row}: nothing is filled in. Leave the row out."),))
    return read


def _import_leaning(row: FormRow, by: Membership | None, reason: str, complete: bool) -> int:
    participant = row.participant
    visit = participant.visits.filter(code=row.visit).first() if row.visit else None
    if row.visit and visit is None:
        raise NotPossible(f"{participant} has no visit {row.visit}.")
    standing = selectors.entry_at(participant, row.form, visit, row.repeat)
    before = (standing.revision, standing.status) if standing else None

    def save(*, complete: bool) -> FormEntry:
        return save_entry(
            participant=participant,
            form=row.form,
            visit=visit,
            repeat=row.repeat,
            answers=row.answers,
            revision=standing.revision if standing else None,
            complete=complete,
            by=by,
            reason=reason,
            source=audit.context.Source.IMPORT,
        )

    if not complete:
        entry = save(complete=False)
    else:
        try:
            entry = save(complete=True)
        except Refused:  # something is left open, or cannot be kept: then this says so
            entry = save(complete=False)
    return int(before != (entry.revision, entry.status))


def on_visit_recorded(*, visit: Visit, **_: object) -> None:
    """Date what was entered before its visit was recorded, in the transaction that records the visit."""
    moved = []
    for entry in FormEntry.objects.filter(visit=visit).select_for_update():
        answers = {name: FormAnswer.from_stored(one) for name, one in entry.answers.items()}
        day = day_observed(visit.participant.protocol.form(entry.form), answers, visit.done_on)
        if day != entry.observed_on:
            entry.observed_on = day
            entry.save(update_fields=["observed_on", "changed_at"])
            moved.append(entry)
    if moved:
        observation_recorded.send(sender=FormEntry, participant_ids=(visit.participant_id,))


@transaction.atomic
def reopen_entry(*, entry: FormEntry, by: Membership, reason: str) -> FormEntry:
    """Take a complete form back to work in progress, for a correction that leaves it incomplete."""
    check_can_record(by, entry.participant, what="reopen a form")
    locked(entry.participant)
    entry = FormEntry.objects.select_related("participant", "visit").get(pk=entry.pk)
    if entry.status == EntryStatus.IN_PROGRESS:
        return entry
    if not reason.strip():
        raise Refused((Problem("reason", "Say why the form is reopened."),))
    with audit.context.context(by=by, reason=reason.strip()):
        entry.status = after(EntryStatus(entry.status), EntryEvent.REOPEN)
        entry.revision += 1
        entry.save(update_fields=["status", "revision", "changed_at"])
    return entry


def _form(participant: Participant, form: str) -> Form:
    try:
        return participant.protocol.form(form)
    except KeyError as error:
        raise NotPossible(f"{str(error.args[0]).capitalize()}.") from None


def _read(
    participant: Participant,
    form: Form,
    answers: Mapping[str, str],
    stored: Mapping[str, FormAnswer],
    entry: FormEntry | None,
    visit: Visit | None,
    units: Mapping[str, str] | None,
) -> FormReading:
    _refuse_given(form, answers)
    return read_form(
        participant.protocol,
        form,
        answers,
        stored=stored,
        others=selectors.values_beside(participant, form.id, entry.pk if entry else None) if _asks_others(form) else {},
        moment=selectors.moment_for(participant, visit),
        units_chosen=units,
    )


def _refuse_given(form: Form, answers: Mapping[str, str]) -> None:
    given = [name for name in answers if f"{form.id}.{name}" in GIVEN]
    if given:
        raise Refused(
            tuple(
                Problem(name, f"The {GIVEN[f'{form.id}.{name}']} is kept on the participant's page; change it there.")
                for name in given
            )
        )


def _asks_others(form: Form) -> bool:
    return any(item.visible_when is not None for item in form.items)


def _check_complete(form: Form, reading: FormReading, status: EntryStatus, *, was_complete: bool) -> None:
    if status is not EntryStatus.COMPLETE or reading.can_be_complete:
        return
    sentence = incomplete_words(form, reading.open_items)
    if was_complete:
        sentence += " The form is complete; reopen it before an answer is taken out."
    raise Refused(tuple(Problem(name, sentence) for name in reading.open_items[:1]))


def _follow_anchor(
    participant: Participant,
    form: Form,
    reading: FormReading,
    by: Membership | None,
    reason: str,
    source: audit.context.Source,
) -> None:
    """Where the form holds the date that days are counted from, the schedule follows it in the same transaction."""
    actual, planned = participant.protocol.anchor.item, planned_anchor_item(participant.protocol)
    if not actual.startswith(f"{form.id}."):
        return
    current = participant.anchors.order_by("-revision").first()
    answer = reading.answers.get(actual.partition(".")[2])
    if answer is not None and answer.value:
        at: datetime | None = None
        if "T" in answer.value:
            at = datetime.fromisoformat(answer.value).replace(tzinfo=ZoneInfo(participant.site.time_zone))
        day = date.fromisoformat(answer.value[:10])
        if current is None or (current.day, current.at, current.is_actual) != (day, at, True):
            set_anchor(participant=participant, day=day, by=by, at=at, is_actual=True, reason=reason, source=source)
        return
    if current is not None and current.is_actual:
        return
    answer = reading.answers.get(planned.partition(".")[2]) if planned else None
    if answer is not None and answer.value:
        day = date.fromisoformat(answer.value)
        if current is None or current.day != day:
            why = reason or (f"Planned date on the form {form.label} changed." if current else "")
            set_anchor(participant=participant, day=day, by=by, reason=why, source=source)
