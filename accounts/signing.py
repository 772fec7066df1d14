"""Who signs proves at signing that it is them (21 CFR 11.200(a)(1)): name and password first, the password after that.

The first signature of a login asks for two components, each further one for one that only this person has; after a
logout or an idle time-out both are asked again. allauth and django-axes check: a wrong password counts as a failed
login, and five in a row lock the name. Whoever has no password (an organisation's login) gives a code of their
authenticator app instead. Nothing is signed on a login alone, however short ago it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from allauth.account.adapter import get_adapter
from allauth.mfa.base.forms import ReauthenticateForm as CodeForm
from allauth.mfa.models import Authenticator
from django.http import HttpRequest
from django.utils import timezone

from accounts.lockout import SIGNING, is_locked, locked_until, note_failure, release
from accounts.models import User

#: In the session, once somebody has proved in this login that they know both components.
PROVED = "proved_for_signing"

NO_WAY = (
    "Your account has neither a password nor an authenticator app, so that nothing can show that it is you who signs. "
    "Ask for a password on the login page (“Forgot your password?”), or add an authenticator app under “My account”; "
    "then sign here."
)


@dataclass(frozen=True)
class Proof:
    """That one person was there at signing: who, by which components, when."""

    user_id: int
    components: tuple[str, ...]
    at: datetime

    @property
    def words(self) -> str:
        """As the signature records it.

        >>> Proof(1, ("username", "password"), datetime(2026, 1, 1)).words
        'username and password'
        """
        return " and ".join(self.components)


class NotProved(Exception):
    """The signer was not shown to be who is logged in. ``field`` had it wrong; the message says the way out.

    ``why`` is for the record of failed signatures; empty where nothing was tried.
    """

    def __init__(self, sentence: str, *, field: str | None, why: str = "") -> None:
        super().__init__(sentence)
        self.field, self.why = field, why


def components_asked(request: HttpRequest) -> tuple[str, ...]:
    """What the next signature of this login asks for; empty where the account has nothing to show."""
    user = request.user
    assert isinstance(user, User)
    if user.has_usable_password():
        own = "password"
    elif Authenticator.objects.filter(user_id=user.pk).exclude(type=Authenticator.Type.WEBAUTHN).exists():
        own = "code"
    else:
        return ()
    return (own,) if request.session.get(PROVED) == user.pk else ("username", own)


def prove(request: HttpRequest, *, username: str = "", password: str = "", code: str = "") -> Proof:
    """Check what the signer gave; raise NotProved with the field and the way out."""
    user = request.user
    assert isinstance(user, User)
    asked = components_asked(request)
    if not asked:
        raise NotProved(NO_WAY, field=None)
    given = {"username": username.strip(), "password": password, "code": code.strip()}
    for name in asked:
        if not given[name]:
            raise NotProved("This field is required.", field=name)
    setattr(request, SIGNING, True)
    if is_locked(request, user):
        raise NotProved(_locked(user), field=asked[-1], why="name locked")
    if "username" in asked and given["username"].lower() not in (user.username.lower(), user.email.lower()):
        sentence = f"You are logged in as {user.username}, and only that person signs here. Give your own username."
        raise NotProved(sentence, field="username", why="another username")
    is_right = _is_code_of(user, code) if "code" in asked else get_adapter().reauthenticate(user, password)
    if not is_right:
        if "code" in asked:  # a password is counted by django-axes itself
            note_failure(request, user)
        if is_locked(request, user):
            raise NotProved(_locked(user), field=asked[-1], why=f"wrong {asked[-1]}, name locked")
        sentence = f"This is not your {asked[-1]}. Nothing was signed; what you typed is still here."
        raise NotProved(sentence, field=asked[-1], why=f"wrong {asked[-1]}")
    release(user)
    request.session[PROVED] = user.pk
    return Proof(user.pk, asked, timezone.now())


def _is_code_of(user: User, code: str) -> bool:
    form = CodeForm(user=user, data={"code": code})
    if not form.is_valid():
        return False
    form.save()
    return True


def _locked(user: User) -> str:
    until = locked_until(user.username.lower())
    return (
        f"Your name is locked after too many wrong attempts{f', until {until:%H:%M} UTC' if until else ''}. "
        "Nothing was signed; what you typed is still here. Wait, then sign with the right password."
    )
