"""The exposure of one patient with its uncertainty, by simulation.

Before there are levels the parameters vary as in the population; after an estimate, with the covariance of the
estimate. The interval is of the patient's exposure, not of a measurement, and it is no better than the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dosing.domain.arguments import Floats, number
from dosing.domain.pharmacokinetics import Infusion, Parameters, exposure, simulate
from dosing.domain.population import Estimate, PopulationModel
from dosing.domain.virtual_patients import drawn_effects

#: Tolerance of simulations whose spread is a thousand times wider.
RTOL = 1e-5
MOST_DRAWS = 100_000


@dataclass(frozen=True)
class Predicted:
    """A prediction and the interval that holds ``level`` of the simulated patients, amount*day/L."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class PredictedExposure:
    """Exposure before the graft, after it and in total, and the concentrations (m,) behind it.

    ``basis`` says whose uncertainty the interval is; ``tail`` is the concentration left on the last day as a share of
    the highest that was simulated at ``times_day``; ``samples`` (draws, 3) are the simulated pre, post and total.
    """

    pre: Predicted
    post: Predicted
    total: Predicted
    times_day: Floats
    concentration: Floats
    concentration_low: Floats
    concentration_high: Floats
    tail: float
    basis: str
    level: float
    draws: int
    seed: int
    samples: Floats

    def share_inside(self, window: str, low: float | None, high: float | None) -> float:
        """Share of the simulated patients whose exposure of that window lies in [low, high]; None is no limit."""
        if window not in _COLUMNS:
            raise ValueError(f"window must be one of {', '.join(_COLUMNS)}, got {window!r}")
        values = self.samples[:, _COLUMNS[window]]
        inside = np.full(values.shape, True)
        if low is not None:
            inside &= values >= low
        if high is not None:
            inside &= values <= high
        return float(np.mean(inside))


_COLUMNS = {"pre": 0, "post": 1, "total": 2}
FROM_POPULATION = "variation between patients; no drug level of this patient"
FROM_LEVELS = "uncertainty of the estimate from this patient's levels"


def predicted_exposure(
    model: PopulationModel,
    *,
    covariates: Mapping[str, float],
    infusions: Iterable[Infusion],
    graft_day: float,
    until_day: float,
    times_day: ArrayLike,
    seed: int,
    estimate: Estimate | None = None,
    draws: int = 1000,
    level: float = 0.90,
) -> PredictedExposure:
    """Exposure of one patient with its interval.

    Parameters
    ----------
    covariates : those that the model names
    infusions, graft_day, until_day : as for :func:`dosing.domain.pharmacokinetics.exposure`
    times_day : (m,) days of the curve
    seed : of the draws; the same seed gives the same interval
    estimate : from the patient's levels; without one the population's variances are the uncertainty
    draws : number of simulated patients, 100 to 100,000
    level : share of them inside the interval, 0.5 to 0.99

    Raises
    ------
    ValueError
        naming the argument that is wrong.
    """
    if not 100 <= draws <= MOST_DRAWS:
        raise ValueError(f"draws = {draws} must lie between 100 and {MOST_DRAWS}")
    share = number("level", level)
    if not 0.5 <= share <= 0.99:
        raise ValueError(f"level = {share} must lie between 0.5 and 0.99")
    course = list(infusions)
    if estimate is None:
        centre = model.individual(covariates)
        effects = drawn_effects(model, draws, seed)
    else:
        centre = estimate.parameters
        effects = _drawn_around(estimate, draws, seed)
    simulated = _with_centre_first(centre, model.individual(covariates, effects), draws)
    areas = exposure(simulated, course, graft_day=graft_day, until_day=until_day, rtol=RTOL)
    curves = simulate(simulated, course, times_day, rtol=RTOL)
    columns = np.column_stack([np.broadcast_to(part, (draws + 1,)) for part in (areas.pre, areas.post, areas.total)])
    ends = [(1 - share) / 2, (1 + share) / 2]
    lows, highs = np.quantile(columns[1:], ends, axis=0)
    pre, post, total = (
        Predicted(float(columns[0, k]), float(lows[k]), float(highs[k])) for k in range(columns.shape[1])
    )
    curve_low, curve_high = np.quantile(curves[1:], ends, axis=0)
    highest = float(curves[0].max(initial=0.0))
    return PredictedExposure(
        pre=pre,
        post=post,
        total=total,
        times_day=np.asarray(times_day, dtype=np.float64),
        concentration=curves[0],
        concentration_low=curve_low,
        concentration_high=curve_high,
        tail=float(areas.concentration_at_end[0]) / highest if highest else 0.0,
        basis=FROM_POPULATION if estimate is None else FROM_LEVELS,
        level=share,
        draws=draws,
        seed=seed,
        samples=columns[1:],
    )


def _drawn_around(estimate: Estimate, draws: int, seed: int) -> dict[str, float | Floats]:
    names = tuple(estimate.etas)
    middle = np.array([estimate.etas[name] for name in names])
    draw = np.random.default_rng(np.random.SeedSequence((seed, 2)))
    drawn = draw.multivariate_normal(middle, estimate.covariance, draws, method="cholesky")
    return dict(zip(names, drawn.T, strict=True))


def _with_centre_first(centre: Parameters, others: Parameters, draws: int) -> Parameters:
    """The patient's own prediction and the simulated ones, solved together."""

    def joined(name: str) -> Floats:
        return np.append(getattr(centre, name), np.broadcast_to(getattr(others, name), (draws,)))

    return Parameters(**{name: joined(name) for name in ("cl", "v1", "q", "v2", "vmax", "km")})
