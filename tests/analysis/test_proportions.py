"""Intervals of a proportion, and tests of tables of counts.

Golden values: tests/golden/binomial_ci.json, tables2x2.json, tables_rxc.json; their provenance is in
tests/golden/README.md.
"""

import json
import math
import time
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from analysis.domain.proportions import chi_square, fisher_exact, proportion_ci

GOLDEN = Path(__file__).parents[1] / "golden"
COUNTS = json.loads((GOLDEN / "binomial_ci.json").read_text())
TABLES_2X2 = json.loads((GOLDEN / "tables2x2.json").read_text())
TABLES_RXC = json.loads((GOLDEN / "tables_rxc.json").read_text())
R_EXACT = json.loads((GOLDEN / "r_exact_tables.json").read_text())
METHODS = ["clopper_pearson", "wilson", "wilson_cc", "wald", "agresti_coull", "jeffreys"]
BOUNDED = ["clopper_pearson", "wilson", "wilson_cc", "jeffreys"]


# --- One proportion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", COUNTS, ids=lambda c: f"{c['x']} of {c['n']}")
def test_interval_equals_golden(case, method):
    found = proportion_ci(case["x"], case["n"], method=method)
    assert tuple(found) == pytest.approx(tuple(case[method]), rel=1e-12, abs=1e-14)
    assert (found.lower, found.upper, found.level, found.method) == (*found, 0.95, method)


@pytest.mark.parametrize("case", R_EXACT["intervals"], ids=lambda c: f"{c['x']} of {c['n']}")
def test_continuity_correction_is_that_of_prop_test(case):
    """Also at x = n/2, where R leaves the correction out."""
    found = proportion_ci(case["x"], case["n"], method="wilson_cc")
    assert tuple(found) == pytest.approx(tuple(case["prop_test"]), rel=1e-12)


STATSMODELS = {"clopper_pearson": "beta", "wilson": "wilson", "jeffreys": "jeffreys"}
STATSMODELS |= {"wald": "normal", "agresti_coull": "agresti_coull"}


@pytest.mark.parametrize("method", STATSMODELS)
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("x, n", [(0, 7), (1, 7), (5, 7), (7, 7), (23, 400)])
def test_statsmodels_agrees(method, level, x, n):
    limits = proportion_ci(x, n, level=level, method=method)
    # statsmodels clips every interval to [0, 1]; R and we print Wald and Agresti-Coull as they come.
    clipped = tuple(min(max(limit, 0), 1) for limit in limits)
    assert clipped == pytest.approx(proportion_confint(x, n, 1 - level, STATSMODELS[method]), rel=1e-10, abs=1e-12)


@given(n=st.integers(1, 60), level=st.floats(0.5, 0.999), data=st.data())
@settings(max_examples=80, deadline=None)
def test_clopper_pearson_limits_are_where_the_exact_tails_are_half_the_rest(n, level, data):
    x = data.draw(st.integers(0, n))
    lower, upper = proportion_ci(x, n, level=level)

    def tail(some: range, p: float) -> float:
        return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in some)

    assert lower == 0 if x == 0 else tail(range(x, n + 1), lower) == pytest.approx((1 - level) / 2, rel=1e-8)
    assert upper == 1 if x == n else tail(range(x + 1), upper) == pytest.approx((1 - level) / 2, rel=1e-8)


@given(n=st.integers(2, 300), level=st.floats(0.5, 0.999), data=st.data())
@settings(max_examples=80, deadline=None)
def test_wilson_limits_solve_the_score_equation(n, level, data):
    x = data.draw(st.integers(1, n - 1))
    z2 = scipy.stats.norm.isf((1 - level) / 2) ** 2
    for p in proportion_ci(x, n, level=level, method="wilson"):
        assert (x / n - p) ** 2 * n == pytest.approx(z2 * p * (1 - p), rel=1e-8)


@pytest.mark.parametrize("method", METHODS)
@given(n=st.integers(1, 200), level=st.floats(0.8, 0.999), data=st.data())
@settings(max_examples=40, deadline=None)
def test_laws_of_every_interval(method, n, level, data):
    x = data.draw(st.integers(0, n))
    lower, upper = proportion_ci(x, n, level=level, method=method)
    mirrored = proportion_ci(n - x, n, level=level, method=method)
    assert (1 - upper, 1 - lower) == pytest.approx(tuple(mirrored), abs=1e-12)
    if method == "jeffreys" and x in (0, n):
        assert 0 < lower < upper < 1  # an equal-tailed posterior interval leaves out the end itself
    else:
        assert lower - 1e-12 <= x / n <= upper + 1e-12
    if method in BOUNDED:
        assert 0 <= lower < upper <= 1
        if x < n:
            more = proportion_ci(x + 1, n, level=level, method=method)
            assert more.lower >= lower
            assert more.upper >= upper
    if method != "agresti_coull":  # its centre moves with the level
        wider = proportion_ci(x, n, level=(1 + level) / 2, method=method)
        assert wider.lower <= lower + 1e-12
        assert wider.upper >= upper - 1e-12


@pytest.mark.parametrize("method", ["clopper_pearson", "wilson", "wilson_cc"])
def test_nothing_and_everything_reach_the_end_exactly(method):
    assert proportion_ci(0, 20, method=method).lower == 0.0
    assert proportion_ci(20, 20, method=method).upper == 1.0
    assert 0 < proportion_ci(0, 1, method=method).upper < 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"x": 21, "n": 20}, "x: 21 is more than 20"),
        ({"x": -1, "n": 20}, "x: -1 is less than 0"),
        ({"x": 1.5, "n": 20}, "x: 1.5 is not a whole number"),
        ({"x": math.nan, "n": 20}, "x: nan is not a whole number"),
        ({"x": True, "n": 20}, "x: True is not a whole number"),
        ({"x": 0, "n": 0}, "n: 0 is less than 1"),
        ({"x": 1, "n": 20, "level": 95}, "level: 95 is not between 0 and 1"),
        ({"x": 1, "n": 20, "level": math.nan}, "level: nan"),
        ({"x": 1, "n": 20, "method": "exact"}, "method: 'exact' is not known; choose one of 'clopper_pearson'"),
    ],
)
def test_wrong_counts_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        proportion_ci(**arguments)


# --- Tables of counts -------------------------------------------------------------------------------------------------


def exact_p_value(table: list[list[int]]) -> float:
    """Fisher's p value from the exact fraction of every table with these margins, filled cell by cell."""
    rows, columns = [sum(row) for row in table], [sum(column) for column in zip(*table, strict=True)]

    def ways(cells) -> Fraction:
        return Fraction(1, math.prod(math.factorial(x) for row in cells for x in row))

    def fill(rows_left, columns_left):
        if len(rows_left) == 1:
            yield [tuple(columns_left)]
            return
        for row in product(*(range(c + 1) for c in columns_left[:-1])):
            last = rows_left[0] - sum(row)
            if 0 <= last <= columns_left[-1]:
                cells = (*row, last)
                rest = [c - x for c, x in zip(columns_left, cells, strict=True)]
                for below in fill(rows_left[1:], rest):
                    yield [cells, *below]

    weights = [ways(cells) for cells in fill(rows, columns)]
    observed = ways(table)
    return float(sum(w for w in weights if w <= observed) / sum(weights))


@pytest.mark.parametrize("case", TABLES_2X2, ids=lambda c: "-".join(map(str, c["table"])))
def test_2x2_equals_golden(case):
    table = np.reshape(case["table"], (2, 2))
    found = fisher_exact(table)
    assert found.p_value == pytest.approx(case["fisher_p"], rel=1e-11)
    expected = math.inf if case["fisher_or"] is None else case["fisher_or"]
    assert found.odds_ratio == pytest.approx(expected, rel=1e-4)  # as near as R's own root
    plain, corrected = chi_square(table), chi_square(table, correction=True)
    assert (plain.statistic, plain.df, plain.p_value) == pytest.approx((case["chi2"], 1, case["p"]), rel=1e-11)
    assert corrected.p_value == pytest.approx(case["p_yates"], rel=1e-11)
    assert corrected.statistic == pytest.approx(case["chi2_yates"], rel=1e-11, abs=1e-25)
    assert plain.method != corrected.method


@pytest.mark.parametrize("case", TABLES_RXC, ids=lambda c: str(list(c["table"].values())))
def test_rxc_equals_golden(case):
    table = list(case["table"].values())
    assert fisher_exact(table).p_value == pytest.approx(case["fisher_p"], rel=1e-10)
    assert fisher_exact(table).odds_ratio is None
    found = chi_square(table)
    assert (found.statistic, found.df, found.p_value) == pytest.approx((case["chi2"], case["df"], case["p"]), rel=1e-11)


@pytest.mark.parametrize("case", R_EXACT["tables"], ids=lambda c: str(c["table"]))
def test_rxc_equals_r(case):
    assert fisher_exact(case["table"]).p_value == pytest.approx(case["fisher_p"], rel=2e-9)  # R merges paths as well


@pytest.mark.parametrize(
    "table",
    [
        [[2, 0, 1], [0, 3, 1], [1, 1, 4]],
        [[1, 0, 0, 3], [0, 2, 2, 0], [3, 1, 0, 1]],
        [[3, 1], [0, 4], [2, 2], [5, 0]],
        [[1, 2, 0, 1], [2, 0, 1, 1], [0, 1, 2, 0], [1, 1, 0, 2]],
        [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
        [[9, 0, 0], [0, 9, 0], [0, 0, 9]],
        [[7, 1, 3], [2, 6, 4]],
    ],
)
def test_rxc_equals_enumeration_in_exact_fractions(table):
    assert fisher_exact(table).p_value == pytest.approx(exact_p_value(table), rel=1e-12)


tables = st.tuples(st.integers(2, 4), st.integers(2, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(0, 4), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@given(table=tables, data=st.data())
@settings(max_examples=60, deadline=None)
def test_p_value_depends_on_neither_order_nor_orientation(table, data):
    counts = np.array(table)
    assume((counts.sum(axis=0) > 0).all() and (counts.sum(axis=1) > 0).all())
    p_value = fisher_exact(counts).p_value
    assert 0 < p_value <= 1
    assert fisher_exact(counts.T).p_value == pytest.approx(p_value, rel=1e-10)
    rows = data.draw(st.permutations(range(len(counts))))
    assert fisher_exact(counts[list(rows)]).p_value == pytest.approx(p_value, rel=1e-10)
    if counts.size <= 9:
        assert p_value == pytest.approx(exact_p_value(table), rel=1e-10)
    expected = scipy.stats.chi2_contingency(counts, correction=False)
    found = chi_square(counts)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9, abs=1e-12)


@given(st.tuples(*[st.integers(0, 60)] * 4))
@settings(max_examples=80, deadline=None)
def test_2x2_agrees_with_scipy(cells):
    counts = np.reshape(cells, (2, 2))
    assume((counts.sum(axis=0) > 0).all() and (counts.sum(axis=1) > 0).all())
    found = fisher_exact(counts)
    assert found.p_value == pytest.approx(scipy.stats.fisher_exact(counts).pvalue, rel=1e-9)
    conditional = scipy.stats.contingency.odds_ratio(counts, kind="conditional").statistic
    assert found.odds_ratio == pytest.approx(conditional, rel=1e-6)
    corrected = scipy.stats.chi2_contingency(counts, correction=True)
    assert chi_square(counts, correction=True).p_value == pytest.approx(corrected.pvalue, rel=1e-9)


def test_a_very_small_p_value_keeps_its_digits():
    """Only the observed table and its likes on the diagonal are as unlikely: 3! (20!)^6 / 60! tables of all."""
    table = np.diag([20, 20, 20])
    expected = math.factorial(3) * Fraction(math.factorial(20) ** 3, math.factorial(60)) * math.factorial(20) ** 3
    expected /= math.factorial(20) ** 3
    assert fisher_exact(table).p_value == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(
    "table, seconds",
    [
        ([[20, 15, 15], [10, 25, 15], [12, 18, 20]], 0.5),
        ([[12, 10, 9], [14, 8, 11], [9, 15, 10], [13, 10, 12], [6, 14, 17]], 3),
        ([[20, 6, 8, 9], [9, 15, 10, 9], [8, 9, 16, 10], [11, 9, 8, 15]], 10),
        ([[400, 380], [210, 260], [90, 75], [33, 41]], 3),
    ],
)
def test_larger_tables_stay_quick_and_as_a_sample_of_tables_has_it(table, seconds):
    start = time.perf_counter()
    found = fisher_exact(table).p_value
    assert time.perf_counter() - start < seconds
    # Too many tables to enumerate plainly: a fixed sample of them shows that none were lost or counted twice.
    margins = scipy.stats.random_table(np.sum(table, axis=1), np.sum(table, axis=0), seed=20260101)
    likely = margins.logpmf(margins.rvs(40_000, method="patefield"))
    share = np.mean(likely <= margins.logpmf(np.array(table)) + 1e-7)
    assert found == pytest.approx(share, abs=4 * math.sqrt(found * (1 - found) / 40_000))


def test_work_in_portions_changes_nothing(monkeypatch):
    from analysis.domain import exact_tables

    table = [[5, 3, 2, 4], [2, 6, 3, 3], [4, 2, 5, 3], [1, 3, 3, 6]]
    whole = fisher_exact(table).p_value
    monkeypatch.setattr(exact_tables, "AT_ONCE", 500)
    assert fisher_exact(table).p_value == pytest.approx(whole, rel=1e-12)


def test_a_table_beyond_enumeration_is_refused_and_never_simulated(monkeypatch):
    from analysis.domain import exact_tables

    monkeypatch.setattr(exact_tables, "MOST", 50)
    with pytest.raises(ValueError, match="table: too many tables share its margins to be enumerated .* chi_square"):
        fisher_exact([[5, 3, 2, 4], [2, 6, 3, 3], [4, 2, 5, 3], [1, 3, 3, 6]])


@pytest.mark.parametrize(
    "table, message",
    [
        ([[1, 2], [3, -1]], "table: row 1 holds -1"),
        ([[1, 2.5], [3, 1]], "table: row 0 holds 2.5"),
        ([[1, 2], [3, math.nan]], "table: row 1 holds nan"),
        ([[1, 2], [3, math.inf]], "table: row 1 holds inf"),
        ([[1, 2], [0, 0]], "table: row 1 counts nobody"),
        ([[1, 0], [2, 0]], "table: column 1 counts nobody"),
        ([[1, 2, 3]], "table: at least 2 rows and 2 columns"),
        ([], "table: at least 2 rows"),
        ([[1, 2], [3]], "table: rows of numbers of one length"),
        ([["a", "b"], ["c", "d"]], "table: rows of numbers"),
    ],
)
@pytest.mark.parametrize("test", [chi_square, fisher_exact])
def test_wrong_tables_are_refused_by_row(test, table, message):
    with pytest.raises(ValueError, match=message):
        test(table)


def test_yates_is_for_2x2_only():
    with pytest.raises(ValueError, match="correction: Yates' correction is for 2 x 2 tables, and this one is 2 x 3"):
        chi_square([[1, 2, 3], [4, 5, 6]], correction=True)
