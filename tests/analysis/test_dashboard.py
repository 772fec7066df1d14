"""The dashboard: every number leads to a listing of exactly that many, at every site and for every role."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from analysis import actions, selectors
from analysis.domain.figures import consort
from analysis.models import Adjudication
from tests.analysis.test_adjudication import AFTER_ALL, NOT_REACHED, REACHED, happened, measured, on_day
from tests.analysis.test_pages import address, logged_in, text_of
from tests.world import World, proof
from trials import actions as trials
from trials.models import Participant

pytestmark = pytest.mark.django_db


@pytest.fixture
def filled(world: World) -> World:
    """Somebody at every step of the trial profile, at two sites, and three external controls."""
    everybody = []

    def follow(outcome: tuple[tuple[int, str], ...], by: str = "bob") -> Participant:
        participant = world.enrolled(by=world.members[by])
        measured(world, participant, *outcome)
        everybody.append(participant)
        return participant

    follow(REACHED)
    follow(REACHED, by="carol")
    follow(NOT_REACHED)
    died = follow(REACHED)
    happened(world, died, "death", on_day(50).isoformat())
    actions.adjudicate(participants=[died.pk], as_of=AFTER_ALL)  # opens a place
    removed = follow(REACHED, by="carol")
    trials.record_deviation(
        participant=removed,
        rule="D1",
        description="given 80 % of the plan",
        is_major=True,
        removes_from_efficacy=True,
        by=None,
        source="calculation",
    )
    actions.adjudicate(participants=[removed.pk], as_of=AFTER_ALL)
    waiting = follow(REACHED)
    trials.record_deviation(
        participant=waiting,
        rule="D3",
        description="product thawed twice",
        is_major=True,
        removes_from_efficacy=True,
        by=world.alice,
    )
    trials.fail_screening(participant=world.screened(), reason="other", by=world.bob)
    world.screened(by=world.carol)
    for number in range(3):
        control = trials.import_participant(
            trial=world.trial,
            site=world.site_a,
            screened_on=on_day(-40),
            number=f"H{number}",
            group="historical",
            is_external=True,
            status="external",
            by=None,
        )
        trials.set_anchor(participant=control, day=on_day(0), is_actual=True, by=None, source="import")
        everybody.append(control)
    actions.adjudicate(participants=[p.pk for p in everybody], as_of=AFTER_ALL)
    return world


def counts_on(html: str) -> list[tuple[str, int]]:
    """Every number of a page that leads to the listing of those it counts: the address and the number."""
    links = re.findall(r"<a\b[^>]*\bdata-count=[^>]*>", html)
    found = []
    for link in links:
        href, number = re.search(r'\bhref="([^"]*)"', link), re.search(r'\bdata-count="([^"]*)"', link)
        assert href is not None and number is not None, link
        found.append((unescape(href[1]), int(number[1])))
    return found


def counted(client: Client, url: str) -> int:
    """How many the listing says it holds; where it is of one page, it has so many rows."""
    answer = client.get(url)
    assert answer.status_code == 200, url
    html = answer.content.decode()
    totals = re.findall(r'\bdata-total="(\d+)"', html)
    assert len(totals) == 1, url
    if "/endpoints/" in url:
        assert html.count('<th scope="row">') == int(totals[0])
    return int(totals[0])


@pytest.mark.requirement("DSH1")
@pytest.mark.parametrize("name", ["rita", "alice", "carol"])
@pytest.mark.parametrize("site", ["", "A", "B"])
def test_every_number_leads_to_a_listing_of_that_many(filled: World, name: str, site: str) -> None:
    membership = filled.members[name]
    if site and membership.site and membership.site.code != site:
        return
    serious_event(filled)
    client = logged_in(filled, name)
    page = client.get(address(filled, "dashboard") + (f"?site={site}" if site else "")).content.decode()
    numbers = counts_on(page)
    for kind in ("replaced=on", "set=evaluable", "status=reached", "status=decided", "left=", "why=", "serious=yes"):
        assert any(kind in url for url, _ in numbers), kind
    for url, number in numbers:
        assert counted(client, url) == number, url
    # A number that is written large leads somewhere: each card has its listing.
    assert page.count('class="stat leads"') == page.count('class="stat') - page.count('class="stat-') >= 4


def serious_event(world: World) -> None:
    from adverse_events import actions as adverse_events
    from adverse_events.domain.reporting import Report

    for ended, outcome in (("", "not_recovered"), ("2025-06-01", "recovered")):
        adverse_events.record_adverse_event(
            participant=Participant.objects.get(number="P001"),
            report=Report(
                verbatim="pneumonia",
                term="Lung infection",
                grade=3,
                started="2025-05-01",
                ended=ended,
                outcome=outcome,
                is_serious=True,
                serious_criteria=("hospitalisation",),
                relations={"thymoglobulin": "possible"},
            ),
            by=world.bob,
        )


@pytest.mark.browser
@pytest.mark.requirement("DSH1")
@pytest.mark.django_db(transaction=True)
def test_each_number_is_followed_in_a_browser(filled: World, page: Page, sign_in: Callable[..., None]) -> None:
    """Whoever clicks a number sees as many as it says. A new number is followed by itself, once it has data-count."""
    serious_event(filled)
    sign_in(filled.user("alice"))
    page.goto(address(filled, "dashboard"))
    for one in page.locator("figure details").all():
        one.evaluate("details => details.open = true")
    seen: dict[str, str] = {}
    for link in page.locator("main a[data-count]").all():
        url, number = link.get_attribute("href"), link.get_attribute("data-count")
        assert url is not None and number is not None
        assert seen.setdefault(url, number) == number, f"{url} is said to hold {seen[url]} and {number}"
    assert len(seen) >= 12
    for url, number in seen.items():
        page.goto(url)
        expect(page.locator("[data-total]")).to_have_attribute("data-total", number)


def test_the_flow_names_everybody_once_with_the_reason(filled: World) -> None:
    flow = selectors.population(filled.rita).flow("evaluable")
    assert [(step.set_id, step.count, [(r.key, r.count) for r in step.left]) for step in flow.steps] == [
        ("assessed", 8, []),
        ("safety", 6, [("failed-other", 1), ("screening", 1)]),
        ("full", 4, [("D1", 1), ("unconfirmed", 1)]),
        ("evaluable", 3, [("death", 1)]),
    ]
    assert isinstance(flow, consort.Flow)


def test_three_numbers_first(filled: World) -> None:
    page = logged_in(filled, "rita").get(address(filled, "dashboard")).content.decode()
    words = text_of(page)
    # Two of the six cannot be evaluated, so two more than the twelve planned may be enrolled.
    assert "Enrolled 6 of 14 12 planned, 2 to be replaced" in words
    assert "Evaluable 3 of 12" in words
    assert "Reached the endpoint 2 of 3 67 %, 95 % CI 9 to 99 (Clopper-Pearson)" in words
    assert words.index("Reached the endpoint") < words.index("Over time") < words.index("Trial profile")
    assert "Data as of" in words


def test_a_site_sees_its_own_and_no_number_of_the_whole(filled: World) -> None:
    words = text_of(logged_in(filled, "carol").get(address(filled, "dashboard")).content.decode())
    assert "Enrolled 2 1 to be replaced" in words
    assert "Reached the endpoint 1 of 1" in words
    assert "gates count all sites" in words
    assert "P001" not in words


def test_after_the_end_the_estimate_respects_the_stages(world: World) -> None:
    """The stopped first stage: 2 of 4; for a stop at stage one the UMVUE is the share."""
    from tests.analysis.test_gate_actions import proposed, reviewed

    gate = reviewed(world, proposed(world, "reached", "reached", "not_reached", "not_reached"))
    found = selectors.dashboard(world.rita).results
    assert found is not None and found.design_based is None
    actions.decide_gate(gate=gate, decision="stop", reason="Futile.", by=world.alice, proof=proof(world.alice))
    found = selectors.dashboard(world.rita).results
    assert found is not None and found.design_based is not None and found.design_based.is_final
    assert found.design_based.inference.umvue == pytest.approx(0.5)
    words = text_of(logged_in(world, "rita").get(address(world, "dashboard")).content.decode())
    assert "Design-based estimate (UMVUE) 50.0 %, 95 % CI" in words and "(stage-wise exact)" in words


def test_an_empty_trial_has_a_dashboard(world: World) -> None:
    answer = logged_in(world, "rita").get(address(world, "dashboard"))
    assert answer.status_code == 200
    assert "Nobody's endpoint is decided yet." in unescape(answer.content.decode())


@pytest.mark.parametrize("trial", ["parachute", "nct07648992", "relax"])
def test_every_reference_trial_has_a_dashboard(trial: str, db: None) -> None:
    """One whose endpoint is recorded and not computed says so."""
    from pathlib import Path

    from accounts.models import User

    file = Path("trials/definitions") / trial / "v1.yaml"
    version = trials.publish_protocol(text=file.read_text(), file=str(file), by=None, reason="first version")
    user = User.objects.create_user(username="rita", email="rita@larch.test", password="x", display_name="Rita")
    trials.grant_membership(
        user=user, trial=version.trial, role="statistician", valid_from=on_day(0), by=None, reason="start"
    )
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get(reverse("analysis:dashboard", kwargs={"trial": trial}))
    assert answer.status_code == 200
    listing = client.get(reverse("analysis:adjudications", kwargs={"trial": trial}))
    assert listing.status_code == 200


@pytest.mark.parametrize("query", ["set=nonsense", "left=nonsense", "status=nonsense", "why=a b", "site=nowhere"])
def test_a_listing_that_there_is_not_is_a_404(filled: World, query: str) -> None:
    client = logged_in(filled, "rita")
    assert client.get(f"{address(filled, 'adjudications')}?{query}").status_code == 404


def test_the_page_stays_small_and_asks_few_questions(filled: World, django_assert_max_num_queries: object) -> None:
    client = logged_in(filled, "rita")
    client.get(address(filled, "dashboard"))
    with django_assert_max_num_queries(60):  # type: ignore[operator]
        answer = client.get(address(filled, "dashboard"))
    assert len(gzip.compress(answer.content)) < 60_000
    html = answer.content.decode()
    assert " style=" not in html and "<style" not in html and "<script>" not in html


def test_a_set_by_value_reads_the_casebook(world: World) -> None:
    """Typed items and analytes by their latest answer, computed ones as the casebook computes them."""
    from analysis import datasets
    from casebook import actions as casebook

    participant = world.enrolled()
    casebook.save_entry(participant=participant, form="DX", answers={"GROUP": "benign"}, by=world.bob, complete=True)
    measured(world, participant, (20, "0.03"), (40, "0.06"))
    (person,) = datasets.persons(
        world.trial, "cd4_reconstitution", items=["DX.GROUP", "LB.CD4", "DM.AGE", "DX.REMISSION"]
    )
    assert dict(person.values) == {"DX.GROUP": "benign", "LB.CD4": "0.06000000", "DM.AGE": "9"}
    assert not Adjudication.objects.exists()
