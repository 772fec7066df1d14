"""Stopping boundaries of a group-sequential trial, for efficacy at planned looks.

The statistic at look k is Z_k with information fraction t_k; under the null hypothesis B_k = Z_k sqrt(t_k) has
independent normal increments of variance t_k - t_(k-1). The probability of not having stopped yet is a density that is
carried from look to look by integration over the continuation region.

Sources
-------
- Armitage P, McPherson CK, Rowe BC. Repeated significance tests on accumulating data. J R Stat Soc A 1969;132:235-244.
- O'Brien PC, Fleming TR. A multiple testing procedure for clinical trials. Biometrics 1979;35:549-556.
- Pocock SJ. Group sequential methods in the design and analysis of clinical trials. Biometrika 1977;64:191-199.
- Wang SK, Tsiatis AA. Approximately optimal one-parameter boundaries for group sequential trials. Biometrics
  1987;43:193-199.
- Lan KKG, DeMets DL. Discrete sequential boundaries for clinical trials. Biometrika 1983;70:659-663.
- Jennison C, Turnbull BW. Group Sequential Methods with Applications to Clinical Trials. 2000; chapters 2, 7 and 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from analysis.domain.arguments import one_of, probability, whole_number

Floats = NDArray[np.float64]

WANG_TSIATIS_DELTA = 0.25
"""Halfway between O'Brien-Fleming (0) and Pocock (0.5)."""


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Reject at look k when the statistic is at least ``critical[k]`` (its absolute value, when ``sides`` is 2).

    ``stage_p`` is 1 - Phi(critical), one tail whatever ``sides`` is; ``cumulative_alpha`` the type I error spent up to
    each look, both tails when ``sides`` is 2.
    """

    critical: Floats
    stage_p: Floats
    cumulative_alpha: Floats
    information: Floats
    alpha: float
    sides: int
    method: str


def boundaries(kind: str, *, alpha: float, information: ArrayLike, sides: int = 1) -> Boundaries:
    """Critical values of a group-sequential design with type I error ``alpha`` over all looks.

    Parameters
    ----------
    kind : ``"OF"`` O'Brien-Fleming, ``"P"`` Pocock, ``"WT"`` Wang-Tsiatis with exponent 0.25: critical value c t^(D -
        1/2) with D = 0, 1/2, 1/4. ``"asOF"``, ``"asP"``: Lan & DeMets' alpha spending functions of O'Brien-Fleming and
        Pocock type.
    alpha : type I error of the whole trial, both tails together when ``sides`` is 2.
    information : information fractions of the looks, increasing, the last one 1; (looks,).
    sides : 1 rejects for large values only, 2 for large absolute values.

    Raises ValueError that names the argument and the look.

    O'Brien & Fleming's and Pocock's constants for 5 looks at a two-sided 0.05 (Jennison & Turnbull, tables 2.3 and
    2.1):

    >>> looks = [0.2, 0.4, 0.6, 0.8, 1.0]
    >>> round(float(boundaries("OF", alpha=0.05, information=looks, sides=2).critical[-1]), 3)
    2.04
    >>> round(float(boundaries("P", alpha=0.05, information=looks, sides=2).critical[-1]), 3)
    2.413
    """
    alpha = probability("alpha", alpha)
    sides = whole_number("sides", sides, low=1, high=2)
    rule = one_of("kind", kind, _KINDS)
    t = _information(information)
    if isinstance(rule, _PowerShape):
        shape = t ** (rule.delta - 0.5)
        critical = _scaled_to_alpha(shape, t, alpha, sides)
        spent = _crossing(critical, t, sides)
    else:
        spent = np.array([rule.spending(alpha, float(fraction), sides) for fraction in t])
        critical = _spend(spent, t, sides)
    return Boundaries(
        critical=critical,
        stage_p=special.ndtr(-critical),
        cumulative_alpha=spent,
        information=t,
        alpha=alpha,
        sides=sides,
        method=rule.name,
    )


@dataclass(frozen=True, slots=True)
class _PowerShape:
    """Critical values proportional to t^(delta - 1/2) (Wang & Tsiatis 1987)."""

    delta: float
    name: str


@dataclass(frozen=True, slots=True)
class _Spending:
    """Type I error spent by information fraction t (Lan & DeMets 1983)."""

    spending: Callable[[float, float, int], float]
    name: str


def _spending_of_obrien_fleming(alpha: float, t: float, sides: int) -> float:
    """2 (1 - Phi(z_(1 - alpha/2) / sqrt t)) for each side with its share of alpha."""
    z = -special.ndtri(alpha / (2 * sides))
    return float(2 * sides * special.ndtr(-z / math.sqrt(t)))


def _spending_of_pocock(alpha: float, t: float, sides: int) -> float:
    """alpha log(1 + (e - 1) t)."""
    return alpha * math.log1p((math.e - 1) * t)


_KINDS: dict[str, _PowerShape | _Spending] = {
    "OF": _PowerShape(0.0, "O'Brien-Fleming"),
    "P": _PowerShape(0.5, "Pocock"),
    "WT": _PowerShape(WANG_TSIATIS_DELTA, f"Wang-Tsiatis, exponent {WANG_TSIATIS_DELTA}"),
    "asOF": _Spending(_spending_of_obrien_fleming, "Lan-DeMets alpha spending, O'Brien-Fleming type"),
    "asP": _Spending(_spending_of_pocock, "Lan-DeMets alpha spending, Pocock type"),
}


def _information(information: ArrayLike) -> Floats:
    try:
        t = np.atleast_1d(np.asarray(information, dtype=float))
    except (TypeError, ValueError):
        raise ValueError("information: numbers, one fraction for each look, are needed") from None
    if t.ndim != 1 or t.size == 0:
        raise ValueError(f"information: one fraction for each look is needed, not shape {t.shape}")
    for look, fraction in enumerate(t):
        if not 0 < fraction <= 1 + 1e-9:
            raise ValueError(f"information: look {look} is {fraction:g}, not a fraction above 0 and at most 1")
        if look and fraction <= t[look - 1]:
            raise ValueError(f"information: look {look} ({fraction:g}) does not come after look {look - 1}")
    if abs(t[-1] - 1) > 1e-9:
        raise ValueError(f"information: the last look ({t.size - 1}) is at {t[-1]:g}, and must be at 1")
    return t


# --- The density of trials that go on ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Continuing:
    """Sub-density of B at a look among trials that go on, as points and masses (density times quadrature weight)."""

    points: Floats
    masses: Floats
    t: float

    @classmethod
    def at_start(cls) -> _Continuing:
        return cls(points=np.zeros(1), masses=np.ones(1), t=0.0)

    def crossing(self, critical: float, t: float, sides: int) -> float:
        """Probability of going on until now and stopping at the look at ``t`` with this critical value."""
        bound, spread = critical * math.sqrt(t), math.sqrt(t - self.t)
        beyond = special.ndtr((self.points - bound) / spread)
        if sides == 2:
            beyond = beyond + special.ndtr((-self.points - bound) / spread)
        return float(self.masses @ beyond)

    def after(self, critical: float, t: float, sides: int, *, next_t: float) -> _Continuing:
        """The sub-density after the look at ``t``, fine enough to be carried to ``next_t``.

        Gauss-Legendre with 16 nodes in panels of at most three times the spread of either step: by its error term,
        a normal density of that spread is then integrated to the last digit of a float.
        """
        spread = math.sqrt(t - self.t)
        high = min(critical, 9.0) * math.sqrt(t)
        low = -high if sides == 2 else -9.0 * math.sqrt(t)
        panels = math.ceil((high - low) / (3 * min(spread, math.sqrt(next_t - t))))
        nodes, weights = np.polynomial.legendre.leggauss(16)
        edges = np.linspace(low, high, panels + 1)
        half = (edges[1:] - edges[:-1]) / 2
        points = (edges[:-1, None] + half[:, None] * (nodes + 1)).ravel()
        quadrature = (half[:, None] * weights).ravel()
        density = np.empty(points.size)
        at_once = max(1, 2_000_000 // self.points.size)  # bounds the memory where looks lie close together
        for start in range(0, points.size, at_once):
            distance = (points[start : start + at_once, None] - self.points) / spread
            density[start : start + at_once] = np.exp(-0.5 * distance**2) @ self.masses
        density /= spread * math.sqrt(2 * math.pi)
        return _Continuing(points=points, masses=density * quadrature, t=t)


def _crossing(critical: Floats, t: Floats, sides: int) -> Floats:
    """Cumulative probability, under the null hypothesis, of having stopped at each look."""
    density = _Continuing.at_start()
    at_look = np.zeros(t.size)
    for k, (bound, fraction) in enumerate(zip(critical, t, strict=True)):
        at_look[k] = density.crossing(float(bound), float(fraction), sides)
        if k + 1 < t.size:
            density = density.after(float(bound), float(fraction), sides, next_t=float(t[k + 1]))
    return np.cumsum(at_look)


def _scaled_to_alpha(shape: Floats, t: Floats, alpha: float, sides: int) -> Floats:
    """``shape`` times the constant that spends ``alpha`` by the last look."""
    # The last look, where shape is 1, would alone need the first of these; if no look had less than the second, which
    # is Bonferroni's, each would spend alpha / looks at most. The constant lies between.
    least = float(-special.ndtri(alpha / sides))
    most = float(-special.ndtri(alpha / sides / t.size))
    if t.size == 1:
        return np.array([least])
    c = optimize.brentq(lambda c: _crossing(c * shape, t, sides)[-1] - alpha, least, most, xtol=1e-13, rtol=1e-13)
    return np.asarray(c * shape)


def _spend(spent: Floats, t: Floats, sides: int) -> Floats:
    """Critical values that stop with probability ``spent[k]`` by look k; infinite where a look spends nothing."""
    density = _Continuing.at_start()
    critical = np.zeros(t.size)
    for k, fraction in enumerate(t):
        to_spend = float(spent[k] - (spent[k - 1] if k else 0.0))
        now = float(fraction)
        critical[k] = _critical_for(density, now, to_spend, sides)
        if k + 1 < t.size:
            density = density.after(float(critical[k]), now, sides, next_t=float(t[k + 1]))
    return critical


def _critical_for(density: _Continuing, t: float, to_spend: float, sides: int) -> float:
    """The critical value at which stopping has probability ``to_spend``."""
    if density.t == 0:
        return float(-special.ndtri(to_spend / sides))
    if to_spend <= 0:
        return math.inf

    def log_ratio(critical: float) -> float:
        return math.log(max(density.crossing(critical, t, sides), 1e-320)) - math.log(to_spend)

    return float(optimize.brentq(log_ratio, 0.0 if sides == 2 else -8.0, 38.0, xtol=1e-13, rtol=1e-13))
