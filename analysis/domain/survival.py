"""Survival: Kaplan-Meier curves, log-rank tests, Cox regression and the test of its proportional hazards.

At one time, events come before losses (Kaplan EL, Meier P (1958) J Am Stat Assoc 53: 457-481, p. 461). Times that
differ by less than rounding are one time, as in R's survival: the results are those of its survfit, survdiff, coxph and
cox.zph.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri
from scipy.stats import chi2, rankdata

from analysis.domain import arguments, observations
from analysis.domain.newton import maximise, standardise
from analysis.domain.observations import SAME_TIME_IN_SURVIVAL, Codes, Label, Vector

Counts = npt.NDArray[np.int64]
SurvivalConf = Literal["plain", "log", "log-log", "arcsin", "logit"]
Ties = Literal["efron", "breslow"]
TimeTransform = Literal["km", "rank", "identity", "log"]

SINGULAR = 1e-11  # smallest eigenvalue of a variance in the form of a correlation
SAME_HEIGHT = float(np.sqrt(np.finfo(np.float64).eps))  # of a curve, when a quantile is read from it


# Curves ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CurveAt:
    """A step curve read at chosen times: the estimate and its limits then, and the counts behind it."""

    time: Vector
    n_risk: Counts
    n_event: Counts
    n_censor: Counts
    estimate: Vector
    std_error: Vector
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class Interval:
    """Estimates with their confidence limits."""

    estimate: Vector
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class RestrictedMean:
    """An area under a curve up to the horizon tau, in the unit of the times, and its standard error."""

    estimate: float
    std_error: float
    tau: float
    method: str


@dataclass(frozen=True)
class StepCurve:
    """A right-continuous step curve with one row for each distinct time, censored times included."""

    time: Vector
    n_risk: Counts
    n_event: Counts
    n_censor: Counts
    estimate: Vector
    std_error: Vector
    lower: Vector
    upper: Vector
    level: float
    conf: str
    method: str

    height_at_zero = 1.0

    def at(self, t: npt.ArrayLike) -> CurveAt:
        """The curve at the times ``t`` (a number or (m,)), its last value being held; fields have the shape of ``t``.

        ``n_risk`` counts those still at risk at t. ``n_event`` and ``n_censor`` count since the asked time before t, as
        in R's ``summary(survfit, times=)``, so that each event is counted once.

        Raises ValueError for times that are missing or negative.
        """
        shape = np.shape(t)
        asked = observations.times(np.atleast_1d(np.asarray(t)), "t")
        slack = observations.SAME_TIME_BUT_FOR_ROUNDING * max(1.0, float(self.time[-1]))
        row = np.searchsorted(self.time, asked + slack, side="right")
        at_or_after = np.searchsorted(self.time, asked - slack, side="left")

        def step(values: Vector, before: float) -> Vector:
            return np.concatenate(([before], values))[row].reshape(shape)

        # Two times asked may lie on one step of the curve: then nothing happened between them.
        _, first, place = np.unique(asked, return_index=True, return_inverse=True)

        def since_last(counts: Counts) -> Counts:
            so_far = np.concatenate(([0], np.cumsum(counts)))
            return np.diff(so_far[row[first]], prepend=0)[place].reshape(shape)

        return CurveAt(
            time=asked.reshape(shape),
            n_risk=np.concatenate((self.n_risk, [0]))[at_or_after].reshape(shape),
            n_event=since_last(self.n_event),
            n_censor=since_last(self.n_censor),
            estimate=step(self.estimate, self.height_at_zero),
            std_error=step(self.std_error, 0.0),
            lower=step(self.lower, self.height_at_zero),
            upper=step(self.upper, self.height_at_zero),
        )

    def _event_free(self) -> tuple[Vector, Vector, Vector]:
        """The curve of those still without the event, and the limits on its lower and on its upper side."""
        return self.estimate, self.lower, self.upper

    def quantile(self, q: npt.ArrayLike) -> Interval:
        """The times by which a share ``q`` (a number or (m,)) has had the event, nan where the curve is not so far.

        R's rule: where the curve runs level at exactly 1 - q, the middle of that level; and the limits are the same
        quantile of the limits of the curve (Brookmeyer R, Crowley J (1982) Biometrics 38: 29-41).

        Raises ValueError for a share outside of [0, 1].
        """
        shares = np.atleast_1d(observations.numbers(q, "q"))
        if not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f"q is {q!r}; shares must lie between 0 and 1")
        estimate, lower, upper = (
            np.array([_first_below(self.time, curve, 1 - share) for share in shares.tolist()]).reshape(np.shape(q))
            for curve in self._event_free()
        )
        return Interval(estimate, lower, upper)


def _first_below(time: Vector, curve: Vector, height: float) -> float:
    """Where a falling curve passes ``height``; the middle of the level, where it stays at that height for a while.

    Limits of a curve may rise a little at an event. Then, as in R, the point is taken whose value is the next below.
    """

    def passes(bound: float) -> float:
        below = np.where(curve <= bound, curve, -np.inf)  # nan is never below
        highest = int(np.argmax(below))
        return float(time[highest]) if below[highest] > -np.inf else np.nan

    if height >= 1:
        return 0.0
    if abs(curve[-1] - height) < SAME_HEIGHT:
        return (passes(height + SAME_HEIGHT) + float(time[-1])) / 2
    return (passes(height + SAME_HEIGHT) + passes(height - SAME_HEIGHT)) / 2


@dataclass(frozen=True)
class KaplanMeier(StepCurve):
    """The Kaplan-Meier estimate of a survival function."""

    def rmst(self, tau: float) -> RestrictedMean:
        """The restricted mean survival time: the area under the curve up to ``tau``, its last value being held.

        The variance is Greenwood's: the sum over event times of (area from t to tau)^2 d / (n (n - d)).
        Andersen PK, Hansen MG, Klein JP (2004) Lifetime Data Anal 10: 335-350. Raises ValueError unless tau > 0.
        """
        area_after, total = area_to_horizon(self.time, self.estimate, self.height_at_zero, tau)
        n, d = self.n_risk.astype(np.float64), self.n_event.astype(np.float64)
        weight = np.divide(d, n * (n - d), out=np.zeros_like(n), where=n > d)
        variance = float(area_after**2 @ weight)
        return RestrictedMean(total, float(np.sqrt(variance)), float(tau), "restricted mean survival time, Greenwood")


def area_to_horizon(time: Vector, height: Vector, height_at_zero: float, tau: float) -> tuple[Vector, float]:
    """The area under a step curve from each of its times to ``tau`` (nought after tau), and from zero to ``tau``."""
    tau = arguments.between("tau", tau, 0, math.inf)
    start = np.minimum(np.concatenate(([0.0], time)), tau)
    width = np.diff(start, append=tau)
    area = np.cumsum((width * np.concatenate(([height_at_zero], height)))[::-1])[::-1]
    return area[1:], float(area[0])


def kaplan_meier(
    time: npt.ArrayLike, event: npt.ArrayLike, *, level: float = 0.95, conf: SurvivalConf = "log"
) -> KaplanMeier:
    """The Kaplan-Meier curve with Greenwood's standard error.

    Parameters: ``time`` (n,), ``event`` (n,) 1 = event, 0 = censored; ``conf`` is the scale on which the limits are
    symmetric. The limits are clipped to [0, 1]; they are 1 while the curve is 1. Standard error and limits are nan
    where the curve is 0, as in R.

    Raises ValueError, which names argument and row, for what is not a time or an event.

    Remission of acute leukaemia on 6-mercaptopurine, 21 patients (Freireich EJ et al. (1963) Blood 21: 699-716):

    >>> weeks = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    >>> relapse = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    >>> fit = kaplan_meier(weeks, relapse)
    >>> fit.at([6, 10, 23]).estimate.round(4).tolist()
    [0.8571, 0.7529, 0.4482]
    >>> float(fit.quantile(0.5).estimate)
    23.0
    """
    clock = observations.times(time)
    died = observations.indicator(event, "event", clock.size)
    z = float(ndtri(0.5 + observations.confidence_level(level) / 2))
    distinct, n_risk, n_event, n_censor = _life_table(observations.merge_ties(clock, SAME_TIME_IN_SURVIVAL), died)
    n, d = n_risk.astype(np.float64), n_event.astype(np.float64)
    survival = np.asarray(np.cumprod(1 - d / n), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative_error = np.sqrt(np.cumsum(d / (n * (n - d))))  # Greenwood (1926): the standard error of log S
        std_error = survival * relative_error  # nan once the curve is 0, where it is not defined
        lower, upper = _survival_limits(survival, relative_error, z, conf)
    return KaplanMeier(
        distinct, n_risk, n_event, n_censor, survival, std_error, lower, upper,
        level=float(level), conf=conf, method="Kaplan-Meier, Greenwood",
    )  # fmt: skip


def _life_table(time: Vector, event: npt.NDArray[np.bool_]) -> tuple[Vector, Counts, Counts, Counts]:
    """Distinct times, and at each the number at risk, with the event, and censored."""
    distinct, slot = np.unique(time, return_inverse=True)
    leaving = np.bincount(slot)
    n_event = np.bincount(slot[event], minlength=distinct.size)
    n_risk = time.size - np.concatenate(([0], np.cumsum(leaving)[:-1]))
    return distinct, n_risk, n_event, leaving - n_event


def _survival_limits(s: Vector, relative_error: Vector, z: float, conf: str) -> tuple[Vector, Vector]:
    """Limits on the scale ``conf``: Kalbfleisch JD, Prentice RL (2002) p. 17; arcsin: Borgan, Liestol (1990)."""
    half = z * relative_error
    match conf:
        case "plain":
            limits = s - half * s, s + half * s
        case "log":
            limits = s * np.exp(-half), s * np.exp(half)
        case "log-log":
            limits = s ** np.exp(-half / np.log(s)), s ** np.exp(half / np.log(s))
        case "logit":
            limits = expit(logit(s) - half / (1 - s)), expit(logit(s) + half / (1 - s))
        case "arcsin":
            angle, arc = np.arcsin(np.sqrt(s)), half / 2 * np.sqrt(s / (1 - s))
            limits = np.sin(np.maximum(angle - arc, 0)) ** 2, np.sin(np.minimum(angle + arc, np.pi / 2)) ** 2
        case _:
            raise ValueError(f'conf is {conf!r}; it must be "plain", "log", "log-log", "arcsin" or "logit"')
    lower, upper = (np.where(s < 1, np.clip(limit, 0, 1), 1.0) for limit in limits)
    lower[s <= 0] = upper[s <= 0] = np.nan
    return lower, upper


# Tests ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogRank:
    """A log-rank test: weighted observed and expected events for each group, over all strata."""

    statistic: float
    df: int
    p_value: float
    groups: tuple[Label, ...]
    observed: Vector
    expected: Vector
    method: str


def log_rank(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    group: npt.ArrayLike,
    *,
    rho: float = 0.0,
    strata: npt.ArrayLike | None = None,
) -> LogRank:
    """The G-rho test of k groups: rho = 0 is the log-rank test, rho = 1 Peto and Peto's Wilcoxon test.

    Harrington DP, Fleming TR (1982) Biometrika 69: 553-566: each event is weighted by S(t-)^rho, S being the
    Kaplan-Meier curve of the whole stratum.

    Raises ValueError for one group only, for no event, and when no two groups are ever at risk together.

    >>> weeks = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    >>> relapse = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    >>> placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    >>> test = log_rank(weeks + placebo, relapse + [1] * 21, ["6-MP"] * 21 + ["placebo"] * 21)
    >>> round(test.statistic, 2), test.expected.round(2).tolist()    # Kleinbaum & Klein, Survival Analysis, ch. 2
    (16.79, [19.25, 10.75])
    """
    clock = observations.times(time)
    died = observations.indicator(event, "event", clock.size)
    groups, member = observations.labels(group, "group", clock.size)
    observations.at_least_two(groups)
    rho = arguments.finite_number("rho", rho)
    if not died.any():
        raise ValueError("event holds no event; a log-rank test needs at least one")
    clock = observations.merge_ties(clock, SAME_TIME_IN_SURVIVAL)

    k = len(groups)
    observed, expected, variance = np.zeros(k), np.zeros(k), np.zeros((k, k))
    for rows in stratum_rows(strata, clock):
        if not died[rows].any():
            continue
        at_risk, deaths = _risk_table(clock[rows], died[rows], member[rows], k)
        y, d = at_risk.sum(axis=1), deaths.sum(axis=1)
        weight = np.concatenate(([1.0], np.cumprod(1 - d / y)[:-1])) ** rho
        share = at_risk / y[:, None]
        observed += weight @ deaths
        expected += (weight * d) @ share
        hypergeometric = weight**2 * d * (y - d) / np.maximum(y - 1, 1)
        variance += np.diag(hypergeometric @ share) - (share * hypergeometric[:, None]).T @ share
    reached = expected > 0
    statistic = quadratic_form((observed - expected)[reached], variance[np.ix_(reached, reached)])
    df = int(reached.sum()) - 1
    name = "log-rank" if rho == 0 else f"G-rho, rho = {rho:g}"
    return LogRank(
        statistic, df, float(chi2.sf(statistic, df)), groups, observed, expected,
        method=name if strata is None else f"{name}, stratified",
    )  # fmt: skip


def stratum_rows(strata: npt.ArrayLike | None, time: Vector) -> Iterator[Counts]:
    """The rows of each stratum by time: on sorted times, all that follows runs several times faster."""
    if strata is None:
        yield np.argsort(time, kind="stable")
        return
    _, code = observations.labels(strata, "strata", time.size)
    order = np.lexsort((time, code))
    yield from np.split(order, np.flatnonzero(np.diff(code[order])) + 1)


def _risk_table(time: Vector, event: npt.NDArray[np.bool_], member: Codes, k: int) -> tuple[Vector, Vector]:
    """At each distinct event time, the numbers at risk and the numbers of events of each of ``k`` groups."""
    event_times, slot = np.unique(time[event], return_inverse=True)
    m = event_times.size
    deaths = np.bincount(slot * k + member[event], minlength=m * k).reshape(m, k)
    last_at_risk = np.searchsorted(event_times, time, side="right")  # at risk at the first so many event times
    leaving = np.bincount(last_at_risk * k + member, minlength=(m + 1) * k).reshape(m + 1, k)
    at_risk = np.cumsum(leaving[::-1], axis=0)[::-1][1:]
    return at_risk.astype(np.float64), deaths.astype(np.float64)


def quadratic_form(score: Vector, variance: Vector) -> float:
    """score' V^- score of a score that sums to zero over the groups: the last group says nothing new.

    Raises ValueError when V has not rank k - 1, because some groups are never at risk together.
    """
    z, v = score[:-1], variance[:-1, :-1]
    scale = np.sqrt(np.maximum(np.diag(v), 0.0))
    if z.size == 0 or not (scale > 0).all() or np.linalg.eigvalsh(v / np.outer(scale, scale))[0] <= SINGULAR:
        raise ValueError(
            "the groups cannot be compared (singular variance): at no event of any stratum are members of two groups "
            "at risk together, or they fall into sets that never are, or too few are at risk at tied events"
        )
    return float(z @ np.linalg.solve(v, z))


# Cox regression -------------------------------------------------------------------------------------------------------


class RiskSets:
    """Who is at risk at which event, for standardised covariates in rows (p, n).

    Rows are sorted by stratum and time. A *moment* is one event time of one stratum: its events share one risk set, all
    those of the stratum with start < t <= time. The sum over it is a cumulative sum from the stratum's last row
    backwards, less the same sum over those who enter at t or later.
    """

    def __init__(
        self,
        time: Vector,
        event: npt.NDArray[np.bool_],
        x: Vector,
        stratum: Codes,
        start: Vector | None,
        ties: Ties,
    ) -> None:
        clock = np.unique(time if start is None else np.concatenate((time, start)))
        leaves = stratum * clock.size + np.searchsorted(clock, time)  # one number that sorts by stratum, then time
        order = np.argsort(leaves, kind="stable")
        leaves, stratum = leaves[order], stratum[order]
        self.time, self.event, self.x = time[order], event[order], np.ascontiguousarray(x[:, order])
        self.start = None if start is None else start[order]

        self.dead = np.flatnonzero(self.event)
        moments, moment_of_event = np.unique(leaves[self.dead], return_inverse=True)
        self.moment_of_event: Counts = moment_of_event
        self.first_at_risk: Counts = np.asarray(np.searchsorted(leaves, moments))
        deaths = np.bincount(self.moment_of_event)
        self.first_event = np.cumsum(deaths) - deaths
        # Efron: the l-th of d tied events leaves a share l/d of the tied out of its risk set; Breslow leaves all in.
        order_in_tie = np.arange(self.dead.size) - self.first_event[self.moment_of_event]
        self.left_out = order_in_tie / deaths[self.moment_of_event] * (ties == "efron")
        self.x_of_dead = self.x[:, self.dead]

        self.block_start = np.flatnonzero(np.diff(stratum, prepend=-1))
        self.block_of_row = np.cumsum(np.diff(stratum, prepend=-1) != 0) - 1
        self.moments_until = np.searchsorted(moments, leaves, side="right")
        if self.start is None:
            self.moments_before = np.searchsorted(moments, stratum * clock.size)
        else:
            enters = stratum * clock.size + np.searchsorted(clock, self.start)
            self.moments_before = np.searchsorted(moments, enters, side="right")
            self.by_entry = np.argsort(enters, kind="stable")
            self.first_later: Counts = np.asarray(np.searchsorted(enters[self.by_entry], moments))
            stratum_end = np.searchsorted(stratum, moments // clock.size, side="right")
            self.some_later = self.first_later < stratum_end

    def at_risk(self, rows: Vector) -> Vector:
        """The sums of ``rows`` (k, n) over the risk set of each moment: (k, moments)."""
        sums = self._backward(rows)[:, self.first_at_risk]
        if self.start is not None:
            later = self._backward(rows[:, self.by_entry])
            sums[:, self.some_later] -= later[:, self.first_later[self.some_later]]
        return sums

    def _backward(self, rows: Vector) -> Vector:
        sums = np.empty_like(rows)
        ends = np.append(self.block_start[1:], rows.shape[1])
        for first, end in zip(self.block_start.tolist(), ends.tolist(), strict=True):
            np.cumsum(rows[:, first:end][:, ::-1], axis=1, out=sums[:, first:end][:, ::-1])
        return sums

    def among_tied(self, rows: Vector) -> Vector:
        """The sums of ``rows`` (k, events) over the tied events of each moment: (k, moments)."""
        return np.asarray(np.add.reduceat(rows, self.first_event, axis=1))

    def while_at_risk(self, increments: Vector) -> Vector:
        """For each row, the sum of ``increments`` (moments,) over the moments at which it is at risk: (n,)."""
        total = np.concatenate(([0.0], np.cumsum(increments)))
        return total[self.moments_until] - total[self.moments_before]

    def relative_hazard(self, coef: Vector) -> tuple[Vector, Vector]:
        """The linear predictor less its largest value in the stratum, which cancels, and its exponential."""
        predictor = coef @ self.x
        predictor = predictor - np.maximum.reduceat(predictor, self.block_start)[self.block_of_row]
        return predictor, np.exp(predictor)

    def risk_set_means(self, hazard: Vector) -> tuple[Vector, Vector]:
        """For each event, the sum of hazards over its risk set (events,), and the mean covariates there (p, events)."""
        weighted = np.vstack((hazard, self.x * hazard))
        sums = self.at_risk(weighted)[:, self.moment_of_event]
        if self.left_out.any():
            tied = self.among_tied(weighted[:, self.dead])
            sums = sums - self.left_out * tied[:, self.moment_of_event]
        return sums[0], sums[1:] / sums[0]

    def information(self, hazard: Vector, total: Vector, mean: Vector, weight: Vector | None = None) -> Vector:
        """The sum over events of ``weight`` times the covariance of the covariates in the risk set: (p, p).

        The second moments need no (n, p, p) array: a row counts with its hazard times all increments 1/total while it
        was at risk, so that X' diag(.) X is one product.
        """
        per_event = (1.0 if weight is None else weight) / total
        increments = self.among_tied(np.vstack((per_event, per_event * self.left_out)))
        exposure = self.while_at_risk(increments[0])
        exposure[self.dead] -= increments[1][self.moment_of_event]
        second = (self.x * (hazard * exposure)) @ self.x.T
        return np.asarray(second - (mean if weight is None else mean * weight) @ mean.T)

    def log_likelihood(self, coef: Vector) -> tuple[float, Vector, Vector]:
        """Cox's partial log likelihood, its gradient and the information."""
        predictor, hazard = self.relative_hazard(coef)
        total, mean = self.risk_set_means(hazard)
        loglik = float(predictor[self.dead].sum() - np.log(total).sum())
        return loglik, (self.x_of_dead - mean).sum(axis=1), self.information(hazard, total, mean)


@dataclass(frozen=True)
class HazardModel:
    """A fitted log-linear hazard: coefficients (p,), their covariance (p, p), and the log likelihood (null, final)."""

    coef: Vector
    std_error: Vector
    covariance: Vector
    loglik: tuple[float, float]
    n: int
    n_event: int
    method: str

    def hazard_ratio(self, level: float = 0.95) -> Interval:
        """exp(coef) with Wald limits, for each covariate."""
        half = float(ndtri(0.5 + observations.confidence_level(level) / 2)) * self.std_error
        return Interval(np.exp(self.coef), np.exp(self.coef - half), np.exp(self.coef + half))

    @property
    def p_value(self) -> Vector:
        """Wald's two-sided p value of each covariate."""
        return np.asarray(chi2.sf((self.coef / self.std_error) ** 2, 1))


@dataclass(frozen=True)
class CoxModel(HazardModel):
    """A fitted Cox model, with what the test of its assumption needs."""

    ties: str
    _risk_sets: RiskSets = field(repr=False, compare=False)
    _standardised_coef: Vector = field(repr=False, compare=False)


def cox(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    x: npt.ArrayLike,
    *,
    ties: Ties = "efron",
    strata: npt.ArrayLike | None = None,
    start: npt.ArrayLike | None = None,
) -> CoxModel:
    """Cox's proportional hazards model.

    Cox DR (1972) J R Stat Soc B 34: 187-220; ties after Efron B (1977) J Am Stat Assoc 72: 557-565 or Breslow N (1974)
    Biometrics 30: 89-99. Parameters: ``x`` (n, p); ``strata`` (n,) each with its own baseline hazard; ``start`` (n,)
    makes each row the interval (start, time], for late entry and for covariates that change with time.

    Raises ValueError for no event, a covariate that is constant or a combination of others, and a monotone likelihood.

    >>> weeks = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    >>> relapse = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    >>> placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    >>> fit = cox(weeks + placebo, relapse + [1] * 21, [0] * 21 + [1] * 21, ties="breslow")
    >>> fit.coef.round(3).tolist(), fit.std_error.round(3).tolist()    # Kleinbaum & Klein, Survival Analysis, ch. 3
    ([1.509], [0.41])
    """
    clock = observations.times(time)
    n = clock.size
    died = observations.indicator(event, "event", n)
    matrix = observations.covariates(x, n)
    if ties not in ("efron", "breslow"):
        raise ValueError(f'ties is {ties!r}; it must be "efron" or "breslow"')
    stratum = np.zeros(n, dtype=np.int64) if strata is None else observations.labels(strata, "strata", n)[1]
    entry = None if start is None else observations.times(start, "start", n)
    if entry is None:
        clock = observations.merge_ties(clock, SAME_TIME_IN_SURVIVAL)
    else:
        both = observations.merge_ties(np.concatenate((clock, entry)), SAME_TIME_IN_SURVIVAL)
        clock, entry = both[:n], both[n:]
        late = entry >= clock
        if late.any():
            row = int(np.argmax(late))
            raise ValueError(f"start[{row}] is {entry[row]:g}; it must be before time[{row}], {clock[row]:g}")
    if not died.any():
        raise ValueError("event holds no event; a Cox model needs at least one")

    standardised, sd = standardise(matrix)
    risk_sets = RiskSets(clock, died, standardised, stratum, entry, ties)
    maximum = maximise(risk_sets.log_likelihood, matrix.shape[1])
    covariance = np.linalg.inv(maximum.information) / np.outer(sd, sd)
    return CoxModel(
        coef=maximum.coef / sd,
        std_error=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        loglik=maximum.loglik,
        n=n,
        n_event=int(died.sum()),
        method=f"Cox, {ties.capitalize()} ties" + ("" if strata is None else ", stratified"),
        ties=ties,
        _risk_sets=risk_sets,
        _standardised_coef=maximum.coef,
    )


@dataclass(frozen=True)
class ProportionalHazardsTest:
    """Does the effect of a covariate change with time? One test for each covariate, and one for all together."""

    statistic: Vector
    df: Counts
    p_value: Vector
    global_statistic: float
    global_df: int
    global_p_value: float
    method: str


def proportional_hazards_test(fit: CoxModel, *, transform: TimeTransform = "km") -> ProportionalHazardsTest:
    """The score test for coefficients of the form beta + theta g(t), at theta = 0.

    Grambsch PM, Therneau TM (1994) Biometrika 81: 515-526, as the full score test of survival >= 3 and not its former
    approximation by a constant variance. ``transform`` g: "km" is 1 - S(t-) of the whole sample, "rank" ranks all
    times, censored ones too, "identity" and "log" are the time and its logarithm.

    Raises ValueError for the logarithm of an event at time 0, for a single event time, and for too few events.
    """
    risk_sets = fit._risk_sets
    g = _time_transform(risk_sets, transform)
    g = g - g.mean()  # leaves the test as it is, because the score of beta is zero, and keeps the digits
    if not np.abs(g).max() > 0:
        raise ValueError("all events fall on one time; whether an effect changes with time cannot be tested")
    _, hazard = risk_sets.relative_hazard(fit._standardised_coef)
    total, mean = risk_sets.risk_set_means(hazard)
    score = (risk_sets.x_of_dead - mean) @ g
    beta_beta = risk_sets.information(hazard, total, mean)
    theta_beta = risk_sets.information(hazard, total, mean, g)
    theta_theta = risk_sets.information(hazard, total, mean, g * g)
    adjusted = theta_theta - theta_beta @ np.linalg.solve(beta_beta, theta_beta)
    scale = np.sqrt(np.diag(theta_theta))
    if not (scale > 0).all() or np.linalg.eigvalsh(adjusted / np.outer(scale, scale))[0] <= SINGULAR:
        raise ValueError(
            f"{fit.n_event} events do not tell {score.size} effects that change with time from constant ones (singular"
            " information); test a model with fewer covariates"
        )
    # One covariate at a time leaves the other thetas at zero: the diagonal of the adjusted information itself.
    statistic = score**2 / np.diag(adjusted)
    overall = float(score @ np.linalg.solve(adjusted, score))
    p = score.size
    return ProportionalHazardsTest(
        statistic=statistic,
        df=np.ones(p, dtype=np.int64),
        p_value=np.asarray(chi2.sf(statistic, 1)),
        global_statistic=overall,
        global_df=p,
        global_p_value=float(chi2.sf(overall, p)),
        method=f"Grambsch-Therneau score test, transform {transform}",
    )


def _time_transform(risk_sets: RiskSets, transform: str) -> Vector:
    """g at the time of each event."""
    event_time = risk_sets.time[risk_sets.dead]
    match transform:
        case "identity":
            return event_time
        case "log":
            if not (event_time > 0).all():
                raise ValueError('transform "log" is not defined for an event at time 0; use "km" or "rank"')
            return np.log(event_time)
        case "rank":
            return np.asarray(rankdata(risk_sets.time)[risk_sets.dead], dtype=np.float64)
        case "km":
            distinct, n_event = np.unique(event_time, return_counts=True)
            n_risk = risk_sets.time.size - np.searchsorted(np.sort(risk_sets.time), distinct)
            if risk_sets.start is not None:
                n_risk = n_risk - (risk_sets.time.size - np.searchsorted(np.sort(risk_sets.start), distinct))
            before = np.concatenate(([1.0], np.cumprod(1 - n_event / n_risk)[:-1]))
            return 1 - before[np.searchsorted(distinct, event_time)]
        case _:
            raise ValueError(f'transform is {transform!r}; it must be "km", "rank", "identity" or "log"')
