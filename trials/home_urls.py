"""The addresses above every trial: the home page, the go-to box, and the choice of the membership to act with."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
