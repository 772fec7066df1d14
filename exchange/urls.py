"""Addresses of the export centre: pages under ``t/<trial>/``, data under ``api/v1/trials/<trial>/``."""

from django.urls import path

from exchange import api, views

urlpatterns = [
    path("exports/", views.exports, name="exports"),
    path("exports/<uuid:key>/", views.export, name="export"),
    path("exports/<uuid:key>/file/", views.download, name="download"),
]
api_urlpatterns = api.urlpatterns
