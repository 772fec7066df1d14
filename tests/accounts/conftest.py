import pytest
from django.core.cache import cache

from accounts.actions import open_account
from accounts.models import User

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def account_pages_only(settings):
    settings.ROOT_URLCONF = "tests.accounts.urls"
    cache.clear()  # allauth counts requests per address there


@pytest.fixture(autouse=True)
def quick_argon2(monkeypatch):
    """The same algorithm as in production, with the least work it accepts: a test is not under attack."""
    monkeypatch.setattr("django.contrib.auth.hashers.Argon2PasswordHasher.time_cost", 1)
    monkeypatch.setattr("django.contrib.auth.hashers.Argon2PasswordHasher.memory_cost", 8)
    monkeypatch.setattr("django.contrib.auth.hashers.Argon2PasswordHasher.parallelism", 1)


@pytest.fixture
def alice(db) -> User:
    return open_account(
        username="alice", email="Alice@Example.org", password=PASSWORD, display_name="Alice Investigator"
    )


@pytest.fixture
def log_in(client):
    def go(login: str = "alice", password: str = PASSWORD, **more):
        return client.post("/account/login/", {"login": login, "password": password, **more})

    return go
