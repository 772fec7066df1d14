"""Areas under measured levels without a model: linear on the way up, logarithmic on the way down.

Gabrielsson & Weiner (2012) Methods Mol Biol 929: 377-389. The area beyond the last level is extrapolated with the
slope of the last levels, and its share is part of the answer: above 20 % the total says more of the slope than of the
patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dosing.domain.arguments import Floats, number, numbers, refuse_rows

EXTRAPOLATED_LIMIT = 0.20
#: Fewer levels in the terminal phase give no slope.
FEWEST_TERMINAL = 3


@dataclass(frozen=True)
class MeasuredExposure:
    """Areas before and after the graft, amount*day/L. What cannot be told is None, never 0.

    ``post`` and ``total`` include the extrapolated part; ``until_last`` does not. ``terminal_rate`` is per day.
    """

    pre: float | None
    post: float | None
    total: float | None
    until_last: float
    extrapolated_share: float | None
    terminal_rate: float | None
    samples: int
    method: str = "non-compartmental, linear up and logarithmic down"

    @property
    def is_flagged(self) -> bool:
        """True where more than 20 % of the total is extrapolated, or nothing can be."""
        return self.extrapolated_share is None or self.extrapolated_share > EXTRAPOLATED_LIMIT


def measured_exposure(
    times_day: ArrayLike, concentrations: ArrayLike, *, first_dose_day: float, graft_day: float
) -> MeasuredExposure:
    """The exposure of measured levels.

    Parameters
    ----------
    times_day, concentrations : (m,) levels in any order, m >= 2, each above 0; leave out those below quantification
    first_dose_day : where the curve begins with 0
    graft_day : where it is divided

    Raises
    ------
    ValueError
        naming the argument and row: a level before the first dose, two at one time, one not above 0.

    Examples
    --------
    Up to 8 in a day, a triangle of 4; then halved each day to 1, which holds (8 - 1) / ln 2, and 1 / ln 2 beyond.

    >>> found = measured_exposure([0, 1, 2, 3], [8, 4, 2, 1], first_dose_day=-1, graft_day=0)
    >>> round(found.pre, 6), round(found.until_last, 6), round(found.total, 6)
    (4.0, 14.098865, 15.541561)
    """
    days, levels = numbers("times_day", times_day), numbers("concentrations", concentrations)
    start, graft = number("first_dose_day", first_dose_day), number("graft_day", graft_day)
    if days.ndim != 1 or days.shape != levels.shape or days.size < 2:
        raise ValueError("times_day and concentrations must be arrays of one length, of two levels or more")
    refuse_rows("concentrations", levels, levels <= 0, "must be above 0; leave out a level below quantification")
    refuse_rows("times_day", days, days <= start, f"must lie after the first dose, day {start:g}")
    if np.unique(days).size < days.size:
        raise ValueError("times_day names a time twice; which of two levels at one time holds is for a person to say")
    order = np.argsort(days)
    days = np.append(start, days[order])
    levels = np.append(0.0, levels[order])
    rate = _terminal_rate(days, levels)  # of what was measured: the value read off at the graft is no level
    inside = days[0] < graft < days[-1]
    if inside and graft not in days:
        at = int(np.searchsorted(days, graft))
        days, levels = np.insert(days, at, graft), np.insert(levels, at, _between(days, levels, at, graft))
    pieces = _pieces(days, levels)
    until_last = float(pieces.sum())
    beyond = float(levels[-1]) / rate if rate is not None else None
    total = until_last + beyond if beyond is not None else None
    pre: float | None = float(pieces[days[1:] <= graft].sum()) if graft <= days[-1] else None
    return MeasuredExposure(
        pre=pre,
        post=total - pre if total is not None and pre is not None else None,
        total=total,
        until_last=until_last,
        extrapolated_share=beyond / total if beyond is not None and total else None,
        terminal_rate=rate,
        samples=int(np.size(times_day)),
    )


def _pieces(days: Floats, levels: Floats) -> Floats:
    step, one, other = np.diff(days), levels[:-1], levels[1:]
    falls = (other < one) & (other > 0)
    ratio = np.where(falls, one / np.where(falls, other, 1.0), np.e)
    logarithmic = (one - other) / np.log(ratio)
    areas: Floats = step * np.where(falls, logarithmic, (one + other) / 2)
    return areas


def _between(days: Floats, levels: Floats, at: int, day: float) -> float:
    """The concentration on ``day`` by the same rule as the area: a line up, a logarithm down."""
    one, other = float(levels[at - 1]), float(levels[at])
    share = (day - float(days[at - 1])) / float(days[at] - days[at - 1])
    if 0 < other < one:
        return float(one * (other / one) ** share)
    return one + share * (other - one)


def _terminal_rate(days: Floats, levels: Floats) -> float | None:
    """Slope of the last three levels on the log scale; None where they do not fall."""
    last, late = levels[levels > 0][-FEWEST_TERMINAL:], days[levels > 0][-FEWEST_TERMINAL:]
    if last.size < FEWEST_TERMINAL or late[0] < days[int(np.argmax(levels))]:
        return None
    slope = float(np.polyfit(late - late[0], np.log(last), 1)[0])
    return -slope if slope < 0 else None
