"""Exposure with its uncertainty, areas without a model, tables from targets, a population through a table."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dosing.domain.exposure_tables import (
    NOTICE,
    DerivedTable,
    ExposureTarget,
    Plane,
    derive_table,
    representative,
    simulate_table,
)
from dosing.domain.nomogram import Table, from_data, look_up, to_data
from dosing.domain.noncompartmental import measured_exposure
from dosing.domain.pharmacokinetics import Infusion, Parameters, exposure, simulate
from dosing.domain.population import Estimate, PopulationModel, map_estimate
from dosing.domain.predicted_exposure import FROM_LEVELS, FROM_POPULATION, PredictedExposure, predicted_exposure
from dosing.domain.refusals import Refusal
from dosing.domain.table_rules import Bounds, differences, has_errors, validate
from dosing.domain.virtual_patients import Spread, VirtualPatients, virtual_patients

SETS = Path(__file__).resolve().parents[2] / "dosing" / "parameter_sets"
MODEL = PopulationModel.from_dict(yaml.safe_load((SETS / "illustrative-1.yaml").read_text()))
CHILD = {"weight_kg": 20.0, "alc_1e9_per_l": 1.2}
COURSE = [Infusion(day, 1 / 3, 50.0) for day in (-9, -8, -7, -6)]
SPREADS = {"weight_kg": Spread(20, 0.7, 3, 120), "alc_1e9_per_l": Spread(0.8, 1.0, 0.01, 20)}
SHARES = {"bm_pbsc": 0.7, "cord_blood": 0.3}


def target(window: str, low: float | None, high: float | None, unit: str = "mg·day/L") -> ExposureTarget:
    return ExposureTarget(window, low, high, unit, "illustrative")


TARGETS = {
    "bm_pbsc": [target("pre", 40, None), target("post", None, 50)],
    "cord_blood": [target("pre", 40, None), target("post", None, 20)],
}
PLANE = Plane(
    weight_edges=(Decimal(3), Decimal(20), Decimal(45), Decimal(120)),
    alc_edges=(Decimal(0), Decimal("0.5"), Decimal("1.5"), Decimal(20)),
    doses_mg_per_kg=tuple(Decimal(dose) for dose in range(2, 13)),
    days=(3, 4),
    start_day=-9,
)


def predicted(seed: int = 1, *, estimate: Estimate | None = None, course: list[Infusion] = COURSE) -> PredictedExposure:
    return predicted_exposure(
        MODEL,
        covariates=CHILD,
        infusions=course,
        graft_day=0,
        until_day=60,
        times_day=[-9, -5, 0, 10],
        seed=seed,
        estimate=estimate,
        draws=400,
    )


@pytest.fixture(scope="module")
def derived() -> DerivedTable:
    return derive_table(MODEL, targets=TARGETS, plane=PLANE, product="thymoglobulin", code="derived", seed=1, draws=60)


@pytest.fixture(scope="module")
def people() -> VirtualPatients:
    return virtual_patients(MODEL, spreads=SPREADS, graft_shares=SHARES, n=600, seed=3)


# --- One patient --------------------------------------------------------------------------------------------------


def test_the_prediction_is_the_models_and_lies_in_its_interval() -> None:
    found = predicted()
    own = exposure(MODEL.individual(CHILD), COURSE, graft_day=0, until_day=60)
    for part, value in ((found.pre, own.pre), (found.post, own.post), (found.total, own.total)):
        assert part.value == pytest.approx(float(value[0]), rel=1e-4)
        assert part.low < part.value < part.high
    assert found.pre.value + found.post.value == pytest.approx(found.total.value, rel=1e-9)
    assert (found.concentration_low <= found.concentration_high).all()
    assert found.basis == FROM_POPULATION


def test_the_same_seed_gives_the_same_interval_and_another_gives_another() -> None:
    assert predicted(1).total == predicted(1).total
    assert predicted(1).total.low != predicted(2).total.low


def test_levels_narrow_the_interval_and_it_says_so() -> None:
    days = [-8.5, -7.5, -6.5, -5.5, -4, -2, 1, 4]
    true = MODEL.individual(CHILD, {"cl": 0.3, "vmax": -0.2})
    levels = simulate(true, COURSE, days)[0]
    estimate = map_estimate(MODEL, covariates=CHILD, infusions=COURSE, times_day=days, concentrations=levels)
    before, after = predicted(), predicted(estimate=estimate)
    assert after.total.high - after.total.low < before.total.high - before.total.low
    assert after.basis == FROM_LEVELS
    exact = float(exposure(true, COURSE, graft_day=0, until_day=60).total[0])
    assert after.total.low < exact < after.total.high


def test_the_share_inside_is_of_the_window_that_is_asked() -> None:
    found = predicted()
    assert found.share_inside("total", None, None) == 1
    assert found.share_inside("pre", found.pre.high, None) == pytest.approx(0.05, abs=0.01)
    assert found.share_inside("post", None, found.post.low) == pytest.approx(0.05, abs=0.01)
    with pytest.raises(ValueError, match="window must be one of"):
        found.share_inside("course", None, 1)


def test_the_order_of_infusions_changes_nothing() -> None:
    assert predicted(course=COURSE[::-1]).total == predicted().total


# --- Without a model ----------------------------------------------------------------------------------------------


def test_levels_of_one_compartment_give_its_area() -> None:
    """A closed form: after a short infusion, dose / clearance."""
    linear = Parameters(cl=2.0, v1=10.0, q=0.0, v2=1.0, vmax=0.0, km=1.0)
    given_dose = [Infusion(-3, 0.01, 100.0)]
    days = np.concatenate([[-2.99], np.arange(-2.5, 20, 0.5)])
    found = measured_exposure(days, simulate(linear, given_dose, days)[0], first_dose_day=-3, graft_day=0)
    assert found.total == pytest.approx(50.0, rel=2e-3)
    assert found.terminal_rate == pytest.approx(0.2, rel=1e-6)
    own = exposure(linear, given_dose, graft_day=0, until_day=400)
    assert found.pre == pytest.approx(float(own.pre[0]), rel=2e-3)
    assert not found.is_flagged


def test_a_large_extrapolated_share_is_flagged_and_a_rising_end_gives_no_total() -> None:
    early = measured_exposure([1, 2, 3], [8, 7, 6], first_dose_day=0, graft_day=2)
    assert early.extrapolated_share is not None and early.extrapolated_share > 0.2
    assert early.is_flagged
    rising = measured_exposure([1, 2, 3], [1, 2, 3], first_dose_day=0, graft_day=2)
    assert rising.total is None and rising.post is None and rising.extrapolated_share is None
    assert rising.pre == pytest.approx(2.0)
    assert rising.is_flagged


def test_before_the_graft_is_not_known_while_the_levels_end_before_it() -> None:
    found = measured_exposure([-5, -4, -3], [8, 4, 2], first_dose_day=-6, graft_day=0)
    assert found.pre is None and found.post is None and found.total is not None


@pytest.mark.parametrize(
    ("days", "levels", "said"),
    [
        ([1, 2], [0.0, 1.0], "row 0 = 0.0 must be above 0"),
        ([0, 2], [1.0, 1.0], "must lie after the first dose"),
        ([2, 2], [1.0, 3.0], "a time twice"),
        ([2], [1.0], "two levels or more"),
        ([1, 2, 3], [1.0, 3.0], "of one length"),
    ],
)
def test_levels_that_give_no_area_are_refused(days: list[float], levels: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        measured_exposure(days, levels, first_dose_day=0, graft_day=2)


@given(st.permutations([0, 1, 2, 3, 4]))
def test_the_order_of_levels_changes_nothing(order: list[int]) -> None:
    days, levels = np.array([1.0, 2, 3, 5, 8]), np.array([9.0, 5, 4, 2, 1])
    one = measured_exposure(days, levels, first_dose_day=0, graft_day=4)
    assert measured_exposure(days[order], levels[order], first_dose_day=0, graft_day=4) == one


# --- Virtual patients ---------------------------------------------------------------------------------------------


def test_virtual_patients_are_reproducible_and_stay_in_their_bounds(people: VirtualPatients) -> None:
    again = virtual_patients(MODEL, spreads=SPREADS, graft_shares=SHARES, n=600, seed=3)
    assert (again.graft_source == people.graft_source).all()
    for name, spread in SPREADS.items():
        values = people.covariates[name]
        assert (values == again.covariates[name]).all()
        assert spread.low <= values.min() and values.max() <= spread.high
        assert np.median(values) == pytest.approx(spread.median, rel=0.15)
    assert (np.asarray(people.parameters.cl) == np.asarray(again.parameters.cl)).all()
    other = virtual_patients(MODEL, spreads=SPREADS, graft_shares=SHARES, n=600, seed=4)
    assert (other.covariates["weight_kg"] != people.covariates["weight_kg"]).any()


def test_many_patients_at_once_are_the_same_as_one_by_one(people: VirtualPatients) -> None:
    for row in (0, 17, 599):
        own = MODEL.individual({name: float(values[row]) for name, values in people.covariates.items()})
        assert np.asarray(people.parameters.q)[row] == pytest.approx(float(own.q), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spreads": {"weight_kg": SPREADS["weight_kg"]}}, "alc_1e9_per_l is missing"),
        ({"graft_shares": {"bm_pbsc": 0.5}}, "add up to 1"),
        ({"n": 0}, "n = 0 must lie between"),
    ],
)
def test_a_population_that_is_none_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        virtual_patients(MODEL, **({"spreads": SPREADS, "graft_shares": SHARES, "n": 10, "seed": 1} | change))


@pytest.mark.parametrize("numbers", [(20, 0, 3, 120), (2, 1, 3, 120), (20, 1, 0, 120), (20, 1, 120, 3)])
def test_a_spread_that_is_none_is_refused(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Spread(*numbers)


@given(st.floats(0.01, 20), st.floats(1.001, 100), st.floats(3, 120))
@settings(max_examples=40, deadline=None)
def test_more_lymphocytes_never_mean_more_exposure(alc: float, times: float, kg: float) -> None:
    few = exposure(MODEL.individual({"weight_kg": kg, "alc_1e9_per_l": alc}), COURSE, graft_day=0, until_day=60)
    many = exposure(
        MODEL.individual({"weight_kg": kg, "alc_1e9_per_l": alc * times}), COURSE, graft_day=0, until_day=60
    )
    assert many.total[0] <= few.total[0] * (1 + 1e-7)


# --- A table from targets -----------------------------------------------------------------------------------------


def test_a_derived_table_has_the_form_of_any_table_and_is_marked(derived: DerivedTable) -> None:
    assert isinstance(derived.table, Table)
    assert from_data(to_data(derived.table)) == derived.table
    assert derived.table.is_synthetic
    assert NOTICE in derived.table.title and derived.notice == NOTICE
    assert len(derived.cells) == 18


def test_a_derived_table_passes_the_five_rules(derived: DerivedTable) -> None:
    bounds = Bounds(Decimal(2), Decimal(12), 3, 4, -9)
    assert not has_errors(validate(derived.table, bounds=bounds, required_sources=TARGETS))


def test_each_cell_says_what_it_reaches(derived: DerivedTable) -> None:
    for one in derived.cells:
        high = 50 if one.cell.stem_cell_source == "bm_pbsc" else 20
        assert one.is_reached == (one.median_pre >= 40 and one.median_post <= high)
    assert derived.unreached
    assert all(one.cell.stem_cell_source == "cord_blood" for one in derived.unreached)


def test_a_derived_table_is_compared_cell_by_cell(derived: DerivedTable) -> None:
    other = derive_table(
        MODEL, targets=TARGETS, plane=PLANE, product="thymoglobulin", code="derived", seed=1, draws=60, until_day=60
    )
    assert differences(derived.table, other.table) == ()
    gentle = TARGETS | {"cord_blood": [target("pre", 20, None), target("post", None, 10)]}
    changed = derive_table(MODEL, targets=gentle, plane=PLANE, product="thymoglobulin", code="d", seed=1, draws=60)
    found = differences(derived.table, changed.table)
    assert found and all("cord_blood" in one.place for one in found)


@given(st.floats(40, 120), st.floats(1.0, 2.0))
@settings(max_examples=12, deadline=None)
def test_a_table_from_one_total_never_rises_with_weight_nor_falls_with_lymphocytes(low: float, wide: float) -> None:
    plane = Plane(PLANE.weight_edges, PLANE.alc_edges, tuple(Decimal(d) / 2 for d in range(2, 31)), (4,), -9)
    table = derive_table(
        MODEL,
        targets={"bm_pbsc": [target("total", low, low * wide)]},
        plane=plane,
        product="p",
        code="c",
        seed=5,
        draws=20,
    ).table
    assert [one for one in validate(table, bounds=Bounds(), required_sources=["bm_pbsc"]) if one.rule == 3] == []


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"bm_pbsc": [target("total", 100, 148.5, "UE·day/mL")]}, "never converted"),
        ({"bm_pbsc": []}, "one target or more"),
        ({}, "one target or more"),
    ],
)
def test_a_table_from_no_target_of_the_models_unit_is_refused(
    targets: dict[str, list[ExposureTarget]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        derive_table(MODEL, targets=targets, plane=PLANE, product="p", code="c", seed=1)


@pytest.mark.parametrize("ends", [(None, None), (-1.0, None), (5.0, 4.0)])
def test_a_target_that_is_none_is_refused(ends: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match="low|high"):
        target("total", *ends)


def test_a_band_is_represented_by_its_middle() -> None:
    assert representative(Decimal(20), Decimal(45)) == pytest.approx(30)
    assert representative(Decimal(0), Decimal(2)) == 1


# --- A population through a table ---------------------------------------------------------------------------------


def test_a_population_through_a_table_is_counted_exactly(derived: DerivedTable, people: VirtualPatients) -> None:
    found = simulate_table(derived.table, people, targets=TARGETS, model=MODEL)
    assert found.n == people.n == sum(one.n for one in found.cells) + found.outside_table
    assert found.seed == 3 and found.notice == NOTICE
    assert found.in_all == sum(one.in_all for one in found.cells)
    for one in found.cells:
        for _, counts in one.by_target:
            assert counts.below + counts.inside + counts.above == counts.n == one.n
            assert one.in_all <= counts.inside
    for source, wanted, counts in found.by_target:
        per_cell = [
            c.inside
            for cell in found.cells
            if cell.cell.stem_cell_source == source
            for t, c in cell.by_target
            if t == wanted
        ]
        assert counts.inside == sum(per_cell)


def test_each_virtual_patient_gets_what_a_look_up_gives(derived: DerivedTable, people: VirtualPatients) -> None:
    found = simulate_table(derived.table, people, targets=TARGETS, model=MODEL)
    counted = {one.cell: one.n for one in found.cells}
    looked: dict[object, int] = {}
    for source, kg, alc in zip(
        people.graft_source.tolist(),
        people.covariates["weight_kg"].tolist(),
        people.covariates["alc_1e9_per_l"].tolist(),
        strict=True,
    ):
        one = look_up(derived.table, source, Decimal(kg), Decimal(alc))
        assert not isinstance(one, Refusal)
        looked[one.cell] = looked.get(one.cell, 0) + 1
    assert {cell: n for cell, n in counted.items() if n} == looked


def test_who_falls_outside_the_table_gets_no_dose(derived: DerivedTable) -> None:
    heavy = virtual_patients(
        MODEL,
        spreads=SPREADS | {"weight_kg": Spread(130, 0.1, 100, 160)},
        graft_shares={"bm_pbsc": 1.0},
        n=200,
        seed=1,
    )
    found = simulate_table(derived.table, heavy, targets=TARGETS, model=MODEL)
    assert found.outside_table == int(np.sum(heavy.covariates["weight_kg"] > 120)) > 0
    assert found.dosed == 200 - found.outside_table
    assert found.share_in_all == found.in_all / found.dosed


def test_a_population_through_a_table_is_reproducible(derived: DerivedTable, people: VirtualPatients) -> None:
    one = simulate_table(derived.table, people, targets=TARGETS, model=MODEL)
    again = virtual_patients(MODEL, spreads=SPREADS, graft_shares=SHARES, n=600, seed=3)
    assert simulate_table(derived.table, again, targets=TARGETS, model=MODEL) == one
