"""Maximum likelihood by Newton and Raphson: it ends in a maximum, or in a sentence that says why there is none."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.domain.observations import Vector

# Each returns the log likelihood, its gradient (p,) and the information, the negative of its second derivative (p, p).
Likelihood = Callable[[Vector], tuple[float, Vector, Vector]]

STEP_IS_NOTHING = 1e-10  # log hazard (or odds) ratio of one standard deviation; the error left is about its square
GAIN_IS_NOTHING = 1e-18  # log likelihood: what rounding alone leaves when covariates are nearly collinear
GAIN_OF_A_PLATEAU = 1e-10  # log likelihood: a long step for so little means that the maximum lies at infinity
LONG_STEP = 1e-3
FLAT = 1e-11  # share of a covariate's information that the other covariates leave over
MAX_STEPS = 100
MAX_HALVINGS = 40


@dataclass(frozen=True)
class Maximum:
    """Where a likelihood is largest, and how large it was at zero and is there."""

    coef: Vector
    loglik: tuple[float, float]
    information: Vector


def standardise(x: Vector) -> tuple[Vector, Vector]:
    """The columns of ``x`` with mean 0 and standard deviation 1, as rows (p, n), and the standard deviations.

    An uncentred calendar year makes the information numerically singular; the coefficients do not depend on it.

    Raises ValueError for a constant column.
    """
    centred = x - x.mean(axis=0)
    sd = np.sqrt((centred**2).mean(axis=0))
    constant = sd <= 1e-13 * np.abs(x).max(axis=0)
    if constant.any():
        raise ValueError(f"x column {int(np.argmax(constant))} is constant; its coefficient cannot be estimated")
    return np.ascontiguousarray((centred / sd).T), sd


def check_information(information: Vector, first_column: int = 0) -> None:
    """Raise ValueError when a covariate adds no information to those on its left."""
    diagonal = np.diag(information)
    for j in range(len(diagonal)):
        left = information[:j, :j]
        explained = information[j, :j] @ np.linalg.solve(left, information[:j, j]) if j else 0.0
        column = j - first_column
        if diagonal[j] <= FLAT:
            raise ValueError(
                f"x column {column} does not vary among those at risk at any event; its coefficient cannot be estimated"
            )
        if diagonal[j] - explained <= FLAT * diagonal[j]:
            raise ValueError(
                f"x column {column} is a combination of the columns before it (singular information); "
                "leave one of them out"
            )


def maximise(likelihood: Likelihood, p: int, *, first_column: int = 0) -> Maximum:
    """The maximum of a concave log likelihood over ``p`` coefficients of standardised covariates, from zero.

    Raises ValueError when the information is singular, and when the likelihood is monotone, that is, still rises a
    little however far a coefficient goes (Heinze G, Schemper M (2001) Biometrics 57: 114-119).
    """
    coef = np.zeros(p)
    loglik, score, information = likelihood(coef)
    null = loglik
    check_information(information, first_column)
    smallest_at_zero = float(np.diag(information).min())
    for _ in range(MAX_STEPS):
        # A flat direction of a likelihood that was not flat at zero: the maximum lies at infinity.
        if float(np.linalg.eigvalsh(information)[0]) <= 1e-13 * smallest_at_zero:
            raise _monotone(coef, first_column)
        step = np.asarray(np.linalg.solve(information, score), dtype=np.float64)
        length, gain = float(np.abs(step).max()), float(score @ step)
        if gain < GAIN_OF_A_PLATEAU and length > LONG_STEP:
            raise _monotone(step, first_column)
        if length <= STEP_IS_NOTHING * max(1.0, float(np.abs(coef).max())) or gain < GAIN_IS_NOTHING:
            return Maximum(coef + step, (null, loglik), information)
        try:
            coef, loglik, score, information = _uphill(likelihood, coef, loglik, step)
        except ArithmeticError:
            raise _monotone(step, first_column) from None
    raise _monotone(coef, first_column)


def _uphill(likelihood: Likelihood, coef: Vector, loglik: float, step: Vector) -> tuple[Vector, float, Vector, Vector]:
    """Newton's step, halved until the likelihood does not fall; ArithmeticError when it falls, or is lost, at once."""
    rounding = 1e-12 * max(1.0, abs(loglik))
    for _ in range(MAX_HALVINGS):
        with np.errstate(all="ignore"):
            value, score, information = likelihood(coef + step)
        if value >= loglik - rounding and np.isfinite(score).all() and np.isfinite(information).all():
            return coef + step, value, score, information
        step = step / 2
    raise ArithmeticError


def _monotone(direction: Vector, first_column: int) -> ValueError:
    column = int(np.argmax(np.abs(direction[first_column:])))
    return ValueError(
        f"the likelihood has no finite maximum (monotone likelihood): the coefficient of x column {column} grows "
        "without bound, as when all events fall into one of two groups; leave the covariate out or join its groups"
    )
