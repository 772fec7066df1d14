"""What is known of a value whose exact position is not: ``<0.01``, *March 2017*."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Generic, TypeVar

from .answers import Answer

Position = TypeVar("Position", Decimal, date, datetime)


@dataclass(frozen=True)
class Interval(Generic[Position]):
    """From ``low`` to ``high``; None is without end; ``open`` ends do not belong to it."""

    low: Position | None
    high: Position | None
    low_open: bool = False
    high_open: bool = False

    @classmethod
    def point(cls, value: Position) -> Interval[Position]:
        return cls(value, value)

    def less(self, other: Interval[Position]) -> Answer:
        """Whether every value here is below every value there."""
        if self._ends_by_start_of(other, or_touches=self.high_open or other.low_open):
            return Answer.YES
        return Answer.NO if other._ends_by_start_of(self, or_touches=True) else Answer.UNKNOWN

    def at_most(self, other: Interval[Position]) -> Answer:
        """Whether every value here is at or below every value there."""
        if self._ends_by_start_of(other, or_touches=True):
            return Answer.YES
        return Answer.NO if other.less(self) is Answer.YES else Answer.UNKNOWN

    def equal(self, other: Interval[Position]) -> Answer:
        """Yes only for two known points; no for two ranges that cannot meet."""
        if self.less(other) is Answer.YES or other.less(self) is Answer.YES:
            return Answer.NO
        known = self.low is not None and self.low == self.high and other.low is not None and other.low == other.high
        return Answer.YES if known else Answer.UNKNOWN

    def _ends_by_start_of(self, other: Interval[Position], *, or_touches: bool) -> bool:
        if self.high is None or other.low is None:
            return False
        return self.high < other.low or (or_touches and self.high == other.low)
