"""The API says the same as the pages: scoped reads, one action a write, refusals as sentences with their status."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from tests.trials.test_pages import logged_in
from tests.world import PEOPLE, World
from trials import actions

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.trials.urls")]


def address(world: World, name: str, **kwargs: object) -> str:
    return reverse(f"trials_api:{name}", kwargs={"trial": world.trial.code, **kwargs})


@pytest.mark.parametrize("name", PEOPLE)
def test_each_role_reads_as_far_as_it_reaches(world: World, name: str) -> None:
    at_a, at_b = world.enrolled(by=world.bob), world.enrolled(by=world.carol)
    client, membership = logged_in(world, name), world.members[name]
    listed = client.get(address(world, "participants")).json()
    seen = [one.pk for one in (at_a, at_b) if membership.covers(one.site_id)]
    assert [row["id"] for row in listed["results"]] == seen
    for one in (at_a, at_b):
        status = 200 if one.pk in seen else 404
        for page in ("participant", "assessments", "consents", "visits"):
            assert client.get(address(world, page, participant=one.pk)).status_code == status, page
    assert [row["code"] for row in client.get(address(world, "sites")).json()] == (
        ["A", "B"] if membership.site is None else [membership.site.code]
    )
    assert client.get(address(world, "deviations")).status_code == 200


def test_an_assessment_carries_each_criterion_with_its_value_and_source(world: World) -> None:
    participant = world.enrolled()
    shown = logged_in(world, "bob").get(address(world, "assessments", participant=participant.pk)).json()
    assert shown[0]["outcome"] == "eligible"
    assert {"id", "result", "value", "source", "sentence"} <= set(shown[0]["criteria"][0])


def test_visitors_and_strangers_are_told_apart(world: World) -> None:
    assert Client().get(address(world, "participants")).status_code == 403
    elsewhere = reverse("trials_api:participants", kwargs={"trial": "alder"})
    assert logged_in(world, "bob").get(elsewhere).status_code == 404


def test_a_participant_is_registered_consents_and_is_seen_by_the_api(world: World) -> None:
    client = logged_in(world, "bob")
    sent = {"site": "A", "screened_on": "2025-03-03", "birth_date": "2015", "sex": "female"}
    made = client.post(address(world, "participants"), sent, content_type="application/json")
    assert made.status_code == 201
    assert (made.json()["screening_number"], made.json()["status"]) == ("S001", "screening")
    consent = client.post(
        address(world, "consents", participant=made.json()["id"]),
        {"version": "1.0", "signed_on": "2025-03-03", "signatory": "parent, participant"},
        content_type="application/json",
    )
    assert consent.json()["signatory"] == "parent, participant"


@pytest.mark.parametrize(
    ("who", "changed", "status", "words"),
    [
        ("bob", {"birth_date": "soon"}, 400, "is no date"),
        ("bob", {"site": "B"}, 400, "No such site"),
        ("bob", {"screened_on": "2023-01-01"}, 409, "No protocol version is approved"),
        (
            "peter",
            {},
            403,
            "A pharmacist may not register a person for screening and give the participant code. Ask: ",
        ),
    ],
)
def test_a_refused_registration_says_why(
    world: World, who: str, changed: dict[str, str], status: int, words: str
) -> None:
    sent = {"site": "A", "screened_on": "2025-03-03", "birth_date": "2015", "sex": "female", **changed}
    answer = logged_in(world, who).post(address(world, "participants"), sent, content_type="application/json")
    assert answer.status_code == status
    assert words in answer.content.decode()


def test_visits_anchor_and_deviations_are_written_by_their_actions(world: World) -> None:
    participant = world.enrolled()
    client = logged_in(world, "alice")
    visit = participant.visits.get(code="W1")
    done = client.put(
        address(world, "visit", participant=participant.pk, visit=visit.pk),
        {"done_on": "2025-04-05"},
        content_type="application/json",
    )
    assert (done.json()["status"], done.json()["window"]) == ("done", "late")
    moved = client.put(
        address(world, "anchor", participant=participant.pk), {"day": "2025-03-31"}, content_type="application/json"
    )
    assert moved.status_code == 400
    assert "Say why" in moved.json()["reason"][0]
    deviation = client.post(
        address(world, "participant_deviations", participant=participant.pk),
        {"rule": "D3", "description": "thawed", "is_major": True},
        content_type="application/json",
    )
    assert deviation.status_code == 201
    decided = client.put(
        address(world, "deviation_decision", deviation=deviation.json()["id"]),
        {"is_confirmed": True},
        content_type="application/json",
    )
    assert decided.json()["is_confirmed"] is True
    other = logged_in(world, "carol").put(
        address(world, "deviation_decision", deviation=deviation.json()["id"]),
        {"is_confirmed": False},
        content_type="application/json",
    )
    assert other.status_code == 404


def test_the_group_is_left_out_for_who_must_not_know_it(world: World) -> None:
    from tests.trials.test_enrolment import RANDOMISED

    text = RANDOMISED.replace("trial: larch", "trial: alder", 1)
    version = actions.publish_protocol(text=text, file="alder.yaml", by=None, reason="second trial")
    site = version.trial.sites.get(code="A")
    actions.import_participant(
        trial=version.trial, site=site, screened_on=world.bob.valid_from, group="fixed", by=None, number="Q1"
    )
    for name, shown in (("dora", None), ("bob", "fixed")):
        role = world.members[name].role
        actions.grant_membership(user=world.user(name), trial=version.trial, role=role, by=None, reason="start")
        rows = logged_in(world, name).get(reverse("trials_api:participants", kwargs={"trial": "alder"})).json()
        assert rows["results"][0]["group"] == shown


def test_the_schema_of_the_api_is_complete(tmp_path) -> None:
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--urlconf", "tests.trials.urls", "--file", str(file), "--validate", "--fail-on-warn")
    assert "participants_list" in file.read_text()
