"""A dose by levels as its users live it, by keyboard: the levels, the second person, the release, the paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from dosing import selectors
from dosing.models import DoseRelease
from tests.browser.test_whole_story import keyed, pressed
from tests.browser.watch import axe_violations
from tests.dosing.levels import ASSAY
from tests.dosing.test_levels import approved, begun, guided
from tests.world import World
from trials.models import Participant

__all__ = ["guided"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def at(name: str, participant: Participant) -> str:
    return reverse(name, kwargs={"trial": "larch", "participant": participant.pk})


def sound(page: Page, name: str) -> None:
    """The page, wide and as on a telephone, is no wider than its window and has no accessibility violation."""
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} at {width} px is {overflow} px too wide"
    assert axe_violations(page) == [], name
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.requirement("DOS6")
@pytest.mark.requirement("DOS4")
def test_levels_are_typed_entered_a_second_time_and_released(
    guided: World,
    page: Page,
    sign_in: Callable[..., None],
    celery_worker_process: Callable[..., Any],
) -> None:
    approved(guided)
    participant = begun(guided)

    # Bob types the levels as the laboratory reports them, with the limit of its assay.
    sign_in(guided.user("bob"))
    for sampled, value in (("20-Mar-2025 08:00", "3.4"), ("21-Mar-2025 08:00", "6.1")):
        page.goto(at("casebook:labs", participant))
        keyed(page, "Sampled", sampled)
        keyed(page, "Laboratory", ASSAY)
        page.locator("#f-PC-ATG_ACTIVE").focus()
        page.keyboard.type(value)
        page.locator("#f-PC-ATG_ACTIVE-lloq").focus()
        page.keyboard.type("0.5")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_text("1 results of")).to_be_visible()

    # The worker proposes, and the open page shows it by itself: what each dose adds, and that nobody looked at it yet.
    page.goto(at("dosing:panel", participant))
    expect(page.get_by_text("being computed…")).to_be_visible()
    celery_worker_process()
    expect(page.get_by_text("Proposal from levels")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("being computed…")).to_have_count(0)
    worksheet = selectors.current_worksheet(participant)
    assert worksheet is not None
    proposed = worksheet.result["guided"]["proposal"]["mg_each"]
    expect(page.locator("article header .chip")).to_have_text("to be verified")
    expect(page.locator("#figure-proposal figcaption")).to_contain_text(f"dose of day -3, {proposed} mg")
    expect(page.get_by_role("heading", name="AUC")).to_have_count(1)
    sound(page, "the proposal")

    # Peter comes from his home page and sees neither a level nor what follows from it.
    page.context.clear_cookies()
    sign_in(guided.user("peter"))
    page.goto("/")
    expect(page.get_by_text("next dose, by levels, on 21-Mar-2025")).to_be_visible()
    pressed(page, "link", str(participant))
    expect(page.get_by_text("A dose waits for a second person.")).to_be_visible()
    expect(page.get_by_text("Level of 20-Mar-2025 08:00; Level of 21-Mar-2025 08:00")).to_be_visible()
    shown = page.inner_text("main")
    for hidden in ("3.4", "6.1", proposed, str(worksheet.total_mg)):
        assert hidden not in shown, f"{hidden} is shown to the second person"
    sound(page, "the hidden dose")

    # A slip of his is a difference and no release; then his entry agrees.
    pressed(page, "link", "Verify independently")
    keyed(page, "Actual body weight", "60")
    keyed(page, "Level of 20-Mar-2025 08:00", "3.4")
    keyed(page, "Level of 21-Mar-2025 08:00", "16.1")
    sound(page, "the second entry")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("16.1 UE/mL is not what the dose was computed from").first).to_be_visible()
    keyed(page, "Level of 21-Mar-2025 08:00", "6.1")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Your entry agrees with the first.")).to_be_visible()

    # He signs what he sees: the dose of each day, what it is expected to reach, and the warnings.
    pressed(page, "link", "Release the dose")
    expect(page.get_by_text("with the proposed dose")).to_be_visible()
    expect(page.get_by_text(f"{proposed} mg, 21-Mar-2025")).to_be_visible()
    keyed(page, "Reason", "Few levels; the trend is clear.")
    page.get_by_label("I sign this").focus()
    page.keyboard.press("Space")
    sound(page, "the release")
    pressed(page, "button", "Release")
    expect(page.get_by_text("is released.")).to_be_visible()
    assert DoseRelease.objects.get(worksheet=worksheet).released_by == guided.peter
    expect(page.locator("article header .chip")).to_have_text("begun")

    # The paper for the bag, and where the levels lie on the curve.
    paper = page.request.get(at("dosing:card_file", participant))
    assert paper.status == 200 and paper.body().startswith(b"%PDF")
    pressed(page, "link", "Exposure")
    expect(page.get_by_text("From the levels alone")).to_be_visible()
    sound(page, "the exposure")
