"""The concentration of a drug over time, the infusions above it, and the exposure before and after the graft below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trials.domain.figures import BLUE, GREY, INK, ORANGE, PALE, Spec, Table, framed, inline

WIDTH, DOSE_HEIGHT, HEIGHT, AREA_HEIGHT = 820, 70, 300, 90
#: Concentrations below this share of the peak are off the figure; the curve ends there.
FLOOR_SHARE = 1e-3
#: Days between two strokes of the hatching before the graft.
HATCH_DAY = 0.25
DECADES = [10.0**power for power in range(-6, 7)]
WINDOW_WORDS = {"pre": "before the graft", "post": "after the graft", "total": "in total"}


@dataclass(frozen=True)
class Dose:
    """An infusion, days from the graft; ``is_given`` tells it from one that is planned."""

    start_day: float
    end_day: float
    mg: float
    is_given: bool


@dataclass(frozen=True)
class Sample:
    """A measured level as it was written. Below the limit it stands at the limit, and says so."""

    day: float
    value: float
    words: str
    is_below_limit: bool = False


@dataclass(frozen=True)
class Area:
    """Exposure of one window with its interval, where one was computed. ``target`` is (low, high) of the same unit and
    window, or None."""

    window: str
    value: float
    low: float | None
    high: float | None
    target: tuple[float | None, float | None] | None = None


@dataclass(frozen=True)
class PkCurve:
    """Everything on the figure. Days count from the graft; the curve's arrays are of one length.

    Without ``low`` and ``high`` the curve has no interval.
    """

    drug: str
    unit: str
    area_unit: str
    days: tuple[float, ...]
    central: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    doses: tuple[Dose, ...]
    samples: tuple[Sample, ...]
    areas: tuple[Area, ...]
    level: float
    notice: str

    @property
    def floor(self) -> float:
        return max(self.upper, default=1.0) * FLOOR_SHARE or FLOOR_SHARE

    @property
    def upper(self) -> tuple[float, ...]:
        return self.high or self.central

    @property
    def last_day(self) -> float:
        """Where the upper end of the interval falls below what the figure shows, or the curve's end."""
        seen = [day for day, high in zip(self.days, self.upper, strict=True) if high > self.floor]
        return max([1.0, *seen])


def spec(curve: PkCurve) -> Spec:
    """Doses as bars, the curve on a logarithmic axis, the areas with their intervals: one under the other.

    Before the graft the area is hatched, after it solid, so that it reads without colour.
    """
    first = min([-1.0, *(dose.start_day for dose in curve.doses)]) - 0.5
    x = {
        "type": "quantitative",
        "scale": {"domain": [first, curve.last_day], "nice": False},
        "axis": {"title": None, "grid": False},
    }
    parts = [_doses(curve, x), _course(curve, x)] if curve.doses else [_course(curve, x)]
    if curve.areas:
        parts.append(_areas(curve))
    return framed(vconcat=parts, spacing=18)


def _doses(curve: PkCurve, x: Spec) -> Spec:
    rows = [
        {
            "from": dose.start_day,
            "to": dose.end_day,
            "mg": dose.mg,
            "none": 0,
            "words": f"day {dose.start_day:.1f}: {dose.mg:g} mg {'given' if dose.is_given else 'planned'}",
            "is": "given" if dose.is_given else "planned",
        }
        for dose in curve.doses
    ]
    return {
        "width": WIDTH,
        "height": DOSE_HEIGHT,
        "layer": [
            {
                "name": f"doses_{kind}",
                "data": inline([row for row in rows if row["is"] == kind]),
                "mark": {"type": "rect", "stroke": INK, "strokeWidth": 1, **style},
                "encoding": {
                    "x": {
                        **x,
                        "field": "from",
                        "axis": {"labels": False, "ticks": False, "title": None, "grid": False},
                    },
                    "x2": {"field": "to"},
                    "y": {
                        "field": "mg",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1.1 * max(dose.mg for dose in curve.doses)], "nice": False},
                        "axis": {"title": "mg", "tickCount": 2, "grid": False},
                    },
                    "y2": {"field": "none"},
                    "description": {"field": "words", "type": "nominal"},
                },
            }
            for kind, style in (
                ("given", {"fill": INK}),
                ("planned", {"fill": PALE, "strokeDash": [2, 2]}),
            )
            if any(row["is"] == kind for row in rows)
        ],
    }


def _course(curve: PkCurve, x: Spec) -> Spec:
    floor, last = curve.floor, curve.last_day
    rows: list[dict[str, object]] = [
        {
            "day": day,
            "value": max(value, floor),
            "floor": floor,
            **{end: max(bound, floor) for end, bound in zip(("low", "high"), bounds, strict=False)},
        }
        for day, value, *bounds in _points(curve)
        if day <= last
    ]
    drawn = [row for row in rows if float(str(row["value"])) > floor]
    across = {**x, "field": "day", "axis": {"title": "Day after the graft", "grid": False, "tickCount": 10}}
    up = {
        "field": "value",
        "type": "quantitative",
        "scale": {"type": "log", "domain": [floor, 1.3 * max([*curve.upper, *(s.value for s in curve.samples)])]},
        "axis": {"title": f"{curve.drug} ({curve.unit})", "format": "~g", "values": DECADES},
    }
    hatched, solid = _hatching(drawn), [row for row in drawn if float(str(row["day"])) >= 0]
    layers: list[Spec] = [
        {
            "name": "before",
            "data": inline(hatched),
            "mark": {"type": "rule", "color": BLUE, "strokeWidth": 1, "opacity": 0.7, "aria": False},
            "encoding": {"x": across, "y": up, "y2": {"field": "floor"}},
        },
        {
            "name": "after",
            "data": inline(solid),
            "mark": {"type": "area", "color": BLUE, "opacity": 0.45, "aria": False},
            "encoding": {"x": across, "y": {**up, "field": "floor"}, "y2": {"field": "value"}},
        },
        *(
            {
                "name": f"interval_{end}",
                "data": inline(row for row in rows if float(str(row[end])) > floor),
                "mark": {"type": "line", "color": GREY, "strokeWidth": 1.5, "strokeDash": [5, 3], "aria": False},
                "encoding": {"x": across, "y": {**up, "field": end}},
            }
            for end in (("low", "high") if curve.high else ())
        ),
        {
            "name": "curve",
            "data": inline([{**row, "words": _curve_words(curve)} for row in drawn]),
            "mark": {"type": "line", "color": BLUE, "strokeWidth": 2},
            "encoding": {"x": across, "y": up, "description": {"field": "words", "type": "nominal"}},
        },
        {
            "data": inline([{"day": 0, "words": "graft, day 0"}]),
            "layer": [
                {
                    "mark": {"type": "rule", "color": INK, "strokeWidth": 1.5, "strokeDash": [6, 3], "aria": False},
                    "encoding": {"x": across},
                },
                {
                    "mark": {"type": "text", "align": "left", "dx": 5, "baseline": "top", "aria": False},
                    "encoding": {"x": across, "y": {"value": 2}, "text": {"field": "words"}},
                },
            ],
        },
    ]
    for below, shape in ((False, "circle"), (True, "triangle-down")):
        these = [sample for sample in curve.samples if sample.is_below_limit is below]
        if these:
            layers.append(
                {
                    "name": "samples" if not below else "samples_below_limit",
                    "data": inline(
                        {"day": one.day, "value": max(one.value, floor), "words": f"day {one.day:.2f}: {one.words}"}
                        for one in these
                    ),
                    "mark": {
                        "type": "point",
                        "shape": shape,
                        "filled": not below,
                        "color": ORANGE,
                        "size": 70,
                        "strokeWidth": 2,
                        "opacity": 1,
                    },
                    "encoding": {"x": across, "y": up, "description": {"field": "words", "type": "nominal"}},
                }
            )
    return {"width": WIDTH, "height": HEIGHT, "layer": layers}


def _points(curve: PkCurve) -> list[tuple[float, ...]]:
    """Day and concentration, and the ends of the interval where there is one."""
    bounds = [curve.low, curve.high] if curve.high else []
    return list(zip(curve.days, curve.central, *bounds, strict=True))


def _hatching(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Rows before the graft that are at least a stroke apart."""
    kept: list[dict[str, object]] = []
    for row in rows:
        day = float(str(row["day"]))
        if day < 0 and (not kept or day - float(str(kept[-1]["day"])) >= HATCH_DAY * 0.99):
            kept.append(row)
    return kept


def _areas(curve: PkCurve) -> Spec:
    rows = [
        {
            "window": WINDOW_WORDS[area.window],
            "value": area.value,
            "low": area.low,
            "high": area.high,
            "label": f"{area.value:.1f}",
            "words": area_words(curve, area),
        }
        for area in curve.areas
    ]
    order = [WINDOW_WORDS[area.window] for area in curve.areas]
    y = {"field": "window", "type": "nominal", "sort": order, "axis": {"title": None, "ticks": False, "domain": False}}
    most = max(
        [
            *(a.value if a.high is None else a.high for a in curve.areas),
            *(e for a in curve.areas for e in (a.target or ()) if e is not None),
        ]
    )
    x = {
        "type": "quantitative",
        "scale": {"domain": [0, 1.08 * most], "nice": False},
        "axis": {"title": f"Exposure ({curve.area_unit}), interval of {100 * curve.level:.0f} %", "tickCount": 6},
    }
    bands = [
        {
            "window": WINDOW_WORDS[area.window],
            "from": area.target[0] if area.target[0] is not None else 0,
            "to": area.target[1] if area.target[1] is not None else 1.08 * most,
            "words": f"target {WINDOW_WORDS[area.window]}",
        }
        for area in curve.areas
        if area.target is not None
    ]
    layers: list[Spec] = []
    if bands:
        layers.append(
            {
                "name": "targets",
                "data": inline(bands),
                "mark": {"type": "bar", "height": 22, "color": PALE, "stroke": GREY, "strokeDash": [4, 2]},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "from"},
                    "x2": {"field": "to"},
                    "description": {"field": "words", "type": "nominal"},
                },
            }
        )
    layers += [
        {
            "name": "intervals",
            "data": inline([row for row in rows if row["low"] is not None]),
            "mark": {"type": "rule", "color": INK, "strokeWidth": 2, "aria": False},
            "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
        },
        {
            "name": "areas",
            "data": inline(rows),
            "mark": {"type": "point", "filled": True, "color": BLUE, "size": 90, "opacity": 1},
            "encoding": {
                "y": y,
                "x": {**x, "field": "value"},
                "description": {"field": "words", "type": "nominal"},
            },
        },
        {
            "name": "numbers",
            "data": inline(rows),
            "mark": {"type": "text", "dy": -11, "aria": False},
            "encoding": {"y": y, "x": {**x, "field": "value"}, "text": {"field": "label"}},
        },
    ]
    return {"width": WIDTH, "height": AREA_HEIGHT, "layer": layers}


def _curve_words(curve: PkCurve) -> str:
    return f"predicted {curve.drug}, {curve.unit}"


def area_words(curve: PkCurve, area: Area) -> str:
    """One area in a sentence."""
    said = f"exposure {WINDOW_WORDS[area.window]} {area.value:.1f} {curve.area_unit}"
    if area.low is None or area.high is None:
        return said
    return f"{said}, {100 * curve.level:.0f} % interval {area.low:.1f} to {area.high:.1f}"


def table(curve: PkCurve, *, every_days: int = 1) -> Table:
    """The infusions, the levels and the areas, as the figure shows them, and the curve every so many days."""
    rows: list[tuple[str, str, str]] = [
        ("Infusion", f"day {dose.start_day:.2f} to {dose.end_day:.2f}", f"{dose.mg:g} mg, {_kind(dose)}")
        for dose in curve.doses
    ]
    rows += [("Level", f"day {one.day:.2f}", one.words) for one in curve.samples]
    rows += [
        (
            f"Exposure {WINDOW_WORDS[area.window]}",
            f"{area.value:.1f} {curve.area_unit}",
            "" if area.low is None else f"{area.low:.1f} to {area.high:.1f} ({100 * curve.level:.0f} %)",
        )
        for area in curve.areas
    ]
    rows += [
        (
            "Predicted concentration",
            f"day {day:g}",
            f"{value:.3g} {curve.unit}" + (f" ({bounds[0]:.3g} to {bounds[1]:.3g})" if bounds else ""),
        )
        for day, value, *bounds in _points(curve)
        if day % every_days == 0 and day <= curve.last_day
    ]
    return Table(("What", "When or how much", "Value"), tuple(rows))


def _kind(dose: Dose) -> str:
    return "given" if dose.is_given else "planned"
