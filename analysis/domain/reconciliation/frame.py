"""What reconciliation computes from, and how its numbers are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

from analysis.domain.simon import TwoStage


@dataclass(frozen=True)
class Case:
    """One participant or external control, with what reconciliation asks of them. Days count from the anchor.

    ``rows`` are the entries of repeating forms, each item -> value, ``DAY`` the study day; ``events`` the first day of
    a kind, and of a kind with its grade (``chronic_gvhd:severe``); ``times`` days and cause (1 reached, 2 competing,
    0 neither) of each endpoint of the definition. ``first_given_day`` is the study day of the first dose.
    """

    number: str
    group: str
    is_external: bool
    is_enrolled: bool
    failure_reason: str = ""
    removed_by: str = ""
    evaluable: bool | None = None
    status: str = ""
    met_rule: bool = False
    event_day: int | None = None
    competing_kind: str = ""
    competing_day: int | None = None
    censored_day: int | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    followed_to_day: int | None = None
    given_mg: Decimal | None = None
    first_given_day: int | None = None
    given_mg_per_kg: Decimal | None = None
    given_over_planned: Decimal | None = None


@dataclass(frozen=True)
class AdverseEventCell:
    """One adverse event as the table of the publication counts it."""

    number: str
    category: str
    reported: str
    grade: int


@dataclass(frozen=True)
class Facts:
    """Everything that reconciliation computes from: read once."""

    cases: tuple[Case, ...]
    sets: Mapping[str, frozenset[str]]
    gates: Mapping[int, tuple[int, int]]
    adverse_events: tuple[AdverseEventCell, ...]
    design: TwoStage | None = None
    null: float | None = None
    alternative: float | None = None
    last_day: int = 103
    first_day: int = 0

    def of(self, name: str) -> list[Case]:
        """The members of an analysis set, or of a group."""
        if name in self.sets:
            return [case for case in self.cases if case.number in self.sets[name]]
        return [case for case in self.cases if case.group == name]


class Because(StrEnum):
    """Where a difference comes from; a row that differs names one."""

    PUBLICATION = "the publication contradicts itself"
    METHOD = "the publication does not say how"
    RECONSTRUCTION = "the reconstruction cannot hold it"
    BESIDE = "computed beside what is printed"


@dataclass(frozen=True)
class Reconciled:
    """One row: what is printed, what is computed, how, and why they differ where they do."""

    id: str
    quantity: str
    published: str
    computed: str
    method: str
    explanation: str = ""
    because: Because | None = None

    @property
    def agrees(self) -> bool:
        return self.published == self.computed


def half_up(value: float, decimals: int = 0) -> str:
    """Round half up on the decimal text, as tables are rounded by hand: 56.25 is 56.3.

    >>> half_up(56.25, 1), half_up(80.392)
    ('56.3', '80')
    """
    step = Decimal(1).scaleb(-decimals)
    return str(Decimal(repr(float(value))).quantize(step, rounding=ROUND_HALF_UP))


def two_digits(p: float) -> str:
    """A p value with two significant digits, as the publication prints it.

    >>> two_digits(0.000301), two_digits(0.1149)
    ('0.00030', '0.11')
    """
    if p < 0.0001:
        return "<0.0001"
    digits = 2
    while p < 10.0 ** (1 - digits):
        digits += 1
    return half_up(p, digits)


def percent(estimate: float, lower: float, upper: float) -> str:
    return f"{half_up(100 * estimate)}% ({half_up(100 * lower)}-{half_up(100 * upper)})"


def where(cases: Sequence[Case], given: Mapping[str, Any]) -> list[Case]:
    """Narrow by ``where``: see :func:`matches`."""
    wanted: Mapping[str, Any] = given.get("where", {})
    return [case for case in cases if matches(case, wanted)]


def matches(case: Case, wanted: Mapping[str, Any]) -> bool:
    """Whether a case is what is asked for; what is not known is not.

    ``{item: value}``, ``{item: [values]}``, ``{item: {at_least, above, at_most}}``; ``rows: {form: {item: ...}}`` asks
    for a row of a repeating form, ``no_rows`` for none, ``events: [kinds]`` for one of these events.
    """
    for item, value in wanted.items():
        if item == "rows" or item == "no_rows":
            for form, row_wanted in value.items():
                has = any(row_matches(row, row_wanted) for row in case.rows.get(form, ()))
                if has is not (item == "rows"):
                    return False
        elif item == "events":
            if not set(value) & set(case.events):
                return False
        elif not _fits(case.values.get(item, ""), value):
            return False
    return True


def row_matches(row: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    return all(_fits(row.get(item, ""), value) for item, value in wanted.items())


def _fits(text: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        if "not" in value:
            return text not in (value["not"] if isinstance(value["not"], list) else [value["not"]])
        if text == "":
            return False
        number = Decimal(text)
        return (
            ("at_least" not in value or number >= value["at_least"])
            and ("above" not in value or number > value["above"])
            and ("at_most" not in value or number <= value["at_most"])
        )
    return text in ([str(one) for one in value] if isinstance(value, list) else [str(value)])
