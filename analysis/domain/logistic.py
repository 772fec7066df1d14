"""Logistic regression by maximum likelihood, with the standard errors of the expected information (Wald)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from analysis.domain import observations
from analysis.domain.newton import maximise, standardise
from analysis.domain.observations import Vector
from analysis.domain.survival import HazardModel


@dataclass(frozen=True)
class LogisticModel(HazardModel):
    """Log odds ratios of the columns of x, in their order; ``intercept`` is the log odds where all are zero.

    ``hazard_ratio`` of the base gives the odds ratios with their limits.
    """

    intercept: float

    @property
    def odds_ratio(self) -> Vector:
        return np.asarray(np.exp(self.coef))

    def limits(self, level: float = 0.95) -> tuple[Vector, Vector]:
        """Wald's limits of the odds ratios."""
        z = float(ndtri(0.5 + observations.confidence_level(level) / 2))
        return np.asarray(np.exp(self.coef - z * self.std_error)), np.asarray(np.exp(self.coef + z * self.std_error))


def logistic(event: npt.ArrayLike, x: npt.ArrayLike) -> LogisticModel:
    """The logistic regression of ``event`` (n,) 1 or 0 on ``x`` (n, p); an intercept is added.

    Cox DR (1958) J R Stat Soc B 20: 215-242. Raises ValueError where all or none have the event, for a covariate that
    is constant or a combination of others, and when the covariates separate those with the event from the others.

    >>> fit = logistic([1, 1, 1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0])
    >>> fit.odds_ratio.round(6).tolist(), fit.std_error.round(4).tolist()   # (3 / 1) / (1 / 3); root of 1/3+1/1+1/1+1/3
    ([9.0], [1.633])
    """
    indicator = observations.indicator(event, "event")
    n = indicator.size
    if indicator.all() or not indicator.any():
        raise ValueError(f"event is {int(indicator[0])} in every row; both outcomes are needed")
    matrix = observations.covariates(x, n)
    rows, sd = standardise(matrix)
    design = np.vstack((np.ones(n), rows))
    outcome = indicator.astype(np.float64)

    def log_likelihood(coef: Vector) -> tuple[float, Vector, Vector]:
        eta = np.asarray(coef @ design)
        fitted = 1 / (1 + np.exp(-eta))
        loglik = float(outcome @ eta - np.logaddexp(0, eta).sum())
        return loglik, design @ (outcome - fitted), (design * (fitted * (1 - fitted))) @ design.T

    maximum = maximise(log_likelihood, design.shape[0], first_column=1)
    information = log_likelihood(maximum.coef)[2]
    covariance = np.linalg.inv(information)[1:, 1:] / np.outer(sd, sd)
    coef = maximum.coef[1:] / sd
    return LogisticModel(
        coef=coef,
        std_error=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        intercept=float(maximum.coef[0] - coef @ matrix.mean(axis=0)),
        loglik=maximum.loglik,
        n=n,
        n_event=int(indicator.sum()),
        method="logistic regression, maximum likelihood",
    )
