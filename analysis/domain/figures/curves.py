"""The measured values of every participant against the threshold of the endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.domain.consecutive_threshold import Status
from trials.domain.figures import (
    BLUE,
    GREY,
    LINK_HOST,
    ORANGE,
    Cell,
    Spec,
    Table,
    framed,
    inline,
    unit_words,
)

WIDTH, HEIGHT = 860, 330
#: What a line means: words, colour and dash.
KINDS = {
    "reached": ("reached", BLUE, (1, 0)),
    "not_reached": ("not reached", ORANGE, (5, 3)),
    "open": ("pending or another end", GREY, (2, 2)),
}
#: More points than these are drawn as lines only; the points that decided stay.
MOST_POINTS = 500
DECADES = [10.0**power for power in range(-6, 7)]


@dataclass(frozen=True)
class Point:
    """One value on its study day. ``qualifies``: the endpoint rests on it."""

    day: int
    value: float
    as_written: str
    qualifies: bool


@dataclass(frozen=True)
class Line:
    """The values of one participant in order, and what became of the endpoint."""

    participant: int
    number: str
    status: Status
    points: tuple[Point, ...]

    @property
    def kind(self) -> str:
        known = {Status.REACHED: "reached", Status.NOT_REACHED: "not_reached"}
        return known.get(self.status, "open")


@dataclass(frozen=True)
class Curves:
    """Everybody's values; ``operator`` and ``threshold`` are the definition's. Days count from ``origin``."""

    label: str
    origin: str
    unit: str
    threshold: float
    operator: str
    last_day: int
    lines: tuple[Line, ...]

    @property
    def rule(self) -> str:
        sign = {">=": "≥", ">": ">"}[self.operator]
        times = "× " if self.unit.startswith("10^") else ""
        return f"{sign} {self.threshold:g} {times}{unit_words(self.unit)}"

    @property
    def floor(self) -> float:
        """Where a value of zero is drawn on the logarithmic axis: below everything that was measured."""
        smallest = min((p.value for line in self.lines for p in line.points if p.value > 0), default=self.threshold)
        return min(smallest, self.threshold / 10)


def spec(result: Curves, links: Mapping[int, str]) -> Spec:
    """Lines on a logarithmic axis, the threshold, the days that count shaded, and the points that decided ringed.

    ``links`` leads from a participant to their page; whoever may not see one has no link to it.
    """
    rows = _rows(result, links)
    shown = [words for kind, (words, _, _) in KINDS.items() if any(line.kind == kind for line in result.lines)]
    styles = {words: (colour, dash) for words, colour, dash in KINDS.values()}
    colour = {"domain": shown, "range": [styles[words][0] for words in shown]}
    dash = {"domain": shown, "range": [list(styles[words][1]) for words in shown]}
    x = {
        "field": "day",
        "type": "quantitative",
        "scale": {"domain": [0, result.last_day + 10], "nice": False},
        "axis": {"title": f"Day after {result.origin}", "grid": False, "tickCount": 7},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": {"type": "log", "domainMin": result.floor},
        "axis": {"title": f"{result.label} ({unit_words(result.unit)})", "format": "~g", "values": DECADES},
    }
    group = {"field": "outcome", "type": "nominal"}
    legend = {"symbolType": "stroke", "symbolStrokeWidth": 2}
    many = len(rows) > MOST_POINTS

    def points(name: str, these: list[dict[str, object]], **mark: object) -> list[Spec]:
        # A mark without an address would be given one by the converter: it stands in a layer without links.
        layers = []
        for linked in (True, False):
            part = [row for row in these if ("href" in row) is linked]
            encoding = {
                "x": x,
                "y": y,
                "color": {**group, "scale": colour, "legend": None},
                "description": {"field": "words", "type": "nominal"},
            }
            if linked:
                encoding["href"] = {"field": "href", "type": "nominal"}
            if part:
                layers.append(
                    {
                        "name": name if linked else f"{name}_unlinked",
                        "data": inline(part),
                        "mark": {"type": "point", **mark},
                        "encoding": encoding,
                    }
                )
        return layers

    return framed(
        width=WIDTH,
        height=HEIGHT,
        layer=[
            {
                "data": inline([{"from": 0, "to": result.last_day}]),
                "mark": {"type": "rect", "color": GREY, "opacity": 0.1, "aria": False},
                "encoding": {"x": {**x, "field": "from"}, "x2": {"field": "to"}},
            },
            {
                "data": inline([{"value": result.threshold, "words": result.rule, "day": result.last_day + 10}]),
                "layer": [
                    {
                        "mark": {"type": "rule", "color": GREY, "strokeWidth": 1.5, "aria": False},
                        "encoding": {"y": y},
                    },
                    {
                        "mark": {"type": "text", "align": "right", "baseline": "bottom", "dy": -4, "aria": False},
                        "encoding": {"x": x, "y": y, "text": {"field": "words"}},
                    },
                ],
            },
            {
                "data": inline(rows),
                "mark": {"type": "line", "strokeWidth": 1.25, "opacity": 0.75},
                "encoding": {
                    "x": x,
                    "y": y,
                    "detail": {"field": "number"},
                    "color": {**group, "scale": colour, "legend": legend},
                    "strokeDash": {**group, "scale": dash, "legend": legend},
                    "description": {"field": "line", "type": "nominal"},
                },
            },
            *points("points", [] if many else [row for row in rows if not row["qualifies"]], filled=True, size=22),
            *points("rings", [row for row in rows if row["qualifies"]], size=70, strokeWidth=1.75, opacity=1),
        ],
    )


def _rows(result: Curves, links: Mapping[int, str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for line in result.lines:
        outcome = KINDS[line.kind][0]
        for point in line.points:
            row: dict[str, object] = {
                "number": line.number,
                "outcome": outcome,
                "day": point.day,
                "value": max(point.value, result.floor),
                "qualifies": point.qualifies,
                "line": f"{line.number}: {line.status.value.replace('_', ' ')}",
                "words": f"{line.number}, day {point.day}, {point.as_written}"
                + (", counts for the endpoint" if point.qualifies else ""),
            }
            if line.participant in links:
                row["href"] = LINK_HOST + links[line.participant]
            rows.append(row)
    return rows


def table(result: Curves, links: Mapping[int, str]) -> Table:
    """One row a participant: what became of the endpoint, and every value with its day."""
    rows = tuple(
        (
            Cell(line.number, links.get(line.participant, "")),
            line.status.value.replace("_", " "),
            len(line.points),
            _series([point for point in line.points if point.qualifies]),
            _series(line.points),
        )
        for line in result.lines
    )
    return Table(("Participant", "Endpoint", "Values", "Rests on", "Day: value"), rows)


def _series(points: Sequence[Point]) -> str:
    return ", ".join(f"{point.day}: {point.as_written.partition(' ')[0]}" for point in points)
