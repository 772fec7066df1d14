"""How participants pass from one state to another from day to day (a Sankey diagram), as boxes and ribbons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trials.domain.figures import BLUE, GREY, INK, ORANGE, PALE, Table, percent

#: The states from top to bottom: words, the word on a box, and how a box is filled ("hatch" is the pattern of the
#: drawing). In grey print the filling and the word tell.
STATES = {
    "start": ("active disease at the start", "start", PALE),
    "CR": ("complete response", "CR", BLUE),
    "PR": ("partial response", "PR", "hatch"),
    "NR": ("no response", "NR", ORANGE),
    "not_assessed": ("not assessed", "not assessed", PALE),
    "dead": ("died", "died", INK),
}
RESPONSES = ("CR", "PR")
WIDTH, HEIGHT, TOP, BOTTOM, NODE, GAP = 860, 340, 26, 4, 16, 12
#: A count is written on a ribbon or a box that is at least so high.
WRITTEN_FROM = 13.0


@dataclass(frozen=True)
class Course:
    """The states of one participant, one for each day of the figure."""

    participant: int
    states: tuple[str, ...]


@dataclass(frozen=True)
class Ribbon:
    """How many went from one state on the day at ``place`` to another on the next."""

    place: int
    before: str
    after: str
    count: int


@dataclass(frozen=True)
class Transitions:
    """``counts`` has the number in each state on each day. They add up to ``n``, as do the ribbons of two days."""

    label: str
    origin: str
    days: tuple[int, ...]
    n: int
    counts: tuple[dict[str, int], ...]
    ribbons: tuple[Ribbon, ...]

    def response_rate(self, place: int) -> float:
        """Complete and partial responses on a day, over everybody."""
        return sum(self.counts[place].get(state, 0) for state in RESPONSES) / self.n


def transitions(courses: Iterable[Course], days: Sequence[int], *, label: str, origin: str) -> Transitions | None:
    """Count the courses; None where there is nobody.

    Raises ValueError for a state that there is not, a course of another length than ``days``, and one that goes on
    after death.
    """
    people = tuple(courses)
    for one in people:
        if len(one.states) != len(days):
            raise ValueError(f"states of participant {one.participant} are {len(one.states)}, for {len(days)} days")
        for state in one.states:
            if state not in STATES:
                raise ValueError(f"state of participant {one.participant} is {state!r}; known are {', '.join(STATES)}")
        if "dead" in one.states and set(one.states[one.states.index("dead") :]) != {"dead"}:
            raise ValueError(f"states of participant {one.participant} go on after death")
    if not people:
        return None
    counts = tuple(dict(Counter(one.states[place] for one in people)) for place in range(len(days)))
    ribbons = []
    for place in range(len(days) - 1):
        pairs = Counter((one.states[place], one.states[place + 1]) for one in people)
        ribbons += [
            Ribbon(place, before, after, pairs[before, after])
            for before in STATES
            for after in STATES
            if pairs[before, after]
        ]
    return Transitions(label, origin, tuple(days), len(people), counts, tuple(ribbons))


@dataclass(frozen=True)
class Node:
    """A box of the drawing, in pixels, with its words; ``text`` stands beside it."""

    x: float
    y: float
    height: float
    fill: str
    words: str
    text: str

    @property
    def text_x(self) -> float:
        return round(self.x + NODE + 5, 1)

    @property
    def text_y(self) -> float:
        return round(self.y + self.height / 2 + 4, 1)


@dataclass(frozen=True)
class Path:
    """A ribbon of the drawing: its outline, its words, and where its count (``text``, if there is room) ends."""

    outline: str
    fill: str
    words: str
    text: str
    text_x: float
    text_y: float


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels."""

    width: int
    height: int
    node_width: int
    nodes: tuple[Node, ...]
    paths: tuple[Path, ...]
    days: tuple[tuple[float, str], ...]


def layout(result: Transitions) -> Layout:
    """The boxes of each day one below the other, as high as they count; ribbons leave and arrive in the same order."""
    most = max(len(counts) for counts in result.counts)
    scale = (HEIGHT - TOP - BOTTOM - GAP * (most - 1)) / result.n
    steps = max(len(result.days) - 1, 1)
    xs = [10 + place * (WIDTH - NODE - 110) / steps for place in range(len(result.days))]
    nodes: dict[tuple[int, str], Node] = {}
    for place, counts in enumerate(result.counts):
        y = float(TOP)
        for state, (words, text, fill) in STATES.items():
            if count := counts.get(state):
                height = round(count * scale, 1)
                said = f"day {result.days[place]}: {words} {count} of {result.n}"
                beside = f"{text} {count}" if height >= WRITTEN_FROM else ""
                nodes[place, state] = Node(round(xs[place], 1), round(y, 1), height, fill, said, beside)
                y += count * scale + GAP
    left = {key: node.y for key, node in nodes.items()}
    arrived = dict(left)
    paths = []
    for ribbon in result.ribbons:
        start, end = (ribbon.place, ribbon.before), (ribbon.place + 1, ribbon.after)
        thick = ribbon.count * scale
        y1, y2 = left[start], arrived[end]
        left[start] += thick
        arrived[end] += thick
        x1, x2 = nodes[start].x + NODE, nodes[end].x
        bend = (x1 + x2) / 2
        outline = (
            f"M{x1:.1f},{y1:.1f}C{bend:.1f},{y1:.1f} {bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
            f"L{x2:.1f},{y2 + thick:.1f}C{bend:.1f},{y2 + thick:.1f} {bend:.1f},{y1 + thick:.1f} "
            f"{x1:.1f},{y1 + thick:.1f}Z"
        )
        days = f"day {result.days[ribbon.place]} to {result.days[ribbon.place + 1]}"
        said = f"{days}: {STATES[ribbon.before][0]} to {STATES[ribbon.after][0]} {ribbon.count}"
        inside = str(ribbon.count) if thick >= WRITTEN_FROM else ""
        # Counts stand where ribbons arrive: there they lie in order, one below the other.
        fill = GREY if STATES[ribbon.before][2] == PALE else STATES[ribbon.before][2]
        paths.append(Path(outline, fill, said, inside, round(x2 - 5, 1), round(y2 + thick / 2 + 4, 1)))
    days_above = tuple((round(x, 1), f"day {day}") for x, day in zip(xs, result.days, strict=True))
    return Layout(WIDTH, HEIGHT, NODE, tuple(nodes.values()), tuple(paths), days_above)


def in_words(result: Transitions) -> str:
    """The share that responds on each day."""
    return "; ".join(
        f"day {day}: {percent(result.response_rate(place), 1)} respond"
        for place, day in enumerate(result.days)
        if place or result.response_rate(0)
    )


def table(result: Transitions) -> Table:
    """One row a day: the number in each state, and the share that responds."""
    rows: tuple[tuple[str | int, ...], ...] = tuple(
        (
            day,
            *(result.counts[place].get(state, 0) for state in STATES),
            result.n,
            percent(result.response_rate(place), 1),
        )
        for place, day in enumerate(result.days)
    )
    words = (word.capitalize() for word, _, _ in STATES.values())
    return Table(("Day", *words, "All", "Complete or partial"), rows)


def passage_table(result: Transitions) -> Table:
    """One row a ribbon."""
    return Table(
        ("From day", "To day", "From", "To", "Participants"),
        tuple(
            (
                result.days[ribbon.place],
                result.days[ribbon.place + 1],
                STATES[ribbon.before][0],
                STATES[ribbon.after][0],
                ribbon.count,
            )
            for ribbon in result.ribbons
        ),
    )
