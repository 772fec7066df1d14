"""What every template may show: the product's version, and whether this is a demonstration."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def canopy(request: HttpRequest) -> dict[str, object]:
    return {
        "canopy_version": settings.VERSION,
        "demo": settings.DEMO,
        "membership": getattr(request, "membership", None),
    }
