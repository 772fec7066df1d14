"""What every template may show: the product's version, and whether this is a demonstration."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from accounts.roles import Permission


def canopy(request: HttpRequest) -> dict[str, object]:
    membership = getattr(request, "membership", None)
    return {
        "canopy_version": settings.VERSION,
        "demo": settings.DEMO,
        "membership": membership,
        "may_view_audit": membership is not None and membership.may(Permission.VIEW_AUDIT),
        "may_view_results": membership is not None and membership.may(Permission.VIEW_DASHBOARD),
    }
