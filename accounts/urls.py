from django.urls import path

from accounts import views

app_name = "accounts"

urlpatterns = [
    path("", views.profile, name="profile"),
    path("theme/", views.theme, name="theme"),
    path("session/", views.session, name="session"),
    path("keys/", views.keys, name="keys"),
    path("roles/", views.roles, name="roles"),
]
