"""Every address of Canopy.

Pages and data of a trial live under ``t/<trial>/`` (pages) and ``api/v1/trials/<trial>/`` (API): the trial in the
address decides which membership acts (``config.middleware``). Each app names its pages in ``urls.urlpatterns`` and
its API in ``urls.api_urlpatterns``.
"""

from importlib import import_module

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView

CLINICAL_APPS = ("trials", "casebook", "dosing", "adverse_events", "analysis", "exchange")


def of_trial(name: str, app: str) -> list[URLPattern | URLResolver]:
    return list(getattr(import_module(f"{app}.urls"), name, []))


urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("trials.home_urls")),
    path("account/", include("accounts.urls")),
    path("account/", include("allauth.urls")),
    *[path("t/<slug:trial>/", include((of_trial("urlpatterns", app), app))) for app in CLINICAL_APPS],
    *[
        path("api/v1/trials/<slug:trial>/", include((of_trial("api_urlpatterns", app), f"{app}_api")))
        for app in CLINICAL_APPS
    ],
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
]
