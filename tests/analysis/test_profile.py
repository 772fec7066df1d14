"""The course of one participant: the same for every role that sees them, and never what tells a hidden group."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from analysis.reports.profile import as_rows, graded
from analysis.selectors import reads_independently
from tests.analysis.test_adjudication import measured
from tests.analysis.test_pages import BLINDED
from tests.browser.watch import axe_violations
from tests.world import PEOPLE, World, build_world
from trials.models import Participant

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ({"SKIN_STAGE": "3", "LIVER_STAGE": "4", "UPPER_GI_STAGE": "0", "LOWER_GI_STAGE": "0"}, "IV"),
        ({"SKIN_STAGE": "0", "LIVER_STAGE": "0", "UPPER_GI_STAGE": "0", "LOWER_GI_STAGE": "0"}, "0"),
        ({"SKIN_STAGE": "2", "LIVER_STAGE": "0", "UPPER_GI_STAGE": "0"}, "I-IV"),
        ({}, "0-IV"),
    ],
)
def test_an_organ_that_was_not_staged_leaves_limits(stages: dict[str, str], text: str) -> None:
    assert graded(stages)[1] == text


@pytest.mark.parametrize("name", PEOPLE)
def test_the_course_is_that_of_a_participant_one_sees(world: World, name: str) -> None:
    participant = world.enrolled()
    measured(world, participant, (28, "60"), (35, "70"))
    client, membership = Client(), world.members[name]
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    seen = Participant.objects.visible_to(membership).filter(pk=participant.pk).exists()
    where = {"trial": world.trial.code, "participant": participant.pk}
    answer = client.get(reverse("analysis:profile", kwargs=where))
    assert answer.status_code == (200 if seen else 404)
    if seen:
        html = answer.content.decode()
        hidden = "hidden from independent readers" in html
        assert ("CD4" in html and "Table of this figure" in html and "/results/" in html) is not hidden
        assert hidden is reads_independently(membership)
        assert client.get(reverse("analysis:profile_pdf", kwargs=where)).content.startswith(b"%PDF")
    data = client.get(f"/api/v1/trials/{world.trial.code}/participants/{participant.pk}/profile/")
    assert data.status_code == answer.status_code
    if seen:
        values = {(row["track"], row["day"]): row["value"] for row in data.json()["marks"]}
        assert values.get(("CD4 T cells", 28)) == (None if hidden else 60)
        assert bool(data.json()["withheld"]) is hidden


def test_the_rows_of_a_course_stand_in_the_order_of_their_days(world: World) -> None:
    participant = world.enrolled()
    measured(world, participant, (35, "70"), (-5, "60"), (100, "80"))
    marks = as_rows(world.alice, participant)["marks"]
    days = [row["day"] for row in marks]  # type: ignore[attr-defined]
    assert days == sorted(days) and {-5, 35, 100} <= set(days)


@pytest.mark.parametrize("name", ["rita", "dora"])
def test_blinded_roles_get_no_dose_and_no_group(name: str, db: None) -> None:
    world = build_world(text=BLINDED)
    participant = world.enrolled()
    measured(world, participant, (28, "0.05"))
    client = Client()
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    where = {"trial": world.trial.code, "participant": participant.pk}
    html = client.get(reverse("analysis:profile", kwargs=where)).content.decode()
    assert "CD4" in html
    assert not [word for word in ("Individualised ATG", "Fixed ATG", ">individualised<", "Doses given") if word in html]


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_the_arrow_keys_say_each_mark_and_lead_to_its_form(
    world: World, page: Page, sign_in: Callable[..., None]
) -> None:
    participant = world.enrolled()
    measured(world, participant, (28, "0.05"), (35, "0.06"))
    sign_in(world.user("alice"))
    page.goto(reverse("analysis:profile", kwargs={"trial": world.trial.code, "participant": participant.pk}))
    page.locator("figure svg a").first.focus()
    page.keyboard.press("End")
    expect(page.locator("[data-readout]")).to_contain_text("day 35, 0.06")
    assert axe_violations(page) == []
    page.keyboard.press("Enter")
    page.wait_for_url("**/results/**")
