"""Swimmer plot: one lane a participant, as long as the follow-up, with what happened on its day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trials.domain.figures import BLUE, GREY, INK, LINK_HOST, ORANGE, PALE, Cell, Spec, Table, framed, inline

WIDTH, STEP, BAR = 760, 17, 9
#: What happened: words, colour and shape. In grey print the shape tells.
KINDS = {
    "neutrophil_engraftment": ("neutrophil engraftment", BLUE, "triangle-up"),
    "platelet_engraftment": ("platelet engraftment", BLUE, "triangle-down"),
    "acute_gvhd": ("acute GVHD", ORANGE, "square"),
    "chronic_gvhd": ("chronic GVHD", ORANGE, "diamond"),
    "viral_reactivation": ("viral reactivation", BLUE, "circle"),
    "graft_failure": ("graft failure", GREY, "square"),
    "second_transplant": ("second transplant", GREY, "triangle-up"),
    "relapse": ("relapse", ORANGE, "triangle-right"),
    "death": ("death", INK, "cross"),
}
#: How the lanes may be ordered, and in which words the page offers it.
SORTS = {"follow_up": "follow-up, longest first", "number": "number", "first_event": "first event, earliest first"}


@dataclass(frozen=True)
class Mark:
    """One event on its study day; ``words`` say more, such as a grade."""

    kind: str
    day: int
    words: str = ""


@dataclass(frozen=True)
class Lane:
    """One participant: followed to ``last_day``, with what happened. ``is_followed``: the follow-up goes on."""

    participant: int
    number: str
    last_day: int
    marks: tuple[Mark, ...] = ()
    is_followed: bool = True


@dataclass(frozen=True)
class Swimmer:
    """The lanes from top to bottom. ``of`` is how many there are in all, where not all are shown."""

    origin: str
    sort: str
    lanes: tuple[Lane, ...]
    of: int


def swimmer(
    lanes: Iterable[Lane], *, origin: str, sort: str = "follow_up", start: int = 0, most: int = 60
) -> Swimmer | None:
    """The lanes in the order ``sort``, from the place ``start`` on and at most ``most``; None where there is none.

    Raises ValueError for an order that there is not, for a kind of event without a mark, and for a lane that ends
    before day 0.
    """
    if sort not in SORTS:
        raise ValueError(f"sort is {sort!r}; known are {', '.join(SORTS)}")
    rows = tuple(lanes)
    for lane in rows:
        if lane.last_day < 0:
            raise ValueError(f"last_day of {lane.number} is {lane.last_day}; a lane begins on day 0")
        for mark in lane.marks:
            if mark.kind not in KINDS:
                raise ValueError(f"kind of a mark of {lane.number} is {mark.kind!r}; known are {', '.join(KINDS)}")
    ordered = sorted(rows, key=lambda lane: (_key(lane, sort), lane.number))
    shown = tuple(ordered[start : start + most])
    return Swimmer(origin, sort, shown, len(rows)) if shown else None


def _key(lane: Lane, sort: str) -> float:
    if sort == "follow_up":
        return -lane.last_day
    if sort == "first_event":
        return min((float(mark.day) for mark in lane.marks), default=float("inf"))
    return 0


def spec(result: Swimmer, links: Mapping[int, str]) -> Spec:
    """A bar a lane, an arrow head where the follow-up goes on, and a mark of its own shape for each event."""
    order = [lane.number for lane in result.lanes]
    last = max(1, *(lane.last_day for lane in result.lanes))
    x = {"type": "quantitative", "scale": {"domain": [0, last], "nice": True}}
    axis = {"title": f"Day after {result.origin}", "grid": False, "tickCount": 8}
    y = {
        "field": "number",
        "type": "nominal",
        "sort": order,
        "axis": {"title": None, "ticks": False, "domain": False, "labelPadding": 6},
    }
    bars: list[Spec] = []
    rows = _bars(result, links)
    # A mark without an address would be given one by the converter: it stands in a layer without links.
    for linked in (True, False):
        part = [row for row in rows if ("href" in row) is linked]
        if not part:
            continue
        encoding = {
            "y": y,
            "x": {**x, "field": "from", "axis": axis},
            "x2": {"field": "to"},
            "description": {"field": "words", "type": "nominal"},
        }
        if linked:
            encoding["href"] = {"field": "href", "type": "nominal"}
        bars.append(
            {
                "name": "bars" if linked else "bars_unlinked",
                "data": inline(part),
                "mark": {"type": "bar", "height": BAR, "color": PALE},
                "encoding": encoding,
            }
        )
    on = [{"number": lane.number, "to": lane.last_day} for lane in result.lanes if lane.is_followed]
    layers = list(bars)
    if on:
        layers.append(
            {
                "name": "goes_on",
                "data": inline(on),
                "mark": {"type": "point", "shape": "triangle-right", "size": 45, "filled": True, "color": GREY,
                         "opacity": 1, "xOffset": 5, "aria": False},
                "encoding": {"y": y, "x": {**x, "field": "to"}},
            }
        )  # fmt: skip
    marks = _marks(result)
    if marks:
        kinds = [kind for kind in KINDS if any(row["kind"] == KINDS[kind][0] for row in marks)]
        words = [KINDS[kind][0] for kind in kinds]
        legend = {"symbolSize": 90, "columns": 5}
        layers.append(
            {
                "name": "marks",
                "data": inline(marks),
                "mark": {"type": "point", "size": 62, "filled": True, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "day"},
                    "color": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": {"domain": words, "range": [KINDS[kind][1] for kind in kinds]},
                        "legend": legend,
                    },
                    "shape": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": {"domain": words, "range": [KINDS[kind][2] for kind in kinds]},
                        "legend": legend,
                    },
                    "description": {"field": "words", "type": "nominal"},
                },
            }
        )
    return framed(width=WIDTH, height={"step": STEP}, layer=layers)


def _bars(result: Swimmer, links: Mapping[int, str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for lane in result.lanes:
        happened = "; ".join(_said(mark) for mark in sorted(lane.marks, key=lambda mark: mark.day))
        row: dict[str, object] = {
            "number": lane.number,
            "from": 0,
            "to": lane.last_day,
            "words": f"{lane.number}: {'followed to' if lane.is_followed else 'until'} day {lane.last_day}"
            + (f"; {happened}" if happened else ""),
        }
        if lane.participant in links:
            row["href"] = LINK_HOST + links[lane.participant]
        rows.append(row)
    return rows


def _marks(result: Swimmer) -> list[dict[str, object]]:
    return [
        {
            "number": lane.number,
            "day": mark.day,
            "kind": KINDS[mark.kind][0],
            "words": f"{lane.number}: {_said(mark)}",
        }
        for lane in result.lanes
        for mark in lane.marks
        if mark.day >= 0
    ]


def _said(mark: Mark) -> str:
    more = f" {mark.words}" if mark.words else ""
    return f"{KINDS[mark.kind][0]}{more}, day {mark.day}"


def table(result: Swimmer, links: Mapping[int, str]) -> Table:
    """One row a participant: the last day, and every event with its day."""
    rows = tuple(
        (
            Cell(lane.number, links.get(lane.participant, "")),
            lane.last_day,
            "yes" if lane.is_followed else "no",
            "; ".join(_said(mark) for mark in sorted(lane.marks, key=lambda mark: mark.day)),
        )
        for lane in result.lanes
    )
    return Table(("Participant", "Last day", "Follow-up goes on", "What happened"), rows)
