"""Login, lock-out, session limits: what the server enforces, with scripts off (AC1, AC4, AC5, AC7, S1)."""

import re
from datetime import timedelta

import pytest
import time_machine
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from axes.models import AccessAttempt
from django.core import mail
from django.utils import timezone

from accounts.demo import DEMO_ACCOUNTS, accounts_to_offer
from accounts.models import User
from tests.accounts.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def is_logged_in(client) -> bool:
    return "_auth_user_id" in client.session


def test_the_form_is_name_password_enter_in_this_order(client):
    page = client.get("/account/login/").content.decode()
    form = page[page.index("data-login-form") :]
    form = form[: form.index("</form>")]
    assert re.findall(r'name="(login|password)"|<(button) class="btn btn-primary" type="submit"', form) == [
        ("login", ""),
        ("password", ""),
        ("", "button"),
    ]
    assert "<a " not in form, "Tab would stop on a link between the fields"
    assert 'autocomplete="username"' in form
    assert 'autocomplete="current-password"' in form
    assert len(page) <= 25_000


@pytest.mark.parametrize("login", ["alice", "alice@example.org", "Alice@Example.org"])
def test_login_by_name_or_address_leads_to_the_page_that_was_asked_for(alice, client, log_in, login):
    response = log_in(login, next="/account/keys/")
    assert response.status_code == 302
    assert response["Location"] == "/account/keys/"
    assert is_logged_in(client)


def test_the_login_before_is_shown(alice, client, log_in):
    with time_machine.travel("2026-11-05T14:02:00Z", tick=False):
        log_in()
        assert "for the first time" in client.get("/").content.decode()
        client.post("/account/logout/")
    with time_machine.travel("2026-11-06T08:00:00Z", tick=False):
        log_in()
        page = client.get("/").content.decode()
    assert "Your login before was on 05-Nov-2026 14:02 UTC" in page
    assert "Last login 05-Nov-2026 14:02 UTC" in page


def test_nobody_can_register(client, db):
    new = {"username": "mallory", "email": "m@example.org", "password1": PASSWORD, "password2": PASSWORD}
    assert "opened by the trial manager" in client.post("/account/signup/", new).content.decode()
    assert not User.objects.exists()


class TestLockOut:
    def fail(self, log_in, times, login="alice"):
        return [log_in(login, "wrong password here") for _ in range(times)][-1]

    @pytest.mark.requirement("AC5")
    def test_the_fifth_failure_locks_records_and_alerts(self, alice, client, log_in, settings):
        settings.ADMINS = [("Administrator", "admin@example.org")]
        assert self.fail(log_in, 4).status_code == 200
        assert not mail.outbox
        with time_machine.travel("2026-11-05T14:02:00Z", tick=False):
            response = self.fail(log_in, 1)
        assert response.status_code == 429
        assert "until <strong>14:17 UTC</strong> on 05-Nov-2026" in response.content.decode()
        assert response["Retry-After"] == "900"
        assert AccessAttempt.objects.get().failures_since_start == 5
        log_in("alice", "and once more")
        assert ["Login locked: alice" in message.subject for message in mail.outbox] == [True]

    def test_the_right_password_does_not_open_a_lock_but_time_does(self, alice, client, log_in):
        with time_machine.travel("2026-11-05T14:02:00Z", tick=False):
            self.fail(log_in, 5)
            assert log_in().status_code == 429
            assert not is_logged_in(client)
        with time_machine.travel("2026-11-05T14:16:00Z", tick=False):
            response = log_in()
            assert response.status_code == 429
            assert "1 more minute," in response.content.decode(), "trying during the lock does not prolong it"
        with time_machine.travel("2026-11-05T14:17:01Z", tick=False):
            assert log_in().status_code == 302
            assert is_logged_in(client)

    def test_name_and_address_share_one_count(self, alice, log_in):
        self.fail(log_in, 3, "alice")
        assert self.fail(log_in, 2, "ALICE@example.org").status_code == 429

    def test_a_name_that_does_not_exist_gets_the_same_answer(self, db, log_in):
        assert self.fail(log_in, 5, "nobody").status_code == 429

    def test_one_name_does_not_lock_another(self, alice, client, log_in):
        self.fail(log_in, 5, "nobody")
        assert log_in().status_code == 302

    def test_a_success_ends_the_count(self, alice, client, log_in):
        self.fail(log_in, 4)
        log_in()
        client.post("/account/logout/")
        assert self.fail(log_in, 4).status_code == 200


class TestSession:
    @pytest.mark.requirement("AC4")
    @pytest.mark.parametrize("minutes, status", [(29, 200), (31, 401)])
    def test_it_ends_after_half_an_hour_without_a_request(self, alice, client, log_in, minutes, status):
        with time_machine.travel("2026-11-05T08:00:00Z", tick=False) as clock:
            log_in()
            client.get("/account/")
            clock.shift(timedelta(minutes=minutes))
            assert client.get("/account/").status_code == status
            assert is_logged_in(client) == (status == 200)

    def test_it_ends_after_twelve_hours_of_work(self, alice, client, log_in):
        with time_machine.travel("2026-11-05T08:00:00Z", tick=False) as clock:
            log_in()
            answers = []
            for _ in range(37):  # 37 × 20 min: 12 h 20 min
                answers.append(client.get("/account/").status_code)
                clock.shift(timedelta(minutes=20))
        assert answers.index(401) == 36

    def test_a_page_that_asks_by_itself_keeps_nobody_logged_in(self, alice, client, log_in):
        with time_machine.travel("2026-11-05T08:00:00Z", tick=False) as clock:
            log_in()
            client.get("/account/")
            clock.shift(timedelta(minutes=20))
            passive = client.get("/account/session/", headers={"Canopy-Passive": "1"})
            assert passive.json()["left_s"] == 600
            clock.shift(timedelta(minutes=11))
            assert client.get("/account/").status_code == 401

    def test_stay_prolongs_and_hands_out_a_form_token(self, alice, client, log_in):
        with time_machine.travel("2026-11-05T08:00:00Z", tick=False) as clock:
            log_in()
            client.get("/account/")
            clock.shift(timedelta(minutes=29))
            client.post("/account/session/")
            state = client.get("/account/session/", headers={"Canopy-Passive": "1"}).json()
        assert state["left_s"] == 1800
        assert len(state["csrf"]) == 64

    @pytest.mark.requirement("AC4")
    def test_what_was_typed_is_repeated_and_secrets_are_not(self, alice, client, log_in):
        with time_machine.travel("2026-11-05T08:00:00Z", tick=False) as clock:
            log_in()
            client.get("/account/")
            clock.shift(timedelta(hours=1))
            response = client.post("/", {"alc_1e9_per_l": "0.42", "password": "secret words", "note": "<b>"})
        page = response.content.decode()
        assert response.status_code == 401
        assert "alc_1e9_per_l</dt><dd>0.42" in page
        assert "&lt;b&gt;" in page
        assert "secret words" not in page

    @pytest.mark.parametrize("path, headers", [("/api/v1/", {}), ("/", {"HX-Request": "true"})])
    def test_programs_and_fragments_get_401_too(self, alice, client, log_in, path, headers):
        with time_machine.travel("2026-11-05T08:00:00Z", tick=False) as clock:
            log_in()
            client.get("/account/")
            clock.shift(timedelta(hours=1))
            assert client.get(path, headers=headers).status_code == 401

    @pytest.mark.requirement("AC10")
    def test_a_second_place_is_listed_told_and_can_be_ended(self, alice, client, log_in):
        from django.test import Client

        elsewhere = Client()
        elsewhere.post("/account/login/", {"login": "alice", "password": PASSWORD})
        elsewhere.get("/account/")
        log_in()
        assert "also in use from 127.0.0.1" in client.get("/").content.decode()
        assert client.get("/account/sessions/").content.decode().count("<td>127.0.0.1") == 2
        client.post("/account/sessions/")
        assert elsewhere.get("/account/").status_code == 302
        assert client.get("/account/").status_code == 200


class TestRequiredSteps:
    def test_an_old_password_leads_only_to_its_change(self, alice, client, log_in, settings):
        settings.PASSWORD_MAX_AGE = timedelta(days=90)
        log_in()
        assert client.get("/account/keys/").status_code == 200
        User.objects.update(password_changed_at=timezone.now() - timedelta(days=91))
        assert client.get("/account/keys/")["Location"] == "/account/password/change/"
        new = "an entirely different sentence"
        answer = client.post("/account/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
        assert answer.status_code == 302
        assert client.get("/account/keys/").status_code == 200

    @pytest.mark.requirement("AC7")
    @pytest.mark.parametrize(
        "required_for, is_staff, status",
        [
            ("nobody", True, 200),
            ("administrators", False, 200),
            ("administrators", True, 302),
            ("everyone", False, 302),
        ],
    )
    def test_without_a_second_factor_only_its_pages_open(
        self, alice, client, log_in, settings, required_for, is_staff, status
    ):
        settings.SECOND_FACTOR_REQUIRED_FOR = required_for
        User.objects.update(is_staff=is_staff)
        log_in()
        assert client.get("/account/").status_code == status
        assert client.get("/account/2fa/").status_code == 200

    def test_the_second_factor_is_asked_for_and_opens(self, alice, client, log_in, settings):
        settings.SECOND_FACTOR_REQUIRED_FOR = "everyone"
        secret = generate_totp_secret()
        TOTP.activate(alice, secret)
        assert log_in()["Location"] == "/account/2fa/authenticate/"
        assert not is_logged_in(client)
        page = client.get("/account/2fa/authenticate/").content.decode()
        assert 'autocomplete="one-time-code"' in page
        code = f"{hotp_value(secret, next(yield_hotp_counters_from_time())):06d}"
        assert client.post("/account/2fa/authenticate/", {"code": code}).status_code == 302
        assert client.get("/account/").status_code == 200

    def test_codes_cannot_be_tried_out(self, alice, client, log_in, settings):
        """Whoever knows the password has five codes, not a million; entering the password again gives no more."""
        settings.SECOND_FACTOR_REQUIRED_FOR = "everyone"
        secret = generate_totp_secret()
        TOTP.activate(alice, secret)
        right = f"{hotp_value(secret, next(yield_hotp_counters_from_time())):06d}"
        wrong = f"{(int(right) + 500_000) % 1_000_000:06d}"
        log_in()
        answers = [client.post("/account/2fa/authenticate/", {"code": wrong}).status_code for _ in range(3)]
        log_in()
        answers += [client.post("/account/2fa/authenticate/", {"code": wrong}).status_code for _ in range(2)]
        assert answers == [200, 200, 200, 200, 429]
        assert client.post("/account/2fa/authenticate/", {"code": right}).status_code == 429
        assert not is_logged_in(client)


@pytest.mark.requirement("AC6")
def test_a_reset_link_works_once(alice, client):
    client.post("/account/password/reset/", {"email": "alice@example.org"})
    link = re.search(r"http://testserver(\S+)", mail.outbox[0].body)[1]
    form = client.get(link)["Location"]
    new = "an entirely different sentence"
    assert client.post(form, {"password1": new, "password2": new}).status_code == 302
    assert "already been used" in client.get(link, follow=True).content.decode()


class TestTheme:
    def test_it_is_kept_on_the_account_and_in_a_cookie(self, alice, client, log_in):
        log_in()
        response = client.post("/account/theme/", {"theme": "dark", "next": "/account/keys/"})
        assert response["Location"] == "/account/keys/"
        assert 'data-theme="dark" data-bs-theme="dark"' in client.get("/").content.decode()
        client.post("/account/logout/")
        assert 'data-theme="dark"' in client.get("/account/login/").content.decode()

    def test_it_never_leads_elsewhere(self, client, db):
        assert client.post("/account/theme/", {"theme": "dark", "next": "https://example.com/"})["Location"] == "/"

    def test_an_unknown_theme_is_refused(self, client, db):
        assert client.post("/account/theme/", {"theme": "pink"}).status_code == 400


class TestPracticeAccounts:
    @pytest.fixture
    def opened(self, db):
        from accounts.actions import open_account

        return open_account(username="monitor", email="monitor@example.org", password=PASSWORD)

    def test_only_those_that_exist_are_listed_and_only_in_the_demo(self, opened, client, settings):
        settings.DEMO = True
        assert [account.username for account in accounts_to_offer()] == ["monitor"]
        page = client.get("/account/login/").content.decode()
        assert 'data-fill-login="monitor"' in page
        assert settings.DEMO_PASSWORD in page
        settings.DEMO = False
        page = client.get("/account/login/").content.decode()
        assert "data-fill-login" not in page
        assert settings.DEMO_PASSWORD not in page

    def test_their_roles_exist_and_each_role_has_one(self):
        from accounts.roles import ROLES

        assert {account.role for account in DEMO_ACCOUNTS} == set(ROLES.values())
