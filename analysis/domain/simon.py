"""Simon's two-stage design for a single-arm trial: find it, describe it, and draw inference from it.

A trial stops for futility after ``n1`` participants with ``r1`` responses or fewer, and otherwise succeeds with more
than ``r`` responses among ``n``. Everything here is exact binomial arithmetic; nothing is approximated by a normal.

Notation: X1 and X2 are the responses of stage one and stage two, T = X1 + X2, p the response rate, H0: p <= p0.

Sources
-------
- Simon R. Optimal two-stage designs for phase II clinical trials. Control Clin Trials 1989;10:1-10.
- Jung SH, Lee T, Kim KM, George SL. Admissible two-stage designs for phase II cancer clinical trials.
  Stat Med 2004;23:561-569.
- Jung SH, Kim KM. On the estimation of the binomial probability in multistage clinical trials. Stat Med
  2004;23:881-896.
- Koyama T, Chen H. Proper inference from Simon's two-stage designs. Stat Med 2008;27:3145-3154.
- Porcher R, Desseaux K. What inference for two-stage phase II trials? BMC Med Res Methodol 2012;12:117.
- Mueller HH, Schaefer H. A general statistical principle for changing a design any time during the course of a trial.
  Stat Med 2004;23:2497-2508 (conditional error).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from analysis.domain.arguments import one_of, probability, share, whole_number

Floats = NDArray[np.float64]

# Sums of some hundred products of floats: two error rates that differ by less than this are the same number.
ROUNDING = 1e-12
# The binomial tables of this size take 300 MB; p1 - p0 is then about 0.03 in the middle of the scale.
LARGEST_N = 3000


@dataclass(frozen=True, slots=True)
class TwoStage:
    """A Simon design: stop for futility at ``r1`` or fewer responses of ``n1``; succeed above ``r`` of ``n``."""

    r1: int
    n1: int
    r: int
    n: int

    def __post_init__(self) -> None:
        n = whole_number("n", self.n, low=2)
        n1 = whole_number("n1", self.n1, low=1, high=n - 1)
        r = whole_number("r", self.r, high=n - 1)
        whole_number("r1", self.r1, high=min(n1 - 1, r))

    @property
    def n2(self) -> int:
        """Planned size of stage two."""
        return self.n - self.n1


@dataclass(frozen=True, slots=True)
class OperatingCharacteristics:
    """What a design does when the true response rate is ``p``."""

    early_termination: float
    rejection: float
    expected_n: float
    p: float
    method: str = "exact binomial (Simon 1989)"


@dataclass(frozen=True, slots=True)
class Designs:
    """The designs that keep both error rates, each the best of its kind.

    ``optimal`` has the least expected n under p0, ``minimax`` the least n (and then the least expected n), and
    ``admissible`` holds, from minimax to optimal, every design that is best for some weighting of the two.
    ``searched_to`` is the largest n that had to be looked at: beyond it no design can beat ``optimal``.
    """

    optimal: TwoStage
    minimax: TwoStage
    admissible: tuple[TwoStage, ...]
    p0: float
    p1: float
    alpha: float
    beta: float
    searched_to: int
    method: str = "exhaustive exact search (Simon 1989; admissible: Jung 2004)"


@dataclass(frozen=True, slots=True)
class Inference:
    """Point estimate, one-sided p value of H0: p <= p0, and two-sided confidence interval after a two-stage trial."""

    umvue: float
    p_value: float
    lower: float
    upper: float
    level: float
    method: str


def operating_characteristics(design: TwoStage, p: float) -> OperatingCharacteristics:
    """Probability of early termination, probability of success, and expected n at true response rate ``p``.

    Parameters: ``p``, a proportion in [0, 1]. Raises ValueError that names ``p``. Simon 1989, methods.

    PARACHUTE, statistical analysis: 69.2 % stop early and alpha is 4.3 % at 60 %; power is 90.1 % at 80 %:

    >>> design = TwoStage(r1=12, n1=19, r=37, n=53)
    >>> under_p0, under_p1 = operating_characteristics(design, 0.60), operating_characteristics(design, 0.80)
    >>> round(under_p0.early_termination, 3), round(under_p0.rejection, 3), round(under_p1.rejection, 3)
    (0.692, 0.043, 0.901)
    >>> round(under_p0.expected_n, 2)
    29.47
    """
    p = share("p", p)
    continuing = np.arange(design.r1 + 1, design.n1 + 1)
    reach = _binomial_pmf(continuing, design.n1, p)
    early_termination = _at_most(design.r1, design.n1, p)
    return OperatingCharacteristics(
        early_termination=float(early_termination),
        rejection=float(reach @ _at_least(design.r + 1 - continuing, design.n2, p)),
        expected_n=float(design.n1 + (1 - early_termination) * design.n2),
        p=float(p),
    )


# --- Search -----------------------------------------------------------------------------------------------------------


def search(p0: float, p1: float, *, alpha: float, beta: float, n_max: int | None = None) -> Designs:
    """The optimal, minimax and admissible two-stage designs that keep the error rates ``alpha`` and ``beta``.

    Parameters: ``p0`` < ``p1``, response rates not worth and worth pursuing; ``alpha`` and ``beta``, error rates;
    ``n_max``, the largest n allowed. Without ``n_max`` the search is global: it ends at the n from which no design can
    have a smaller expected n (see ``_Tables.stage_one_sizes_below``), and starts at the first n at which any test at
    all, two-stage or not, can keep both error rates (see ``_some_test_exists``). Of several boundaries r that serve one
    (r1, n1, n), the smallest is given: it has the most power. Raises ValueError that names the argument.

    The design of PARACHUTE is Simon's optimal one (Simon 1989, table 1):

    >>> found = search(0.60, 0.80, alpha=0.05, beta=0.10)
    >>> found.optimal
    TwoStage(r1=12, n1=19, r=37, n=53)
    >>> found.minimax
    TwoStage(r1=15, n1=26, r=32, n=45)
    """
    p0, p1 = probability("p0", p0), probability("p1", p1)
    if p1 <= p0:
        raise ValueError(f"p1: {p1:g} is not above p0 ({p0:g})")
    alpha, power = probability("alpha", alpha), 1 - probability("beta", beta)
    limit = LARGEST_N if n_max is None else whole_number("n_max", n_max, low=2, high=LARGEST_N)

    tables = _Tables(p0, p1, power, size=min(limit, 64))
    improving: list[tuple[float, TwoStage]] = []  # least expected n under p0 at each n that improves on every smaller n
    to_beat = math.inf
    n = 2
    while n <= limit:
        if n > tables.size:
            tables = _Tables(p0, p1, power, size=min(limit, 2 * tables.size))
        stage_one_sizes = tables.stage_one_sizes_below(n, to_beat)
        if improving and not stage_one_sizes.size:
            break
        best = _best_at(n, stage_one_sizes, tables, alpha, power, to_beat)
        if best is not None:
            to_beat = best[0]
            improving.append(best)
        n += 1
    else:
        if n_max is None:
            raise ValueError(
                f"p1: {p1:g} is so near p0 ({p0:g}) that the search would pass n = {LARGEST_N}; give n_max"
            )
    if not improving:
        raise ValueError(f"n_max: no design of up to {limit} participants keeps alpha {alpha:g} and beta {beta:g}")
    return Designs(
        optimal=improving[-1][1],
        minimax=improving[0][1],
        admissible=_lower_convex_hull(improving),
        p0=p0,
        p1=p1,
        alpha=alpha,
        beta=float(beta),
        searched_to=n - 1,
    )


class _Tables:
    """Binomial probabilities of all sizes up to ``size`` under p0 and p1, and what stage one can save at most."""

    def __init__(self, p0: float, p1: float, power: float, *, size: int) -> None:
        self.size, self.p0, self.p1 = size, p0, p1
        self.pmf0, self.tail0 = _binomial_tables(p0, size)
        self.pmf1, self.tail1 = _binomial_tables(p1, size)
        # Power is at most P(X1 > r1 | p1). So r1 is at most the largest r1 that leaves that much, and stage one of n1
        # lets the trial continue under p0 with at least this probability; infinity where no r1 >= 0 will do.
        sizes = np.arange(size + 1)
        self.largest_r1 = np.sum(self.tail1[:, 1:] >= power - ROUNDING, axis=1) - 1
        self.least_continuation = np.where(self.largest_r1 >= 0, self.tail0[sizes, self.largest_r1 + 1], math.inf)
        self.least_continuation[0] = math.inf

    def stage_one_sizes_below(self, n: int, to_beat: float) -> NDArray[np.intp]:
        """Sizes n1 of stage one that could bring the expected n of a design of ``n`` below ``to_beat``.

        Expected n is n1 + P(continue | n1, r1) (n - n1). For a given (n1, r1) it grows with n, and it is never below
        n1. So once the answer is empty at an n that is at least ``to_beat``, it is empty at every larger n: this is
        the proof that ends the search (``to_beat`` is an expected n of a smaller design, hence below n).
        """
        n1 = np.arange(n)
        possible = np.isfinite(self.least_continuation[:n])
        least = n1 + np.where(possible, self.least_continuation[:n], 1) * (n - n1)
        return np.flatnonzero(possible & (least < to_beat))


def _binomial_tables(p: float, size: int) -> tuple[Floats, Floats]:
    """P(X = k) and P(X >= k) for X ~ Binomial(m, p), as [m, k]: Pascal's rule, all terms positive."""
    pmf = np.zeros((size + 1, size + 2))
    pmf[0, 0] = 1
    for m in range(1, size + 1):
        pmf[m] = pmf[m - 1] * (1 - p)
        pmf[m, 1:] += pmf[m - 1, :-1] * p
    return pmf, np.cumsum(pmf[:, ::-1], axis=1)[:, ::-1]


def _some_test_exists(n: int, tables: _Tables, alpha: float, power: float) -> bool:
    """Whether any test of ``n`` observations at all, two-stage or not, can keep both error rates.

    The most powerful one rejects above some r and, at r itself, with the probability that uses up alpha (Neyman &
    Pearson).
    """
    error, success = tables.tail0[n, : n + 2], tables.tail1[n, : n + 2]
    above = int(np.argmax(error <= alpha + ROUNDING))
    if above == 0:
        return True
    share = (alpha - error[above]) / (error[above - 1] - error[above])
    return bool(success[above] + share * (success[above - 1] - success[above]) >= power - ROUNDING)


def _best_at(
    n: int, stage_one_sizes: NDArray[np.intp], tables: _Tables, alpha: float, power: float, to_beat: float
) -> tuple[float, TwoStage] | None:
    """The design of ``n`` with the least expected n under p0, if one keeps both error rates and beats ``to_beat``."""
    if not _some_test_exists(n, tables, alpha, power):
        return None
    found: tuple[float, TwoStage] | None = None
    at_once = max(1, 1_000_000 // n)  # bounds the memory, not the search
    for start in range(0, stage_one_sizes.size, at_once):
        n1 = stage_one_sizes[start : start + at_once]
        # A two-stage design has less power than one stage with the same r, so r starts at the largest that has enough.
        # Its type I error falls with r1 and rises as r falls, so a stage one whose largest r1 fails at r is done with.
        r = int(np.sum(tables.tail1[n, 1:] >= power - ROUNDING)) - 1
        while r >= 0:
            type_one_error = _success_by_stage_one(tables.pmf0, tables.tail0, n1, n, r)
            n1_index = np.flatnonzero(type_one_error[np.arange(n1.size), tables.largest_r1[n1]] <= alpha + ROUNDING)
            n1, type_one_error = n1[n1_index], type_one_error[n1_index]
            if not n1.size:
                break
            reached_power = _success_by_stage_one(tables.pmf1, tables.tail1, n1, n, r)
            width = reached_power.shape[1]
            keeps = (type_one_error[:, :width] <= alpha + ROUNDING) & (reached_power >= power - ROUNDING)
            keeps[:, r + 1 :] = False
            expected_n = n1[:, None] + tables.tail0[n1, 1 : width + 1] * (n - n1)[:, None]
            expected_n[~keeps] = math.inf
            i, r1 = np.unravel_index(np.argmin(expected_n), expected_n.shape)
            least = float(expected_n[i, r1])
            # Expected n does not depend on r: of equals, the smaller r comes later and has more power.
            if least < to_beat or (found is not None and least == to_beat):
                to_beat = least
                found = least, TwoStage(r1=int(r1), n1=int(n1[i]), r=r, n=n)
            r -= 1
    return found


def _success_by_stage_one(pmf: Floats, tail: Floats, n1: NDArray[np.intp], n: int, r: int) -> Floats:
    """P(X1 > r1 and T > r) for each stage-one size in ``n1`` (rows) and r1 = 0, 1, .. (columns)."""
    x1 = np.arange(1, n1[-1] + 1)
    still_needed = np.maximum(r + 1 - x1, 0)
    joint = pmf[n1, 1 : x1.size + 1] * tail[(n - n1)[:, None], still_needed]
    return np.asarray(np.cumsum(joint[:, ::-1], axis=1)[:, ::-1])


def _lower_convex_hull(improving: list[tuple[float, TwoStage]]) -> tuple[TwoStage, ...]:
    """The designs on the lower convex hull of the points (n, expected n under p0): Jung et al. 2004."""
    hull: list[tuple[float, TwoStage]] = []
    for expected_n, design in improving:
        while len(hull) >= 2:
            (e_before, before), (e_last, last) = hull[-2], hull[-1]
            if (e_last - e_before) * (design.n - before.n) < (expected_n - e_before) * (last.n - before.n):
                break
            hull.pop()
        hull.append((expected_n, design))
    return tuple(design for _, design in hull)


# --- Inference --------------------------------------------------------------------------------------------------------


def inference(
    design: TwoStage,
    *,
    p0: float,
    responses: int,
    stage1_responses: int,
    n: int | None = None,
    level: float = 0.95,
    method: str = "stagewise_exact",
) -> Inference:
    """Estimate, p value and confidence interval of the response rate after a two-stage trial.

    Parameters
    ----------
    responses, stage1_responses : responses in all, and among the ``n1`` of stage one.
    n : participants evaluated in all; ``None`` means as designed (``n1`` when stage one stopped the trial). Another n
        than the design's is over- or under-run of stage two.
    level : of the two-sided confidence interval.
    method : ``"stagewise_exact"`` orders outcomes by stage, then by responses, with the size stage two really had: the
        p value is P(at least the observed | p0) and the limits solve P(at least) = P(at most) = (1 - level) / 2 (Jung &
        Kim 2004; Clopper & Pearson's construction), so that coverage is never below ``level``.
        ``"koyama_chen"`` maps the outcome back to the planned stage two (Koyama & Chen 2008); its upper limit
        solves p value = 1 - (1 - level) / 2, which leaves out the observed outcome, and so its interval covers less
        than ``level`` says (PARACHUTE's design: the 95 % interval covers 0.911 at worst for rates of 0.5 to 0.95).

    The estimate is the uniformly minimum variance unbiased one in either case (Jung & Kim 2004).
    Raises ValueError that names the argument.

    PARACHUTE evaluated 51 instead of 53: 15 of 19, then 41 of 51 in all.

    >>> design = TwoStage(r1=12, n1=19, r=37, n=53)
    >>> result = inference(design, p0=0.60, responses=41, stage1_responses=15, n=51)
    >>> round(result.umvue, 3), round(result.p_value, 4), round(result.lower, 3), round(result.upper, 3)
    (0.808, 0.0016, 0.669, 0.902)
    """
    p0, level = probability("p0", p0), probability("level", level)
    limits_by = one_of("method", method, _METHODS)
    x1 = whole_number("stage1_responses", stage1_responses, high=design.n1)
    total_n = _size_reached(design, x1, n)
    n2 = total_n - design.n1
    x = whole_number("responses", responses, low=x1, high=x1 + n2)
    tail = (1 - level) / 2
    p_value, lower, upper = limits_by(design, p0, x1, x, n2, tail)
    return Inference(umvue=_umvue(design, x, n2), p_value=p_value, lower=lower, upper=upper, level=level, method=method)


def critical_total(design: TwoStage, *, p0: float, stage1_responses: int, n: int) -> int:
    """Smallest total of responses that is a success when stage two ends at ``n`` participants in all.

    The type I error that the design has left after stage one, P(X2 > r - x1 | p0) with the planned n2, is the level of
    the new stage two: this keeps the type I error of the whole whatever the reason for the change, as long as it does
    not depend on stage two (Mueller & Schaefer 2004). The answer is n + 1 when stage two has become too small for any
    success. Raises ValueError that names the argument, also when stage one has already stopped the trial.

    PARACHUTE: 15 of 19, then 51 instead of 53 evaluated; a success needed 37, and 38 as designed.

    >>> design = TwoStage(r1=12, n1=19, r=37, n=53)
    >>> [critical_total(design, p0=0.60, stage1_responses=15, n=n) for n in (51, 53)]
    [37, 38]
    """
    p0 = probability("p0", p0)
    x1 = whole_number("stage1_responses", stage1_responses, high=design.n1)
    if x1 <= design.r1:
        raise ValueError(f"stage1_responses: {x1} of {design.n1} stops the trial for futility; no total is a success")
    n2 = whole_number("n", n, low=design.n1) - design.n1
    conditional_error = _at_least(design.r + 1 - x1, design.n2, p0)
    x2 = np.arange(n2 + 2)
    return x1 + int(np.argmax(_at_least(x2, n2, p0) <= conditional_error * (1 + ROUNDING)))


def _size_reached(design: TwoStage, x1: int, n: int | None) -> int:
    """Participants evaluated in all, once it is clear that this fits the stage-one result."""
    if x1 <= design.r1:
        if n is not None and n != design.n1:
            raise ValueError(
                f"n: {n!r} does not fit stage1_responses {x1}: "
                f"the design stops at {design.r1} or fewer of {design.n1}, so n is {design.n1}"
            )
        return design.n1
    if n is None:
        return design.n
    reached = whole_number("n", n, low=1)
    if reached <= design.n1:
        raise ValueError(f"n: {reached} leaves no stage two after {design.n1}, but {x1} responses go on to stage two")
    return reached


def _umvue(design: TwoStage, x: int, n2: int) -> float:
    """E(X1 / n1 | T, stage): counts the orderings of x responses that pass stage one (Jung & Kim 2004)."""
    if n2 == 0:
        return x / design.n1
    passing = range(max(design.r1 + 1, x - n2), min(x, design.n1) + 1)
    with_first_a_response = sum(math.comb(design.n1 - 1, x1 - 1) * math.comb(n2, x - x1) for x1 in passing)
    return with_first_a_response / sum(math.comb(design.n1, x1) * math.comb(n2, x - x1) for x1 in passing)


def _stagewise_exact(design: TwoStage, p0: float, x1: int, x: int, n2: int, tail: float) -> tuple[float, float, float]:
    """P value and limits in the stage-wise ordering: any outcome of stage two ranks above any stop at stage one."""
    passing = np.arange(design.r1 + 1, design.n1 + 1)

    def at_least(p: float) -> float:
        if n2 == 0:
            return float(_at_least(x, design.n1, p))
        return float(_binomial_pmf(passing, design.n1, p) @ _at_least(x - passing, n2, p))

    def at_most(p: float) -> float:
        if n2 == 0:
            return float(_at_most(x, design.n1, p))
        stopped = _at_most(design.r1, design.n1, p)
        return float(stopped + _binomial_pmf(passing, design.n1, p) @ _at_most(x - passing, n2, p))

    lower = 0.0 if x == 0 else _root(lambda p: at_least(p) - tail)
    upper = 1.0 if x == design.n1 + n2 else _root(lambda p: at_most(p) - tail)
    return at_least(p0), lower, upper


def _koyama_chen(design: TwoStage, p0: float, x1: int, x: int, n2: int, tail: float) -> tuple[float, float, float]:
    """P value and limits of Koyama & Chen 2008.

    The conditional p value of the stage two that happened is carried to the planned one: pi* solves
    P(X2 >= r + 1 - x1 | pi*, planned n2) = P(X2 >= x - x1 | p, actual n2), and the p value is
    sum over passing x1' of P(X1 = x1' | p) P(X2 >= r + 1 - x1' | pi*, planned n2).
    """
    passing = np.arange(design.r1 + 1, design.n1 + 1)
    needed = design.r + 1 - x1
    if n2 and not 1 <= needed <= design.n2:
        raise ValueError(
            f"method: koyama_chen is not defined for stage1_responses {x1}, which decides the trial without stage two "
            f"(r is {design.r} of {design.n}); use 'stagewise_exact'"
        )

    def p_value(p: float) -> float:
        if n2 == 0:
            return float(_at_least(x, design.n1, p))
        conditional = _at_least(x - x1, n2, p)
        mapped = float(special.betaincinv(needed, design.n2 - needed + 1, conditional))
        return float(_binomial_pmf(passing, design.n1, p) @ _at_least(design.r + 1 - passing, design.n2, mapped))

    if x == 0:
        return 1.0, 0.0, 0.0  # the p value is 1 at every p: the set that the method accepts has shrunk to nothing
    return p_value(p0), _root(lambda p: p_value(p) - tail), _root(lambda p: p_value(p) - (1 - tail))


_METHODS = {"stagewise_exact": _stagewise_exact, "koyama_chen": _koyama_chen}


# --- Binomial probabilities -------------------------------------------------------------------------------------------


def _binomial_pmf(k: NDArray[Any], n: int, p: float) -> Floats:
    """P(X = k) for X ~ Binomial(n, p), 0 <= k <= n."""
    log_choose = -special.betaln(k + 1, n - k + 1) - math.log(n + 1)
    return np.asarray(np.exp(log_choose + special.xlogy(k, p) + special.xlog1py(n - k, -p)), dtype=float)


def _at_least(k: Any, n: int, p: float) -> Floats:
    """P(X >= k) for X ~ Binomial(n, p) and any integers k: the incomplete beta function (Clopper & Pearson 1934)."""
    inside = np.clip(k, 1, max(n, 1))
    tail = special.betainc(inside, np.maximum(n + 1 - inside, 1), p)
    return np.where(np.less_equal(k, 0), 1.0, np.where(np.greater(k, n), 0.0, tail))


def _at_most(k: Any, n: int, p: float) -> Floats:
    """P(X <= k) for X ~ Binomial(n, p), as that of at least n - k failures: 1 - P(X > k) would lose digits."""
    return _at_least(n - np.asarray(k), n, 1 - p)


def _root(f: Callable[[float], float]) -> float:
    """The proportion at which the monotone ``f`` changes sign."""
    return float(optimize.brentq(f, 0.0, 1.0, xtol=1e-15, rtol=1e-14))
