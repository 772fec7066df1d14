"""The only writers of accounts."""

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from accounts.models import User


@transaction.atomic
def open_account(*, username: str, email: str, password: str, display_name: str = "") -> User:
    """Open an account for one named person. Raises ValidationError while the password breaks a rule.

    The address counts as verified: the trial manager took it from the person's delegation record.
    """
    user = User(username=username, email=email.lower(), display_name=display_name)
    validate_password(password, user)
    user.set_password(password)
    user.save()
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    return user


def deactivate_account(*, user: User) -> User:
    """End every access of ``user``. The account stays: signatures and audit records name it."""
    user.is_active = False
    user.save(update_fields=["is_active"])
    return user


def choose_theme(*, user: User, theme: str) -> User:
    user.theme = theme
    user.save(update_fields=["theme"])
    return user
