"""The dosing table as a picture: a grid of weight by lymphocytes, shaded by dose, one participant's cell ringed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from trials.domain import figures
from trials.domain.figures import INK, Spec

from .nomogram import Band, Cell, Table, plain

#: Shades, from the lowest dose of the table (0) to its highest.
SHADES = 7


@dataclass(frozen=True)
class HeatCell:
    """One square: the dose in words, its shade, and whether it is the one that was looked up."""

    mg_per_kg: str
    n_days: int | None
    shade: int
    is_ringed: bool
    is_changed: bool = False

    @property
    def is_gap(self) -> bool:
        return self.n_days is None


@dataclass(frozen=True)
class HeatRow:
    weight: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class HeatMap:
    """One graft source of a table: lymphocyte bands as columns, weight bands as rows."""

    stem_cell_source: str
    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]


def heat_map(
    table: Table, stem_cell_source: str, *, ringed: Cell | None = None, changed: Iterable[Cell] = ()
) -> HeatMap:
    """The grid between all edges of the table's cells; a place that no cell holds stays empty."""
    cells, plane = table.of(stem_cell_source), table.applicability
    weights = _bands([edge for cell in cells for edge in (cell.weight_lo, cell.weight_hi)], plane.weight_kg.high)
    counts = _bands([edge for cell in cells for edge in (cell.alc_lo, cell.alc_hi)], plane.alc_1e9_per_l.high)
    doses = [cell.total_mg_per_kg for cell in table.cells]
    low, high = min(doses), max(doses)
    other = set(changed)

    def square(weight: Band, alc: Band) -> HeatCell:
        found = next(
            (
                cell
                for cell in cells
                if cell.weight_lo <= weight.low < cell.weight_hi and cell.alc_lo <= alc.low < cell.alc_hi
            ),
            None,
        )
        if found is None:
            return HeatCell("", None, 0, is_ringed=False)
        return HeatCell(
            plain(found.total_mg_per_kg),
            found.n_days,
            _shade(found.total_mg_per_kg, low, high),
            is_ringed=found == ringed,
            is_changed=found in other,
        )

    return HeatMap(
        stem_cell_source,
        tuple(band.words() for band in counts),
        tuple(HeatRow(weight.words(), tuple(square(weight, alc) for alc in counts)) for weight in weights),
    )


def picture(of: HeatMap) -> Spec:
    """The grid as a figure for paper: shades of grey with the dose in every square, the looked-up cell in a frame.

    Dark squares have white words, so that the picture reads without colour.
    """
    squares = [
        {
            "weight": row.weight,
            "alc": column,
            "shade": cell.shade,
            "words": "" if cell.is_gap else f"{cell.mg_per_kg} mg/kg, {cell.n_days} d",
            "ringed": cell.is_ringed,
            "dark": cell.shade > SHADES // 2,
        }
        for row in of.rows
        for column, cell in zip(of.columns, row.cells, strict=True)
        if not cell.is_gap
    ]
    place: Spec = {
        "x": {
            "field": "alc",
            "type": "nominal",
            "sort": list(of.columns),
            "title": "Lymphocytes, ×10⁹/L",
            "axis": {"labelAngle": 0, "orient": "top"},
        },
        "y": {"field": "weight", "type": "nominal", "sort": [row.weight for row in of.rows], "title": "Weight, kg"},
    }
    ringed: Spec = {"filter": "datum.ringed"}
    return figures.framed(
        width=440,
        height=34 * len(of.rows),
        data=figures.inline(squares),
        encoding=place,
        layer=[
            {
                "mark": {"type": "rect", "stroke": "#ffffff", "strokeWidth": 2},
                "encoding": {
                    "color": {
                        "field": "shade",
                        "type": "quantitative",
                        "scale": {"domain": [0, SHADES - 1], "range": ["#eef1f4", "#3d4a57"]},
                        "legend": None,
                    }
                },
            },
            {
                "transform": [ringed],
                "mark": {"type": "rect", "filled": False, "stroke": "#a6480a", "strokeWidth": 4},
            },
            {
                "mark": {"type": "text", "fontSize": figures.TEXT_SIZE},
                "encoding": {
                    "text": {"field": "words"},
                    "color": {"condition": {"test": "datum.dark", "value": "#ffffff"}, "value": INK},
                },
            },
        ],
    )


def _bands(edges: list[Decimal], last: Decimal) -> list[Band]:
    ordered = sorted(set(edges))
    return [Band(low, high, closed=high == last) for low, high in zip(ordered, ordered[1:], strict=False)]


def _shade(dose: Decimal, low: Decimal, high: Decimal) -> int:
    if high == low:
        return SHADES // 2
    return int((dose - low) / (high - low) * (SHADES - 1) + Decimal("0.5"))
