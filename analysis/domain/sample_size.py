"""How many participants, or events, a trial needs.

Whole numbers are rounded up; where a formula has a real-valued solution, it is kept beside them, because a protocol
that inflates for drop-out inflates that (RELAX: 149.57 x 1.15 = 172).

Sources
-------
- Fleiss JL, Levin B, Paik MC. Statistical Methods for Rates and Proportions, 3rd edition. 2003; chapters 2 and 4.
- Schoenfeld DA. Sample-size formula for the proportional-hazards regression model. Biometrics 1983;39:499-503.
- Chernick MR, Liu CY. The saw-toothed behavior of power versus sample size. Am Stat 2002;56:149-155.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from analysis.domain.arguments import between, one_of, probability, whole_number


@dataclass(frozen=True, slots=True)
class OneProportion:
    """Participants for a test of one proportion.

    ``n_exact_real`` is the formula's solution before rounding up (``None`` for the exact method).
    ``n_from_which_power_holds`` is the size from which every larger trial has the power too: exact power rises and
    falls like a saw, and ``n`` is the first size that has it (both are the same for the normal method).
    """

    n: int
    n_exact_real: float | None
    n_from_which_power_holds: int
    method: str


@dataclass(frozen=True, slots=True)
class TwoProportions:
    """Participants in each of two groups; ``n1_exact_real`` is the formula's solution before rounding up."""

    n1: int
    n2: int
    n1_exact_real: float
    method: str


@dataclass(frozen=True, slots=True)
class LogRankEvents:
    """Events for a log-rank test; ``events_exact_real`` is the formula's solution before rounding up."""

    events: int
    events_exact_real: float
    method: str


def one_proportion(
    p0: float, p1: float, *, alpha: float, power: float, sides: int, method: str = "normal"
) -> OneProportion:
    """Participants to show that a proportion is not ``p0`` when it is ``p1``.

    ``method="normal"`` takes each variance under its own hypothesis (Fleiss, chapter 2):
    n = ((z_a sqrt(p0 q0) + z_b sqrt(p1 q1)) / (p1 - p0))^2. ``method="exact"`` rejects by the binomial tail at alpha /
    sides. Raises ValueError that names the argument.

    RELAX: 39 % against 49 %, one-sided 5 %, power 80 %, and 15 % more for loss gives the printed 172:

    >>> needed = one_proportion(0.39, 0.49, alpha=0.05, power=0.80, sides=1)
    >>> needed.n, math.ceil(round(needed.n_exact_real * 1.15, 1))
    (150, 172)
    >>> exact = one_proportion(0.39, 0.49, alpha=0.05, power=0.80, sides=1, method="exact")
    >>> exact.n, exact.n_from_which_power_holds
    (155, 168)
    """
    p0, p1 = probability("p0", p0), probability("p1", p1)
    if p0 == p1:
        raise ValueError(f"p1: the same as p0 ({p0:g}), so that no number of participants tells them apart")
    return one_of("method", method, _ONE_PROPORTION)(p0, p1, *_error_rates(alpha, power, sides))


def two_proportions(
    p1: float, p2: float, *, alpha: float, power: float, sides: int, ratio: float = 1.0
) -> TwoProportions:
    """Participants in each group to show that ``p1`` and ``p2`` differ; ``ratio`` is group 2 to group 1.

    Pooled variance under the null hypothesis, separate ones under the alternative, no continuity correction (Fleiss,
    chapter 4; R's power.prop.test where ratio is 1). Raises ValueError that names the argument.

    The example of R's manual, power.prop.test(p1 = .50, p2 = .75, power = .90), n = 76.7:

    >>> needed = two_proportions(0.50, 0.75, alpha=0.05, power=0.90, sides=2)
    >>> needed.n1, round(needed.n1_exact_real, 1)
    (77, 76.7)
    """
    p1, p2 = probability("p1", p1), probability("p2", p2)
    if p1 == p2:
        raise ValueError(f"p2: the same as p1 ({p1:g}), so that no number of participants tells them apart")
    alpha, power, sides = _error_rates(alpha, power, sides)
    ratio = between("ratio", ratio, 0, math.inf)
    pooled = (p1 + ratio * p2) / (1 + ratio)
    null = _z(alpha / sides) * math.sqrt((1 + 1 / ratio) * pooled * (1 - pooled))
    alternative = _z(1 - power) * math.sqrt(p1 * (1 - p1) + p2 * (1 - p2) / ratio)
    n1 = ((null + alternative) / (p1 - p2)) ** 2
    return TwoProportions(
        n1=_up(n1), n2=_up(ratio * n1), n1_exact_real=n1, method=f"normal, pooled null variance, {_sided(sides)}"
    )


def log_rank_events(
    hazard_ratio: float, *, alpha: float, power: float, sides: int, allocation: float = 0.5
) -> LogRankEvents:
    """Events in both groups together for a log-rank test to find ``hazard_ratio``; ``allocation`` is the share of one
    group.

    Schoenfeld 1983: (z_a + z_b)^2 / (allocation (1 - allocation) log(hazard ratio)^2). Raises ValueError that names the
    argument.

    Worked by hand: 4 (1.9600 + 0.8416)^2 / log(0.65)^2 = 4 x 7.849 / 0.18557 = 169.2:

    >>> log_rank_events(0.65, alpha=0.05, power=0.80, sides=2).events
    170
    """
    hazard_ratio = between("hazard_ratio", hazard_ratio, 0, math.inf)
    if hazard_ratio == 1:
        raise ValueError("hazard_ratio: 1 is no difference, which no number of events can show")
    alpha, power, sides = _error_rates(alpha, power, sides)
    allocation = probability("allocation", allocation)
    z = _z(alpha / sides) + _z(1 - power)
    events = z**2 / (allocation * (1 - allocation) * math.log(hazard_ratio) ** 2)
    return LogRankEvents(events=_up(events), events_exact_real=events, method=f"Schoenfeld 1983, {_sided(sides)}")


def _one_proportion_normal(p0: float, p1: float, alpha: float, power: float, sides: int) -> OneProportion:
    spread = _z(alpha / sides) * math.sqrt(p0 * (1 - p0)) + _z(1 - power) * math.sqrt(p1 * (1 - p1))
    n = (spread / (p1 - p0)) ** 2
    return OneProportion(
        n=_up(n),
        n_exact_real=n,
        n_from_which_power_holds=_up(n),
        method=f"normal, variances under p0 and p1, {_sided(sides)}",
    )


def _one_proportion_exact(p0: float, p1: float, alpha: float, power: float, sides: int) -> OneProportion:
    """First size with the power, and the size from which it holds, out of all sizes below a proven bound."""
    if p1 < p0:  # responses and non-responses change places
        p0, p1 = 1 - p0, 1 - p1
    sizes = np.arange(1, _chernoff_bound(p0, p1, alpha / sides, 1 - power) + 1)
    critical = stats.binom.isf(alpha / sides, sizes, p0) + 1  # smallest count with P(X >= count | p0) <= alpha / sides
    enough = stats.binom.sf(critical - 1, sizes, p1) >= power
    return OneProportion(
        n=int(sizes[np.argmax(enough)]),
        n_exact_real=None,
        n_from_which_power_holds=int(sizes[len(sizes) - np.argmin(enough[::-1])]) if not enough.all() else 1,
        method=f"exact binomial, {_sided(sides)}",
    )


_ONE_PROPORTION: dict[str, Callable[[float, float, float, float, int], OneProportion]] = {
    "normal": _one_proportion_normal,
    "exact": _one_proportion_exact,
}


def _chernoff_bound(p0: float, p1: float, alpha: float, beta: float) -> int:
    """A size from which every exact test certainly has the power.

    Chernoff: P(X/n >= s | p0) <= exp(-n K(s, p0)) and P(X/n < s | p1) <= exp(-n K(s, p1)) for any s between, with K the
    Kullback-Leibler divergence. At the s where both ask for the same n, rejecting from s on keeps alpha and beta; the
    exact test rejects at least there.
    """

    def divergence(s: float, p: float) -> float:
        return float(special.rel_entr(s, p) + special.rel_entr(1 - s, 1 - p))

    def difference(s: float) -> float:
        return math.log(1 / alpha) * divergence(s, p1) - math.log(1 / beta) * divergence(s, p0)

    s = float(optimize.brentq(difference, p0, p1))
    return math.ceil(math.log(1 / alpha) / divergence(s, p0)) + 1


def _error_rates(alpha: float, power: float, sides: int) -> tuple[float, float, int]:
    return probability("alpha", alpha), probability("power", power), whole_number("sides", sides, low=1, high=2)


def _z(tail: float) -> float:
    """The standard normal quantile with probability ``tail`` above it."""
    return float(-special.ndtri(tail))


def _up(real: float) -> int:
    """Rounded up, but not because of the last digits of a float."""
    return math.ceil(round(real, 9))


def _sided(sides: int) -> str:
    return "one-sided" if sides == 1 else "two-sided"
