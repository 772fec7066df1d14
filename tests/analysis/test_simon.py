"""Two-stage designs: the search, what a design does, and inference after it.

Golden values: tests/golden/simon_grid.json and simon_inference.json; their provenance is in tests/golden/README.md.
"""

import json
import math
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from analysis.domain.simon import TwoStage, critical_total, inference, operating_characteristics, search

GOLDEN = Path(__file__).parents[1] / "golden"
GRID = json.loads((GOLDEN / "simon_grid.json").read_text())
INFERENCE = json.loads((GOLDEN / "simon_inference.json").read_text())
PARACHUTE = TwoStage(r1=12, n1=19, r=37, n=53)


# --- The obvious way, slowly ------------------------------------------------------------------------------------------


def enumerated_characteristics(design: TwoStage, p: float) -> tuple[float, float, float]:
    """Early termination, rejection and expected n, summed over every pair of results."""
    stopped = rejected = size = 0.0
    for x1 in range(design.n1 + 1):
        first = math.comb(design.n1, x1) * p**x1 * (1 - p) ** (design.n1 - x1)
        if x1 <= design.r1:
            stopped += first
            size += first * design.n1
            continue
        size += first * design.n
        for x2 in range(design.n - design.n1 + 1):
            n2 = design.n - design.n1
            if x1 + x2 > design.r:
                rejected += first * math.comb(n2, x2) * p**x2 * (1 - p) ** (n2 - x2)
    return stopped, rejected, size


def every_good_design(p0: float, p1: float, alpha: float, beta: float, n_max: int) -> list[tuple[float, TwoStage]]:
    """All designs up to ``n_max`` that keep both error rates, with the smallest r for each (r1, n1, n)."""
    good = []
    for n in range(2, n_max + 1):
        for n1 in range(1, n):
            for r1 in range(n1):
                for r in range(r1, n):
                    design = TwoStage(r1, n1, r, n)
                    _, error, size = cached_characteristics(design, p0)
                    if error <= alpha:
                        if cached_characteristics(design, p1)[1] >= 1 - beta:
                            good.append((size, design))
                        break
    return good


@cache
def cached_characteristics(design: TwoStage, p: float) -> tuple[float, float, float]:
    x1 = np.arange(design.r1 + 1, design.n1 + 1)
    n2 = design.n - design.n1
    rejected = float(binom.pmf(x1, design.n1, p) @ binom.sf(design.r - x1, n2, p))
    stopped = float(binom.cdf(design.r1, design.n1, p))
    return stopped, rejected, design.n1 + (1 - stopped) * n2


def outcomes(design: TwoStage, n: int) -> list[tuple[int, int]]:
    """(x1, x) of every way the trial can end when stage two, if reached, ends at ``n``."""
    stops = [(x1, x1) for x1 in range(design.r1 + 1)]
    return stops + [(x1, x1 + x2) for x1 in range(design.r1 + 1, design.n1 + 1) for x2 in range(n - design.n1 + 1)]


def outcome_probability(design: TwoStage, n: int, x1: int, x: int, p: float) -> float:
    first = float(binom.pmf(x1, design.n1, p))
    return first if x1 <= design.r1 else first * float(binom.pmf(x - x1, n - design.n1, p))


def rank(design: TwoStage, x1: int, x: int) -> tuple[int, int]:
    """The stage-wise ordering: any second stage above any stop, then by responses."""
    return (1, x) if x1 > design.r1 else (0, x1)


# --- Search -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("STA2")
@pytest.mark.parametrize("case", GRID, ids=lambda c: f"{c['p0']}-{c['p1']}-{c['alpha']}-{c['beta']}")
def test_search_finds_every_golden_design(case):
    found = search(case["p0"], case["p1"], alpha=case["alpha"], beta=case["beta"])
    for name, design in (("optimal", found.optimal), ("minimax", found.minimax)):
        expected = case[name]
        assert design == TwoStage(*(expected[key] for key in ("r1", "n1", "r", "n"))), name
        under_p0 = operating_characteristics(design, case["p0"])
        under_p1 = operating_characteristics(design, case["p1"])
        assert under_p0.rejection == pytest.approx(expected["alpha"], rel=1e-12)
        assert under_p1.rejection == pytest.approx(expected["power"], rel=1e-12)
        assert under_p0.early_termination == pytest.approx(expected["pet0"], rel=1e-12)
        assert under_p1.early_termination == pytest.approx(expected["pet1"], rel=1e-11)
        assert under_p0.expected_n == pytest.approx(expected["en0"], rel=1e-12)
        assert under_p1.expected_n == pytest.approx(expected["en1"], rel=1e-12)


@pytest.mark.parametrize(
    "p0, p1, alpha, beta, n_max", [(0.1, 0.4, 0.1, 0.1, 22), (0.6, 0.9, 0.05, 0.2, 19), (0.3, 0.6, 0.1, 0.2, 20)]
)
def test_search_agrees_with_plain_enumeration(p0, p1, alpha, beta, n_max):
    good = every_good_design(p0, p1, alpha, beta, n_max)
    found = search(p0, p1, alpha=alpha, beta=beta, n_max=n_max)
    assert found.optimal == min(good, key=lambda g: (round(g[0], 9), g[1].n))[1]
    assert found.minimax == min(good, key=lambda g: (g[1].n, g[0]))[1]
    for weight in np.linspace(0.0005, 0.9995, 1000):  # Jung's criterion at each weight of the two aims
        best = min(good, key=lambda g: weight * g[1].n + (1 - weight) * g[0])[1]
        assert best in found.admissible


@pytest.mark.parametrize("p0, p1, alpha, beta", [(0.6, 0.8, 0.05, 0.1), (0.2, 0.35, 0.1, 0.1), (0.05, 0.25, 0.1, 0.1)])
def test_nothing_beyond_the_place_where_the_search_ends_is_better(p0, p1, alpha, beta):
    found = search(p0, p1, alpha=alpha, beta=beta)
    further = search(p0, p1, alpha=alpha, beta=beta, n_max=3 * found.searched_to)
    assert (further.optimal, further.minimax, further.admissible) == (found.optimal, found.minimax, found.admissible)
    # And the proof itself: at no larger n can any stage one that leaves enough power go on rarely enough.
    best = operating_characteristics(found.optimal, p0).expected_n
    for n in range(found.searched_to + 1, 3 * found.searched_to):
        for n1 in range(1, n):
            r1 = int(binom.ppf(beta, n1, p1)) - 1  # the largest r1 with P(X1 <= r1 | p1) <= beta, or below it
            r1 += binom.cdf(r1 + 1, n1, p1) <= beta
            if r1 >= 0:
                assert n1 + binom.sf(r1, n1, p0) * (n - n1) >= best - 1e-9
        if n > found.searched_to + 5:
            break


def test_admissible_designs_run_from_minimax_to_optimal_along_a_convex_line():
    found = search(0.3, 0.45, alpha=0.05, beta=0.2)
    assert found.admissible[0] == found.minimax
    assert found.admissible[-1] == found.optimal
    points = [(d.n, operating_characteristics(d, 0.3).expected_n) for d in found.admissible]
    slopes = [(e2 - e1) / (n2 - n1) for (n1, e1), (n2, e2) in zip(points, points[1:], strict=False)]
    assert slopes == sorted(slopes)
    assert all(slope < 0 for slope in slopes)


def test_n_max_limits_the_search_and_says_when_nothing_fits():
    limited = search(0.6, 0.8, alpha=0.05, beta=0.1, n_max=50)
    assert limited.optimal.n <= 50
    assert limited.minimax == TwoStage(15, 26, 32, 45)
    with pytest.raises(ValueError, match="n_max: no design of up to 44"):
        search(0.6, 0.8, alpha=0.05, beta=0.1, n_max=44)


def test_search_is_quick_enough_for_a_page():
    def seconds() -> float:
        start = time.perf_counter()
        search(0.6, 0.8, alpha=0.05, beta=0.1)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) <= 0.025


# --- Operating characteristics ----------------------------------------------------------------------------------------


@given(data=st.data(), p=st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_characteristics_are_sums_over_all_results(data, p):
    n1 = data.draw(st.integers(1, 15))
    n = data.draw(st.integers(n1 + 1, 35))
    r1 = data.draw(st.integers(0, n1 - 1))
    design = TwoStage(r1, n1, data.draw(st.integers(r1, n - 1)), n)
    found = operating_characteristics(design, p)
    stopped, rejected, size = enumerated_characteristics(design, p)
    assert found.early_termination == pytest.approx(stopped, rel=1e-10, abs=1e-300)
    assert found.rejection == pytest.approx(rejected, rel=1e-10, abs=1e-300)
    assert found.expected_n == pytest.approx(size, rel=1e-10)


@pytest.mark.requirement("STA2")
def test_parachute_prints_what_its_design_does():
    """Statistical analysis: 69.2 % stop early and alpha is 4.3 % at 60 %; power is 90.1 % at 80 %."""
    under_p0, under_p1 = operating_characteristics(PARACHUTE, 0.6), operating_characteristics(PARACHUTE, 0.8)
    assert round(100 * under_p0.early_termination, 1) == 69.2
    assert round(100 * under_p0.rejection, 1) == 4.3
    assert round(100 * under_p1.rejection, 1) == 90.1
    assert round(under_p0.expected_n, 2) == 29.47


def test_certain_response_and_certain_failure_are_defined():
    assert operating_characteristics(PARACHUTE, 0.0).early_termination == 1
    assert operating_characteristics(PARACHUTE, 1.0).rejection == 1


# --- Inference --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", INFERENCE["cases"], ids=lambda c: f"{c['label']} {c['x1']}-{c['x']}-{c['n_actual']}")
def test_inference_equals_golden(case):
    design = TwoStage(case["r1"], case["n1"], case["r"], case["n"])
    asked = {"p0": case["p0"], "responses": case["x"], "stage1_responses": case["x1"], "n": case["n_actual"]}
    for level, key in ((0.95, "95"), (0.90, "90")):
        found = inference(design, **asked, level=level)
        assert found.method == "stagewise_exact"
        assert found.umvue == pytest.approx(case["umvue"], rel=1e-12)
        assert found.p_value == pytest.approx(case["stagewise_actual_n2"]["p"], rel=1e-11)
        assert (found.lower, found.upper) == pytest.approx(tuple(case[f"stagewise_exact_ci{key}"]), rel=1e-11)
        if "koyama_chen_planned_mapped" in case:
            expected = case["koyama_chen_planned_mapped"]
            found = inference(design, **asked, level=level, method="koyama_chen")
            assert found.method == "koyama_chen"
            assert found.p_value == pytest.approx(expected["p"], rel=1e-11)
            assert (found.lower, found.upper) == pytest.approx(tuple(expected[f"ci{key}"]), rel=1e-11)
    if "critical_total_actual" in case:
        found_total = critical_total(design, p0=case["p0"], stage1_responses=case["x1"], n=case["n_actual"])
        assert found_total == case["critical_total_actual"]
        assert (case["x"] >= found_total) == case["reject_h0"]


@pytest.mark.parametrize("row", INFERENCE["parachute_table"], ids=lambda row: f"{row['x']} in stage {row['stage']}")
def test_every_outcome_of_parachute_equals_golden(row):
    x1 = row["x"] if row["stage"] == 1 else min(row["x"], PARACHUTE.n1)
    found = inference(PARACHUTE, p0=0.6, responses=row["x"], stage1_responses=x1)
    assert found.umvue == pytest.approx(row["umvue"], rel=1e-12)
    assert found.p_value == pytest.approx(row["p"], rel=1e-10)
    assert (found.lower, found.upper) == pytest.approx(tuple(row["exact95"]), rel=1e-10)


@pytest.mark.parametrize("design, n", [(PARACHUTE, 51), (TwoStage(1, 10, 5, 29), 29), (TwoStage(4, 19, 15, 54), 60)])
def test_p_value_and_limits_are_sums_over_the_ordering(design, n):
    p0 = 0.35
    for x1, x in outcomes(design, n)[:: max(1, n // 4)]:
        found = inference(design, p0=p0, responses=x, stage1_responses=x1, n=n if x1 > design.r1 else None, level=0.9)
        at_least = [o for o in outcomes(design, n) if rank(design, *o) >= rank(design, x1, x)]
        at_most = [o for o in outcomes(design, n) if rank(design, *o) <= rank(design, x1, x)]

        def total(some: list[tuple[int, int]], p: float) -> float:
            return sum(outcome_probability(design, n, *o, p) for o in some)

        assert found.p_value == pytest.approx(total(at_least, p0), rel=1e-9)
        assert found.lower == 0 if x == 0 else total(at_least, found.lower) == pytest.approx(0.05, rel=1e-9)
        if (x1, x) == (design.n1, n):
            assert found.upper == 1
        else:
            assert total(at_most, found.upper) == pytest.approx(0.05, rel=1e-9)


@given(p=st.floats(0.02, 0.98), n=st.integers(45, 60))
@settings(max_examples=15, deadline=None)
def test_the_estimate_is_unbiased_whatever_the_rate_and_the_size_reached(p, n):
    expected = sum(
        outcome_probability(PARACHUTE, n, x1, x, p) * umvue_of(PARACHUTE, n, x1, x) for x1, x in outcomes(PARACHUTE, n)
    )
    assert expected == pytest.approx(p, rel=1e-10)


@cache
def umvue_of(design: TwoStage, n: int, x1: int, x: int) -> float:
    size = n if x1 > design.r1 else None
    return inference(design, p0=0.5, responses=x, stage1_responses=x1, n=size).umvue


def least_coverage(design: TwoStage, n: int, method: str, low: float = 0.005, high: float = 0.995) -> float:
    """Smallest probability, over a fine grid of true rates, that the 95 % interval holds the true one."""
    p = np.linspace(low, high, 1981)
    covered = np.zeros(p.size)
    for x1, x in outcomes(design, n):
        size = n if x1 > design.r1 else None
        found = inference(design, p0=0.5, responses=x, stage1_responses=x1, n=size, method=method)
        inside = (found.lower <= p) & (p <= found.upper)
        probability = binom.pmf(x1, design.n1, p)
        if x1 > design.r1:
            probability = probability * binom.pmf(x - x1, n - design.n1, p)
        covered += np.where(inside, probability, 0)
    return float(covered.min())


def test_stagewise_interval_never_covers_less_than_it_says_and_koyama_chen_does():
    assert least_coverage(PARACHUTE, 53, "stagewise_exact") >= 0.95
    assert least_coverage(PARACHUTE, 51, "stagewise_exact") >= 0.95
    assert least_coverage(TwoStage(1, 10, 5, 29), 31, "stagewise_exact") >= 0.95
    # Among the rates that such a trial is about; at rates near 0 it covers still less.
    assert least_coverage(PARACHUTE, 53, "koyama_chen", 0.5, 0.95) == pytest.approx(0.911, abs=0.001)


@given(x1=st.integers(0, 19), x2=st.integers(0, 34), level=st.floats(0.5, 0.99))
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_the_estimate_and_agrees_with_the_test(x1, x2, level):
    x = x1 + x2 if x1 > 12 else x1
    found = inference(PARACHUTE, p0=0.6, responses=x, stage1_responses=x1, level=level)
    assert 0 <= found.lower < found.upper <= 1
    assert found.lower <= found.umvue <= found.upper or level < 0.8
    # The lower limit at level 1 - 2 alpha excludes p0 exactly when the one-sided p value is at most alpha.
    assert (found.lower > 0.6) == (found.p_value < (1 - level) / 2)


def test_p_value_rejects_exactly_where_the_design_does():
    alpha = operating_characteristics(PARACHUTE, 0.6).rejection
    for x in range(13, 54):
        found = inference(PARACHUTE, p0=0.6, responses=x, stage1_responses=13 if x < 48 else 19)
        assert (found.p_value <= alpha * (1 + 1e-9)) == (x > 37)


# --- Success boundary for another size --------------------------------------------------------------------------------


def test_critical_total_keeps_the_type_one_error_whatever_rule_sets_the_size():
    """Stage two may be made longer or shorter in view of stage one, and the whole still rejects at most as often."""
    error = 0.0
    for x1 in range(13, 20):
        n = 19 + {13: 60, 14: 20, 15: 32, 16: 5, 17: 1, 18: 34, 19: 45}[x1]
        least = critical_total(PARACHUTE, p0=0.6, stage1_responses=x1, n=n)
        error += binom.pmf(x1, 19, 0.6) * binom.sf(least - x1 - 1, n - 19, 0.6)
    assert error <= operating_characteristics(PARACHUTE, 0.6).rejection


@given(x1=st.integers(13, 19), n=st.integers(19, 80))
@settings(max_examples=60, deadline=None)
def test_critical_total_is_the_first_total_within_the_conditional_error(x1, n):
    conditional_error = binom.sf(37 - x1, 34, 0.6)
    total = x1
    while total <= n and binom.sf(total - x1 - 1, n - 19, 0.6) > conditional_error * (1 + 1e-12):
        total += 1
    assert critical_total(PARACHUTE, p0=0.6, stage1_responses=x1, n=n) == min(total, x1 + n - 19 + 1)


def test_critical_total_examples():
    assert critical_total(PARACHUTE, p0=0.6, stage1_responses=15, n=51) == 37
    assert [critical_total(PARACHUTE, p0=0.6, stage1_responses=x1, n=53) for x1 in range(13, 20)] == [38] * 7
    # One participant of stage two is too few to decide anything after 13 of 19: out of reach.
    assert critical_total(PARACHUTE, p0=0.6, stage1_responses=13, n=20) == 15
    # Stage one alone has more than r: success already.
    assert critical_total(TwoStage(0, 13, 2, 20), p0=0.05, stage1_responses=5, n=20) == 5


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: TwoStage(12, 19, 37, 19), "n1: 19 is more than 18"),
        (lambda: TwoStage(19, 19, 37, 53), "r1: 19 is more than 18"),
        (lambda: TwoStage(12, 19, 53, 53), "r: 53 is more than 52"),
        (lambda: TwoStage(12, 19, 11, 53), "r1: 12 is more than 11"),
        (lambda: TwoStage(12.5, 19, 37, 53), "r1: 12.5 is not a whole number"),
        (lambda: TwoStage(-1, 19, 37, 53), "r1: -1 is less than 0"),
        (lambda: operating_characteristics(PARACHUTE, 1.2), "p: 1.2"),
        (lambda: operating_characteristics(PARACHUTE, math.nan), "p: nan"),
        (lambda: search(0.8, 0.6, alpha=0.05, beta=0.1), "p1: 0.6 is not above p0"),
        (lambda: search(0.0, 0.6, alpha=0.05, beta=0.1), "p0: 0.0"),
        (lambda: search(0.6, 0.8, alpha=0, beta=0.1), "alpha: 0"),
        (lambda: search(0.6, 0.8, alpha=0.05, beta=math.nan), "beta: nan"),
        (lambda: search(0.6, 0.8, alpha=0.05, beta=0.1, n_max=1), "n_max: 1 is less than 2"),
        (lambda: search(0.5, 0.51, alpha=0.05, beta=0.1, n_max=50), "n_max: no design of up to 50"),
        (lambda: inference(PARACHUTE, p0=1, responses=41, stage1_responses=15), "p0: 1"),
        (lambda: inference(PARACHUTE, p0=0.6, responses=14, stage1_responses=15), "responses: 14 is less than 15"),
        (lambda: inference(PARACHUTE, p0=0.6, responses=50, stage1_responses=15), "responses: 50 is more than 49"),
        (lambda: inference(PARACHUTE, p0=0.6, responses=20, stage1_responses=20), "stage1_responses: 20 is more"),
        (lambda: inference(PARACHUTE, p0=0.6, responses=9, stage1_responses=9, n=53), "n: 53 does not fit"),
        (lambda: inference(PARACHUTE, p0=0.6, responses=15, stage1_responses=15, n=19), "n: 19 leaves no stage two"),
        (lambda: inference(PARACHUTE, p0=0.6, responses=41, stage1_responses=15, level=95), "level: 95"),
        (lambda: inference(PARACHUTE, p0=0.6, responses=41, stage1_responses=15, method="wald"), "method: 'wald'"),
        (
            lambda: inference(TwoStage(0, 13, 2, 20), p0=0.05, responses=7, stage1_responses=5, method="koyama_chen"),
            "method: koyama_chen is not defined for stage1_responses 5",
        ),
        (lambda: critical_total(PARACHUTE, p0=0.6, stage1_responses=12, n=51), "stage1_responses: 12 of 19 stops"),
        (lambda: critical_total(PARACHUTE, p0=0.6, stage1_responses=15, n=18), "n: 18 is less than 19"),
    ],
)
def test_wrong_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call()
