"""Sample sizes.

Golden values: tests/golden/sample_size.json and the single-stage sizes of simon_grid.json; their provenance is in
tests/golden/README.md.
"""

import json
import math
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from analysis.domain.sample_size import log_rank_events, one_proportion, two_proportions

GOLDEN_FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((GOLDEN_FOLDER / "sample_size.json").read_text())
GRID = json.loads((GOLDEN_FOLDER / "simon_grid.json").read_text())


def exact_power(n: int, p0: float, p1: float, alpha: float) -> float:
    """Power of the exact test that p is above p0, by adding up terms from the top."""
    error = power = 0.0
    for k in range(n, -1, -1):
        error += math.comb(n, k) * p0**k * (1 - p0) ** (n - k)
        if error > alpha:
            return power
        power += math.comb(n, k) * p1**k * (1 - p1) ** (n - k)
    return power


@pytest.mark.parametrize("sides, key", [(1, "one_prop_z_onesided"), (2, "one_prop_z_twosided")])
def test_one_proportion_equals_golden(sides, key):
    found = one_proportion(0.39, 0.49, alpha=0.05, power=0.80, sides=sides)
    assert found.n_exact_real == pytest.approx(GOLDEN[key], rel=1e-12)
    assert found.n == math.ceil(GOLDEN[key])


def test_relax_prints_172_from_a_one_sided_test_with_15_percent_more():
    real = one_proportion(0.39, 0.49, alpha=0.05, power=0.80, sides=1).n_exact_real
    assert round(real * 1.15, 1) == 172.0
    assert math.ceil(real / 0.85) == 176  # what an allowance for 15 % loss would be


@pytest.mark.parametrize("sides, first, holds", [(1, 155, 168), (2, 195, 208)])
def test_exact_sizes_of_relax(sides, first, holds):
    found = one_proportion(0.39, 0.49, alpha=0.05, power=0.80, sides=sides, method="exact")
    assert (found.n, found.n_from_which_power_holds) == (first, holds)
    powers = [exact_power(n, 0.39, 0.49, 0.05 / sides) for n in range(1, 300)]
    enough = [n for n, power in enumerate(powers, start=1) if power >= 0.80]
    short = [n for n, power in enumerate(powers, start=1) if power < 0.80]
    assert (found.n, found.n_from_which_power_holds) == (enough[0], short[-1] + 1)


@pytest.mark.parametrize("case", GRID, ids=lambda c: f"{c['p0']}-{c['p1']}-{c['alpha']}-{c['beta']}")
def test_exact_size_is_the_single_stage_size_of_golden(case):
    found = one_proportion(case["p0"], case["p1"], alpha=case["alpha"], power=1 - case["beta"], sides=1, method="exact")
    assert found.n == case["single_stage_n"]


@given(p0=st.floats(0.05, 0.95), p1=st.floats(0.05, 0.95), alpha=st.floats(0.01, 0.2), power=st.floats(0.55, 0.95))
@settings(max_examples=25, deadline=None)
def test_exact_sizes_have_the_power_and_the_sizes_before_have_not(p0, p1, alpha, power):
    assume(abs(p0 - p1) > 0.15)
    found = one_proportion(p0, p1, alpha=alpha, power=power, sides=1, method="exact")
    low, high = (p0, p1) if p0 < p1 else (1 - p0, 1 - p1)
    assert exact_power(found.n, low, high, alpha) >= power - 1e-12
    assert all(exact_power(n, low, high, alpha) < power + 1e-12 for n in range(1, found.n))
    holds = found.n_from_which_power_holds
    assert all(exact_power(n, low, high, alpha) >= power - 1e-12 for n in range(holds, 2 * holds))
    if holds > 1:
        assert exact_power(holds - 1, low, high, alpha) < power + 1e-12


@pytest.mark.parametrize("p1, p2, power, key", [(0.6, 0.8, 0.90, "power_prop"), (0.39, 0.49, 0.80, "power_prop2")])
def test_two_proportions_equal_golden(p1, p2, power, key):
    found = two_proportions(p1, p2, alpha=0.05, power=power, sides=2)
    assert found.n1_exact_real == pytest.approx(GOLDEN[key], rel=2e-8)
    assert found.n1 == found.n2 == math.ceil(GOLDEN[key])


def test_two_proportions_equal_rpact():
    case = GOLDEN["rpact_rates"]
    found = two_proportions(case["pi1"], case["pi2"], alpha=0.025, power=0.80, sides=1)
    assert 2 * found.n1_exact_real == pytest.approx(case["n"], rel=1e-9)


@given(
    p1=st.floats(0.05, 0.95),
    p2=st.floats(0.05, 0.95),
    alpha=st.floats(0.005, 0.1),
    power=st.floats(0.6, 0.99),
    ratio=st.floats(0.25, 4),
)
@settings(max_examples=60, deadline=None)
def test_two_proportions_agree_with_statsmodels_and_do_not_care_for_the_order(p1, p2, alpha, power, ratio):
    assume(abs(p1 - p2) > 0.02)
    found = two_proportions(p1, p2, alpha=alpha, power=power, sides=1, ratio=ratio)
    expected = samplesize_proportions_2indep_onetail(
        p2 - p1, p1, power, ratio=1 / ratio, alpha=alpha, alternative="larger"
    )
    # statsmodels names the group with p1 second: its first group is our n2, at 1 / ratio.
    assert ratio * found.n1_exact_real == pytest.approx(expected, rel=1e-9)
    swapped = two_proportions(p2, p1, alpha=alpha, power=power, sides=1, ratio=1 / ratio)
    assert swapped.n1_exact_real == pytest.approx(ratio * found.n1_exact_real, rel=1e-9)
    assert two_proportions(p1, p2, alpha=2 * alpha, power=power, sides=2, ratio=ratio).n1 == found.n1


def test_log_rank_events_equal_golden():
    found = log_rank_events(0.65, alpha=0.05, power=0.80, sides=2)
    assert found.events_exact_real == pytest.approx(GOLDEN["schoenfeld_events_hr0.65"], rel=1e-12)
    assert found.events == 170
    surv = GOLDEN["rpact_surv"]
    found = log_rank_events(surv["hr"], alpha=0.05, power=0.80, sides=2)
    assert found.events_exact_real == pytest.approx(surv["events"], rel=1e-9)


@given(hazard_ratio=st.floats(0.1, 0.95), allocation=st.floats(0.1, 0.9))
def test_log_rank_events_do_not_care_for_the_direction_and_are_fewest_when_balanced(hazard_ratio, allocation):
    rates = {"alpha": 0.05, "power": 0.8, "sides": 2}
    found = log_rank_events(hazard_ratio, **rates, allocation=allocation)
    turned = log_rank_events(1 / hazard_ratio, **rates, allocation=1 - allocation)
    assert found.events_exact_real == pytest.approx(turned.events_exact_real, rel=1e-9)
    assert found.events_exact_real >= log_rank_events(hazard_ratio, **rates).events_exact_real * (1 - 1e-12)


RATES = {"alpha": 0.05, "power": 0.8, "sides": 2}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: one_proportion(0.4, 0.4, **RATES), "p1: the same as p0"),
        (lambda: one_proportion(0, 0.4, **RATES), "p0: 0"),
        (lambda: one_proportion(0.4, math.nan, **RATES), "p1: nan"),
        (lambda: one_proportion(0.4, 0.5, **RATES, method="z"), "method: 'z' is not known"),
        (lambda: one_proportion(0.4, 0.5, **(RATES | {"sides": 0})), "sides: 0 is less than 1"),
        (lambda: one_proportion(0.4, 0.5, **(RATES | {"power": 80})), "power: 80"),
        (lambda: two_proportions(0.4, 0.4, **RATES), "p2: the same as p1"),
        (lambda: two_proportions(0.4, 0.5, **RATES, ratio=0), "ratio: 0"),
        (lambda: two_proportions(0.4, 0.5, **RATES, ratio=math.inf), "ratio: inf"),
        (lambda: log_rank_events(1, **RATES), "hazard_ratio: 1 is no difference"),
        (lambda: log_rank_events(-1, **RATES), "hazard_ratio: -1"),
        (lambda: log_rank_events(0.7, **RATES, allocation=1), "allocation: 1"),
        (lambda: log_rank_events(0.7, **(RATES | {"alpha": 5})), "alpha: 5"),
    ],
)
def test_wrong_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
