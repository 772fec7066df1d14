"""Monitored targets: both ends inside, bounds of three values, nothing compared that is of another unit or assay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from casebook import actions as casebook
from casebook.domain.results import Written
from dosing import actions as dosing
from dosing import selectors
from dosing.domain.monitoring import Level, Place, classify, picture
from tests.browser.watch import axe_violations
from tests.dosing.dose_world import count, fresh, graft, weigh, with_table
from tests.dosing.test_pages import SEES_DOSES, address, logged_in
from tests.world import PEOPLE, World, build_world, definition
from trials.domain.definition import Target
from trials.domain.units import convert
from trials.formats.definitions import read_definition_file
from trials.models import Participant

DEFINITIONS = Path(__file__).resolve().parents[2] / "trials" / "definitions"
BUSULFAN = Target(
    id="busulfan", analyte="PC.BUSULFAN_AUC", quantity="auc", window="course", low=Decimal(75), high=Decimal(95),
    unit="mg·h/L", assay="local",
)  # fmt: skip
ATG = Target(
    id="atg", analyte="PC.AUC_TOTAL", quantity="auc", window="total", low=Decimal(100), high=Decimal("148.5"),
    unit="UE·day/mL", assay="Chinese programme",
)  # fmt: skip
AT_LEAST = Target(id="pre", analyte="PC.PRE", quantity="auc", window="pre", low=Decimal(40), unit="AU·day/mL")


def level(value: str, *, of: Target = BUSULFAN, **changes: Any) -> Level:
    facts = {"analyte": of.analyte, "unit": of.unit, "assay": of.assay, **changes}
    return Level(value=Decimal(value), **facts)


@pytest.mark.requirement("DOS12")
@pytest.mark.parametrize(
    ("target", "value", "qualifier", "place"),
    [
        (BUSULFAN, "74.9", "", Place.BELOW),
        (BUSULFAN, "75", "", Place.IN),
        (BUSULFAN, "95.0", "", Place.IN),
        (BUSULFAN, "95.1", "", Place.ABOVE),
        (ATG, "99.9", "", Place.BELOW),
        (ATG, "100", "", Place.IN),
        (ATG, "148.5", "", Place.IN),
        (ATG, "148.6", "", Place.ABOVE),
        (BUSULFAN, "75", "<", Place.BELOW),  # smaller than 75 is below
        (BUSULFAN, "76", "<", Place.NOT_KNOWN),
        (BUSULFAN, "200", "<", Place.NOT_KNOWN),
        (BUSULFAN, "95", ">", Place.ABOVE),
        (BUSULFAN, "94", ">", Place.NOT_KNOWN),
        (BUSULFAN, "10", ">", Place.NOT_KNOWN),
        (AT_LEAST, "40", ">", Place.IN),
        (AT_LEAST, "1000", "", Place.IN),
        (AT_LEAST, "41", "<", Place.NOT_KNOWN),
    ],
)
def test_both_ends_are_inside_and_a_bound_settles_only_what_it_settles(
    target: Target, value: str, qualifier: str, place: Place
) -> None:
    assert classify(target, level(value, of=target, qualifier=qualifier)).place is place


@pytest.mark.requirement("DOS12")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": "AU·day/mL"}, "in UE·day/mL, the result in AU·day/mL"),
        ({"assay": "Dutch assay"}, "the assay “Chinese programme”, the result to “Dutch assay”"),
        ({"assay": ""}, "not named"),
        ({"analyte": "PC.AUC_POST"}, "of PC.AUC_TOTAL, the result of PC.AUC_POST"),
    ],
)
def test_another_unit_assay_or_window_is_not_compared(changes: dict[str, str], said: str) -> None:
    one = classify(ATG, level("120", of=ATG, **changes))
    assert one.place is Place.NOT_COMPARABLE and said in one.sentence
    drawn = picture(ATG, [one])
    assert drawn["layer"][1]["data"]["values"] == []


def test_busulfan_is_converted_by_its_molar_mass_and_by_nothing_else() -> None:
    # 246.3 g/mol: 1 mg·h/L = 1000 / 246.3 µmol/L × 60 min = 243.6 µmol·min/L
    assert round(1000 / 246.3 * 60, 1) == 243.6
    assert convert(Decimal("20706"), unit="µmol·min/L", to="mg·h/L", analyte="BUSULFAN_AUC") == 85


@pytest.mark.parametrize(
    ("trial", "targets"),
    [
        ("parachute", {("busulfan", 75, 95, "mg·h/L"), ("ciclosporin", 150, 250, "µg/L")}),
        ("nct07648992", {("active_atg_total", 100, Decimal("148.5"), "UE·day/mL")}),
    ],
)
def test_the_shipped_definitions_name_the_published_targets(trial: str, targets: set[Any]) -> None:
    _, protocol = read_definition_file(DEFINITIONS / trial / "v1.yaml")
    assert {(one.id, one.low, one.high, one.unit) for one in protocol.targets} == targets


# --- On the page --------------------------------------------------------------------------------------------------

MONITORED = """
targets:
  - {id: ciclosporin, analyte: PC.CSA, quantity: trough, window: trough, low: 150, high: 250, unit: µg/L, assay: local}
"""


def monitored_world() -> tuple[World, Participant]:
    text = definition().replace(
        "\npanels:", "\n  - {id: CSA, form: PC, label: Ciclosporin trough, canonical_unit: µg/L}\n\npanels:", 1
    )
    world = build_world(text=text + MONITORED)
    participant = world.enrolled()
    for day, value in ((17, "120"), (24, "198"), (31, "251"), (7, "<100")):
        casebook.record_draw(
            participant=participant,
            sampled_at=datetime(2025, 3, day, 8, 0),  # noqa: DTZ001  (the site's time)
            laboratory="A",
            values={"PC.CSA": Written(value, "µg/L")},
            by=world.bob,
        )
    return world, fresh(participant)


@pytest.mark.django_db
@pytest.mark.urls("tests.dosing.urls")
def test_the_results_of_a_participant_are_classed_and_drawn(db: None) -> None:
    world, participant = monitored_world()
    (one,) = selectors.monitored(participant)
    assert [str(each.place) for each in one.classed] == ["below", "below", "in", "above"]
    assert [each.level.day for each in one.classed] == [-17, -7, 0, 7]
    client: Client = logged_in(world, "bob")
    text = client.get(address(world, "monitoring", participant=participant.pk)).content.decode()
    assert "1 of 4" in text and "<svg" in text and "style=" not in text
    assert text.count("Outside the target: note what was done. It is no deviation.") == 3
    assert not participant.deviations.exists()


@pytest.mark.django_db
@pytest.mark.urls("tests.dosing.urls")
@pytest.mark.parametrize("name", PEOPLE)
def test_monitoring_is_for_who_sees_doses(world: World, name: str) -> None:
    participant = world.enrolled()
    answer = logged_in(world, name).get(address(world, "monitoring", participant=participant.pk))
    if not world.members[name].covers(participant.site_id):
        assert answer.status_code == 404
    else:
        assert answer.status_code == (200 if name in SEES_DOSES else 403)
        if name in SEES_DOSES:
            assert "monitors no drug" in answer.content.decode()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_card_and_timeline_are_read_in_either_theme(page: Page, sign_in: Callable[..., None], theme: str) -> None:
    world, participant = monitored_world()
    with_table(world)
    graft(world, participant)
    weigh(world, participant, "23.4")
    count(world, participant, "0.8")
    dosing.bring_up_to_date(participant=fresh(participant))
    sign_in(world.user("bob"))
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.goto(reverse("dosing:panel", kwargs={"trial": world.trial.code, "participant": participant.pk}))
    expect(page.get_by_text("For whom this dose was made")).to_be_visible()
    expect(page.get_by_role("heading", name="Ciclosporin trough")).to_be_visible()
    expect(page.locator("#timeline-ciclosporin svg")).to_be_visible()
    with page.expect_download() as taken:
        page.get_by_role("link", name="Card as PDF").click()
    assert taken.value.suggested_filename == f"dose-card-{participant}.pdf"
    assert axe_violations(page) == []
