"""Virtual patients: covariates drawn from distributions given as data, and random effects of a population model.

RESEARCH OUTPUT - NOT FOR CLINICAL USE. Every draw comes from a generator with the seed that the result repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from dosing.domain.arguments import Floats, number
from dosing.domain.pharmacokinetics import Parameters
from dosing.domain.population import PopulationModel

MOST_PATIENTS = 1_000_000


@dataclass(frozen=True)
class Spread:
    """A covariate in a population: log-normal around ``median``, ``log_sd`` on the log scale, cut at low and high.

    Raises ValueError where the numbers are no such distribution.
    """

    median: float
    log_sd: float
    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("median", "log_sd", "low", "high"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        if self.log_sd <= 0:
            raise ValueError(f"log_sd = {self.log_sd} must be above 0")
        if not 0 < self.low < self.high:
            raise ValueError(f"low = {self.low} must be above 0 and below high = {self.high}")
        if not self.low <= self.median <= self.high:
            raise ValueError(f"median = {self.median} must lie between low = {self.low} and high = {self.high}")

    def drawn(self, uniform: Floats) -> Floats:
        """The values at shares ``uniform`` (n,) of the distribution: the inverse of its cumulative form."""
        ends = (np.log([self.low, self.high]) - np.log(self.median)) / self.log_sd
        below, above = ndtr(ends)
        values = np.exp(np.log(self.median) + self.log_sd * ndtri(below + uniform * (above - below)))
        inside: Floats = np.clip(values, self.low, self.high)
        return inside


@dataclass(frozen=True, eq=False)
class VirtualPatients:
    """n patients: covariates (n,) by name, graft source (n,), parameters, and the seed they were drawn with."""

    covariates: Mapping[str, Floats]
    graft_source: NDArray[np.str_]
    parameters: Parameters
    seed: int

    @property
    def n(self) -> int:
        return int(self.graft_source.size)


def virtual_patients(
    model: PopulationModel,
    *,
    spreads: Mapping[str, Spread],
    graft_shares: Mapping[str, float],
    n: int,
    seed: int,
) -> VirtualPatients:
    """n patients drawn with ``seed``.

    Parameters
    ----------
    spreads : of every covariate that the model needs, by its name, and of any other that is of interest
    graft_shares : share of each graft source; they add up to 1
    n : 1 to a million

    Raises
    ------
    ValueError
        naming what is missing or out of range.
    """
    if not 1 <= n <= MOST_PATIENTS:
        raise ValueError(f"n = {n} must lie between 1 and {MOST_PATIENTS}")
    if missing := [name for name in model.covariates if name not in spreads]:
        raise ValueError(f"spreads: {', '.join(missing)} is missing; the model needs {', '.join(model.covariates)}")
    sources = sorted(graft_shares)
    shares = np.array([number(f"graft_shares: {source}", graft_shares[source]) for source in sources])
    if not sources or (shares < 0).any() or abs(float(shares.sum()) - 1) > 1e-9:
        raise ValueError("graft_shares must be 0 or above and add up to 1")
    # One stream for each thing drawn: one covariate more leaves the others as they were.
    streams = np.random.SeedSequence(seed).spawn(2)
    of_graft = np.random.default_rng(streams[0])
    graft = np.array(sources)[np.minimum(np.searchsorted(np.cumsum(shares), of_graft.random(n)), len(sources) - 1)]
    covariates = {
        name: spreads[name].drawn(np.random.default_rng(stream).random(n))
        for name, stream in zip(sorted(spreads), streams[1].spawn(len(spreads)), strict=True)
    }
    parameters = model.individuals(covariates, drawn_effects(model, n, seed))
    return VirtualPatients(MappingProxyType(covariates), graft, parameters, seed)


def drawn_effects(model: PopulationModel, n: int, seed: int) -> dict[str, float | Floats]:
    """Random effects of n patients, (n,) by parameter name: normal with the variances of the model."""
    draw = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    return {name: draw.normal(0.0, np.sqrt(omega2), n) for name, omega2 in model.random_effects.items()}
