"""The exposure of a participant from measured levels: what is drawn, what is used, what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from dosing import actions, selectors
from dosing.reports.exposure import curve_figure
from dosing.reports.proposal import proposal_figure, proposed_curve_figure, stored_proposal
from tests.browser.watch import axe_violations
from tests.dosing.dose_world import fresh
from tests.dosing.levels import at
from tests.dosing.test_card_file import read
from tests.dosing.test_exposure_pages import client_of, page_of
from tests.dosing.test_levels import RIGHT, approved, begun, guided, level, proposed
from tests.world import World

__all__ = ["guided"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.dosing.urls")]


@pytest.mark.requirement("DOS6")
def test_the_estimate_from_levels_is_the_one_that_the_dose_was_proposed_by(guided: World) -> None:
    worksheet = proposed(guided)
    found = selectors.exposure_of(fresh(worksheet.participant))
    assert found.predicted is not None and found.levels.estimate is not None
    assert found.levels.used == 2 and found.levels.unused == ()
    proposal = worksheet.result["guided"]["proposal"]
    assert dict(found.levels.estimate.etas) == pytest.approx(proposal["etas"], abs=1e-6)
    # The planned infusions run for eight hours here and as the last one did there: a total hardly feels it.
    assert found.predicted.total.value == pytest.approx(proposal["at_proposed"], rel=0.02)
    assert [one.is_inside for one in found.targets] == [True]
    assert found.levels.estimate.mainly_population
    figure = curve_figure(found)
    assert figure is not None and "3.4 UE/mL of 20-Mar-2025 08:00" in figure.svg


@pytest.mark.requirement("DOS6")
def test_the_page_says_what_the_levels_say_and_how_little(guided: World) -> None:
    participant = proposed(guided).participant
    body = client_of(guided.alice).get(page_of(participant, "?show=1")).content.decode()
    for said in ("The levels say little about", "Shrinkage", "without a model", "interval of the estimate", "inside"):
        assert said in body, said
    assert "style=" not in body


def test_a_level_that_cannot_be_used_is_named_and_never_taken_as_zero(guided: World) -> None:
    approved(guided)
    participant = begun(guided)
    level(guided, participant, "3.4", at(20, 8))
    level(guided, participant, "<0.1", at(21, 8))
    level(guided, participant, "5", at(20, 12))
    level(guided, participant, "6", at(21, 9), assay="Dutch assay")
    level(guided, participant, "7", at(21, 10).date())
    actions.bring_up_to_date(participant=fresh(participant))
    levels = selectors.exposure_of(fresh(participant)).levels
    assert levels.used == 1 and levels.measured is None
    said = "\n".join(levels.unused)
    for reason in ("never taken as 0", "during an infusion", "never converted", "a day and no time"):
        assert reason in said
    assert [(one.value, one.is_below_limit) for one in levels.samples] == [(3.4, False), (5.0, False), (0.1, True)]


# --- The proposal -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DOS6")
def test_the_parts_of_the_bar_add_up_to_what_the_proposed_dose_reaches(guided: World) -> None:
    worksheet = proposed(guided)
    of, stored = stored_proposal(worksheet), worksheet.result["guided"]["proposal"]
    assert of is not None
    assert of.total == pytest.approx(stored["at_proposed"], rel=1e-9)
    assert [part.label.partition(",")[0] for part in of.parts] == ["given doses"] * 2 + [
        "dose of day -3",
        "dose of day -2",
    ]
    assert all(part.value > 0 for part in of.parts) and of.verdict == "inside the target"
    figure = proposal_figure(worksheet)
    assert figure is not None and "style=" not in figure.svg
    assert ("target, both ends included", "100 to 148.5: inside the target") in figure.table.rows


@pytest.mark.requirement("DOS6")
def test_the_curve_on_the_card_is_that_of_the_proposal_and_stays(guided: World) -> None:
    worksheet = proposed(guided)
    stored = worksheet.result["guided"]["proposal"]
    course = selectors.proposed_course(worksheet)
    assert course is not None
    areas = {area.window: area for area in course.areas}
    assert areas["total"].value == pytest.approx(stored["at_proposed"], rel=1e-9)
    assert areas["pre"].value + areas["post"].value == pytest.approx(areas["total"].value, rel=1e-9)
    assert (areas["total"].low, areas["total"].high) == tuple(stored["interval"])
    assert areas["total"].target == (100, 148.5) and areas["pre"].target is None
    assert [(dose.mg, dose.is_given) for dose in course.doses] == [(150, True)] * 2 + [
        (float(stored["mg_each"]), False)
    ] * 2
    assert [one.words for one in course.samples] == ["3.4 UE/mL of 20-Mar-2025 08:00", "6.1 UE/mL of 21-Mar-2025 08:00"]
    # The exposure page draws the same estimate: at the last level both curves are at one height.
    page = selectors.exposure_of(fresh(worksheet.participant)).predicted
    assert page is not None
    ours, theirs = (
        np.interp(-3.2, days, levels)
        for days, levels in ((course.days, course.central), (page.times_day, page.concentration))
    )
    assert ours == pytest.approx(theirs, rel=0.02)
    figure = proposed_curve_figure(worksheet)
    assert figure is not None and "style=" not in figure.svg and "dashed where proposed" in figure.caption
    level(guided, worksheet.participant, "9.9", at(21, 9))
    later = proposed_curve_figure(worksheet)
    assert later is not None and later.svg == figure.svg, "a later level does not change what was proposed"


def test_who_may_still_verify_sees_no_bar_and_the_paper_carries_its_numbers(guided: World, tmp_path: Path) -> None:
    participant = proposed(guided).participant
    own = {"trial": "larch", "participant": participant.pk}
    panel, file = reverse("dosing:panel", kwargs=own), reverse("dosing:card_file", kwargs=own)
    assert "figure-proposal" not in client_of(guided.members["paula"]).get(panel).content.decode()
    client = client_of(guided.bob)
    assert "figure-proposal" in client.get(panel).content.decode()
    one, other = client.get(file).content, client.get(file).content
    assert one == other
    assert "Tagged:          yes" in read(one, tmp_path, "pdfinfo")
    text = " ".join(read(one, tmp_path, "pdftotext").split())
    for said in (
        "Proposal from levels",
        "Proposed on each open day",
        "inside the target",
        "Hatched: before",
        "never a precise value",
        "Not released: this dose must not be given yet",
    ):
        assert said in text, said


@pytest.mark.urls("config.urls")
@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_proposal_second_entry_release_and_exposure_in_a_browser(
    guided: World, page: Page, sign_in: Callable[..., None], theme: str, tmp_path: Any
) -> None:
    worksheet = proposed(guided)
    own = {"trial": "larch", "participant": worksheet.participant_id}
    panel = reverse("dosing:panel", kwargs=own)
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    sign_in(guided.user("peter"))
    page.goto(panel)
    expect(page.get_by_text("hidden until then").first).to_be_visible()
    assert axe_violations(page) == []
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=guided.peter)
    actions.release_worksheet(worksheet=worksheet, by=guided.peter, reason="Few levels; the trend is clear.")
    for name, address, seen in (
        ("proposal", panel, "Proposal from levels"),
        ("exposure", page_of(worksheet.participant), "From the levels alone"),
    ):
        page.goto(address)
        expect(page.get_by_text(seen).first).to_be_visible()
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} is wider than the window"
        assert axe_violations(page) == [], name
        page.screenshot(path=tmp_path / f"{name}-{theme}.png", full_page=True)
