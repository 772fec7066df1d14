"""Acute GVHD of one participant: four stages typed, grades and response as computed, and who may not see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from analysis.reports.gvhd import Grades, grades_of
from analysis.selectors import reads_independently
from casebook import actions as casebook
from casebook.models import FormEntry
from tests.browser.watch import axe_violations
from tests.world import GRAFT_ON, PEOPLE, World, build_world, definition
from trials.models import Participant

pytestmark = pytest.mark.django_db

FORMS = """  - id: GV
    label: Acute GVHD
    repeating: true
    order_by: DATE
    items:
      - {id: DATE, label: Date of assessment, type: date, required: true}
      - {id: SKIN_STAGE, label: Skin stage, type: integer, minimum: 0, maximum: 4, required: true}
      - {id: LIVER_STAGE, label: Liver stage, type: integer, minimum: 0, maximum: 4, required: true}
      - {id: UPPER_GI_STAGE, label: Upper GI stage, type: integer, minimum: 0, maximum: 1, required: true}
      - {id: LOWER_GI_STAGE, label: Lower GI stage, type: integer, minimum: 0, maximum: 4, required: true}
  - id: ST
    label: Steroids
    repeating: true
    order_by: DATE
    items:
      - {id: DATE, label: Date, type: date, required: true}
      - {id: DOSE, label: Dose, type: number, unit: mg/day, minimum: 0, maximum: 2000, decimals: 1, required: true}
"""
RESPONSE = """endpoints:
  - {id: orr_day_28, label: Response on day 28, role: secondary, method: response_on_day, analysis_set: full, day: 28,
     window: 3, responses: [CR, PR], persistence_days: 21, persistence_anchor: assessment, baseline_days: 7,
     steroid_escalation_is_new_treatment: false, max_gap_days: 10, verified: false,
     stages: {form: GV, date: DATE, skin: SKIN_STAGE, liver: LIVER_STAGE, upper_gi: UPPER_GI_STAGE,
              lower_gi: LOWER_GI_STAGE}}
"""
STAGED = definition().replace("\nforms:\n", f"\nforms:\n{FORMS}").replace("\nendpoints:\n", f"\n{RESPONSE}")


@pytest.fixture
def world() -> World:
    return build_world(text=STAGED)


def assessed(world: World, participant: Participant, *rows: tuple[int, str]) -> None:
    """Assessments by study day; the stages are four characters: skin, liver, upper and lower gut."""
    for repeat, (day, stages) in enumerate(rows, 1):
        names = ("SKIN_STAGE", "LIVER_STAGE", "UPPER_GI_STAGE", "LOWER_GI_STAGE")
        answers = {"DATE": (GRAFT_ON + timedelta(days=day)).isoformat(), **dict(zip(names, stages, strict=True))}
        casebook.save_entry(
            participant=participant, form="GV", repeat=repeat, answers=answers, complete=True, by=world.bob
        )


def page_of(world: World, participant: Participant, name: str = "gvhd") -> str:
    return reverse(f"analysis:{name}", kwargs={"trial": world.trial.code, "participant": participant.pk})


def client_of(world: World, name: str) -> Client:
    client = Client()
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.parametrize(
    ("stages", "grades"),
    [
        ("2000", Grades("I", "I", "standard")),
        ("0400", Grades("IV", "IV", "high")),
        ("0000", Grades("0", "0", "none")),
        ("2--0", Grades("I to IV", "I to IV", "standard or high")),
        ("7000", Grades("0 to IV", "0 to IV", "none or standard or high")),
    ],
)
def test_four_stages_come_to_their_grades_and_what_is_no_stage_is_not_known(stages: str, grades: Grades) -> None:
    names = ("SKIN_STAGE", "LIVER_STAGE", "UPPER_GI_STAGE", "LOWER_GI_STAGE")
    assert grades_of(dict(zip(names, stages, strict=True))) == grades


@pytest.mark.requirement("GVH1")
def test_the_page_has_each_assessment_with_its_grade_and_the_response_as_computed(world: World) -> None:
    participant = world.enrolled()
    assessed(world, participant, (-1, "2002"), (7, "2002"), (28, "0000"), (35, "0000"), (49, "0000"), (56, "0000"))
    html = client_of(world, "bob").get(page_of(world, participant)).content.decode()
    assert "CR on day 28, kept to day 49." in html and "stable on day 7 is no response." in html
    assert "Response on day 28" in html and "reached" in html and "not confirmed against its source" in html
    assert html.count("/forms/GV/") >= 6, "each assessment leads to its form"
    assert "MAGIC grade" in html and "Skin, stage" in html and "Table of this figure" in html


@pytest.mark.requirement("GVH1")
@pytest.mark.parametrize("name", PEOPLE)
def test_who_decides_for_themselves_sees_no_computed_answer(world: World, name: str) -> None:
    participant = world.enrolled()
    assessed(world, participant, (-1, "2002"), (28, "0000"))
    seen = Participant.objects.visible_to(world.members[name]).filter(pk=participant.pk).exists()
    client = client_of(world, name)
    answer = client.get(page_of(world, participant))
    preview = client.get(page_of(world, participant, "gvhd_grade"), {"SKIN_STAGE": "4"})
    assert answer.status_code == preview.status_code == (200 if seen else 404)
    if seen:
        hidden = reads_independently(world.members[name])
        html = answer.content.decode()
        assert ("MAGIC grade" in html and "Endpoints as computed now" in html) is not hidden
        assert ("MAGIC" in preview.content.decode()) is not hidden
        assert ("Next assessment" in html) is (name in ("alice", "bob"))


def test_an_assessment_is_saved_as_the_next_row_and_a_refusal_keeps_what_was_typed(world: World) -> None:
    participant = world.enrolled()
    assessed(world, participant, (7, "2002"))
    client, page = client_of(world, "bob"), page_of(world, participant)
    typed = {"DATE": "2025-04-07", "SKIN_STAGE": "5", "LIVER_STAGE": "0", "UPPER_GI_STAGE": "0", "LOWER_GI_STAGE": "1"}
    refused = client.post(page, typed)
    assert refused.status_code == 422 and 'value="2025-04-07"' in refused.content.decode()
    assert FormEntry.objects.filter(form="GV").count() == 1
    assert client.post(page, typed | {"SKIN_STAGE": "1"}).status_code == 302
    entry = FormEntry.objects.get(form="GV", repeat=2)
    assert entry.status == "complete" and entry.answers["SKIN_STAGE"]["value"] == "1"
    not_staged = typed | {"DATE": "2025-04-14", "SKIN_STAGE": "ND"}
    assert client.post(page, not_staged | {"action": "save"}).status_code == 302
    assert "II to IV" in client.get(page).content.decode(), "an organ that was not staged leaves limits"
    assert client_of(world, "dora").post(page, typed).status_code == 403


def test_a_protocol_without_organ_stages_says_so() -> None:
    world = build_world()
    participant = world.enrolled()
    answer = client_of(world, "bob").get(page_of(world, participant))
    assert answer.status_code == 200 and "no form of organ stages" in answer.content.decode()


def test_before_the_anchor_is_known_assessments_stand_without_a_day(world: World) -> None:
    participant = world.enrolled(graft_on=None)
    assessed(world, participant, (7, "2002"))
    html = client_of(world, "bob").get(page_of(world, participant)).content.decode()
    assert "not known" in html and "The day that the schedule counts from is not known yet." in html


@pytest.mark.browser
@pytest.mark.requirement("UX1")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_assessment_is_a_date_and_four_keys(
    world: World, page: Page, sign_in: Callable[..., None], theme: str
) -> None:
    participant = world.enrolled()
    sign_in(world.user("bob"))
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(page_of(world, participant))
    page.get_by_label("Date of assessment").focus()
    page.keyboard.type("2025-04-07")
    page.keyboard.press("Enter")
    page.keyboard.type("2003")
    expect(page.locator("#grade")).to_contain_text("MAGIC III")
    expect(page.locator("[data-complete]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("The assessment is saved.")).to_be_visible()
    assert FormEntry.objects.get(form="GV").status == "complete"
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    assert axe_violations(page) == []
