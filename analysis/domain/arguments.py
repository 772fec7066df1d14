"""What a statistic may be asked: each check returns the value as a plain number or refuses it by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TypeVar

Choice = TypeVar("Choice")


def whole_number(name: str, value: object, *, low: int = 0, high: int | None = None) -> int:
    """``value`` as an integer of at least ``low`` (and at most ``high``).

    >>> whole_number("responses", 41.0)
    41
    >>> whole_number("responses", 54, high=53)
    Traceback (most recent call last):
    ValueError: responses: 54 is more than 53
    """
    if isinstance(value, bool) or not isinstance(value, Integral | Real) or not float(value).is_integer():
        raise ValueError(f"{name}: {value!r} is not a whole number")
    number = int(value) if isinstance(value, Integral) else int(float(value))
    if number < low:
        raise ValueError(f"{name}: {number} is less than {low}")
    if high is not None and number > high:
        raise ValueError(f"{name}: {number} is more than {high}")
    return number


def between(name: str, value: object, low: float, high: float) -> float:
    """``value`` as a float strictly between ``low`` and ``high``.

    >>> between("level", 95, 0, 1)
    Traceback (most recent call last):
    ValueError: level: 95 is not between 0 and 1 (both excluded)
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low < float(value) < high:
        top = "infinity" if math.isinf(high) else f"{high:g}"
        raise ValueError(f"{name}: {value!r} is not between {low:g} and {top} (both excluded)")
    return float(value)


def finite_number(name: str, value: object) -> float:
    """``value`` as a finite float of either sign.

    >>> finite_number("rho", "one")
    Traceback (most recent call last):
    ValueError: rho: 'one' is not a finite number
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(float(value)):
        raise ValueError(f"{name}: {value!r} is not a finite number")
    return float(value)


def share(name: str, value: object) -> float:
    """``value`` as a float from 0 to 1, both included."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"{name}: {value!r} is not in [0, 1]")
    return float(value)


def probability(name: str, value: object) -> float:
    """``value`` as a float strictly between 0 and 1."""
    return between(name, value, 0, 1)


def one_of(name: str, value: str, choices: Mapping[str, Choice]) -> Choice:
    """The entry of ``choices`` named ``value``.

    >>> one_of("sides", "three", {"one": 1, "two": 2})
    Traceback (most recent call last):
    ValueError: sides: 'three' is not known; choose one of 'one', 'two'
    """
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name}: {value!r} is not known; choose one of {known}")
    return choices[value]
