"""The five rules that a dosing table has to pass before it is verified, and what two tables do not share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from .nomogram import Band, Cell, Table, plain, to_data


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Bounds:
    """What the protocol lets a table say; a limit that is None is not set."""

    total_low_mg_per_kg: Decimal | None = None
    total_high_mg_per_kg: Decimal | None = None
    days_low: int | None = None
    days_high: int | None = None
    start_day: int | None = None


@dataclass(frozen=True)
class Finding:
    """What one of the five rules says of one place of the table."""

    rule: int
    severity: Severity
    place: str
    sentence: str

    def __str__(self) -> str:
        return f"Rule {self.rule}, {self.place}: {self.sentence}"


#: The rules, as the review page lists them.
RULES: Mapping[int, str] = {
    1: "The cells of each graft source tile the declared plane: no gap, no overlap.",
    2: "Dose, days and start day lie within the protocol's bounds.",
    3: "The dose never rises with weight and never falls with lymphocytes.",
    4: "Cord blood is not dosed above bone marrow or peripheral blood.",
    5: "Every graft source that the protocol maps to a table has its cells.",
}


def validate(
    table: Table,
    *,
    bounds: Bounds,
    required_sources: Iterable[str],
    cord_source: str = "cord_blood",
    other_source: str = "bm_pbsc",
) -> tuple[Finding, ...]:
    """Everything that the five rules find, errors first; a table with an error is never verified."""
    found: list[Finding] = []
    for cell in table.cells:
        found += _within(cell, bounds)
    for source in table.sources:
        found += _tiles(table, source)
        found += _monotone(table, source)
    found += _cord_blood(table, cord_source, other_source)
    required = sorted(set(required_sources))
    for source in required:
        if source not in table.sources:
            sentence = "the protocol looks doses up there, and the table has no cells for it."
            found.append(Finding(5, Severity.ERROR, source, sentence))
    for source in table.sources:
        if required and source not in required:
            sentence = f"no graft source of the protocol leads there. Known: {', '.join(required)}."
            found.append(Finding(5, Severity.ERROR, source, sentence))
    return tuple(sorted(found, key=lambda one: (one.severity is Severity.WARNING, one.rule)))


def has_errors(findings: Iterable[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def _within(cell: Cell, bounds: Bounds) -> Iterator[Finding]:
    place = f"{cell.place}{f' (line {cell.line})' if cell.line else ''}"
    low, high = bounds.total_low_mg_per_kg, bounds.total_high_mg_per_kg
    if cell.total_mg_per_kg <= 0:
        yield Finding(2, Severity.ERROR, place, f"{plain(cell.total_mg_per_kg)} mg/kg is no dose.")
    elif (low is not None and cell.total_mg_per_kg < low) or (high is not None and cell.total_mg_per_kg > high):
        allowed = f"{plain(low) if low is not None else 'any'} to {plain(high) if high is not None else 'any'}"
        yield Finding(2, Severity.ERROR, place, f"{plain(cell.total_mg_per_kg)} mg/kg; allowed {allowed} mg/kg.")
    fewest, most = bounds.days_low or 1, bounds.days_high
    if cell.n_days < fewest or (most is not None and cell.n_days > most):
        allowed = f"{fewest} to {most if most is not None else 'any'}"
        yield Finding(2, Severity.ERROR, place, f"{cell.n_days} days; allowed {allowed}.")
    if bounds.start_day is not None and cell.start_day != bounds.start_day:
        yield Finding(2, Severity.ERROR, place, f"starts on day {cell.start_day}; allowed {bounds.start_day}.")


def _edges(table: Table, source: str) -> tuple[list[Decimal], list[Decimal]]:
    cells, plane = table.of(source), table.applicability
    weights = {edge for cell in cells for edge in (cell.weight_lo, cell.weight_hi)}
    counts = {edge for cell in cells for edge in (cell.alc_lo, cell.alc_hi)}
    weights |= {plane.weight_kg.low, plane.weight_kg.high}
    counts |= {plane.alc_1e9_per_l.low, plane.alc_1e9_per_l.high}
    return sorted(weights), sorted(counts)


def _rectangles(weights: list[Decimal], counts: list[Decimal]) -> Iterator[tuple[int, int, Band, Band]]:
    """The pieces between neighbouring edges, each with its place in the grid."""
    for row, (weight_lo, weight_hi) in enumerate(zip(weights, weights[1:], strict=False)):
        for column, (alc_lo, alc_hi) in enumerate(zip(counts, counts[1:], strict=False)):
            yield row, column, Band(weight_lo, weight_hi), Band(alc_lo, alc_hi)


def _covering(cells: Iterable[Cell], weight: Band, alc: Band) -> list[Cell]:
    return [
        cell
        for cell in cells
        if cell.weight_lo <= weight.low
        and weight.high <= cell.weight_hi
        and cell.alc_lo <= alc.low
        and alc.high <= cell.alc_hi
    ]


def _tiles(table: Table, source: str) -> Iterator[Finding]:
    cells, plane = table.of(source), table.applicability
    whole = []
    for cell in cells:
        if cell.weight_lo >= cell.weight_hi or cell.alc_lo >= cell.alc_hi:
            yield Finding(1, Severity.ERROR, cell.place, "a band ends where it begins, or before.")
        else:
            whole.append(cell)
    weights, counts = _edges(table, source)
    for _, _, weight, alc in _rectangles(weights, counts):
        place = f"{source}, weight {weight.words()} kg, ALC {alc.words()}"
        inside = (
            plane.weight_kg.low <= weight.low
            and weight.high <= plane.weight_kg.high
            and plane.alc_1e9_per_l.low <= alc.low
            and alc.high <= plane.alc_1e9_per_l.high
        )
        covering = _covering(whole, weight, alc)
        if inside and not covering:
            yield Finding(1, Severity.ERROR, place, "a gap: no cell holds it. Add the cell.")
        elif len(covering) > 1:
            lines = ", ".join(str(cell.line) for cell in covering if cell.line)
            at = f" (lines {lines})" if lines else ""
            yield Finding(1, Severity.ERROR, place, f"an overlap: {len(covering)} cells hold it{at}.")
        elif covering and not inside:
            yield Finding(1, Severity.ERROR, place, f"lies outside the declared range, {plane.words()}.")


def _monotone(table: Table, source: str) -> Iterator[Finding]:
    cells = table.of(source)
    weights, counts = _edges(table, source)
    dose: dict[tuple[int, int], Cell] = {}
    for row, column, weight, alc in _rectangles(weights, counts):
        covering = _covering(cells, weight, alc)
        if covering:
            dose[row, column] = covering[0]
    said = set()
    for (row, column), cell in dose.items():
        heavier, more = dose.get((row + 1, column)), dose.get((row, column + 1))
        if (
            heavier is not None
            and heavier.total_mg_per_kg > cell.total_mg_per_kg
            and (cell.key, heavier.key) not in said
        ):
            said.add((cell.key, heavier.key))
            rise = f"{plain(cell.total_mg_per_kg)} to {plain(heavier.total_mg_per_kg)} mg/kg"
            at = plain(heavier.weight_lo)
            yield Finding(
                3, Severity.ERROR, cell.place, f"the dose rises from {rise} where the weight reaches {at} kg."
            )
        if more and more.total_mg_per_kg < cell.total_mg_per_kg and (cell.key, more.key) not in said:
            said.add((cell.key, more.key))
            change = f"{plain(cell.total_mg_per_kg)} to {plain(more.total_mg_per_kg)} mg/kg"
            sentence = f"the dose falls from {change} where the ALC reaches {plain(more.alc_lo)} ×10^9/L."
            yield Finding(3, Severity.ERROR, cell.place, sentence)


def _cord_blood(table: Table, cord_source: str, other_source: str) -> Iterator[Finding]:
    said = set()
    for cord in table.of(cord_source):
        for other in table.of(other_source):
            meet = (
                cord.weight_lo < other.weight_hi
                and other.weight_lo < cord.weight_hi
                and cord.alc_lo < other.alc_hi
                and other.alc_lo < cord.alc_hi
            )
            if meet and cord.total_mg_per_kg > other.total_mg_per_kg and cord.key not in said:
                said.add(cord.key)
                sentence = (
                    f"{plain(cord.total_mg_per_kg)} mg/kg, above the {plain(other.total_mg_per_kg)} mg/kg of "
                    f"{other_source}; cord blood is expected at or below it."
                )
                yield Finding(4, Severity.WARNING, cord.place, sentence)


# --- Two tables side by side --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """One place where two tables differ; an empty side has no such cell."""

    place: str
    one: str
    other: str


def differences(one: Table, other: Table) -> tuple[Difference, ...]:
    """Every clause and cell in which two tables differ, in the order of the cells."""
    found = []
    first, second = to_data(one), to_data(other)
    for key in ("product", "synthetic", "applicability"):
        if first[key] != second[key]:
            found.append(Difference(key, _said(first[key]), _said(second[key])))
    cells, others = {cell.key: cell for cell in one.cells}, {cell.key: cell for cell in other.cells}
    for place in sorted(set(cells) | set(others)):
        left, right = cells.get(place), others.get(place)
        if left != right:
            cell = left or right
            assert cell is not None
            found.append(Difference(cell.place, _dose(left), _dose(right)))
    return tuple(found)


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _dose(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{plain(cell.total_mg_per_kg)} mg/kg over {cell.n_days} days from day {cell.start_day}"
