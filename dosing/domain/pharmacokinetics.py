"""Two-compartment pharmacokinetics with linear and saturable elimination, and the exposure before and after the graft.

Units are days, litres and the level's own amount unit (mg, AU, UE); nothing here converts between them. The origin of
the days is the caller's, so that days may be negative. The exact start and stop of every infusion count, never day
numbers.

Model: Admiraal et al (2015) Clin Pharmacokinet 54: 435-446, abstract (its structure; no value is taken from it)::

    dA1/dt  = R(t) - cl c1 - vmax c1 / (km + c1) - q (c1 - c2)      c1 = A1 / v1
    dA2/dt  = q (c1 - c2)                                           c2 = A2 / v2
    dAUC/dt = c1
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from dosing.domain.arguments import Floats, number, numbers, refuse_rows
from dosing.domain.integration import Rates, Solution, solve

_MAY_BE_ZERO = frozenset({"cl", "q", "vmax"})
_SMALLEST_RTOL, _LARGEST_RTOL = 1e-12, 1e-2


@dataclass(frozen=True)
class Parameters:
    """Pharmacokinetic parameters of one patient (numbers) or of n ((n,) arrays; numbers among them hold for all).

    ``cl`` and ``q`` are in L/day, ``v1`` and ``v2`` in L, ``vmax`` in amount/day, ``km`` in amount/L. ``cl``, ``q`` and
    ``vmax`` may be 0. Raises ValueError naming parameter and row of a value not finite, negative, or 0 elsewhere.
    """

    cl: float | Floats
    v1: float | Floats
    q: float | Floats
    v2: float | Floats
    vmax: float | Floats
    km: float | Floats

    def __post_init__(self) -> None:
        sizes = {}
        for field in fields(self):
            values = numbers(field.name, getattr(self, field.name))
            if field.name in _MAY_BE_ZERO:
                refuse_rows(field.name, values, values < 0, "must be 0 or above")
            else:
                refuse_rows(field.name, values, values <= 0, "must be above 0")
            if values.ndim == 1:
                values.setflags(write=False)
                sizes[field.name] = values.size
            object.__setattr__(self, field.name, values if values.ndim == 1 else float(values))
        if len(set(sizes.values())) > 1:
            raise ValueError(f"parameters must hold as many rows each, got {_listed(sizes)}")

    @property
    def patients(self) -> int:
        """Number of patients; 1 when every parameter is a number."""
        return max(np.size(getattr(self, field.name)) for field in fields(self))

    @property
    def of_one_patient(self) -> bool:
        """True when every parameter is a number."""
        return all(np.ndim(getattr(self, field.name)) == 0 for field in fields(self))


@dataclass(frozen=True)
class Infusion:
    """An infusion of ``amount`` (a number or (n,) array) at a constant rate over ``duration_day`` from ``start_day``.

    Raises ValueError for a duration that is not above 0 (a bolus is a short infusion) and for a negative amount.
    """

    start_day: float
    duration_day: float
    amount: float | Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "start_day", number("start_day", self.start_day))
        object.__setattr__(self, "duration_day", number("duration_day", self.duration_day))
        if self.duration_day <= 0:
            raise ValueError(f"duration_day = {self.duration_day} must be above 0; give a bolus as a short infusion")
        if self.end_day == self.start_day or not np.isfinite(self.end_day):
            raise ValueError(f"duration_day = {self.duration_day} cannot be told apart at start_day = {self.start_day}")
        amount = numbers("amount", self.amount)
        refuse_rows("amount", amount, amount < 0, "must be 0 or above")
        if amount.ndim == 1:
            amount.setflags(write=False)
        object.__setattr__(self, "amount", amount if amount.ndim == 1 else float(amount))

    @property
    def end_day(self) -> float:
        return self.start_day + self.duration_day


@dataclass(frozen=True, eq=False)
class Exposure:
    """Areas under the central concentration, amount*day/L, (n,) each; ``total`` = ``pre`` + ``post`` the graft.

    ``concentration_at_end`` (amount/L, (n,)) tells how much of the curve lies beyond the last day.
    """

    pre: Floats
    post: Floats
    total: Floats
    concentration_at_end: Floats


def simulate(
    parameters: Parameters, infusions: Iterable[Infusion], times_day: ArrayLike, *, rtol: float = 1e-8
) -> Floats:
    """Central concentration of each patient at each time.

    Parameters
    ----------
    parameters : of one patient or of n
    infusions : in any order; they may overlap, and two may begin together
    times_day : (m,) days in any order, before the first infusion too (concentration 0)
    rtol : relative tolerance, 1e-12 to 1e-2

    Returns
    -------
    (n, m) concentrations, amount/L; n = 1 for numbers.

    Raises
    ------
    ValueError
        naming the argument and the row that is wrong.

    Examples
    --------
    Without saturable elimination and exchange: the textbook infusion, amount / (duration cl) (1 - exp(-cl t / v1)).

    >>> one_compartment = Parameters(cl=2.0, v1=10.0, q=0.0, v2=1.0, vmax=0.0, km=1.0)
    >>> simulate(one_compartment, [Infusion(start_day=-9.0, duration_day=0.5, amount=100.0)], [-8.5]).round(6)
    array([[9.516258]])
    """
    days = numbers("times_day", times_day)
    if days.ndim != 1:
        raise ValueError("times_day must be a one-dimensional array of days")
    n, course = _checked_course(parameters, infusions)
    unique_days, position = np.unique(days, return_inverse=True)
    concentrations = np.zeros((n, unique_days.size))
    first_day = min((infusion.start_day for infusion in course), default=np.inf)
    after = unique_days > first_day
    if after.any():
        last_day = float(unique_days[-1])
        solution = _solution(parameters, n, course, [last_day], unique_days[after], rtol)
        concentrations[:, after] = np.maximum(solution.concentration, 0.0)
    else:
        _checked_rtol(rtol)
    return concentrations[:, position]


def exposure(
    parameters: Parameters,
    infusions: Iterable[Infusion],
    *,
    graft_day: float,
    until_day: float,
    rtol: float = 1e-8,
) -> Exposure:
    """Area under the central concentration before the graft, after it until ``until_day``, and in total.

    Parameters
    ----------
    parameters, infusions, rtol : as for :func:`simulate`; an infusion may run across the graft or the last day
    graft_day, until_day : days, ``until_day`` not before ``graft_day``

    Returns
    -------
    Exposure
        amount*day/L, arrays of shape (n,); n = 1 for numbers.

    Raises
    ------
    ValueError
        naming the argument and the row that is wrong.

    Examples
    --------
    Long after a linear drug is gone, the area is the amount over the clearance.

    >>> linear = Parameters(cl=2.0, v1=10.0, q=3.0, v2=20.0, vmax=0.0, km=1.0)
    >>> exposure(linear, [Infusion(-9.0, 0.5, 100.0)], graft_day=0.0, until_day=400.0).total.round(6)
    array([50.])
    """
    graft, until = number("graft_day", graft_day), number("until_day", until_day)
    if until < graft:
        raise ValueError(f"until_day = {until} lies before graft_day = {graft}")
    n, course = _checked_course(parameters, infusions)
    first_day = min((infusion.start_day for infusion in course), default=np.inf)
    if until <= first_day:
        _checked_rtol(rtol)
        return Exposure(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n))
    days = [max(graft, first_day), until]
    edges = _edges(course, days)
    solution = _solution(parameters, n, course, days, np.empty(0), rtol)
    total = solution.auc[:, -1]
    pre = solution.auc[:, int(np.searchsorted(edges, days[0]))]
    return Exposure(pre=pre, post=total - pre, total=total, concentration_at_end=solution.central[:, -1])


def listed_infusions(name: str, infusions: Iterable[Infusion]) -> list[Infusion]:
    """The infusions as a list. Raises ValueError naming the argument and the row that is none."""
    if isinstance(infusions, (str, Mapping)) or not isinstance(infusions, Iterable):
        raise ValueError(f"{name} must be a list of Infusion, got {infusions!r}")
    course = list(infusions)
    for row, infusion in enumerate(course):
        if not isinstance(infusion, Infusion):
            raise ValueError(f"{name} row {row} must be an Infusion, got {infusion!r}")
    return course


def _checked_course(parameters: Parameters, infusions: Iterable[Infusion]) -> tuple[int, list[Infusion]]:
    """Number of patients, and the infusions in one order for all, so that the order of the rows changes nothing."""
    if not isinstance(parameters, Parameters):
        raise ValueError(f"parameters must be Parameters, got {parameters!r}")
    course = listed_infusions("infusions", infusions)
    sizes = {} if parameters.of_one_patient else {"parameters": parameters.patients}
    for row, infusion in enumerate(course):
        if np.ndim(infusion.amount) == 1:
            sizes[f"the amount of infusions row {row}"] = np.size(infusion.amount)
    if len(set(sizes.values())) > 1:
        raise ValueError(f"parameters and amounts must hold as many rows each, got {_listed(sizes)}")
    n = next(iter(sizes.values()), 1)
    return n, sorted(course, key=lambda infusion: (infusion.start_day, infusion.duration_day, np.max(infusion.amount)))


def _checked_rtol(rtol: float) -> float:
    value = number("rtol", rtol)
    if not _SMALLEST_RTOL <= value <= _LARGEST_RTOL:
        raise ValueError(f"rtol = {value} must lie between {_SMALLEST_RTOL} and {_LARGEST_RTOL}")
    return value


def _listed(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def _edges(course: Sequence[Infusion], days: Sequence[float]) -> Floats:
    """Days between which every infusion rate is constant, from the first start to the last of ``days``."""
    marks = np.unique([*days, *(i.start_day for i in course), *(i.end_day for i in course)])
    return marks[marks <= max(days)]


def _solution(
    parameters: Parameters,
    n: int,
    course: Sequence[Infusion],
    days: Sequence[float],
    samples_day: Floats,
    rtol: float,
) -> Solution:
    edges = _edges(course, days)
    inputs = np.zeros((edges.size - 1, n))
    p = parameters
    for infusion in course:
        running = (edges[:-1] >= infusion.start_day) & (edges[1:] <= infusion.end_day)
        inputs[running] += infusion.amount / infusion.duration_day / p.v1
    per_patient = (p.cl / p.v1, p.q / p.v1, p.q / p.v2, p.vmax / p.v1, p.km)
    rates = Rates(*(np.array(np.broadcast_to(rate, (n,)), dtype=np.float64) for rate in per_patient))
    return solve(rates, edges, inputs, samples_day, _checked_rtol(rtol))
