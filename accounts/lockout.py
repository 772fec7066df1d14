"""Failed logins are limited, recorded and alerted (21 CFR 11.300(d)): five failures lock a name for fifteen minutes.

A wrong password or code at signing counts like a failed login.

django-axes counts and records. This module says whose failure it was, until when the name is locked, and who is told.
"""

from datetime import datetime
from typing import Any

import structlog
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from axes.utils import reset
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.core.mail import mail_admins
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.models import User

log = structlog.get_logger(__name__)

#: On a request: a signature is asked for, so that its answer holds what was typed and is never replaced.
SIGNING = "is_signing"


def username_for_lockout(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name that a failure counts against. A person's username and email address share one count."""
    given = credentials or {}
    name = (
        given.get("username") or given.get("email") or request.POST.get("login") or request.POST.get("username") or ""
    )
    name = name.strip().lower()
    if "@" in name:
        owner = User.objects.filter(email__iexact=name).values_list("username", flat=True).first()
        name = owner.lower() if owner else name
    return name


def locked_until(username: str) -> datetime | None:
    """When the lock on ``username`` ends, or None where no failure is on record."""
    last_failure = AccessAttempt.objects.filter(username=username).aggregate(last=Max("attempt_time"))["last"]
    return last_failure + settings.AXES_COOLOFF_TIME if last_failure else None


def is_locked(request: HttpRequest, user: User) -> bool:
    """Whether the name of ``user`` is locked now; if so, the answer to ``request`` says how long."""
    if AxesProxyHandler.is_allowed(request, {"username": user.username}):
        return False
    # What its middleware reads.
    request.axes_locked_out, request.axes_credentials = True, {"username": user.username}  # type: ignore[attr-defined]
    return True


def note_failure(request: HttpRequest, user: User) -> None:
    """Count a wrong code of ``user`` like a wrong password, which django-axes sees by itself."""
    user_login_failed.send(sender=__name__, credentials={"username": user.username}, request=request)


def release(user: User) -> None:
    """Whoever shows who they are starts a new count, as a login does."""
    reset(username=user.username.lower())


def lockout_response(request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """The page that says when one may try again. The same for names that exist and names that do not.

    Where a signature was asked, the page that was about to be sent stays: it says so, and holds what was typed.
    """
    until = locked_until(username_for_lockout(request, credentials)) or timezone.now() + settings.AXES_COOLOFF_TIME
    seconds = max(1, round((until - timezone.now()).total_seconds()))
    if getattr(request, SIGNING, False):
        response.status_code = 429
        response.headers["Retry-After"] = str(seconds)
        return response
    page = render(
        request,
        "429.html",
        {"until": until, "minutes": -(-seconds // 60), "failure_limit": settings.AXES_FAILURE_LIMIT},
        status=429,
    )
    page.headers["Retry-After"] = str(seconds)
    return page


def alert_administrators(
    sender: object, request: HttpRequest, username: str, ip_address: str, **kwargs: object
) -> None:
    """Tell the administrators that ``username`` was locked. Connected to ``axes.signals.user_locked_out``.

    The signal comes for each attempt during the lock as well; those are logged, and only the first is mailed.
    """
    log.warning("account_locked", username=username, ip_address=ip_address)
    if getattr(request, "axes_failures_since_start", None) is None:
        return
    mail_admins(
        subject=f"Login locked: {username}",
        message=(
            f"{settings.AXES_FAILURE_LIMIT} failed logins in a row for the name {username}, the last from "
            f"{ip_address}.\n"
            f"The name is locked for {settings.AXES_COOLOFF_TIME}.\n"
            "If this was not the person, ask them to change the password and look at their sessions.\n"
        ),
        fail_silently=False,
    )
