"""Numbers as people and laboratories write them: read exactly, refused where two readings are possible."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

#: More digits than any measurement has; also what a column of the database holds.
MAX_WHOLE_DIGITS = 12
MAX_DECIMALS = 8

_QUALIFIERS = {"<": "<", ">": ">", "<=": "<=", ">=": ">=", "≤": "<=", "≥": ">="}
_SHAPE = re.compile(
    r"(?P<qualifier><=|>=|[<>≤≥])?\s*(?P<sign>[-\u2212])?(?P<whole>[0-9]+)(?:[.,](?P<decimals>[0-9]+))?"
)


class NumberEntryError(ValueError):
    """A text that is no number, or may be two; the message says what to type instead."""


@dataclass(frozen=True)
class TypedNumber:
    """A number exactly as it was typed: ``text`` has a decimal point and every digit, zeros at the end included."""

    text: str
    qualifier: str = ""

    @property
    def value(self) -> Decimal:
        return Decimal(self.text)

    @property
    def decimals(self) -> int:
        return len(self.text.partition(".")[2])


def enter_number(text: str, *, decimals: int | None = None, unit: str = "") -> TypedNumber:
    """Read a number with ``.`` or ``,`` as decimal mark; ``<0.01`` is a result below the range of an assay.

    Refused, with the way out: both marks, ``1,234`` (one or a thousand?), more than ``decimals`` decimals (never cut
    off), a unit or a word beside the number. Raises NumberEntryError.

    >>> enter_number("0,050")
    TypedNumber(text='0.050', qualifier='')
    >>> enter_number("<0.01").qualifier
    '<'
    """
    typed = text.strip()
    match = _SHAPE.fullmatch(typed)
    if not match:
        raise NumberEntryError(_why_not(typed, unit))
    whole, fraction = match["whole"], match["decimals"] or ""
    if "," in typed and len(fraction) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0"):
        raise NumberEntryError(
            f"“{typed}” can be read as {whole}.{fraction} or as {whole}{fraction}. Type one of the two."
        )
    if len(whole.lstrip("0")) > MAX_WHOLE_DIGITS:
        raise NumberEntryError(f"“{typed}” has more than {MAX_WHOLE_DIGITS} digits. Check the value and its unit.")
    allowed = MAX_DECIMALS if decimals is None else min(decimals, MAX_DECIMALS)
    if len(fraction) > allowed:
        places = "a whole number" if allowed == 0 else f"at most {allowed} decimal{'s' if allowed > 1 else ''}"
        raise NumberEntryError(
            f"“{typed}” has {len(fraction)} decimals; this takes {places}. It is not rounded for you."
        )
    sign = "-" if match["sign"] else ""
    written = f"{sign}{whole}{'.' + fraction if fraction else ''}"
    return TypedNumber(written, _QUALIFIERS.get(match["qualifier"] or "", ""))


def plain(number: Decimal | None) -> str:
    """A number without zeros at its end and never with an exponent; nothing for none.

    >>> plain(Decimal("100.00")), plain(Decimal("0.0500"))
    ('100', '0.05')
    """
    return "" if number is None else f"{number.normalize():f}"


def _why_not(typed: str, unit: str) -> str:
    shown = typed if len(typed) <= 40 else f"{typed[:40]}…"
    if "," in typed and "." in typed and re.fullmatch(r"[<>≤≥=\s\-0-9.,]+", typed):
        return f"“{shown}” has both a comma and a point. Type the number with one decimal mark and no other."
    if re.fullmatch(r"[<>≤≥=\s\-]*[0-9]{1,3}([ .,'\u00a0\u202f][0-9]{3})+", typed):
        return f"“{shown}” groups its digits. Type the digits without a mark between the thousands."
    if re.match(r"[<>≤≥=\s\-]*[0-9]", typed) and re.search(r"[A-Za-zµμ/%^*]", typed):
        where = f" The unit ({unit}) stands beside the field." if unit else ""
        return f"“{shown}” is more than a number. Type the digits alone.{where}"
    return f"“{shown}” is not a number. Type digits with . or , as decimal mark, such as 12.5."
