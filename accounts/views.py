"""Doors of the account: theme, session time, keys, roles. Logging in and out is allauth's."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts import actions
from accounts.context import THEME_COOKIE
from accounts.forms import ThemeForm
from accounts.middleware import time_left
from accounts.models import User
from accounts.roles import ROLES, Permission


@login_required
@require_GET
def profile(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/profile.html", {"themes": User.Theme.choices})


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Choose light, dark or the device's own; kept on the account, and in a cookie for the pages before login."""
    form = ThemeForm(request.POST)
    if not form.is_valid():
        return render(request, "400.html", status=400)
    if request.user.is_authenticated:
        actions.choose_theme(user=request.user, theme=form.cleaned_data["theme"])
    target = form.cleaned_data["next"]
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        target = reverse(settings.LOGIN_REDIRECT_URL)
    response = redirect(target)
    response.set_cookie(
        THEME_COOKIE,
        form.cleaned_data["theme"],
        max_age=365 * 24 * 3600,
        secure=settings.SESSION_COOKIE_SECURE,
        samesite="Lax",
    )
    return response


@never_cache
def session(request: HttpRequest) -> HttpResponse:
    """Seconds left, and a fresh form token: what a page needs to go on after logging in again in another tab.

    GET (sent as a passive request) asks; POST says "I am still here".
    """
    left = time_left(request)
    if left is None:
        return JsonResponse({"left_s": 0}, status=401)
    return JsonResponse({"left_s": left.left_s, "total_s": left.total_s, "csrf": get_token(request)})


@require_GET
def keys(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/keys.html")


@login_required
@require_GET
def roles(request: HttpRequest) -> HttpResponse:
    """Who may do what: the role table, from the same classes that the permission checks read."""
    rows = [(permission, [permission in role.permissions for role in ROLES.values()]) for permission in Permission]
    return render(request, "accounts/roles.html", {"roles": ROLES.values(), "rows": rows})
