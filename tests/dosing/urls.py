"""The addresses up to the dosing floor: its tests need no floor above it."""

from django.urls import include, path

from casebook.urls import urlpatterns as casebook
from dosing.urls import api_urlpatterns
from dosing.urls import urlpatterns as pages
from tests.trials.urls import urlpatterns as below

urlpatterns = [
    *below,
    path("t/<slug:trial>/", include((casebook, "casebook"))),
    path("t/<slug:trial>/", include((pages, "dosing"))),
    path("api/v1/trials/<slug:trial>/", include((api_urlpatterns, "dosing_api"))),
]
