"""A named account that is never deleted, and a password that is worth something (AC1, AC6)."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.actions import choose_theme, deactivate_account, open_account
from accounts.models import AccountIsKept, User
from tests.accounts.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.mark.requirement("AC1")
def test_an_account_cannot_be_deleted(alice):
    with pytest.raises(AccountIsKept, match="Deactivate it instead"):
        alice.delete()
    with pytest.raises(AccountIsKept):
        User.objects.filter(pk=alice.pk).delete()
    with pytest.raises(AccountIsKept):
        User.objects.all().delete()
    assert User.objects.get() == alice


def test_a_deactivated_account_keeps_its_name_and_cannot_log_in(alice, client, log_in):
    deactivate_account(user=alice)
    log_in()
    assert "_auth_user_id" not in client.session
    assert User.objects.get().printed_name == "Alice Investigator"


@pytest.mark.requirement("AC1")
@pytest.mark.parametrize(
    "username, email",
    [("alice", "other@example.org"), ("ALICE", "other@example.org"), ("other", "ALICE@example.ORG"), ("other", "")],
)
def test_names_and_addresses_are_unique_whatever_their_case(alice, username, email):
    with pytest.raises(IntegrityError), transaction.atomic():
        open_account(username=username, email=email, password=PASSWORD)


@pytest.mark.requirement("AC6")
@pytest.mark.parametrize(
    "password, because",
    [
        ("Short1!", "too short"),
        ("1qaz2wsx3edc", "too common"),
        ("elevenchars", "too short"),
        ("carol.investigator", "too similar"),
    ],
)
def test_a_weak_password_is_refused(db, password, because):
    with pytest.raises(ValidationError, match=because):
        open_account(username="carol.investigator", email="carol@example.org", password=password)
    assert not User.objects.exists()


@pytest.mark.requirement("AC6")
def test_passwords_are_hashed_with_argon2(alice):
    assert alice.password.startswith("argon2")


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
def test_a_theme_is_kept(alice, theme):
    choose_theme(user=alice, theme=theme)
    assert User.objects.get().theme == theme


def test_an_unknown_theme_is_refused_by_the_database(alice):
    with pytest.raises(IntegrityError), transaction.atomic():
        choose_theme(user=alice, theme="pink")
