"""The account's own pages, a start page, and pages that fail: what these tests need of an address list."""

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "base.html")


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a fault of ours")


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("A monitor may not enter values.")


def unreadable(request: HttpRequest) -> HttpResponse:
    raise BadRequest


urlpatterns = [
    path("", home, name="home"),
    path("broken/", broken),
    path("forbidden/", forbidden),
    path("unreadable/", unreadable),
    path("account/", include("accounts.urls")),
    path("account/", include("allauth.urls")),
]
