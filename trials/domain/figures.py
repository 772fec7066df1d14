"""What every figure shares: colours, fonts, the table below it, and how numbers are written on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: The colour of text and of marks that must be seen on every other colour.
INK = "#16202b"

#: A Vega-Lite specification.
Spec = dict[str, Any]

#: 4.5:1 and more on white; the style sheet has the shade of each for a dark page. Never colour alone: each has a dash.
BLUE, ORANGE, GREY, PALE = "#00588f", "#a6480a", "#74828f", "#d3dbe3"
COLOURS = (BLUE, ORANGE, GREY)
DASHES = ((1, 0), (6, 3), (2, 2))
FONT = "Liberation Sans, Arial, sans-serif"
TEXT_SIZE = 12

#: The host of every link in a specification: the converter takes an absolute address only. The renderer removes it.
LINK_HOST = "https://figure.invalid"

VEGA_LITE = "https://vega.github.io/schema/vega-lite/v6.json"

CONFIG: Spec = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": TEXT_SIZE,
        "titleFontSize": TEXT_SIZE,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "domainColor": GREY,
        "tickColor": GREY,
        "gridColor": PALE,
    },
    "legend": {
        "labelFontSize": TEXT_SIZE,
        "titleFontSize": TEXT_SIZE,
        "orient": "top",
        "title": None,
        "symbolSize": 220,
    },
    "text": {"fontSize": TEXT_SIZE, "color": INK},
}


def unit_words(unit: str) -> str:
    """A unit as it is printed.

    >>> unit_words("10^9/L")
    '10⁹/L'
    """
    return unit.replace("10^9", "10⁹").replace("10^6", "10⁶")


@dataclass(frozen=True)
class Cell:
    """A cell of a table that leads somewhere. ``is_count``: to the listing of as many as its text says."""

    text: str
    url: str = ""
    is_count: bool = False


@dataclass(frozen=True)
class Table:
    """The numbers of a figure."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell | str | int, ...], ...]


def framed(**spec: Any) -> Spec:
    """A whole specification in the frame of every figure."""
    return {"$schema": VEGA_LITE, "config": CONFIG, "padding": 4, **spec}


def inline(rows: Iterable[Mapping[str, object]]) -> Spec:
    """The rows as data of a specification. Data are never loaded from an address."""
    return {"values": [dict(row) for row in rows]}


def percent(share: float, digits: int = 0) -> str:
    """A share as a reader writes it.

    >>> percent(0.7586), percent(0.7586, 1)
    ('76 %', '75.9 %')
    """
    return f"{100 * share:.{digits}f} %"


def p_value(p: float) -> str:
    """A p value with two digits that mean something.

    >>> p_value(0.00030), p_value(0.0412), p_value(0.62), p_value(0.00001)
    ('p = 0.00030', 'p = 0.041', 'p = 0.62', 'p < 0.0001')
    """
    if p < 0.0001:
        return "p < 0.0001"
    digits = 2
    while round(p, digits) < 0.1 ** (digits - 1) and digits < 5:
        digits += 1
    return f"p = {p:.{digits}f}"
