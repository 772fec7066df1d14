"""The publisher's own table of a dictionary: read, and held against the facts that Canopy ships of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adverse_events.domain.dictionary import Dictionary, Term, differences

#: Terms and classes of the versions that Canopy knows: CTCAE 4.03 (14 June 2010) and 5.0 (27 November 2017).
SIZES: Mapping[str, tuple[int, int]] = {"CTCAE 4.03": (790, 26), "CTCAE 5.0": (837, 26)}

#: Cells that are blank in a publisher's table although the grade is accepted, and why.
ACCEPTED_BLANKS: Mapping[tuple[str, str, int], str] = {
    ("CTCAE 4.03", "Edema cerebral", 5): (
        "Edema cerebral, grade 5: the cell is blank. The grade is accepted, because version 5.0 has it; compare it "
        "with the publisher's document."
    )
}
#: A grade that the term does not have.
_ABSENT = ("-", "\N{EN DASH}", "\N{EM DASH}")


@dataclass(frozen=True)
class Wording:
    """What the publisher says of one term: its definition, and each grade that exists with its text."""

    soc: str
    term: str
    definition: str
    grades: Mapping[int, str]


@dataclass(frozen=True)
class WordingTable:
    """A publisher's table as it was read. It may be loaded when there are no ``complaints``."""

    name: str
    wordings: tuple[Wording, ...]
    complaints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_wordings(rows: Iterable[Sequence[str]], *, name: str, shipped: Dictionary | None) -> WordingTable:
    """Read a table whose first row names the columns (class, term, definition, grade 1 to 5; others are ignored).

    A cell ``-`` is a grade that the term does not have; so is a blank one, which is noted. Every complaint is told.
    """
    table = [[" ".join(cell.split()) for cell in row] for row in rows]
    if not table:
        return WordingTable(name, (), ("The file is empty.",))
    columns = _columns(table[0])
    missing = [column for column in _WANTED if column not in columns]
    if missing:
        heads = ", ".join(head for head in table[0] if head)
        return WordingTable(
            name, (), (f"The first row names no column {', '.join(missing)}. Its columns are: {heads}.",)
        )
    complaints: list[str] = []
    notes: list[str] = []
    wordings: list[Wording] = []
    for number, row in enumerate(table[1:], start=2):
        if not any(row):
            continue
        cells = {column: row[at] if at < len(row) else "" for column, at in columns.items()}
        if not cells["soc"] or not cells["term"]:
            complaints.append(f"Row {number} has no class or no term.")
            continue
        grades, blank = _grades(cells)
        for grade in blank:
            accepted = ACCEPTED_BLANKS.get((name, cells["term"], grade))
            if accepted:
                grades[grade] = ""
            notes.append(
                accepted or f"{cells['term']}, grade {grade}: the cell is blank; taken as a grade that is not."
            )
        if not grades:
            complaints.append(f"{cells['term']} (row {number}) has no grade at all.")
        definition = "" if cells["definition"] in _ABSENT else cells["definition"]
        wordings.append(Wording(cells["soc"], cells["term"], definition, dict(sorted(grades.items()))))
    complaints += _twice(wordings) + _size(wordings, name, notes)
    if shipped is not None:
        complaints += differences(shipped, [Term(one.soc, one.term, frozenset(one.grades)) for one in wordings])
    return WordingTable(name, tuple(wordings), tuple(complaints), tuple(notes))


_WANTED = ("soc", "term", "definition", "grade1", "grade2", "grade3", "grade4", "grade5")


def _columns(heads: Sequence[str]) -> dict[str, int]:
    """Where each column stands: ``Grade 1``, ``CTCAE v4.0 Term`` and ``MedDRA SOC`` are understood too."""
    columns: dict[str, int] = {}
    for at, head in enumerate(heads):
        plain = re.sub(r"[\s_\ufeff]+", " ", head).strip().lower()
        words = plain.split()
        grade = re.fullmatch(r"grade ?([1-5])", plain)
        if grade:
            columns.setdefault(f"grade{grade[1]}", at)
        elif "code" in words:
            continue
        elif "definition" in words:
            columns.setdefault("definition", at)
        elif "soc" in words or plain.endswith("organ class"):
            columns.setdefault("soc", at)
        elif words and words[-1] == "term":
            columns.setdefault("term", at)
    return columns


def _grades(cells: Mapping[str, str]) -> tuple[dict[int, str], list[int]]:
    grades, blank = {}, []
    for grade in range(1, 6):
        text = cells[f"grade{grade}"]
        if not text:
            blank.append(grade)
        elif text not in _ABSENT:
            grades[grade] = text
    return grades, blank


def _twice(wordings: Sequence[Wording]) -> list[str]:
    times = Counter(one.term for one in wordings)
    return [f"{term} stands {count} times in the file." for term, count in times.items() if count > 1]


def _size(wordings: Sequence[Wording], name: str, notes: list[str]) -> list[str]:
    terms, classes = len(wordings), len({one.soc for one in wordings})
    if name not in SIZES:
        known = ", ".join(SIZES)
        notes.append(f"The size of {name} is not known here (known: {known}); the file has {terms} terms.")
        return []
    wanted_terms, wanted_classes = SIZES[name]
    complaints = []
    if terms != wanted_terms:
        complaints.append(f"The file has {terms} terms; {name} has {wanted_terms}.")
    if classes != wanted_classes:
        complaints.append(f"The file has {classes} system organ classes; {name} has {wanted_classes}.")
    return complaints
