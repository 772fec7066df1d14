"""Kaplan-Meier curves with their bands, who was lost when, and the numbers at risk below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from analysis.domain.figures.risk_table import HEIGHT, WIDTH, numbers
from analysis.domain.survival import KaplanMeier, LogRank, kaplan_meier, log_rank
from trials.domain.figures import COLOURS, DASHES, Spec, Table, framed, inline, p_value, percent

DAYS_A_MONTH = 365.25 / 12
#: Beyond this day the axis is of months.
LAST_DAY_IN_DAYS = 200
MOST_TICKS = 8
STEPS = {"day": (10, 20, 30, 50), "month": (1, 2, 3, 6, 12, 24, 60, 120)}
#: A short upright stroke, as the shape of a mark.
UPRIGHT = "M0,-1L0,1"


@dataclass(frozen=True)
class Subject:
    """One participant: days until the event, or (``event`` False) until the end of what is known."""

    participant: int
    group: str
    time_days: int
    event: bool


@dataclass(frozen=True)
class Group:
    """One curve."""

    id: str
    label: str
    n: int
    curve: KaplanMeier


@dataclass(frozen=True)
class Survival:
    """The curves of all groups, and the log-rank test where there are two or more. Days count from ``origin``.

    ``read_at_days`` are the days whose estimate the protocol names; they are told in words.
    """

    label: str
    origin: str
    last_day: int
    read_at_days: tuple[int, ...]
    groups: tuple[Group, ...]
    test: LogRank | None

    @property
    def unit(self) -> str:
        return "day" if self.last_day <= LAST_DAY_IN_DAYS else "month"

    @property
    def days_a_unit(self) -> float:
        return 1.0 if self.unit == "day" else DAYS_A_MONTH

    @property
    def ticks(self) -> tuple[int, ...]:
        """The times, in ``unit``, below which the numbers at risk stand: at most eight even steps."""
        last = self.last_day / self.days_a_unit
        step = next((step for step in STEPS[self.unit] if last / step <= MOST_TICKS), STEPS[self.unit][-1])
        return tuple(range(0, int(last + 1e-9) + 1, step))

    def days(self, ticks: Sequence[int]) -> list[float]:
        return [tick * self.days_a_unit for tick in ticks]


def survival(
    subjects: Iterable[Subject],
    labels: Mapping[str, str],
    *,
    label: str,
    origin: str,
    last_day: int | None = None,
    read_at_days: Sequence[int] = (),
) -> Survival | None:
    """Estimate the curve of each group of ``labels``, in that order; None where there is nobody to count.

    ``last_day`` ends the axis (None: the last day that anybody is known). The limits are symmetric on log S.
    """
    people = [subject for subject in subjects if subject.group in labels]
    groups = []
    for key, words in labels.items():
        own = [subject for subject in people if subject.group == key]
        if own:
            curve = kaplan_meier([s.time_days for s in own], [int(s.event) for s in own])
            groups.append(Group(key, words, len(own), curve))
    if not groups:
        return None
    last = last_day if last_day is not None else max(1, *(subject.time_days for subject in people))
    return Survival(label, origin, last, tuple(read_at_days), tuple(groups), _test(people) if len(groups) > 1 else None)


def _test(people: Sequence[Subject]) -> LogRank | None:
    """The log-rank test; None while the groups cannot be compared: no event yet, or never two groups at risk."""
    try:
        return log_rank([s.time_days for s in people], [int(s.event) for s in people], [s.group for s in people])
    except ValueError:
        return None


def spec(result: Survival) -> Spec:
    """The curves with their bands and the strokes of who was lost, over a table of the numbers at risk."""
    domain = [group.label for group in result.groups]
    colour = {"domain": domain, "range": [COLOURS[n % len(COLOURS)] for n in range(len(domain))]}
    dash = {"domain": domain, "range": [list(DASHES[n % len(DASHES)]) for n in range(len(domain))]}
    x = {
        "field": "time",
        "type": "quantitative",
        "scale": {"domain": [0, round(result.last_day / result.days_a_unit, 4)], "nice": False},
        "axis": {
            "values": list(result.ticks),
            "title": f"{result.unit.capitalize()}s after {result.origin}",
            "grid": False,
        },
    }
    y = {
        "field": "estimate",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"title": result.label, "format": ".0%", "tickCount": 5},
    }
    legend = None if len(domain) == 1 else {"symbolStrokeWidth": 2.5, "symbolType": "stroke", "symbolOpacity": 1}
    shared = {"field": "group", "type": "nominal"}
    colours = {**shared, "scale": colour, "legend": legend}
    steps, lost = _steps(result), _lost(result)
    layers: list[Spec] = [
        {
            "name": "band",
            "data": inline(steps),
            "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.14, "aria": False},
            "encoding": {
                "x": x,
                "y": {"field": "lower", "type": "quantitative"},
                "y2": {"field": "upper"},
                "color": colours,
            },
        },
        {
            "name": "curve",
            "data": inline(steps),
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.25},
            "encoding": {
                "x": x,
                "y": y,
                "color": colours,
                "strokeDash": {**shared, "scale": dash, "legend": legend},
                "description": {"field": "words", "type": "nominal"},
            },
        },
    ]
    if lost:
        layers.append(
            {
                "name": "lost",
                "data": inline(lost),
                "mark": {"type": "point", "shape": UPRIGHT, "size": 90, "strokeWidth": 1.5, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": {**shared, "scale": colour, "legend": None},
                    "description": {"field": "words", "type": "nominal"},
                },
            }
        )
    curve = {"width": WIDTH, "height": HEIGHT, "layer": layers}
    at_risk = [
        {"group": group.label, "time": tick, "at_risk": int(n)}
        for group in result.groups
        for tick, n in zip(result.ticks, group.curve.at(result.days(result.ticks)).n_risk, strict=True)
    ]
    below = numbers(at_risk, domain, x, title="At risk", field="at_risk")
    return framed(vconcat=[curve, below], spacing=8, resolve={"scale": {"x": "shared"}})


def _steps(result: Survival) -> list[dict[str, object]]:
    """Where each curve steps, from 0 to the last time that anybody of the group is known."""
    rows: list[dict[str, object]] = []
    for group in result.groups:
        curve = group.curve
        last = min(float(curve.time[-1]), float(result.last_day))
        days = sorted({0.0, *(day for day in curve.time[curve.n_event > 0].tolist() if day <= last), last})
        at = curve.at(days)
        words = f"{group.label}: {in_words(result, group)}"
        for day, estimate, lower, upper in zip(at.time, at.estimate, at.lower, at.upper, strict=True):
            rows.append(
                {
                    "group": group.label,
                    "time": round(float(day) / result.days_a_unit, 4),
                    "estimate": round(float(estimate), 6),
                    "lower": round(_or(lower, estimate), 6),
                    "upper": round(_or(upper, estimate), 6),
                    "words": words,
                }
            )
    return rows


def _lost(result: Survival) -> list[dict[str, object]]:
    """One stroke at each time at which somebody's follow-up ended without the event."""
    rows: list[dict[str, object]] = []
    for group in result.groups:
        curve = group.curve
        for day, n, estimate in zip(curve.time, curve.n_censor, curve.estimate, strict=True):
            if n and day <= result.last_day:
                words = f"{group.label}, day {day:g}: follow-up of {n} ends, estimate {percent(float(estimate), 1)}"
                time = round(float(day) / result.days_a_unit, 4)
                rows.append({"group": group.label, "time": time, "estimate": round(float(estimate), 6), "words": words})
    return rows


def _or(limit: float, estimate: float) -> float:
    """A limit; the estimate where there is none, which is where the curve has come to 0."""
    return float(estimate if np.isnan(limit) else limit)


def in_words(result: Survival, group: Group) -> str:
    """The estimates at the days that the protocol names (or at the end of the axis), or that nobody was followed so
    far."""
    said = []
    for day in result.read_at_days or (result.last_day,):
        if day > float(group.curve.time[-1]) and float(group.curve.estimate[-1]) > 0:
            said.append(f"nobody was followed to {_named(result, day)}")
            continue
        at = group.curve.at(day)
        estimate = float(at.estimate)
        lower, upper = _or(float(at.lower), estimate), _or(float(at.upper), estimate)
        said.append(f"{percent(estimate, 1)} at {_named(result, day)} (95 % CI {100 * lower:.1f} to {100 * upper:.1f})")
    return ", ".join(said)


def _named(result: Survival, day: int) -> str:
    if result.unit == "day":
        return f"day {day}"
    months = day / DAYS_A_MONTH
    return f"{round(months)} months" if abs(months - round(months)) < 0.05 else f"day {day}"


def method(result: Survival) -> str:
    """How the curves and the test were computed, for the caption."""
    words = "Kaplan-Meier estimate; 95 % confidence limits on the scale log S, Greenwood's variance."
    return words + (f" Log-rank test: {p_value(result.test.p_value)}." if result.test else "")


def table(result: Survival) -> Table:
    """One row a group and time: at risk, events and losses so far, the estimate with its limits, the median."""
    rows: list[tuple[str | int, ...]] = []
    for group in result.groups:
        curve = group.curve
        days = result.days(result.ticks)
        at = curve.at(days)
        for place, (tick, day) in enumerate(zip(result.ticks, days, strict=True)):
            estimate = float(at.estimate[place])
            limits = (_or(float(at.lower[place]), estimate), _or(float(at.upper[place]), estimate))
            is_known = day <= float(curve.time[-1]) or float(curve.estimate[-1]) == 0
            rows.append(
                (
                    group.label,
                    tick,
                    int(at.n_risk[place]),
                    int(np.cumsum(at.n_event)[place]),
                    int(np.cumsum(at.n_censor)[place]),
                    percent(estimate, 1) if is_known else "not known",
                    f"{100 * limits[0]:.1f} to {100 * limits[1]:.1f}" if is_known else "",
                )
            )
    unit = result.unit.capitalize()
    return Table(("Group", unit, "At risk", "Events", "Follow-up ended", "Estimate", "95 % CI"), tuple(rows))


def median_words(result: Survival, group: Group) -> str:
    """The median time of a group, in the unit of the axis."""
    median = float(group.curve.quantile(0.5).estimate)
    return "median not reached" if isnan(median) else f"median {median / result.days_a_unit:.1f} {result.unit}s"
