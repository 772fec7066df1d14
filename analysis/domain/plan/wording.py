"""How the numbers of a result are written: one way for all tables."""

from __future__ import annotations

import math

from analysis.domain.plan.results import Listing, Number
from trials.domain import figures

NONE = Number("–")


def count(k: int, n: int, listing: Listing | None = None, method: str = "count") -> Number:
    """A count with its share.

    >>> count(41, 51).text
    '41 of 51 (80.4 %)'
    """
    share = f" ({figures.percent(k / n, 1)})" if n else ""
    return Number(f"{k} of {n}{share}", float(k), method, n, listing=listing)


def number(k: int, listing: Listing | None = None, method: str = "count") -> Number:
    return Number(str(k), float(k), method, listing=listing)


def share(
    estimate: float, lower: float, upper: float, *, n: int, method: str, listing: Listing | None = None
) -> Number:
    """A share with its interval, in per cent.

    >>> share(0.8039, 0.6688, 0.9018, n=51, method="Clopper-Pearson").text
    '80.4 % (66.9 to 90.2)'
    """
    low, high = or_none(lower), or_none(upper)
    text = figures.percent(estimate, 1)
    if low is not None and high is not None:
        text += f" ({100 * low:.1f} to {100 * high:.1f})"
    return Number(text, estimate, method, n, low, high, listing)


def ratio(estimate: float, lower: float, upper: float, *, n: int, method: str) -> Number:
    """A ratio with its interval.

    >>> ratio(2.071, 1.352, 3.189, n=158, method="Fine-Gray").text
    '2.07 (1.35 to 3.19)'
    """
    low, high = or_none(lower), or_none(upper)
    text = f"{estimate:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else "")
    return Number(text, estimate, method, n, low, high)


def p(value: float, method: str) -> Number:
    """A p value; 'not defined' where the test gives none."""
    if not math.isfinite(value):
        return Number("not defined", None, method)
    return Number(figures.p_value(value).removeprefix("p = ").removeprefix("p "), value, method)


def or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def said(sentence: object) -> str:
    """A kernel's refusal as a sentence."""
    words = str(sentence)
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")


def p_words(value: float) -> str:
    return figures.p_value(value) if math.isfinite(value) else "p not defined"
