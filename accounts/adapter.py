"""What allauth does differently here: nobody registers, and the previous login is remembered so that it can be shown."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from accounts.models import User

PREVIOUS_LOGIN = "previous_login"


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Accounts are opened for named, trained people by a trial manager, never by the visitor."""
        return False

    def login(self, request: HttpRequest, user: User) -> None:
        # Read before Django overwrites ``last_login``: a person recognises a login that was not theirs by its time.
        previous = user.last_login
        super().login(request, user)
        request.session[PREVIOUS_LOGIN] = previous.isoformat() if previous else ""
