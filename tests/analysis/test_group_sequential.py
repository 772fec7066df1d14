"""Group-sequential boundaries.

Golden values: tests/golden/group_sequential.json; its provenance is in tests/golden/README.md.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from analysis.domain.group_sequential import boundaries

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "group_sequential.json").read_text())
KINDS = ["OF", "P", "WT", "asOF", "asP"]


def spent_on_a_plain_grid(critical, information, sides: int) -> np.ndarray:
    """Alpha spent by each look: the density of B carried along a plain grid by the trapezoidal rule."""
    grid = np.linspace(-7, 7, 4001)
    step = grid[1] - grid[0]
    density = norm.pdf(grid, scale=math.sqrt(information[0]))
    spent, before = [], 0.0
    for k, (bound, t) in enumerate(zip(critical, information, strict=True)):
        if k:
            kernel = norm.pdf(grid[:, None] - grid, scale=math.sqrt(t - information[k - 1]))
            density = kernel @ density * step
        going_on = grid < bound * math.sqrt(t)
        if sides == 2:
            going_on &= grid > -bound * math.sqrt(t)
        total = density.sum() * step
        density = np.where(going_on, density, 0)
        before += total - density.sum() * step
        spent.append(before)
    return np.array(spent)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: f"{c['type']}-{c['alpha']}-{c['kMax']}-{c['info'][0]:.2f}")
def test_boundaries_equal_golden(case):
    found = boundaries(case["type"], alpha=case["alpha"], information=case["info"])
    # The reference solves for alpha to 1e-8, which is up to 3e-8 in a critical value.
    assert found.critical == pytest.approx(case["crit"], abs=3e-8)
    assert found.stage_p == pytest.approx(case["stage_p"], abs=1e-9)
    assert found.cumulative_alpha == pytest.approx(case["cum_alpha"], abs=1.1e-8)
    assert found.cumulative_alpha[-1] == pytest.approx(case["alpha"], rel=1e-12)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_alpha_is_spent_as_a_plain_grid_and_the_multivariate_normal_have_it(kind, sides):
    information = [0.3, 0.7, 1.0]
    found = boundaries(kind, alpha=0.05, information=information, sides=sides)
    assert spent_on_a_plain_grid(found.critical, information, sides) == pytest.approx(found.cumulative_alpha, abs=2e-3)
    t = np.array(information)
    correlation = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    for looks in (2, 3):
        stay = multivariate_normal(cov=correlation[:looks, :looks], abseps=1e-10, releps=1e-10, maxpts=10**6)
        lower = -found.critical[:looks] if sides == 2 else None
        inside = stay.cdf(found.critical[:looks], lower_limit=lower, rng=np.random.default_rng(1))
        assert 1 - inside == pytest.approx(found.cumulative_alpha[looks - 1], abs=2e-7)


@pytest.mark.parametrize(
    "kind, looks, alpha, constant",
    [
        # Jennison & Turnbull 2000, two-sided, last look: tables 2.1 (Pocock) and 2.3 (O'Brien-Fleming).
        ("P", 2, 0.05, 2.178),
        ("P", 5, 0.05, 2.413),
        ("P", 10, 0.05, 2.555),
        ("P", 5, 0.01, 2.986),
        ("OF", 2, 0.05, 1.977),
        ("OF", 5, 0.05, 2.040),
        ("OF", 10, 0.05, 2.087),
    ],
)
def test_published_constants(kind, looks, alpha, constant):
    found = boundaries(kind, alpha=alpha, information=np.arange(1, looks + 1) / looks, sides=2)
    assert round(float(found.critical[-1]), 3) == constant


@given(
    kind=st.sampled_from(KINDS),
    alpha=st.floats(0.001, 0.2),
    sides=st.integers(1, 2),
    steps=st.lists(st.floats(0.05, 1), min_size=1, max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_laws(kind, alpha, sides, steps):
    information = np.cumsum(steps) / np.sum(steps)
    information[-1] = 1.0
    found = boundaries(kind, alpha=alpha, information=information, sides=sides)
    assert np.isfinite(found.critical).all()
    assert found.cumulative_alpha[-1] == pytest.approx(alpha, rel=1e-10)
    assert (np.diff(found.cumulative_alpha) > 0).all()
    assert found.stage_p == pytest.approx(norm.sf(found.critical), rel=1e-10)
    if kind in ("OF", "WT"):
        assert (np.diff(found.critical) < 0).all()  # early looks ask for more
    if kind == "P":
        assert np.ptp(found.critical) == 0
    # More looks at the same alpha never ask for less at the end, nor does a smaller alpha.
    assert found.critical[-1] >= norm.isf(alpha / sides) - 1e-9
    stricter = boundaries(kind, alpha=alpha / 2, information=information, sides=sides)
    assert (stricter.critical > found.critical).all()


def test_one_look_is_the_ordinary_test():
    for kind in KINDS:
        found = boundaries(kind, alpha=0.05, information=[1.0], sides=2)
        assert found.critical == pytest.approx([norm.isf(0.025)], rel=1e-12)


def test_looks_close_together_and_very_early_ones_stay_exact():
    found = boundaries("asOF", alpha=0.025, information=[0.01, 0.5, 0.5001, 1.0])
    assert found.critical[0] == pytest.approx(norm.isf(2 * norm.sf(norm.isf(0.0125) / 0.1)), rel=1e-9)
    spending = 2 * norm.sf(norm.isf(0.0125) / np.sqrt(found.information))
    assert found.cumulative_alpha == pytest.approx(spending, rel=1e-12)


def test_the_method_is_named():
    names = {kind: boundaries(kind, alpha=0.05, information=[0.5, 1]).method for kind in KINDS}
    assert names["WT"] == "Wang-Tsiatis, exponent 0.25"
    assert len(set(names.values())) == len(KINDS)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"kind": "HP"}, "kind: 'HP' is not known; choose one of 'OF'"),
        ({"alpha": 0}, "alpha: 0"),
        ({"alpha": math.nan}, "alpha: nan"),
        ({"sides": 3}, "sides: 3 is more than 2"),
        ({"information": []}, "information: one fraction for each look"),
        ({"information": [[0.5, 1]]}, "information: one fraction for each look"),
        ({"information": ["half", 1]}, "information: numbers"),
        ({"information": [0.5, 0.5, 1]}, "information: look 1 .0.5. does not come after look 0"),
        ({"information": [0.0, 1]}, "information: look 0 is 0"),
        ({"information": [0.5, math.nan]}, "information: look 1 is nan"),
        ({"information": [0.5, 1.5]}, "information: look 1 is 1.5"),
        ({"information": [0.5, 0.9]}, "information: the last look .1. is at 0.9, and must be at 1"),
    ],
)
def test_wrong_input_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        boundaries(**({"kind": "OF", "alpha": 0.025, "information": [0.5, 1.0]} | arguments))
