"""The addresses up to the adverse events: their tests need no floor above."""

from django.urls import include, path

from adverse_events.urls import api_urlpatterns
from adverse_events.urls import urlpatterns as pages
from tests.trials.urls import urlpatterns as trials

urlpatterns = [
    *trials,
    path("t/<slug:trial>/", include((pages, "adverse_events"))),
    path("api/v1/trials/<slug:trial>/", include((api_urlpatterns, "adverse_events_api"))),
]
