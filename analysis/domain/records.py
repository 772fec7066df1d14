"""What is recorded of one participant, on study days: what every endpoint method decides on.

Study days count as the schedule counts them: ``first_day`` (0 or 1) is the day of the anchor, the day before it is -1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from analysis.domain.consecutive_threshold import CompetingEvent, Measurement
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import study_day


@dataclass(frozen=True, slots=True)
class LabValue:
    """One result in the canonical unit; the qualifier "nd" with the value 0 stands for "not detected"."""

    day: int
    value: Decimal
    qualifier: str = ""
    assay: str = ""
    specimen: str = ""
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """One clinical event. A partial date spans the days it may be of."""

    kind: str
    occurred: PartialDate
    earliest_day: int
    latest_day: int
    grade: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    row: int | None = None

    def as_competing(self) -> CompetingEvent:
        return CompetingEvent(self.kind, self.earliest_day, self.latest_day, self.row)


@dataclass(frozen=True, slots=True)
class Entered:
    """One form as it was filled in: item id and the value as text; what was not answered is not in it."""

    form: str
    visit: str
    repeat: int
    answers: Mapping[str, str]
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """Everything that the endpoints of one participant rest on.

    ``as_of`` is the last day that counts: nothing after it is in here. ``anchor_day`` is None while it is not known;
    then there are no study days, and no values either.
    """

    participant: int
    as_of: date
    anchor_day: date | None
    first_day: int
    is_external: bool = False
    removed: bool | None = False
    results: Mapping[str, tuple[LabValue, ...]] = field(default_factory=dict)
    events: tuple[Happened, ...] = ()
    entries: Mapping[str, tuple[Entered, ...]] = field(default_factory=dict)

    @property
    def as_of_day(self) -> int | None:
        return None if self.anchor_day is None else self.day_of(self.as_of)

    def day_of(self, day: date) -> int:
        """The study day of a calendar date."""
        assert self.anchor_day is not None, "there are no study days before the anchor is known"
        return study_day(day, self.anchor_day, self.first_day)

    def of_kind(self, *kinds: str) -> list[Happened]:
        """The events of these kinds, in the order of their dates."""
        return [event for event in self.events if event.kind in kinds]

    def competing(self, kinds: tuple[str, ...]) -> list[CompetingEvent]:
        """The events of ``kinds`` as competing events; a death may be named by its cause."""
        found = []
        for event in self.events:
            for name in names_of(event):
                if name in kinds:
                    found.append(CompetingEvent(name, event.earliest_day, event.latest_day, event.row))
                    break
        return found

    @property
    def last_contact_day(self) -> int | None:
        return max((event.latest_day for event in self.of_kind("last_contact")), default=None)

    def measurements(self, address: str) -> list[Measurement]:
        """The results of one analyte that have a number."""
        return [
            Measurement(value.day, value.value, value.qualifier, value.row)
            for value in self.results.get(address, ())
            if value.qualifier != "nd"
        ]

    def as_plain(self) -> dict[str, object]:
        """What is hashed: everything but the day on which the question is asked."""
        return {
            "anchor": self.anchor_day,
            "removed": self.removed,
            "results": {
                address: [[v.row, v.day, v.value, v.qualifier, v.assay, v.specimen] for v in values]
                for address, values in sorted(self.results.items())
            },
            "events": [[e.row, e.kind, e.occurred.iso(), e.grade, dict(e.detail)] for e in self.events],
            "entries": {
                form: [[e.row, e.visit, e.repeat, dict(e.answers)] for e in entries]
                for form, entries in sorted(self.entries.items())
            },
        }


def names_of(event: Happened) -> tuple[str, ...]:
    """What an event may be called in a definition: a death also by whether relapse was its cause."""
    if event.kind != "death":
        return (event.kind,)
    related = {"Y": "death_relapse_related", "N": "death_not_relapse_related"}.get(
        event.detail.get("relapse_related", "")
    )
    return ("death", related) if related else ("death",)
