"""Tables from exposure: the dose of each cell that brings a model's patients to their targets, and what any table does
to a virtual population.

RESEARCH OUTPUT - NOT FOR CLINICAL USE. A derived table is always marked synthetic and has no way into use from here:
whoever wants it used enters it like any other table, and it is verified and approved by other people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dosing.domain.arguments import Floats
from dosing.domain.nomogram import Applicability, Band, Cell, Table
from dosing.domain.pharmacokinetics import Exposure, Infusion, Parameters, exposure
from dosing.domain.population import PopulationModel
from dosing.domain.virtual_patients import VirtualPatients, drawn_effects

NOTICE = "RESEARCH OUTPUT - NOT FOR CLINICAL USE"
WINDOWS = ("pre", "post", "total")
WEIGHT, ALC = "weight_kg", "alc_1e9_per_l"
#: How long an infusion lasts.
INFUSION_DAY = 8 / 24
#: Tolerance of the simulations: a thousandth of what a patient's exposure varies by.
RTOL = 1e-5
MOST_CANDIDATES = 2_000


@dataclass(frozen=True)
class ExposureTarget:
    """A window of exposure. Every field is part of what it is: none is converted into another.

    ``low`` or ``high`` may be None, not both. ``window`` is pre, post or total.
    """

    window: str
    low: float | None
    high: float | None
    unit: str
    assay: str
    population: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise ValueError(f"window must be one of {', '.join(WINDOWS)}, got {self.window!r}")
        if self.low is None and self.high is None:
            raise ValueError("a target needs a low or a high end")
        for name in ("low", "high"):
            end = getattr(self, name)
            if end is not None and not (np.isfinite(end) and end > 0):
                raise ValueError(f"{name} = {end} must be above 0")
        if self.low is not None and self.high is not None and self.high < self.low:
            raise ValueError(f"high = {self.high} lies below low = {self.low}")
        if not self.unit or not self.assay:
            raise ValueError("a target needs the unit and the assay that its numbers belong to")

    @property
    def words(self) -> str:
        """The target in a sentence, with all that it is."""
        if self.low is None:
            band = f"at most {self.high:g}"
        elif self.high is None:
            band = f"at least {self.low:g}"
        else:
            band = f"{self.low:g} to {self.high:g}"
        who = f"; {self.population}" if self.population else ""
        return f"{self.window} {band} {self.unit} ({self.assay}{who})"

    def below(self, values: Floats) -> NDArray[np.bool_]:
        return np.full(values.shape, False) if self.low is None else np.asarray(values < self.low)

    def above(self, values: Floats) -> NDArray[np.bool_]:
        return np.full(values.shape, False) if self.high is None else np.asarray(values > self.high)

    def miss(self, value: float) -> float:
        """How far a value is from the target on the log scale: outside first, then from its middle."""
        at = float(np.log(max(value, 1e-12)))
        low = None if self.low is None else float(np.log(self.low))
        high = None if self.high is None else float(np.log(self.high))
        outside = max(0.0 if low is None else low - at, 0.0 if high is None else at - high, 0.0)
        middle = abs(at - (low + high) / 2) if low is not None and high is not None else 0.0
        # Outside weighs more than any distance from the middle can.
        return 1e3 * outside + middle


def unit_of(model: PopulationModel) -> str:
    """The unit of the model's areas; empty where the set does not say its amount unit."""
    units = model.descriptions.get("units")
    amount = units.get("amount") if isinstance(units, Mapping) else None
    return f"{amount}·day/L" if amount else ""


def check_unit(model: PopulationModel, target: ExposureTarget) -> None:
    """Raises ValueError where model and target do not speak of the same unit: nothing is converted."""
    if target.unit != unit_of(model):
        raise ValueError(
            f"target {target.words}: the model's areas are in {unit_of(model) or 'no stated unit'}. "
            f"Units are never converted; give a target in that unit or a model of that assay."
        )


# --- A table from targets -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plane:
    """The cells to be filled, and the doses that may be chosen.

    ``weight_edges`` (kg) and ``alc_edges`` (10^9/L) increase; ``days`` are the numbers of days allowed.
    """

    weight_edges: tuple[Decimal, ...]
    alc_edges: tuple[Decimal, ...]
    doses_mg_per_kg: tuple[Decimal, ...]
    days: tuple[int, ...]
    start_day: int

    def __post_init__(self) -> None:
        for name in ("weight_edges", "alc_edges"):
            edges = getattr(self, name)
            if len(edges) < 2 or any(high <= low for low, high in pairwise(edges)):
                raise ValueError(f"{name} must be two numbers or more, each above the one before")
            if edges[0] < 0:
                raise ValueError(f"{name} must not be negative")
        if not self.doses_mg_per_kg or min(self.doses_mg_per_kg) <= 0:
            raise ValueError("doses_mg_per_kg must be numbers above 0")
        if not self.days or min(self.days) < 1:
            raise ValueError("days must be 1 or more")
        if len(self.doses_mg_per_kg) * len(self.days) > MOST_CANDIDATES:
            raise ValueError(f"more than {MOST_CANDIDATES} doses and days to choose from; make the grid coarser")


def representative(low: Decimal, high: Decimal) -> float:
    """The value that stands for a band: the geometric mean, or half the high end of a band that begins at 0.

    >>> representative(Decimal(20), Decimal(45)), representative(Decimal(0), Decimal("0.5"))
    (30.0, 0.25)
    """
    return float(high) / 2 if low == 0 else float(np.sqrt(float(low) * float(high)))


@dataclass(frozen=True)
class DerivedCell:
    """What was chosen for a cell: for whom, the medians it reaches, and the share of patients inside all targets."""

    cell: Cell
    weight_kg: float
    alc_1e9_per_l: float
    median_pre: float
    median_post: float
    median_total: float
    share_in_target: float
    is_reached: bool


@dataclass(frozen=True)
class DerivedTable:
    """A table in the form of any other, marked as research, and how each cell came about."""

    table: Table
    cells: tuple[DerivedCell, ...]
    targets: Mapping[str, tuple[ExposureTarget, ...]]
    draws: int
    seed: int
    notice: str = NOTICE

    @property
    def unreached(self) -> tuple[DerivedCell, ...]:
        """Cells where no dose on offer brings the median into every target; the nearest dose stands there."""
        return tuple(cell for cell in self.cells if not cell.is_reached)


def derive_table(
    model: PopulationModel,
    *,
    targets: Mapping[str, Sequence[ExposureTarget]],
    plane: Plane,
    product: str,
    code: str,
    seed: int,
    draws: int = 200,
    until_day: float = 60.0,
) -> DerivedTable:
    """For each cell the dose whose median exposure, at the cell's representative patient, meets the targets best.

    Among doses that bring the median into every target, the one nearest to their middles; where none does, the one
    that misses by least; of equals, the lower dose. Every cell is judged with the same random effects, so that two
    cells differ by their covariates alone.

    Parameters
    ----------
    targets : by graft source; each in the model's own unit
    seed, draws : of the random effects; 20 to 2,000 draws
    until_day : end of the exposure, days after the graft

    Raises
    ------
    ValueError
        naming what is missing, out of range or of another unit.
    """
    if not 20 <= draws <= 2_000:
        raise ValueError(f"draws = {draws} must lie between 20 and 2000")
    if not targets or not all(targets.values()):
        raise ValueError("targets: each graft source needs one target or more")
    for of_source in targets.values():
        for target in of_source:
            check_unit(model, target)
    if strangers := sorted(set(model.covariates) - {WEIGHT, ALC}):
        raise ValueError(f"the model needs {', '.join(strangers)}, which a table of weight and lymphocytes has not")
    squares = [(weight, alc) for weight in pairwise(plane.weight_edges) for alc in pairwise(plane.alc_edges)]
    effects = drawn_effects(model, draws, seed)
    reached = _grid(model, squares, plane, effects, draws, until_day)
    derived = []
    for source in sorted(targets):
        for place, (weight, alc) in enumerate(squares):
            derived.append(_chosen(source, weight, alc, plane, targets[source], reached[place]))
    title = f"{NOTICE}: derived from {model.descriptions.get('id', 'a model')} ({model.status})"
    table = Table(
        code=code,
        title=title,
        product=product,
        is_synthetic=True,
        source_citation=f"Computed from parameter set {model.descriptions.get('id', '')} by simulation, seed {seed}",
        licence_note="Research output",
        applicability=Applicability(
            Band(plane.weight_edges[0], plane.weight_edges[-1], closed=True),
            Band(plane.alc_edges[0], plane.alc_edges[-1], closed=True),
        ),
        cells=tuple(one.cell for one in derived),
    )
    kept = {source: tuple(of_source) for source, of_source in targets.items()}
    return DerivedTable(table, tuple(derived), kept, draws, seed)


#: Exposure by dose and days: (window, draws).
_Reached = dict[tuple[Decimal, int], Floats]


def _grid(
    model: PopulationModel,
    squares: Sequence[tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]]],
    plane: Plane,
    effects: Mapping[str, float | Floats],
    draws: int,
    until_day: float,
) -> list[_Reached]:
    """Every dose in every square, solved together: one call for each number of days."""
    doses, many = np.array([float(dose) for dose in plane.doses_mg_per_kg]), len(plane.doses_mg_per_kg)
    kg = np.repeat([representative(*weight) for weight, _ in squares], many * draws)
    alc = np.repeat([representative(*count) for _, count in squares], many * draws)
    tiled = {name: np.tile(np.broadcast_to(values, (draws,)), len(squares) * many) for name, values in effects.items()}
    patients = model.individuals({WEIGHT: kg, ALC: alc}, tiled)
    mg = np.tile(np.repeat(doses, draws), len(squares)) * kg
    reached: list[_Reached] = [{} for _ in squares]
    for days in plane.days:
        areas = _exposed(patients, mg, days, plane.start_day, until_day)
        values = np.stack([areas.pre, areas.post, areas.total]).reshape(3, len(squares), many, draws)
        for place in range(len(squares)):
            for at, dose in enumerate(plane.doses_mg_per_kg):
                reached[place][dose, days] = values[:, place, at]
    return reached


def _chosen(
    source: str,
    weight: tuple[Decimal, Decimal],
    alc: tuple[Decimal, Decimal],
    plane: Plane,
    targets: Sequence[ExposureTarget],
    reached: _Reached,
) -> DerivedCell:
    def miss(candidate: tuple[Decimal, int]) -> tuple[float, Decimal, int]:
        medians = np.median(reached[candidate], axis=1)
        return sum(t.miss(float(medians[WINDOWS.index(t.window)])) for t in targets), *candidate

    dose, days = best = min(reached, key=miss)
    values = reached[best]
    pre, post, total = (float(value) for value in np.median(values, axis=1))
    medians = np.array([pre, post, total])
    outside = [t.below(values[WINDOWS.index(t.window)]) | t.above(values[WINDOWS.index(t.window)]) for t in targets]
    missed = any(bool((t.below(medians) | t.above(medians))[WINDOWS.index(t.window)]) for t in targets)
    return DerivedCell(
        Cell(source, *weight, *alc, dose, days, plane.start_day),
        representative(*weight),
        representative(*alc),
        pre,
        post,
        total,
        float(np.mean(~np.any(outside, axis=0))),
        not missed,
    )


def _exposed(patients: Parameters, mg: Floats, days: int, start_day: int, until_day: float) -> Exposure:
    """``mg`` (n,) in equal parts on ``days`` days from ``start_day`` on; the graft is at the same hour of day 0."""
    course = [Infusion(start_day + day, INFUSION_DAY, mg / days) for day in range(days)]
    return exposure(patients, course, graft_day=0.0, until_day=until_day, rtol=RTOL)


# --- A population through a table ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attained:
    """Counts of patients against one target: exact, ``below`` + ``inside`` + ``above`` = ``n``."""

    n: int
    below: int
    inside: int
    above: int

    @property
    def share_inside(self) -> float | None:
        """None for nobody."""
        return self.inside / self.n if self.n else None


@dataclass(frozen=True)
class CellAttained:
    """The counts of one cell, one entry a target of its graft source."""

    cell: Cell
    by_target: tuple[tuple[ExposureTarget, Attained], ...]
    in_all: int
    n: int


@dataclass(frozen=True)
class TrialThroughTable:
    """A virtual population through a table.

    ``n`` patients, of whom ``outside_table`` fall into no cell and get no dose; ``in_all`` of the ``dosed`` meet every
    target of their graft source. ``seed`` is the population's.
    """

    n: int
    outside_table: int
    in_all: int
    cells: tuple[CellAttained, ...]
    by_target: tuple[tuple[str, ExposureTarget, Attained], ...]
    seed: int
    notice: str = NOTICE

    @property
    def dosed(self) -> int:
        return self.n - self.outside_table

    @property
    def share_in_all(self) -> float | None:
        """Share of the dosed who meet every target; None where nobody is dosed."""
        return self.in_all / self.dosed if self.dosed else None


def simulate_table(
    table: Table,
    patients: VirtualPatients,
    *,
    targets: Mapping[str, Sequence[ExposureTarget]],
    model: PopulationModel,
    until_day: float = 60.0,
) -> TrialThroughTable:
    """Dose every patient by the table and count who is below, inside and above each target.

    Doses are the table's, not rounded to vials. A patient whom no cell holds is counted, and never given the nearest
    cell's dose. Raises ValueError for a target of another unit or a patient without weight or count.
    """
    for of_source in targets.values():
        for target in of_source:
            check_unit(model, target)
    if missing := [name for name in (WEIGHT, ALC) if name not in patients.covariates]:
        raise ValueError(f"patients: {', '.join(missing)} is missing")
    kg, alc = patients.covariates[WEIGHT], patients.covariates[ALC]
    if lacking := sorted(set(np.unique(patients.graft_source).tolist()) - set(targets)):
        raise ValueError(f"targets: none for {', '.join(lacking)}")
    home = np.full(patients.n, -1)
    for place, cell in enumerate(table.cells):
        home[(patients.graft_source == cell.stem_cell_source) & _holds(table, cell, kg, alc)] = place
    areas = np.zeros((3, patients.n))
    schedules = sorted({(cell.n_days, cell.start_day) for cell in table.cells})
    dose = np.array([float(cell.total_mg_per_kg) for cell in table.cells])
    for days, start in schedules:
        places = [k for k, cell in enumerate(table.cells) if (cell.n_days, cell.start_day) == (days, start)]
        rows = np.flatnonzero(np.isin(home, places))
        if rows.size:
            found = _exposed(_rows(patients.parameters, rows), dose[home[rows]] * kg[rows], days, start, until_day)
            areas[:, rows] = found.pre, found.post, found.total
    cells = []
    for place, cell in enumerate(table.cells):
        rows = np.flatnonzero(home == place)
        judged = targets.get(cell.stem_cell_source, ())
        counts = tuple((t, _attained(t, areas[WINDOWS.index(t.window), rows])) for t in judged)
        cells.append(CellAttained(cell, counts, _in_all(judged, areas[:, rows]), int(rows.size)))
    overall = []
    for source in sorted(targets):
        for target in targets[source]:
            rows = np.flatnonzero((patients.graft_source == source) & (home >= 0))
            overall.append((source, target, _attained(target, areas[WINDOWS.index(target.window), rows])))
    return TrialThroughTable(
        n=patients.n,
        outside_table=int(np.sum(home < 0)),
        in_all=sum(one.in_all for one in cells),
        cells=tuple(cells),
        by_target=tuple(overall),
        seed=patients.seed,
    )


def _holds(table: Table, cell: Cell, kg: Floats, alc: Floats) -> NDArray[np.bool_]:
    """[low, high), and the high end where it is the table's own, as a look-up does it."""
    plane = table.applicability
    last_kg, last_alc = cell.weight_hi == plane.weight_kg.high, cell.alc_hi == plane.alc_1e9_per_l.high
    heavy = (kg <= float(cell.weight_hi)) if last_kg else (kg < float(cell.weight_hi))
    many = (alc <= float(cell.alc_hi)) if last_alc else (alc < float(cell.alc_hi))
    inside: NDArray[np.bool_] = (kg >= float(cell.weight_lo)) & heavy & (alc >= float(cell.alc_lo)) & many
    return inside


def _rows(parameters: Parameters, rows: NDArray[np.intp]) -> Parameters:
    def of(name: str) -> float | Floats:
        values = getattr(parameters, name)
        return values[rows] if np.ndim(values) else np.full(rows.size, values)

    return Parameters(**{name: of(name) for name in ("cl", "v1", "q", "v2", "vmax", "km")})


def _attained(target: ExposureTarget, values: Floats) -> Attained:
    below, above = int(target.below(values).sum()), int(target.above(values).sum())
    return Attained(int(values.size), below, int(values.size) - below - above, above)


def _in_all(targets: Sequence[ExposureTarget], areas: Floats) -> int:
    inside = np.full(areas.shape[1], bool(targets))
    for target in targets:
        values = areas[WINDOWS.index(target.window)]
        inside &= ~(target.below(values) | target.above(values))
    return int(inside.sum())
