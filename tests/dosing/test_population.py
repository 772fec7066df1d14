"""Parameter sets as data, the estimate from drug levels, and the doses that reach a target."""

import copy
import json
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime, minimize

from dosing.domain.pharmacokinetics import Infusion, Parameters, exposure, simulate
from dosing.domain.population import PopulationModel, doses_to_target, map_estimate

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "pk_map.json").read_text())["patients"]
SET = yaml.safe_load((ROOT / "dosing" / "parameter_sets" / "illustrative-1.yaml").read_text())
MODEL = PopulationModel.from_dict(SET)
TARGET = {"duration_day": 1 / 3, "graft_day": 9, "until_day": 60, "kind": "total", "low": 100.0, "high": 148.5}

golden_patients = pytest.mark.parametrize("patient", GOLDEN, ids=[f"{p['wt']:.1f} kg" for p in GOLDEN])


def covariates(patient):
    return {"weight_kg": patient["wt"], "alc_1e9_per_l": patient["alc"]}


def course(patient):
    return [Infusion(day, 1 / 3, patient["total_dose"] / 4) for day in range(4)]


def estimate(patient, **changes):
    arguments = {
        "covariates": covariates(patient),
        "infusions": course(patient),
        "times_day": patient["obs_times"],
        "concentrations": patient["dv"],
    }
    return map_estimate(MODEL, **arguments | changes)


def objective(etas, patient):
    """The objective as published, written out once more, term by term."""
    individual = MODEL.individual(covariates(patient), dict(zip(("cl", "v1", "v2", "vmax"), etas, strict=True)))
    predicted = simulate(individual, course(patient), patient["obs_times"], rtol=1e-10)[0]
    value = 0.0
    for y, f in zip(patient["dv"], predicted, strict=True):
        v = 0.0225 * f**2 + 0.0001
        value += np.log(v) + (y - f) ** 2 / v
    return value + sum(eta**2 / w for eta, w in zip(etas, (0.1225, 0.0625, 0.0625, 0.09), strict=True))


# Parameter sets


def test_the_shipped_set_says_that_it_is_not_for_clinical_use():
    assert "NOT FOR CLINICAL USE" in MODEL.descriptions["title"]
    assert MODEL.status == "illustrative, not published, not for clinical use"
    assert not MODEL.is_verified
    assert MODEL.source.startswith("invented")
    assert MODEL.covariates == ("weight_kg", "alc_1e9_per_l")
    assert dict(MODEL.random_effects) == {"cl": 0.1225, "v1": 0.0625, "v2": 0.0625, "vmax": 0.09}


def test_a_set_without_source_is_read_and_says_so():
    bare = {key: SET[key] for key in ("parameters", "residual", "status")}
    assert PopulationModel.from_dict(bare).source is None
    assert PopulationModel.from_dict(bare | {"status": "verified"}).is_verified


def test_reference_covariates_give_typical_values():
    reference = MODEL.individual({"weight_kg": 20, "alc_1e9_per_l": Decimal("1.2")})
    assert reference == Parameters(cl=0.48, v1=4.0, q=0.9, v2=8.0, vmax=2.0, km=1.0)
    heavier = MODEL.individual({"weight_kg": 40, "alc_1e9_per_l": 1.2}, {"cl": 0.1})
    assert heavier.cl == pytest.approx(0.48 * 2**0.75 * np.exp(0.1))
    assert heavier.v2 == pytest.approx(16.0)


DELETED = object()


def with_change(path, value):
    data = copy.deepcopy(SET)
    *parents, last = path.split(".")
    place = data
    for key in parents:
        place = place[key]
    if value is DELETED:
        del place[last]
    else:
        place[last] = value
    return data


@pytest.mark.parametrize(
    "path, value, named",
    [
        ("status", DELETED, "status is missing"),
        ("status", " ", "status"),
        ("residual", DELETED, "residual is missing"),
        ("parameters.km", DELETED, "parameters: km is missing"),
        ("parameters.ka", {"typical": 1.0}, "parameters: unknown key ka"),
        ("valid", True, "unknown key valid"),
        ("parameters.cl.omega", 0.1, "parameters.cl: unknown key 'omega'"),
        ("parameters.cl.typical", DELETED, "parameters.cl: typical is missing"),
        ("parameters.cl.typical", -0.1, "parameters.cl.typical = -0.1"),
        ("parameters.v1.typical", 0, "parameters.v1.typical = 0.0"),
        ("parameters.v1.typical", "4", "parameters.v1.typical"),
        ("parameters.v1.typical", True, "parameters.v1.typical"),
        ("parameters.v1.typical", float("nan"), "parameters.v1.typical = nan"),
        ("parameters.v1", 4.0, "parameters.v1 must be a mapping"),
        ("parameters.cl.omega2", -0.1, "parameters.cl.omega2 = -0.1"),
        ("parameters.cl.weight_kg", {"reference": 0, "exponent": 1}, "parameters.cl.weight_kg.reference = 0.0"),
        ("parameters.cl.weight_kg", {"reference": 20}, "parameters.cl.weight_kg: exponent is missing"),
        ("parameters.cl.weight_kg", {"reference": 20, "exponent": 1, "unit": "kg"}, "weight_kg: unknown key unit"),
        ("residual.additive_variance", -1.0, "residual.additive_variance = -1.0"),
        ("residual", {"proportional_variance": 0, "additive_variance": 0}, "cannot both be 0"),
        ("residual.exponential", 1.0, "residual: unknown key exponential"),
    ],
)
def test_a_faulty_set_is_refused_with_its_place(path, value, named):
    with pytest.raises(ValueError) as refusal:
        PopulationModel.from_dict(with_change(path, value))
    assert named in str(refusal.value)


@pytest.mark.parametrize("data", [None, [], "set", {1: 2}])
def test_what_is_no_set_is_refused(data):
    with pytest.raises(ValueError):
        PopulationModel.from_dict(data)


@pytest.mark.parametrize(
    "values, named",
    [
        ({"weight_kg": 20}, "alc_1e9_per_l is missing"),
        ({"weight_kg": 20, "alc_1e9_per_l": None}, "alc_1e9_per_l is missing"),
        ({"weight_kg": 0, "alc_1e9_per_l": 1}, "weight_kg = 0.0"),
        ({"weight_kg": 20, "alc_1e9_per_l": "<0.1"}, "alc_1e9_per_l"),
        ({"weight_kg": float("nan"), "alc_1e9_per_l": 1}, "weight_kg = nan"),
        (None, "covariates"),
    ],
)
def test_a_missing_or_impossible_covariate_is_named_never_guessed(values, named):
    with pytest.raises(ValueError) as refusal:
        MODEL.individual(values)
    assert named in str(refusal.value)


def test_an_eta_that_the_model_does_not_have_is_refused():
    with pytest.raises(ValueError, match="no random effect on km"):
        MODEL.individual({"weight_kg": 20, "alc_1e9_per_l": 1}, {"km": 0.1})


@given(
    weight=st.floats(3, 120),
    fewer=st.floats(0.01, 20),
    more=st.floats(0.01, 20),
    exponent=st.floats(0, 2),
    placed_on=st.sampled_from(["cl", "vmax"]),
)
@settings(max_examples=40, deadline=None)
def test_more_lymphocytes_never_mean_less_clearance(weight, fewer, more, exponent, placed_on):
    fewer, more = sorted((fewer, more))
    data = with_change(f"parameters.{placed_on}.alc_1e9_per_l", {"reference": 1.2, "exponent": exponent})
    few, many = (
        PopulationModel.from_dict(data).individual({"weight_kg": weight, "alc_1e9_per_l": alc}) for alc in (fewer, more)
    )
    assert getattr(many, placed_on) >= getattr(few, placed_on)
    dose = [Infusion(0, 1 / 3, 10 * weight)]
    with_few, with_many = (exposure(p, dose, graft_day=5, until_day=60).total[0] for p in (few, many))
    assert with_many <= with_few * (1 + 1e-8)


# Estimate from levels


@golden_patients
def test_estimate_equals_the_reference(patient):
    found = estimate(patient)
    etas = list(found.etas.values())
    assert tuple(found.etas) == ("cl", "v1", "v2", "vmax")
    assert_allclose(etas, patient["eta_map"], atol=1e-6)
    assert_allclose(etas, patient["eta_mapbayr"], atol=1e-4)
    assert found.objective == pytest.approx(patient["ofv"], abs=1e-6)
    assert found.objective <= objective(patient["eta_mapbayr"], patient) + 1e-9
    assert found.objective == pytest.approx(objective(etas, patient), abs=1e-7)


@golden_patients
def test_exposure_of_the_estimate_equals_the_reference(patient):
    reached = exposure(estimate(patient).parameters, course(patient), graft_day=9, until_day=60)
    assert reached.pre[0] == pytest.approx(patient["auc_pre"], rel=1e-6)
    assert reached.post[0] == pytest.approx(patient["auc_post"], rel=1e-6)


def test_estimate_is_where_a_general_minimiser_ends():
    patient = GOLDEN[3]
    tolerance = {"xatol": 1e-5, "fatol": 1e-9}
    general = minimize(objective, np.zeros(4), args=(patient,), method="Nelder-Mead", options=tolerance)
    assert_allclose(list(estimate(patient).etas.values()), general.x, atol=1e-4)


def test_covariance_is_the_inverse_of_half_the_second_derivative_and_shrinkage_its_share_of_the_prior():
    patient = GOLDEN[0]
    found = estimate(patient)
    at = np.array(list(found.etas.values()))

    def gradient(etas):
        axes = 1e-4 * np.eye(4)
        return np.array([(objective(etas + a, patient) - objective(etas - a, patient)) / 2e-4 for a in axes])

    second = np.array([approx_fprime(at, lambda e, i=i: gradient(e)[i], 1e-3) for i in range(4)])
    assert_allclose(found.covariance, 2 * np.linalg.inv(second), rtol=0.02, atol=2e-4)
    assert_allclose(
        list(found.shrinkage.values()), np.diag(found.covariance) / list(MODEL.random_effects.values()), rtol=1e-12
    )
    assert "v2" in found.mainly_population and "v1" not in found.mainly_population


def test_the_order_of_the_samples_and_infusions_changes_nothing():
    patient = GOLDEN[1]
    first = list(estimate(patient).etas.values())
    backwards = estimate(
        patient,
        infusions=course(patient)[::-1],
        times_day=patient["obs_times"][::-1],
        concentrations=patient["dv"][::-1],
    )
    assert_allclose(list(backwards.etas.values()), first, atol=1e-9)


def test_one_sample_says_little_and_the_estimate_says_so():
    patient = GOLDEN[2]
    single = estimate(patient, times_day=[12.0], concentrations=[patient["dv"][-1]])
    assert set(single.mainly_population) == {"cl", "v1", "v2", "vmax"}
    assert single.samples == 1 and np.all(np.linalg.eigvalsh(single.covariance) > 0)


def test_samples_on_the_start_and_the_end_of_an_infusion():
    patient = GOLDEN[0]
    truth = {"cl": 0.2, "v1": -0.1, "v2": 0.1, "vmax": 0.1}
    times = [0.0, 1 / 3, 1.0, 4 / 3, 2.0, 7 / 3, 3.0, 10 / 3, 6.0, 9.0, 15.0, 30.0]
    exact = simulate(MODEL.individual(covariates(patient), truth), course(patient), times[1:])[0]
    found = estimate(patient, times_day=times[1:], concentrations=exact)
    assert_allclose(found.predicted, exact, rtol=0.05)


def test_inputs_are_echoed():
    patient = GOLDEN[0]
    found = estimate(patient, covariates=covariates(patient) | {"age_y": 7})
    assert dict(found.covariates) == covariates(patient)
    assert found.status == MODEL.status and found.samples == 8
    assert "below quantification excluded" in found.method


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"covariates": {"weight_kg": 20}}, "alc_1e9_per_l is missing"),
        ({"concentrations": [1.0] * 7}, "times_day and concentrations"),
        ({"concentrations": [1.0] * 7 + [0.0]}, "concentrations row 7 = 0.0"),
        ({"concentrations": [1.0] * 7 + [-1.0]}, "concentrations row 7 = -1.0"),
        ({"concentrations": [1.0] * 6 + [float("nan"), 1.0]}, "concentrations row 6 = nan"),
        ({"concentrations": ["<0.1"] * 8}, "concentrations"),
        ({"times_day": [], "concentrations": []}, "times_day is empty"),
        ({"times_day": 1.0, "concentrations": 1.0}, "times_day"),
        ({"infusions": [Infusion(0, 1, [1.0, 2.0])]}, "infusions row 0"),
        ({"infusions": "four"}, "infusions"),
    ],
)
def test_wrong_levels_are_refused_by_name_and_row(changes, named):
    with pytest.raises(ValueError) as refusal:
        estimate(GOLDEN[0], **changes)
    assert named in str(refusal.value)


def test_a_sample_before_the_drug_is_refused_where_the_error_is_purely_proportional():
    model = PopulationModel.from_dict(with_change("residual.additive_variance", 0))
    with pytest.raises(ValueError, match="times_day row 0 = -1.0 has a predicted concentration of 0"):
        map_estimate(
            model,
            covariates=covariates(GOLDEN[0]),
            infusions=course(GOLDEN[0]),
            times_day=[-1.0, 1.0],
            concentrations=[1.0, 5.0],
        )


def test_a_model_without_random_effects_has_nothing_to_estimate():
    data = copy.deepcopy(SET)
    for parameter in data["parameters"].values():
        parameter.pop("omega2", None)
    with pytest.raises(ValueError, match="nothing to estimate"):
        map_estimate(
            PopulationModel.from_dict(data),
            covariates=covariates(GOLDEN[0]),
            infusions=course(GOLDEN[0]),
            times_day=[1.0],
            concentrations=[5.0],
        )


# Doses to a target


@golden_patients
def test_doses_equal_the_reference(patient):
    own = estimate(patient).parameters
    adjusted = doses_to_target(own, given=course(patient)[:2], open_days=[2, 3], **TARGET)
    assert_allclose(adjusted.amounts, [patient["dose3_4_each_to_target"]] * 2, rtol=1e-6)
    planned = doses_to_target(own, given=[], open_days=[0, 1, 2, 3], **TARGET)
    assert planned.amounts.sum() == pytest.approx(patient["four_equal_doses_total_to_target"], rel=1e-6)


def test_the_target_returned_is_the_target_given_and_is_reached():
    patient = MODEL.individual({"weight_kg": 20, "alc_1e9_per_l": 1.2})
    for kind, low, high in (("pre", 60, 80), ("post", 60, 95), ("total", 100, 148.5), ("total", 120, 120)):
        plan = doses_to_target(
            patient, given=course(GOLDEN[0])[:1], open_days=[1, 2], **TARGET | {"kind": kind, "low": low, "high": high}
        )
        assert (plan.target, plan.kind) == ((low + high) / 2, kind)
        whole = [*course(GOLDEN[0])[:1], *(Infusion(d, 1 / 3, a) for d, a in zip([1, 2], plan.amounts, strict=True))]
        assert_allclose(getattr(plan.exposure, kind), plan.target, rtol=1e-8)
        assert_allclose(getattr(exposure(patient, whole, graft_day=9, until_day=60), kind), plan.target, rtol=1e-7)


def test_nothing_more_is_proposed_where_the_given_doses_exceed_the_target():
    patient = GOLDEN[7]
    plan = doses_to_target(estimate(patient).parameters, given=course(patient)[:2], open_days=[2, 3], **TARGET)
    assert_allclose(plan.amounts, [0.0, 0.0])
    assert plan.already_reached.all() and plan.exposure.total[0] > plan.target


def test_an_edited_dose_changes_the_proposal():
    patient = GOLDEN[0]
    own, halved = estimate(patient).parameters, [Infusion(d, 1 / 3, patient["total_dose"] / 8) for d in (0, 1)]
    before = doses_to_target(own, given=course(patient)[:2], open_days=[2, 3], **TARGET).amounts
    assert np.all(doses_to_target(own, given=halved, open_days=[2, 3], **TARGET).amounts > before)


def test_many_patients_are_each_brought_to_the_target():
    weights = np.array([8.0, 20.0, 60.0])
    many = Parameters(0.024 * weights, 0.2 * weights, 0.9, 0.4 * weights, np.array([0.0, 2.0, 40.0]), 1.0)
    given_doses = [Infusion(0, 1 / 3, np.array([50.0, 0.0, 10.0]))]
    plan = doses_to_target(many, given=given_doses, open_days=[1, 2], **TARGET)
    assert (
        plan.amounts.shape == (2, 3)
        and plan.amounts[0, 0] == 0
        and plan.already_reached.tolist() == [True, False, False]
    )
    assert_allclose(plan.exposure.total[1:], 124.25, rtol=1e-8)


@pytest.mark.parametrize(
    "patient",
    [
        Parameters(cl=0.0, v1=4.0, q=1.0, v2=8.0, vmax=50.0, km=1e-3),  # saturable elimination takes most of it
        Parameters(cl=0.0, v1=4.0, q=1.0, v2=8.0, vmax=0.0, km=1.0),  # nothing leaves
        Parameters(cl=0.5, v1=4.0, q=1.0, v2=8.0, vmax=1e4, km=1e-4),
    ],
)
def test_extreme_eliminations_reach_the_target(patient):
    plan = doses_to_target(patient, given=[], open_days=[0, 1], **TARGET)
    assert plan.exposure.total[0] == pytest.approx(124.25, rel=1e-8)


def test_order_of_the_open_days_changes_nothing():
    patient = MODEL.individual({"weight_kg": 20, "alc_1e9_per_l": 1.2})
    first = doses_to_target(patient, given=[], open_days=[0, 1, 2], **TARGET).amounts
    for days in permutations([0, 1, 2]):
        assert_allclose(doses_to_target(patient, given=[], open_days=days, **TARGET).amounts, first, rtol=1e-12)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"open_days": []}, "open_days is empty"),
        ({"open_days": [1, 1]}, "open_days names a day twice"),
        ({"open_days": [60, 61]}, "open_days: patient 0 cannot reach the total exposure 124.25"),
        ({"open_days": [9, 10], "kind": "pre"}, "open_days: patient 0 cannot reach the pre exposure"),
        ({"duration_day": 0.0}, "duration_day = 0.0"),
        ({"kind": "AU"}, "kind must be one of pre, post, total"),
        ({"low": 150.0}, "high = 148.5 lies below low = 150.0"),
        ({"low": 0.0}, "low = 0.0"),
        ({"high": float("nan")}, "high = nan"),
        ({"until_day": 8}, "until_day = 8.0"),
        ({"given": [5.0]}, "given row 0"),
        ({"given": Infusion(0, 1, 5.0)}, "given must be a list"),
        ({"parameters": None}, "parameters"),
    ],
)
def test_wrong_or_unreachable_targets_are_refused_by_name(changes, named):
    patient = MODEL.individual({"weight_kg": 20, "alc_1e9_per_l": 1.2})
    arguments = {"parameters": patient, "given": [], "open_days": [0, 1]} | TARGET | changes
    with pytest.raises(ValueError) as refusal:
        doses_to_target(arguments.pop("parameters"), **arguments)
    assert named in str(refusal.value)
