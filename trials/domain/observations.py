"""From an answer as it is stored to a value that rules can compare."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from .conditions import Observed, Value
from .definition import Item, ItemType, Protocol
from .partial_dates import PartialDate

#: Answers of a `yes_no_unknown` item.
YES, NO, UNKNOWN = "Y", "N", "U"


def typed(item: Item, raw: object) -> Value:
    """The value of a stored answer; an answer that says *not known* is None, as missing data are.

    Raises ValueError for text that is no value of the item's type.

    >>> typed(Item(id="WEIGHT", label="Weight", type=ItemType.NUMBER, unit="kg"), "12.50")
    Decimal('12.50')
    """
    if raw is None or raw == "":
        return None
    if isinstance(raw, date | datetime | PartialDate):
        return raw
    text = str(raw)
    if item.type is ItemType.YES_NO_UNKNOWN:
        return None if text == UNKNOWN else text
    if item.type is ItemType.CODE:
        return None if any(code.unknown and code.value == text for code in item.codes) else text
    if item.type in (ItemType.NUMBER, ItemType.INTEGER):
        return _decimal(item, text)
    if item.type is ItemType.DATETIME:
        return datetime.fromisoformat(text)
    if item.type in (ItemType.DATE, ItemType.PARTIAL_DATE):
        partial = PartialDate.from_iso(text)
        return partial.exact or partial
    return text


def observe(
    protocol: Protocol,
    address: str,
    raw: object,
    *,
    source: str = "",
    observed_on: date | datetime | None = None,
    qualifier: str = "",
) -> Observed:
    """A stored answer as rules see it, with the unit of its item; ``raw`` is in the canonical unit.

    Raises KeyError for an address the protocol does not have.
    """
    analytes = {f"{analyte.form}.{analyte.id}": analyte for analyte in protocol.analytes}
    base = address.removesuffix("_LLN").removesuffix("_ULN")
    if base in analytes:
        number = None if raw in (None, "") else Decimal(str(raw))
        return Observed(number, source, observed_on, qualifier, analytes[base].canonical_unit)
    item = protocol.item(address)
    return Observed(typed(item, raw), source, observed_on, qualifier, item.unit)


def observe_all(protocol: Protocol, answers: Mapping[str, object]) -> dict[str, Observed]:
    """``observe`` for each address."""
    return {address: observe(protocol, address, raw) for address, raw in answers.items()}


def labels(protocol: Protocol) -> dict[str, str]:
    """The words for each address, for the sentences of a verdict."""
    named = {f"{form.id}.{item.id}": item.label for form in protocol.forms for item in form.items}
    for analyte in protocol.analytes:
        address = f"{analyte.form}.{analyte.id}"
        named[address] = analyte.label
        named[f"{address}_LLN"] = f"lower limit of normal of {analyte.label}"
        named[f"{address}_ULN"] = f"upper limit of normal of {analyte.label}"
    return named


def _decimal(item: Item, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"“{text}” is not a number; {item.label} needs one") from None
    if not number.is_finite():
        raise ValueError(f"“{text}” is not a number; {item.label} needs one")
    return number
