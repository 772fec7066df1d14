"""A login ends on the server: after idle time, after half a day, and it leads nowhere before the required steps."""

from collections.abc import Callable
from dataclasses import dataclass

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property

from accounts.adapter import LAST_SEEN

GetResponse = Callable[[HttpRequest], HttpResponse]

STARTED = "session_started"

# A page that asks by itself (progress, panels that refresh) says so, and does not keep an absent person logged in.
PASSIVE_HEADER = "Canopy-Passive"

# What the page "your session has ended" never repeats back.
_NOT_REPEATED = ("csrfmiddlewaretoken", "password", "code", "credential")


@dataclass(frozen=True)
class SessionTime:
    """Seconds left of a login, at one moment."""

    idle_s: int
    total_s: int

    @property
    def left_s(self) -> int:
        return min(self.idle_s, self.total_s)


def session_time(*, started: float, last_seen: float, now: float, idle_limit_s: int, total_limit_s: int) -> SessionTime:
    """How long a login still lasts. All times in seconds since the epoch.

    >>> session_time(started=0, last_seen=600, now=1_200, idle_limit_s=1_800, total_limit_s=43_200)
    SessionTime(idle_s=1200, total_s=42000)
    """
    return SessionTime(idle_s=int(last_seen + idle_limit_s - now), total_s=int(started + total_limit_s - now))


def time_left(request: HttpRequest) -> SessionTime | None:
    """How long the login of ``request`` still lasts; None for a visitor."""
    if not request.user.is_authenticated:
        return None
    now = timezone.now().timestamp()
    return session_time(
        started=request.session.get(STARTED, now),
        last_seen=request.session.get(LAST_SEEN, now),
        now=now,
        idle_limit_s=settings.SESSION_IDLE_S,
        total_limit_s=settings.SESSION_TOTAL_S,
    )


class SessionLimitMiddleware:
    """End a login ``SESSION_IDLE_S`` after the last request, and ``SESSION_TOTAL_S`` after it began (FDA 2024, Q11)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        left = time_left(request)
        if left is None:
            return self.get_response(request)
        if left.left_s <= 0:
            logout(request)
            return session_ended(request)
        now = int(timezone.now().timestamp())
        request.session.setdefault(STARTED, now)
        # Written at most every 15 s: a person who types would otherwise cost one session write per field.
        if not request.headers.get(PASSIVE_HEADER) and now - request.session.get(LAST_SEEN, 0) >= 15:
            request.session[LAST_SEEN] = now
        return self.get_response(request)


def session_ended(request: HttpRequest) -> HttpResponse:
    """401 for every kind of caller. A posted form is repeated back, so that nothing that was typed is lost."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "Your session has ended. Log in again."}, status=401)
    if request.headers.get("HX-Request"):
        return HttpResponse("Your session has ended. Log in again; this page keeps what you typed.", status=401)
    sent = [
        (name, value)
        for name, values in request.POST.lists()
        if not any(secret in name for secret in _NOT_REPEATED)
        for value in values
        if value
    ]
    came_from = request.get_full_path() if request.method == "GET" else ""
    return render(
        request,
        "accounts/session_ended.html",
        {"sent": sent, "came_from": came_from, "idle_minutes": settings.SESSION_IDLE_S // 60},
        status=401,
    )


class RequiredStepsMiddleware:
    """A login with an outdated password or a missing second factor reaches only the pages that put this right."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    @cached_property
    def open_paths(self) -> tuple[str, ...]:
        names = ("account_logout", "account_reauthenticate", "accounts:session", "accounts:theme")
        return tuple(reverse(name) for name in names)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated or request.path.startswith(self.open_paths):
            return self.get_response(request)
        if password_is_outdated(request.user.password_changed_at):
            change = reverse("account_change_password")
            return self.get_response(request) if request.path == change else redirect(change)
        factors = reverse("mfa_index")
        if second_factor_is_missing(request.user) and not request.path.startswith(factors):
            return redirect(factors)
        return self.get_response(request)


def password_is_outdated(changed_at) -> bool:
    max_age = settings.PASSWORD_MAX_AGE
    return max_age is not None and timezone.now() - changed_at > max_age


def second_factor_is_missing(user) -> bool:
    """Whether ``user`` must still add an authenticator: see ``SECOND_FACTOR_REQUIRED_FOR`` in the settings."""
    required = {
        "nobody": False,
        "administrators": user.is_staff or user.is_superuser,
        "everyone": True,
    }[settings.SECOND_FACTOR_REQUIRED_FOR]
    return required and not is_mfa_enabled(user)
