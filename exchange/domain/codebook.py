"""What a table of an export holds: its columns with label, type, unit and codes, and who may have them.

A column says of itself whether it identifies a person or tells the group; :func:`within` is the one place where such
columns are taken out, so that no table has to remember to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from casebook.domain.answers import MISSING_REASONS

NOT_IN_VERSION = "NIV"
#: Why a cell is empty: the reasons that people give, and one that follows from the protocol version.
MISSING_CODES: Mapping[str, str] = {
    **MISSING_REASONS,
    NOT_IN_VERSION: "not collected in the participant's protocol version",
}

#: What a cell may hold; None is an empty one.
Cell = str | int | Decimal | date | datetime | bool | None
Row = Sequence[Cell]


class ColumnType(StrEnum):
    """How a column is written. A date that may be known in part is text beside its precision."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    PARTIAL_DATE = "partial date"
    DATETIME = "datetime"
    YES_NO = "yes or no"
    JSON = "JSON"


@dataclass(frozen=True)
class CodeList:
    """The codes of a column with their labels, in order."""

    name: str
    codes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    """One variable of a table."""

    name: str
    label: str
    type: ColumnType = ColumnType.TEXT
    unit: str = ""
    codes: CodeList | None = None
    source: str = ""
    versions: str = ""
    identifying: bool = False
    tells_group: bool = False


@dataclass(frozen=True)
class Table:
    """One file of an export: its columns, and where its rows come from when it is written.

    ``rows`` is called once, and answers how many rows to expect (None: not known) with the rows themselves.
    """

    name: str
    label: str
    columns: tuple[Column, ...]
    rows: Callable[[], tuple[int | None, Iterator[Row]]] = field(compare=False)
    tells_group: bool = False
    notes: tuple[str, ...] = ()


def within(tables: Iterable[Table], *, groups: bool, identifying: bool) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """The tables without what the reader may not have, and the names of the tables and columns that were left out.

    >>> column = Column("birth_date", "Date of birth", identifying=True)
    >>> table = Table("participants", "Participants", (Column("subject", "Subject"), column), lambda: (None, iter(())))
    >>> [c.name for c in within([table], groups=True, identifying=False)[0][0].columns]
    ['subject']
    """
    kept: list[Table] = []
    left_out: list[str] = []
    for table in tables:
        if table.tells_group and not groups:
            left_out.append(table.name)
            continue
        places = [
            place
            for place, column in enumerate(table.columns)
            if (groups or not column.tells_group) and (identifying or not column.identifying)
        ]
        left_out += [f"{table.name}.{c.name}" for place, c in enumerate(table.columns) if place not in places]
        kept.append(table if len(places) == len(table.columns) else _narrowed(table, places))
    return tuple(kept), tuple(left_out)


def _narrowed(table: Table, places: list[int]) -> Table:
    def rows() -> tuple[int | None, Iterator[Row]]:
        expected, whole = table.rows()
        return expected, ([row[place] for place in places] for row in whole)

    return replace(table, columns=tuple(table.columns[place] for place in places), rows=rows)


CODEBOOK_HEADER = ("dataset", "variable", "label", "type", "unit", "codes", "source", "versions", "identifying")


def codebook_rows(tables: Iterable[Table]) -> Iterator[Row]:
    """One row a column, in the order of the files."""
    for table in tables:
        for column in table.columns:
            yield (
                table.name,
                column.name,
                column.label,
                str(column.type),
                column.unit,
                column.codes.name if column.codes else "",
                column.source,
                column.versions,
                column.identifying,
            )


CODELIST_HEADER = ("codes", "code", "label")


def codelist_rows(tables: Iterable[Table]) -> Iterator[Row]:
    """Every code of every list that a column names, by the name of the list; the missing codes first."""
    lists = {column.codes.name: column.codes for table in tables for column in table.columns if column.codes}
    for code, label in MISSING_CODES.items():
        yield "missing", code, label
    for name in sorted(lists.keys() - {"missing"}):
        for code, label in lists[name].codes:
            yield name, code, label
