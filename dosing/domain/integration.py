"""Numerical solution of the two-compartment model with saturable elimination, all patients in one state matrix.

In concentrations, with every rate divided by its volume (time in days)::

    dc1/dt  = input - (k10 + vmax / (km + c1)) c1 - k12 (c1 - c2)
    dc2/dt  = k21 (c1 - c2)
    dAUC/dt = c1

The steps are the 8(5,3) pair of Dormand and Prince with its seventh-order interpolant (Hairer, Nørsett & Wanner,
Solving Ordinary Differential Equations I, 2nd ed., sections II.5 and II.6). The patients of one block share each step;
the worst of them decides its length. Patients whose fastest rate would force thousands of explicit steps are solved
one by one with LSODA, and where that stands still with Radau IIA.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853, solve_ivp

Floats = NDArray[np.float64]

_STAGES = 12
_A = np.asarray(DOP853.A, dtype=np.float64)
_B = np.asarray(DOP853.B, dtype=np.float64)
_E3 = np.asarray(DOP853.E3, dtype=np.float64)[:_STAGES]
_E5 = np.asarray(DOP853.E5, dtype=np.float64)[:_STAGES]
_A_EXTRA = np.asarray(DOP853.A_EXTRA, dtype=np.float64)
_D = np.asarray(DOP853.D, dtype=np.float64)

# The stage matrix of 2048 patients (16 stages, 2 compartments, 8 bytes) just fills a second-level cache of 512 kB.
_BLOCK = 2048
# Fastest rate times duration: beyond it the explicit steps, about a fifth of this number, cost more than the implicit
# solver.
_STIFF = 10_000.0
# The control is of one step; a digit in reserve keeps the whole path, and the interpolant, within rtol.
_EXPLICIT_RESERVE, _STIFF_RESERVE = 0.1, 0.01
# Absolute tolerance as a share of rtol times the largest concentration the amounts could ever reach.
_ABSOLUTE_SHARE = 1e-4
_MAX_STEPS = 200_000
# An ordinary stretch takes a few hundred derivatives with LSODA, a hard one some ten thousand with Radau.
_MAX_STIFF_CALLS = 50_000
_RADAU_RTOL = 1e-10


@dataclass(frozen=True)
class Rates:
    """Rate constants of n patients, each of shape (n,): k10, k12, k21 per day, vmax amount/L/day, km amount/L."""

    k10: Floats
    k12: Floats
    k21: Floats
    vmax: Floats
    km: Floats

    def fastest_per_day(self) -> Floats:
        """Upper bound of the fastest rate of each patient: the trace of the Jacobian at concentration zero."""
        fastest: Floats = self.k10 + self.k12 + self.k21 + self.vmax / self.km
        return fastest

    def of(self, rows: NDArray[np.intp]) -> "Rates":
        return Rates(self.k10[rows], self.k12[rows], self.k21[rows], self.vmax[rows], self.km[rows])


@dataclass(frozen=True)
class Solution:
    """Concentrations at the sample times (n, m); both compartments and the AUC at the edges (n, s + 1)."""

    concentration: Floats
    central: Floats
    peripheral: Floats
    auc: Floats


def solve(rates: Rates, edges_day: Floats, inputs: Floats, samples_day: Floats, rtol: float) -> Solution:
    """Solve from empty compartments at ``edges_day[0]``.

    Parameters
    ----------
    rates : rate constants of n patients
    edges_day : (s + 1,) increasing days between which every input is constant
    inputs : (s, n) infusion rate over the central volume, amount/L/day, between successive edges
    samples_day : (m,) increasing days inside the edges
    rtol : relative tolerance of the path

    Raises
    ------
    ValueError
        when the solution leaves the floating-point range or does not finish.
    """
    n, m, s = rates.k10.size, samples_day.size, edges_day.size - 1
    solution = Solution(np.zeros((n, m)), np.zeros((n, s + 1)), np.zeros((n, s + 1)), np.zeros((n, s + 1)))
    ceiling = np.maximum(inputs.T @ np.diff(edges_day), np.finfo(np.float64).tiny / (_ABSOLUTE_SHARE * rtol))
    fastest = rates.fastest_per_day()
    stiff = fastest * (edges_day[-1] - edges_day[0]) > _STIFF
    # Patients of like speed share a block, so that few wait for the slowest.
    order = np.argsort(fastest, kind="stable")
    calm = order[~stiff[order]]
    with np.errstate(all="ignore"):  # judged below, once: a value that is not finite is refused
        for first in range(0, calm.size, _BLOCK):
            rows = calm[first : first + _BLOCK]
            _solve_block(
                rates.of(rows),
                edges_day,
                inputs[:, rows],
                samples_day,
                ceiling[rows],
                _EXPLICIT_RESERVE * rtol,
                solution,
                rows,
            )
        for row in np.flatnonzero(stiff).tolist():
            _solve_stiff(
                rates, edges_day, inputs, samples_day, ceiling, max(_STIFF_RESERVE * rtol, 1e-13), solution, row
            )
    for part in (solution.concentration, solution.central, solution.peripheral, solution.auc):
        if not np.isfinite(part).all():
            row = int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
            raise ValueError(f"row {row}: the concentrations leave the floating-point range")
    return solution


class _Block:
    """The stage matrix of one block of patients and the derivative that fills it."""

    def __init__(self, rates: Rates) -> None:
        n = rates.k10.size
        self.rates = rates
        self.slopes = np.zeros((_STAGES + 4, 2, n))  # of both compartments, by stage
        self.flat = self.slopes.reshape(_STAGES + 4, 2 * n)
        self.central = np.zeros((_STAGES, n))  # concentrations by stage: the slopes of the AUC
        self._gap = np.empty(n)
        self._loss = np.empty(n)

    def derivative(self, state: Floats, input_rate: Floats, stage: int) -> None:
        rates, gap, loss = self.rates, self._gap, self._loss
        c1, c2 = state
        np.subtract(c1, c2, out=gap)
        np.multiply(rates.k21, gap, out=self.slopes[stage, 1])
        # |c1|: rounding may carry an empty compartment below zero, where the fraction has its pole.
        np.abs(c1, out=loss)
        loss += rates.km
        np.divide(rates.vmax, loss, out=loss)
        loss += rates.k10
        loss *= c1
        gap *= rates.k12
        loss += gap
        np.subtract(input_rate, loss, out=self.slopes[stage, 0])

    def combination(self, weights: Floats) -> Floats:
        return (weights @ self.flat[: weights.size]).reshape(2, -1)


def _solve_block(
    rates: Rates,
    edges_day: Floats,
    inputs: Floats,
    samples_day: Floats,
    ceiling: Floats,
    rtol: float,
    solution: Solution,
    rows: NDArray[np.intp],
) -> None:
    block = _Block(rates)
    state, auc = np.zeros((2, rows.size)), np.zeros(rows.size)
    floor = _ABSOLUTE_SHARE * rtol * ceiling
    first_step = 0.5 / max(float(rates.fastest_per_day().max()), np.finfo(np.float64).tiny)
    next_sample = int(np.searchsorted(samples_day, edges_day[0], side="right"))
    wanted, steps = first_step, 0
    for segment in range(edges_day.size - 1):
        day, end = float(edges_day[segment]), float(edges_day[segment + 1])
        input_rate = inputs[segment]
        if segment == 0 or np.any(input_rate != inputs[segment - 1]):
            wanted = first_step
        block.derivative(state, input_rate, 0)
        while day < end:
            steps += 1
            if steps > _MAX_STEPS:
                raise ValueError(f"the model was not solved in {_MAX_STEPS} steps; ask for a larger rtol")
            left = end - day
            # No sliver at the end: a last stretch of less than two steps is taken in one or in two halves.
            step = left if wanted >= left else min(wanted, left / 2)
            new_state, new_auc, error = _step(block, state, auc, input_rate, step, floor, rtol)
            factor = 6.0 if error == 0.0 else min(6.0, max(0.2, 0.9 * error**-0.125)) if error == error else 0.2
            if not error <= 1.0:
                wanted = step * min(factor, 0.9)
                if day + wanted == day:
                    raise ValueError("the step length vanished; the parameters are too far apart to be solved")
                continue
            # A step cut short by the end of a segment says nothing against the longer one that was wanted.
            wanted = max(wanted, step * factor) if step < wanted else step * factor
            new_day = end if step == left else day + step
            block.derivative(new_state, input_rate, _STAGES)
            last_sample = int(np.searchsorted(samples_day, new_day, side="right"))
            if last_sample > next_sample:
                inside = slice(next_sample, last_sample)
                at = (samples_day[inside] - day) / step
                solution.concentration[rows, inside] = _interpolate(block, state, new_state, input_rate, step, at).T
                next_sample = last_sample
            day, state, auc = new_day, new_state, new_auc
            block.flat[0] = block.flat[_STAGES]
        solution.central[rows, segment + 1], solution.peripheral[rows, segment + 1] = state
        solution.auc[rows, segment + 1] = auc


def _step(
    block: _Block, state: Floats, auc: Floats, input_rate: Floats, step: float, floor: Floats, rtol: float
) -> tuple[Floats, Floats, float]:
    """One step: both compartments, the AUC, and the error of the worst patient in units of the tolerance."""
    block.central[0] = state[0]
    for stage in range(1, _STAGES):
        at_stage = block.combination(step * _A[stage, :stage])
        at_stage += state
        block.central[stage] = at_stage[0]
        block.derivative(at_stage, input_rate, stage)
    new_state = block.combination(step * _B)
    new_state += state
    new_auc = auc + (step * _B) @ block.central
    scale = np.maximum(np.abs(state), np.abs(new_state))
    scale *= rtol
    scale += floor
    fifth = block.combination(_E5)
    fifth /= scale
    third = block.combination(_E3)
    third /= scale
    fifth *= fifth
    third *= third
    fifth_squared, third_squared = fifth.sum(axis=0), third.sum(axis=0)
    third_squared *= 0.01
    third_squared += fifth_squared
    # Hairer, Nørsett & Wanner, eq. II.10.17: the third-order estimate damps the fifth-order one.
    np.maximum(third_squared, np.finfo(np.float64).tiny, out=third_squared)
    squared = fifth_squared * fifth_squared / third_squared
    return new_state, new_auc, step * float(np.sqrt(0.5 * squared.max()))


def _interpolate(
    block: _Block, state: Floats, new_state: Floats, input_rate: Floats, step: float, at: Floats
) -> Floats:
    """Central concentrations (len(at), n) at the fractions ``at`` of the step just taken."""
    if at.size == 1 and at[0] == 1.0:
        return new_state[:1]
    for extra, weights in enumerate(_A_EXTRA):
        stage = _STAGES + 1 + extra
        at_stage = block.combination(step * weights[:stage])
        at_stage += state
        block.derivative(at_stage, input_rate, stage)
    slopes = block.slopes[:, 0]
    change = new_state[0] - state[0]
    terms = [
        change,
        step * slopes[0] - change,
        2.0 * change - step * (slopes[_STAGES] + slopes[0]),
        *(step * (_D @ slopes)),
    ]
    fraction = at[:, np.newaxis]
    value = np.zeros((at.size, change.size))
    for power, term in enumerate(reversed(terms)):
        value += term
        value *= fraction if power % 2 == 0 else 1.0 - fraction
    value += state[0]
    value[at == 1.0] = new_state[0]
    return value


def _solve_stiff(
    rates: Rates,
    edges_day: Floats,
    inputs: Floats,
    samples_day: Floats,
    ceiling: Floats,
    rtol: float,
    solution: Solution,
    row: int,
) -> None:
    k10, k12, k21 = float(rates.k10[row]), float(rates.k12[row]), float(rates.k21[row])
    vmax, km = float(rates.vmax[row]), float(rates.km[row])
    floor = np.full(3, _ABSOLUTE_SHARE * rtol * ceiling[row])
    state = np.zeros(3)
    for segment in range(edges_day.size - 1):
        start, end = edges_day[segment], edges_day[segment + 1]
        input_rate = float(inputs[segment, row])

        def derivative(_: float, y: Floats, input_rate: float = input_rate) -> tuple[float, float, float]:
            c1, c2 = float(y[0]), float(y[1])
            loss = (k10 + vmax / (km + abs(c1))) * c1 + k12 * (c1 - c2)
            return input_rate - loss, k21 * (c1 - c2), c1

        def jacobian(_: float, y: Floats) -> list[list[float]]:
            c1 = abs(float(y[0]))
            steepness = k10 + vmax * km / (km + c1) ** 2 + k12
            return [[-steepness, k12, 0.0], [k21, -k21, 0.0], [1.0, 0.0, 0.0]]

        inside = (samples_day > start) & (samples_day <= end)
        days = np.unique(np.append(samples_day[inside], end) - start)
        path = _stiff_path(derivative, jacobian, days, state, floor, rtol)
        if path is None:
            raise ValueError(f"row {row}: the model was not solved; the parameters are too far apart")
        solution.concentration[row, inside] = path[np.searchsorted(days, samples_day[inside] - start), 0]
        state = path[-1]
        solution.central[row, segment + 1], solution.peripheral[row, segment + 1] = state[0], state[1]
        solution.auc[row, segment + 1] = state[2]


class _Exhausted(Exception):
    """The solver asked for more derivatives than it may."""


def _stiff_path(
    derivative: Callable[[float, Floats], tuple[float, float, float]],
    jacobian: Callable[[float, Floats], list[list[float]]],
    days: Floats,
    state: Floats,
    floor: Floats,
    rtol: float,
) -> Floats | None:
    """State (len(days), 3) on the increasing days after ``state`` at 0; None when neither method gets there."""
    calls = 0

    def counted(day: float, y: Floats) -> tuple[float, float, float]:
        nonlocal calls
        calls += 1
        if calls > _MAX_STIFF_CALLS:
            raise _Exhausted
        return derivative(day, y)

    def followed(method: str, until: Floats, start: Floats, first_day: float, tolerance: float) -> Floats | None:
        nonlocal calls
        calls = 0
        span = (0.0, float(until[-1] - first_day))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a failure is answered, not only announced
                path = solve_ivp(
                    counted, span, start, method, t_eval=until - first_day, rtol=tolerance, atol=floor, jac=jacobian
                )
        except _Exhausted:
            return None
        return np.asarray(path.y.T, dtype=np.float64) if path.success else None

    if (quick := followed("LSODA", days, state, 0.0, rtol)) is not None:
        return quick
    # LSODA can stand still where an infusion ends and km is tiny. Radau does not; its interpolant is of low order, so
    # that it is led from day to day.
    path, here = np.empty((days.size, 3)), 0.0
    for row, day in enumerate(days.tolist()):
        sure = followed("Radau", days[row : row + 1], state, here, max(rtol, _RADAU_RTOL))
        if sure is None:
            return None
        path[row], state, here = sure[-1], sure[-1], day
    return path
