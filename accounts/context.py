"""What every page knows about the visitor: theme, session time, previous login; before login the practice accounts."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime

from accounts.adapter import PREVIOUS_LOGIN
from accounts.demo import accounts_to_offer
from accounts.middleware import time_left
from accounts.models import User

THEME_COOKIE = "theme"


def account(request: HttpRequest) -> dict[str, Any]:
    """``theme``, ``session_left_s`` (None for a visitor), ``previous_login_at``, ``demo_accounts``."""
    user = getattr(request, "user", None)
    context: dict[str, Any] = {
        "theme": _known_theme(request.COOKIES.get(THEME_COOKIE)),
        "session_left_s": None,
        "previous_login_at": None,
        # A function: the template that lists the accounts asks the database, the other pages do not.
        "demo_accounts": accounts_to_offer,
        "demo_password": settings.DEMO_PASSWORD if settings.DEMO else "",
    }
    if user is not None and user.is_authenticated:
        left = time_left(request)
        context["theme"] = user.theme
        context["session_left_s"] = left.left_s if left else None
        context["previous_login_at"] = parse_datetime(request.session.get(PREVIOUS_LOGIN, "") or "")
    return context


def _known_theme(theme: str | None) -> str:
    return theme if theme in User.Theme.values else User.Theme.AUTO
