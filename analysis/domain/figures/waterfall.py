"""Waterfall: how much a value changed for each participant, from the largest rise to the largest fall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trials.domain.figures import BLUE, GREY, LINK_HOST, ORANGE, Cell, Spec, Table, framed, inline

WIDTH, HEIGHT = 860, 300
#: The response of a bar: words, colour, how full it is, and the shape at its end. In grey print the shape tells.
RESPONSES = {
    "CR": ("complete response", BLUE, 1.0, "circle"),
    "PR": ("partial response", BLUE, 0.25, "square"),
    "NR": ("no response", ORANGE, 1.0, "cross"),
    "": ("not known", GREY, 0.25, "triangle-up"),
}


@dataclass(frozen=True)
class Bar:
    """One participant: the value at the start and on the day asked, and the response then."""

    participant: int
    number: str
    before: float
    after: float
    response: str = ""

    @property
    def change_percent(self) -> float:
        return 100 * (self.after - self.before) / self.before


@dataclass(frozen=True)
class Waterfall:
    """The bars in order. ``without_value``: participants who have no value at the start, or none on the day."""

    label: str
    unit: str
    from_day: int
    to_day: int
    bars: tuple[Bar, ...]
    without_value: int


def waterfall(
    bars: Iterable[Bar], *, label: str, unit: str, from_day: int, to_day: int, without_value: int = 0
) -> Waterfall | None:
    """The bars from the largest rise to the largest fall; None where there is none.

    Raises ValueError for a value that nothing can be a percentage of, and for a response without a name.
    """
    rows = tuple(bars)
    for bar in rows:
        if not bar.before > 0:
            raise ValueError(f"before of {bar.number} is {bar.before!r}; a change in per cent needs a value above 0")
        if bar.response not in RESPONSES:
            raise ValueError(
                f"response of {bar.number} is {bar.response!r}; known are {', '.join(filter(None, RESPONSES))}"
            )
    if not rows:
        return None
    ordered = sorted(rows, key=lambda bar: (-bar.change_percent, bar.number))
    return Waterfall(label, unit, from_day, to_day, tuple(ordered), without_value)


def spec(result: Waterfall, links: Mapping[int, str]) -> Spec:
    """One bar a participant, its response by colour, filling and the shape at its end."""
    rows = _rows(result, links)
    shown = [response for response in RESPONSES if any(bar.response == response for bar in result.bars)]
    words = [RESPONSES[response][0] for response in shown]
    colour = {"domain": words, "range": [RESPONSES[response][1] for response in shown]}
    # The scale of an opacity is continuous by itself, and would take the list for its two ends.
    full = {"type": "ordinal", "domain": words, "range": [RESPONSES[response][2] for response in shown]}
    shape = {"domain": words, "range": [RESPONSES[response][3] for response in shown]}
    x = {
        "field": "place",
        "type": "ordinal",
        "scale": {"paddingInner": 0.15},
        "axis": {"title": f"Participants, n = {len(rows)}", "labels": False, "ticks": False},
    }
    y = {
        "field": "change",
        "type": "quantitative",
        "axis": {"title": f"Change of {result.label}, day {result.from_day} to {result.to_day} (%)", "tickCount": 6},
    }
    answer = {"field": "response", "type": "nominal"}
    bars: list[Spec] = []
    # A mark without an address would be given one by the converter: it stands in a layer without links.
    for linked in (True, False):
        part = [row for row in rows if ("href" in row) is linked]
        if not part:
            continue
        encoding = {
            "x": x,
            "y": y,
            "fill": {**answer, "scale": colour},
            "fillOpacity": {**answer, "scale": full},
            "description": {"field": "words", "type": "nominal"},
        }
        if linked:
            encoding["href"] = {"field": "href", "type": "nominal"}
        bars.append(
            {
                "name": "bars" if linked else "bars_unlinked",
                "data": inline(part),
                "mark": {"type": "bar", "strokeWidth": 1},
                "encoding": {**encoding, "stroke": {**answer, "scale": colour}},
            }
        )
    ends = {
        "name": "ends",
        "data": inline(rows),
        "mark": {"type": "point", "size": 26, "filled": True, "opacity": 1, "aria": False},
        "encoding": {
            "x": x,
            "y": y,
            "color": {**answer, "scale": colour, "legend": {"symbolSize": 90}},
            "shape": {**answer, "scale": shape, "legend": {"symbolSize": 90}},
        },
    }
    return framed(width=WIDTH, height=HEIGHT, layer=[*bars, ends])


def _rows(result: Waterfall, links: Mapping[int, str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for place, bar in enumerate(result.bars):
        response = RESPONSES[bar.response][0]
        row: dict[str, object] = {
            "place": place,
            "change": round(bar.change_percent, 2),
            "response": response,
            "words": f"{bar.number}: {bar.before:g} to {bar.after:g} {result.unit}, "
            f"{bar.change_percent:+.0f} %, {response}",
        }
        if bar.participant in links:
            row["href"] = LINK_HOST + links[bar.participant]
        rows.append(row)
    return rows


def in_words(result: Waterfall) -> str:
    """How many fell, stayed and rose, by response."""
    falls = sum(bar.change_percent < 0 for bar in result.bars)
    rises = sum(bar.change_percent > 0 for bar in result.bars)
    same = len(result.bars) - falls - rises
    counted = Counter(bar.response for bar in result.bars)
    responses = ", ".join(f"{RESPONSES[key][0]} {counted[key]}" for key in RESPONSES if counted[key])
    return f"Of {len(result.bars)}: {falls} fell, {same} stayed, {rises} rose; {responses}"


def table(result: Waterfall, links: Mapping[int, str]) -> Table:
    """One row a participant."""
    rows = tuple(
        (
            Cell(bar.number, links.get(bar.participant, "")),
            f"{bar.before:g}",
            f"{bar.after:g}",
            f"{bar.change_percent:+.0f} %",
            RESPONSES[bar.response][0],
        )
        for bar in result.bars
    )
    columns = ("Participant", f"Day {result.from_day} ({result.unit})", f"Day {result.to_day} ({result.unit})")
    return Table((*columns, "Change", "Response"), rows)
