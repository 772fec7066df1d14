"""The stages of the design: how many have reached the endpoint against how many must."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trials.domain.figures import BLUE, INK, ORANGE, PALE, Cell, Spec, Table, framed, inline

WIDTH, BAR, STEP = 400, 28, 74
OPEN = "not decided yet"
#: What a part of a bar means, and its colour; the counts stand in it.
KINDS = (("reached", BLUE), ("not reached", ORANGE), (OPEN, PALE))


@dataclass(frozen=True)
class StageCount:
    """One stage now: the responders and the decided among the planned, and what the design asks for."""

    stage: int
    n: int
    at_least: int
    decided: int
    responders: int
    state: str
    decision: str = ""

    @property
    def open(self) -> int:
        return max(self.n - self.decided, 0)

    @property
    def outlook(self) -> str:
        """Whether the boundary is met, can still be met, or cannot."""
        if self.responders >= self.at_least:
            return "boundary met"
        missing = self.at_least - self.responders
        if missing > self.open:
            return "boundary out of reach"
        return f"still possible: {missing} more of the next {self.open}" if self.open else "boundary not met"


@dataclass(frozen=True)
class StageGates:
    """The stages of a design in order."""

    stages: tuple[StageCount, ...]


def _words(stage: StageCount) -> str:
    return f"{stage.responders} of {stage.decided} reached it, {stage.at_least} of {stage.n} needed: {stage.outlook}"


def spec(result: StageGates) -> Spec:
    """One bar a stage: reached, decided otherwise, still open; the boundary as a line across it."""
    parts = [part for stage in result.stages for part in _parts(stage)]
    marks = [
        {"stage": _label(s), "at": s.at_least, "words": f"{s.at_least} needed", "outlook": _words(s)}
        for s in result.stages
    ]
    shown = [(kind, colour) for kind, colour in KINDS if any(part["kind"] == kind for part in parts)]
    scale = {"domain": [kind for kind, _ in shown], "range": [colour for _, colour in shown]}
    y = {"field": "stage", "type": "nominal", "sort": [_label(stage) for stage in result.stages]}
    x = {"type": "quantitative", "scale": {"domain": [0, max(stage.n for stage in result.stages)], "nice": False}}
    axis = {"title": "Evaluable participants", "grid": False, "tickMinStep": 1, "tickCount": 6}
    return framed(
        width=WIDTH,
        height={"step": STEP},
        layer=[
            {
                "data": inline(parts),
                "mark": {"type": "bar", "height": BAR},
                "encoding": {
                    "y": {**y, "axis": {"title": None, "ticks": False, "domain": False, "labelPadding": 8}},
                    "x": {**x, "field": "from", "axis": axis},
                    "x2": {"field": "to"},
                    "color": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": scale,
                        "legend": {"symbolType": "square", "symbolSize": 120},
                    },
                    "description": {"field": "words", "type": "nominal"},
                },
            },
            {
                "data": inline([part for part in parts if part["is_wide"]]),
                "mark": {"type": "text", "fontWeight": "bold", "aria": False},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "middle"},
                    "text": {"field": "count", "type": "quantitative"},
                    "color": {"condition": {"test": f"datum.kind === '{OPEN}'", "value": INK}, "value": "#ffffff"},
                },
            },
            {
                "data": inline(marks),
                "mark": {"type": "tick", "thickness": 3, "height": BAR + 14, "color": INK},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "at"},
                    "description": {"field": "outlook", "type": "nominal"},
                },
            },
            {
                "data": inline(marks),
                "mark": {"type": "text", "dy": -BAR / 2 - 15, "aria": False},
                "encoding": {"y": y, "x": {**x, "field": "at"}, "text": {"field": "words"}},
            },
        ],
    )


def _parts(stage: StageCount) -> list[dict[str, object]]:
    """The bar of a stage from left to right."""
    parts: list[dict[str, object]] = []
    start = 0
    counts = (stage.responders, max(stage.decided - stage.responders, 0), stage.open)
    for (kind, _), count in zip(KINDS, counts, strict=True):
        if count:
            parts.append(
                {
                    "stage": _label(stage),
                    "kind": kind,
                    "count": count,
                    "from": start,
                    "to": start + count,
                    "middle": start + count / 2,
                    "is_wide": count > 1,
                    "words": f"stage {stage.stage}: {count} {kind}",
                }
            )
        start += count
    return parts


def _label(stage: StageCount) -> str:
    return f"Stage {stage.stage}"


def table(result: StageGates, links: Mapping[int, str] | None = None) -> Table:
    """One row a stage; ``links`` leads from a stage to the page that lists who was counted."""
    pages = links or {}
    return Table(
        ("Stage", "Planned", "Decided", "Reached", "Needed", "Outlook", "Gate"),
        tuple(
            (
                _label(s),
                s.n,
                Cell(str(s.decided), pages[s.stage], is_count=True) if s.stage in pages else s.decided,
                s.responders,
                s.at_least,
                s.outlook,
                f"{s.state}, {s.decision}" if s.decision else s.state,
            )
            for s in result.stages
        ),
    )
