"""One proportion with its interval, and tables of counts: Pearson's chi-square and Fisher's exact test.

Every result names its method, since six intervals of the same count give six different printed numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from analysis.domain import exact_tables
from analysis.domain.arguments import one_of, probability, whole_number


@dataclass(frozen=True, slots=True)
class Interval(Sequence[float]):
    """A confidence interval, to be unpacked as ``lower, upper``, that knows its level and method."""

    lower: float
    upper: float
    level: float
    method: str

    def __len__(self) -> int:
        return 2

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[float, ...]: ...
    def __getitem__(self, index: int | slice) -> float | tuple[float, ...]:
        return (self.lower, self.upper)[index]

    def __iter__(self) -> Iterator[float]:
        return iter((self.lower, self.upper))


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """Pearson's test of independence; ``p_value`` is that of chi-square on ``df`` degrees of freedom."""

    statistic: float
    df: int
    p_value: float
    method: str


@dataclass(frozen=True, slots=True)
class FisherExact:
    """Fisher's two-sided test; ``odds_ratio`` (2 x 2 only) is the conditional maximum likelihood estimate."""

    p_value: float
    odds_ratio: float | None
    method: str


# --- One proportion ---------------------------------------------------------------------------------------------------


def proportion_ci(x: int, n: int, *, level: float = 0.95, method: str = "clopper_pearson") -> Interval:
    """Two-sided confidence interval of a proportion from ``x`` responses among ``n``.

    Methods (Brown, Cai & DasGupta, Stat Sci 2001;16:101-133, unless said otherwise):

    - ``clopper_pearson``: exact, never covers less than ``level`` (Biometrika 1934;26:404-413)
    - ``wilson``: inverts the score test (J Am Stat Assoc 1927;22:209-212)
    - ``wilson_cc``: the same with a continuity correction of min(1/2, |x - n/2|), as R's ``prop.test`` (Newcombe, Stat
      Med 1998;17:857-872, method 4); the correction therefore vanishes at x = n/2
    - ``wald``: estimate -/+ z SE. It is printed as it comes: it may leave [0, 1], and has no width at 0 and n
    - ``agresti_coull``: Wald after z^2/2 added responses and non-responses; it may leave [0, 1]
    - ``jeffreys``: equal-tailed posterior limits under a Beta(1/2, 1/2) prior

    Raises ValueError that names the argument.

    PARACHUTE, primary endpoint: 41 of 51, 80 % (67-90):

    >>> lower, upper = proportion_ci(41, 51)
    >>> round(lower, 2), round(upper, 2)
    (0.67, 0.9)

    RELAX, overall response at day 28 of 111 of 172 (57.4-71.7):

    >>> lower, upper = proportion_ci(111, 172, method="wald")
    >>> round(100 * lower, 1), round(100 * upper, 1)
    (57.4, 71.7)
    """
    n = whole_number("n", n, low=1)
    x = whole_number("x", x, high=n)
    level = probability("level", level)
    limits = one_of("method", method, _INTERVALS)
    lower, upper = limits(x, n, (1 - level) / 2)
    return Interval(lower=float(lower), upper=float(upper), level=level, method=method)


def _clopper_pearson(x: int, n: int, tail: float) -> tuple[float, float]:
    """Quantiles of the beta distributions whose tails are the binomial ones."""
    lower = 0.0 if x == 0 else special.betaincinv(x, n - x + 1, tail)
    upper = 1.0 if x == n else 1 - special.betaincinv(n - x, x + 1, tail)
    return lower, upper


def _jeffreys(x: int, n: int, tail: float) -> tuple[float, float]:
    """Quantiles of Beta(x + 1/2, n - x + 1/2), the upper one seen from the other end to keep its digits."""
    return special.betaincinv(x + 0.5, n - x + 0.5, tail), 1 - special.betaincinv(n - x + 0.5, x + 0.5, tail)


def _wilson(x: int, n: int, tail: float) -> tuple[float, float]:
    return _score_limit(x, n, tail, -1), _score_limit(x, n, tail, +1)


def _wilson_cc(x: int, n: int, tail: float) -> tuple[float, float]:
    correction = min(0.5, abs(x - n / 2))
    return _score_limit(x - correction, n, tail, -1), _score_limit(x + correction, n, tail, +1)


def _score_limit(x: float, n: int, tail: float, side: int) -> float:
    """Root of (x/n - p)^2 = z^2 p (1 - p) / n on one side; 0 or 1 where the count is at that end or past it."""
    if (side < 0 and x <= 0) or (side > 0 and x >= n):
        return 0.0 if side < 0 else 1.0
    z, p = -special.ndtri(tail), x / n
    centre = p + z**2 / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return float((centre + side * spread) / (1 + z**2 / n))


def _wald(x: float, n: float, tail: float) -> tuple[float, float]:
    p = x / n
    spread = -special.ndtri(tail) * math.sqrt(p * (1 - p) / n)
    return p - spread, p + spread


def _agresti_coull(x: int, n: int, tail: float) -> tuple[float, float]:
    added = special.ndtri(tail) ** 2
    return _wald(x + added / 2, n + added, tail)


_INTERVALS: dict[str, Callable[[int, int, float], tuple[float, float]]] = {
    "clopper_pearson": _clopper_pearson,
    "wilson": _wilson,
    "wilson_cc": _wilson_cc,
    "wald": _wald,
    "agresti_coull": _agresti_coull,
    "jeffreys": _jeffreys,
}


# --- Tables of counts -------------------------------------------------------------------------------------------------


def chi_square(table: ArrayLike, *, correction: bool = False) -> ChiSquare:
    """Pearson's chi-square test of an r x c table of counts.

    ``correction`` subtracts min(1/2, |observed - expected|) from each deviation of a 2 x 2 table (Yates 1934).
    Raises ValueError that names the table and the row, and for ``correction`` of a larger table.

    RELAX, response at day 28: 75 of 129 with gut involvement, 36 of 43 without, p = 0.002 (uncorrected):

    >>> result = chi_square([[75, 54], [36, 7]])
    >>> round(result.statistic, 2), result.df, round(result.p_value, 3)
    (9.22, 1, 0.002)
    """
    counts = _counts(table)
    if correction and counts.shape != (2, 2):
        raise ValueError(f"correction: Yates' correction is for 2 x 2 tables, and this one is {_shape(counts)}")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    deviation = np.abs(counts - expected)
    if correction:
        deviation -= min(0.5, float(deviation.min()))
    statistic = float(np.sum(deviation**2 / expected))
    df = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    return ChiSquare(
        statistic=statistic,
        df=df,
        p_value=float(special.chdtrc(df, statistic)),
        method="Pearson chi-square, Yates' correction" if correction else "Pearson chi-square, no correction",
    )


def fisher_exact(table: ArrayLike) -> FisherExact:
    """Fisher's exact test of an r x c table of counts: the probability, given the margins, of all tables no likelier.

    Exact, never simulated: a table beyond enumeration, such as 5 x 5 categories of some hundred people, is refused; a
    table whose probability exceeds the observed one's by less than 1e-7 of it counts as equally likely. Raises
    ValueError that names the table and the row.

    PARACHUTE, table 1: diagnosis group, trial against historical, p = 0.0013:

    >>> round(fisher_exact([[43, 20], [24, 8], [7, 18], [26, 12]]).p_value, 4)
    0.0013
    >>> result = fisher_exact([[3, 1], [1, 3]])    # Fisher's lady tasting tea: 34 of 70 ways
    >>> round(result.p_value, 4), round(result.odds_ratio, 3)
    (0.4857, 6.408)
    """
    counts = _counts(table)
    if counts.shape == (2, 2):
        p_value, odds_ratio = _fisher_2x2(counts)
        return FisherExact(p_value, odds_ratio, "Fisher exact, two-sided; conditional maximum likelihood odds ratio")
    return FisherExact(exact_tables.p_value(counts), None, f"Fisher exact, two-sided, {_shape(counts)} by enumeration")


def _fisher_2x2(counts: NDArray[np.int64]) -> tuple[float, float]:
    """P value and conditional estimate from the (noncentral) hypergeometric distribution of the upper left count."""
    (a, _), row_totals, column_totals = counts[0], counts.sum(axis=1), counts.sum(axis=0)
    support = np.arange(max(0, column_totals[0] - row_totals[1]), min(row_totals[0], column_totals[0]) + 1)
    log_p = -(
        special.gammaln(support + 1)
        + special.gammaln(row_totals[0] - support + 1)
        + special.gammaln(column_totals[0] - support + 1)
        + special.gammaln(row_totals[1] - column_totals[0] + support + 1)
    )
    observed = log_p[a - support[0]]
    weights = np.exp(log_p - log_p.max())
    p_value = float(weights[log_p <= observed + exact_tables.TIE].sum() / weights.sum())

    if a == support[0]:
        return min(p_value, 1.0), 0.0
    if a == support[-1]:
        return min(p_value, 1.0), math.inf

    def excess(log_odds_ratio: float) -> float:
        """Expected count under this odds ratio, less the observed one: increasing, with one root (Cornfield 1956)."""
        tilted = log_p + log_odds_ratio * support
        tilted = np.exp(tilted - tilted.max())
        return float(tilted @ support / tilted.sum() - a)

    reach = 1.0
    while excess(-reach) > 0 or excess(reach) < 0:
        reach *= 2
    return min(p_value, 1.0), math.exp(optimize.brentq(excess, -reach, reach, xtol=1e-14, rtol=1e-14))


def _counts(table: ArrayLike) -> NDArray[np.int64]:
    """The table as integers, once every row and column is known to count something."""
    try:
        given: NDArray[Any] = np.asarray(table, dtype=float)
    except (TypeError, ValueError):
        raise ValueError("table: rows of numbers of one length are needed") from None
    if given.ndim != 2 or min(given.shape) < 2:
        raise ValueError(f"table: at least 2 rows and 2 columns are needed, not shape {given.shape}")
    for row, values in enumerate(given):
        wrong = ~np.isfinite(values) | (values < 0) | (values != np.floor(values))
        if wrong.any():
            raise ValueError(f"table: row {row} holds {values[wrong][0]:g}, which is not a count")
    for kind, totals in (("row", given.sum(axis=1)), ("column", given.sum(axis=0))):
        empty = np.flatnonzero(totals == 0)
        if empty.size:
            raise ValueError(f"table: {kind} {empty[0]} counts nobody; leave an empty category out")
    return given.astype(np.int64)


def _shape(counts: NDArray[np.int64]) -> str:
    return f"{counts.shape[0]} x {counts.shape[1]}"
