"""Addresses of dosing: pages under ``t/<trial>/``, data under ``api/v1/trials/<trial>/``."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
api_urlpatterns: list[URLPattern] = []
