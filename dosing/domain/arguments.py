"""Numbers given to the pharmacokinetic functions: read once, refused with their name and row."""

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def number(name: str, value: Any) -> float:
    """One finite number. Raises ValueError naming the argument."""
    values = numbers(name, value)
    if values.ndim != 0:
        raise ValueError(f"{name} must be one number, got an array of shape {values.shape}")
    return float(values)


def numbers(name: str, value: Any) -> Floats:
    """A finite number, or a non-empty one-dimensional array of them, as float64.

    Raises ValueError naming argument and row.
    """
    if isinstance(value, (str, bytes, bool)):
        raise ValueError(f"{name} must be a number or an array of numbers, got {value!r}")
    try:
        values = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as reason:
        raise ValueError(f"{name} must be a number or an array of numbers, got {value!r}") from reason
    if values.ndim > 1:
        raise ValueError(f"{name} must be a number or a one-dimensional array, got an array of shape {values.shape}")
    if values.size == 0:
        raise ValueError(f"{name} is empty")
    refuse_rows(name, values, ~np.isfinite(values), "must be finite")
    return values


def refuse_rows(name: str, values: Floats, wrong: NDArray[np.bool_], rule: str) -> None:
    """Raise ValueError for the first row that is wrong: '``name`` row 3 = -1.0 must be above 0'."""
    if not wrong.any():
        return
    row = int(np.flatnonzero(wrong)[0])
    place = f"{name} = {values.item()}" if values.ndim == 0 else f"{name} row {row} = {values[row]}"
    raise ValueError(f"{place} {rule}")


def real(name: str, value: Any) -> float:
    """One finite number that is written as a number, as in a data file. Raises ValueError naming the place."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return number(name, value)
