"""What a proposal from levels adds up to: the exposure so far and of each dose that is open, against the target."""

from __future__ import annotations

from dataclasses import dataclass

from trials.domain.figures import BLUE, GREY, INK, PALE, Spec, Table, framed, inline

WIDTH, HEIGHT = 620, 70
#: Two shades in turn, and each part says what it is: the figure reads without colour.
FILLS = (BLUE, GREY)


@dataclass(frozen=True)
class Part:
    """One piece of the bar, in the target's unit."""

    label: str
    value: float


@dataclass(frozen=True)
class Proposed:
    """The bar with its target and the interval of its end."""

    parts: tuple[Part, ...]
    low: float
    high: float
    interval: tuple[float, float]
    unit: str

    @property
    def total(self) -> float:
        return sum(part.value for part in self.parts)

    @property
    def verdict(self) -> str:
        """Where the end lies, both ends of the target included."""
        if self.low <= self.total <= self.high:
            return "inside the target"
        return "below the target" if self.total < self.low else "above the target"


def spec(of: Proposed) -> Spec:
    """The parts one behind the other on one axis, above the target as a band, the interval as a line at the end."""
    rows, start = [], 0.0
    for number, part in enumerate(of.parts):
        end = start + part.value
        rows.append(
            {"from": start, "to": end, "words": f"{part.label}: {part.value:.1f} {of.unit}", "fill": FILLS[number % 2]}
        )
        start = end
    x: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, 1.08 * max(of.high, of.interval[1], of.total)], "nice": False},
        "axis": {"title": f"Exposure ({of.unit})", "tickCount": 8, "grid": False},
    }
    return framed(
        width=WIDTH,
        height=HEIGHT,
        layer=[
            {
                "name": "target",
                "data": inline([{"from": of.low, "to": of.high, "words": f"target {of.low:g} to {of.high:g}"}]),
                "mark": {"type": "rect", "color": PALE, "stroke": GREY, "strokeDash": [4, 2]},
                "encoding": {
                    "x": {**x, "field": "from"},
                    "x2": {"field": "to"},
                    "description": {"field": "words", "type": "nominal"},
                },
            },
            {
                "name": "parts",
                "data": inline(rows),
                "mark": {"type": "rect", "stroke": INK, "strokeWidth": 1},
                "encoding": {
                    "x": {**x, "field": "from"},
                    "x2": {"field": "to"},
                    "y": {"value": 20},
                    "y2": {"value": 44},
                    "color": {"field": "fill", "type": "nominal", "scale": None},
                    "description": {"field": "words", "type": "nominal"},
                },
            },
            {
                "name": "interval",
                "data": inline([{"from": of.interval[0], "to": of.interval[1]}]),
                "mark": {"type": "rule", "color": INK, "strokeWidth": 2, "aria": False},
                "encoding": {"x": {**x, "field": "from"}, "x2": {"field": "to"}, "y": {"value": 56}},
            },
        ],
    )


def table(of: Proposed) -> Table:
    """The parts, their sum and the target."""
    rows: list[tuple[str, str]] = [(part.label, f"{part.value:.1f}") for part in of.parts]
    rows.append(("in total", f"{of.total:.1f} ({of.interval[0]:.0f} to {of.interval[1]:.0f})"))
    rows.append(("target, both ends included", f"{of.low:g} to {of.high:g}: {of.verdict}"))
    return Table(("Part", f"Exposure, {of.unit}"), tuple(rows))
