"""Cumulative incidence of the endpoint with its band, the horizon, the numbers at risk and the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.domain.competing_risks import CumulativeIncidence, GrayTest, cumulative_incidence, gray_test
from analysis.domain.figures.risk_table import HEIGHT, WIDTH, numbers
from trials.domain.figures import COLOURS, DASHES, GREY, Spec, Table, framed, inline, p_value, percent

EVENT, COMPETING, CENSORED = 1, 2, 0


@dataclass(frozen=True)
class Subject:
    """One participant: days until the endpoint (1), a competing event (2) or the end of what is known (0)."""

    participant: int
    group: str
    time_days: int
    cause: int


@dataclass(frozen=True)
class Group:
    """One curve."""

    id: str
    label: str
    n: int
    curve: CumulativeIncidence


@dataclass(frozen=True)
class Incidence:
    """The curves of all groups, and Gray's test where there are two or more. Days count from ``origin``."""

    label: str
    origin: str
    horizon_day: int
    last_day: int
    groups: tuple[Group, ...]
    test: GrayTest | None

    @property
    def ticks(self) -> tuple[int, ...]:
        """The days below which the numbers at risk stand: steps of 20 days (or a fifth), and the horizon."""
        step = 20 if self.horizon_day % 20 == 0 else max(self.horizon_day // 5, 1)
        return tuple(range(0, self.horizon_day, step)) + (self.horizon_day,)


def incidence(
    subjects: Iterable[Subject], labels: Mapping[str, str], *, label: str, origin: str, horizon_day: int, last_day: int
) -> Incidence | None:
    """Estimate the curve of each group of ``labels``, in that order; None where there is nobody to count.

    The interval is symmetric on log(-log F), with Gray's variance, as PARACHUTE printed it (Lancet Haematol 2022;
    9: e111-20, Statistical analysis).
    """
    people = [subject for subject in subjects if subject.group in labels]
    groups = []
    for key, words in labels.items():
        own = [subject for subject in people if subject.group == key]
        if own:
            curve = cumulative_incidence([s.time_days for s in own], [s.cause for s in own])
            groups.append(Group(key, words, len(own), curve))
    if not groups:
        return None
    return Incidence(label, origin, horizon_day, last_day, tuple(groups), _test(people) if len(groups) > 1 else None)


def _test(people: Sequence[Subject]) -> GrayTest | None:
    """Gray's test; None while the groups cannot be compared: no event yet, or never two groups at risk together."""
    try:
        return gray_test([s.time_days for s in people], [s.cause for s in people], [s.group for s in people])
    except ValueError:
        return None


def spec(result: Incidence) -> Spec:
    """The curves over a table of the numbers at risk and of the events so far, aligned with the days."""
    domain = [group.label for group in result.groups]
    colour = {"domain": domain, "range": list(COLOURS[: len(domain)])}
    dash = {"domain": domain, "range": [list(one) for one in DASHES[: len(domain)]]}
    x = {
        "field": "day",
        "type": "quantitative",
        "scale": {"domain": [0, result.last_day], "nice": False},
        "axis": {"values": list(result.ticks), "title": f"Day after {result.origin}", "grid": False},
    }
    legend = None if len(domain) == 1 else {"symbolStrokeWidth": 2.5, "symbolType": "stroke", "symbolOpacity": 1}
    shared = {"field": "group", "type": "nominal"}
    curve = {
        "width": WIDTH,
        "height": HEIGHT,
        "layer": [
            {
                "data": inline(_steps(result)),
                "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.14, "aria": False},
                "encoding": {
                    "x": x,
                    "y": {"field": "lower", "type": "quantitative"},
                    "y2": {"field": "upper"},
                    "color": {**shared, "scale": colour, "legend": legend},
                },
            },
            {
                "data": inline([{"day": result.horizon_day, "words": f"day {result.horizon_day}"}]),
                "layer": [
                    {
                        "mark": {"type": "rule", "color": GREY, "strokeDash": [2, 3], "aria": False},
                        "encoding": {"x": x},
                    },
                    {
                        "mark": {"type": "text", "align": "right", "baseline": "top", "dx": -5, "aria": False},
                        "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "words"}},
                    },
                ],
            },
            {
                "data": inline(_steps(result)),
                "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.25},
                "encoding": {
                    "x": x,
                    "y": {
                        "field": "estimate",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1]},
                        "axis": {"title": result.label, "format": ".0%", "tickCount": 5},
                    },
                    "color": {**shared, "scale": colour, "legend": legend},
                    "strokeDash": {**shared, "scale": dash, "legend": legend},
                    "description": {"field": "words", "type": "nominal"},
                },
            },
        ],
    }
    rows = (("At risk", "at_risk"), ("Events", "events"))
    below = [numbers(_counts(result), domain, x, title=title, field=field) for title, field in rows]
    return framed(vconcat=[curve, *below], spacing=8, resolve={"scale": {"x": "shared"}})


def _steps(result: Incidence) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for group in result.groups:
        curve, words = group.curve, f"{group.label}: {in_words(result, group)}"
        last = float(max(curve.time[-1], result.last_day if _is_known_to_the_end(group) else curve.time[-1]))
        days = sorted({0.0, *curve.time[curve.n_event > 0].tolist(), min(last, float(result.last_day))})
        at = curve.at([day for day in days if day <= result.last_day])
        for day, estimate, lower, upper in zip(at.time, at.estimate, at.lower, at.upper, strict=True):
            rows.append(
                {
                    "group": group.label,
                    "day": float(day),
                    "estimate": round(float(estimate), 6),
                    "lower": round(float(_or(lower, estimate)), 6),
                    "upper": round(float(_or(upper, estimate)), 6),
                    "words": words,
                }
            )
    return rows


def _is_known_to_the_end(group: Group) -> bool:
    """Whether nobody is left whose future could raise the curve: it runs on level."""
    curve = group.curve
    return int(curve.n_risk[-1]) == int(curve.n_event[-1] + curve.n_competing[-1])


def _or(limit: float, estimate: float) -> float:
    """A limit; the estimate where there is none, which is where the curve has come to 1."""
    return float(estimate if np.isnan(limit) else limit)


def _counts(result: Incidence) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for group in result.groups:
        at = group.curve.at(list(result.ticks))
        for day, at_risk, events in zip(result.ticks, at.n_risk, np.cumsum(at.n_event), strict=True):
            rows.append({"group": group.label, "day": day, "at_risk": int(at_risk), "events": int(events)})
    return rows


def in_words(result: Incidence, group: Group) -> str:
    """The estimate at the horizon with its interval."""
    at = group.curve.at(result.horizon_day)
    estimate = float(at.estimate)
    lower, upper = _or(float(at.lower), estimate), _or(float(at.upper), estimate)
    return f"{percent(estimate)} by day {result.horizon_day} (95 % CI {100 * lower:.0f} to {100 * upper:.0f})"


def method(result: Incidence) -> str:
    """How the curves and the test were computed, for the caption."""
    words = "Aalen-Johansen estimate; 95 % confidence limits on the scale log(-log F), Gray's variance."
    return words + (f" Gray's test: {p_value(result.test.p_value)}." if result.test else "")


def table(result: Incidence) -> Table:
    """One row a group and day: at risk, events and competing events so far, the estimate with its limits."""
    rows: list[tuple[str | int, ...]] = []
    for group in result.groups:
        at = group.curve.at(list(result.ticks))
        competing = [int(group.curve.n_competing[group.curve.time <= day].sum()) for day in result.ticks]
        for place, day in enumerate(result.ticks):
            estimate = float(at.estimate[place])
            limits = (_or(float(at.lower[place]), estimate), _or(float(at.upper[place]), estimate))
            rows.append(
                (
                    group.label,
                    day,
                    int(at.n_risk[place]),
                    int(np.cumsum(at.n_event)[place]),
                    competing[place],
                    percent(estimate, 1),
                    f"{100 * limits[0]:.1f} to {100 * limits[1]:.1f}",
                )
            )
    return Table(("Group", "Day", "At risk", "Events", "Competing events", "Estimate", "95 % CI"), tuple(rows))
