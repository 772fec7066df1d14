"""A table's files: the cells as CSV, and the description (with the cells, or beside them) as YAML.

A file is read whole or not at all: every line that is wrong is named, with what would be right.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from trials.domain import nodes

from .nomogram import COLUMNS, Applicability, Band, Cell, Table

MAX_CELLS = 2000
MAX_TEXT = 1024 * 1024


@dataclass(frozen=True)
class TableError:
    """One thing that cannot be read in a table's file."""

    line: int
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"Line {self.line}: {self.rule}. {self.remedy}"


class TableErrors(Exception):
    """Everything that cannot be read in a table's file; nothing of it is kept."""

    def __init__(self, errors: Sequence[TableError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: error.line))
        super().__init__("\n".join(str(error) for error in self.errors))


def parse_cells(text: str) -> tuple[Cell, ...]:
    """The cells of a CSV text, separated by commas or semicolons; raises TableErrors with every line that is wrong."""
    _check_size(text)
    first = text.lstrip("\ufeff").partition("\n")[0]
    separator = ";" if first.count(";") > first.count(",") else ","
    rows = csv.reader(io.StringIO(text.lstrip("\ufeff")), delimiter=separator, strict=True)
    header: list[str] | None = None
    cells: list[Cell] = []
    errors: list[TableError] = []
    try:
        for row in rows:
            written = [value.strip() for value in row]
            if not any(written) or written[0].startswith("#"):
                continue
            if header is None:
                header = [name.lower() for name in written]
                _check_header(header, rows.line_num)
                continue
            if len(written) != len(header):
                remedy = f"Give the columns {', '.join(header)}; write decimals with a point."
                errors.append(TableError(rows.line_num, f"{len(written)} values, {len(header)} columns", remedy))
                continue
            _add(cells, errors, dict(zip(header, written, strict=True)), rows.line_num)
    except csv.Error as error:
        raise TableErrors([TableError(rows.line_num, f"not a CSV file: {error}", "Export the table again.")]) from None
    return _whole(cells, errors, "Add one row a cell under the header.")


def parse_table(text: str, *, cells: str = "") -> Table:
    """A table from its YAML text, whose ``cells`` stand in it or come as a CSV text of their own."""
    _check_size(text)
    try:
        node = nodes.from_text(text.lstrip("\ufeff"))
    except nodes.Refused as refused:
        raise TableErrors([TableError(refused.line, refused.rule, refused.remedy)]) from None
    if not isinstance(node, nodes.Table):
        raise TableErrors([TableError(1, "not a table's description", "Start with `code:`, `title:`, `product:`.")])
    reader = _Description(node)
    table = Table(
        code=reader.text("code", required=True),
        title=reader.text("title", required=True),
        product=reader.text("product", required=True),
        is_synthetic=reader.yes_or_no("synthetic"),
        source_citation=reader.text("source_citation", required=True),
        licence_note=reader.text("licence_note"),
        applicability=reader.applicability(),
        cells=parse_cells(cells) if cells else (),
    )
    reader.units()
    inside = reader.cells()
    if cells and inside:
        reader.report("cells", "the cells are given twice", "Give them in the YAML or as CSV, not both.")
    reader.unknown()
    if reader.errors:
        raise TableErrors(reader.errors)
    table = replace(table, cells=table.cells or inside)
    if not table.cells:
        raise TableErrors([TableError(node.line, "the table has no cells", "Add `cells:`, or upload a CSV beside it.")])
    return table


def _check_size(text: str) -> None:
    if len(text) > MAX_TEXT:
        remedy = "Check that this is the right file."
        raise TableErrors([TableError(1, "the text is longer than 1 MiB; a dosing table is not", remedy)])
    if "\x00" in text:
        raise TableErrors([TableError(1, "the text holds a control character", "Save the file as UTF-8 text.")])


def _check_header(header: list[str], line: int) -> None:
    missing = [name for name in COLUMNS if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if missing or unknown or twice:
        said = []
        said += [f"missing: {', '.join(missing)}"] if missing else []
        said += [f"not known: {', '.join(unknown)}"] if unknown else []
        said += [f"twice: {', '.join(twice)}"] if twice else []
        rule = f"the columns are wrong ({'; '.join(said)})"
        raise TableErrors([TableError(line, rule, f"The header is {', '.join(COLUMNS)}.")])


def _whole(cells: list[Cell], errors: list[TableError], remedy: str) -> tuple[Cell, ...]:
    if not cells and not errors:
        errors.append(TableError(1, "the table has no cells", remedy))
    if len(cells) > MAX_CELLS:
        errors.append(TableError(1, f"{len(cells)} cells", f"A table has at most {MAX_CELLS}."))
    if errors:
        raise TableErrors(errors)
    return tuple(cells)


def _add(cells: list[Cell], errors: list[TableError], written: Mapping[str, str], line: int) -> None:
    numbers: dict[str, Decimal] = {}
    before = len(errors)
    source = written["stem_cell_source"]
    if not source or not source.replace("_", "").isalnum() or len(source) > 40:
        errors.append(TableError(line, f"“{source}” is no stem-cell source", "Write a name such as bm_pbsc."))
    for name in COLUMNS[1:]:
        number = _number(written[name])
        if number is None:
            errors.append(TableError(line, f"{name} is “{written[name]}”", "Write a plain number such as 0.5."))
        elif name in ("n_days", "start_day") and number != number.to_integral_value():
            errors.append(TableError(line, f"{name} is {written[name]}", "Write a whole number."))
        else:
            numbers[name] = number
    if len(errors) == before:
        cells.append(
            Cell(
                stem_cell_source=source,
                weight_lo=numbers["weight_lo"],
                weight_hi=numbers["weight_hi"],
                alc_lo=numbers["alc_lo"],
                alc_hi=numbers["alc_hi"],
                total_mg_per_kg=numbers["total_mg_per_kg"],
                n_days=int(numbers["n_days"]),
                start_day=int(numbers["start_day"]),
                line=line,
            )
        )


def _number(text: str) -> Decimal | None:
    """A number as it is written in a table: digits and a point, nothing else, of a sensible length."""
    if not text or len(text) > 12 or set(text) - set("0123456789.-"):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


class _Description:
    """Reads the YAML description of a table and collects what is wrong with it."""

    KEYS = (
        "code",
        "title",
        "product",
        "synthetic",
        "source_citation",
        "licence_note",
        "applicability",
        "units",
        "cells",
    )
    UNITS: Mapping[str, str] = {"weight": "kg", "alc": "10^9/L", "dose": "mg/kg"}

    def __init__(self, node: nodes.Table) -> None:
        self.node = node
        self.errors: list[TableError] = [
            TableError(line, f"`{key}` is given twice", "Keep one.") for key, line in node.duplicates
        ]

    def report(self, key: str, rule: str, remedy: str) -> None:
        self.errors.append(TableError(self.node.line_of(key), rule, remedy))

    def text(self, key: str, *, required: bool = False) -> str:
        found = self.node.entries.get(key)
        if found is None:
            if required:
                self.report(key, f"`{key}` is missing", f"Add `{key}:`.")
            return ""
        if not isinstance(found, nodes.Leaf) or len(found.text) > 2000:
            self.report(key, f"`{key}` is not one text", "Write it on one line.")
            return ""
        if required and not found.text.strip():
            self.report(key, f"`{key}` is empty", f"Say the {key.replace('_', ' ')}.")
        return found.text.strip()

    def yes_or_no(self, key: str) -> bool:
        found = self.node.entries.get(key)
        word = found.text.lower() if isinstance(found, nodes.Leaf) else ""
        if word not in ("true", "false"):
            self.report(key, f"`{key}` is missing or neither true nor false", f"Write `{key}: false` for a real table.")
        return word == "true"

    def units(self) -> None:
        """A table says its units; one in other units is refused, never converted."""
        found = self.node.entries.get("units")
        said = {}
        if isinstance(found, nodes.Table):
            said = {key: leaf.text for key, leaf in found.entries.items() if isinstance(leaf, nodes.Leaf)}
        if said != self.UNITS:
            wanted = ", ".join(f"{key}: {unit}" for key, unit in self.UNITS.items())
            self.report("units", "the units are missing or others", f"Write units: {{{wanted}}}.")

    def applicability(self) -> Applicability:
        found = self.node.entries.get("applicability")
        nothing = Applicability(Band(Decimal(0), Decimal(0)), Band(Decimal(0), Decimal(0)))
        if not isinstance(found, nodes.Table):
            self.report("applicability", "the table does not say for whom it is", "Add weight_kg and alc_1e9_per_l.")
            return nothing
        unknown = set(found.entries) - {"weight_kg", "alc_1e9_per_l", "age_years", "items"}
        for key in sorted(unknown):
            self.report("applicability", f"applicability has no `{key}`", "See the shipped table.")
        weight, alc = self._band(found, "weight_kg", closed=True), self._band(found, "alc_1e9_per_l", closed=True)
        age = self._band(found, "age_years", closed=False) if "age_years" in found.entries else None
        items: dict[str, tuple[str, ...]] = {}
        listed = found.entries.get("items")
        if isinstance(listed, nodes.Table):
            for address, values in listed.entries.items():
                if isinstance(values, nodes.Listing) and all(isinstance(one, nodes.Leaf) for one in values.entries):
                    items[address] = tuple(one.text for one in values.entries if isinstance(one, nodes.Leaf))
                else:
                    self.report("applicability", f"{address} is not a list of values", "Write [MAC].")
        elif listed is not None:
            self.report("applicability", "items is not a list of addresses", "Write items: {CO.INTENSITY: [MAC]}.")
        return Applicability(weight or nothing.weight_kg, alc or nothing.alc_1e9_per_l, age, items)

    def _band(self, table: nodes.Table, key: str, *, closed: bool) -> Band | None:
        found = table.entries.get(key)
        if isinstance(found, nodes.Listing) and len(found.entries) == 2:
            ends = [_number(one.text) if isinstance(one, nodes.Leaf) else None for one in found.entries]
            low, high = ends
            if low is not None and high is not None and 0 <= low < high:
                return Band(low, high, closed)
        self.report("applicability", f"{key} is not a range", f"Write {key}: [low, high].")
        return None

    def cells(self) -> tuple[Cell, ...]:
        found = self.node.entries.get("cells")
        if found is None:
            return ()
        cells: list[Cell] = []
        rows = found.entries if isinstance(found, nodes.Listing) else ()
        if not rows:
            self.report("cells", "`cells` is not a list", "Write one cell a line, each with its columns.")
        for row in rows:
            if not isinstance(row, nodes.Table):
                self.errors.append(TableError(row.line, "a cell is not a list of columns", "Name every column."))
                continue
            written = {key: leaf.text for key, leaf in row.entries.items() if isinstance(leaf, nodes.Leaf)}
            if set(written) != set(COLUMNS):
                wrong = sorted(set(written) ^ set(COLUMNS))
                rule = f"columns missing or not known: {', '.join(wrong)}"
                self.errors.append(TableError(row.line, rule, f"A cell has {', '.join(COLUMNS)}."))
                continue
            _add(cells, self.errors, written, row.line)
        return tuple(cells)

    def unknown(self) -> None:
        for key in self.node.entries:
            if key not in self.KEYS:
                self.report(key, f"a table has no `{key}`", f"Known: {', '.join(self.KEYS)}.")
