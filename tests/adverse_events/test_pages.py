"""Every page of adverse events answers every role as it should, and never shows another site."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.roles import Permission
from adverse_events import actions
from adverse_events.domain.reporting import Report
from adverse_events.models import AdverseEvent
from tests.world import PEOPLE, World
from trials.models import Participant

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.adverse_events.urls")]

SEPSIS = Report(verbatim="Sepsis, Candida", term="Sepsis", grade=4, started="2025-04-02", outcome="recovered")
TYPED = {
    "verbatim": "Sepsis, Candida",
    "term": "sepsis",
    "grade": "4",
    "started": "d+9",
    "ended": "apr 2025",
    "outcome": "recovered",
    "is_serious": "yes",
    "serious_criteria": ["life_threatening", "hospitalisation"],
    "relation_thymoglobulin": "possible",
    "organism": "Candida",
    "key": "6ad1",
}


def logged_in(world: World, name: str) -> Client:
    client = Client()
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(world: World, name: str, **kwargs: object) -> str:
    return reverse(f"adverse_events:{name}", kwargs={"trial": world.trial.code, **kwargs})


def recorded(world: World, participant: Participant | None = None, **changes: Any) -> AdverseEvent:
    person = participant or world.enrolled()
    by = world.bob if person.site.code == "A" else world.carol
    return actions.record_adverse_event(participant=person, report=replace(SEPSIS, **changes), by=by)


def text_of(answer: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())).split())


# --- Who sees what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("page", ["list", "table", "worklist"])
def test_every_role_reads_the_log_and_the_table(world: World, page: str, name: str) -> None:
    recorded(world)
    assert logged_in(world, name).get(address(world, page)).status_code == 200


@pytest.mark.parametrize("name", PEOPLE)
def test_a_role_reads_the_event_and_the_panel_of_what_it_sees(world: World, name: str) -> None:
    event = recorded(world)
    client = logged_in(world, name)
    expected = 200 if world.members[name].covers(event.participant.site_id) else 404
    assert client.get(address(world, "event", event=event.pk)).status_code == expected
    assert client.get(address(world, "panel", participant=event.participant_id)).status_code == expected
    assert client.get(address(world, "echo", participant=event.participant_id)).status_code == expected
    assert client.get(address(world, "sheet", participant=event.participant_id)).status_code == expected


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("page", ["new", "correct", "void"])
def test_a_form_opens_for_who_may_use_it_and_for_nobody_else(world: World, page: str, name: str) -> None:
    event = recorded(world)
    membership = world.members[name]
    where = {"participant": event.participant_id} if page == "new" else {"event": event.pk}
    client = logged_in(world, name)
    if not membership.covers(event.participant.site_id):
        expected = 404
    else:
        expected = 200 if membership.may(Permission.RECORD_ADVERSE_EVENT) else 403
    assert client.get(address(world, page, **where)).status_code == expected
    assert client.post(address(world, page, **where), {"reason": ""}).status_code in (
        {422} if expected == 200 else {expected}
    )


def test_a_visitor_is_sent_to_the_login(world: World) -> None:
    assert Client().get(address(world, "list")).status_code == 302


def test_before_enrolment_the_form_says_why_not(world: World) -> None:
    answer = logged_in(world, "bob").get(address(world, "panel", participant=world.screened().pk))
    assert "Record an adverse event" not in answer.content.decode()


def test_the_log_shows_one_site_to_a_site_and_all_to_a_monitor(world: World) -> None:
    at_a, at_b = recorded(world), recorded(world, world.enrolled(by=world.carol))
    bob, dora = (logged_in(world, name).get(address(world, "list")).content.decode() for name in ("bob", "dora"))
    assert address(world, "event", event=at_a.pk) in bob
    assert address(world, "event", event=at_b.pk) not in bob
    assert address(world, "event", event=at_a.pk) in dora
    assert address(world, "event", event=at_b.pk) in dora


# --- Entry --------------------------------------------------------------------------------------------------------


def test_an_event_is_recorded_as_it_is_typed(world: World) -> None:
    participant = world.enrolled()
    answer = logged_in(world, "bob").post(address(world, "new", participant=participant.pk), TYPED)
    event = AdverseEvent.objects.get()
    assert answer["Location"] == address(world, "event", event=event.pk)
    assert (event.term, event.grade, event.started, event.ended) == ("Sepsis", 4, "2025-04-02", "2025-04")
    assert event.is_serious is True
    assert event.serious_criteria == ["life_threatening", "hospitalisation"]
    assert event.relations == {"thymoglobulin": "possible"}
    assert event.organism == "Candida"


def test_the_same_form_sent_twice_records_once(world: World) -> None:
    participant = world.enrolled()
    client = logged_in(world, "bob")
    answers = [client.post(address(world, "new", participant=participant.pk), TYPED) for _ in range(2)]
    assert AdverseEvent.objects.count() == 1
    assert answers[0]["Location"] == answers[1]["Location"]


def test_the_same_form_with_other_content_corrects_nothing_silently(world: World) -> None:
    participant = world.enrolled()
    client = logged_in(world, "bob")
    client.post(address(world, "new", participant=participant.pk), TYPED)
    answer = client.post(address(world, "new", participant=participant.pk), {**TYPED, "organism": "E. coli"})
    assert answer.status_code == 409
    assert "Open AE 1 and correct it there" in text_of(answer)
    assert AdverseEvent.objects.get().organism == "Candida"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"grade": "3"}, "Sepsis has no grade 3 in CTCAE 4.03; it has 4, 5."),
        ({"term": "Vomiting", "grade": "2"}, "This trial collects grade 3 and above"),
        ({"grade": ""}, "Choose the worst grade"),
        ({"started": "03/04/2025"}, "can be read in two ways: 03-Apr-2025 or 04-Mar-2025"),
        ({"started": "2025-04-31"}, "is not a day of the calendar"),
        ({"started": "2125-04-01", "ended": ""}, "lies in the future"),
        ({"ended": "1apr25"}, "is before the start"),
        ({"is_ongoing": "on"}, "goes on has no end"),
        ({"is_serious": ""}, "Say whether it is serious"),
        ({"outcome": "fatal"}, "go together"),
        ({"term": "Infections and infestations - Other, specify"}, "needs the words of what happened"),
        ({"verbatim": "x" * 301}, "at most 300 characters"),
        ({"relation_thymoglobulin": "certainly"}, "not one of the available choices"),
    ],
)
def test_what_is_refused_stands_in_the_form_with_what_was_typed(
    world: World, changes: dict[str, str], sentence: str
) -> None:
    participant = world.enrolled()
    answer = logged_in(world, "bob").post(address(world, "new", participant=participant.pk), {**TYPED, **changes})
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert 'value="Candida"' in answer.content.decode()
    assert not AdverseEvent.objects.exists()


def test_without_scripts_terms_are_looked_up_and_picked(world: World) -> None:
    participant = world.enrolled()
    client = logged_in(world, "bob")
    page = address(world, "new", participant=participant.pk)
    found = client.post(page, {"term": "febr", "verbatim": "Fever", "action": "look-up"})
    assert found.status_code == 200
    assert 'name="pick"' in found.content.decode()
    assert 'value="Fever"' in found.content.decode()
    picked = client.post(page, {"term": "febr", "pick": "Febrile neutropenia", "action": "look-up"})
    assert 'value="3" required>' in picked.content.decode()
    assert 'value="2" required disabled' in picked.content.decode()
    assert not AdverseEvent.objects.exists()
    sent = {**TYPED, "term": "febr", "pick": "Febrile neutropenia", "grade": "3"}
    assert client.post(page, sent).status_code == 302
    assert AdverseEvent.objects.get().term == "Febrile neutropenia"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("Sepsis", {4, 5}),
        ("Febrile neutropenia", {3, 4, 5}),
        ("Neuralgia", {3}),
        ("Vomiting", {3, 4, 5}),
        ("", {3, 4, 5}),
    ],
)
def test_only_grades_that_exist_and_are_collected_are_offered(world: World, typed: str, offered: set[int]) -> None:
    participant = world.enrolled()
    page = logged_in(world, "bob").get(address(world, "sheet", participant=participant.pk), {"term": typed})
    radios = re.findall(r'value="(\d)" required( disabled)?', page.content.decode())
    assert {int(grade) for grade, disabled in radios if not disabled} == offered


def test_terms_are_options_best_first(world: World) -> None:
    answer = logged_in(world, "bob").get(address(world, "terms"), {"q": "febr"})
    assert re.findall(r'role="option"[^>]*data-value="([^"]+)"', answer.content.decode())[0] == "Febrile neutropenia"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("d+9", "= 02-Apr-2025, day 9"),
        ("apr 2025", "= UN-APR-2025"),
        ("03/04/2025", 'data-value="04-Mar-2025"'),
        ("", ""),
    ],
)
def test_a_date_is_echoed(world: World, typed: str, said: str) -> None:
    participant = world.enrolled()
    answer = logged_in(world, "bob").get(address(world, "echo", participant=participant.pk), {"started": typed})
    assert said in answer.content.decode()


def test_a_copy_asks_for_grade_and_dates_anew(world: World) -> None:
    event = recorded(world, organism="Candida")
    page = address(world, "new", participant=event.participant_id) + f"?copy={event.pk}"
    html = logged_in(world, "bob").get(page).content.decode()
    assert 'value="Candida"' in html
    assert 'id="id_started"' in html
    assert "02-Apr-2025" not in html
    assert " checked" not in html.split('id="id_grade"')[1].split("</fieldset>")[0]


def test_the_form_of_another_participant_copies_nothing(world: World) -> None:
    event = recorded(world, organism="Candida")
    page = address(world, "new", participant=world.enrolled().pk) + f"?copy={event.pk}"
    assert 'value="Candida"' not in logged_in(world, "bob").get(page).content.decode()


# --- Correction, conflict, void, history --------------------------------------------------------------------------


def correction(event: AdverseEvent, **changes: str) -> dict[str, Any]:
    return {**TYPED, "revision": str(event.revision), "reason": "culture came in", **changes}


def test_a_correction_is_shown_in_the_history(world: World) -> None:
    event = recorded(world)
    client = logged_in(world, "alice")
    answer = client.post(address(world, "correct", event=event.pk), correction(event, organism="E. coli"))
    assert answer["Location"] == address(world, "event", event=event.pk)
    event.refresh_from_db()
    assert (event.organism, event.revision) == ("E. coli", 2)


@pytest.mark.django_db(transaction=True)
def test_the_history_says_who_what_and_why(world: World) -> None:
    event = recorded(world)
    client = logged_in(world, "alice")
    client.post(address(world, "correct", event=event.pk), correction(event, grade="5", outcome="fatal"))
    text = text_of(client.get(address(world, "event", event=event.pk)))
    assert "Alice" in text
    assert "Grade 4 5 culture came in" in text
    assert "Outcome recovered fatal culture came in" in text


def test_a_correction_without_a_reason_is_refused(world: World) -> None:
    event = recorded(world)
    answer = logged_in(world, "bob").post(address(world, "correct", event=event.pk), correction(event, reason=""))
    assert answer.status_code == 422


def test_two_who_correct_at_once_see_both_values(world: World) -> None:
    event = recorded(world)
    bob, page = logged_in(world, "bob"), address(world, "correct", event=event.pk)
    logged_in(world, "alice").post(page, correction(event, organism="E. coli"))
    answer = bob.post(page, correction(event, organism="Klebsiella"))
    assert answer.status_code == 409
    assert "Organism Klebsiella E. coli" in text_of(answer)
    assert 'name="revision" value="2"' in answer.content.decode()
    event.refresh_from_db()
    assert event.organism == "E. coli"
    assert bob.post(page, correction(event, organism="Klebsiella")).status_code == 302
    event.refresh_from_db()
    assert event.organism == "Klebsiella"


def test_a_void_event_is_struck_through_and_offers_no_correction(world: World) -> None:
    event = recorded(world)
    client = logged_in(world, "bob")
    assert client.post(address(world, "void", event=event.pk), {"reason": "other patient"}).status_code == 302
    assert "<s>" in client.get(address(world, "list")).content.decode()
    assert (
        address(world, "correct", event=event.pk)
        not in client.get(address(world, "event", event=event.pk)).content.decode()
    )
    assert client.post(address(world, "correct", event=event.pk), correction(event)).status_code == 409


# --- Lists --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 4),
        ("void=no", 3),
        ("void=yes", 1),
        ("grade=3", 1),
        ("grade=4&void=no", 2),
        ("serious=yes", 1),
        ("serious=unknown&void=no", 2),
        ("site=A", 3),
        ("site=B", 1),
        ("participant=p001", 3),
        ("participant=P999", 0),
        ("end=open", 2),
        ("days=7", 4),
        ("category=Infections and infestations&void=no", 2),
        ("row=Vomiting", 1),
        ("void=no&show=worst", 2),
        ("void=no&show=worst&grade=3", 0),
        ("order=-grade", 4),
        ("order=rubbish&page=rubbish", 4),
    ],
)
def test_the_log_is_filtered_by_its_address(world: World, query: str, count: int) -> None:
    person, other = world.enrolled(), world.enrolled(by=world.carol)
    recorded(world, person, ended="2025-04-09")
    recorded(world, person, term="Vomiting", grade=3, verbatim="Vomiting", is_serious=True)
    recorded(world, other)
    wrong = recorded(world, person, verbatim="of somebody else")
    actions.void_adverse_event(event=wrong, reason="other patient", by=world.bob)
    answer = logged_in(world, "dora").get(address(world, "list") + "?" + query)
    assert f"{count} event" in text_of(answer)
    assert len(re.findall(r'<th scope="row">', answer.content.decode())) == count


def test_a_filter_that_means_nothing_is_said(world: World) -> None:
    answer = logged_in(world, "bob").get(address(world, "list") + "?grade=7")
    assert "7 is not one of the available choices" in text_of(answer)


def test_the_log_asks_no_more_queries_for_more_events(world: World, django_assert_max_num_queries: Any) -> None:
    person = world.enrolled()
    client = logged_in(world, "bob")
    client.get(address(world, "list"))
    for _ in range(3):
        recorded(world, person)
        recorded(world)
    with django_assert_max_num_queries(22):
        client.get(address(world, "list"))


@pytest.mark.parametrize(
    ("name", "headings"),
    [
        (
            "alice",
            [
                "1 serious adverse event recorded",
                "1 adverse event whose seriousness",
                "2 adverse events without an end",
            ],
        ),
        ("bob", ["1 adverse event whose seriousness", "2 adverse events without an end"]),
        ("carol", []),
        ("dora", []),
    ],
)
def test_the_worklist_counts_what_its_links_list(world: World, name: str, headings: list[str]) -> None:
    person = world.enrolled()
    recorded(world, person, is_serious=True)
    recorded(world, person)
    recorded(world, person, is_serious=False, ended="2025-05")
    client = logged_in(world, name)
    html = client.get(address(world, "worklist"), headers={"HX-Request": "true"}).content.decode()
    links = re.findall(r'<a href="([^"]*\?[^"]*)">(\d+) ', html)
    assert len(links) == len(headings)
    assert all(heading in " ".join(html.split()) for heading in headings)
    for link, count in links:
        assert f"{count} event" in text_of(client.get(unescape(link)))
