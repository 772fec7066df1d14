"""The person who acts. What a person may do is a membership (``trials``) of a role (``accounts.roles``)."""

from datetime import datetime
from typing import ClassVar, NoReturn

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class AccountIsKept(Exception):
    """An account was about to be deleted; signatures and audit records name it for ever (21 CFR 11.300(a))."""


class UserQuerySet(models.QuerySet["User"]):
    def delete(self) -> NoReturn:
        raise AccountIsKept(
            "Accounts are never deleted: signatures and audit records name them. "
            "Deactivate them instead (is_active=False)."
        )


class KeptUserManager(UserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    """Django's user manager, with queries that refuse to delete."""

    use_in_migrations = False


class User(AbstractUser):
    """One named person. Never shared, never reused, never deleted: ``is_active=False`` ends access."""

    class Theme(models.TextChoices):
        AUTO = "auto", _("Like this device")
        LIGHT = "light", _("Light")
        DARK = "dark", _("Dark")

    display_name = models.CharField(
        _("display name"),
        max_length=150,
        blank=True,
        help_text=_("The name printed beside entries and signatures. Empty: the username is printed."),
    )
    email = models.EmailField(_("email address"), unique=True)
    theme = models.CharField(_("theme"), max_length=5, choices=Theme, default=Theme.AUTO)
    password_changed_at = models.DateTimeField(_("password changed at"), default=timezone.now, editable=False)

    # Set at login, for the page that greets: see accounts.adapter.
    previous_login_at: datetime | None = None

    objects: ClassVar[KeptUserManager] = KeptUserManager()

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.UniqueConstraint(Lower("username"), name="accounts_user_username_unique_without_case"),
            models.UniqueConstraint(Lower("email"), name="accounts_user_email_unique_without_case"),
            models.CheckConstraint(condition=~models.Q(email=""), name="accounts_user_email_is_given"),
            models.CheckConstraint(
                condition=models.Q(theme__in=["auto", "light", "dark"]),
                name="accounts_user_theme_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.printed_name

    @property
    def printed_name(self) -> str:
        """The name that stands beside an entry, in a signature and in the page header."""
        return self.display_name or self.get_full_name() or self.username

    def set_password(self, raw_password: str | None) -> None:
        super().set_password(raw_password)
        self.password_changed_at = timezone.now()

    def delete(self, *args: object, **kwargs: object) -> NoReturn:
        raise AccountIsKept(
            f"The account {self.username} is kept: signatures and audit records name it. "
            "Deactivate it instead (is_active=False)."
        )
