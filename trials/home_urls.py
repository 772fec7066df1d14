"""The addresses above every trial: the home page, the go-to box, and the choice of the membership to act with."""

from django.urls import path

from trials.views import home

urlpatterns = [
    path("", home.home, name="home"),
    path("go/", home.go, name="go"),
    path("membership/", home.choose_membership, name="membership"),
]
