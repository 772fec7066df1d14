"""Saving a form: whole, versioned, and with what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

import audit.context
from casebook import selectors
from casebook.announcements import observation_recorded
from casebook.domain.answers import FormAnswer, FormReading, Problem, day_observed, incomplete_words, read_form
from casebook.domain.entries import EntryEvent, EntryStatus, after
from casebook.domain.places import GIVEN, planned_anchor_item
from casebook.models import FormEntry
from casebook.permissions import Conflict, check_can_record, check_can_save_form
from trials.actions import set_anchor
from trials.domain.definition import Form
from trials.models import Membership, Participant, Visit
from trials.permissions import NotPossible


class Refused(ValidationError):
    """What was typed cannot be kept; ``problems`` names each item, ``message_dict`` has the sentences by item."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        sentences: dict[str, list[str]] = {}
        for problem in problems:
            sentences.setdefault(problem.item, []).append(problem.sentence)
        super().__init__(sentences)


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
    given = [name for name in answers if f"{form.id}.{name}" in GIVEN]
    if given:
        raise Refused(
            tuple(
                Problem(name, f"The {GIVEN[f'{form.id}.{name}']} is kept on the participant's page; change it there.")
                for name in given
            )
        )
    asks_others = any(item.visible_when is not None for item in form.items)
    return read_form(
        participant.protocol,
        form,
        answers,
        stored=stored,
        others=selectors.values_beside(participant, form.id, entry.pk if entry else None) if asks_others else {},
        moment=selectors.moment_for(participant, visit),
        units_chosen=units,
    )


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
