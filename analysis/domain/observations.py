"""Checked observations: what every curve, test and regression asks of its arrays before it computes.

Each function returns a clean array or raises a ``ValueError`` that names the argument and the row (from 0).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.domain import arguments

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Label = str | int | float | bool

# survival::survfit, survdiff and coxph hold two times for one when they differ by less than this (their "timefix").
SAME_TIME_IN_SURVIVAL = float(np.sqrt(np.finfo(np.float64).eps))
# cmprsk compares times exactly; this is only wide enough for the rounding of 0.1 + 0.2 against 0.3.
SAME_TIME_BUT_FOR_ROUNDING = 1e-12
#: Beyond these a product of two values is no longer a number, or a whole number no longer exact.
LARGEST_COVARIATE = 1e100
LARGEST_CAUSE = 2**53


def numbers(values: npt.ArrayLike, name: str) -> Vector:
    """The values as floats, in any shape; what is missing becomes NaN, which the callers refuse by its row."""
    raw = _array(values, name)
    if raw.dtype.kind in "biuf":
        return raw.astype(np.float64)
    if raw.dtype.kind != "O":
        raise ValueError(f"{name} must hold numbers, not {raw.dtype}")
    found = np.empty(raw.shape, dtype=np.float64)
    for row in np.ndindex(raw.shape):
        try:
            found[row] = np.nan if raw[row] is None else float(raw[row])
        except (TypeError, ValueError):
            place = ", ".join(map(str, row))
            raise ValueError(f"{name}[{place}] is {raw[row]!r}; it must be a number") from None
    return found


def _array(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} is ragged; all its rows must have the same length") from None


def _column(values: npt.ArrayLike, name: str, n: int | None) -> Vector:
    column = numbers(values, name)
    if column.ndim != 1:
        raise ValueError(f"{name} must have one dimension, (n,); it has the shape {column.shape}")
    if column.size == 0:
        raise ValueError(f"{name} is empty; at least one row is needed")
    if n is not None and column.size != n:
        raise ValueError(f"{name} has {column.size} rows; {n} are expected, one for each row of the first argument")
    _refuse(~np.isfinite(column), column, name, "it must be a finite number")
    return column


def _refuse(wrong: npt.NDArray[np.bool_], values: npt.NDArray[Any], name: str, rule: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        value = values[row]
        shown = "missing (NaN)" if isinstance(value, float) and np.isnan(value) else f"{value:g}"
        raise ValueError(f"{name}[{row}] is {shown}; {rule}")


def finite(values: npt.ArrayLike, name: str, n: int | None = None) -> Vector:
    """Finite numbers of either sign."""
    return _column(values, name, n)


def times(time: npt.ArrayLike, name: str = "time", n: int | None = None) -> Vector:
    """Finite times, none of them negative."""
    column = _column(time, name, n)
    _refuse(column < 0, column, name, "a time must not be negative")
    return column


def indicator(values: npt.ArrayLike, name: str, n: int | None = None) -> npt.NDArray[np.bool_]:
    """Zeros and ones as booleans."""
    column = _column(values, name, n)
    _refuse((column != 0) & (column != 1), column, name, "it must be 0 or 1")
    return np.asarray(column == 1)


def causes(cause: npt.ArrayLike, n: int) -> Codes:
    """Causes of the first event: 0 = censored, 1..k."""
    column = _column(cause, "cause", n)
    _refuse((column < 0) | (column != np.floor(column)), column, "cause", "it must be 0 (censored) or a whole number")
    _refuse(column > LARGEST_CAUSE, column, "cause", "it is too large for a cause; causes are 0, 1, 2, ...")
    return column.astype(np.int64)


def cause_of_interest(of: int) -> int:
    """The cause that is asked for: a whole number from 1."""
    return arguments.whole_number("of", of, low=1)


def covariates(x: npt.ArrayLike, n: int, name: str = "x") -> Vector:
    """A finite matrix (n, p); one column may be given as (n,)."""
    matrix = numbers(x, name)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"{name} must be a matrix (n, p) with at least one column; it has the shape {matrix.shape}")
    if matrix.shape[0] != n:
        raise ValueError(f"{name} has {matrix.shape[0]} rows; {n} are expected, one for each row of the first argument")
    wrong = ~(np.abs(matrix) <= LARGEST_COVARIATE)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        shown = "missing (NaN)" if np.isnan(matrix[row, column]) else f"{matrix[row, column]}"
        rule = f"it must be a finite number of at most {LARGEST_COVARIATE:g}"
        raise ValueError(f"{name}[{row}, {column}] is {shown}; {rule}")
    return matrix


def labels(values: npt.ArrayLike, name: str, n: int) -> tuple[tuple[Label, ...], Codes]:
    """The sorted distinct labels (text or numbers), and for each row the position of its label among them."""
    raw = _array(values, name)
    if raw.ndim != 1:
        raise ValueError(f"{name} must have one dimension, (n,); it has the shape {raw.shape}")
    if raw.size != n:
        raise ValueError(f"{name} has {raw.size} rows; {n} are expected, one for each row of the first argument")
    if raw.dtype.kind not in "biuU":
        missing = np.array([value is None or value != value for value in raw.tolist()], dtype=bool)
        if missing.any():
            raise ValueError(f"{name}[{int(np.argmax(missing))}] is missing; every row needs a label")
    # numpy turns a mixed list such as ["A", 2] into text by itself; only an object array still shows the mixture.
    if raw.dtype.kind == "O":
        text = np.array([isinstance(value, str) for value in raw.tolist()], dtype=bool)
        if text.any() and not text.all():
            row = int(np.argmax(text != text[0]))
            raise ValueError(f"{name}[{row}] is {raw[row]!r}; {name} mixes text and numbers")
        raw = raw.astype(str) if text.all() else np.array(raw.tolist())
    if raw.dtype.kind not in "biufU":
        raise ValueError(f"{name} must hold text or whole numbers, not {raw.dtype}")
    if raw.dtype.kind == "f":
        _refuse(~np.isfinite(raw), raw, name, "a label is text or a whole number")
    distinct, codes = np.unique(raw, return_inverse=True)
    return tuple(distinct.tolist()), codes.astype(np.int64)


def at_least_two(groups: Sequence[Label]) -> None:
    """Refuse to compare one group with itself."""
    if len(groups) < 2:
        raise ValueError(f"group holds one group only ({groups[0]!r}); a comparison needs at least two")


def confidence_level(level: float) -> float:
    """A level strictly between 0 and 1."""
    return arguments.between("level", level, 0, 1)


def merge_ties(time: Vector, tolerance: float) -> Vector:
    """The same times, in which those that differ by no more than rounding have become one time, the earliest of them.

    Two neighbours among the distinct times are one when their distance is at most ``tolerance``, taken as it is or
    relative to the mean of the distinct times: the rule of ``survival::aeqSurv``.
    """
    distinct = np.unique(time)
    gap = np.diff(distinct)
    joined = gap <= tolerance * max(1.0, float(distinct.mean()))
    if not joined.any():
        return time
    first_of_run = distinct[np.concatenate(([True], ~joined))]
    return first_of_run[np.searchsorted(first_of_run, time, side="right") - 1]
