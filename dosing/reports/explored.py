"""The research page's answer: a derived table beside the one in force, and a virtual population through both.

RESEARCH OUTPUT - NOT FOR CLINICAL USE. Nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dosing import selectors
from dosing.domain.exposure_tables import (
    CellAttained,
    DerivedCell,
    DerivedTable,
    ExposureTarget,
    Plane,
    TrialThroughTable,
    derive_table,
    simulate_table,
    unit_of,
)
from dosing.domain.heat_map import HeatMap, heat_map
from dosing.domain.nomogram import Table, plain
from dosing.domain.table_rules import Bounds, Difference, Finding, differences, validate
from dosing.domain.virtual_patients import Spread, virtual_patients
from dosing.models import DosingTable
from dosing.selectors import ParameterSet
from trials.models import Trial

CORD = "cord_blood"
#: How wide weight and lymphocytes are spread in the virtual population, on the log scale.
WEIGHT_LOG_SD, ALC_LOG_SD = 0.7, 1.0
DRAWS = 100
#: A count of 0 has no logarithm: the smallest that a laboratory reports.
SMALLEST_ALC = 0.01


@dataclass(frozen=True)
class Through:
    """A population through one table, with its counts in lines."""

    name: str
    result: TrialThroughTable

    @property
    def share_words(self) -> str:
        share = self.result.share_in_all
        return "–" if share is None else f"{100 * share:.0f} %"


@dataclass(frozen=True)
class Side:
    """One graft source: the derived and the active grid."""

    source: str
    derived: HeatMap
    active: HeatMap


@dataclass(frozen=True)
class Explored:
    """Everything on the page."""

    parameters: ParameterSet
    row: DosingTable
    active: Table
    derived: DerivedTable
    findings: tuple[Finding, ...]
    differences: tuple[Difference, ...]
    sides: tuple[Side, ...]
    through: tuple[Through, ...]
    targets: Mapping[str, Sequence[ExposureTarget]]

    @property
    def derived_cells(self) -> list[tuple[DerivedCell, CellAttained]]:
        """Each derived cell with its patients of the simulation."""
        return list(zip(self.derived.cells, self.through[0].result.cells, strict=True))


def explore(
    trial: Trial,
    *,
    table: DosingTable,
    pre_low: Decimal,
    post_high: Decimal,
    cord_post_high: Decimal,
    dose_low: Decimal,
    dose_high: Decimal,
    dose_step: Decimal,
    weight_median: Decimal,
    alc_median: Decimal,
    people: int,
    seed: int,
) -> Explored:
    """Derive, compare, simulate. Raises ValueError with a sentence where the numbers do not go together."""
    parameters, active = selectors.illustrative_set(), selectors.content_of(table)
    model, plane = parameters.model, active.applicability
    unit = unit_of(model)

    def target(window: str, low: Decimal | None, high: Decimal | None) -> ExposureTarget:
        return ExposureTarget(
            window,
            float(low) if low is not None else None,
            float(high) if high is not None else None,
            unit,
            f"model {parameters.id}",
            source="typed on this page",
        )

    targets = {
        source: (target("pre", pre_low, None), target("post", None, cord_post_high if source == CORD else post_high))
        for source in active.sources
    }
    steps = int((dose_high - dose_low) / dose_step)
    derived = derive_table(
        model,
        targets=targets,
        plane=Plane(
            weight_edges=tuple(sorted({edge for cell in active.cells for edge in (cell.weight_lo, cell.weight_hi)})),
            alc_edges=tuple(sorted({edge for cell in active.cells for edge in (cell.alc_lo, cell.alc_hi)})),
            doses_mg_per_kg=tuple(dose_low + step * dose_step for step in range(steps + 1)),
            days=tuple(sorted({cell.n_days for cell in active.cells})),
            start_day=active.cells[0].start_day,
        ),
        product=active.product,
        code=f"{active.code}-research",
        seed=seed,
        draws=DRAWS,
    )
    limits = selectors.bounds_for(trial, active.code)
    bounds, required = limits if limits is not None else (Bounds(), active.sources)
    patients = virtual_patients(
        model,
        spreads={
            "weight_kg": _spread(weight_median, WEIGHT_LOG_SD, plane.weight_kg.low, plane.weight_kg.high),
            "alc_1e9_per_l": _spread(alc_median, ALC_LOG_SD, plane.alc_1e9_per_l.low, plane.alc_1e9_per_l.high),
        },
        graft_shares={source: 1 / len(active.sources) for source in active.sources},
        n=people,
        seed=seed,
    )
    before = {cell.key: cell for cell in active.cells}
    changed = [cell for cell in derived.table.cells if before.get(cell.key) != cell]
    return Explored(
        parameters=parameters,
        row=table,
        active=active,
        derived=derived,
        findings=validate(derived.table, bounds=bounds, required_sources=required),
        differences=tuple(
            one for one in differences(active, derived.table) if one.place not in ("applicability", "synthetic")
        ),
        sides=tuple(
            Side(source, heat_map(derived.table, source, changed=changed), heat_map(active, source))
            for source in active.sources
        ),
        through=tuple(
            Through(name, simulate_table(one, patients, targets=targets, model=model))
            for name, one in (("derived", derived.table), (str(table), active))
        ),
        targets=targets,
    )


def _spread(median: Decimal, log_sd: float, low: Decimal, high: Decimal) -> Spread:
    if not low <= median <= high:
        raise ValueError(f"The median {plain(median)} lies outside the table, {plain(low)} to {plain(high)}.")
    return Spread(float(median), log_sd, max(float(low), SMALLEST_ALC), float(high))
