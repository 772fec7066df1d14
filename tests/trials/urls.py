"""The addresses up to the trials floor: its tests need no floor above it."""

from django.urls import include, path

from trials.urls import api_urlpatterns
from trials.urls import urlpatterns as pages

urlpatterns = [
    path("", include("trials.home_urls")),
    path("account/", include("accounts.urls")),
    path("account/", include("allauth.urls")),
    path("t/<slug:trial>/", include((pages, "trials"))),
    path("api/v1/trials/<slug:trial>/", include((api_urlpatterns, "trials_api"))),
]
