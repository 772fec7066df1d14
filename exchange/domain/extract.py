"""An extract of another system: a folder of CSV tables, and a mapping that says what their columns are here.

The mapping is data (``mapping.yaml`` beside the tables); a new extract needs no code. :func:`translate` reads the
tables whole and returns typed rows, or every problem with file, row and column. Nothing is guessed: a value that the
mapping does not list is a problem, an empty cell is a value that is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

Row = Mapping[str, str]
Table = Sequence[Row]


@dataclass(frozen=True)
class Trouble:
    """One thing in the tables that does not fit the mapping. ``row`` counts the file's lines, the header being 1."""

    file: str
    row: int
    column: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}, column {self.column}: {self.sentence}"


class ExtractRefused(Exception):
    """The extract is refused whole, with everything that is wrong in it."""

    def __init__(self, troubles: Sequence[Trouble]) -> None:
        self.troubles = tuple(troubles)
        super().__init__("\n".join(str(trouble) for trouble in self.troubles[:50]))


@dataclass(frozen=True)
class Person:
    """One participant or external control."""

    subject: str
    screening_number: str
    site: str
    screened_on: date
    sex: str
    birth_date: str = ""
    group: str = ""
    is_external: bool = False
    enrolled_on: date | None = None
    failure_reason: str = ""
    consent_version: str = ""
    consent_signed_on: date | None = None
    consent_signatory: str = ""


@dataclass(frozen=True)
class Visited:
    """A visit that took place: what was observed at it is dated by it."""

    subject: str
    visit: str
    done_on: date


@dataclass(frozen=True)
class Entry:
    """One form as it would be typed. ``repeat`` 0 stands for the next one of this form at this visit."""

    subject: str
    form: str
    visit: str
    answers: Mapping[str, str]
    repeat: int = 1


@dataclass(frozen=True)
class Result:
    subject: str
    sampled_at: datetime
    laboratory: str
    analyte: str
    value: str
    unit: str


@dataclass(frozen=True)
class Happening:
    subject: str
    kind: str
    occurred: str
    grade: str
    detail: Mapping[str, str]
    note: str


@dataclass(frozen=True)
class AdverseEvent:
    subject: str
    number: str
    verbatim: str
    grade: int
    started: str
    ended: str
    is_serious: bool | None
    outcome: str
    relation: str
    note: str = ""


@dataclass(frozen=True)
class Infusion:
    subject: str
    number: int
    started_at: datetime
    stopped_at: datetime
    dose_mg: Decimal
    product: str
    comment: str


@dataclass(frozen=True)
class Plan:
    subject: str
    total_mg_per_kg: Decimal
    weight_kg: Decimal
    graft: str
    start_day: int


@dataclass(frozen=True)
class Departure:
    subject: str
    rule: str
    description: str


@dataclass(frozen=True)
class Extract:
    """Everything the tables say, in the order of their rows."""

    people: tuple[Person, ...] = ()
    visits: tuple[Visited, ...] = ()
    entries: tuple[Entry, ...] = ()
    results: tuple[Result, ...] = ()
    happenings: tuple[Happening, ...] = ()
    adverse_events: tuple[AdverseEvent, ...] = ()
    infusions: tuple[Infusion, ...] = ()
    plans: tuple[Plan, ...] = ()
    departures: tuple[Departure, ...] = ()
    forms_are_complete: bool = False
    accrual_closed_on: date | None = None
    follow_up_is_complete: bool = False


#: Section of the mapping (and field of the extract) -> the rows it makes; their fields are those the section may name.
SECTIONS: Mapping[str, type] = {
    "people": Person,
    "visits": Visited,
    "entries": Entry,
    "results": Result,
    "happenings": Happening,
    "adverse_events": AdverseEvent,
    "infusions": Infusion,
    "plans": Plan,
    "departures": Departure,
}
#: What a mapping says of the whole.
_WHOLE = ("trial", "accrual_closed_on", "forms_are_complete", "follow_up_is_complete")


@dataclass
class _Reader:
    """Reads cells of one row, collecting what does not fit."""

    file: str
    number: int
    row: Row
    tables: _Tables
    troubles: list[Trouble] = field(default_factory=list)

    def pick(self, spec: object) -> str:
        """The text that ``spec`` finds.

        A column's name; ``{column, values}``; ``{column, part: date, days}``; ``{column, days_from}``, the date moved
        by the days of another column, "" where either is empty; ``{column, not_after}``, the date, at the latest that
        of the data cut; ``{constant}``; ``{count_of: file, by, when}``, how
        many rows of that file belong to this one.
        """
        if isinstance(spec, Mapping):
            if "constant" in spec:
                return str(spec["constant"])
            if "count_of" in spec:
                return str(self._count(spec))
            column = str(spec["column"])
            text = self._cell(column)
            if spec.get("part") == "date":
                text = text[: len("2017-03-05")]
            if "days" in spec and text:
                text = self._moved(column, text, int(str(spec["days"])))
            if "not_after" in spec and text:
                text = min(text, str(spec["not_after"]))
            if "days_from" in spec and text:
                text = self._moved_by(column, text, str(spec["days_from"]))
            values = spec.get("values")
            if values is None or text == "":
                return text
            if text not in values:
                known = ", ".join(str(value) for value in values)
                self._trouble(column, f"{text!r} is not among the values of the mapping ({known}).")
                return ""
            found = values[text]
            return "" if found is None else str(found)
        return self._cell(str(spec))

    def holds(self, conditions: Mapping[str, object]) -> bool:
        """Whether every column has the value (or one of the values) that the condition names, or none of ``not``."""
        return all(_fits(self._cell(column), wanted) for column, wanted in conditions.items())

    def joined(self, spec: Mapping[str, Any]) -> bool:
        """Add the columns of the one row of another file that belongs to this row; False where it is not there."""
        found = self._belonging(str(spec["file"]), spec["by"])
        if len(found) > 1:
            self._trouble(", ".join(_pairs(spec["by"])), f"{spec['file']} has {len(found)} rows for it; one is needed.")
        elif not found:
            self._trouble(", ".join(_pairs(spec["by"])), f"{spec['file']} has no row for it.")
        else:
            self.row = {**found[0], **self.row}
        return len(found) == 1

    def _belonging(self, file: str, by: object) -> Sequence[Row]:
        """The rows of ``file`` whose columns hold what this row's do."""
        pairs = _pairs(by)
        return self.tables.index(file, tuple(pairs.values())).get(tuple(self._cell(own) for own in pairs), ())

    def _count(self, spec: Mapping[str, Any]) -> int:
        wanted = spec.get("when", {})
        return sum(
            all(_fits((row.get(column) or "").strip(), value) for column, value in wanted.items())
            for row in self._belonging(str(spec["count_of"]), spec["by"])
        )

    def typed(self, name: str, kind: str, spec: object) -> Any:
        """The value of one field, read as its type; what cannot be read is a problem and comes back as None."""
        text = self.pick(spec)
        column = str(spec["column"]) if isinstance(spec, Mapping) and "column" in spec else str(spec)
        try:
            return _READ[kind](text)
        except (ValueError, InvalidOperation):
            self._trouble(column, f"{text!r} is no {_WORDS[kind]} for {name}.")
            return None

    def _moved(self, column: str, text: str, days: int) -> str:
        """The date ``days`` later (earlier, where negative)."""
        try:
            return (date.fromisoformat(text) + timedelta(days=days)).isoformat()
        except ValueError:
            self._trouble(column, f"{text!r} is no date (2017-03-05).")
            return ""

    def _moved_by(self, column: str, text: str, days: str) -> str:
        number = self._cell(days)
        if number == "":
            return ""
        try:
            return self._moved(column, text, int(number))
        except ValueError:
            self._trouble(days, f"{number!r} is no whole number of days.")
            return ""

    def _cell(self, column: str) -> str:
        if column not in self.row:
            self._trouble(column, "the table has no such column.")
            return ""
        return (self.row[column] or "").strip()

    def _trouble(self, column: str, sentence: str) -> None:
        self.troubles.append(Trouble(self.file, self.number, column, sentence))


def _fits(text: str, wanted: object) -> bool:
    if isinstance(wanted, Mapping):
        return not _fits(text, wanted["not"])
    return text in ([str(value) for value in wanted] if isinstance(wanted, list) else [str(wanted)])


def _pairs(by: object) -> dict[str, str]:
    """Own column -> column of the other file; one name stands for both."""
    return {str(own): str(other) for own, other in by.items()} if isinstance(by, Mapping) else {str(by): str(by)}


def _optional_bool(text: str) -> bool | None:
    return None if text == "" else {"yes": True, "no": False, "true": True, "false": False}[text.lower()]


def _bool(text: str) -> bool:
    try:
        return bool(_optional_bool(text))
    except KeyError:
        raise ValueError(text) from None


_READ: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "Decimal": Decimal,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "date | None": lambda text: date.fromisoformat(text) if text else None,
    "bool": _bool,
    "bool | None": lambda text: _optional_bool(text) if text in ("", "yes", "no", "true", "false") else int("no"),
}
_WORDS = {
    "int": "whole number",
    "Decimal": "number",
    "date": "date (2017-03-05)",
    "datetime": "moment (2017-03-05T13:30)",
    "date | None": "date (2017-03-05)",
    "bool": "yes or no",
    "bool | None": "yes or no",
    "str": "text",
}


def translate(mapping: Mapping[str, Any], tables: Mapping[str, Table]) -> Extract:
    """What ``tables`` (file name -> rows) hold under ``mapping``; raises ExtractRefused with every problem."""
    troubles: list[Trouble] = []
    found: dict[str, list[Any]] = {section: [] for section in SECTIONS}
    unknown = set(mapping) - set(SECTIONS) - set(_WHOLE)
    if unknown:
        known = ", ".join(SECTIONS)
        raise ExtractRefused([Trouble("mapping", 0, name, f"no such section; they are {known}.") for name in unknown])
    indexed = _Tables(tables)
    for section, kind in SECTIONS.items():
        for source in mapping.get(section, []):
            absent = [file for file in _files(source) if file not in tables]
            troubles += [
                Trouble(file, 0, "-", f"the mapping's {section} need this file, and it is not there.")
                for file in absent
            ]
            if not absent:
                found[section].extend(_rows(kind, source, str(source["file"]), indexed, troubles))
    if troubles:
        raise ExtractRefused(troubles)
    found["entries"] = _united(_numbered(found["entries"]), troubles)
    if troubles:
        raise ExtractRefused(troubles)
    people = {person.subject for person in found["people"] if person.subject}
    for name, rows in found.items():
        strangers = {row.subject for row in rows} - people if name != "people" else set()
        troubles += [Trouble(name, 0, "subject", f"{who!r} is nobody of the people.") for who in sorted(strangers)]
    if troubles:
        raise ExtractRefused(troubles)
    return Extract(
        **{name: tuple(rows) for name, rows in found.items()},
        accrual_closed_on=mapping.get("accrual_closed_on"),
        forms_are_complete=bool(mapping.get("forms_are_complete")),
        follow_up_is_complete=bool(mapping.get("follow_up_is_complete")),
    )


def _files(source: Mapping[str, Any]) -> Iterator[str]:
    """Every file that one clause of a section reads: its own, the joined one, and those whose rows it counts."""
    yield str(source["file"])
    if "join" in source:
        yield str(source["join"]["file"])
    for spec in source.values():
        for each in (spec, *spec.values()) if isinstance(spec, Mapping) else ():
            if isinstance(each, Mapping) and "count_of" in each:
                yield str(each["count_of"])


def _numbered(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that ask for the next number of their form get it, in the order of the rows."""
    last: dict[tuple[str, str, str], int] = {}
    numbered = []
    for entry in entries:
        place = (entry.subject, entry.form, entry.visit)
        repeat = entry.repeat or last.get(place, 0) + 1
        last[place] = max(repeat, last.get(place, 0))
        numbered.append(entry if entry.repeat else replace(entry, repeat=repeat))
    return numbered


def _united(entries: Sequence[Entry], troubles: list[Trouble]) -> list[Entry]:
    """Rows of several tables about one form are one form; two answers to one question are a problem."""
    forms: dict[tuple[str, str, str, int], dict[str, str]] = {}
    for entry in entries:
        answers = forms.setdefault((entry.subject, entry.form, entry.visit, entry.repeat), {})
        for name, value in entry.answers.items():
            if answers.setdefault(name, value) != value:
                sentence = f"{entry.subject} has two answers, {answers[name]!r} and {value!r}."
                troubles.append(Trouble("entries", 0, f"{entry.form}.{name}", sentence))
    return [Entry(subject, form, visit, answers, repeat) for (subject, form, visit, repeat), answers in forms.items()]


class _Tables:
    """The tables, with their rows by the values of columns: worked out once."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables = tables
        self._known: dict[tuple[str, tuple[str, ...]], dict[tuple[str, ...], list[Row]]] = {}

    def index(self, file: str, columns: tuple[str, ...]) -> Mapping[tuple[str, ...], Sequence[Row]]:
        if (file, columns) not in self._known:
            index: dict[tuple[str, ...], list[Row]] = {}
            for row in self.tables[file]:
                index.setdefault(tuple((row.get(column) or "").strip() for column in columns), []).append(row)
            self._known[file, columns] = index
        return self._known[file, columns]


def _rows(kind: type, source: Mapping[str, Any], file: str, tables: _Tables, troubles: list[Trouble]) -> Iterator[Any]:
    kinds = {name: spec.type for name, spec in kind.__dataclass_fields__.items()}  # type: ignore[attr-defined]
    for number, row in enumerate(tables.tables[file], start=2):
        reader = _Reader(file, number, row, tables, troubles)
        conditions: Mapping[str, object] = source.get("when", {})
        # Its own columns first: a row that is left out needs no partner in another file.
        own = {column: wanted for column, wanted in conditions.items() if column in row or "join" not in source}
        if not reader.holds(own) or ("join" in source and not reader.joined(source["join"])):
            continue
        if not reader.holds(conditions):
            continue
        values: dict[str, Any] = {}
        for name, spec in source.items():
            if name in ("file", "when", "join"):
                continue
            if name not in kinds:
                troubles.append(Trouble("mapping", 0, name, f"a row of {file} has no such field; {', '.join(kinds)}."))
            elif str(kinds[name]).startswith("Mapping"):
                picked = {key: reader.pick(each) for key, each in spec.items()}
                values[name] = {key: text for key, text in picked.items() if text != ""}
            else:
                values[name] = reader.typed(name, str(kinds[name]), spec)
        if not troubles:
            yield kind(**values)
