"""The first date at a grade: acute GVHD II-IV or III-IV, chronic GVHD of moderate severity, in one grading system.

A grade is the limits between which it lies, because an organ that was not staged leaves it open. The endpoint is
decided where every grade and every date that the records allow decide it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from analysis.domain.bounds import Bounds
from analysis.domain.consecutive_threshold import CompetingEvent, Status
from analysis.domain.endpoint_outcomes import (
    ENDS,
    End,
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


@dataclass(frozen=True, slots=True)
class Graded:
    """One assessment: the study days it may be of, the limits of its grade, and why they differ where they do."""

    earliest_day: int
    latest_day: int
    grade: Bounds
    row: int | None = None
    open_because: str = ""


@dataclass(frozen=True)
class Question:
    """Which grade is asked for (``label`` in words), until when, and what a gap and a tie mean."""

    at_least: int
    label: str
    name_of: Callable[[int], str]
    horizon_day: int | None
    tie: str
    max_gap_days: int
    verified: bool


@dataclass(frozen=True, slots=True)
class _OfDay:
    day: int
    grade: int
    row: int | None


def adjudicate(
    question: Question,
    assessments: Sequence[Graded],
    competing: Sequence[CompetingEvent],
    *,
    as_of_day: int | None,
    last_assessment_day: int | None,
) -> Outcome:
    """Decide whether and when the grade was first reached; see the methods that ask."""
    if as_of_day is None:
        return no_anchor(verified=question.verified)
    reasons = [partly_dated(competing)]
    if any(a.earliest_day != a.latest_day for a in assessments):
        reasons.append("The date of an assessment is known in part only.")
    reasons += [
        f"Day {a.earliest_day}: {a.open_because}" for a in assessments if a.grade.at_least(question.at_least) is None
    ]
    highs = (False,) if all(a.grade.is_known for a in assessments) else (False, True)
    days = ENDS if any(a.earliest_day != a.latest_day for a in assessments) else ENDS[:1]
    readings = [
        _one_reading(question, assessments, competing, is_high, day, other, as_of_day, last_assessment_day)
        for is_high, day, other in product(highs, days, ends_of(competing))
    ]
    return agreed(readings, because=" ".join(reason for reason in reasons if reason))


def _one_reading(
    question: Question,
    assessments: Sequence[Graded],
    competing: Sequence[CompetingEvent],
    is_high: bool,
    day_end: End,
    competing_end: End,
    as_of_day: int,
    last_assessment_day: int | None,
) -> Outcome:
    read = sorted(
        (
            _OfDay(
                a.earliest_day if day_end == "earliest" else a.latest_day,
                a.grade.high if is_high else a.grade.low,
                a.row,
            )
            for a in assessments
        ),
        key=lambda each: each.day,
    )
    seen = [each for each in read if 0 <= each.day <= as_of_day]
    flags = _flags(question, read, seen)
    first = next((each for each in seen if each.grade >= question.at_least), None)
    if first is not None and question.horizon_day is not None and first.day > question.horizon_day:
        first = None
    events = dated(competing, competing_end, as_of_day=as_of_day)
    event = events[0] if events else None
    if event is not None and question.horizon_day is not None and event.earliest_day > question.horizon_day:
        event = None
    if beats(event, first.day if first else None, tie=question.tie):
        assert event is not None
        return came_first(event, flags=flags, verified=question.verified)
    if first is not None:
        says = question.name_of(first.grade)
        return Outcome(
            Status.REACHED,
            f"{says} on day {first.day}: the first assessment at {question.label}.",
            event_day=first.day,
            evidence=(Evidence(first.day, says, first.row),),
            flags=flags,
            verified=question.verified,
        )
    return _not_reached(question, seen, flags, as_of_day, last_assessment_day)


def _not_reached(
    question: Question, seen: Sequence[_OfDay], flags: tuple[str, ...], as_of_day: int, last_assessment_day: int | None
) -> Outcome:
    days = [each.day for each in seen]
    if last_assessment_day is not None:
        days.append(min(last_assessment_day, as_of_day))
    horizon, last = question.horizon_day, max(days, default=None)
    evidence = tuple(Evidence(each.day, question.name_of(each.grade), each.row) for each in seen)
    censored = last if last is None or horizon is None else min(last, horizon)
    if horizon is None or as_of_day <= horizon:
        status = Status.PENDING
        until = "" if horizon is None else f", and day {horizon} has not passed"
        sentence = f"Not at {question.label} by day {last}{until}." if last is not None else "No assessment so far."
    elif last is None or last < horizon - question.max_gap_days:
        status = Status.INSUFFICIENT_DATA
        sentence = (
            "There is no assessment."
            if last is None
            else f"The last assessment is of day {last}, before day {horizon}."
        )
    else:
        status = Status.NOT_REACHED
        sentence = f"Not at {question.label} by day {horizon}."
    return Outcome(status, sentence, censored_day=censored, evidence=evidence, flags=flags, verified=question.verified)


def _flags(question: Question, read: Sequence[_OfDay], seen: Sequence[_OfDay]) -> tuple[str, ...]:
    flags = [
        f"{question.name_of(each.grade)} on day {each.day}, before the day that is counted from: not counted"
        for each in read
        if each.day < 0 and each.grade >= question.at_least
    ]
    known = [0, *(each.day for each in seen)]
    flags += [
        f"{later - earlier} days without an assessment, day {earlier} to {later}"
        for earlier, later in zip(known, known[1:], strict=False)
        if later - earlier > question.max_gap_days
    ]
    return tuple(flags)
