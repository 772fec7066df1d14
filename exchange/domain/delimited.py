"""Cells as text of a CSV file (RFC 4180), and what makes a text harmless in a spreadsheet."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum

from .codebook import Cell, Row


class Variant(StrEnum):
    """Whom the files are for."""

    STATISTICAL = "statistical"
    SPREADSHEET = "spreadsheet"


#: A spreadsheet takes a text that begins with one of these for a formula, or drops it and looks at the next one.
FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)


def neutralised(text: str) -> str:
    """``text`` with a leading apostrophe where a spreadsheet would compute it; plain numbers stay numbers.

    Source: OWASP, CSV Injection.

    >>> [neutralised(text) for text in ("=1+1", "-5", "-5+A1", "<0.01")]
    ["'=1+1", '-5', "'-5+A1", '<0.01']
    """
    if text[:1] in FORMULA_STARTS and text and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def written(value: Cell) -> str:
    """A cell as text: ISO 8601 dates, moments in UTC, decimals without padding, yes and no; '' for an empty one.

    >>> written(Decimal("0.05000000")), written(Decimal("200")), written(True), written(None)
    ('0.05', '200', 'yes', '')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def line(row: Row) -> list[str]:
    """A row as texts."""
    # Most cells are text: asking for that first halves the time of a large trail.
    return [value if value.__class__ is str else written(value) for value in row]


def harmless_line(row: Row) -> list[str]:
    """A row as texts that no spreadsheet computes; numbers and dates are none that begin like a formula."""
    return [neutralised(value) if isinstance(value, str) else written(value) for value in row]
