from allauth.account.forms import LoginForm as AllauthLoginForm
from django import forms

from accounts.models import User


class LoginForm(AllauthLoginForm):
    """Username or email, and password. Pasting and password managers work: nothing is blocked (WCAG 3.3.8)."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "Username or email"
        for field in self.fields.values():
            # The label stands above the box; a placeholder vanishes when one types and is read twice.
            field.widget.attrs.pop("placeholder", None)
        self.fields["login"].widget.attrs.update(autocomplete="username", autocapitalize="none", spellcheck="false")


class ThemeForm(forms.Form):
    theme = forms.ChoiceField(choices=User.Theme)
    next = forms.CharField(required=False)
