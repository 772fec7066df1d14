"""The trial profile (CONSORT): from screening to the set that is counted, with every reason for leaving."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from trials.domain.figures import Cell, Table

BOX_WIDTH, SIDE_WIDTH, GAP, LINE_HEIGHT, PADDING = 210, 268, 34, 17, 10
#: Characters that fit a line of a box at 13 px.
BOX_CHARS, SIDE_CHARS = 29, 40


@dataclass(frozen=True)
class Reason:
    """Why some left between two steps; ``key`` finds them again in a listing."""

    key: str
    label: str
    count: int


@dataclass(frozen=True)
class Step:
    """One set of the flow, and those of the set before who are not in it, by reason."""

    set_id: str
    label: str
    count: int
    left: tuple[Reason, ...] = ()

    @property
    def left_count(self) -> int:
        return sum(reason.count for reason in self.left)


@dataclass(frozen=True)
class Beside:
    """A set that stands beside the flow, such as external controls."""

    set_id: str
    label: str
    count: int


@dataclass(frozen=True)
class Flow:
    """The steps in order. Each count is the one before less those who left."""

    steps: tuple[Step, ...]
    beside: tuple[Beside, ...] = ()

    def __post_init__(self) -> None:
        for before, step in zip(self.steps, self.steps[1:], strict=False):
            if before.count - step.left_count != step.count:
                raise ValueError(
                    f"{step.label}: {before.count} less {step.left_count} who left is not {step.count}; "
                    f"somebody is counted twice or not at all"
                )


@dataclass(frozen=True)
class Text:
    """One line of a box. ``query`` is the part of an address that lists the ``count`` of those it counts."""

    x: int
    y: int
    words: str
    is_strong: bool = False
    query: str = ""
    count: int = 0


@dataclass(frozen=True)
class Box:
    """A rectangle with its lines of text."""

    x: int
    y: int
    width: int
    height: int
    texts: tuple[Text, ...]
    is_side: bool = False


@dataclass(frozen=True)
class Arrow:
    """From one point to another, horizontally or vertically."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def head(self) -> str:
        """The points of the arrow's head."""
        x, y = self.x2, self.y2
        if self.x1 == self.x2:
            return f"{x - 4},{y - 7} {x + 4},{y - 7} {x},{y}"
        return f"{x - 7},{y - 4} {x - 7},{y + 4} {x},{y}"


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def layout(flow: Flow) -> Layout:
    """The steps down the left, who left on the right of the arrow between two of them."""
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    top = 1
    middle = BOX_WIDTH // 2
    for place, step in enumerate(flow.steps):
        if place:
            side = _side(step, top)
            if side is not None:
                boxes.append(side)
                halfway = side.y + side.height // 2
                below = max(side.y + side.height + GAP // 2, top + GAP)
                arrows.append(Arrow(middle, halfway, BOX_WIDTH + GAP, halfway))
            else:
                below = top + GAP
            arrows.append(Arrow(middle, top, middle, below))
            top = below
        box = _step(step, 1, top)
        boxes.append(box)
        top += box.height
    # What is beside the flow stands beside its last step, one below the other.
    top = boxes[-1].y if boxes else top
    for beside in flow.beside:
        box = _step(Step(beside.set_id, beside.label, beside.count), BOX_WIDTH + GAP, top)
        boxes.append(box)
        top += box.height + PADDING
    height = max(box.y + box.height for box in boxes) + 2
    return Layout(BOX_WIDTH + GAP + SIDE_WIDTH + 2, height, tuple(boxes), tuple(arrows))


def _step(step: Step, x: int, y: int) -> Box:
    lines = textwrap.wrap(f"{step.label}\u00a0({step.count})", BOX_CHARS)
    query = f"set={step.set_id}"
    texts = tuple(
        Text(x + PADDING, y + PADDING + LINE_HEIGHT * (n + 1) - 5, words, True, query, step.count)
        for n, words in enumerate(lines)
    )
    return Box(x, y, BOX_WIDTH, 2 * PADDING + LINE_HEIGHT * len(lines), texts)


def _side(step: Step, top: int) -> Box | None:
    if not step.left_count:
        return None
    x, y = BOX_WIDTH + GAP, top + GAP // 2
    words = [(f"Not included ({step.left_count})", True, f"left={step.set_id}", step.left_count)]
    for reason in step.left:
        for line in textwrap.wrap(f"{reason.label}\u00a0({reason.count})", SIDE_CHARS, subsequent_indent="  "):
            words.append((line, False, f"left={step.set_id}&why={reason.key}", reason.count))
    texts = tuple(
        Text(x + PADDING, y + PADDING + LINE_HEIGHT * (n + 1) - 5, line, strong, query, count)
        for n, (line, strong, query, count) in enumerate(words)
    )
    return Box(x, y, SIDE_WIDTH, 2 * PADDING + LINE_HEIGHT * len(words), texts, is_side=True)


def table(flow: Flow, listing: str) -> Table:
    """One row a step and a reason; ``listing`` is the address that each count's query is added to."""
    rows: list[tuple[Cell | str, ...]] = []
    for step in flow.steps:
        for reason in step.left:
            query = f"{listing}left={step.set_id}&why={reason.key}"
            rows.append((f"Left before “{step.label}”: {reason.label}", Cell(str(reason.count), query, is_count=True)))
        rows.append((step.label, Cell(str(step.count), f"{listing}set={step.set_id}", is_count=True)))
    rows += [(one.label, Cell(str(one.count), f"{listing}set={one.set_id}", is_count=True)) for one in flow.beside]
    return Table(("Step", "Participants"), tuple(rows))
