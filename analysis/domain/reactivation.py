"""Viral reactivation: the episodes of one virus in one participant, and the first of them as an endpoint.

No threshold is universal (EBMT Handbook, 8th ed. (2024), chapter 38), so that the definition must name one, for one
virus, specimen, assay and unit; numbers of different assays are never compared. Clinically significant CMV infection is
pre-emptive treatment, disease, or both. How an episode ends is an assumption.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product

from analysis.domain.consecutive_threshold import CompetingEvent, Measurement, Reading, Status
from analysis.domain.consecutive_threshold import Rule as Threshold
from analysis.domain.endpoint_outcomes import (
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


@dataclass(frozen=True)
class Rule:
    """The parameters of the method; ``threshold`` in the unit of the results has no default.

    ``confirm`` values in a row at the threshold begin an episode, on the day of the first; it ends on the first day of
    the first run of ``resolve_values`` or more values below that spans ``resolve_days``. ``exclude_baseline``: an
    episode that is open on day 0 is flagged and is no event; otherwise the first value after day 0 counts. A last test
    up to ``max_gap_days`` before the horizon counts as followed to it; longer gaps are flagged.
    """

    threshold: Decimal
    confirm: int = 1
    resolve_values: int = 2
    resolve_days: int = 7
    exclude_baseline: bool = True
    horizon_day: int | None = None
    assay: str = ""
    specimen: str = ""
    tie: str = "reached"
    max_gap_days: int = 14

    def __post_init__(self) -> None:
        if self.threshold <= 0:
            raise ValueError(f"threshold is {self.threshold}; it must be positive.")
        check_at_least("confirm", self.confirm, 1)
        check_at_least("resolve_values", self.resolve_values, 1)
        check_at_least("resolve_days", self.resolve_days, 0)
        check_at_least("horizon_day", self.horizon_day, 1)
        check_at_least("max_gap_days", self.max_gap_days, 0)
        check_choice("tie", self.tie, ("reached", "competing"))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Rule:
        """Read the parameters of an endpoint of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="viral_reactivation")


@dataclass(frozen=True, slots=True)
class ViralLoad:
    """One result in the threshold's unit; 0 is negative. ``<`` with the LLOQ is detected and not quantifiable."""

    day: int
    value: Decimal | None
    qualifier: str = ""
    assay: str = ""
    specimen: str = ""
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Disease:
    """A diagnosis of end-organ disease by the virus; it begins an episode where none is open."""

    day: int
    organ: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Treatment:
    """The start of treatment against the virus."""

    day: int
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """From the first day at the threshold (or of disease) to the first day of its resolution; ``end_day`` None: open.

    ``peak`` is the highest quantified value. ``is_baseline``: it was open on day 0 and is no event.
    """

    start_day: int
    end_day: int | None = None
    peak: Decimal | None = None
    treatment_day: int | None = None
    organs: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    is_baseline: bool = False

    @property
    def duration_days(self) -> int | None:
        return None if self.end_day is None else self.end_day - self.start_day

    @property
    def is_clinically_significant(self) -> bool:
        """Treated, or with disease."""
        return self.treatment_day is not None or bool(self.organs)


@dataclass(frozen=True, slots=True)
class Records:
    """What is recorded of one virus in one participant, by study day."""

    loads: tuple[ViralLoad, ...] = ()
    diseases: tuple[Disease, ...] = ()
    treatments: tuple[Treatment, ...] = ()


@dataclass(frozen=True, slots=True)
class Reactivation:
    """The episodes, and the first one after day 0 as an endpoint."""

    outcome: Outcome
    episodes: tuple[Episode, ...]


@dataclass(frozen=True, slots=True)
class _Test:
    day: int
    reading: Reading
    load: ViralLoad


def episodes(rule: Rule, records: Records, *, as_of_day: int, unknown_as: Reading = Reading.UNKNOWN) -> list[Episode]:
    """The episodes in order. A value that does not tell is passed over, or read as ``unknown_as``.

    >>> loads = tuple(ViralLoad(day, Decimal(v)) for day, v in ((17, 500), (24, 1200), (31, 0), (38, 0)))
    >>> [(e.start_day, e.end_day) for e in episodes(Rule(Decimal(1000)), Records(loads), as_of_day=60)]
    [(24, 31)]
    """
    return _episodes(rule, records, _tests(rule, records, as_of_day), as_of_day, unknown_as)


def _episodes(
    rule: Rule, records: Records, tests: Sequence[_Test], as_of_day: int, unknown_as: Reading
) -> list[Episode]:
    tests = [replace(t, reading=unknown_as) if t.reading is Reading.UNKNOWN else t for t in tests]
    tests = [t for t in tests if t.reading is not Reading.UNKNOWN]
    if not rule.exclude_baseline:
        tests = [t for t in tests if t.day > 0]
    diseases = sorted(
        (d for d in records.diseases if d.day <= as_of_day and (rule.exclude_baseline or d.day > 0)),
        key=lambda d: d.day,
    )
    found: list[Episode] = []
    after = None  # nothing before this day begins another episode
    while (start := _next_start(rule, tests, diseases, after)) is not None:
        end = _end(rule, [t for t in tests if t.day >= start], [d.day for d in diseases if d.day >= start])
        found.append(_described(start, end, tests, diseases, records.treatments))
        if end is None:
            break
        after = end
    return found


def _tests(rule: Rule, records: Records, as_of_day: int) -> list[_Test]:
    """One reading a day, the highest of it, since a negative duplicate does not undo a positive one."""
    compare = Threshold(threshold=rule.threshold)
    order = (Reading.BELOW, Reading.UNKNOWN, Reading.AT_OR_ABOVE)
    by_day: dict[int, _Test] = {}
    for load in _of_assay(rule, records.loads):
        if load.day > as_of_day or load.value is None:
            continue
        test = _Test(load.day, compare.reading(Measurement(load.day, load.value, load.qualifier)), load)
        standing = by_day.get(load.day)
        if standing is None or (order.index(test.reading), load.value) > (
            order.index(standing.reading),
            standing.load.value or Decimal(0),
        ):
            by_day[load.day] = test
    return [by_day[day] for day in sorted(by_day)]


def _of_assay(rule: Rule, loads: Iterable[ViralLoad]) -> list[ViralLoad]:
    return [
        load
        for load in loads
        if (not rule.assay or load.assay == rule.assay) and (not rule.specimen or load.specimen == rule.specimen)
    ]


def _next_start(rule: Rule, tests: Sequence[_Test], diseases: Sequence[Disease], after: int | None) -> int | None:
    """The first day at the threshold (confirmed) or of disease, after the end of the episode before."""
    run: list[_Test] = []
    by_value = None
    for test in tests:
        if after is not None and test.day < after:
            continue
        run = [*run, test] if test.reading is Reading.AT_OR_ABOVE else []
        if len(run) == rule.confirm:
            by_value = run[0].day
            break
    by_disease = next((d.day for d in diseases if after is None or d.day >= after), None)
    starts = [day for day in (by_value, by_disease) if day is not None]
    return min(starts, default=None)


def _end(rule: Rule, tests: Sequence[_Test], disease_days: Sequence[int]) -> int | None:
    """The first day of the first run of values below that is long enough; disease within a run begins it anew."""
    run: list[_Test] = []
    for test in tests:
        if test.reading is Reading.AT_OR_ABOVE or test.day in disease_days:
            run = []
            continue
        if run and any(run[-1].day < day < test.day for day in disease_days):
            run = []
        run = [*run, test]
        if len(run) >= rule.resolve_values and run[-1].day - run[0].day >= rule.resolve_days:
            return run[0].day
    return None


def _described(
    start: int,
    end: int | None,
    tests: Sequence[_Test],
    diseases: Sequence[Disease],
    treatments: Sequence[Treatment],
) -> Episode:
    def inside(day: int) -> bool:
        return start <= day and (end is None or day < end)

    own = [t for t in tests if inside(t.day)]
    ill = [d for d in diseases if inside(d.day)]
    treated = sorted((t for t in treatments if inside(t.day)), key=lambda t: t.day)
    quantified = [t.load.value for t in own if t.load.value is not None and not t.load.qualifier.startswith("<")]
    rows = [t.load.row for t in own] + [d.row for d in ill] + [t.row for t in treated[:1]]
    return Episode(
        start_day=start,
        end_day=end,
        peak=max(quantified, default=None),
        treatment_day=treated[0].day if treated else None,
        organs=tuple(dict.fromkeys(d.organ for d in ill)),
        rows=tuple(row for row in rows if row is not None),
        is_baseline=start <= 0,
    )


def adjudicate(
    rule: Rule,
    records: Records,
    competing: Iterable[CompetingEvent] = (),
    *,
    as_of_day: int | None,
) -> Reactivation:
    """Decide when one participant's first episode after day 0 began.

    Parameters
    ----------
    records : viral loads in the threshold's unit, diagnoses of disease, starts of treatment, in any order
    competing : death, and what else the definition names
    as_of_day : the study day on which the question is asked; None while the anchor is unknown

    >>> loads = (ViralLoad(24, Decimal(1200)), ViralLoad(31, Decimal(137), "<"))
    >>> adjudicate(Rule(Decimal(1000)), Records(loads), as_of_day=60).outcome.event_day
    24
    """
    if as_of_day is None:
        return Reactivation(no_anchor(), ())
    mixed = _mixed_assays(rule, records)
    if mixed:
        return Reactivation(Outcome(Status.INSUFFICIENT_DATA, mixed), ())
    events = list(competing)
    tests = _tests(rule, records, as_of_day)
    unclear = [t.day for t in tests if t.reading is Reading.UNKNOWN]
    certain = _episodes(rule, records, tests, as_of_day, Reading.UNKNOWN)
    possible = [certain]
    if unclear:
        possible = [_episodes(rule, records, tests, as_of_day, r) for r in (Reading.AT_OR_ABOVE, Reading.BELOW)]
    readings = [
        _one_reading(rule, records, tests, found, dated(events, end, as_of_day=as_of_day), as_of_day)
        for found, end in product(possible, ends_of(events))
    ]
    reasons = [partly_dated(events)]
    if unclear:
        days = ", ".join(str(day) for day in unclear)
        reasons.append(f"A result does not tell whether the threshold was reached (day {days}).")
    outcome = agreed(readings, because=" ".join(reason for reason in reasons if reason))
    return Reactivation(outcome, tuple(certain))


def _mixed_assays(rule: Rule, records: Records) -> str:
    own = _of_assay(rule, records.loads)
    for what, values in (("assays", {load.assay for load in own}), ("specimens", {load.specimen for load in own})):
        if len(values) > 1:
            names = ", ".join(sorted(value or "not named" for value in values))
            return f"The results are of several {what} ({names}), which are never compared: the definition names one."
    return ""


def _one_reading(
    rule: Rule,
    records: Records,
    tests: Sequence[_Test],
    found: Sequence[Episode],
    events: Sequence[CompetingEvent],
    as_of_day: int,
) -> Outcome:
    flags = _flags(rule, records, tests, found, as_of_day)
    horizon = rule.horizon_day
    first = next((e for e in found if not e.is_baseline and (horizon is None or e.start_day <= horizon)), None)
    event = next((e for e in events if horizon is None or e.earliest_day <= horizon), None)
    if beats(event, first.start_day if first else None, tie=rule.tie):
        assert event is not None
        return came_first(event, flags=flags)
    if first is not None:
        return _reached(rule, records, first, flags)
    return _not_reached(rule, [t.day for t in tests if t.day > 0], flags, as_of_day)


def _reached(rule: Rule, records: Records, first: Episode, flags: tuple[str, ...]) -> Outcome:
    day = first.start_day
    evidence = [
        Evidence(load.day, f"{load.qualifier}{load.value}", load.row)
        for load in _of_assay(rule, records.loads)
        if load.day == day and load.value is not None
    ]
    evidence += [Evidence(d.day, f"disease: {d.organ}", d.row) for d in records.diseases if d.day == day]
    says = " and ".join(each.says for each in evidence)
    return Outcome(
        Status.REACHED,
        f"First episode from day {day}: {says} (threshold {rule.threshold}).",
        event_day=day,
        evidence=tuple(evidence),
        flags=flags,
        classification="clinically significant" if first.is_clinically_significant else "",
    )


def _not_reached(rule: Rule, days: Sequence[int], flags: tuple[str, ...], as_of_day: int) -> Outcome:
    last, horizon = max(days, default=None), rule.horizon_day
    censored = last if last is None or horizon is None else min(last, horizon)
    if horizon is None or as_of_day <= horizon:
        sentence = "No test so far." if last is None else f"No episode by the last test on day {last}."
        return Outcome(Status.PENDING, sentence, censored_day=censored, flags=flags)
    if last is None or last < horizon - rule.max_gap_days:
        sentence = "There is no test." if last is None else f"The last test is of day {last}, before day {horizon}."
        return Outcome(Status.INSUFFICIENT_DATA, sentence, censored_day=censored, flags=flags)
    return Outcome(Status.NOT_REACHED, f"No episode by day {horizon}.", censored_day=censored, flags=flags)


def _flags(
    rule: Rule, records: Records, tests: Sequence[_Test], found: Sequence[Episode], as_of_day: int
) -> tuple[str, ...]:
    flags = [f"viraemia at or before day 0, from day {e.start_day}: no event" for e in found if e.is_baseline]
    flags += [
        f"day {t.day}: {t.load.qualifier}{t.load.value} does not tell" for t in tests if t.reading is Reading.UNKNOWN
    ]
    flags += [
        f"day {load.day}: no value"
        for load in _of_assay(rule, records.loads)
        if load.value is None and load.day <= as_of_day
    ]
    known = [0, *(t.day for t in tests if t.day > 0)]
    flags += [
        f"{later - earlier} days without a test, day {earlier} to {later}"
        for earlier, later in zip(known, known[1:], strict=False)
        if later - earlier > rule.max_gap_days
    ]
    left_out = len(records.loads) - len(_of_assay(rule, records.loads))
    if left_out:
        flags.append(f"{left_out} results of other assays or specimens were left out")
    return tuple(flags)
