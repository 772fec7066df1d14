"""The one closed grammar of conditions and its three-valued evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    IN = "in"
    NOT_IN = "not_in"
    PRESENT = "present"


Literal = str | int | Decimal | bool


@dataclass(frozen=True)
class Offset:
    """A calendar distance; negative values look back."""

    days: int = 0
    weeks: int = 0
    months: int = 0
    years: int = 0


@dataclass(frozen=True)
class Reference:
    """Another item, with a distance for dates: ``{item: TX.PLANNED_DATE, minus: {months: 3}}``."""

    item: str
    offset: Offset | None = None


@dataclass(frozen=True)
class Test:
    """A leaf: ``{item: DM.AGE, lt: 18}``; with ``of``, the value is a multiple of that item."""

    item: str
    op: Operator
    value: Literal | tuple[Literal, ...] | Reference
    of: str | None = None


@dataclass(frozen=True)
class All:
    of: tuple[Condition, ...]


@dataclass(frozen=True)
class Any:
    of: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    of: Condition


Condition = All | Any | Not | Test
