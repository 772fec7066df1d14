"""Login through an organisation's identity provider. Loaded only where the settings name one (``OIDC_SERVER_URL``)."""

from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.http import HttpRequest


class OrganisationLoginAdapter(DefaultSocialAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """The provider proves who a person is; whether that person has an account is decided here."""
        return False
