"""allauth's forms with plain labels: no placeholder (it vanishes when one types), no link between two fields."""

from allauth.account import forms as allauth_forms
from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm as AllauthAuthenticateForm
from django import forms

from accounts.lockout import is_locked, note_failure
from accounts.models import User


class Plain:
    """Takes away what stands in the way of Tab and of a screen reader.

    allauth puts the link "Forgot your password?" into the help text of the password: Tab from the name stops on it.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():  # type: ignore[attr-defined]
            field.widget.attrs.pop("placeholder", None)
            if name in ("password", "oldpassword"):
                field.help_text = ""


class LoginForm(Plain, allauth_forms.LoginForm):
    """Username or email, and password. Pasting and password managers work: nothing is blocked (WCAG 3.3.8)."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "Username or email"
        self.fields["login"].widget.attrs.update(autocomplete="username", autocapitalize="none", spellcheck="false")


class ReauthenticateForm(Plain, allauth_forms.ReauthenticateForm):
    pass


class ChangePasswordForm(Plain, allauth_forms.ChangePasswordForm):
    pass


class ResetPasswordForm(Plain, allauth_forms.ResetPasswordForm):
    pass


class ResetPasswordKeyForm(Plain, allauth_forms.ResetPasswordKeyForm):
    pass


class AddEmailForm(Plain, allauth_forms.AddEmailForm):
    pass


class SecondFactorForm(Plain, AllauthAuthenticateForm):
    """The code of a second factor; a wrong one counts like a wrong password, so that codes cannot be tried out."""

    def clean_code(self) -> str:
        request = context.request
        if is_locked(request, self.user):
            raise forms.ValidationError("Too many wrong codes: the name is locked for a while.")
        try:
            code: str = super().clean_code()
        except forms.ValidationError:
            note_failure(request, self.user)
            raise
        return code


class ThemeForm(forms.Form):
    theme = forms.ChoiceField(choices=User.Theme)
    next = forms.CharField(required=False)
