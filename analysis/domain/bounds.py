"""A whole number of which only the limits may be known: a stage, a grade, a score."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """From ``low`` to ``high``, both included; equal where the number is known."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"the lower limit {self.low} lies above the upper limit {self.high}")

    @classmethod
    def exactly(cls, value: int) -> Bounds:
        return cls(value, value)

    @property
    def is_known(self) -> bool:
        return self.low == self.high

    @property
    def known(self) -> int | None:
        """The number where it is known, otherwise None."""
        return self.low if self.is_known else None

    def values(self) -> range:
        return range(self.low, self.high + 1)

    def __add__(self, other: Bounds) -> Bounds:
        return Bounds(self.low + other.low, self.high + other.high)

    def at_least(self, limit: int) -> bool | None:
        """Whether the number is ``limit`` or more; None where that is not known.

        >>> Bounds(1, 4).at_least(2) is None
        True
        """
        if self.low >= limit:
            return True
        return False if self.high < limit else None


def higher(*bounds: Bounds) -> Bounds:
    """The limits of the highest of several numbers.

    >>> higher(Bounds.exactly(2), Bounds(0, 3))
    Bounds(low=2, high=3)
    """
    return Bounds(max(b.low for b in bounds), max(b.high for b in bounds))


def stage(name: str, value: int | None, highest: int) -> Bounds:
    """A recorded stage from 0 to ``highest``; None was not recorded and may be any of them. ValueError names it."""
    if value is None:
        return Bounds(0, highest)
    if isinstance(value, bool) or not 0 <= value <= highest:
        raise ValueError(f"{name} is {value!r}; it may be 0 to {highest}.")
    return Bounds.exactly(value)
