"""The addresses of the trials floor under ``t/<trial>/`` and under ``api/v1/trials/<trial>/``."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
api_urlpatterns: list[URLPattern] = []
