"""Enrolment against the plan: everybody so far, the number planned, and each site by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from trials.domain.figures import BLUE, GREY, ORANGE, Spec, Table, framed, inline

WIDTH, HEIGHT = 560, 240
SPARK_WIDTH, SPARK_HEIGHT, SPARKS_A_ROW = 120, 40, 4
#: The pace is that of so many last days.
PACE_DAYS = 91


@dataclass(frozen=True)
class Enrolled:
    """One participant: the site, and the day of enrolment there."""

    site: str
    day: date


@dataclass(frozen=True)
class Accrual:
    """Cumulative numbers by day, of all and of each site, up to ``until``.

    ``planned`` is None where the definition names no number; it was to be reached between ``plan_from`` and
    ``plan_until``, where those days are known.
    """

    days: tuple[tuple[date, int], ...]
    sites: tuple[tuple[str, tuple[tuple[date, int], ...]], ...]
    until: date
    planned: int | None
    plan_from: date | None = None
    plan_until: date | None = None

    @property
    def total(self) -> int:
        return self.days[-1][1] if self.days else 0

    @property
    def a_month(self) -> float:
        """Participants a month, over the last quarter (or since the first, where that is less)."""
        since = max(self.until - timedelta(days=PACE_DAYS - 1), self.days[0][0])
        before = max((n for day, n in self.days if day < since), default=0)
        return (self.total - before) / ((self.until - since).days + 1) * 365.25 / 12

    @property
    def full_on(self) -> date | None:
        """When the planned number is reached at the pace of the last quarter; None where there is no telling."""
        if self.planned is None or self.total >= self.planned or self.a_month <= 0:
            return None
        months = (self.planned - self.total) / self.a_month
        return self.until + timedelta(days=round(months * 365.25 / 12)) if months < 600 else None


def accrual(
    enrolled: Iterable[Enrolled],
    *,
    until: date,
    planned: int | None,
    plan_from: date | None = None,
    plan_until: date | None = None,
) -> Accrual | None:
    """Count by day; None while nobody is enrolled.

    Raises ValueError for an enrolment after ``until``, and for a plan that ends before it begins.
    """
    people = sorted(enrolled, key=lambda one: one.day)
    if not people:
        return None
    if people[-1].day > until:
        raise ValueError(f"day of an enrolment is {people[-1].day}, after until, {until}")
    if plan_from is not None and plan_until is not None and plan_until <= plan_from:
        raise ValueError(f"plan_until is {plan_until}, not after plan_from, {plan_from}")
    sites = sorted({one.site for one in people})
    return Accrual(
        _cumulative([one.day for one in people]),
        tuple((site, _cumulative([one.day for one in people if one.site == site])) for site in sites),
        until,
        planned,
        plan_from,
        plan_until,
    )


def _cumulative(days: list[date]) -> tuple[tuple[date, int], ...]:
    return tuple({day: place for place, day in enumerate(sorted(days), start=1)}.items())


def spec(result: Accrual) -> Spec:
    """The steps of enrolment under the number planned, and (where it is dated) the line of the plan."""
    rows = _steps(result.days, result)
    # A specification has no dates: a day is a number of milliseconds in UTC, so that no time zone moves it.
    x = {
        "field": "day",
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {"title": None, "grid": False, "tickCount": 6, "format": "%b %Y"},
    }
    y = {
        "field": "n",
        "type": "quantitative",
        "axis": {"title": "Participants enrolled", "tickMinStep": 1, "tickCount": 6},
    }
    layers: list[Spec] = [
        {
            "name": "enrolled",
            "data": inline(rows),
            "mark": {"type": "line", "interpolate": "step-after", "color": BLUE, "strokeWidth": 2.5},
            "encoding": {"x": x, "y": y, "description": {"field": "words", "type": "nominal"}},
        }
    ]
    if result.planned is not None:
        planned = {"n": result.planned, "words": f"{result.planned} planned", "day": _ms(result.until)}
        layers.append(
            {
                "name": "planned",
                "data": inline([planned]),
                "layer": [
                    {
                        "mark": {
                            "type": "rule",
                            "color": ORANGE,
                            "strokeDash": [6, 3],
                            "strokeWidth": 1.5,
                            "aria": False,
                        },
                        "encoding": {"y": y},
                    },
                    {
                        "mark": {"type": "text", "align": "right", "baseline": "bottom", "dy": -4, "aria": False},
                        "encoding": {"x": {"value": WIDTH}, "y": y, "text": {"field": "words"}},
                    },
                ],
            }
        )
    plan = _plan(result)
    if plan:
        layers.append(
            {
                "name": "plan",
                "data": inline(plan),
                "mark": {"type": "line", "color": ORANGE, "strokeDash": [2, 2], "strokeWidth": 2},
                "encoding": {"x": x, "y": y, "description": {"field": "words", "type": "nominal"}},
            }
        )
    whole = {"width": WIDTH, "height": HEIGHT, "layer": layers}
    if len(result.sites) < 2:
        return framed(**whole)
    most = max(steps[-1][1] for _, steps in result.sites)
    sparks = [
        {
            "width": SPARK_WIDTH,
            "height": SPARK_HEIGHT,
            "title": {"text": f"{site}: {steps[-1][1]}", "anchor": "start", "fontSize": 12, "fontWeight": "normal"},
            "layer": [
                {
                    "name": f"site {site}",
                    "data": inline(_steps(steps, result, site)),
                    "mark": {"type": "line", "interpolate": "step-after", "color": BLUE, "strokeWidth": 1.75},
                    "encoding": {
                        "x": {**x, "axis": None},
                        "y": {
                            **y,
                            "scale": {"domain": [0, most]},
                            "axis": {
                                "title": None,
                                "labels": False,
                                "ticks": False,
                                "domainColor": GREY,
                                "grid": False,
                            },
                        },
                        "description": {"field": "words", "type": "nominal"},
                    },
                }
            ],
        }
        for site, steps in result.sites
    ]
    return framed(vconcat=[whole, {"concat": sparks, "columns": SPARKS_A_ROW, "spacing": 14}], spacing=22)


def _ms(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86_400_000


def _steps(steps: tuple[tuple[date, int], ...], result: Accrual, site: str = "") -> list[dict[str, object]]:
    """From nothing on the first day of the trial to what there is on the last."""
    first = result.days[0][0]
    whole = [(first, 0), *steps]
    if steps[-1][0] < result.until:
        whole.append((result.until, steps[-1][1]))
    words = f"{site or 'All sites'}: {steps[-1][1]} enrolled by {result.until:%d-%b-%Y}"
    return [{"day": _ms(day), "n": n, "words": words} for day, n in whole]


def _plan(result: Accrual) -> list[dict[str, object]]:
    if result.planned is None or result.plan_from is None or result.plan_until is None:
        return []
    words = f"Plan: {result.planned} from {result.plan_from:%d-%b-%Y} to {result.plan_until:%d-%b-%Y}"
    return [
        {"day": _ms(result.plan_from), "n": 0, "words": words},
        {"day": _ms(result.plan_until), "n": result.planned, "words": words},
    ]


def in_words(result: Accrual) -> str:
    """How many of how many, the pace, and when the number is reached at it."""
    said = f"{result.total} enrolled" if result.planned is None else f"{result.total} of {result.planned} enrolled"
    said += f", {result.a_month:.1f} a month over the last {PACE_DAYS} days"
    if result.full_on is not None:
        said += f"; at that pace the number is reached in {result.full_on:%B %Y}"
    return said


def table(result: Accrual) -> Table:
    """One row a month: enrolled in it at each site and in all, and so far."""
    months: dict[tuple[int, int], dict[str, int]] = {}
    first, last = result.days[0][0], result.until
    year, month = first.year, first.month
    while (year, month) <= (last.year, last.month):
        months[year, month] = {}
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    for site, steps in result.sites:
        before = 0
        for day, n in steps:
            counts = months[day.year, day.month]
            counts[site] = counts.get(site, 0) + n - before
            before = n
    names = [site for site, _ in result.sites]
    so_far = 0
    rows: list[tuple[str | int, ...]] = []
    for (year, month), counts in months.items():
        so_far += sum(counts.values())
        rows.append((f"{date(year, month, 1):%b %Y}", *(counts.get(name, 0) for name in names), so_far))
    return Table(("Month", *names, "All so far"), tuple(rows))
