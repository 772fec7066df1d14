"""The API of adverse events: one action a call, sentences by field, and nothing of another site."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.roles import Permission
from adverse_events.models import AdverseEvent
from audit.models import TrailRow
from tests.world import PEOPLE, World

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.adverse_events.urls")]

SEPSIS = {
    "verbatim": "Candida sepsis",
    "term": "Sepsis",
    "grade": 4,
    "started": "2025-04-02",
    "outcome": "recovered",
    "is_serious": True,
    "serious_criteria": ["hospitalisation", "life_threatening"],
    "relations": {"thymoglobulin": "unlikely"},
    "organism": "Candida",
}


def api(world: World, name: str, method: str, where: str, data: Any = None, **kwargs: Any) -> Any:
    client = Client()
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    url = reverse(f"adverse_events_api:{where}", kwargs={"trial": world.trial.code, **kwargs})
    if method == "get":
        return client.get(url, data)
    return getattr(client, method)(url, data, content_type="application/json")


def test_an_event_is_recorded_read_corrected_and_set_aside(world: World) -> None:
    participant = world.enrolled()
    made = api(world, "bob", "post", "new", SEPSIS, participant=participant.pk)
    assert made.status_code == 201
    one = made.json()
    assert (one["term"], one["category"], one["number"]) == ("Sepsis", "Infections and infestations", 1)
    assert one["serious_criteria"] == ["life_threatening", "hospitalisation"]
    assert api(world, "dora", "get", "event", event=one["id"]).json() == one
    change = {**SEPSIS, "grade": 5, "outcome": "fatal", "revision": 1, "reason": "autopsy"}
    corrected = api(world, "alice", "put", "event", change, event=one["id"])
    assert (corrected.status_code, corrected.json()["grade"], corrected.json()["revision"]) == (200, 5, 2)
    stale = api(world, "bob", "put", "event", change, event=one["id"])
    assert (stale.status_code, "changed by somebody else" in stale.json()["detail"]) == (409, True)
    void = api(world, "bob", "post", "void", {"reason": "other patient"}, event=one["id"])
    assert void.json()["is_void"] is True
    assert api(world, "bob", "post", "void", {"reason": "again"}, event=one["id"]).status_code == 409


@pytest.mark.requirement("AT1")
@pytest.mark.django_db(transaction=True)
def test_the_trail_says_that_it_came_by_the_api(world: World) -> None:
    made = api(world, "bob", "post", "new", SEPSIS, participant=world.enrolled().pk)
    row = TrailRow.objects.filter(table_name="adverse_events_adverseevent", row_id=str(made.json()["id"])).latest("id")
    assert (row.source, row.role, row.user_name) == ("api", "coordinator", "Bob")


def test_a_create_sent_twice_under_one_name_is_one_event(world: World) -> None:
    participant = world.enrolled()
    sent = {**SEPSIS, "external_id": "AE-7"}
    first, second = (api(world, "bob", "post", "new", sent, participant=participant.pk) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    other = api(world, "bob", "post", "new", {**sent, "organism": "E. coli"}, participant=participant.pk)
    assert other.status_code == 409
    assert AdverseEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"grade": 3}, "grade", "Sepsis has no grade 3 in CTCAE 4.03; it has 4, 5."),
        ({"term": "Vomiting", "grade": 2}, "grade", "This trial collects grade 3 and above"),
        ({"grade": 6}, "grade", "less than or equal to 5"),
        ({"term": "Spesis"}, "term", "is no term of CTCAE 4.03. Near: Sepsis"),
        ({"started": "2025-13"}, "started", "is no date"),
        ({"outcome": "better"}, "outcome", "is not a valid choice"),
        ({"relations": {"aspirin": "possible"}}, "relations", "the protocol asks for the relation to thymoglobulin"),
        ({"serious_criteria": ["costly"]}, "serious_criteria", "is not a valid choice"),
        ({"verbatim": ""}, "verbatim", "may not be blank"),
    ],
)
def test_a_refusal_is_a_sentence_under_its_field(
    world: World, changes: dict[str, Any], field: str, sentence: str
) -> None:
    answer = api(world, "bob", "post", "new", {**SEPSIS, **changes}, participant=world.enrolled().pk)
    assert answer.status_code == 400
    assert sentence in " ".join(answer.json()[field])
    assert not AdverseEvent.objects.exists()


@pytest.mark.parametrize("name", PEOPLE)
def test_who_may_record_and_who_may_read(world: World, name: str) -> None:
    participant = world.enrolled()
    membership = world.members[name]
    seen = membership.covers(participant.site_id)
    made = api(world, name, "post", "new", SEPSIS, participant=participant.pk)
    assert made.status_code == (404 if not seen else 201 if membership.may(Permission.RECORD_ADVERSE_EVENT) else 403)
    event = AdverseEvent.objects.first() or api(world, "bob", "post", "new", SEPSIS, participant=participant.pk)
    pk = event.pk if isinstance(event, AdverseEvent) else event.json()["id"]
    assert api(world, name, "get", "event", event=pk).status_code == (200 if seen else 404)
    assert api(world, name, "get", "list").json()["count"] == (1 if seen else 0)
    assert api(world, name, "get", "table").json()["total"]["total"]["events"] == (1 if seen else 0)


def test_the_list_is_filtered_as_the_page_is(world: World) -> None:
    participant = world.enrolled()
    api(world, "bob", "post", "new", SEPSIS, participant=participant.pk)
    other = {**SEPSIS, "term": "Vomiting", "grade": 3, "is_serious": None, "serious_criteria": []}
    api(world, "bob", "post", "new", other, participant=participant.pk)
    for query, count in (({"grade": "4"}, 1), ({"serious": "unknown"}, 1), ({"row": "Vomiting"}, 1), ({}, 2)):
        assert api(world, "bob", "get", "list", query).json()["count"] == count
    assert api(world, "bob", "get", "list", {"grade": "7"}).status_code == 400
    assert api(world, "bob", "get", "table", {"serious": "perhaps"}).status_code == 400


def test_terms_are_searched_and_their_grades_told(world: World) -> None:
    terms = api(world, "bob", "get", "terms", {"q": "febr"}).json()
    first = {"name": "Febrile neutropenia", "soc": "Blood and lymphatic system disorders", "grades": [3, 4, 5]}
    assert terms[0] == first
    grades = api(world, "bob", "get", "grades", {"term": "sepsis"}).json()
    assert [one["grade"] for one in grades if not one["refusal"]] == [4, 5]
    assert api(world, "bob", "get", "grades", {"term": "spesis"}).status_code == 404


def test_a_visitor_reads_nothing(world: World) -> None:
    url = reverse("adverse_events_api:list", kwargs={"trial": world.trial.code})
    assert Client().get(url).status_code in (401, 403)
