"""Box plots of a value by day, with the number of values under each box."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from trials.domain.figures import BLUE, INK, Spec, Table, framed, inline

WIDTH, HEIGHT, BOX = 560, 280, 34
#: A value further from the box than this many of its heights stands alone (Tukey JW (1977) Exploratory Data Analysis).
REACH = 1.5


@dataclass(frozen=True)
class Box:
    """The values of one day: quartiles, the last values within reach of the box, and those that stand alone.

    Quartiles are those of Hyndman and Fan's type 7 (Am Stat 1996; 50: 361-365), as R's ``quantile`` answers.
    """

    day: int
    n: int
    lower_quartile: float
    median: float
    upper_quartile: float
    lower_whisker: float
    upper_whisker: float
    alone: tuple[float, ...]


@dataclass(frozen=True)
class Boxes:
    """The boxes by day. ``of`` is the number of participants that could have a value."""

    label: str
    unit: str
    origin: str
    of: int
    boxes: tuple[Box, ...]


def boxes(values: Mapping[int, Iterable[float]], *, label: str, unit: str, origin: str, of: int) -> Boxes | None:
    """One box for each day of ``values`` that has a value; None where none has.

    Raises ValueError for a value that is not a finite number, and for more values than ``of`` on one day.
    """
    found = []
    for day in sorted(values):
        row = np.asarray(tuple(values[day]), dtype=np.float64)
        if not row.size:
            continue
        if not np.isfinite(row).all():
            raise ValueError(f"values of day {day} hold what is not a finite number; leave out what is not known")
        if row.size > of:
            raise ValueError(f"values of day {day} are {row.size}, more than the {of} participants")
        found.append(_box(day, row))
    return Boxes(label, unit, origin, of, tuple(found)) if found else None


def _box(day: int, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Box:
    low, median, high = (float(one) for one in np.quantile(values, (0.25, 0.5, 0.75)))
    reach = REACH * (high - low)
    within = values[(values >= low - reach) & (values <= high + reach)]
    alone = values[(values < low - reach) | (values > high + reach)]
    return Box(
        day, int(values.size), low, median, high, float(within.min()), float(within.max()),
        tuple(float(one) for one in sorted(alone)),
    )  # fmt: skip


def spec(result: Boxes) -> Spec:
    """A box a day with its median, its whiskers and what stands alone; the number of values under each."""
    x = {
        "field": "day",
        "type": "ordinal",
        "sort": [_place(box) for box in result.boxes],
        "axis": {"title": f"Days after {result.origin}; n = values on the day", "labelAngle": 0, "labelExpr": _UNDER},
    }
    y = {
        "type": "quantitative",
        "scale": {"zero": True},
        "axis": {"title": f"{result.label} ({result.unit})", "tickCount": 6},
    }
    rows: list[dict[str, object]] = [
        {
            "day": _place(box),
            "low": box.lower_quartile,
            "high": box.upper_quartile,
            "median": box.median,
            "from": box.lower_whisker,
            "to": box.upper_whisker,
            "words": in_words(result, box),
            "says": f"{box.median:.4g}",
        }
        for box in result.boxes
    ]
    alone = [
        {"day": _place(box), "value": value, "words": f"day {box.day}: {value:g} {result.unit}"}
        for box in result.boxes
        for value in box.alone
    ]
    described = {"description": {"field": "words", "type": "nominal"}}
    layers: list[Spec] = [
        {
            "name": "whiskers",
            "data": inline(rows),
            "mark": {"type": "rule", "color": BLUE, "aria": False},
            "encoding": {"x": x, "y": {**y, "field": "from"}, "y2": {"field": "to"}},
        },
        {
            "name": "boxes",
            "data": inline(rows),
            "mark": {"type": "bar", "width": BOX, "stroke": BLUE, "strokeWidth": 1.5, "fill": BLUE, "fillOpacity": 0.2},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, **described},
        },
        {
            "name": "medians",
            "data": inline(rows),
            "mark": {"type": "tick", "width": BOX, "thickness": 3, "color": INK, "aria": False},
            "encoding": {"x": x, "y": {**y, "field": "median"}},
        },
        {
            "name": "median_words",
            "data": inline(rows),
            "mark": {"type": "text", "align": "left", "dx": BOX / 2 + 5, "aria": False},
            "encoding": {"x": x, "y": {**y, "field": "median"}, "text": {"field": "says"}},
        },
    ]
    if alone:
        layers.append(
            {
                "name": "alone",
                "data": inline(alone),
                "mark": {"type": "point", "size": 24, "color": BLUE, "opacity": 1},
                "encoding": {"x": x, "y": {**y, "field": "value"}, **described},
            }
        )
    return framed(width=WIDTH, height=HEIGHT, layer=layers)


def _place(box: Box) -> str:
    return f"day {box.day}|n = {box.n}"


#: The day, and under it how many values there are.
_UNDER = "split(datum.label, '|')"


def in_words(result: Boxes, box: Box) -> str:
    return (
        f"day {box.day}: median {box.median:.4g} {result.unit} "
        f"(IQR {box.lower_quartile:.4g} to {box.upper_quartile:.4g}), n = {box.n}"
    )


def table(result: Boxes) -> Table:
    """One row a day."""
    rows = tuple(
        (
            box.day,
            box.n,
            f"{box.median:.4g}",
            f"{box.lower_quartile:.4g} to {box.upper_quartile:.4g}",
            f"{box.lower_whisker:.4g} to {box.upper_whisker:.4g}",
            len(box.alone),
        )
        for box in result.boxes
    )
    return Table(("Day", "n", f"Median ({result.unit})", "IQR", "Whiskers", "Beyond them"), rows)
