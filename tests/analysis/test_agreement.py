"""Agreement of two readers, against published numbers and against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from analysis.domain.agreement import cohen_kappa

NAMES = ("a", "b", "c")


def readings(table: list[list[int]]) -> tuple[list[str], list[str]]:
    first, second = [], []
    for i, row in enumerate(table):
        for j, n in enumerate(row):
            first += [NAMES[i]] * n
            second += [NAMES[j]] * n
    return first, second


def test_the_example_of_fleiss_cohen_and_everitt() -> None:
    """Psychol Bull 1969; 72: 323-327: 200 cases in 3 categories; kappa .429, standard error .0538 (unweighted)."""
    found = cohen_kappa(*readings([[106, 10, 4], [22, 28, 10], [2, 12, 6]]), categories=NAMES)
    assert (found.n, found.agreed) == (200, 140)
    assert found.kappa == pytest.approx(0.429, abs=0.0005)
    assert found.std_error == pytest.approx(0.0538, abs=0.0005)


TABLES = st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=3, max_size=3)


@given(TABLES, st.sampled_from(["none", "linear", "quadratic"]))
def test_it_is_that_of_statsmodels(table: list[list[int]], weights: str) -> None:
    counts = np.array(table)
    if counts.sum() == 0:
        return
    found = cohen_kappa(*readings(table), categories=NAMES, weights=weights)
    if found.kappa is None:
        return
    wt = {"none": None, "linear": "linear", "quadratic": "quadratic"}[weights]
    other = cohens_kappa(counts, wt=wt)
    assert found.kappa == pytest.approx(other.kappa, abs=1e-9)
    assert found.std_error**2 == pytest.approx(other.var_kappa, abs=1e-9)
    assert -1 <= found.lower <= found.kappa <= found.upper <= 1


@given(TABLES)
def test_the_readers_may_change_places(table: list[list[int]]) -> None:
    first, second = readings(table)
    if first:
        one, other = (cohen_kappa(a, b, categories=NAMES) for a, b in ((first, second), (second, first)))
        assert one.kappa == (None if other.kappa is None else pytest.approx(other.kappa, abs=1e-12))


def test_where_everybody_says_the_same_kappa_is_not_defined() -> None:
    found = cohen_kappa(["a"] * 5, ["a"] * 5)
    assert (found.share, found.kappa, found.lower) == (1.0, None, None)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: cohen_kappa([], []), "first is empty"),
        (lambda: cohen_kappa(["a"], []), "second has 0 readings"),
        (lambda: cohen_kappa(["a"], ["z"], categories=["a"]), "categories does not have 'z'"),
        (lambda: cohen_kappa(["a"], ["a"], weights="cubic"), "weights"),
        (lambda: cohen_kappa(["a"], ["a"], level=95), "level"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
