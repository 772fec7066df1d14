"""Logistic regression against the equations solved by hand, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.domain.logistic import logistic

# mtcars of R (Henderson and Velleman 1981, Biometrics 37: 391-411): engine shape on weight.
WEIGHT = [2.62, 2.875, 2.32, 3.215, 3.44, 3.46, 3.57, 3.19, 3.15, 3.44, 3.44, 4.07, 3.73, 3.78, 5.25, 5.424, 5.345, 2.2,
          1.615, 1.835, 2.465, 3.52, 3.435, 3.84, 3.845, 1.935, 2.14, 1.513, 3.17, 2.77, 3.57, 2.78]  # fmt: skip
SHAPE = [0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]


def by_hand(event: list[int], x: list[float]) -> tuple[float, float, float, float]:
    """Newton's method on the two equations as they stand in a textbook."""
    b0 = b1 = 0.0
    for _ in range(60):
        p = [1 / (1 + np.exp(-(b0 + b1 * each))) for each in x]
        u0 = sum(y - q for y, q in zip(event, p, strict=True))
        u1 = sum((y - q) * each for y, q, each in zip(event, p, x, strict=True))
        w = [q * (1 - q) for q in p]
        i00, i01 = sum(w), sum(v * each for v, each in zip(w, x, strict=True))
        i11 = sum(v * each * each for v, each in zip(w, x, strict=True))
        determinant = i00 * i11 - i01 * i01
        b0, b1 = b0 + (i11 * u0 - i01 * u1) / determinant, b1 + (i00 * u1 - i01 * u0) / determinant
    return float(b0), float(b1), float(np.sqrt(i11 / determinant)), float(np.sqrt(i00 / determinant))


def test_against_the_slow_obvious_one() -> None:
    fit = logistic(SHAPE, WEIGHT)
    b0, b1, _, se1 = by_hand(SHAPE, WEIGHT)
    assert fit.intercept == pytest.approx(b0, rel=1e-9)
    assert float(fit.coef[0]) == pytest.approx(b1, rel=1e-9)
    assert float(fit.std_error[0]) == pytest.approx(se1, rel=1e-8)


def test_a_table_of_four_has_its_closed_form() -> None:
    """RELAX, infection by Minnesota risk: the odds ratio is that of the table, its standard error Woolf's."""
    event = [1] * 38 + [0] * 29 + [1] * 27 + [0] * 78
    fit = logistic(event, [1] * 67 + [0] * 105)
    assert float(fit.odds_ratio[0]) == pytest.approx(38 * 78 / (29 * 27))
    assert float(fit.std_error[0]) == pytest.approx(np.sqrt(1 / 38 + 1 / 29 + 1 / 27 + 1 / 78))
    found = [float(each[0]) for each in (fit.odds_ratio, *fit.limits())]
    assert [round(each, 2) for each in found] == [3.79, 1.97, 7.27]
