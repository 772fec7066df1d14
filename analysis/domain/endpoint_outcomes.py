"""What every dated endpoint answers, and how an answer is given when a date or a stage is known in part only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analysis.domain.consecutive_threshold import CompetingEvent, Evaluability, Status

End = Literal["earliest", "latest"]
ENDS: tuple[End, End] = ("earliest", "latest")
DEATH = "death"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One row that an answer rests on: its study day, its id where it has one, and what it says."""

    day: int
    says: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """An endpoint's answer in one participant, with its reasons.

    ``event_day`` is the day on which the endpoint was reached; ``earliest_day`` and ``latest_day`` enclose it where the
    event is certain and its day is not. ``censored_day`` is the last day known to be free of the event. ``verified`` is
    false where the rule was not confirmed against its primary source. ``evaluability`` is given by methods that have a
    rule of their own for who is evaluable.
    """

    status: Status
    sentence: str
    event_day: int | None = None
    competing_kind: str = ""
    competing_day: int | None = None
    censored_day: int | None = None
    evidence: tuple[Evidence, ...] = ()
    flags: tuple[str, ...] = ()
    classification: str = ""
    verified: bool = True
    earliest_day: int | None = None
    latest_day: int | None = None
    evaluability: Evaluability | None = None

    @property
    def decision(self) -> tuple[object, ...]:
        """What two readings of the same rows must share to be one answer."""
        return self.status, self.event_day, self.competing_kind, self.competing_day


def as_verified(outcome: Outcome, verified: bool) -> Outcome:
    """The same answer, with whether its definition was verified against the source."""
    return outcome if outcome.verified == verified else replace(outcome, verified=verified)


def no_anchor(*, verified: bool = True) -> Outcome:
    """The answer while the day that the schedule counts from is not known."""
    return Outcome(Status.PENDING, "The day that the schedule counts from is not known yet.", verified=verified)


def agreed(readings: Sequence[Outcome], *, because: str) -> Outcome:
    """The answer that all ``readings`` share; where they differ, the data are insufficient ``because`` of something.

    The readings are those that a partial date or a missing stage allows: it decides what all of them decide.
    """
    first = readings[0]
    if len(readings) == 1:
        return first
    if len({reading.decision for reading in readings}) == 1:
        censored = [reading.censored_day for reading in readings if reading.censored_day is not None]
        alike = len({reading.classification for reading in readings}) == 1
        return replace(
            first, censored_day=min(censored, default=None), classification=first.classification if alike else ""
        )
    flags = tuple(dict.fromkeys(flag for reading in readings for flag in reading.flags))
    happened = {(reading.status, reading.competing_kind) for reading in readings}
    days = [day for reading in readings for day in (reading.event_day, reading.competing_day) if day is not None]
    if len(happened) == 1 and len(days) == len(readings):
        what = (
            first.competing_kind.replace("_", " ") + " came first"
            if first.competing_kind
            else "the endpoint was reached"
        )
        return Outcome(
            Status.INSUFFICIENT_DATA,
            f"{because} Certain is that {what}, between day {min(days)} and day {max(days)}.",
            flags=flags,
            verified=first.verified,
            earliest_day=min(days),
            latest_day=max(days),
        )
    statuses = " or ".join(dict.fromkeys(reading.status.value.replace("_", " ") for reading in readings))
    return Outcome(
        Status.INSUFFICIENT_DATA,
        f"{because} The answer depends on it: {statuses}.",
        flags=flags,
        verified=first.verified,
    )


def dated(events: Iterable[CompetingEvent], end: End, *, as_of_day: int) -> list[CompetingEvent]:
    """The events up to ``as_of_day`` in order, each on its earliest or its latest possible day; death comes last.

    What happened before the anchor is history; a partial date that reaches back before it starts there.
    """
    after_anchor = [event for event in events if event.latest_day >= 0]
    days = [(e, max(e.earliest_day, 0) if end == "earliest" else e.latest_day) for e in after_anchor]
    exact = [CompetingEvent(event.kind, day, day, event.row) for event, day in days if day <= as_of_day]
    return sorted(exact, key=lambda event: (event.earliest_day, event.kind == DEATH, event.kind))


def ends_of(events: Iterable[CompetingEvent]) -> tuple[End, ...]:
    """The ends to read partial dates at; one is enough where every date is whole."""
    return ENDS if any(event.earliest_day != event.latest_day for event in events) else ENDS[:1]


def partly_dated(events: Iterable[CompetingEvent]) -> str:
    """Names the events of which only a part of the date is known; '' where there is none."""
    kinds = sorted({e.kind.replace("_", " ") for e in events if e.earliest_day != e.latest_day})
    return f"The date of {', '.join(kinds)} is known in part only." if kinds else ""


def came_first(event: CompetingEvent, *, flags: tuple[str, ...] = (), verified: bool = True) -> Outcome:
    """The answer where a competing event made the endpoint impossible."""
    day = event.earliest_day
    return Outcome(
        Status.COMPETING,
        f"{event.kind.replace('_', ' ').capitalize()} on day {day} came first.",
        competing_kind=event.kind,
        competing_day=day,
        evidence=(Evidence(day, event.kind, event.row),),
        flags=flags,
        verified=verified,
    )


def beats(event: CompetingEvent | None, event_day: int | None, *, tie: str) -> bool:
    """Whether a competing event comes before ``event_day``; on one day ``tie`` ("reached", "competing") decides."""
    if event is None:
        return False
    day = event.earliest_day
    return event_day is None or day < event_day or (day == event_day and tie == "competing")
