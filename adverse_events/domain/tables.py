"""The table of adverse events: heading, term and grade, in events and in participants, never one for the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CountedEvent:
    """One event as the table counts it: whose, under which heading and term, how bad."""

    participant_id: int
    category: str
    label: str
    grade: int


@dataclass(frozen=True)
class Cell:
    """Events of one grade, and participants whose worst grade this is. ``grade`` None: any grade, each counted once.

    ``percent`` is of the participants observed.
    """

    grade: int | None
    events: int
    participants: int
    percent: float


@dataclass(frozen=True)
class Row:
    """A term (or, with an empty ``label``, a heading, or the whole table), grade by grade."""

    category: str
    label: str
    cells: tuple[Cell, ...]
    total: Cell


@dataclass(frozen=True)
class Section:
    """A report heading with its terms; ``sum`` counts each participant once."""

    category: str
    heading: str
    sum: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class EventTable:
    """The whole table. ``participants`` is the denominator: everybody who could have had an event."""

    grades: tuple[int, ...]
    participants: int
    sections: tuple[Section, ...]
    total: Row


def event_table(
    events: Iterable[CountedEvent],
    *,
    headings: Sequence[tuple[str, str]],
    grades: Sequence[int],
    participants: int,
) -> EventTable:
    """Events and participants by report heading, term and grade; a participant counts once a row, at the worst grade.

    Parameters
    ----------
    headings : (id, heading) of the report categories in the order they are printed; others follow by name, and a
        heading without an event is left out.
    grades : the grades that have a column.
    participants : number of participants observed.

    Raises ValueError for a grade without a column, and for events of more participants than there are.

    >>> events = [CountedEvent(1, "infectious", "Sepsis", 4), CountedEvent(1, "infectious", "Sepsis", 5)]
    >>> table = event_table(events, headings=[("infectious", "Infectious")], grades=(3, 4, 5), participants=64)
    >>> [(cell.events, cell.participants) for cell in table.total.cells]
    [(0, 0), (1, 0), (1, 1)]
    """
    by_category: dict[str, dict[str, list[CountedEvent]]] = defaultdict(lambda: defaultdict(list))
    everything: list[CountedEvent] = []
    for event in events:
        if event.grade not in grades:
            raise ValueError(f"an event of grade {event.grade} has no column among {list(grades)}")
        by_category[event.category][event.label].append(event)
        everything.append(event)
    affected = len({event.participant_id for event in everything})
    if affected > participants:
        raise ValueError(f"events of {affected} participants, of {participants} observed")
    named = dict(headings)
    order = [*named, *sorted(set(by_category) - set(named))]
    sections = []
    for category in order:
        terms = by_category.get(category)
        if not terms:
            continue
        rows = tuple(
            _row(category, label, terms[label], grades, participants) for label in sorted(terms, key=str.casefold)
        )
        whole = _row(category, "", [event for found in terms.values() for event in found], grades, participants)
        sections.append(Section(category, named.get(category, category), whole, rows))
    return EventTable(tuple(grades), participants, tuple(sections), _row("", "", everything, grades, participants))


def _row(category: str, label: str, events: Sequence[CountedEvent], grades: Sequence[int], observed: int) -> Row:
    worst: dict[int, int] = {}
    for event in events:
        worst[event.participant_id] = max(event.grade, worst.get(event.participant_id, 0))
    of_grade, at_worst = Counter(event.grade for event in events), Counter(worst.values())

    def cell(grade: int | None, number: int, persons: int) -> Cell:
        return Cell(grade, number, persons, 100 * persons / observed if observed else 0.0)

    cells = tuple(cell(grade, of_grade[grade], at_worst[grade]) for grade in grades)
    return Row(category, label, cells, cell(None, len(events), len(worst)))
