"""The amounts on the days still open that bring an exposure to its target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dosing.domain.arguments import Floats, number, numbers
from dosing.domain.pharmacokinetics import Exposure, Infusion, Parameters, exposure, listed_infusions

KINDS = ("pre", "post", "total")

# Tighter than what is asked of the exposure itself, so that the search does not end in the noise of the steps.
_RTOL = 1e-10
_CLOSE = 1e-9
_MAX_ROUNDS = 60
# An amount this many times what a purely linear elimination would need is not a dose any more.
_BEYOND_REASON = 1e6


@dataclass(frozen=True, eq=False)
class TargetDoses:
    """Equal amounts on the open days, and the exposure that given and proposed doses reach together.

    ``amounts`` has one entry an open day: (k,) for one patient, (k, n) for n, as :class:`Infusion` takes them.
    ``target`` is the exposure aimed at (amount*day/L), ``kind`` its window, ``already_reached`` (n,) whether the given
    doses alone reach it, so that the amounts are 0.
    """

    amounts: Floats
    exposure: Exposure
    kind: str
    target: float
    already_reached: NDArray[np.bool_]


def doses_to_target(
    parameters: Parameters,
    *,
    given: Sequence[Infusion],
    open_days: ArrayLike,
    duration_day: float,
    graft_day: float,
    until_day: float,
    kind: str,
    low: float,
    high: float,
) -> TargetDoses:
    """Equal amounts on the open days that bring the exposure to the middle of the window [low, high].

    Parameters
    ----------
    parameters : of one patient or of n
    given : infusions given or decided, may be empty
    open_days : (k,) start days of the infusions to be found
    duration_day : their duration, days
    graft_day, until_day : as for :func:`dosing.domain.pharmacokinetics.exposure`
    kind : "pre", "post" or "total": the window of time to which low and high belong; kinds are never mixed
    low, high : amount*day/L, of the parameters' own amount unit; they may be equal

    Returns
    -------
    TargetDoses
        amounts of 0 where the given doses alone reach the middle already.

    Raises
    ------
    ValueError
        naming the argument and the row that is wrong, or the patient whose target no amount on the open days reaches.

    Examples
    --------
    A linear drug needs area times clearance, here 124.25 * 2.0 (124.25 is the middle of the 100-148.5 of NCT07648992).

    >>> linear = Parameters(cl=2.0, v1=10.0, q=3.0, v2=20.0, vmax=0.0, km=1.0)
    >>> doses_to_target(linear, given=[], open_days=[-3, -2], duration_day=0.5, graft_day=0, until_day=400,
    ...                 kind="total", low=100.0, high=148.5).amounts.round(4)
    array([124.25, 124.25])
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    lowest, highest = number("low", low), number("high", high)
    if lowest <= 0:
        raise ValueError(f"low = {lowest} must be above 0")
    if highest < lowest:
        raise ValueError(f"high = {highest} lies below low = {lowest}")
    target = (lowest + highest) / 2
    days = numbers("open_days", open_days)
    if days.ndim != 1:
        raise ValueError("open_days must be a one-dimensional array of days")
    if np.unique(days).size < days.size:
        raise ValueError("open_days names a day twice")
    course = listed_infusions("given", given)

    def reached(amount: Floats, patients: Parameters, decided: Sequence[Infusion]) -> Exposure:
        planned = [Infusion(day, duration_day, amount) for day in days]
        return exposure(patients, [*decided, *planned], graft_day=graft_day, until_day=until_day, rtol=_RTOL)

    n = exposure(parameters, course, graft_day=graft_day, until_day=until_day, rtol=_RTOL).total.size
    given_alone = getattr(reached(np.zeros(n), parameters, course), kind)
    already = given_alone >= target
    # Saturable elimination only ever takes away, so a linear drug's need is a lower bound, and the first guess.
    linear_gain = getattr(reached(np.ones(n), replace(parameters, vmax=0.0), []), kind)
    useless = ~already & ~(linear_gain > 0)
    if useless.any():
        row = int(np.flatnonzero(useless)[0])
        listed = ", ".join(f"{day:g}" for day in days)
        raise ValueError(
            f"open_days: patient {row} cannot reach the {kind} exposure {target:g}, because no amount given on day "
            f"{listed} adds to it (graft on day {graft_day:g}, end on day {until_day:g}); choose earlier days"
        )
    linear_need = np.where(already, 0.0, (target - given_alone) / np.where(linear_gain > 0, linear_gain, 1.0))

    def excess(amount: Floats) -> Floats:
        difference: Floats = getattr(reached(amount, parameters, course), kind) - target
        return difference

    amount = _root_of_increasing(excess, linear_need, given_alone - target, _CLOSE * target)
    whole = reached(amount, parameters, course)
    missed = ~already & (np.abs(getattr(whole, kind) - target) > _CLOSE * target)
    if missed.any():
        row = int(np.flatnonzero(missed)[0])
        raise ValueError(
            f"patient {row}: no amount within reason reaches the {kind} exposure {target:g} on the open days"
        )
    amounts = np.tile(amount, (days.size, 1))
    one_patient = parameters.of_one_patient and all(np.ndim(infusion.amount) == 0 for infusion in course)
    return TargetDoses(amounts[:, 0] if one_patient else amounts, whole, kind, target, already)


def _root_of_increasing(
    excess: Callable[[Floats], Floats], first_guess: Floats, excess_at_zero: Floats, close: float
) -> Floats:
    """Each row's amount at which ``excess`` is 0; a first guess of 0 stays 0, a hopeless row stops where it is.

    Secants outwards until every row is bracketed, then the Illinois form of false position (Dowell & Jarratt 1971,
    BIT 11: 168-174), which needs no derivative and cannot leave the bracket.
    """
    sought = first_guess > 0
    low, excess_low = np.zeros_like(first_guess), np.where(sought, excess_at_zero, 0.0)
    high, excess_high = first_guess.copy(), np.where(sought, excess(first_guess), 0.0)
    for _ in range(_MAX_ROUNDS):
        short = sought & (excess_high < -close) & (high < _BEYOND_REASON * first_guess)
        if not short.any():
            break
        slope = np.where(short, (excess_high - excess_low) / np.where(short, high - low, 1.0), 1.0)
        outward = np.where(slope > 0, high - excess_high / np.where(slope > 0, slope, 1.0), np.inf)
        farther = np.clip(outward * (1 + 1e-9), 1.001 * high, 100.0 * high)
        low, excess_low = np.where(short, high, low), np.where(short, excess_high, excess_low)
        high = np.where(short, farther, high)
        excess_high = np.where(short, excess(high), excess_high)
    best, excess_best = high, excess_high
    for _ in range(_MAX_ROUNDS):
        open_rows = sought & (np.abs(excess_best) > close) & (excess_high > 0)
        if not open_rows.any():
            break
        width = np.where(open_rows, excess_high - excess_low, 1.0)
        between = np.where(open_rows, high - excess_high * (high - low) / width, best)
        found = np.where(open_rows, excess(between), excess_best)
        above, same_side = found > 0, (found > 0) == (excess_best > 0)
        excess_low = np.where(open_rows & above & same_side, excess_low / 2, excess_low)
        excess_high = np.where(open_rows & ~above & same_side, excess_high / 2, excess_high)
        low, excess_low = np.where(open_rows & ~above, between, low), np.where(open_rows & ~above, found, excess_low)
        high, excess_high = np.where(open_rows & above, between, high), np.where(open_rows & above, found, excess_high)
        best, excess_best = between, found
    return best
