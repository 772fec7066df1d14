"""The dosing table: weight and lymphocyte count, for one kind of graft, to mg/kg and days.

A table is data with a source, a validation and a hash. A look-up finds the one cell that holds the point; between and
beyond the cells there is nothing, and the refusal says what the table covers. Bands are half-open, ``[low, high)``, and
the last band of each axis is closed: a value on an inner boundary belongs to the upper band.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from .refusals import Refusal, Stop

#: Columns of the file, in the canonical order; the header may have them in any order.
COLUMNS = (
    "stem_cell_source",
    "weight_lo",
    "weight_hi",
    "alc_lo",
    "alc_hi",
    "total_mg_per_kg",
    "n_days",
    "start_day",
)
#: A value this near to an inner boundary gets a warning with the neighbour's dose.
NEAR_BOUNDARY = Decimal("0.02")


@dataclass(frozen=True)
class Band:
    """One band of an axis, ``[low, high)``; ``closed`` where the high end belongs to it too."""

    low: Decimal
    high: Decimal
    closed: bool = False

    def holds(self, value: Decimal) -> bool:
        return self.low <= value < self.high or (self.closed and value == self.high)

    def words(self) -> str:
        return f"[{plain(self.low)}, {plain(self.high)}{']' if self.closed else ')'}"


@dataclass(frozen=True)
class Cell:
    """One cell of a table; weight in kg, lymphocytes in 10^9/L, dose in mg/kg over ``n_days`` from ``start_day`` on."""

    stem_cell_source: str
    weight_lo: Decimal
    weight_hi: Decimal
    alc_lo: Decimal
    alc_hi: Decimal
    total_mg_per_kg: Decimal
    n_days: int
    start_day: int
    line: int = field(default=0, compare=False)

    @property
    def place(self) -> str:
        """The cell by its bands, for a sentence."""
        weight = f"weight [{plain(self.weight_lo)}, {plain(self.weight_hi)})"
        return f"{self.stem_cell_source}, {weight} kg, ALC [{plain(self.alc_lo)}, {plain(self.alc_hi)})"

    @property
    def key(self) -> tuple[str, Decimal, Decimal, Decimal, Decimal]:
        return self.stem_cell_source, self.weight_lo, self.weight_hi, self.alc_lo, self.alc_hi


@dataclass(frozen=True)
class Applicability:
    """For whom the table may be used. ``items`` maps an address of the casebook to the values that are inside."""

    weight_kg: Band
    alc_1e9_per_l: Band
    age_years: Band | None = None
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def words(self) -> str:
        """The licensed range, as a refusal quotes it."""
        return (
            f"{plain(self.weight_kg.low)} to {plain(self.weight_kg.high)} kg and "
            f"{plain(self.alc_1e9_per_l.low)} to {plain(self.alc_1e9_per_l.high)} ×10^9/L"
        )


@dataclass(frozen=True)
class Table:
    """One version of a dosing table."""

    code: str
    title: str
    product: str
    is_synthetic: bool
    source_citation: str
    licence_note: str
    applicability: Applicability
    cells: tuple[Cell, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sorted(cell.stem_cell_source for cell in self.cells)))

    def of(self, stem_cell_source: str) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.stem_cell_source == stem_cell_source)


# --- Canonical form -----------------------------------------------------------------------------------------------


def to_data(table: Table) -> dict[str, object]:
    """The canonical form that is stored and hashed: cells sorted, numbers as decimal strings."""
    applicability = table.applicability
    described: dict[str, object] = {
        "weight_kg": [plain(applicability.weight_kg.low), plain(applicability.weight_kg.high)],
        "alc_1e9_per_l": [plain(applicability.alc_1e9_per_l.low), plain(applicability.alc_1e9_per_l.high)],
        "items": {address: list(values) for address, values in sorted(applicability.items.items())},
    }
    if applicability.age_years is not None:
        described["age_years"] = [plain(applicability.age_years.low), plain(applicability.age_years.high)]
    return {
        "code": table.code,
        "title": table.title,
        "product": table.product,
        "synthetic": table.is_synthetic,
        "source_citation": table.source_citation,
        "licence_note": table.licence_note,
        "boundary_rule": "[low, high), last band closed",
        "applicability": described,
        "cells": [
            [
                cell.stem_cell_source,
                *(plain(getattr(cell, name)) for name in COLUMNS[1:6]),
                cell.n_days,
                cell.start_day,
            ]
            for cell in sorted(table.cells, key=lambda cell: cell.key)
        ],
    }


def from_data(data: Mapping[str, object]) -> Table:
    """The table of a stored canonical form."""
    described = data["applicability"]
    rows = data["cells"]
    assert isinstance(described, Mapping) and isinstance(rows, Sequence)

    def band(key: str, *, closed: bool) -> Band:
        low, high = described[key]
        return Band(Decimal(low), Decimal(high), closed)

    return Table(
        code=str(data["code"]),
        title=str(data["title"]),
        product=str(data["product"]),
        is_synthetic=bool(data["synthetic"]),
        source_citation=str(data["source_citation"]),
        licence_note=str(data["licence_note"]),
        applicability=Applicability(
            band("weight_kg", closed=True),
            band("alc_1e9_per_l", closed=True),
            band("age_years", closed=False) if "age_years" in described else None,
            {address: tuple(values) for address, values in described["items"].items()},
        ),
        cells=tuple(
            Cell(str(source), Decimal(a), Decimal(b), Decimal(c), Decimal(d), Decimal(dose), days, start)
            for source, a, b, c, d, dose, days, start in rows
        ),
    )


def sha256(data: Mapping[str, object]) -> str:
    """The hash of a canonical form."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def plain(number: Decimal) -> str:
    """A number without exponent and trailing zeros.

    >>> plain(Decimal("20.00")), plain(Decimal("0.50"))
    ('20', '0.5')
    """
    return f"{number.normalize():f}" if number else "0"


# --- Look-up ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neighbour:
    """The cell across a boundary that the value nearly touches."""

    axis: str
    boundary: Decimal
    cell: Cell


@dataclass(frozen=True)
class Found:
    """The cell of a point, and the cells that a small error of measurement would have given instead."""

    cell: Cell
    near: tuple[Neighbour, ...] = ()


def look_up(
    table: Table, stem_cell_source: str, weight_kg: Decimal, alc_1e9_per_l: Decimal, *, alc_is_below: bool = False
) -> Found | Refusal:
    """The one cell that holds the point, or the refusal that says what the table covers. Never the nearest cell.

    With ``alc_is_below`` the count is reported as ``<alc_1e9_per_l``: any count below it is possible, and a dose is
    found only where one cell holds them all.
    """
    plane = table.applicability
    cells = table.of(stem_cell_source)
    name = f"table {table.code}"
    if not cells:
        return Refusal(
            Stop.GRAFT,
            f"The {name} has no cells for {stem_cell_source}; it has {', '.join(table.sources)}.",
            "Correct the graft source, or approve a table that covers it.",
        )
    if not plane.weight_kg.holds(weight_kg) or (not alc_is_below and not plane.alc_1e9_per_l.holds(alc_1e9_per_l)):
        given = f"{plain(weight_kg)} kg and {'<' if alc_is_below else ''}{plain(alc_1e9_per_l)} ×10^9/L"
        return Refusal(
            Stop.OUT_OF_TABLE,
            f"{given} lies outside the {name}, which covers {plane.words()}. A dose is never extrapolated.",
            "Check the values and their units; a participant outside the table gets a dose from the physician.",
        )
    if alc_is_below:
        return _below(table, name, cells, weight_kg, alc_1e9_per_l)
    for cell in cells:
        if _weight_band(plane, cell).holds(weight_kg) and _alc_band(plane, cell).holds(alc_1e9_per_l):
            return Found(cell, tuple(_near(plane, cells, cell, weight_kg, alc_1e9_per_l)))
    return Refusal(
        Stop.OUT_OF_TABLE,
        f"The {name} has a gap at {plain(weight_kg)} kg and {plain(alc_1e9_per_l)} ×10^9/L.",
        "Have the table corrected and approved again.",
    )


def _below(table: Table, name: str, cells: Sequence[Cell], weight_kg: Decimal, limit: Decimal) -> Found | Refusal:
    plane = table.applicability
    possible = [
        cell
        for cell in cells
        if _weight_band(plane, cell).holds(weight_kg) and cell.alc_lo < limit and plane.alc_1e9_per_l.low < limit
    ]
    if len(possible) == 1 and limit <= plane.alc_1e9_per_l.high:
        return Found(possible[0])
    said = " or ".join(f"{plain(cell.total_mg_per_kg)} mg/kg" for cell in possible) or "no dose"
    return Refusal(
        Stop.AMBIGUOUS,
        f"ALC <{plain(limit)} ×10^9/L may lie in {len(possible)} cells of the {name} ({said}).",
        "Have the count repeated with a lower limit of quantification.",
    )


def _weight_band(plane: Applicability, cell: Cell) -> Band:
    return Band(cell.weight_lo, cell.weight_hi, closed=cell.weight_hi == plane.weight_kg.high)


def _alc_band(plane: Applicability, cell: Cell) -> Band:
    return Band(cell.alc_lo, cell.alc_hi, closed=cell.alc_hi == plane.alc_1e9_per_l.high)


def _near(
    plane: Applicability, cells: Sequence[Cell], cell: Cell, weight_kg: Decimal, alc_1e9_per_l: Decimal
) -> Iterator[Neighbour]:
    beside = [other for other in cells if _alc_band(plane, other).holds(alc_1e9_per_l)]
    above = [other for other in cells if _weight_band(plane, other).holds(weight_kg)]
    weights = [
        (cell.weight_lo, [other for other in beside if other.weight_hi == cell.weight_lo]),
        (cell.weight_hi, [other for other in beside if other.weight_lo == cell.weight_hi]),
    ]
    counts = [
        (cell.alc_lo, [other for other in above if other.alc_hi == cell.alc_lo]),
        (cell.alc_hi, [other for other in above if other.alc_lo == cell.alc_hi]),
    ]
    for axis, value, sides in (("weight", weight_kg, weights), ("ALC", alc_1e9_per_l, counts)):
        for boundary, others in sides:
            if others and abs(value - boundary) <= NEAR_BOUNDARY * boundary:
                yield Neighbour(axis, boundary, others[0])
