"""What a two-stage trial can still come to: the probability of success, given the responses so far.

Exact binomial sums; no approximation, no simulation. A committee reads it at several response rates, because the rate
is what nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from analysis.domain.arguments import share, whole_number
from analysis.domain.simon import TwoStage


@dataclass(frozen=True)
class Outlook:
    """What the design says of ``responses`` among ``decided``: whether either end is still possible, and how likely.

    ``power`` maps a response rate's name to the conditional probability of success at that rate.
    """

    responses: int
    decided: int
    is_success_possible: bool
    is_success_certain: bool
    power: tuple[tuple[str, float, float], ...]


def conditional_power(design: TwoStage, *, responses: int, decided: int, p: float) -> float:
    """The probability that the trial ends as a success, given ``responses`` among the first ``decided`` participants.

    Within stage one the trial must still pass it: more than r1 of n1, then more than r of n; beyond it, it has. Raises
    ValueError that names the argument.

    PARACHUTE after stage one, 15 of 19, were the true rate 60 %:

    >>> round(conditional_power(TwoStage(r1=12, n1=19, r=37, n=53), responses=15, decided=19, p=0.60), 3)
    0.233
    """
    decided = whole_number("decided", decided, high=design.n)
    responses = whole_number("responses", responses, high=decided)
    p = share("p", p)
    if decided == design.n1 and responses <= design.r1:
        return 0.0
    if decided >= design.n1:
        return _more_than(design.r - responses, design.n - decided, p)
    left = design.n1 - decided
    more = np.arange(left + 1)
    at_n1 = responses + more
    # As differences of tails, which are exact for every p; the closed form of the mass overflows at the smallest ones.
    at_least = np.array([_more_than(int(k) - 1, left, p) for k in [*more, left + 1]])
    reached = np.array([_more_than(design.r - int(total), design.n2, p) for total in at_n1])
    return float(-np.diff(at_least)[at_n1 > design.r1] @ reached[at_n1 > design.r1])


def _more_than(needed: int, n: int, p: float) -> float:
    """The probability of more than ``needed`` responses among ``n``."""
    if needed < 0:
        return 1.0
    return 0.0 if needed >= n else float(bdtrc(needed, n, p))


def outlook(design: TwoStage, *, responses: int, decided: int, null: float, alternative: float | None) -> Outlook:
    """The conditional power at the design's two rates and at the rate seen so far."""
    rates = [("null", null)]
    if alternative is not None:
        rates.append(("alternative", alternative))
    if decided:
        rates.append(("observed", responses / decided))
    power = tuple(
        (name, rate, conditional_power(design, responses=responses, decided=decided, p=rate)) for name, rate in rates
    )
    return Outlook(
        responses,
        decided,
        is_success_possible=conditional_power(design, responses=responses, decided=decided, p=1.0) > 0,
        is_success_certain=conditional_power(design, responses=responses, decided=decided, p=0.0) == 1.0,
        power=power,
    )
