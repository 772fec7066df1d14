"""How the pages print amounts: every digit that counts and no zero behind it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django import template
from django.utils.translation import gettext as _

from dosing.domain.nomogram import plain
from dosing.domain.worksheet import stored_moment_words

register = template.Library()


@register.filter
def amount(value: Decimal | int | None) -> str:
    """``47.500`` as ``47.5``; nothing where there is no amount."""
    return "" if value is None or value == "" else plain(Decimal(value))


@register.filter
def number_text(value: str) -> str:
    """A stored decimal as it is printed: ``167.50`` as ``167.5``."""
    return plain(Decimal(value))


@register.filter
def day_text(value: str) -> str:
    """A stored day as it is printed: ``2026-11-29`` as ``29-Nov-2026``."""
    return stored_moment_words(value)


@register.filter
def percent_text(share: float) -> str:
    """A share as whole percent; above 100 % the levels contradict the population and nothing is gained by digits."""
    return f"{round(100 * share)} %"


@register.simple_tag
def against(value: float, target: Mapping[str, str]) -> str:
    """In words, where an exposure lies and how far outside."""
    low, high = float(target["low"]), float(target["high"])
    if value < low:
        return _("%(far)s below") % {"far": f"{low - value:.1f}"}
    return _("%(far)s above") % {"far": f"{value - high:.1f}"} if value > high else _("inside")
