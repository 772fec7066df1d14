"""Concentration and exposure in the two-compartment model: references, closed forms, laws, and faults of others."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from dosing.domain import integration
from dosing.domain.integration import Rates
from dosing.domain.pharmacokinetics import Infusion, Parameters, exposure, simulate

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "pk_2cmt_mm.json").read_text())

CHILD = Parameters(cl=0.48, v1=4.0, q=0.9, v2=8.0, vmax=2.0, km=1.0)
LINEAR = Parameters(cl=0.48, v1=4.0, q=0.9, v2=8.0, vmax=0.0, km=1.0)
FOUR_DAYS = [Infusion(day, 1 / 3, 50.0) for day in (-9.0, -8.0, -7.0, -6.0)]
TIMES = np.array([-9.0, -8.9, -9 + 1 / 3, -8.0, -6.5, -6 + 1 / 3, -3.0, 0.0, 10.0, 50.0])


def closed_form(p: Parameters, infusions: list[Infusion], times: np.ndarray) -> np.ndarray:
    """Linear two-compartment infusion, the sum of two exponentials (Gibaldi & Perrier, Pharmacokinetics, chapter 2)."""
    k10, k12, k21 = p.cl / p.v1, p.q / p.v1, p.q / p.v2
    total = k10 + k12 + k21
    alpha = (total + np.sqrt(total**2 - 4 * k10 * k21)) / 2
    beta = k10 * k21 / alpha
    concentration = np.zeros(len(times))
    for infusion in infusions:
        running = np.clip(times - infusion.start_day, 0, infusion.duration_day)
        since = np.clip(times - infusion.end_day, 0, None)
        rate = infusion.amount / infusion.duration_day / p.v1
        for speed, other in ((alpha, beta), (beta, alpha)):
            share = (speed - k21) / (speed - other)
            concentration += rate * share / speed * -np.expm1(-speed * running) * np.exp(-speed * since)
    return concentration


def slow_reference(p: Parameters, infusions: list[Infusion], times: np.ndarray) -> np.ndarray:
    """Amounts instead of concentrations, an implicit method, and a stop at every edge: slow and plainly right."""
    edges = sorted({*times, *(i.start_day for i in infusions), *(i.end_day for i in infusions)})
    state, at = np.zeros(3), {}
    at[edges[0]] = 0.0
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        rate = sum(i.amount / i.duration_day for i in infusions if i.start_day <= start and end <= i.end_day)

        def flow(_, a, rate=rate):
            c1, c2 = a[0] / p.v1, a[1] / p.v2
            return [rate - p.cl * c1 - p.vmax * c1 / (p.km + c1) - p.q * (c1 - c2), p.q * (c1 - c2), c1]

        state = solve_ivp(flow, (start, end), state, method="Radau", rtol=1e-10, atol=1e-12).y[:, -1]
        at[end] = state[0] / p.v1
    return np.array([at[time] for time in times])


def golden_patients() -> tuple[Parameters, list[Infusion]]:
    columns = np.array(GOLDEN["params"]).T
    return Parameters(*columns[:6]), [Infusion(day, 1 / 3, columns[6] / 4) for day in range(4)]


# References


def test_concentrations_and_exposure_equal_the_reference():
    parameters, infusions = golden_patients()
    reached = exposure(parameters, infusions, graft_day=9, until_day=60)
    assert_allclose(simulate(parameters, infusions, GOLDEN["obs_times"]), GOLDEN["conc"], rtol=1e-6)
    assert_allclose(reached.pre, GOLDEN["auc_pre"], rtol=1e-7)
    assert_allclose(reached.post, GOLDEN["auc_post"], rtol=1e-7)
    assert_allclose(reached.concentration_at_end, np.array(GOLDEN["conc"])[:, -1], rtol=1e-6)


@pytest.mark.parametrize("rtol, within", [(1e-4, 1e-3), (1e-6, 1e-5), (1e-8, 1e-7), (1e-10, 1e-9), (1e-12, 1e-11)])
def test_rtol_is_honoured(rtol, within):
    parameters, infusions = golden_patients()
    assert_allclose(simulate(parameters, infusions, GOLDEN["obs_times"], rtol=rtol), GOLDEN["conc"], rtol=within)


@pytest.mark.parametrize(
    "parameters",
    [
        CHILD,
        Parameters(cl=0.0, v1=4.0, q=0.0, v2=8.0, vmax=20.0, km=0.05),  # saturable only, one compartment, emptied
        Parameters(cl=20.0, v1=2.0, q=50.0, v2=100.0, vmax=1.0, km=10.0),
        Parameters(cl=0.1, v1=0.05, q=0.001, v2=500.0, vmax=30.0, km=1e-3),  # rates 600,000 : 1
    ],
)
def test_agrees_with_a_slow_implicit_solution_in_amounts(parameters):
    times = np.array([-8.5, -8.0, -6.2, -5.0, -1.0, 4.0])
    reference = slow_reference(parameters, FOUR_DAYS, times)
    assert_allclose(
        simulate(parameters, FOUR_DAYS, times)[0], reference, rtol=1e-6, atol=1e-8 * max(reference.max(), 1.0)
    )


def test_stiff_patients_get_the_same_answer_by_either_method(monkeypatch):
    fast = Parameters(cl=3.0, v1=0.4, q=80.0, v2=20.0, vmax=5.0, km=0.01)
    explicit = simulate(fast, FOUR_DAYS, TIMES), exposure(fast, FOUR_DAYS, graft_day=-6.2, until_day=0)
    monkeypatch.setattr(integration, "_STIFF", 0.0)
    implicit = simulate(fast, FOUR_DAYS, TIMES), exposure(fast, FOUR_DAYS, graft_day=-6.2, until_day=0)
    assert_allclose(implicit[0], explicit[0], rtol=1e-7, atol=1e-9)
    assert_allclose(implicit[1].pre, explicit[1].pre, rtol=1e-8)
    assert_allclose(implicit[1].total, explicit[1].total, rtol=1e-8)


# Closed forms and laws


def test_linear_concentrations_are_the_sum_of_two_exponentials():
    assert_allclose(simulate(LINEAR, FOUR_DAYS, TIMES)[0], closed_form(LINEAR, FOUR_DAYS, TIMES), rtol=1e-8, atol=1e-12)


def test_one_compartment_constant_rate_infusion():
    single = Parameters(cl=2.0, v1=10.0, q=0.0, v2=1.0, vmax=0.0, km=1.0)
    during, after = simulate(single, [Infusion(0, 0.5, 100.0)], [0.25, 2.0])[0]
    assert during == pytest.approx(100 * (1 - np.exp(-0.2 * 0.25)), rel=1e-9)
    assert after == pytest.approx(100 * (1 - np.exp(-0.2 * 0.5)) * np.exp(-0.2 * 1.5), rel=1e-9)


def test_linear_exposure_is_the_amount_over_the_clearance():
    assert_allclose(exposure(LINEAR, FOUR_DAYS, graft_day=0, until_day=1500).total, 200.0 / 0.48, rtol=1e-9)


def test_linear_exposure_is_proportional_and_saturable_exposure_more_than_proportional():
    amounts = np.array([10.0, 20.0, 40.0])
    linear = exposure(LINEAR, [Infusion(0, 0.5, amounts)], graft_day=0, until_day=60).total
    saturable = exposure(CHILD, [Infusion(0, 0.5, amounts)], graft_day=0, until_day=60).total
    assert_allclose(linear / amounts, linear[0] / amounts[0], rtol=1e-8)
    assert np.all(np.diff(saturable / amounts) > 0)


def test_the_same_linear_dose_in_one_or_four_infusions_has_the_same_exposure():
    one = exposure(LINEAR, [Infusion(-9, 1 / 3, 200.0)], graft_day=0, until_day=600).total
    assert_allclose(exposure(LINEAR, FOUR_DAYS, graft_day=0, until_day=600).total, one, rtol=1e-9)


@pytest.mark.parametrize("until_day", [-7.5, 0.0, 20.0])
def test_mass_balance(until_day):
    """Given = in both compartments + linear elimination + saturable elimination, the last by Gauss's quadrature."""
    marks = sorted({until_day, *(m for i in FOUR_DAYS for m in (i.start_day, i.end_day) if m < until_day)})
    nodes, weights = np.polynomial.legendre.leggauss(60)
    pieces = list(zip(marks[:-1], marks[1:], strict=True))
    days = np.concatenate([(a + b) / 2 + (b - a) / 2 * nodes for a, b in pieces])
    weight = np.concatenate([(b - a) / 2 * weights for a, b in pieces])
    c = simulate(CHILD, FOUR_DAYS, days, rtol=1e-11)[0]
    saturable = weight @ (CHILD.vmax * c / (CHILD.km + c))
    rates = Rates(*(np.array([k]) for k in (0.48 / 4, 0.9 / 4, 0.9 / 8, 2.0 / 4, 1.0)))
    running = np.array([[any(i.start_day <= a and b <= i.end_day for i in FOUR_DAYS)] for a, b in pieces])
    end = integration.solve(rates, np.array(marks), running * 150.0 / CHILD.v1, np.empty(0), 1e-11)
    held = end.central[0, -1] * CHILD.v1 + end.peripheral[0, -1] * CHILD.v2
    linear = CHILD.cl * exposure(CHILD, FOUR_DAYS, graft_day=until_day, until_day=until_day, rtol=1e-11).total[0]
    given_amount = sum(i.amount * min(1.0, (until_day - i.start_day) * 3) for i in FOUR_DAYS if i.start_day < until_day)
    assert held + linear + saturable == pytest.approx(given_amount, rel=1e-8)


@given(
    graft=st.floats(-12, 5),
    overlap=st.floats(0, 2),
    # A nanounit or none: of 1e-310 units a floating-point number keeps two digits, and nothing adds up.
    amounts=st.lists(st.just(0.0) | st.floats(1e-9, 500), min_size=2, max_size=2),
    cl=st.floats(0.05, 5),
    vmax=st.floats(0, 10),
)
@settings(max_examples=40, deadline=None)
def test_before_and_after_the_graft_add_up(graft, overlap, amounts, cl, vmax):
    patient = Parameters(cl=cl, v1=4.0, q=0.9, v2=8.0, vmax=vmax, km=1.0)
    course = [Infusion(-9, 1.0, amounts[0]), Infusion(-9 + overlap, 0.7, amounts[1])]
    reached = exposure(patient, course, graft_day=graft, until_day=30)
    whole = exposure(patient, course, graft_day=30, until_day=30)
    assert_allclose(reached.pre + reached.post, reached.total, rtol=1e-9)
    assert_allclose(reached.total, whole.pre, rtol=1e-8, atol=1e-12)
    assert reached.pre >= 0 and reached.post >= 0


def test_a_graft_inside_an_infusion_splits_the_exposure_there():
    inside = -6 + 1 / 6
    pre = exposure(CHILD, FOUR_DAYS, graft_day=inside, until_day=20).pre[0]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    marks = sorted({inside, *(m for i in FOUR_DAYS for m in (i.start_day, i.end_day) if m < inside)})
    area = sum(
        (b - a) / 2 * weights @ simulate(CHILD, FOUR_DAYS, (a + b) / 2 + (b - a) / 2 * nodes)[0]
        for a, b in zip(marks[:-1], marks[1:], strict=True)
    )
    assert pre == pytest.approx(area, rel=1e-8)


# Courses


def test_order_of_infusions_changes_nothing():
    uneven = [Infusion(-9, 0.3, 50.0), Infusion(-8, 0.5, 20.0), Infusion(-8, 0.2, 30.0), Infusion(-7.9, 1.0, 5.0)]
    first = simulate(CHILD, uneven, TIMES)
    for course in permutations(uneven):
        assert_array_equal(simulate(CHILD, list(course), TIMES), first)


def test_order_of_times_and_patients_changes_nothing():
    parameters, infusions = golden_patients()
    backwards = Parameters(*(getattr(parameters, name)[::-1] for name in ("cl", "v1", "q", "v2", "vmax", "km")))
    course = [Infusion(i.start_day, i.duration_day, i.amount[::-1]) for i in infusions]
    times = GOLDEN["obs_times"]
    forward = simulate(parameters, infusions, times)
    assert_allclose(simulate(backwards, course, times[::-1])[::-1, ::-1], forward, rtol=1e-12)


def test_each_patient_alone_equals_the_patient_among_others():
    parameters, infusions = golden_patients()
    together = simulate(parameters, infusions, GOLDEN["obs_times"])
    for row, (*values, total) in enumerate(GOLDEN["params"]):
        alone = simulate(Parameters(*values), [Infusion(d, 1 / 3, total / 4) for d in range(4)], GOLDEN["obs_times"])
        assert_allclose(alone[0], together[row], rtol=1e-7)


def test_more_patients_than_a_block_keep_their_rows():
    weights = np.linspace(5, 70, 5000)
    many = Parameters(cl=0.02 * weights, v1=0.2 * weights, q=0.9, v2=8.0, vmax=0.0, km=1.0)
    reached = exposure(many, [Infusion(0, 0.5, 2.0 * weights)], graft_day=0, until_day=2000).total
    assert_allclose(reached, 100.0, rtol=1e-6)


def test_overlapping_infusions_and_two_at_one_time_add_up():
    parts = [Infusion(0, 1.0, 30.0), Infusion(0, 1.0, 20.0), Infusion(0.5, 1.0, 10.0)]
    assert_allclose(
        simulate(LINEAR, parts, [0.5, 1.0, 2.0]), closed_form(LINEAR, parts, np.array([[0.5, 1.0, 2.0]])[0])[None]
    )
    merged = [Infusion(0, 1.0, 50.0), Infusion(0.5, 1.0, 10.0)]
    assert_allclose(simulate(CHILD, parts, TIMES + 9), simulate(CHILD, merged, TIMES + 9), rtol=1e-9, atol=1e-12)


def test_edges_a_rounding_apart_are_no_obstacle():
    course = [Infusion(0.1, 0.2, 50.0), Infusion(0.3, 0.3, 20.0)]  # 0.1 + 0.2 is not 0.3
    assert_allclose(
        simulate(LINEAR, course, [0.3, 5.0])[0], closed_form(LINEAR, course, np.array([0.3, 5.0])), rtol=1e-8
    )


def test_shifting_the_origin_of_the_days_changes_nothing():
    shifted = [Infusion(i.start_day + 40_000, i.duration_day, i.amount) for i in FOUR_DAYS]
    assert_allclose(simulate(CHILD, shifted, TIMES + 40_000), simulate(CHILD, FOUR_DAYS, TIMES), rtol=1e-7, atol=1e-8)


def test_before_the_first_infusion_there_is_nothing():
    assert_array_equal(simulate(CHILD, FOUR_DAYS, [-20.0, -9.0]), [[0.0, 0.0]])
    assert_array_equal(simulate(CHILD, [], [0.0, 5.0]), [[0.0, 0.0]])
    early = exposure(CHILD, FOUR_DAYS, graft_day=-20, until_day=-10)
    assert (early.pre, early.post, early.total) == (0, 0, 0)
    before_any = exposure(CHILD, FOUR_DAYS, graft_day=-20, until_day=0)
    assert before_any.pre == 0 and before_any.post == before_any.total > 0


def test_an_amount_of_zero_is_an_infusion_of_nothing():
    course = [*FOUR_DAYS, Infusion(-5, 1 / 3, 0.0)]
    assert_allclose(simulate(CHILD, course, TIMES), simulate(CHILD, FOUR_DAYS, TIMES), rtol=1e-7)
    assert_array_equal(simulate(CHILD, [Infusion(0, 1, 0.0)], [0.5, 3.0]), [[0.0, 0.0]])


def test_one_set_of_parameters_serves_many_amounts():
    amounts = np.array([10.0, 50.0, 0.0])
    many = simulate(CHILD, [Infusion(0, 0.5, amounts)], [0.5, 4.0])
    assert many.shape == (3, 2)
    assert_allclose(many[1], simulate(CHILD, [Infusion(0, 0.5, 50.0)], [0.5, 4.0])[0], rtol=1e-7)


# Faults seen in comparable software


@pytest.mark.parametrize("sample_day", [-9.0, -9.0 + 1 / 3, -8.0, -6.0 + 1 / 3])
def test_a_sample_on_the_start_or_end_of_an_infusion_neither_loses_nor_doubles_it(sample_day):
    around = simulate(CHILD, FOUR_DAYS, [sample_day - 1e-9, sample_day, sample_day + 1e-9])[0]
    assert_allclose(around, around[1], atol=1e-6)
    with_others = simulate(CHILD, FOUR_DAYS, [sample_day, 5.0])[0]
    assert with_others[1] == pytest.approx(simulate(CHILD, FOUR_DAYS, [5.0])[0, 0], rel=1e-7)
    assert with_others[0] == pytest.approx(around[1], rel=1e-7, abs=1e-12)


def test_a_repeated_sample_time_gets_the_same_concentration_twice():
    once, twice, other = simulate(CHILD, FOUR_DAYS, [-5.0, -5.0, -4.0])[0]
    assert once == twice > other


REFUSED = [
    (lambda: Infusion(0, 0.0, 10.0), "duration_day = 0.0"),
    (lambda: Infusion(0, -1.0, 10.0), "duration_day = -1.0"),
    (lambda: Infusion(1e9, 1e-9, 10.0), "duration_day"),
    (lambda: Infusion(0, 1.0, -5.0), "amount = -5.0"),
    (lambda: Infusion(0, 1.0, [1.0, -5.0]), "amount row 1 = -5.0"),
    (lambda: Infusion(0, 1.0, float("nan")), "amount = nan"),
    (lambda: Infusion(float("inf"), 1.0, 5.0), "start_day = inf"),
    (lambda: Infusion("Monday", 1.0, 5.0), "start_day"),
    (lambda: Infusion(None, 1.0, 5.0), "start_day"),
    (lambda: Parameters(1, 0, 1, 1, 1, 1), "v1 = 0.0"),
    (lambda: Parameters(-1, 1, 1, 1, 1, 1), "cl = -1.0"),
    (lambda: Parameters(1, 1, 1, 1, 1, [1.0, 0.0]), "km row 1 = 0.0"),
    (lambda: Parameters(1, 1, 1, 1, float("nan"), 1), "vmax = nan"),
    (lambda: Parameters([1, 2], [1, 2, 3], 1, 1, 1, 1), "cl 2, v1 3"),
    (lambda: Parameters([[1, 2]], 1, 1, 1, 1, 1), "cl"),
    (lambda: Parameters([], 1, 1, 1, 1, 1), "cl is empty"),
    (lambda: simulate(CHILD, FOUR_DAYS, []), "times_day is empty"),
    (lambda: simulate(CHILD, FOUR_DAYS, 3.0), "times_day"),
    (lambda: simulate(CHILD, FOUR_DAYS, [0.0, float("nan")]), "times_day row 1"),
    (lambda: simulate(CHILD, FOUR_DAYS, [[0.0]]), "times_day"),
    (lambda: simulate(CHILD, FOUR_DAYS[0], [0.0]), "infusions"),
    (lambda: simulate(CHILD, [FOUR_DAYS[0], (0, 1, 5)], [0.0]), "infusions row 1"),
    (lambda: simulate((1, 1, 1, 1, 1, 1), FOUR_DAYS, [0.0]), "parameters"),
    (
        lambda: simulate(CHILD, [Infusion(0, 1, [1.0, 2.0]), Infusion(2, 1, [1.0, 2.0, 3.0])], [0.0]),
        "infusions row 1 3",
    ),
    (lambda: simulate(CHILD, FOUR_DAYS, [0.0], rtol=0.0), "rtol = 0.0"),
    (lambda: simulate(CHILD, FOUR_DAYS, [-30.0], rtol=1.0), "rtol = 1.0"),
    (lambda: simulate(CHILD, [Infusion(0, 1e-3, 1e308)], [1.0]), ""),
    (lambda: exposure(CHILD, FOUR_DAYS, graft_day=5, until_day=4), "until_day = 4.0"),
    (lambda: exposure(CHILD, FOUR_DAYS, graft_day=None, until_day=4), "graft_day"),
    (lambda: exposure(CHILD, FOUR_DAYS, graft_day=0, until_day=float("nan")), "until_day = nan"),
]


@pytest.mark.parametrize("attempt, named", REFUSED)
def test_wrong_input_is_refused_by_name_and_row(attempt, named):
    with pytest.raises(ValueError) as refusal:
        attempt()
    assert named in str(refusal.value)
