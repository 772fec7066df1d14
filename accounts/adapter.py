"""What allauth does differently here: nobody registers; the previous login and other open sessions are shown."""

from importlib import import_module
from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.models import User

log = structlog.get_logger(__name__)

PREVIOUS_LOGIN = "previous_login"
LAST_SEEN = "session_last_seen"


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Accounts are opened for named, trained people by a trial manager, never by the visitor."""
        return False

    def login(self, request: HttpRequest, user: User) -> None:
        # Read before Django overwrites ``last_login``: a person recognises a login that was not theirs by its time.
        previous = user.last_login
        super().login(request, user)
        request.session[PREVIOUS_LOGIN] = previous.isoformat() if previous else ""
        user.previous_login_at = previous

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response = super().post_login(request, user, **kwargs)
        others = sessions_in_use_elsewhere(request)
        if others:
            places = ", ".join(sorted({session.ip for session in others}))
            log.warning("account_used_in_two_places", user_id=user.pk, sessions=len(others) + 1)
            messages.warning(
                request,
                f"This account is also in use from {places}. If that is not you, open “My sessions”, end the others "
                "and change the password.",
            )
        return response


def sessions_in_use_elsewhere(request: HttpRequest) -> list[UserSession]:
    """The user's other sessions that are not idle: an account is one person's, and one person sits in one place."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    active_since = timezone.now().timestamp() - settings.SESSION_IDLE_S
    # This session is left out first: it is not written yet, and purging would take it for one that has ended.
    others = UserSession.objects.filter(user_id=request.user.pk).exclude(session_key=request.session.session_key)
    return [
        session
        for session in others
        if not session.purge() and store(session.session_key).get(LAST_SEEN, 0) > active_since
    ]
