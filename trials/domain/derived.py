"""Values computed from other values by a closed set of functions; a missing input makes the result *not known*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from .answers import Answer
from .conditions import MISSING, Observed, Operator, Reference, Test, Value, Values, evaluate, items_of
from .definition import Derived, DerivedFunction, Protocol
from .partial_dates import PartialDate, completed_years

#: Rows of the repeating forms: form id → rows, each address → value.
Rows = Mapping[str, Sequence[Values]]

DAYS_PER_YEAR = Decimal("365.25")
HUNDREDTH = Decimal("0.01")

#: Function: what it computes, for the reference page.
FUNCTIONS: Mapping[DerivedFunction, str] = {
    DerivedFunction.COMPLETED_YEARS: "completed calendar years from `from` to `to`",
    DerivedFunction.YEARS_BETWEEN: "years of 365.25 days from `from` to `to`, two decimals",
    DerivedFunction.DAYS_BETWEEN: "days from `from` to `to`",
    DerivedFunction.FIRST: "`item` of the row with the earliest `by` date",
    DerivedFunction.LAST: "`item` of the row with the latest `by` date",
    DerivedFunction.MAXIMUM: "largest number of `item` over the rows",
    DerivedFunction.MINIMUM: "smallest number of `item` over the rows",
    DerivedFunction.COUNT: "number of rows",
    DerivedFunction.EARLIEST: "earliest date of `item` over the rows",
    DerivedFunction.LATEST: "latest date of `item` over the rows",
}
OVER_ROWS = frozenset(DerivedFunction) - {
    DerivedFunction.COMPLETED_YEARS,
    DerivedFunction.YEARS_BETWEEN,
    DerivedFunction.DAYS_BETWEEN,
}


def with_derived(protocol: Protocol, values: Values, rows: Rows | None = None) -> dict[str, Observed]:
    """``values`` and every derived item, each computed after those it reads (the order of the file)."""
    known = dict(values)
    for spec in protocol.derived:
        known[spec.id] = derive(spec, known, rows or {})
    return known


def derive(spec: Derived, values: Values, rows: Rows) -> Observed:
    """One derived value, whose source names what it was computed from."""
    if spec.function in OVER_ROWS:
        found = _over_rows(spec, values, rows.get(spec.item.partition(".")[0]))
    else:
        found = _between(spec, values)
    return values.get(spec.otherwise, found) if found.value is None and spec.otherwise else found


def reads(protocol: Protocol, address: str) -> frozenset[str]:
    """The addresses that a value rests on: the item itself, or of a derived one everything that it is computed from."""
    by_id = {spec.id: spec for spec in protocol.derived}
    found: set[str] = set()
    waiting = [address]
    while waiting:
        name = waiting.pop()
        if not name or name in found:
            continue
        found.add(name)
        if (spec := by_id.get(name)) is not None:
            waiting += [spec.item, spec.from_item, spec.to_item, spec.by, spec.before, spec.otherwise]
            waiting += items_of(spec.where) if spec.where is not None else ()
    return frozenset(found)


def _between(spec: Derived, values: Values) -> Observed:
    start, end = values.get(spec.from_item, MISSING), values.get(spec.to_item, MISSING)
    source = f"{spec.from_item} {start.words()} to {spec.to_item} {end.words()}"
    since, until = _span(start.value), _span(end.value)
    low: Decimal | int
    high: Decimal | int
    if since is None or until is None:
        return Observed(None, source)
    if spec.function is DerivedFunction.COMPLETED_YEARS:
        low, high = completed_years(since[1], until[0]), completed_years(since[0], until[1])
        unit = "years"
    elif spec.function is DerivedFunction.YEARS_BETWEEN:
        days = (until[0] - since[1]).days, (until[1] - since[0]).days
        low, high = ((Decimal(one) / DAYS_PER_YEAR).quantize(HUNDREDTH) for one in days)
        unit = "years"
    else:
        low, high = (until[0] - since[1]).days, (until[1] - since[0]).days
        unit = "days"
    # A partial date may leave the result open; then it is not known, however likely one value is.
    return Observed(Decimal(low) if low == high else None, source, until[1], unit=unit)


def _over_rows(spec: Derived, values: Values, rows: Sequence[Values] | None) -> Observed:
    source = f"{spec.function} of {spec.item}"
    if rows is None:
        return Observed(None, source)
    kept = []
    for row in rows:
        answer = _belongs(spec, row, values)
        if answer is Answer.UNKNOWN:
            return Observed(None, source)
        if answer is Answer.YES:
            kept.append(row)
    if spec.function is DerivedFunction.COUNT:
        return Observed(Decimal(len(kept)), source)
    seen = [row.get(spec.item, MISSING) for row in kept]
    if not seen:
        return Observed(None, source)
    if spec.function in (DerivedFunction.FIRST, DerivedFunction.LAST):
        return _at_an_end(spec, kept, source)
    if any(one.value is None for one in seen):
        return Observed(None, source)
    if spec.function in (DerivedFunction.EARLIEST, DerivedFunction.LATEST):
        return _extreme_date(spec, seen, source)
    numbers = [one for one in seen if isinstance(one.value, int | Decimal) and not one.qualifier]
    if len(numbers) < len(seen):
        return Observed(None, source)
    pick = max if spec.function is DerivedFunction.MAXIMUM else min
    return replace(pick(numbers, key=lambda one: Decimal(str(one.value))), source=source)


def _belongs(spec: Derived, row: Values, values: Values) -> Answer:
    """Whether a row counts: it meets `where`, and its date is before that of `before`."""
    if spec.where is not None:
        answer = evaluate(spec.where, {**values, **row}).answer
        if answer is not Answer.YES:
            return answer
    if spec.before:
        return evaluate(Test(spec.by, Operator.LT, Reference(spec.before)), {**values, **row}).answer
    return Answer.YES


def _at_an_end(spec: Derived, rows: Sequence[Values], source: str) -> Observed:
    """The item of the first or last row; not known when partial dates leave the order open."""
    spans = []
    for row in rows:
        span = _span(row.get(spec.by, MISSING).value)
        if span is None:
            return Observed(None, source)
        spans.append((span, row))
    if spec.function is DerivedFunction.LAST:
        (low, _), chosen = max(spans, key=lambda one: one[0])
        rivals = [row for (_, high), row in spans if row is not chosen and high >= low]
    else:
        (_, high), chosen = min(spans, key=lambda one: (one[0][1], one[0][0]))
        rivals = [row for (low, _), row in spans if row is not chosen and low <= high]
    best = chosen.get(spec.item, MISSING)
    if any(rival.get(spec.item, MISSING).value != best.value for rival in rivals):
        return Observed(None, source)
    return replace(
        best, source=f"{source}, {spec.by} {chosen[spec.by].words()}", observed_on=_span_end(chosen[spec.by])
    )


def _extreme_date(spec: Derived, seen: Sequence[Observed], source: str) -> Observed:
    spans = [(span, one) for one in seen if (span := _span(one.value)) is not None]
    if len(spans) < len(seen):
        return Observed(None, source)
    if spec.function is DerivedFunction.LATEST:
        (low, _), chosen = max(spans, key=lambda pair: pair[0])
        open_order = any(high > low for (_, high), one in spans if one is not chosen)
    else:
        (_, high), chosen = min(spans, key=lambda pair: (pair[0][1], pair[0][0]))
        open_order = any(low < high for (low, _), one in spans if one is not chosen)
    if open_order:
        return Observed(None, source)
    return replace(chosen, source=source)


def _span(value: Value) -> tuple[date, date] | None:
    """The first and last day a value may mean."""
    if isinstance(value, datetime):
        return value.date(), value.date()
    if isinstance(value, date):
        return value, value
    if isinstance(value, PartialDate):
        return value.earliest, value.latest
    return None


def _span_end(seen: Observed) -> date | None:
    span = _span(seen.value)
    return span[1] if span else None
