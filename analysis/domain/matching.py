"""Matching of treated to untreated participants on a propensity score, and how balanced it leaves them."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.domain import arguments, observations
from analysis.domain.newton import maximise, standardise
from analysis.domain.observations import Vector

CaliperUnit = Literal["sd", "score"]
Order = Literal["largest", "smallest", "data"]


def propensity_score(treated: npt.ArrayLike, x: npt.ArrayLike) -> Vector:
    """The probability of treatment given the covariates, fitted by logistic regression (maximum likelihood).

    Rosenbaum PR, Rubin DB (1983) Biometrika 70: 41-55. Parameters: ``treated`` (n,) 1 or 0; ``x`` (n, p), an intercept
    is added. Rows with the same covariates have exactly the same score.

    Raises ValueError when all are treated or none is, for a covariate that is constant or a combination of others, and
    when the covariates separate the treated from the others.

    Whatever the covariates, the fitted probabilities add up to the number of treated:

    >>> score = propensity_score([0, 0, 1, 0, 1, 1], [20, 30, 35, 40, 45, 28])
    >>> round(float(score.sum()), 9)
    3.0
    """
    taken = _treated(treated)
    matrix = observations.covariates(x, taken.size)
    standardised, _ = standardise(matrix)
    design = np.vstack((np.ones(taken.size), standardised))
    outcome = taken.astype(np.float64)

    def predictor(coef: Vector) -> Vector:
        # Row by row and not by a matrix product, whose rounding may differ between two equal rows.
        return np.asarray((design * coef[:, None]).sum(axis=0))

    def log_likelihood(coef: Vector) -> tuple[float, Vector, Vector]:
        eta = predictor(coef)
        fitted = _inverse_logit(eta)
        loglik = float(outcome @ eta - np.logaddexp(0, eta).sum())
        return loglik, design @ (outcome - fitted), (design * (fitted * (1 - fitted))) @ design.T

    maximum = maximise(log_likelihood, design.shape[0], first_column=1)
    return _inverse_logit(predictor(maximum.coef))


def _inverse_logit(eta: Vector) -> Vector:
    return np.asarray(1 / (1 + np.exp(-eta)))


def _treated(treated: npt.ArrayLike, n: int | None = None) -> npt.NDArray[np.bool_]:
    taken = observations.indicator(treated, "treated", n)
    if taken.all() or not taken.any():
        raise ValueError(
            f"treated holds one group only (all {int(taken[0])}); matching needs treated and untreated rows"
        )
    return taken


@dataclass(frozen=True)
class Balance:
    """Standardised mean differences, treated less controls, before and after matching: the score first, then each x.

    The denominator is the standard deviation of the treated before matching, sqrt(p (1 - p)) for a column of zeros and
    ones; where the treated do not vary, the root of the mean of both groups' variances. A matched control counts
    1 / (number of controls of its pair).
    """

    names: tuple[str, ...]
    before: Vector
    after: Vector
    method: str = "standardised mean difference, SD of the treated before matching"


@dataclass(frozen=True)
class Matching:
    """Who was matched with whom (0-based rows), how, and how balanced the groups are.

    ``pairs`` holds the matched treated in the order of the rows; ``unmatched`` the treated without a control in reach.
    ``caliper_on_score`` is the caliper in the unit of the score, whichever unit it was given in.
    """

    pairs: tuple[tuple[int, tuple[int, ...]], ...]
    unmatched: tuple[int, ...]
    balance: Balance
    ratio: int
    caliper: float | None
    caliper_unit: str
    caliper_on_score: float | None
    order: str
    method: str


def nearest_match(
    score: npt.ArrayLike,
    treated: npt.ArrayLike,
    *,
    x: npt.ArrayLike | None = None,
    ratio: int = 1,
    caliper: float | None = None,
    caliper_unit: CaliperUnit = "sd",
    order: Order = "largest",
) -> Matching:
    """Greedy nearest-neighbour matching without replacement, up to ``ratio`` controls for each treated row.

    Rosenbaum PR, Rubin DB (1985) Am Stat 39: 33-38; the pairs of MatchIt 4.7. In each of ``ratio`` rounds the treated,
    in the given ``order`` of their scores, take the nearest control left over. At equal distance the one with the lower
    score is taken, among equal scores the one whose row is nearest in the data, an earlier row before a later one.

    Parameters: ``score`` (n,) any number, such as a probability or its logit; ``treated`` (n,) 1 or 0; ``x`` (n, p) for
    the balance only; ``caliper`` the largest distance allowed, in standard deviations of the score over all rows ("sd",
    as MatchIt means 0.02) or on the score itself ("score", as SPSS means 0.02).

    Raises ValueError when all rows are treated or none is, and when no control lies within the caliper of anyone.

    >>> result = nearest_match([0.30, 0.50, 0.32, 0.10, 0.49], [1, 1, 0, 0, 0])
    >>> result.pairs
    ((0, (2,)), (1, (4,)))
    """
    value = observations.finite(score, "score")
    taken = _treated(treated, value.size)
    matrix = None if x is None else observations.covariates(x, value.size)
    ratio = arguments.whole_number("ratio", ratio, low=1)
    if caliper_unit not in ("sd", "score"):
        raise ValueError(f'caliper_unit is {caliper_unit!r}; it must be "sd" or "score"')
    if caliper is not None:
        caliper = arguments.between("caliper", caliper, 0, math.inf)
    reach = None
    if caliper is not None:
        reach = float(caliper) * (float(np.std(value, ddof=1)) if caliper_unit == "sd" else 1.0)

    matched = _greedy(value, taken, _queue(value, taken, order), ratio, np.inf if reach is None else reach)
    pairs = tuple((row, tuple(controls)) for row, controls in sorted(matched.items()) if controls)
    if not pairs:
        raise ValueError(
            f"caliper {caliper} ({caliper_unit}) leaves no treated row a control: the caliper is {reach:g} on the score"
        )
    return Matching(
        pairs=pairs,
        unmatched=tuple(row for row, controls in sorted(matched.items()) if not controls),
        balance=_balance(value, taken, matrix, pairs),
        ratio=ratio,
        caliper=caliper,
        caliper_unit=caliper_unit,
        caliper_on_score=reach,
        order=order,
        method=f"nearest neighbour without replacement, 1:{ratio}, {order} score first"
        if order != "data"
        else f"nearest neighbour without replacement, 1:{ratio}, in the order of the data",
    )


def _queue(score: Vector, treated: npt.NDArray[np.bool_], order: str) -> list[int]:
    """The treated rows in the order in which they choose."""
    rows = np.flatnonzero(treated)
    match order:
        case "largest":
            rows = rows[np.argsort(-score[rows], kind="stable")]
        case "smallest":
            rows = rows[np.argsort(score[rows], kind="stable")]
        case "data":
            pass
        case _:
            raise ValueError(f'order is {order!r}; it must be "largest", "smallest" or "data"')
    return [int(row) for row in rows]


def _greedy(
    score: Vector, treated: npt.NDArray[np.bool_], queue: list[int], ratio: int, reach: float
) -> dict[int, list[int]]:
    """The controls of each treated row.

    All rows stand in a line by score. ``below[i]`` and ``above[i]`` point from place i towards the nearest free control
    on either side; a place that is taken points on, and paths are shortened as they are walked, so that a search takes
    nearly constant time.
    """
    line = np.argsort(score, kind="stable")
    n = line.size
    row_at = line.tolist()
    value = score[line].tolist()
    place_of = np.empty(n, dtype=np.int64)
    place_of[line] = np.arange(n)
    place = place_of.tolist()
    free = ~treated[line]
    places = np.arange(n + 2)
    # Shifted by one: place 0 and place n + 1 are the ends of the line, where no one stands.
    below = np.where(np.concatenate(([True], free, [True])), places, places - 1).tolist()
    above = np.where(np.concatenate(([True], free, [True])), places, places + 1).tolist()

    def nearest(pointers: list[int], i: int) -> int:
        while pointers[i] != i:
            pointers[i] = pointers[pointers[i]]
            i = pointers[i]
        return i

    controls: dict[int, list[int]] = {row: [] for row in queue}
    for _ in range(ratio):
        left_over: list[int] = []
        for row in queue:
            here = place[row] + 1
            low, high = nearest(below, here), nearest(above, here)
            down = value[here - 1] - value[low - 1] if low > 0 else np.inf
            up = value[high - 1] - value[here - 1] if high <= n else np.inf
            if min(down, up) > reach or min(down, up) == np.inf:
                continue  # the free controls only become fewer: no later round has one for this row
            chosen = low if down <= up else high
            below[chosen], above[chosen] = chosen - 1, chosen + 1
            controls[row].append(row_at[chosen - 1])
            left_over.append(row)
        queue = left_over
    return controls


def _balance(
    score: Vector,
    treated: npt.NDArray[np.bool_],
    x: Vector | None,
    pairs: tuple[tuple[int, tuple[int, ...]], ...],
) -> Balance:
    columns = score[:, None] if x is None else np.column_stack((score, x))
    binary = ((columns == 0) | (columns == 1)).all(axis=0)
    variances = []
    for group in (columns[treated], columns[~treated]):
        share = group.mean(axis=0)
        sample = group.var(axis=0, ddof=1) if len(group) > 1 else np.zeros(group.shape[1])
        variances.append(np.where(binary, share * (1 - share), sample))
    of_treated, of_others = variances
    variance = np.where(of_treated > 0, of_treated, (of_treated + of_others) / 2)

    weight = np.zeros(score.size)
    kept = [row for row, _ in pairs]
    for _, controls in pairs:
        weight[list(controls)] = 1 / len(controls)
    before = columns[treated].mean(axis=0) - columns[~treated].mean(axis=0)
    after = columns[kept].mean(axis=0) - weight @ columns / weight.sum()

    def standardised(difference: Vector) -> Vector:
        return np.divide(difference, np.sqrt(variance), out=np.zeros_like(difference), where=variance > 0)

    names = ("score", *(f"x[{j}]" for j in range(columns.shape[1] - 1)))
    return Balance(names, standardised(before), standardised(after))
