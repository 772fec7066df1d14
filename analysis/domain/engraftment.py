"""Engraftment of neutrophils and platelets, donor chimerism, and graft failure.

Neutrophils: the first of three consecutive days at the threshold; platelets: the first day at 20 x 10^9/L after seven
days without transfusion; chimerism: full, mixed, absent (EBMT Handbook, 8th ed. (2024), chapters 21 and 41). Graft
failure in PARACHUTE: no neutrophil recovery by day 60, or secondary loss of donor chimerism (Lancet Haematol 2022; 9:
e111-20, Outcomes and Procedures). What these leave open is a parameter, and named an assumption.

Days are study days from the graft; counts are in 10^9/L, chimerism in percent donor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import product

from analysis.domain.consecutive_threshold import CompetingEvent, Measurement, Reading, Status
from analysis.domain.consecutive_threshold import Rule as Threshold
from analysis.domain.endpoint_outcomes import (
    ENDS,
    Evidence,
    Outcome,
    agreed,
    beats,
    came_first,
    dated,
    ends_of,
    no_anchor,
    partly_dated,
)
from analysis.domain.rule_parameters import check_at_least, check_choice, read

METHOD_VERSION = "1"


# Neutrophils ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NeutrophilRule:
    """A run of ``consecutive_days`` available daily counts at the threshold that begins by ``last_day``.

    ``operator`` ">=" (handbook) or ">" (PARACHUTE). A gap of more than ``max_gap_days`` between two counts interrupts
    a run; of two counts on one day the lowest counts. ``nadir_required``: a count below the threshold must have been
    seen before; otherwise its absence is flagged. Assumed: consecutive days in PARACHUTE, the gap, the nadir.
    """

    threshold: Decimal = Decimal("0.5")
    operator: str = ">="
    consecutive_days: int = 3
    max_gap_days: int = 3
    last_day: int = 40
    nadir_required: bool = False
    tie: str = "reached"

    def __post_init__(self) -> None:
        _check_counts(self.threshold, self.operator, self.consecutive_days, self.max_gap_days)
        check_at_least("last_day", self.last_day, 1)
        check_choice("tie", self.tie, ("reached", "competing"))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> NeutrophilRule:
        """Read the parameters of an endpoint of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="engraftment")


def _check_counts(threshold: Decimal, operator: str, consecutive_days: int, max_gap_days: int) -> None:
    if threshold <= 0:
        raise ValueError(f"threshold is {threshold}; it must be positive.")
    check_choice("operator", operator, (">=", ">"))
    check_at_least("consecutive_days", consecutive_days, 1)
    check_at_least("max_gap_days", max_gap_days, 1)


@dataclass(frozen=True, slots=True)
class _Count:
    day: int
    reading: Reading
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class _Series:
    """The counts of one participant: one a day, those that tell; and what a reader should know of the rest."""

    counts: tuple[_Count, ...]
    flags: tuple[str, ...]

    @property
    def last_day(self) -> int | None:
        return self.counts[-1].day if self.counts else None


def _series(measurements: Iterable[Measurement], threshold: Decimal, operator: str, until_day: int) -> _Series:
    """One count a day from day 1; one that does not tell neither confirms nor interrupts, and is flagged."""
    compare = Threshold(threshold=threshold, operator=operator)
    order = (Reading.BELOW, Reading.UNKNOWN, Reading.AT_OR_ABOVE)
    by_day: dict[int, _Count] = {}
    for m in measurements:
        if not 0 < m.day <= until_day:
            continue
        count = _Count(m.day, compare.reading(m), m)
        standing = by_day.get(m.day)
        if standing is None or order.index(count.reading) < order.index(standing.reading):
            by_day[m.day] = count
    told = [by_day[day] for day in sorted(by_day)]
    flags = tuple(f"day {c.day}: the count does not tell" for c in told if c.reading is Reading.UNKNOWN)
    return _Series(tuple(c for c in told if c.reading is not Reading.UNKNOWN), flags)


@dataclass(frozen=True, slots=True)
class _Run:
    """Counts at the threshold one after the other; ``is_open``: the series ends with it, too short so far."""

    counts: tuple[_Count, ...]
    is_open: bool = False

    @property
    def day(self) -> int:
        return self.counts[0].day


def _first_run(series: _Series, consecutive: int, max_gap: int, *, nadir_required: bool = False) -> _Run | None:
    """The first run that is long enough; else the open one at the end of the series, if there is one."""
    run: list[_Count] = []
    nadir_seen = not nadir_required
    for count in series.counts:
        if count.reading is Reading.BELOW:
            nadir_seen, run = True, []
            continue
        if not nadir_seen:
            continue
        run = [*run, count] if run and count.day - run[-1].day <= max_gap else [count]
        if len(run) == consecutive:
            return _Run(tuple(run))
    return _Run(tuple(run), is_open=True) if run else None


def neutrophil_engraftment(
    rule: NeutrophilRule,
    counts: Iterable[Measurement],
    competing: Iterable[CompetingEvent] = (),
    *,
    as_of_day: int | None,
) -> Outcome:
    """Decide whether and when the neutrophils of one participant engrafted.

    Parameters
    ----------
    counts : neutrophils in 10^9/L, in any order; those on or before day 0 never count
    competing : death and second transplant (an assumption); a run must be complete by the day of it
    as_of_day : the study day on which the question is asked; None while the anchor is unknown

    >>> anc = [Measurement(day, Decimal(value)) for day, value in ((12, "0.2"), (13, "0.5"), (14, "0.8"), (15, "1.1"))]
    >>> neutrophil_engraftment(NeutrophilRule(), anc, as_of_day=100).event_day
    13
    """
    if as_of_day is None:
        return no_anchor()
    rows, events = list(counts), list(competing)
    readings = [_neutrophils(rule, rows, dated(events, end, as_of_day=as_of_day), as_of_day) for end in ends_of(events)]
    return agreed(readings, because=partly_dated(events))


def _neutrophils(
    rule: NeutrophilRule, rows: Sequence[Measurement], events: Sequence[CompetingEvent], as_of_day: int
) -> Outcome:
    event = events[0] if events else None
    until = as_of_day if event is None else min(as_of_day, event.earliest_day)
    series = _series(rows, rule.threshold, rule.operator, until)
    run = _first_run(series, rule.consecutive_days, rule.max_gap_days, nadir_required=rule.nadir_required)
    flags = series.flags
    if run is not None and not run.is_open and run.day <= rule.last_day:
        if all(count.reading is Reading.AT_OR_ABOVE for count in series.counts if count.day < run.day):
            flags = (*flags, "no count below the threshold before the run: the nadir was not seen")
        if not beats(event, run.day, tie=rule.tie):
            return Outcome(
                Status.REACHED,
                f"{_told(run)}: {rule.consecutive_days} in a row {rule.operator} {rule.threshold} from day {run.day}.",
                event_day=run.day,
                evidence=_evidence(run.counts),
                flags=flags,
            )
    if event is not None and event.earliest_day <= rule.last_day:
        return came_first(event, flags=flags)
    return _no_run(rule, series, run, flags, as_of_day)


def _no_run(rule: NeutrophilRule, series: _Series, run: _Run | None, flags: tuple[str, ...], as_of_day: int) -> Outcome:
    last = series.last_day
    begun = (
        run is not None and run.is_open and run.day <= rule.last_day and as_of_day - (last or 0) <= rule.max_gap_days
    )
    censored = None if last is None else min(last, rule.last_day)
    if as_of_day <= rule.last_day or begun:
        what = "A run has begun and is not complete." if begun else f"Day {rule.last_day} has not passed."
        return Outcome(Status.PENDING, what, censored_day=censored, flags=flags)
    if last is None or last < rule.last_day - rule.max_gap_days:
        why = "There is no count." if last is None else f"The last count is of day {last}, before day {rule.last_day}."
        return Outcome(Status.INSUFFICIENT_DATA, why, censored_day=censored, flags=flags)
    return Outcome(
        Status.NOT_REACHED,
        f"No {rule.consecutive_days} counts in a row {rule.operator} {rule.threshold} begin by day {rule.last_day}.",
        censored_day=censored,
        evidence=_evidence([count for count in series.counts if count.day <= rule.last_day]),
        flags=flags,
    )


def _told(run: _Run) -> str:
    return ", ".join(f"{c.measurement.qualifier}{c.measurement.value} on day {c.day}" for c in run.counts)


def _evidence(counts: Iterable[_Count]) -> tuple[Evidence, ...]:
    return tuple(Evidence(c.day, f"{c.measurement.qualifier}{c.measurement.value}", c.measurement.row) for c in counts)


# Platelets ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlateletRule:
    """The first count at the threshold with no platelet transfusion in the ``untransfused_days`` before it.

    A transfusion starts the days anew: after one on day 10 the first count that may count is of day 17 (assumed: the
    days are those before the count). ``consecutive`` counts in a row are asked for; one as the handbook prints it.
    """

    threshold: Decimal = Decimal(20)
    operator: str = ">="
    untransfused_days: int = 7
    consecutive: int = 1
    last_day: int = 100
    max_gap_days: int = 7
    tie: str = "reached"

    def __post_init__(self) -> None:
        _check_counts(self.threshold, self.operator, self.consecutive, self.max_gap_days)
        check_at_least("untransfused_days", self.untransfused_days, 1)
        check_at_least("last_day", self.last_day, 1)
        check_choice("tie", self.tie, ("reached", "competing"))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> PlateletRule:
        """Read the parameters of an endpoint of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="platelet_engraftment")


@dataclass(frozen=True, slots=True)
class Transfusion:
    """A platelet transfusion, on one day or on one of the days of a partial date."""

    earliest_day: int
    latest_day: int
    row: int | None = None


def platelet_engraftment(
    rule: PlateletRule,
    counts: Iterable[Measurement],
    transfusions: Iterable[Transfusion] | None,
    competing: Iterable[CompetingEvent] = (),
    *,
    as_of_day: int | None,
) -> Outcome:
    """Decide whether and when the platelets of one participant engrafted.

    Parameters
    ----------
    counts : platelets in 10^9/L, in any order; those on or before day 0 never count
    transfusions : all platelet transfusions; None where it is not known whether there were any
    competing : death and second transplant (an assumption)
    as_of_day : the study day on which the question is asked; None while the anchor is unknown

    >>> counts = [Measurement(day, Decimal(25)) for day in (12, 16, 17, 18)]
    >>> platelet_engraftment(PlateletRule(), counts, [Transfusion(10, 10)], as_of_day=120).event_day
    17
    """
    if as_of_day is None:
        return no_anchor()
    if transfusions is None:
        return Outcome(Status.INSUFFICIENT_DATA, "It is not known whether platelets were transfused.")
    rows, events, given = list(counts), list(competing), list(transfusions)
    # A transfusion whose day is known in part can only delay: left out it gives the earliest answer, and on every day
    # that it may have been the latest.
    exact = {t.earliest_day for t in given if t.earliest_day == t.latest_day}
    every = {day for t in given for day in range(t.earliest_day, t.latest_day + 1)}
    readings = [
        _platelets(rule, rows, days, dated(events, end, as_of_day=as_of_day), as_of_day)
        for days, end in product((exact, every), ENDS)
    ]
    reasons = [partly_dated(events)]
    if any(t.earliest_day != t.latest_day for t in given):
        reasons.append("The date of a transfusion is known in part only.")
    return agreed(readings, because=" ".join(reason for reason in reasons if reason))


def _platelets(
    rule: PlateletRule,
    rows: Sequence[Measurement],
    transfused: set[int],
    events: Sequence[CompetingEvent],
    as_of_day: int,
) -> Outcome:
    event = events[0] if events else None
    until = as_of_day if event is None else min(as_of_day, event.earliest_day)
    series = _series(rows, rule.threshold, rule.operator, until)
    # A count under transfusion tells nothing of the recipient's own platelets, and ends a run.
    own = tuple(
        count
        if not any(0 <= count.day - day < rule.untransfused_days for day in transfused)
        else replace(count, reading=Reading.BELOW)
        for count in series.counts
    )
    run = _first_run(_Series(own, series.flags), rule.consecutive, rule.max_gap_days)
    if run is not None and not run.is_open and run.day <= rule.last_day and not beats(event, run.day, tie=rule.tie):
        return Outcome(
            Status.REACHED,
            f"{_told(run)}, without transfusion in the {rule.untransfused_days} days before.",
            event_day=run.day,
            evidence=_evidence(run.counts),
            flags=series.flags,
        )
    if event is not None and event.earliest_day <= rule.last_day:
        return came_first(event, flags=series.flags)
    as_counts = NeutrophilRule(
        rule.threshold, rule.operator, rule.consecutive, rule.max_gap_days, rule.last_day, tie=rule.tie
    )
    return _no_run(as_counts, series, run, series.flags, as_of_day)


# Chimerism ------------------------------------------------------------------------------------------------------------


class Chimerism(StrEnum):
    FULL = "full"
    MIXED = "mixed"
    ABSENT = "absent"


@dataclass(frozen=True)
class ChimerismRule:
    """Full above 95 % donor (">" chapter 21, ">=" chapter 41), absent below 5 %, mixed between."""

    full_percent: Decimal = Decimal(95)
    full_operator: str = ">"
    absent_below_percent: Decimal = Decimal(5)

    def __post_init__(self) -> None:
        check_choice("full_operator", self.full_operator, (">", ">="))
        if not 0 < self.absent_below_percent < self.full_percent <= 100:
            raise ValueError("absent_below_percent must lie between 0 and full_percent, and that not above 100.")

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> ChimerismRule:
        """Read the parameters of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="chimerism")


def chimerism_class(rule: ChimerismRule, donor: Measurement) -> Chimerism | None:
    """The class of one result in percent donor; None where a qualifier leaves it open. ValueError outside 0-100.

    >>> [chimerism_class(ChimerismRule(), Measurement(30, Decimal(p))).value for p in ("95.1", "95", "5", "4.9")]
    ['full', 'mixed', 'mixed', 'absent']
    """
    if donor.value is not None and not 0 <= donor.value <= 100:
        raise ValueError(f"chimerism is {donor.value} % donor; it must lie between 0 and 100.")
    is_full = Threshold(threshold=rule.full_percent, operator=rule.full_operator).reading(donor)
    is_present = Threshold(threshold=rule.absent_below_percent, operator=">=").reading(donor)
    if is_full is Reading.AT_OR_ABOVE:
        return Chimerism.FULL
    if is_present is Reading.BELOW:
        return Chimerism.ABSENT
    return Chimerism.MIXED if is_full is Reading.BELOW and is_present is Reading.AT_OR_ABOVE else None


# Graft failure --------------------------------------------------------------------------------------------------------


class GraftState(StrEnum):
    """What became of a graft; the ``classification`` of the outcome."""

    ENGRAFTED = "engrafted"
    PRIMARY_FAILURE = "primary graft failure"
    REJECTION = "rejection"
    TO_ADJUDICATE = "late engraftment or graft failure"


@dataclass(frozen=True)
class GraftFailureRule:
    """No neutrophil recovery by ``failed_by_day``, or loss of donor chimerism after it (PARACHUTE).

    Recovery after ``engrafted_by_day`` and by ``failed_by_day`` is a person's to decide. Counts as in
    :class:`NeutrophilRule`, chimerism as in :class:`ChimerismRule`. Assumed: consecutive days and gap, and relapse and
    death as the competing events.
    """

    threshold: Decimal = Decimal("0.5")
    operator: str = ">"
    consecutive_days: int = 3
    max_gap_days: int = 3
    engrafted_by_day: int = 40
    failed_by_day: int = 60
    rejection_below_percent: Decimal = Decimal(5)
    full_percent: Decimal = Decimal(95)
    tie: str = "reached"

    def __post_init__(self) -> None:
        _check_counts(self.threshold, self.operator, self.consecutive_days, self.max_gap_days)
        if not 1 <= self.engrafted_by_day <= self.failed_by_day:
            raise ValueError("engrafted_by_day must lie between day 1 and failed_by_day.")
        check_choice("tie", self.tie, ("reached", "competing"))
        if not 0 < self.rejection_below_percent < self.full_percent <= 100:
            raise ValueError("rejection_below_percent must lie between 0 and full_percent, and that not above 100.")

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> GraftFailureRule:
        """Read the parameters of an endpoint of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="graft_failure")

    @property
    def chimerism(self) -> ChimerismRule:
        return ChimerismRule(self.full_percent, ">", self.rejection_below_percent)


@dataclass(frozen=True)
class GraftRecords:
    """What is recorded of one graft: counts in 10^9/L, donor chimerism in percent, and events by study day.

    ``autologous_recovery`` is a documented recovery of the recipient's own blood formation; ``adjudicated`` the answer
    of the person who decided a late recovery (:attr:`GraftState.ENGRAFTED` or :attr:`GraftState.PRIMARY_FAILURE`).
    """

    counts: tuple[Measurement, ...] = ()
    chimerism: tuple[Measurement, ...] = ()
    second_transplant: CompetingEvent | None = None
    autologous_recovery: CompetingEvent | None = None
    adjudicated: GraftState | None = None


def graft_failure(
    rule: GraftFailureRule,
    records: GraftRecords,
    competing: Iterable[CompetingEvent] = (),
    *,
    as_of_day: int | None,
    last_contact_day: int | None = None,
) -> Outcome:
    """Decide whether and when the graft of one participant failed.

    Parameters
    ----------
    records : counts, chimerism and events of the graft
    competing : death, and relapse where the definition names it
    as_of_day : the study day on which the question is asked; None while the anchor is unknown
    last_contact_day : study day of the last contact

    >>> never = GraftRecords(counts=tuple(Measurement(day, Decimal("0.1")) for day in range(5, 62)))
    >>> graft_failure(GraftFailureRule(), never, as_of_day=90).event_day
    60
    """
    if as_of_day is None:
        return no_anchor()
    events = list(competing)
    own = [event for event in (records.second_transplant, records.autologous_recovery) if event is not None]
    unclear = [m.day for m in records.chimerism if m.value is not None and chimerism_class(rule.chimerism, m) is None]
    readings = []
    for end, own_end, unclear_is_loss in product(ends_of(events), ends_of(own), (True, False) if unclear else (True,)):
        ends = {event.kind: event.earliest_day for event in dated(own, own_end, as_of_day=as_of_day)}
        readings.append(
            _graft(
                rule,
                records,
                _day_of(records.second_transplant, ends),
                _day_of(records.autologous_recovery, ends),
                dated(events, end, as_of_day=as_of_day),
                as_of_day,
                last_contact_day,
                unclear_is_loss,
            )
        )
    reasons = [partly_dated([*events, *own])]
    if unclear:
        reasons.append(f"The chimerism of day {', '.join(str(day) for day in unclear)} does not tell.")
    return agreed(readings, because=" ".join(reason for reason in reasons if reason))


def _day_of(event: CompetingEvent | None, days: Mapping[str, int]) -> int | None:
    return None if event is None else days.get(event.kind)


def _graft(
    rule: GraftFailureRule,
    records: GraftRecords,
    second_day: int | None,
    autologous_day: int | None,
    events: Sequence[CompetingEvent],
    as_of_day: int,
    last_contact_day: int | None,
    unclear_is_loss: bool,
) -> Outcome:
    event = events[0] if events else None
    # Counts after a second transplant speak of another graft.
    series = _series(
        records.counts, rule.threshold, rule.operator, as_of_day if second_day is None else min(as_of_day, second_day)
    )
    run = _first_run(series, rule.consecutive_days, rule.max_gap_days)
    recovered = run if run is not None and not run.is_open and run.day <= rule.failed_by_day else None
    late = recovered is not None and recovered.day > rule.engrafted_by_day
    if autologous_day is not None and autologous_day <= rule.failed_by_day:
        return _failed(
            rule, event, autologous_day, GraftState.PRIMARY_FAILURE, "Documented autologous recovery", series.flags
        )
    if recovered is not None and (not late or records.adjudicated is GraftState.ENGRAFTED):
        until = as_of_day if second_day is None else min(as_of_day, second_day)
        rejected = _rejection(rule, records, recovered, until, unclear_is_loss)
        return _after_engraftment(rule, recovered, rejected, series, event, second_day, until, last_contact_day)
    if second_day is not None and second_day <= rule.failed_by_day and recovered is None:
        why = "Second transplant without neutrophil recovery"
        return _failed(rule, event, second_day, GraftState.PRIMARY_FAILURE, why, series.flags)
    if event is not None and beats(event, rule.failed_by_day, tie=rule.tie) and recovered is None:
        return came_first(event, flags=series.flags)
    if recovered is not None and records.adjudicated is None:
        return Outcome(
            Status.INSUFFICIENT_DATA,
            f"Recovery on day {recovered.day}, after day {rule.engrafted_by_day}: a person decides between late "
            "engraftment and graft failure.",
            evidence=_evidence(recovered.counts),
            flags=(*series.flags, "to be adjudicated"),
            classification=GraftState.TO_ADJUDICATE,
        )
    if recovered is not None:
        why = f"Recovery on day {recovered.day} was adjudicated as graft failure"
        return _failed(rule, event, rule.failed_by_day, GraftState.PRIMARY_FAILURE, why, series.flags)
    return _without_recovery(rule, series, run, event, as_of_day)


def _failed(
    rule: GraftFailureRule,
    event: CompetingEvent | None,
    day: int,
    state: GraftState,
    why: str,
    flags: tuple[str, ...],
    evidence: tuple[Evidence, ...] = (),
) -> Outcome:
    if beats(event, day, tie=rule.tie):
        assert event is not None
        return came_first(event, flags=flags)
    return Outcome(
        Status.REACHED,
        f"{why}: {state.value} on day {day}.",
        event_day=day,
        evidence=evidence,
        flags=flags,
        classification=state,
    )


def _without_recovery(
    rule: GraftFailureRule, series: _Series, run: _Run | None, event: CompetingEvent | None, as_of_day: int
) -> Outcome:
    last = series.last_day
    run_begun = run is not None and run.is_open and run.day <= rule.failed_by_day
    if as_of_day <= rule.failed_by_day or (run_begun and as_of_day - (last or 0) <= rule.max_gap_days):
        return Outcome(
            Status.PENDING,
            f"No neutrophil recovery so far; day {rule.failed_by_day} has not passed."
            if as_of_day <= rule.failed_by_day
            else "A run has begun and is not complete.",
            censored_day=last,
            flags=series.flags,
        )
    if last is None or last < rule.failed_by_day - rule.max_gap_days:
        why = "There is no count." if last is None else f"The last count is of day {last}."
        return Outcome(
            Status.INSUFFICIENT_DATA,
            f"{why} Whether neutrophils recovered by day {rule.failed_by_day} is not known.",
            censored_day=last,
            flags=series.flags,
        )
    counts = [count for count in series.counts if count.day <= rule.failed_by_day]
    why = f"No neutrophil recovery by day {rule.failed_by_day}"
    return _failed(
        rule, event, rule.failed_by_day, GraftState.PRIMARY_FAILURE, why, series.flags, _evidence(counts[-3:])
    )


@dataclass(frozen=True)
class _Rejection:
    """The chimerism results after recovery with their classes, and the first that is or may be absent."""

    results: tuple[tuple[Measurement, Chimerism | None], ...]
    lost: Measurement | None


def _rejection(
    rule: GraftFailureRule, records: GraftRecords, recovered: _Run, until: int, unclear_is_loss: bool
) -> _Rejection:
    told = (m for m in records.chimerism if m.value is not None and recovered.day <= m.day <= until)
    results = tuple((m, chimerism_class(rule.chimerism, m)) for m in sorted(told, key=lambda m: m.day))
    losses = (Chimerism.ABSENT, None) if unclear_is_loss else (Chimerism.ABSENT,)
    return _Rejection(results, next((m for m, found in results if found in losses), None))


def _after_engraftment(
    rule: GraftFailureRule,
    recovered: _Run,
    rejection: _Rejection,
    series: _Series,
    event: CompetingEvent | None,
    second_day: int | None,
    until: int,
    last_contact_day: int | None,
) -> Outcome:
    """Rejection is the first absent donor chimerism after recovery; mixed and falling is flagged for a person."""
    flags = [*series.flags, *_chimerism_flags(rejection.results)]
    if second_day is not None:
        flags.append(f"second transplant on day {second_day}, after engraftment")
    lost = rejection.lost
    if lost is not None:
        why = f"{lost.qualifier}{lost.value} % donor after engraftment on day {recovered.day}"
        evidence = (Evidence(lost.day, f"{lost.qualifier}{lost.value} % donor", lost.row),)
        return _failed(rule, event, lost.day, GraftState.REJECTION, why, tuple(flags), evidence)
    if event is not None:
        return came_first(event, flags=tuple(flags))
    known = [recovered.counts[-1].day, *(m.day for m, _ in rejection.results)]
    if last_contact_day is not None:
        known.append(min(last_contact_day, until))
    return Outcome(
        Status.PENDING,
        f"Engrafted on day {recovered.day}; no loss of donor chimerism so far.",
        censored_day=max(known),
        evidence=_evidence(recovered.counts),
        flags=tuple(flags),
        classification=GraftState.ENGRAFTED,
    )


def _chimerism_flags(classes: Sequence[tuple[Measurement, Chimerism | None]]) -> list[str]:
    if not classes:
        return ["no chimerism result after engraftment"]
    flags = []
    before: Decimal | None = None
    for m, found in classes:
        if found is Chimerism.MIXED and before is not None and m.value is not None and m.value < before:
            flags.append(f"mixed and falling donor chimerism on day {m.day}: to be adjudicated")
        elif found is Chimerism.MIXED:
            flags.append(f"mixed donor chimerism on day {m.day}")
        before = m.value if m.value is not None else before
    return flags
