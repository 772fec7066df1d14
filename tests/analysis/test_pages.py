"""Every page of endpoints and gates answers every role as it should, and never shows another site or a hidden group."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.roles import Permission
from analysis import actions
from analysis.models import Gate
from tests.analysis.test_adjudication import AFTER_ALL, measured
from tests.analysis.test_gate_actions import decided, proposed, reviewed
from tests.browser.watch import axe_violations
from tests.world import PEOPLE, World, build_world, definition, signing
from trials.models import Participant

pytestmark = pytest.mark.django_db


def logged_in(world: World, name: str) -> Client:
    client = Client()
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(world: World, name: str, **kwargs: object) -> str:
    return reverse(f"analysis:{name}", kwargs={"trial": world.trial.code, **kwargs})


def text_of(html: str) -> str:
    """The words of a page, without its tags."""
    words: list[str] = []
    parser = HTMLParser()
    parser.handle_data = words.append  # type: ignore[method-assign]
    parser.feed(html)
    return re.sub(r"\s+", " ", " ".join(words))


# --- Who sees what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEOPLE)
def test_the_results_are_for_the_roles_that_may_see_them(world: World, name: str) -> None:
    proposed(world)
    client, membership = logged_in(world, name), world.members[name]
    expected = 200 if membership.may(Permission.VIEW_DASHBOARD) else 403
    pages = [address(world, "dashboard"), address(world, "adjudications"), address(world, "gate", stage=1)]
    assert [client.get(page).status_code for page in pages] == [expected] * 3
    assert client.get(address(world, "worklist")).status_code == 200


@pytest.mark.parametrize("name", PEOPLE)
def test_the_panel_shows_participants_of_ones_own_sites(world: World, name: str) -> None:
    participant = world.enrolled()
    measured(world, participant, (28, "0.05"), (35, "0.06"))
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    answer = logged_in(world, name).get(address(world, "panel", participant=participant.pk))
    if not world.members[name].covers(participant.site_id):
        assert answer.status_code == 404
        return
    assert answer.status_code == 200
    assert ("Rests on" in answer.content.decode()) is ("<svg xmlns" in answer.content.decode()) is (name != "erin")
    shown = "0.05 on day 28 and 0.06 on day 35" in answer.content.decode()
    # An independent reader decides without knowing the computed answer.
    assert shown is (name != "erin")


def test_a_visitor_is_sent_to_the_login_and_a_stranger_sees_no_trial(world: World) -> None:
    from tests.world import person

    actions.refresh_gates(trial=world.trial)
    pages = [address(world, "dashboard"), address(world, "gate", stage=1), address(world, "adjudications")]
    for page in pages:
        assert Client().get(page).status_code == 302
    stranger = Client()
    stranger.force_login(person("stranger"), backend="django.contrib.auth.backends.ModelBackend")
    assert [stranger.get(page).status_code for page in pages] == [404] * 3


def test_another_site_is_counted_at_the_gate_and_not_named(world: World) -> None:
    proposed(world)
    page = logged_in(world, "carol").get(address(world, "gate", stage=1)).content.decode()
    assert "4 participants of other sites were counted: 3 reached, 1 not reached." in text_of(page)
    assert "P001" not in page and "P004" not in page
    listing = logged_in(world, "carol").get(address(world, "adjudications")).content.decode()
    assert "P001" not in listing and "0 participants" in listing
    assert logged_in(world, "carol").get(f"{address(world, 'dashboard')}?site=A").status_code == 404


def test_late_data_of_another_site_are_told_as_a_number(world: World) -> None:
    gate = decided(world)
    measured(world, Participant.objects.get(number="P004"), (103, "0.2"))
    actions.adjudicate(participants=[p.pk for p in Participant.objects.all()], as_of=AFTER_ALL)
    alice = logged_in(world, "alice").get(address(world, "gate", stage=gate.stage)).content.decode()
    ben = logged_in(world, "ben").get(address(world, "gate", stage=gate.stage)).content.decode()
    assert "P004: counted as not reached; now reached." in text_of(alice)
    assert "P004" not in ben and "Other sites: 1 more differ from the snapshot." in text_of(ben)


#: Two arms, and a statistician who must not know them.
BLINDED = (
    definition()
    .replace(
        "  - {id: historical,",
        "  - {id: fixed, label: Fixed ATG, kind: arm, planned: 12}\n  - {id: historical,",
    )
    .replace(
        "assignment: {method: single_arm, to: individualised}",
        "assignment: {method: permuted_blocks, ratio: [1, 1], blocks: [2, 4]}\nblinded_roles: [statistician, monitor]",
    )
)


@pytest.mark.parametrize("name, sees", [("rita", False), ("dora", False), ("alice", True), ("ivan", True)])
def test_blinded_roles_never_get_a_group(name: str, sees: bool, db: None) -> None:
    world = build_world(text=BLINDED)
    for _ in range(2):
        participant = world.enrolled()
        measured(world, participant, (28, "0.05"), (35, "0.06"))
        actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    client = logged_in(world, name)
    for page in (
        address(world, "dashboard"),
        address(world, "adjudications"),
        address(world, "panel", participant=participant.pk),
        reverse("analysis_api:endpoints", kwargs={"trial": world.trial.code}),
    ):
        html = client.get(page).content.decode()
        has = any(word in html for word in ("Individualised ATG", "Fixed ATG", ">individualised<", ">fixed<"))
        assert has is (sees and page in (address(world, "dashboard"), address(world, "adjudications"))), page
    if not sees:
        assert "Trial participants" in client.get(address(world, "dashboard")).content.decode()


# --- What the investigator does -----------------------------------------------------------------------------------


def test_an_investigator_signs_and_decides_on_the_page(world: World) -> None:
    gate = proposed(world)
    client, page = logged_in(world, "alice"), address(world, "gate", stage=1)
    html = client.get(page).content.decode()
    assert "The decision follows the signed safety review." in html
    seen = {"seen": gate.snapshot_sha256}
    answer = client.post(
        address(world, "sign_safety_review", stage=1), {"review": "Clear.", **seen, **signing("alice")}, follow=True
    )
    assert "The safety review is signed." in answer.content.decode()
    answer = client.post(
        address(world, "decide_gate", stage=1),
        {"decision": "continue", "reason": "As planned.", **seen, **signing("alice")},
        follow=True,
    )
    assert answer.status_code == 200
    words = text_of(answer.content.decode())
    assert "Continue with the next stage 3 of 4, 3 needed As planned. Decided by Alice" in words
    assert Gate.objects.get(stage=1).decision == "continue"


@pytest.mark.parametrize(
    "sent, status, sentence",
    [
        ({"decision": "continue", "reason": ""}, 422, "This field is required."),
        ({"reason": "As planned."}, 422, "This field is required."),
        ({"decision": "success", "reason": "x"}, 422, "Select a valid choice."),
        ({"decision": "continue", "reason": "x", "seen": "0" * 64}, 409, "has a newer snapshot than the one you read"),
    ],
)
def test_a_refused_decision_says_why_and_keeps_what_was_typed(
    world: World, sent: dict[str, str], status: int, sentence: str
) -> None:
    reviewed(world, proposed(world))
    answer = logged_in(world, "alice").post(address(world, "decide_gate", stage=1), {**sent, **signing("alice")})
    assert answer.status_code == status
    html = answer.content.decode()
    assert sentence in html and 'role="alert"' in html
    assert sent["reason"] in html
    assert Gate.objects.get(stage=1).decision == ""


def test_deciding_twice_keeps_the_first_decision(world: World) -> None:
    reviewed(world, proposed(world))
    client = logged_in(world, "alice")
    for decision in ("continue", "stop"):
        typed = {"decision": decision, "reason": "x", **signing("alice")}
        answer = client.post(address(world, "decide_gate", stage=1), typed)
    assert answer.status_code == 409
    assert Gate.objects.get(stage=1).decision == "continue"


@pytest.mark.parametrize("name", ["bob", "rita", "dora", "tessa", "ivan"])
def test_nobody_else_decides(world: World, name: str) -> None:
    reviewed(world, proposed(world))
    client = logged_in(world, name)
    assert 'name="decision"' not in client.get(address(world, "gate", stage=1)).content.decode()
    for deed, typed in (
        ("decide_gate", {"decision": "continue", "reason": "x"}),
        ("renew_gate", {"reason": "x"}),
        ("sign_safety_review", {"review": "x"}),
    ):
        assert client.post(address(world, deed, stage=1), typed).status_code == 403
    assert Gate.objects.get(stage=1).state == "proposed"


def test_a_new_snapshot_is_asked_for_with_a_reason(world: World) -> None:
    proposed(world)
    client = logged_in(world, "alice")
    assert client.post(address(world, "renew_gate", stage=1), {"reason": ""}).status_code == 422
    answer = client.post(address(world, "renew_gate", stage=1), {"reason": "late laboratory data"}, follow=True)
    assert "A new snapshot was asked for." in answer.content.decode()


def test_there_is_no_third_stage(world: World) -> None:
    actions.refresh_gates(trial=world.trial)
    assert logged_in(world, "alice").get(address(world, "gate", stage=3)).status_code == 404


def test_the_worklist_counts_what_it_lists(world: World) -> None:
    participant = world.enrolled()
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    page = logged_in(world, "alice").get(address(world, "worklist")).content.decode()
    assert "1 endpoint without sufficient data" in page and "P001" in page
    assert "P001" not in logged_in(world, "carol").get(address(world, "worklist")).content.decode()
    proposed(world, "reached", "reached", "reached")
    page = logged_in(world, "alice").get(address(world, "worklist")).content.decode()
    assert "1 stage gate" in page and "waits for a signed safety review" in page
    reviewed(world, Gate.objects.get(stage=1))
    page = logged_in(world, "alice").get(address(world, "worklist")).content.decode()
    assert "3 of 4, 3 needed" in text_of(page)
    assert "stage gate" not in logged_in(world, "bob").get(address(world, "worklist")).content.decode()


# --- API ----------------------------------------------------------------------------------------------------------


def api(world: World, name: str, **kwargs: object) -> str:
    return reverse(f"analysis_api:{name}", kwargs={"trial": world.trial.code, **kwargs})


def test_the_api_lists_endpoints_gates_and_sets(world: World) -> None:
    proposed(world)
    client = logged_in(world, "rita")
    endpoints = client.get(api(world, "endpoints"), {"status": "reached"}).json()
    assert endpoints["count"] == 3
    assert endpoints["results"][0]["evidence"]["days"] == [28, 35]
    gates = client.get(api(world, "gates")).json()
    assert [(gate["stage"], gate["state"]) for gate in gates] == [(1, "proposed"), (2, "waiting")]
    one = client.get(api(world, "gate", stage=1)).json()
    assert [seat["number"] for seat in one["snapshot"]["participants"]] == ["P001", "P002", "P003", "P004"]
    sets = {row["id"]: row["count"] for row in client.get(api(world, "sets")).json()}
    assert sets == {"assessed": 4, "safety": 4, "full": 4, "evaluable": 4}
    assert client.get(api(world, "endpoints"), {"participant": "x"}).json()["count"] == 0


def test_the_api_keeps_to_the_site(world: World) -> None:
    proposed(world)
    client = logged_in(world, "carol")
    assert client.get(api(world, "endpoints")).json()["count"] == 0
    snapshot = client.get(api(world, "gate", stage=1)).json()["snapshot"]
    assert snapshot["participants"] == []
    assert snapshot["elsewhere"] == {"reached": 3, "not reached": 1}
    assert logged_in(world, "erin").get(api(world, "endpoints")).status_code == 403


def test_a_gate_is_decided_over_the_api_with_its_refusals(world: World) -> None:
    gate = proposed(world)
    client = logged_in(world, "alice")

    def post(name: str, **sent: str) -> tuple[int, dict[str, object]]:
        typed = {**sent, **signing("alice")}
        answer = client.post(api(world, name, stage=1), typed, content_type="application/json")
        return answer.status_code, answer.json()

    assert post("gate_decision", decision="continue", reason="x")[0] == 409
    assert post("gate_safety_review", review="Clear.", seen=gate.snapshot_sha256)[0] == 200
    assert post("gate_renewal")[0] == 400
    assert post("gate_decision", decision="nonsense", reason="x")[0] == 400
    status, said = post("gate_decision", decision="continue", reason="x", seen=gate.snapshot_sha256)
    assert (status, said["decision"], said["decided_by"]) == (200, "continue", "Alice")
    assert post("gate_renewal", reason="x")[0] == 409
    nobody = logged_in(world, "rita").post(api(world, "gate_decision", stage=1), {}, content_type="application/json")
    assert nobody.status_code in (400, 403)


# --- In a browser -------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_pages_are_accessible_light_and_dark_wide_and_narrow(
    world: World, page: Page, sign_in: Callable[..., None], theme: str, width: int
) -> None:
    """Each page is checked by axe; the content policy, foreign hosts and script errors are watched throughout."""
    decided(world)
    late = Participant.objects.get(number="P004")
    measured(world, late, (103, "0.2"))
    actions.adjudicate(participants=[late.pk])
    sign_in(world.user("alice"))
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    for name, kwargs, seen in (
        ("dashboard", {}, "Reached the endpoint"),
        ("adjudications", {}, "P001"),
        ("panel", {"participant": late.pk}, "1 earlier result"),
        ("gate", {"stage": 1}, "Late data, beside the snapshot"),
    ):
        page.goto(address(world, name, **kwargs))
        expect(page.get_by_text(seen).first).to_be_visible()
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} is wider than the window"
        assert axe_violations(page) == [], name


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_figure_is_one_tab_stop_and_says_what_a_mark_is(
    world: World, page: Page, sign_in: Callable[..., None]
) -> None:
    proposed(world)
    sign_in(world.user("alice"))
    page.goto(address(world, "dashboard"))
    marks = page.locator("#figure-curves svg a")
    assert marks.count() > 4
    assert page.locator("#figure-curves svg a[tabindex='0']").count() == 1
    marks.first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#figure-curves [data-readout]")).to_contain_text(re.compile(r"P00\d, day \d+, 0\.0\d"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/participants/\d+/profile/$"))
