"""Propensity scores and nearest-neighbour matching, against MatchIt, statsmodels and a plain search.

Golden values: tests/golden/match_synth.json (MatchIt 4.7.1); its provenance is in the README there.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from analysis.domain.matching import nearest_match, propensity_score

GOLDEN = Path(__file__).parents[1] / "golden"
MATCHIT = json.loads((GOLDEN / "match_synth.json").read_text())
with (GOLDEN / "synth_psm.csv").open() as file:
    ROWS = list(csv.DictReader(file))
treated = np.array([int(row["treat"]) for row in ROWS])
age, grade, risk = (np.array([float(row[name]) for row in ROWS]) for name in ("age", "grade", "risk"))
X = np.column_stack((age, grade == 3, grade == 4, risk)).astype(float)
COLUMNS = np.column_stack((age, grade == 2, grade == 3, grade == 4, risk)).astype(float)


def test_propensity_score_is_the_fit_of_r():
    intercept, *slopes = MATCHIT["ps_coef"]
    of_r = 1 / (1 + np.exp(-(intercept + X @ slopes)))
    assert_allclose(propensity_score(treated, X), of_r, rtol=1e-7)  # R's glm stops at 1e-8 in the deviance


def test_propensity_score_agrees_with_statsmodels():
    import statsmodels.api as sm

    theirs = sm.Logit(treated, sm.add_constant(X)).fit(disp=0, tol=1e-12).predict()
    assert_allclose(propensity_score(treated, X), theirs, rtol=1e-8)


@pytest.mark.parametrize(
    "name, options",
    [
        ("ratio1_cal0.02sd", {"caliper": 0.02}),
        ("ratio1_cal0.02raw", {"caliper": 0.02, "caliper_unit": "score"}),
        ("ratio5_cal0.02raw", {"caliper": 0.02, "caliper_unit": "score", "ratio": 5}),
    ],
)
def test_matching_equals_matchit(name, options):
    expected = MATCHIT[name]
    result = nearest_match(propensity_score(treated, X), treated, x=COLUMNS, **options)
    assert len(result.pairs) == expected["n_treated_matched"]
    assert sum(len(controls) for _, controls in result.pairs) == expected["n_control_matched"]
    assert len(result.pairs) + len(result.unmatched) == treated.sum()
    assert result.caliper_on_score == pytest.approx(expected["caliper_used"], rel=1e-7)
    assert_allclose(result.balance.before, expected["smd_before"], rtol=1e-7, atol=1e-9)
    assert_allclose(result.balance.after, expected["smd_after"], rtol=1e-6, atol=1e-9)
    # Pairs differ from MatchIt's only among controls of one score, whose last digit rounds differently.
    of_matchit = {int(row) - 1: tuple(int(c) - 1 for c in controls if c) for row, *controls in expected["pairs"]}
    assert sum(of_matchit[row] == controls for row, controls in result.pairs) >= 0.97 * len(result.pairs)


def test_the_same_caliper_is_sixteen_times_wider_on_the_score():
    """0.02 in MatchIt is 0.02 SD; 0.02 in SPSS is 0.02 on the score."""
    score = propensity_score(treated, X)
    sd = nearest_match(score, treated, caliper=0.02)
    raw = nearest_match(score, treated, caliper=0.02, caliper_unit="score")
    assert raw.caliper_on_score / sd.caliper_on_score == pytest.approx(16, abs=0.1)
    assert (sd.caliper_unit, raw.caliper_unit) == ("sd", "score")


def match_by_hand(score, treated, ratio, reach):
    """In each round every treated row, the highest score first, takes the nearest control that is left."""
    taken, pairs = set(), {row: [] for row in np.flatnonzero(treated)}
    for _ in range(ratio):
        for row in sorted(pairs, key=lambda row: -score[row]):
            left = [c for c in np.flatnonzero(treated == 0) if c not in taken and abs(score[c] - score[row]) <= reach]
            if left:
                nearest = min(left, key=lambda c: abs(score[c] - score[row]))
                taken.add(nearest)
                pairs[row].append(nearest)
    return tuple((int(row), tuple(map(int, controls))) for row, controls in pairs.items() if controls)


@pytest.mark.parametrize("ratio, reach", [(1, 0.05), (1, np.inf), (3, 0.1), (5, 0.02)])
def test_matching_equals_a_plain_search(ratio, reach):
    rng = np.random.default_rng(9)
    for _ in range(5):
        score, group = rng.random(80), (rng.random(80) < 0.3).astype(int)
        caliper = None if np.isinf(reach) else reach
        result = nearest_match(score, group, ratio=ratio, caliper=caliper, caliper_unit="score")
        assert result.pairs == match_by_hand(score, group, ratio, reach)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=40), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_laws_of_matching(rows, ratio):
    score, group = np.array([row[0] for row in rows], dtype=float), np.array([row[1] for row in rows], dtype=int)
    if group.min() == group.max():
        return
    try:
        result = nearest_match(score, group, ratio=ratio, caliper=2, caliper_unit="score")
    except ValueError as refusal:
        assert "leaves no treated row a control" in str(refusal)
        assert np.abs(score[group == 1][:, None] - score[group == 0]).min() > 2
        return
    controls = [c for _, chosen in result.pairs for c in chosen]
    assert len(set(controls)) == len(controls)
    assert all(group[c] == 0 for c in controls)
    assert all(group[row] == 1 and 1 <= len(chosen) <= ratio for row, chosen in result.pairs)
    assert all(abs(score[row] - score[c]) <= 2 for row, chosen in result.pairs for c in chosen)


@pytest.mark.parametrize(
    "order, pairs", [("largest", ((1, (2,)),)), ("smallest", ((0, (2,)),)), ("data", ((0, (2,)),))]
)
def test_who_chooses_first(order, pairs):
    assert nearest_match([0.2, 0.4, 0.3], [1, 1, 0], order=order).pairs == pairs


def test_a_column_that_is_constant_among_the_treated_is_standardised_by_both_groups():
    result = nearest_match([0.5, 0.6, 0.5, 0.6], [1, 1, 0, 0], x=[[1.5], [1.5], [1.5], [2.5]])
    assert result.balance.before[1] == pytest.approx(-0.5 / 0.5)  # variances 0 and 0.5


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: propensity_score([1, 1], [1, 2]), "treated holds one group only"),
        (lambda: propensity_score([1, 0], [1, np.nan]), r"x\[1, 0\] is missing"),
        (lambda: propensity_score([1, 0, 1, 0], [2, 2, 2, 2]), "x column 0 is constant"),
        (lambda: propensity_score([0, 0, 1, 1], [1, 2, 3, 4]), "monotone likelihood"),
        (lambda: nearest_match([0.1, np.nan], [1, 0]), r"score\[1\] is missing"),
        (lambda: nearest_match([0.1, 0.2], [1, 2]), r"treated\[1\] is 2"),
        (lambda: nearest_match([0.1, 0.2], [0, 0]), "treated holds one group only"),
        (lambda: nearest_match([0.1, 0.2], [1, 0], ratio=0), "ratio: 0"),
        (lambda: nearest_match([0.1, 0.2], [1, 0], caliper=-1), "caliper: -1"),
        (lambda: nearest_match([0.1, 0.2], [1, 0], caliper=1, caliper_unit="SD"), "caliper_unit is 'SD'"),
        (lambda: nearest_match([0.1, 0.2], [1, 0], order="random"), "order is 'random'"),
        (
            lambda: nearest_match([0.1, 0.9], [1, 0], caliper=0.1, caliper_unit="score"),
            "leaves no treated row a control",
        ),
    ],
)
def test_what_cannot_be_matched_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
