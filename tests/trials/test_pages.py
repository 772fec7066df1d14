"""Every page of the floor answers every role as it should, and never shows another site."""

from __future__ import annotations

from datetime import date

import pytest
from django.test import Client
from django.urls import reverse

from accounts.roles import Permission
from tests.world import GRAFT_ON, PEOPLE, World
from trials import actions
from trials.models import Participant

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.trials.urls")]


def logged_in(world: World, name: str) -> Client:
    client = Client()
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(world: World, name: str, **kwargs: object) -> str:
    return reverse(f"trials:{name}", kwargs={"trial": world.trial.code, **kwargs})


#: Pages that every member may read.
READ = ("overview", "participants", "deviations", "protocol", "members", "worklist")


@pytest.mark.parametrize("name", PEOPLE)
def test_every_role_reads_the_pages_of_the_trial(world: World, name: str) -> None:
    participant = world.enrolled()
    client = logged_in(world, name)
    assert client.get(reverse("home")).status_code == 200
    for page in READ:
        answer = client.get(address(world, page))
        assert answer.status_code == 200, page
        assert answer["Content-Type"].startswith("text/html")
    expected = 200 if world.members[name].covers(participant.site_id) else 404
    assert client.get(address(world, "participant", participant=participant.pk)).status_code == expected


#: Page of a participant, and the permission that opens it.
FORMS = {
    "consent": Permission.RECORD_CONSENT,
    "anchor": Permission.RECORD_OBSERVATION,
    "unscheduled_visit": Permission.RECORD_OBSERVATION,
    "withdraw": Permission.WITHDRAW_PARTICIPANT,
    "fail_screening": Permission.SCREEN_PARTICIPANT,
    "record_deviation": Permission.RECORD_DEVIATION,
}


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("page", FORMS)
def test_a_form_opens_for_who_may_use_it_and_for_nobody_else(world: World, page: str, name: str) -> None:
    participant = world.enrolled()
    membership = world.members[name]
    answer = logged_in(world, name).get(address(world, page, participant=participant.pk))
    if not membership.covers(participant.site_id):
        assert answer.status_code == 404
    else:
        assert answer.status_code == (200 if membership.may(FORMS[page]) else 403)


def test_a_visitor_is_sent_to_the_login(world: World) -> None:
    answer = Client().get(address(world, "participants"))
    assert answer.status_code == 302
    assert reverse("account_login") in answer["Location"]


@pytest.mark.requirement("AC2")
def test_who_is_no_member_sees_no_trial(world: World) -> None:
    from tests.world import person

    client = Client()
    client.force_login(person("stranger"), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(address(world, "participants")).status_code == 404
    assert client.get(reverse("home")).status_code == 200


def test_the_list_shows_one_site_to_a_site_and_all_to_a_monitor(world: World) -> None:
    at_a, at_b = world.enrolled(by=world.bob), world.enrolled(by=world.carol)
    bob = logged_in(world, "bob").get(address(world, "participants")).content.decode()
    assert f"/{at_a.pk}/" in bob
    assert f"/{at_b.pk}/" not in bob
    dora = logged_in(world, "dora").get(address(world, "participants")).content.decode()
    assert f"/{at_a.pk}/" in dora
    assert f"/{at_b.pk}/" in dora


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("q=P001", True),
        ("q=S001", True),
        ("q=P9", False),
        ("site=A", True),
        ("site=B", False),
        ("status=enrolled", True),
        ("status=screening", False),
        ("due=overdue", True),
        ("due=open", False),
        ("order=-next&page=1", True),
        ("order=rubbish&page=rubbish", True),
        ("status=rubbish", False),
    ],
)
def test_the_list_is_filtered_and_sorted_by_its_address(world: World, query: str, shown: bool) -> None:
    participant = world.enrolled()
    answer = logged_in(world, "bob").get(address(world, "participants") + "?" + query)
    assert answer.status_code == 200
    assert (address(world, "participant", participant=participant.pk) in answer.content.decode()) is shown


def test_the_list_asks_no_more_queries_for_more_participants(world: World, django_assert_max_num_queries) -> None:
    world.enrolled()
    client = logged_in(world, "bob")
    client.get(address(world, "participants"))
    with django_assert_max_num_queries(25):
        client.get(address(world, "participants"))
    for _ in range(3):
        world.enrolled()
    with django_assert_max_num_queries(25):
        client.get(address(world, "participants"))


def test_the_go_box_opens_a_participant_by_either_number(world: World) -> None:
    participant = world.enrolled()
    client = logged_in(world, "bob")
    page = address(world, "participant", participant=participant.pk)
    for code in ("P001", "p001", "S001"):
        assert client.post(address(world, "go"), {"q": code})["Location"] == page
        assert client.post(reverse("go"), {"q": code})["Location"] == page
    missing = client.post(address(world, "go"), {"q": "P999"})
    assert missing.status_code == 404
    assert "P999" in missing.content.decode()
    assert logged_in(world, "carol").post(reverse("go"), {"q": "P001"}).status_code == 404


def test_registering_leads_to_the_participant_and_a_second_click_to_the_same(world: World) -> None:
    client = logged_in(world, "bob")
    form = client.get(address(world, "register")).context["form"]
    sent = {
        "site": world.site_a.pk,
        "screened_on": "3.3.2025",
        "birth_date": "jun 2015",
        "sex": "female",
        "submission": form["submission"].value(),
    }
    first = client.post(address(world, "register"), sent)
    second = client.post(address(world, "register"), sent)
    participant = Participant.objects.get()
    assert first["Location"] == second["Location"] == address(world, "participant", participant=participant.pk)
    assert participant.birth_date == "2015-06"


def test_a_refused_form_keeps_what_was_typed_and_says_why(world: World) -> None:
    client = logged_in(world, "bob")
    answer = client.post(
        address(world, "register"),
        {"site": world.site_a.pk, "screened_on": "03/04/2025", "birth_date": "2199", "sex": "female"},
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "03/04/2025" in page
    assert "2199" in page
    assert "error-summary" in page
    assert not Participant.objects.exists()


@pytest.mark.requirement("AC2")
def test_another_sites_participant_is_not_there_for_any_verb(world: World) -> None:
    participant = world.enrolled(by=world.carol)
    client = logged_in(world, "alice")
    visit = participant.visits.first()
    for page in FORMS:
        assert client.post(address(world, page, participant=participant.pk), {}).status_code == 404, page
    for page in ("visit_done", "visit_missed"):
        assert client.post(address(world, page, participant=participant.pk, visit=visit.pk), {}).status_code == 404
    deviation = actions.record_deviation(participant=participant, description="late", by=world.carol)
    assert client.post(address(world, "decide_deviation", deviation=deviation.pk), {}).status_code == 404
    assert client.post(address(world, "void_deviation", deviation=deviation.pk), {}).status_code == 404


def test_moving_the_graft_shows_what_it_changes_and_waits_for_a_yes(world: World) -> None:
    participant = world.enrolled()
    client = logged_in(world, "bob")
    page = address(world, "anchor", participant=participant.pk)
    sent = {"day": "31.3.2025", "reason": "donor ill"}
    shown = client.post(page, sent)
    assert shown.status_code == 200
    assert "This moves 10 visits" in shown.content.decode()
    assert participant.anchors.count() == 1
    confirmed = client.post(page, {**sent, "confirmed": "yes"})
    assert confirmed.status_code == 302
    assert [anchor.day for anchor in participant.anchors.order_by("revision")] == [GRAFT_ON, date(2025, 3, 31)]


def test_moving_the_graft_without_a_reason_is_refused_beside_the_field(world: World) -> None:
    participant = world.enrolled()
    answer = logged_in(world, "bob").post(
        address(world, "anchor", participant=participant.pk), {"day": "31.3.2025", "confirmed": "yes"}
    )
    assert answer.status_code == 422
    assert "Say why the date of the graft infusion moves" in answer.content.decode()


def test_a_visit_is_done_with_a_study_day_and_marked_outside_its_window(world: World) -> None:
    participant = world.enrolled()
    visit = participant.visits.get(code="W1")
    client = logged_in(world, "bob")
    answer = client.post(address(world, "visit_done", participant=participant.pk, visit=visit.pk), {"done_on": "d+12"})
    assert answer.status_code == 302
    visit.refresh_from_db()
    assert visit.done_on == date(2025, 4, 5)
    assert "after its window" in client.get(address(world, "participant", participant=participant.pk)).content.decode()


def test_deviations_are_recorded_listed_and_decided(world: World) -> None:
    participant = world.enrolled()
    client = logged_in(world, "alice")
    sent = {"rule": "D3", "description": "graft thawed", "is_major": "on", "removes_from_efficacy": "on"}
    assert client.post(address(world, "record_deviation", participant=participant.pk), sent).status_code == 302
    listed = client.get(address(world, "deviations") + "?show=open").content.decode()
    assert "graft thawed" in listed
    deviation = participant.deviations.get()
    decided = client.post(address(world, "decide_deviation", deviation=deviation.pk), {"is_confirmed": "yes"})
    assert decided.status_code == 302
    deviation.refresh_from_db()
    assert deviation.is_confirmed is True
    assert "graft thawed" not in client.get(address(world, "deviations") + "?show=open").content.decode()


def test_the_trial_manager_gives_and_ends_memberships(world: World) -> None:
    from tests.world import person

    person("newcomer")
    client = logged_in(world, "tessa")
    sent = {"username": "Newcomer", "role": "monitor", "site": "", "valid_from": "t", "reason": "log 12"}
    assert client.post(address(world, "grant_membership"), sent).status_code == 302
    held = world.trial.memberships.get(user__username="newcomer")
    assert (held.role, held.site) == ("monitor", None)
    ended = client.post(address(world, "end_membership", member=held.pk), {"on": "t", "reason": "left"})
    assert ended.status_code == 302
    page = client.get(address(world, "members")).content.decode()
    assert "Newcomer" in page


def test_the_site_approval_page_takes_a_later_version_into_use(world: World) -> None:
    client = logged_in(world, "tessa")
    answer = client.post(
        address(world, "approve_site"),
        {"site": world.site_a.pk, "version": world.version.pk, "approved_on": "1.1.2024"},
    )
    assert answer.status_code == 302  # the same date again is kept
    answer = client.post(
        address(world, "approve_site"),
        {"site": world.site_a.pk, "version": world.version.pk, "approved_on": "2.1.2024"},
    )
    assert answer.status_code == 409
    assert "is recorded for 01-Jan-2024" in answer.content.decode()


def test_the_worklist_lists_what_is_due_to_those_who_record_it(world: World) -> None:
    world.enrolled()
    bob = logged_in(world, "bob").get(address(world, "worklist"))
    assert len(bob.context["overdue"]) == 10
    assert "10 visits overdue" in bob.content.decode()
    assert not logged_in(world, "dora").get(address(world, "worklist")).context["overdue"]
    fragment = logged_in(world, "bob").get(address(world, "worklist"), headers={"HX-Request": "true"})
    assert "<html" not in fragment.content.decode()


def test_a_user_with_two_roles_acts_in_the_one_chosen(world: World) -> None:
    second = actions.grant_membership(
        user=world.user("bob"), trial=world.trial, role="inspector", by=world.tessa, reason="also inspects"
    )
    client = logged_in(world, "bob")
    client.post(reverse("membership"), {"membership": second.pk})
    assert client.get(address(world, "overview")).wsgi_request.membership == second
    assert client.get(address(world, "register")).status_code == 403
    assert client.post(reverse("membership"), {"membership": world.alice.pk}).status_code == 404


@pytest.mark.requirement("SEC1")
def test_no_page_carries_inline_style_or_script(world: World) -> None:
    participant = world.enrolled()
    client = logged_in(world, "bob")
    pages = [address(world, page) for page in (*READ, "register")]
    pages += [address(world, page, participant=participant.pk) for page in ("participant", "anchor", "consent")]
    for page in [*pages, reverse("home")]:
        text = client.get(page).content.decode()
        assert " style=" not in text
        assert "<script>" not in text
        assert "onclick" not in text
