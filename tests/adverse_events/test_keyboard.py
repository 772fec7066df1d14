"""An adverse event without a mouse, in a real browser; terms, grades and dates answer while one types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from adverse_events import actions
from adverse_events.domain.reporting import Report
from adverse_events.models import AdverseEvent
from tests.world import World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.adverse_events.urls"),
]

#: The page of an event that is recorded.
RECORDED = re.compile(r"/adverse-events/\d+/$")
SEPSIS = Report(verbatim="Sepsis, Candida", term="Sepsis", grade=4, started="2025-04-02", outcome="recovered")


def address(world: World, name: str, **kwargs: object) -> str:
    return reverse(f"adverse_events:{name}", kwargs={"trial": world.trial.code, **kwargs})


@pytest.fixture
def form(world: World, page: Page, sign_in: Callable[..., None]) -> Page:
    """The form of a new event, open before Bob."""
    sign_in(world.user("bob"))
    page.goto(address(world, "new", participant=world.enrolled().pk))
    return page


def press(page: Page, *keys: str) -> int:
    for key in keys:
        page.keyboard.press(key)
    return len(keys)


@pytest.mark.requirement("UX1")
def test_an_event_is_entered_by_keyboard_alone(form: Page) -> None:
    """Beyond the letters of the text at most 25 keys, and no click."""
    form.focus("[name=verbatim]")
    form.keyboard.type("Fever without a focus")
    keys = press(form, "Enter")
    form.keyboard.type("febr")
    expect(form.locator("[role=option]").first).to_have_attribute("data-value", "Febrile neutropenia")
    keys += press(form, "ArrowDown", "Enter")
    expect(form.locator("#id_term")).to_have_value("Febrile neutropenia")
    expect(form.locator("#id_grade_2")).to_be_focused()
    keys += press(form, "2")
    expect(form.locator("[name=grade]:checked")).to_have_count(0)  # grade 2 does not exist
    keys += press(form, "3", "Enter")
    form.keyboard.type("d+9")
    keys += press(form, "Enter")
    expect(form.locator("#echo-started")).to_contain_text("02-Apr-2025, day 9")
    form.keyboard.type("d+12")
    keys += press(form, "Enter", "Enter", "ArrowDown", "Enter")  # over “goes on” to the outcome
    expect(form.locator("[name=outcome]")).to_have_value("recovered")
    keys += press(form, "ArrowDown")
    expect(form.locator("[name=is_serious]:checked")).to_have_value("no")
    expect(form.locator("[name=serious_criteria]").first).to_be_hidden()
    keys += press(form, "Control+Enter")
    form.wait_for_url(RECORDED)
    event = AdverseEvent.objects.get()
    assert (event.term, event.grade, event.started, event.ended) == (
        "Febrile neutropenia",
        3,
        "2025-04-02",
        "2025-04-05",
    )
    assert (event.is_serious, event.outcome) == (False, "recovered")
    assert keys <= 25


def test_the_list_of_terms_opens_moves_and_closes(form: Page) -> None:
    form.focus("#id_term")
    form.keyboard.type("lung")
    options = form.locator("[role=option]")
    expect(options.first).to_be_visible()
    expect(form.locator("#term-says")).to_contain_text("terms found: 1")
    press(form, "ArrowDown", "ArrowDown", "ArrowUp")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(form.locator("#id_term")).to_have_attribute("aria-activedescendant", "term-option-0")
    press(form, "Escape")
    expect(form.locator("#term-options")).to_be_hidden()
    form.keyboard.type("zzzzzzzz")
    expect(form.locator("#term-says")).to_contain_text("No term fits")


def test_a_click_chooses_a_term_and_its_grades_are_seen_before_one_is_chosen(form: Page) -> None:
    form.fill("#id_term", "seps")
    form.get_by_role("option", name="Sepsis Infections").click()
    expect(form.locator("#term-sheet")).to_contain_text("Sepsis has no grade 3")
    expect(form.locator("#id_grade_2")).to_be_disabled()
    expect(form.locator("#id_grade_3")).to_be_enabled()


def test_other_specify_asks_what_happened_and_serious_asks_why(form: Page) -> None:
    form.fill("#id_term", "other infections")
    expect(form.locator("[name=other_specify]")).to_have_count(0)
    form.locator("#term-options [role=option]").first.click()
    expect(form.locator("[name=other_specify]")).to_be_visible()
    form.locator("[name=is_serious][value=yes]").check()
    expect(form.locator("[name=serious_criteria]").first).to_be_visible()


def test_a_grade_chosen_while_the_answer_is_under_way_is_kept(form: Page) -> None:
    """The server is slow for once: what was pressed meanwhile outlives its answer."""

    def slowly(route: Any) -> None:
        form.wait_for_timeout(400)
        route.continue_()

    form.route("**/sheet/**", slowly)
    form.fill("#id_term", "Sepsis")
    press(form, "Tab")
    form.locator("#id_grade_3").check()
    expect(form.locator("#term-sheet")).to_contain_text("Sepsis has no grade 3")
    expect(form.locator("[name=grade]:checked")).to_have_value("4")


def test_two_readings_of_a_date_are_offered_as_buttons(form: Page) -> None:
    form.fill("#id_started", "03/04/2025")
    form.keyboard.press("Tab")
    form.get_by_role("button", name="03-Apr-2025").click()
    expect(form.locator("#id_started")).to_have_value("03-Apr-2025")
    expect(form.locator("#echo-started")).to_contain_text("= 03-Apr-2025, day 10")


def test_what_is_refused_is_told_first_and_the_text_stays(form: Page) -> None:
    form.fill("[name=verbatim]", "Fever")
    form.keyboard.press("Control+Enter")
    expect(form.locator("[data-error-summary]")).to_be_focused()
    expect(form.locator("[name=verbatim]")).to_have_value("Fever")


@pytest.mark.requirement("UX2")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["list", "table", "worklist", "new", "event", "correct", "void", "panel"])
def test_the_pages_break_no_rule_light_and_dark(
    world: World, page: Page, sign_in: Callable[..., None], theme: str, name: str
) -> None:
    person = world.enrolled()
    event = actions.record_adverse_event(participant=person, report=SEPSIS, by=world.bob)
    wrong = actions.record_adverse_event(participant=person, report=SEPSIS, by=world.bob)
    actions.void_adverse_event(event=wrong, reason="typed twice", by=world.bob)
    user = world.user("alice")
    user.theme = theme
    user.save()
    sign_in(user)
    where: dict[str, Any] = {"new": {"participant": person.pk}, "panel": {"participant": person.pk}}.get(
        name, {} if name in ("list", "table", "worklist") else {"event": event.pk}
    )
    answer = page.goto(address(world, name, **where))
    assert answer is not None
    assert answer.status == 200
    expect(page.locator("main")).to_be_visible()


def test_without_scripts_an_event_is_recorded(
    world: World, browser: Any, live_server: Any, sign_in: Callable[..., None]
) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=live_server.url)
    sign_in(world.user("bob"), context)
    page = context.new_page()
    page.goto(address(world, "new", participant=world.enrolled().pk))
    page.fill("[name=verbatim]", "Fever")
    page.fill("[name=term]", "febr")
    page.click("text=Look the term up")
    page.check("[name=pick][value='Febrile neutropenia']")
    page.click("text=Show the grades of the picked term")
    page.check("[name=grade][value='3']")
    page.fill("[name=started]", "apr 2025")
    page.select_option("[name=outcome]", "recovered")
    page.check("[name=is_serious][value=no]")
    page.click("text=Record the event")
    page.wait_for_url(RECORDED)
    assert AdverseEvent.objects.get().term == "Febrile neutropenia"
    context.close()
