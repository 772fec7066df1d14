"""The dose card on paper: what it says, that it can be followed by a screen reader, that it is the same twice."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dosing import actions
from dosing.domain.applicability import Applied, checks_of_protocol, severity
from dosing.domain.worksheet import compute
from dosing.models import CardCopy
from tests.dosing.questions import SPEC, WHOLE
from tests.dosing.test_pages import RIGHT, SEES_DOSES, address, computed, logged_in
from tests.world import PEOPLE, World
from trials.domain.answers import Answer
from trials.domain.conditions import Observed, Operator, Test
from trials.domain.definition import AppliesWhen
from trials.formats.definitions import read_definition_file

DEFINITIONS = Path(__file__).resolve().parents[2] / "trials" / "definitions"
pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.dosing.urls")]


def read(pdf: bytes, folder: Path, command: str) -> str:
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed; it comes with the browser of the tests")
    file = folder / "card.pdf"
    file.write_bytes(pdf)
    options = ["-layout", str(file), "-"] if command == "pdftotext" else [str(file)]
    return subprocess.run([command, *options], capture_output=True, text=True, check=True).stdout


@pytest.mark.requirement("DOS10")
def test_the_file_says_what_the_card_says(world: World, tmp_path: Path) -> None:
    participant, worksheet = computed(world)
    url = address(world, "card_file", participant=participant.pk)
    answer = logged_in(world, "bob").get(url)
    assert answer.status_code == 200 and answer["Content-Type"] == "application/pdf"
    assert "Tagged:          yes" in read(answer.content, tmp_path, "pdfinfo")
    text = " ".join(read(answer.content, tmp_path, "pdftotext").split())
    for said in (
        "NOT FOR CLINICAL USE",
        "164 mg = 7 mg/kg",
        "23.4",
        "14-Mar-2025 08:00",
        "half up, remainder on the last day",
        "Not released: this dose must not be given yet.",
        worksheet.input_sha256,
        "Verified by:",
        "Released by:",
    ):
        assert said in text, said
    assert worksheet.table is not None and worksheet.table.sha256 in text


def test_the_same_card_is_the_same_file_and_each_copy_is_on_record(world: World) -> None:
    participant, worksheet = computed(world)
    url = address(world, "card_file", participant=participant.pk)
    bob = logged_in(world, "bob")
    assert bob.get(url).content == bob.get(url).content
    copies = CardCopy.objects.filter(worksheet=worksheet)
    assert [one.by for one in copies] == [world.bob, world.bob] and len({one.sha256 for one in copies}) == 1
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=world.peter)
    verified = bob.get(url).content
    actions.release_worksheet(worksheet=worksheet, by=world.peter)
    assert len({verified, bob.get(url).content}) == 2


def test_who_may_verify_gets_no_file_by_accident(world: World) -> None:
    participant, _ = computed(world)
    peter, url = logged_in(world, "peter"), address(world, "card_file", participant=participant.pk)
    assert peter.get(url).status_code == 302 and not CardCopy.objects.exists()
    assert peter.get(f"{url}?show=1").status_code == 200


@pytest.mark.parametrize("name", PEOPLE)
def test_the_file_is_for_who_sees_the_card(world: World, name: str) -> None:
    participant, _ = computed(world)
    answer = logged_in(world, name).get(address(world, "card_file", participant=participant.pk) + "?show=1")
    if not world.members[name].covers(participant.site_id):
        assert answer.status_code == 404
    else:
        assert answer.status_code == (200 if name in SEES_DOSES else 403)


# --- For whom the dose was made -----------------------------------------------------------------------------------

DONOR = AppliesWhen(id="donor", text="Unrelated donor", when=Test("TX.DONOR", Operator.EQ, "unrelated"), source="p. 3")


@pytest.mark.requirement("DOS11")
@pytest.mark.parametrize(
    ("value", "otherwise", "answer", "is_refused", "warned"),
    [
        ("unrelated", "stop", Answer.YES, False, 0),
        ("sibling", "stop", Answer.NO, True, 0),
        (None, "stop", Answer.UNKNOWN, True, 0),
        ("sibling", "warning", Answer.NO, False, 1),
        (None, "warning", Answer.UNKNOWN, False, 1),
        ("sibling", "intensity_check", Answer.NO, True, 0),  # the parameter is not given: it stops
    ],
)
def test_a_check_stops_or_warns_as_the_definition_says(
    value: str | None, otherwise: str, answer: Answer, is_refused: bool, warned: int
) -> None:
    spec = replace(SPEC, applicability=(replace(DONOR, otherwise=otherwise),))
    checks = checks_of_protocol(spec, {"TX.DONOR": Observed(value)}, {"TX.DONOR": "Donor"})
    worksheet = compute(replace(WHOLE, spec=spec, protocol_checks=checks))
    shown: Applied = next(one for one in worksheet.applicability if one.id == "donor")
    assert (shown.answer, shown.source) == (answer, "p. 3")
    assert worksheet.is_refused is is_refused and bool(worksheet.days) is not is_refused
    assert len([one for one in worksheet.warnings if one.code == "applicability"]) == warned


def test_the_parameter_decides_between_block_and_warning() -> None:
    for said, expected in (("warning", "warning"), ("block", "stop")):
        spec = replace(SPEC, parameters={**SPEC.parameters, "intensity_check": said})
        assert severity("intensity_check", spec) == expected


@pytest.mark.requirement("DOS11")
@pytest.mark.parametrize("trial", ["parachute", "nct07648992"])
def test_the_contradiction_about_the_conditioning_is_shown_with_each_source(trial: str) -> None:
    _, protocol = read_definition_file(DEFINITIONS / trial / "v1.yaml")
    dosing = protocol.dosing
    assert dosing is not None
    specs = [dosing, *dosing.by_group.values()]
    said = [statement for spec in specs for one in spec.disagreements for statement in one.statements]
    assert {one.says.split(";")[0].split(", ")[-1] for one in said} == {"myeloablative", "non-myeloablative"}
    assert all(one.source for one in said) and len({one.source for one in said}) == 3
