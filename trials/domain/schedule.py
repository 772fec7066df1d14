"""Study days, planned visits and their windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from .definition import Protocol, VisitSpec

Date = date  # a field of PlannedVisit is called date

DAYS_PER_MONTH = Decimal("30.4375")
MAX_VISITS_OF_A_SERIES = 500


class WindowStatus(StrEnum):
    """Where a visit stands against its window."""

    NO_DATE = "no date"
    NOT_YET = "not yet"
    OPEN = "open"
    OVERDUE = "overdue"
    DONE = "done"
    EARLY = "early"
    LATE = "late"


@dataclass(frozen=True)
class PlannedVisit:
    """One visit; without an anchor date its days are known and its dates are not."""

    code: str
    label: str
    day: int | None
    earliest_day: int | None
    latest_day: int | None
    date: Date | None
    earliest: Date | None
    latest: Date | None
    forms: tuple[str, ...]
    analytes: tuple[str, ...]
    panels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    series: str = "visits"
    overlap_allowed: bool = False
    unscheduled: bool = False


def study_day(on: date, anchor_date: date, first_day: int) -> int:
    """The day number of a date; with ``first_day`` 1 the anchor is day 1, the day before it day -1, and day 0 is none.

    >>> study_day(date(2016, 3, 1), date(2016, 3, 1), 1), study_day(date(2016, 2, 29), date(2016, 3, 1), 1)
    (1, -1)
    """
    distance = (on - anchor_date).days
    return distance + first_day if distance >= 0 else distance


def date_of_day(day: int, anchor_date: date, first_day: int) -> date:
    """The date of a day number; raises ValueError for a day that does not exist."""
    return anchor_date + timedelta(days=_distance(day, first_day))


def planned_visits(
    protocol: Protocol, anchor_date: date | None, *, group: str | None = None
) -> tuple[PlannedVisit, ...]:
    """Every visit in the order of its day, unscheduled ones last; with ``group``, only those that group has."""
    visits = [visit for spec in protocol.schedule for visit in expanded(spec, protocol, anchor_date)]
    if group is not None:
        visits = [visit for visit in visits if not visit.groups or group in visit.groups]
    return tuple(sorted(visits, key=lambda visit: (visit.unscheduled, _order(visit))))


def expanded(spec: VisitSpec, protocol: Protocol, anchor_date: date | None) -> list[PlannedVisit]:
    """The visits of one clause of the schedule."""
    first_day = protocol.anchor.first_day
    analytes = tuple(dict.fromkeys([*(a for p in spec.panels for a in _panel(protocol, p)), *spec.analytes]))

    def visit(number: int, day: int | None, low: int | None, high: int | None) -> PlannedVisit:
        def on(some_day: int | None) -> date | None:
            if some_day is None or anchor_date is None:
                return None
            return date_of_day(some_day, anchor_date, first_day)

        words = {"{n}": str(number), "{day}": "" if day is None else str(day)}
        code, label = spec.code, spec.label
        for mark, word in words.items():
            code, label = code.replace(mark, word), label.replace(mark, word)
        return PlannedVisit(
            code=code,
            label=label,
            day=day,
            earliest_day=low,
            latest_day=high,
            date=on(day),
            earliest=on(low),
            latest=on(high),
            forms=spec.forms,
            analytes=analytes,
            panels=spec.panels,
            groups=spec.groups,
            series=spec.series,
            overlap_allowed=spec.overlap_allowed,
            unscheduled=spec.unscheduled,
        )

    if spec.unscheduled:
        return [visit(spec.number_from, None, None, None)]
    if spec.every is not None:
        numbered = enumerate(series_days(spec, first_day))
        return [
            visit(spec.number_from + index * spec.number_step, day, *window_days(spec, day, first_day))
            for index, day in numbered
        ]
    if spec.day is not None:
        return [visit(spec.number_from, spec.day, *window_days(spec, spec.day, first_day))]
    return [visit(spec.number_from, None, spec.from_day, spec.to_day)]


def series_days(spec: VisitSpec, first_day: int) -> list[int]:
    """The planned days of a series, from its first day to its last.

    Intervals in months are counted from the anchor: month 3 is day 91 (30.4375 days a month, rounded half up).
    """
    if spec.every is None or spec.from_day is None or spec.to_day is None:
        return []
    days: list[int] = []
    if spec.every.months is not None:
        month = spec.every.months
        while len(days) < MAX_VISITS_OF_A_SERIES:
            day = int((month * DAYS_PER_MONTH).quantize(Decimal(1), rounding=ROUND_HALF_UP))
            if day > spec.to_day:
                break
            if day >= spec.from_day:
                days.append(day)
            month += max(spec.every.months, 1)
        return days
    step = timedelta(days=spec.every.days or 0, weeks=spec.every.weeks or 0).days
    distance, last = _distance(spec.from_day, first_day), _distance(spec.to_day, first_day)
    while step > 0 and distance <= last and len(days) < MAX_VISITS_OF_A_SERIES:
        days.append(_day(distance, first_day))
        distance += step
    return days


def window_days(spec: VisitSpec, day: int, first_day: int) -> tuple[int, int]:
    """First and last day that still count; a day 0 that does not exist is stepped over."""
    distance = _distance(day, first_day)
    return _day(distance - spec.window_before, first_day), _day(distance + spec.window_after, first_day)


def window_status(planned: PlannedVisit, today: date, done_on: date | None = None) -> WindowStatus:
    """Whether the visit is due, overdue or done, and whether it was done inside its window.

    An unscheduled visit is never overdue; both ends of a window belong to it.
    """
    if planned.unscheduled:
        return WindowStatus.DONE if done_on else WindowStatus.OPEN
    if planned.earliest is None or planned.latest is None:
        return WindowStatus.DONE if done_on else WindowStatus.NO_DATE
    if done_on is not None:
        if done_on < planned.earliest:
            return WindowStatus.EARLY
        return WindowStatus.LATE if done_on > planned.latest else WindowStatus.DONE
    if today < planned.earliest:
        return WindowStatus.NOT_YET
    return WindowStatus.OVERDUE if today > planned.latest else WindowStatus.OPEN


def _distance(day: int, first_day: int) -> int:
    """Days from the anchor."""
    if 0 <= day < first_day:
        raise ValueError(f"there is no day {day} when the first day is {first_day}")
    return day - first_day if day >= first_day else day


def _day(distance: int, first_day: int) -> int:
    return distance + first_day if distance >= 0 else distance


def _panel(protocol: Protocol, panel_id: str) -> tuple[str, ...]:
    return next((panel.analytes for panel in protocol.panels if panel.id == panel_id), ())


def _order(visit: PlannedVisit) -> tuple[int, int]:
    first = visit.day if visit.day is not None else visit.earliest_day
    return (first if first is not None else 0, visit.latest_day or 0)
