"""The figures of the statistical plan: curves over the numbers at risk, and forests of ratios or differences."""

from __future__ import annotations

from analysis.domain.figures.survival import UPRIGHT
from analysis.domain.plan.results import CurveData, ForestData
from trials.domain.figures import BLUE, COLOURS, DASHES, GREY, Cell, Spec, Table, framed, inline, percent

WIDTH, HEIGHT, ROW_HEIGHT = 760, 280, 18
LABEL_WIDTH = 190
#: Curves that can be told apart in print.
MOST_CURVES = len(COLOURS)
YEAR_DAYS = 365.25


def in_years(data: CurveData) -> bool:
    """Whether the axis counts years: follow-up of more than two."""
    return max((day for line in data.lines for day, *_ in line.counts), default=0) > 2 * YEAR_DAYS


def curve_spec(data: CurveData) -> Spec:
    """The steps with their band over the numbers at risk and the events so far, aligned with the times."""
    years = in_years(data)
    scale = YEAR_DAYS if years else 1.0
    lines = data.lines[:MOST_CURVES]
    domain = [line.label for line in lines]
    colour = {"domain": domain, "range": list(COLOURS[: len(domain)])}
    dash = {"domain": domain, "range": [list(one) for one in DASHES[: len(domain)]]}
    ticks = [round(day / scale, 4) for day, *_ in lines[0].counts]
    last = max(ticks[-1], *(step[0] / scale for line in lines for step in line.steps))
    x: Spec = {
        "field": "t",
        "type": "quantitative",
        "scale": {"domain": [0, last], "nice": False},
        "axis": {"values": ticks, "title": f"{'Years' if years else 'Days'} after {data.origin}", "grid": False},
    }
    legend = None if len(domain) == 1 else {"symbolStrokeWidth": 2.5, "symbolType": "stroke", "symbolOpacity": 1}
    shared = {"field": "group", "type": "nominal"}
    steps = [
        {"group": line.label, "t": t / scale, "estimate": e, "lower": low, "upper": high}
        for line in lines
        for t, e, low, high in line.steps
    ]
    y = {
        "field": "estimate",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"title": data.title, "format": ".0%", "tickCount": 5},
    }
    picture: Spec = {
        "width": WIDTH,
        "height": HEIGHT,
        "data": inline(steps),
        "layer": [
            {
                "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.14, "aria": False},
                "encoding": {
                    "x": x,
                    "y": {"field": "lower", "type": "quantitative"},
                    "y2": {"field": "upper"},
                    "color": {**shared, "scale": colour, "legend": legend},
                },
            },
            {
                "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.25},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": {**shared, "scale": colour, "legend": legend},
                    "strokeDash": {**shared, "scale": dash, "legend": legend},
                },
            },
        ],
    }
    lost = [{"group": line.label, "t": t / scale, "estimate": e} for line in lines for t, e in line.lost]
    if lost:
        picture["layer"].append(
            {
                "name": "lost",
                "data": inline(lost),
                "mark": {"type": "point", "shape": UPRIGHT, "size": 60, "strokeWidth": 1.25, "filled": False,
                         "opacity": 1, "aria": False},
                "encoding": {"x": x, "y": y, "color": {**shared, "scale": colour, "legend": legend}},
            }
        )  # fmt: skip
    for day in data.marks:
        picture["layer"].append(
            {
                "data": inline([{"t": day / scale}]),
                "mark": {"type": "rule", "color": GREY, "strokeDash": [2, 3], "aria": False},
                "encoding": {"x": x},
            }
        )
    at_risk = [{"group": line.label, "t": day / scale, "n": n} for line in lines for day, n, _ in line.counts]
    events = [{"group": line.label, "t": day / scale, "n": k} for line in lines for day, _, k in line.counts]
    below = [_below(title, rows, domain, x) for title, rows in (("At risk", at_risk), ("Events so far", events))]
    return framed(vconcat=[picture, *below], spacing=8, resolve={"scale": {"x": "shared"}})


def _below(title: str, rows: list[dict[str, object]], domain: list[str], x: Spec) -> Spec:
    """Numbers under the curves, one line a group, each below its time."""
    return {
        "width": WIDTH,
        "height": ROW_HEIGHT * len(domain),
        "title": {"text": title, "anchor": "start", "frame": "group", "fontSize": 12, "dx": -LABEL_WIDTH},
        "data": inline(rows),
        "mark": {"type": "text", "aria": False},
        "encoding": {
            "x": {**x, "axis": None},
            "y": {
                "field": "group",
                "type": "nominal",
                "sort": domain,
                "axis": {
                    "title": None,
                    "labelAlign": "left",
                    "labelPadding": LABEL_WIDTH,
                    "labelLimit": LABEL_WIDTH - 25,
                    "domain": False,
                    "ticks": False,
                },
            },
            "text": {"field": "n", "type": "quantitative"},
        },
    }


def curve_table(data: CurveData) -> Table:
    """One row a group and time: at risk, events so far."""
    rows = tuple((line.label, f"{day:g}", n, events) for line in data.lines for day, n, events in line.counts)
    return Table(("Group", "Day", "At risk", "Events so far"), rows)


def curve_words(data: CurveData) -> str:
    """The last height of each curve, for who does not see it."""
    return "; ".join(
        f"{line.label}: {percent(line.steps[-1][1])} at day {line.steps[-1][0]:.0f}" for line in data.lines
    )


def forest_spec(data: ForestData) -> Spec:
    """Points with their limits, one a row; ratios on a logarithmic axis with a line at 1."""
    is_ratio = "ratio" in data.quantity.lower()
    rows = [
        {"label": one.label, "estimate": one.estimate, "lower": one.lower, "upper": one.upper} for one in data.effects
    ]
    # A limit beyond what anybody reads would press the rest together.
    span = [0.05, 20] if is_ratio else None
    if span:
        for row in rows:
            for name in ("estimate", "lower", "upper"):
                row[name] = min(max(float(str(row[name])), span[0]), span[1])
    scale: Spec = {"type": "log", "domain": span} if is_ratio else {"zero": True}
    x: Spec = {
        "field": "estimate",
        "type": "quantitative",
        "scale": scale,
        "axis": {
            "title": data.quantity,
            "grid": False,
            **({"values": [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]} if is_ratio else {"tickCount": 6}),
            **({"format": ".0%"} if data.quantity.startswith("Share") else {}),
        },
    }
    y: Spec = {
        "field": "label",
        "type": "nominal",
        "sort": None,
        "axis": {"title": None, "labelLimit": 320, "domain": False, "ticks": False},
    }
    return framed(
        width=460,
        height=22 * max(len(rows), 1),
        layer=[
            {
                "data": inline([{"at": 1 if is_ratio else 0}]),
                "mark": {"type": "rule", "color": GREY, "strokeDash": [2, 3], "aria": False},
                "encoding": {"x": {"field": "at", "type": "quantitative"}},
            },
            {
                "data": inline(rows),
                "mark": {"type": "rule", "color": BLUE, "strokeWidth": 1.5, "aria": False},
                "encoding": {"x": {**x, "field": "lower"}, "x2": {"field": "upper"}, "y": y},
            },
            {
                "data": inline(rows),
                "mark": {"type": "point", "filled": True, "color": BLUE, "size": 60},
                "encoding": {"x": x, "y": y},
            },
        ],
    )


def forest_table(data: ForestData) -> Table:
    rows: tuple[tuple[Cell | str | int, ...], ...] = tuple(
        (one.label, f"{one.estimate:.3f}", f"{one.lower:.3f} to {one.upper:.3f}") for one in data.effects
    )
    return Table(("", "Estimate", "Interval"), rows)


def forest_words(data: ForestData) -> str:
    return "; ".join(f"{one.label} {one.estimate:.2f}" for one in data.effects[:12])
