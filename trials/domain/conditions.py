"""Conditions: one closed grammar for eligibility, edit checks and skip logic, and its three-valued evaluation.

==================================================  =====================================================
``{item: DM.AGE, lt: 18}``                           a value against a number, a code, a list or a date
``{item: LB.ALT, le: 2.5, of: LB.ALT_ULN}``          against a multiple of another item
``{item: EX.DATE, ge: {item: TX.DATE, minus: {days: 9}}}``  against another item, dates with a distance
``{all: [...]}``, ``{any: [...]}``, ``{not: ...}``   combined
==================================================  =====================================================

Missing data is *not known*, never *no*: an answer is only yes or no when the missing part could not change it.
Only ``present`` looks at the record instead of the value and is therefore always yes or no.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from .answers import Answer, conjunction, disjunction, negation
from .intervals import Interval, Position
from .partial_dates import PartialDate, add_months


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


ORDERING = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})

#: Operator: what it means, and how a sentence says that it holds and that it does not.
OPERATORS: Mapping[Operator, tuple[str, str, str]] = {
    Operator.EQ: ("equal", "{value}", "not {value}"),
    Operator.NE: ("not equal", "not {value}", "{value}"),
    Operator.LT: ("below", "below {value}", "not below {value}"),
    Operator.LE: ("at most", "at most {value}", "above {value}"),
    Operator.GT: ("above", "above {value}", "not above {value}"),
    Operator.GE: ("at least", "at least {value}", "below {value}"),
    Operator.IN: ("one of a list", "one of {value}", "none of {value}"),
    Operator.NOT_IN: ("none of a list", "none of {value}", "one of {value}"),
    Operator.PRESENT: ("recorded (true) or not recorded (false)", "", ""),
}
_DATE_WORDS = {
    Operator.LT: ("before {value}", "not before {value}"),
    Operator.LE: ("on or before {value}", "after {value}"),
    Operator.GT: ("after {value}", "not after {value}"),
    Operator.GE: ("on or after {value}", "before {value}"),
}

Literal = str | int | Decimal | bool


@dataclass(frozen=True)
class Offset:
    """A calendar distance; negative parts look back. Months end on the last day of a shorter month."""

    days: int = 0
    weeks: int = 0
    months: int = 0
    years: int = 0

    def added_to(self, day: date) -> date:
        moved = add_months(day, self.months + 12 * self.years)
        return moved + timedelta(days=self.days, weeks=self.weeks)

    def words(self) -> str:
        """As in ``minus 3 months``; empty for no distance."""
        parts = []
        for name in ("years", "months", "weeks", "days"):
            if count := getattr(self, name):
                unit = name[:-1] if abs(count) == 1 else name
                parts.append(f"{'plus' if count > 0 else 'minus'} {abs(count)} {unit}")
        return " ".join(parts)


@dataclass(frozen=True)
class Reference:
    """Another item, with a distance for dates: ``{item: TX.PLANNED_DATE, minus: {months: 3}}``."""

    item: str
    offset: Offset = Offset()


@dataclass(frozen=True)
class Test:
    """A leaf: ``{item: DM.AGE, lt: 18}``; with ``of``, the value is a multiple of that item."""

    __test__ = False  # not a test case of pytest

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
Value = str | int | Decimal | bool | date | datetime | PartialDate | None


@dataclass(frozen=True)
class Observed:
    """A value and where it was seen. ``qualifier`` is ``<`` or ``>`` for a result beyond the range of its assay."""

    value: Value
    source: str = ""
    observed_on: date | datetime | None = None
    qualifier: str = ""
    unit: str = ""

    def words(self) -> str:
        if self.value is None:
            return "not known"
        return f"{self.qualifier}{_words(self.value)}{' ' + self.unit if self.unit else ''}"


MISSING = Observed(None)
Values = Mapping[str, Observed]


@dataclass(frozen=True)
class Verdict:
    """An answer and the leaf that decided it, which is its own explanation."""

    answer: Answer
    leaf: Test
    item: str
    value: Observed
    source: str
    sentence: str
    leaves: tuple[Verdict, ...] = field(default=(), repr=False)


def items_of(condition: Condition) -> tuple[str, ...]:
    """Every address the condition reads, in order, without repeats."""
    names: list[str] = []
    for leaf in leaves_of(condition):
        names += [leaf.item, leaf.of or "", leaf.value.item if isinstance(leaf.value, Reference) else ""]
    return tuple(dict.fromkeys(name for name in names if name))


def leaves_of(condition: Condition) -> tuple[Test, ...]:
    if isinstance(condition, Test):
        return (condition,)
    parts = (condition.of,) if isinstance(condition, Not) else condition.of
    return tuple(leaf for part in parts for leaf in leaves_of(part))


def evaluate(condition: Condition, values: Values, *, labels: Mapping[str, str] | None = None) -> Verdict:
    """The answer for these values, with the leaf that decided it; an address that is not there is missing.

    >>> young = Test("DM.AGE", Operator.LT, 18)
    >>> evaluate(young, {"DM.AGE": Observed(19)}).sentence
    'DM.AGE is 19, not below 18.'
    >>> str(evaluate(young, {}).answer)
    'unknown'
    """
    labels = labels or {}
    if isinstance(condition, Test):
        return _leaf(condition, values, labels)
    if isinstance(condition, Not):
        inner = evaluate(condition.of, values, labels=labels)
        return Verdict(
            negation(inner.answer), inner.leaf, inner.item, inner.value, inner.source, inner.sentence, inner.leaves
        )
    parts = [evaluate(part, values, labels=labels) for part in condition.of]
    combine = conjunction if isinstance(condition, All) else disjunction
    answer = combine(part.answer for part in parts)
    deciding = [part for part in parts if part.answer is answer]
    first = deciding[0]
    # Where every part was needed for the answer, every part is the explanation.
    needed_all = answer is (Answer.YES if isinstance(condition, All) else Answer.NO)
    sentence = (
        " ".join(part.sentence for part in deciding) if needed_all or answer is Answer.UNKNOWN else first.sentence
    )
    leaves = tuple(leaf for part in parts for leaf in (part.leaves or (part,)))
    return Verdict(answer, first.leaf, first.item, first.value, first.source, sentence, leaves)


def _leaf(test: Test, values: Values, labels: Mapping[str, str]) -> Verdict:
    seen = values.get(test.item, MISSING)
    name = labels.get(test.item, test.item)
    if test.op is Operator.PRESENT:
        recorded = seen.value is not None
        sentence = f"{name} is {'' if recorded else 'not '}recorded."
        return Verdict(Answer.of(recorded is bool(test.value)), test, test.item, seen, seen.source, sentence)
    if isinstance(test.value, tuple):
        answer = disjunction(_compare(Operator.EQ, seen, Observed(option)) for option in test.value)
        answer = negation(answer) if test.op is Operator.NOT_IN else answer
        words = ", ".join(_words(option) for option in test.value)
    else:
        bound, words = _bound(test, values, labels)
        offset = test.value.offset if isinstance(test.value, Reference) else Offset()
        answer = _compare(test.op, seen, bound, offset)
    return Verdict(answer, test, test.item, seen, seen.source, _sentence(test, name, seen, answer, words))


def _bound(test: Test, values: Values, labels: Mapping[str, str]) -> tuple[Observed, str]:
    """What the item is compared with, and its words."""
    if isinstance(test.value, Reference):
        other = values.get(test.value.item, MISSING)
        words = f"{labels.get(test.value.item, test.value.item)} {test.value.offset.words()}".rstrip()
        return other, f"{words} ({other.words()})" if other.value is not None else words
    assert not isinstance(test.value, tuple)
    if test.of is None:
        return Observed(test.value), _words(test.value)
    base = values.get(test.of, MISSING)
    words = f"{_words(test.value)} times {labels.get(test.of, test.of)}"
    number = _number(base.value)
    if number is None or base.qualifier:
        return MISSING, words
    limit = number * Decimal(str(test.value))
    return Observed(limit), f"{words} ({_words(limit)})"


def _compare(op: Operator, left: Observed, right: Observed, offset: Offset = Offset()) -> Answer:
    if left.value is None or right.value is None:
        return Answer.UNKNOWN
    if op is Operator.NE:
        return negation(_compare(Operator.EQ, left, right, offset))
    if isinstance(left.value, datetime) and isinstance(right.value, datetime) and offset == Offset():
        return _placed(op, Interval.point(left.value), Interval.point(right.value))
    if isinstance(left.value, date | PartialDate) or isinstance(right.value, date | PartialDate):
        days, others = _days(left.value), _days(right.value)
        if days is None or others is None or others.low is None or others.high is None:
            return Answer.UNKNOWN
        return _placed(op, days, Interval(offset.added_to(others.low), offset.added_to(others.high)))
    number, other = _number(left.value), _number(right.value)
    if number is not None and other is not None:
        return _placed(op, _range(number, left.qualifier), _range(other, right.qualifier))
    if op is Operator.EQ:
        return Answer.of(_words(left.value) == _words(right.value))
    return Answer.UNKNOWN


def _placed(op: Operator, left: Interval[Position], right: Interval[Position]) -> Answer:
    if op is Operator.LT:
        return left.less(right)
    if op is Operator.LE:
        return left.at_most(right)
    if op is Operator.GT:
        return right.less(left)
    if op is Operator.GE:
        return right.at_most(left)
    return left.equal(right)


def _range(number: Decimal, qualifier: str) -> Interval[Decimal]:
    """``<0.01`` is every number below 0.01."""
    if qualifier == "<":
        return Interval(None, number, high_open=True)
    if qualifier == ">":
        return Interval(number, None, low_open=True)
    if qualifier in ("<=", ">="):
        return Interval(None, number) if qualifier == "<=" else Interval(number, None)
    return Interval.point(number)


def _days(value: Value) -> Interval[date] | None:
    """The days a date may mean; a point in time counts as its day."""
    if isinstance(value, datetime):
        return Interval.point(value.date())
    if isinstance(value, date):
        return Interval.point(value)
    if isinstance(value, PartialDate):
        return value.interval()
    if isinstance(value, str):
        try:
            return PartialDate.from_iso(value[:10]).interval()
        except ValueError:
            return None
    return None


def _number(value: Value) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _words(value: Value) -> str:
    if isinstance(value, datetime):
        return f"{PartialDate.from_date(value.date()).display()} {value:%H:%M}"
    if isinstance(value, date):
        return PartialDate.from_date(value).display()
    if isinstance(value, PartialDate):
        return value.display()
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value)


def _sentence(test: Test, name: str, seen: Observed, answer: Answer, words: str) -> str:
    if seen.value is None:
        return f"{name} is not known."
    if answer is Answer.UNKNOWN:
        _, holds, _ = _phrases(test, seen)
        return f"{name} is {seen.words()}; whether that is {holds.format(value=words)} is not known."
    _, holds, fails = _phrases(test, seen)
    said = (holds if answer is Answer.YES else fails).format(value=words)
    if test.op in (Operator.EQ, Operator.NE) and said == seen.words():
        return f"{name} is {seen.words()}."
    return f"{name} is {seen.words()}, {said}."


def _phrases(test: Test, seen: Observed) -> tuple[str, str, str]:
    if test.op in _DATE_WORDS and isinstance(seen.value, date | PartialDate):
        return ("", *_DATE_WORDS[test.op])
    return OPERATORS[test.op]
