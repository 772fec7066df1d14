"""How the pages print amounts: every digit that counts and no zero behind it."""

from __future__ import annotations

from decimal import Decimal

from django import template

from dosing.domain.nomogram import plain

register = template.Library()


@register.filter
def amount(value: Decimal | int | None) -> str:
    """``47.500`` as ``47.5``; nothing where there is no amount."""
    return "" if value is None or value == "" else plain(Decimal(value))
