"""Entering by keyboard alone, in a real browser."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from casebook import actions
from casebook.models import FormEntry, LabDraw
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASTE = """(text) => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  const options = {clipboardData: data, bubbles: true, cancelable: true};
  document.activeElement.dispatchEvent(new ClipboardEvent("paste", options));
}"""


def at(name: str, participant, **kwargs) -> str:
    return reverse(f"casebook:{name}", kwargs={"trial": "larch", "participant": participant.pk, **kwargs})


@pytest.mark.requirement("UX1")
def test_a_column_of_results_takes_its_characters_and_one_enter_each(page: Page, world: World, sign_in) -> None:
    participant = world.enrolled()
    sign_in(world.user("bob"))
    page.goto(at("labs", participant))
    page.fill("#f-sampled_at", "31mar2025 08:30")
    page.focus("#f-LB-ALC")
    values = ["0.3", "0,052", "31", "<100", "ND"]
    for value in values:
        page.keyboard.type(value)
        page.keyboard.press("Enter")
    expect(page.locator("[data-complete]")).to_be_focused()
    page.focus("#f-PC-ATG_ACTIVE")
    page.keyboard.press("Tab")
    expect(page.locator("#f-PC-ATG_ACTIVE-lloq")).to_be_focused()  # beside the value, never in the way of the column
    page.keyboard.press("Enter")
    expect(page.locator("[data-complete]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("5 results of 31-Mar-2025 are saved.")).to_be_visible()
    results = {one.analyte: one.value_as_written or one.missing_reason for one in LabDraw.objects.get().results.all()}
    assert results == {
        "LB.ALC": "0.3",
        "LB.CD4": "0.052",
        "LB.ALT": "31",
        "VL.CMV": "<100",
        "PC.ATG_ACTIVE": "ND",
    }


def test_a_block_from_a_spreadsheet_fills_the_column_and_is_kept_when_a_value_is_refused(
    page: Page, world: World, sign_in
) -> None:
    participant = world.enrolled()
    sign_in(world.user("bob"))
    page.goto(at("labs", participant))
    page.fill("#f-sampled_at", "31mar2025")
    page.focus("#f-LB-ALC")
    page.evaluate(PASTE, "800\n0.052\n31")
    page.keyboard.press("Control+Enter")
    summary = page.locator("[data-error-summary]")
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("Did the laboratory report it in cells/µL?")
    expect(page.locator("#f-LB-CD4")).to_have_value("0.052")
    assert not LabDraw.objects.exists()
    page.select_option("[name='unit:LB.ALC']", "cells/µL")
    page.focus("#f-LB-ALC")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("3 results of 31-Mar-2025 are saved.")).to_be_visible()


def test_a_question_comes_and_goes_while_the_form_is_filled_in(page: Page, world: World, sign_in) -> None:
    participant = world.screened()
    sign_in(world.user("bob"))
    page.goto(at("entry", participant, form="DX"))
    expect(page.locator("#row-REMISSION")).to_be_visible()
    page.get_by_label("Benign disease").check()
    expect(page.locator("#row-REMISSION")).to_be_hidden()
    page.get_by_label("Malignancy").check()
    page.locator("#row-REMISSION").get_by_label("yes").check()
    page.get_by_label("Benign disease").check()
    expect(page.get_by_text("This is not asked any more.")).to_be_visible()
    page.get_by_label("Malignancy").check()
    expect(page.get_by_text("This is not asked any more.")).to_be_hidden()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Diagnosis is complete.")).to_be_visible()
    assert FormEntry.objects.get().answers == {"GROUP": {"value": "malignancy"}, "REMISSION": {"value": "Y"}}


def test_a_criterion_takes_one_digit(page: Page, world: World, sign_in) -> None:
    participant = world.screened()
    actions.check_eligibility(participant=participant, by=world.alice)
    sign_in(world.user("alice"))
    page.goto(at("eligibility", participant))
    page.locator("[name='answer:E1']").first.focus()
    page.keyboard.press("2")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Alice answered that it is not met.")).to_be_visible()
    assert participant.criterion_answers.get().answer == "no"


def test_the_casebook_has_one_tab_stop_for_all_its_places(page: Page, world: World, sign_in) -> None:
    participant = world.enrolled()
    sign_in(world.user("bob"))
    page.goto(at("casebook", participant))
    grid = page.locator("table[data-roving]")
    assert grid.locator("a[tabindex='0']").count() == 1
    grid.locator("a[tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Vital signs")).to_be_visible()
