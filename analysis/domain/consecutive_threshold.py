"""An endpoint that is reached when several measurements in a row are at or above a threshold within a window.

PARACHUTE's primary endpoint is of this kind: CD4+ immune reconstitution, at least 0.05 x 10^9/L at two consecutive
measurements within 100 (+/- 3) days (Lancet Haematol 2022; 9: e111-20, Outcomes). The number, the threshold and every
reading of what the paper leaves open are parameters of the trial definition.

Days are study days counted from the anchor. Three answers throughout: a value below its limit of quantification is
*not known* where that limit lies above the threshold, and it then neither confirms nor interrupts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

METHOD_VERSION = "1"


class Status(StrEnum):
    """What became of the endpoint in one participant."""

    REACHED = "reached"
    NOT_REACHED = "not_reached"
    COMPETING = "competing"
    PENDING = "pending"
    INSUFFICIENT_DATA = "insufficient_data"

    @property
    def is_final(self) -> bool:
        """Whether time alone will not change it. Insufficient data are final until somebody completes them."""
        return self is not Status.PENDING


class Reading(StrEnum):
    """Whether one date's measurement is at the threshold, below it, or not decidable."""

    AT_OR_ABOVE = "at or above"
    BELOW = "below"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One result: study day, value with its qualifier in the threshold's unit, and the row it came from."""

    day: int
    value: Decimal | None
    qualifier: str = ""
    row: int | None = None

    @property
    def as_written(self) -> str:
        """The value as a reader writes it: ``0.05``, not ``0.05000000``."""
        return "no value" if self.value is None else f"{self.qualifier}{self.value.normalize():f}"


@dataclass(frozen=True, slots=True)
class CompetingEvent:
    """Something that makes the endpoint impossible. A partial date spans several days and is never completed."""

    kind: str
    earliest_day: int
    latest_day: int
    row: int | None = None


@dataclass(frozen=True)
class Rule:
    """The parameters of the method; the defaults are PARACHUTE's readings, each a parameter of the definition.

    ``operator`` ">=" (Outcomes: "at least") or ">" (abstract); ``confirm_last_day`` bounds the confirming measurement
    and ``first_last_day`` the first; ``event_day`` "confirm" or "first"; ``same_day`` "lowest" (a duplicate never makes
    a responder) or "last"; ``tie`` says what counts when a competing event falls on the event's own day;
    ``horizon_day`` bounds evaluability (strictly before it); a participant whose last measurement is not after
    ``adequate_until_day`` has insufficient data; gaps above ``max_gap_days`` are flagged and decide nothing.
    """

    threshold: Decimal
    consecutive: int = 2
    operator: str = ">="
    first_last_day: int = 103
    confirm_last_day: int = 103
    event_day: str = "confirm"
    same_day: str = "lowest"
    tie: str = "reached"
    horizon_day: int = 100
    adequate_until_day: int = 60
    max_gap_days: int = 21

    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "operator": (">=", ">"),
        "event_day": ("confirm", "first"),
        "same_day": ("lowest", "last"),
        "tie": ("reached", "competing"),
    }

    def __post_init__(self) -> None:
        for name, choices in self.CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it may be {' or '.join(choices)}.")
        if self.threshold <= 0:
            raise ValueError(f"threshold is {self.threshold}; it must be positive.")
        if self.consecutive < 1:
            raise ValueError(f"consecutive is {self.consecutive}; at least one measurement is needed.")
        if not 1 <= self.first_last_day <= self.confirm_last_day:
            raise ValueError("first_last_day must lie between day 1 and confirm_last_day.")

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Rule:
        """Read the parameters of an endpoint of the definition; ValueError names the one that does not fit."""
        known = {f.name: f.type for f in fields(cls)}
        unknown = sorted(set(parameters) - set(known))
        if unknown:
            raise ValueError(f"{unknown[0]} is no parameter of consecutive_threshold; they are {', '.join(known)}.")
        if "threshold" not in parameters:
            raise ValueError("threshold is missing: the value that must be reached, in the endpoint's unit.")
        given: dict[str, object] = {}
        for name, value in parameters.items():
            if name == "threshold":
                given[name] = Decimal(str(value))
            elif known[name] == "int":
                if not str(value).lstrip("-").isdigit():
                    raise ValueError(f"{name} is {value!r}; it must be a whole number.")
                given[name] = int(str(value))
            else:
                given[name] = str(value)
        return cls(**given)  # type: ignore[arg-type]

    def reading(self, measurement: Measurement) -> Reading:
        """Compare one measurement with the threshold; ``<10`` is below only where 10 is not above the threshold."""
        value = measurement.value
        if value is None:
            return Reading.UNKNOWN
        reaches = value >= self.threshold if self.operator == ">=" else value > self.threshold
        match measurement.qualifier:
            case "":
                return Reading.AT_OR_ABOVE if reaches else Reading.BELOW
            case "<":
                return Reading.BELOW if value <= self.threshold else Reading.UNKNOWN
            case "<=":
                return Reading.UNKNOWN if reaches else Reading.BELOW
            case ">":
                return Reading.AT_OR_ABOVE if value >= self.threshold else Reading.UNKNOWN
            case ">=":
                return Reading.AT_OR_ABOVE if reaches else Reading.UNKNOWN
            case other:
                raise ValueError(f"qualifier is {other!r}; it may be <, <=, > or >=.")


@dataclass(frozen=True, slots=True)
class Evaluability:
    """Whether the participant counts as evaluable (None: not known yet), why, and the ``cause`` that forbids it."""

    answer: bool | None
    sentence: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer with its reasons. ``evaluability`` is independent of ``status``.

    ``censored_day`` is the last day on which the endpoint is known not to have happened, where it did not.
    """

    status: Status
    evaluability: Evaluability
    sentence: str
    event_day: int | None = None
    competing_kind: str = ""
    competing_day: int | None = None
    censored_day: int | None = None
    evidence: tuple[Measurement, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def evaluable(self) -> bool | None:
        """Yes, no, or not known yet."""
        return self.evaluability.answer


@dataclass(frozen=True, slots=True)
class _OfDate:
    day: int
    reading: Reading
    measurement: Measurement


def adjudicate(
    rule: Rule,
    measurements: Iterable[Measurement],
    competing: Iterable[CompetingEvent] = (),
    *,
    as_of_day: int | None,
    last_contact_day: int | None = None,
    removed: bool | None = False,
) -> Outcome:
    """Decide the endpoint of one participant.

    Parameters
    ----------
    measurements : results in the threshold's unit, in any order; those on or before day 0 never count
    competing : death, relapse, graft failure as the definition names them
    as_of_day : the study day on which the question is asked; None while the anchor is unknown
    last_contact_day : study day of a recorded last contact
    removed : whether a major deviation removed the participant; None while a human's answer is awaited

    >>> rule = Rule(threshold=Decimal("0.05"))
    >>> values = [Measurement(20, Decimal("0.03")), Measurement(40, Decimal("0.06")), Measurement(54, Decimal("0.07"))]
    >>> adjudicate(rule, values, as_of_day=120).event_day
    54
    """
    if as_of_day is None:
        return Outcome(
            Status.PENDING,
            Evaluability(None, "Not known before the day that the schedule counts from."),
            "The day that the schedule counts from is not known yet.",
        )
    # What happened before the anchor is history; a partial date that reaches back before it starts there.
    after_anchor = [replace(e, earliest_day=max(e.earliest_day, 0)) for e in competing if e.latest_day >= 0]
    events = sorted(after_anchor, key=lambda event: (event.earliest_day, event.latest_day))
    if any(event.earliest_day != event.latest_day for event in events):
        return _undated(rule, list(measurements), events, as_of_day, last_contact_day, removed)
    return _dated(rule, list(measurements), events, as_of_day, last_contact_day, removed)


def _undated(
    rule: Rule,
    measurements: list[Measurement],
    events: list[CompetingEvent],
    as_of_day: int,
    last_contact_day: int | None,
    removed: bool | None,
) -> Outcome:
    """A competing event whose date is known in part decides nothing unless every day it may mean decides the same."""
    readings = [
        _dated(
            rule,
            measurements,
            sorted(
                (CompetingEvent(e.kind, getattr(e, end), getattr(e, end), e.row) for e in events),
                key=lambda event: event.earliest_day,
            ),
            as_of_day,
            last_contact_day,
            removed,
        )
        for end in ("earliest_day", "latest_day")
    ]
    early, late = readings
    kinds = ", ".join(sorted({e.kind.replace("_", " ") for e in events if e.earliest_day != e.latest_day}))
    evaluability = early.evaluability
    if early.evaluable is not late.evaluable:
        evaluability = Evaluability(None, f"The date of {kinds} is known in part only.")
    if (early.status, early.event_day) == (late.status, late.event_day):
        return replace(early, evaluability=evaluability)
    first_end = min(day for o in readings for day in (o.event_day, o.competing_day, o.censored_day) if day is not None)
    return Outcome(
        Status.INSUFFICIENT_DATA,
        evaluability,
        f"The date of {kinds} is known in part only, and the endpoint depends on the missing part.",
        censored_day=max(first_end, 0),
        flags=("partial date of a competing event",),
    )


def _dated(
    rule: Rule,
    measurements: list[Measurement],
    events: list[CompetingEvent],
    as_of_day: int,
    last_contact_day: int | None,
    removed: bool | None,
) -> Outcome:
    after_anchor = [m for m in measurements if 0 < m.day <= as_of_day]
    dates = _one_a_date(rule, after_anchor)
    flags = _flags(rule, dates)
    first_event = events[0] if events and events[0].latest_day <= as_of_day else None
    evaluability = _evaluability(rule, first_event, as_of_day, removed)
    run = _first_run(rule, dates)
    event_day = (run[-1] if rule.event_day == "confirm" else run[0]).day if run else None

    if first_event is not None and first_event.earliest_day <= rule.confirm_last_day:
        day = first_event.earliest_day
        beaten = event_day is None or day < event_day or (day == event_day and rule.tie == "competing")
        if beaten:
            kind = first_event.kind.replace("_", " ")
            return Outcome(
                Status.COMPETING,
                evaluability,
                f"{kind.capitalize()} on day {day} came first.",
                competing_kind=first_event.kind,
                competing_day=day,
                flags=flags,
            )
    if run:
        values = " and ".join(f"{m.measurement.as_written} on day {m.day}" for m in run)
        return Outcome(
            Status.REACHED,
            evaluability,
            f"{values}: {rule.consecutive} in a row {rule.operator} {rule.threshold}.",
            event_day=event_day,
            evidence=tuple(m.measurement for m in run),
            flags=flags,
        )
    last_day = max((m.day for m in after_anchor), default=0)
    censored = min(last_day, rule.confirm_last_day)
    if as_of_day <= rule.confirm_last_day:
        return Outcome(
            Status.PENDING,
            evaluability,
            f"Day {rule.confirm_last_day} has not passed (asked on day {as_of_day}).",
            censored_day=censored,
            evidence=tuple(m.measurement for m in dates[-rule.consecutive :]),
            flags=flags,
        )
    last_known = as_of_day if last_contact_day is None else max(last_contact_day, last_day)
    if last_day <= rule.adequate_until_day or last_known < rule.confirm_last_day:
        why = (
            f"The last measurement is of day {last_day}, not after day {rule.adequate_until_day}."
            if last_day <= rule.adequate_until_day
            else f"Follow-up ended on day {last_known}, before day {rule.confirm_last_day}."
        )
        return Outcome(Status.INSUFFICIENT_DATA, evaluability, why, censored_day=censored, flags=flags)
    return Outcome(
        Status.NOT_REACHED,
        evaluability,
        f"No {rule.consecutive} measurements in a row {rule.operator} {rule.threshold} by day {rule.confirm_last_day}.",
        censored_day=censored,
        evidence=tuple(m.measurement for m in dates if m.day <= rule.confirm_last_day),
        flags=flags,
    )


def _one_a_date(rule: Rule, measurements: Sequence[Measurement]) -> list[_OfDate]:
    """One reading a calendar date. Under "lowest" a value that may be below makes the date not known, never above."""
    by_day: dict[int, list[Measurement]] = {}
    for measurement in measurements:
        by_day.setdefault(measurement.day, []).append(measurement)
    dates = []
    for day in sorted(by_day):
        those = by_day[day]
        if rule.same_day == "last":
            chosen = those[-1]
        else:
            worst_first = (Reading.BELOW, Reading.UNKNOWN, Reading.AT_OR_ABOVE)
            lowest = min(worst_first.index(rule.reading(m)) for m in those)
            alike = [m for m in those if rule.reading(m) is worst_first[lowest]]
            chosen = min(alike, key=lambda m: m.value if m.value is not None else Decimal("Infinity"))
        dates.append(_OfDate(day, rule.reading(chosen), chosen))
    return dates


def _first_run(rule: Rule, dates: Sequence[_OfDate]) -> list[_OfDate] | None:
    """The first run of ``consecutive`` dates at the threshold; a date that is not known is passed over."""
    run: list[_OfDate] = []
    for date in dates:
        if date.reading is Reading.UNKNOWN:
            continue
        run = [*run, date] if date.reading is Reading.AT_OR_ABOVE else []
        last = run[-rule.consecutive :]
        if (
            len(last) == rule.consecutive
            and last[0].day <= rule.first_last_day
            and last[-1].day <= rule.confirm_last_day
        ):
            return last
    return None


def _evaluability(rule: Rule, first_event: CompetingEvent | None, as_of_day: int, removed: bool | None) -> Evaluability:
    """No competing event strictly before the horizon and not removed; not known while either is open."""
    if removed:
        return Evaluability(False, "Removed for a major deviation from the protocol.", "removal")
    if first_event is not None and first_event.earliest_day < rule.horizon_day:
        kind = first_event.kind.replace("_", " ").capitalize()
        sentence = f"{kind} on day {first_event.earliest_day}, before day {rule.horizon_day}."
        return Evaluability(False, sentence, first_event.kind)
    if removed is None:
        return Evaluability(None, "A major deviation waits for a person to confirm or refute it.")
    if as_of_day < rule.horizon_day:
        return Evaluability(None, f"Not known before day {rule.horizon_day}.")
    return Evaluability(True, f"No competing event before day {rule.horizon_day}, and not removed.")


def _flags(rule: Rule, dates: Sequence[_OfDate]) -> tuple[str, ...]:
    """What a reader should know although it decides nothing."""
    known = [0, *(d.day for d in dates if d.reading is not Reading.UNKNOWN and d.day <= rule.confirm_last_day)]
    gaps = [
        f"{later - earlier} days without a measurement, day {earlier} to {later}"
        for earlier, later in zip(known, known[1:], strict=False)
        if earlier > 0 and later - earlier > rule.max_gap_days
    ]
    unknown = [
        f"day {d.day}: {d.measurement.as_written} does not tell"
        if d.measurement.value is not None
        else f"day {d.day}: no value"
        for d in dates
        if d.reading is Reading.UNKNOWN
    ]
    return tuple(gaps + unknown)


def example_fails(rule: Rule, given: Sequence[Sequence[object]], then: str, *, as_of_day: int = 730) -> str:
    """Why an example of the definition does not hold, or '' where it does: ``[[day, value], ...]`` and a status."""
    outcome = adjudicate(
        rule, [Measurement(int(str(day)), Decimal(str(value))) for day, value in given], as_of_day=as_of_day
    )
    found = (
        "not_reached" if outcome.status is Status.INSUFFICIENT_DATA and then == "not_reached" else str(outcome.status)
    )
    return "" if found == then else f"{given} gives {outcome.status}, not {then}: {outcome.sentence}"
