"""The records of many participants at once: one query for results, one for events, one for forms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import date

from django.utils import timezone

from analysis.datasets.people import removals, today_at, with_anchor
from analysis.domain.endpoint_answers import Reads
from analysis.domain.records import Entered, Happened, LabValue, Records
from casebook import selectors as casebook
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import study_day
from trials.models import Trial


def records_of(
    trial: Trial, reads: Reads, first_day: int, participants: Collection[int], *, as_of: date | None = None
) -> Iterator[Records]:
    """What ``reads`` names, of each of ``participants``, in the order of their ids.

    Nothing dated after ``as_of`` is read; None: until today, which is not the same day at every site. A partial date
    that may lie after it is read: what it decides is the endpoint's to say.
    """
    results: dict[int, list[casebook.LabPoint]] = defaultdict(list)
    if reads.analytes:
        for point in casebook.results_of_trial(
            trial, participants=participants, addresses=reads.analytes, undetected=True
        ):
            results[point.participant_id].append(point)
    events: dict[int, list[casebook.EventPoint]] = defaultdict(list)
    if reads.events:
        for event in casebook.events_of_trial(trial, participants=participants, kinds=reads.events):
            events[event.participant_id].append(event)
    entries: dict[int, list[casebook.EntryRow]] = defaultdict(list)
    if reads.forms:
        for entry in casebook.entries_of_trial(trial, forms=reads.forms, participants=participants):
            entries[entry.participant_id].append(entry)
    removed = removals(trial, participants)
    now = timezone.now()
    people = with_anchor().filter(pk__in=participants).order_by("pk")
    for pk, zone, day_0, is_external in people.values_list("pk", "site__time_zone", "day_0", "is_external"):
        until = as_of or today_at(zone, now)
        if day_0 is None:
            yield Records(pk, until, None, first_day, is_external, removed.get(pk, False))
            continue
        values: dict[str, list[LabValue]] = defaultdict(list)
        for point in results.pop(pk, ()):
            if point.sampled_on <= until:
                values[point.address].append(
                    LabValue(
                        study_day(point.sampled_on, day_0, first_day),
                        point.value,
                        point.qualifier,
                        point.laboratory,
                        point.specimen,
                        point.result_id,
                    )
                )
        forms: dict[str, list[Entered]] = defaultdict(list)
        for entry in entries.pop(pk, ()):
            answers = {name: str(a["value"]) for name, a in entry.answers.items() if a.get("value", "") != ""}
            forms[entry.form].append(Entered(entry.form, entry.visit_code, entry.repeat, answers, entry.entry_id))
        yield Records(
            participant=pk,
            as_of=until,
            anchor_day=day_0,
            first_day=first_day,
            is_external=is_external,
            removed=removed.get(pk, False),
            results={address: tuple(found) for address, found in values.items()},
            events=tuple(_happened(events.pop(pk, ()), day_0, first_day, until)),
            entries={form: tuple(found) for form, found in forms.items()},
        )


def _happened(events: Collection[casebook.EventPoint], day_0: date, first_day: int, until: date) -> Iterator[Happened]:
    for event in events:
        occurred = PartialDate.from_iso(event.occurred)
        if occurred.earliest <= until:
            yield Happened(
                event.kind,
                occurred,
                study_day(occurred.earliest, day_0, first_day),
                study_day(occurred.latest, day_0, first_day),
                event.grade,
                event.detail,
                event.event_id,
            )
