"""Who signs shows at signing who they are; what was typed is never lost; what was not signed is on record (ES2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from axes.models import AccessAttempt
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis import actions
from analysis.models import Gate, Reading
from analysis.selectors import readings, signed
from audit.models import TrailRow
from tests.analysis.test_adjudication import REACHED, measured
from tests.analysis.test_gate_actions import decided, proposed, reviewed
from tests.world import PASSWORD, World, proof, signing
from trials.models import FailedSignature, Signature

pytestmark = pytest.mark.django_db

ENDPOINT = "cd4_reconstitution"
WORDS = "No unexpected toxicity, in Alice's own words."
KEPT = WORDS.replace("'", "&#x27;")
#: As it stands in its field again, to be signed as it is.
TYPED = f">\n{KEPT}</textarea>"


@pytest.fixture
def client(world: World) -> Client:
    client = Client()
    client.force_login(world.user("alice"), backend="django.contrib.auth.backends.ModelBackend")
    return client


class Deed:
    """One thing that is signed on a page: who, where, what is typed, and whether it is written."""

    def __init__(
        self, world: World, name: str, signer: str, page: str, typed: dict[str, Any], done: Callable[[], bool]
    ):
        self.signer, self.page, self.typed, self.is_done = signer, page, typed, done
        self.name = name
        self.client = Client()
        self.client.force_login(world.user(signer), backend="django.contrib.auth.backends.ModelBackend")

    def post(self, **given: str) -> Any:
        return self.client.post(self.page, {**self.typed, **given})


def safety_review(world: World) -> Deed:
    gate = proposed(world)
    page = reverse("analysis:sign_safety_review", kwargs={"trial": world.trial.code, "stage": 1})
    typed = {"review": WORDS, "seen": gate.snapshot_sha256}
    return Deed(
        world, signed.SAFETY_REVIEW, "alice", page, typed, lambda: bool(Gate.objects.get(stage=1).safety_reviewed_at)
    )


def gate_decision(world: World) -> Deed:
    gate = reviewed(world, proposed(world))
    page = reverse("analysis:decide_gate", kwargs={"trial": world.trial.code, "stage": 1})
    typed = {"decision": "continue", "reason": WORDS, "seen": gate.snapshot_sha256}
    return Deed(world, signed.GATE_DECISION, "alice", page, typed, lambda: bool(Gate.objects.get(stage=1).decision))


def reading(world: World) -> Deed:
    participant = world.enrolled()
    measured(world, participant, *REACHED)
    actions.adjudicate(participants=[participant.pk])
    seen = readings.case_of(participant, ENDPOINT).evidence_sha256
    where = {"trial": world.trial.code, "participant": participant.pk, "endpoint": ENDPOINT}
    typed = {"answer": "reached", "comment": WORDS, "seen": seen, "settles": "False"}
    return Deed(world, signed.READING, "erin", reverse("analysis:case", kwargs=where), typed, Reading.objects.exists)


DEEDS = pytest.mark.parametrize("deed_of", [safety_review, gate_decision, reading])


# --- What is asked ------------------------------------------------------------------------------------------------


@DEEDS
@pytest.mark.requirement("ES2")
def test_nothing_is_signed_without_showing_who_signs(world: World, deed_of: Callable[[World], Deed]) -> None:
    deed = deed_of(world)
    given = [{}, {"username": deed.signer}, {"password": PASSWORD}, {"username": deed.signer, "password": ""}]
    for one in given:
        answer = deed.post(**one)
        assert (answer.status_code, deed.is_done()) == (422, False), one
        assert "This field is required." in answer.content.decode() and TYPED in answer.content.decode()
    assert not FailedSignature.objects.exists()  # nothing was tried
    assert deed.post(**signing(deed.signer)).status_code == 302 and deed.is_done()


@pytest.mark.requirement("ES2")
def test_two_components_then_one_and_two_again_after_the_session_idled_out(world: World, client: Client) -> None:
    gate = proposed(world)
    page = reverse("analysis:gate", kwargs={"trial": world.trial.code, "stage": 1})

    def asked(text: str) -> tuple[bool, bool]:
        return 'name="username"' in text, 'name="password"' in text

    assert asked(client.get(page).content.decode()) == (True, True)
    review = reverse("analysis:sign_safety_review", kwargs={"trial": world.trial.code, "stage": 1})
    assert client.post(review, {"review": WORDS, **signing("alice")}).status_code == 302
    assert asked(client.get(page).content.decode()) == (False, True)
    with time_machine.travel(timezone.now() + timezone.timedelta(minutes=31)):
        ended = client.post(
            reverse("analysis:decide_gate", kwargs={"trial": world.trial.code, "stage": 1}),
            {"decision": "continue", "reason": WORDS, "password": PASSWORD},
        )
        assert ended.status_code == 401
        text = ended.content.decode()
        assert KEPT in text and PASSWORD not in text
        gate.refresh_from_db()
        assert gate.decision == ""
        client.force_login(world.user("alice"), backend="django.contrib.auth.backends.ModelBackend")
        assert asked(client.get(page).content.decode()) == (True, True)


# --- What is refused ----------------------------------------------------------------------------------------------


@DEEDS
@pytest.mark.requirement("ES2")
def test_a_wrong_proof_keeps_what_was_typed_and_is_on_record(world: World, deed_of: Callable[[World], Deed]) -> None:
    deed = deed_of(world)
    for given, sentence, why in (
        ({"password": "not the right one"}, "This is not your password.", "wrong password"),
        ({"username": "ben"}, "only that person signs here", "another username"),
        ({"username": "ben", "password": "not the right one"}, "only that person signs here", "another username"),
    ):
        answer = deed.post(**{**signing(deed.signer), **given})
        text = answer.content.decode()
        assert (answer.status_code, deed.is_done()) == (422, False)
        assert sentence in text and TYPED in text
        assert given.get("password", PASSWORD) not in text
        failed = FailedSignature.objects.latest("pk")
        assert (failed.by.user.username, failed.meaning, failed.why) == (deed.signer, deed.name, why)
    assert AccessAttempt.objects.get().failures_since_start == 1  # another name is no guess at a password
    assert deed.post(**signing(deed.signer)).status_code == 302 and deed.is_done()
    assert not AccessAttempt.objects.exists()  # who shows who they are starts a new count


@DEEDS
def test_the_fifth_wrong_password_locks_the_name_and_the_page_still_holds_what_was_typed(
    world: World, deed_of: Callable[[World], Deed], settings: Any
) -> None:
    settings.ADMINS = [("Administrator", "admin@example.org")]
    deed = deed_of(world)
    answers = [deed.post(username=deed.signer, password="not the right one") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 422, 429]
    locked = deed.post(**signing(deed.signer))
    assert locked.status_code == 429 and 800 < int(locked["Retry-After"]) <= 900
    assert answers[-1]["Retry-After"]
    for answer in (answers[-1], locked):
        text = answer.content.decode()
        assert "Your name is locked" in text and TYPED in text and not deed.is_done()
    assert len(mail.outbox) == 1
    assert [one.why for one in FailedSignature.objects.order_by("pk")] == [
        *["wrong password"] * 4,
        "wrong password, name locked",
        "name locked",
    ]
    with time_machine.travel(timezone.now() + timezone.timedelta(minutes=16)):
        assert deed.post(**signing(deed.signer)).status_code == 302 and deed.is_done()


@DEEDS
def test_sent_twice_it_is_signed_once(world: World, deed_of: Callable[[World], Deed]) -> None:
    deed = deed_of(world)
    answers = [deed.post(**signing(deed.signer)), deed.post(**signing(deed.signer))]
    assert [answer.status_code for answer in answers] == [302, 409]
    assert Signature.objects.filter(meaning=deed.name).count() == 1


def test_the_password_of_somebody_else_signs_nothing(world: World, client: Client) -> None:
    gate = proposed(world)
    for other in (world.ben, None):
        with pytest.raises(PermissionDenied, match="password or code of the person who signs"):
            actions.sign_safety_review(gate=gate, review="x", by=world.alice, proof=proof(other or world.bob))
    assert not Signature.objects.exists()


def test_an_account_that_was_ended_meanwhile_signs_nothing(world: World) -> None:
    deed = safety_review(world)
    world.user("alice").__class__.objects.filter(username="alice").update(is_active=False)
    assert deed.post(**signing("alice")).status_code in (302, 403)  # logged out
    assert not deed.is_done() and not Signature.objects.exists()


# --- Without a password -------------------------------------------------------------------------------------------


def code_now(secret: str) -> str:
    return f"{hotp_value(secret, next(iter(yield_hotp_counters_from_time()))):06d}"


def without_password(world: World) -> str:
    """Alice comes by the login of her organisation and has an authenticator app; its secret."""
    alice = world.user("alice")
    alice.set_unusable_password()
    alice.save()
    secret = generate_totp_secret()
    TOTP.activate(alice, secret)
    return secret


@pytest.mark.requirement("ES2")
def test_who_logs_in_elsewhere_signs_with_a_code(world: World) -> None:
    secret = without_password(world)
    deed = safety_review(world)
    page = deed.client.get(reverse("analysis:gate", kwargs={"trial": world.trial.code, "stage": 1})).content.decode()
    assert 'name="code"' in page and 'name="password"' not in page
    wrong = deed.post(username="alice", code="000000")
    assert wrong.status_code == 422 and "This is not your code." in wrong.content.decode() and not deed.is_done()
    assert deed.post(username="alice", code=code_now(secret)).status_code == 302
    assert Gate.objects.get(stage=1).safety_signature.components == "username and code"


def test_wrong_codes_lock_the_name_as_well(world: World) -> None:
    secret = without_password(world)
    deed = safety_review(world)
    assert [deed.post(username="alice", code="000000").status_code for _ in range(5)] == [422] * 4 + [429]
    assert deed.post(username="alice", code=code_now(secret)).status_code == 429
    assert not deed.is_done()


def test_an_account_with_nothing_to_show_is_told_the_way_out(world: World) -> None:
    alice = world.user("alice")
    alice.set_unusable_password()
    alice.save()
    deed = safety_review(world)
    page = deed.client.get(reverse("analysis:gate", kwargs={"trial": world.trial.code, "stage": 1})).content.decode()
    assert "neither a password nor an authenticator app" in page and "disabled>Sign the safety review" in page
    answer = deed.post()
    assert answer.status_code == 422 and not deed.is_done()
    assert "Ask for a password" in answer.content.decode()


# --- What is kept -------------------------------------------------------------------------------------------------


@DEEDS
@pytest.mark.requirement("ES3")
def test_name_role_time_meaning_and_hash_are_kept_and_shown(world: World, deed_of: Callable[[World], Deed]) -> None:
    deed = deed_of(world)
    before = timezone.now()
    page = deed.client.post(deed.page, {**deed.typed, **signing(deed.signer)}, follow=True).content.decode()
    signature = Signature.objects.get(meaning=deed.name)
    assert (signature.signed_name, signature.components) == (deed.signer.capitalize(), "username and password")
    assert before <= signature.signed_at <= timezone.now()
    role, at = signature.by.get_role_display(), f"{signature.signed_at:%d-%b-%Y %H:%M}"
    for shown in (
        f"Signed by {signature.signed_name}, {role}, on {at} UTC",
        deed.name,
        signature.sha256[:16],
    ):
        assert shown in page
    assert "not what was signed" not in page


@pytest.mark.requirement("ES3")
def test_a_signature_holds_for_exactly_what_was_signed(world: World) -> None:
    gate = decided(world)
    both = signed.signatures_of(gate)
    assert both["review"] and both["review"].holds and both["decision"] and both["decision"].holds
    for field, value in (("decision", "stop"), ("decision_reason", "x"), ("snapshot_sha256", "0" * 64), ("stage", 2)):
        changed = Gate.objects.get(pk=gate.pk)
        setattr(changed, field, value)
        assert not signed.signatures_of(changed)["decision"].holds, field  # type: ignore[union-attr]
    moved = Gate.objects.get(pk=gate.pk)
    moved.safety_signature, moved.decision_signature = moved.decision_signature, moved.safety_signature
    assert not any(one.holds for one in signed.signatures_of(moved).values() if one)


def test_the_database_keeps_a_signature_and_a_failure(world: World) -> None:
    gate = decided(world)
    with pytest.raises(DatabaseError), transaction.atomic():
        Signature.objects.filter(pk=gate.decision_signature_id).update(signed_name="Mallory")
    with pytest.raises(DatabaseError), transaction.atomic():
        Signature.objects.get(pk=gate.decision_signature_id).delete()


def test_a_new_snapshot_asks_for_a_new_signature_and_keeps_the_old_one(world: World) -> None:
    gate = reviewed(world, proposed(world))
    old = gate.safety_signature
    gate = actions.renew_proposal(gate=gate, reason="late laboratory data", by=world.alice)
    assert gate.safety_signature is None and Signature.objects.filter(pk=old.pk).exists()
    assert reviewed(world, gate).safety_signature != old


@pytest.mark.django_db(transaction=True)
def test_a_failure_is_in_the_audit_trail_under_the_signers_name(world: World) -> None:
    deed = safety_review(world)
    deed.post(username="alice", password="not the right one")
    (row,) = TrailRow.objects.filter(table_name="trials_failedsignature", chain=f"trial:{world.trial.pk}")
    assert (row.user_name, row.reason, row.chain) == (
        "Alice",
        "safety review: not signed, wrong password",
        f"trial:{world.trial.pk}",
    )
    assert "not the right one" not in str(row.new)


# --- Over the API -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ES2")
def test_the_api_asks_the_same(world: World, client: Client) -> None:
    gate = proposed(world)
    address = reverse("analysis_api:gate_safety_review", kwargs={"trial": world.trial.code, "stage": 1})

    def post(**given: str) -> tuple[int, dict[str, Any]]:
        typed = {"review": WORDS, "seen": gate.snapshot_sha256, **given}
        answer = client.post(address, typed, content_type="application/json")
        return answer.status_code, answer.json()

    assert post() == (400, {"username": ["This field is required."]})
    assert post(username="alice") == (400, {"password": ["This field is required."]})
    assert post(username="alice", password="not the right one")[0] == 400
    assert FailedSignature.objects.get().why == "wrong password"
    status, said = post(**signing("alice"))
    assert (status, said["safety_review"]) == (200, WORDS)
    assert not {"password", "username", "code"} & set(said)


def test_the_api_says_that_the_name_is_locked(world: World, client: Client) -> None:
    proposed(world)
    address = reverse("analysis_api:gate_safety_review", kwargs={"trial": world.trial.code, "stage": 1})
    typed = {"review": WORDS, "username": "alice", "password": "not the right one"}
    answers = [client.post(address, typed, content_type="application/json") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [400] * 4 + [429]
    assert answers[-1]["Retry-After"] and "locked" in answers[-1].json()["password"][0]
