"""Items that are computed from what stands beside them: in rows, in rules, on the page, and of everybody at once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from casebook import actions, selectors
from tests.world import World, build_world, definition
from trials.domain.language import DefinitionErrors
from trials.formats.definitions import read_definition
from trials.models import Participant

STAGES = "{skin: SKIN, liver: LIVER, upper_gi: UPPER, lower_gi: LOWER}"
FORM = f"""\
  - id: GV
    label: Acute GVHD
    repeating: true
    order_by: DATE
    items:
      - {{id: DATE, label: Date, type: date, required: true}}
      - {{id: SKIN, label: Skin stage, type: integer, minimum: 0, maximum: 4}}
      - {{id: LIVER, label: Liver stage, type: integer, minimum: 0, maximum: 4}}
      - {{id: UPPER, label: Upper GI stage, type: integer, minimum: 0, maximum: 1}}
      - {{id: LOWER, label: Lower GI stage, type: integer, minimum: 0, maximum: 4}}
      - {{id: GRADE, label: Grade, type: integer, computed: agvhd_magic, computed_from: {STAGES}}}
      - {{id: RISK, label: Risk, type: code, computed: minnesota_refined, computed_from: {STAGES},
         codes: [{{value: none, label: none}}, {{value: standard, label: standard}}, {{value: high, label: high}}]}}
      - {{id: GUT, label: Gut, type: yes_no_unknown, computed: agvhd_gut,
         computed_from: {{upper_gi: UPPER, lower_gi: LOWER}}}}
"""
SUMMARY = """\
      - {id: WORST, label: Highest grade, type: integer, computed: derived}
      - {id: LAST_RISK, label: Last risk, type: code, computed: derived, codes: [{value: high, label: high}]}
      - {id: AGE_EXACT, label: Age in years, type: number, unit: years, decimals: 2, computed: derived}
"""
DERIVED = """\
  - {id: DX.WORST, function: maximum, item: GV.GRADE}
  - {id: DX.LAST_RISK, function: last, item: GV.RISK, by: GV.DATE}
  - {id: DX.AGE_EXACT, function: years_between, from: DM.BIRTH_DATE, to: DM.SCREENED_ON, otherwise: QS.AGE}
"""


def text(form: str = FORM) -> str:
    found = definition().replace("  - id: CM\n", form + "  - id: CM\n", 1)
    found = found.replace("      - {id: REMISSION,", SUMMARY + "      - {id: REMISSION,", 1)
    found = found.replace(
        "      - {id: PERFORMANCE,",
        "      - {id: AGE, label: Age, type: number, unit: years}\n      - {id: PERFORMANCE,",
        1,
    )
    return found.replace("derived:\n", "derived:\n" + DERIVED, 1)


@pytest.mark.parametrize(
    "was, becomes, complaint",
    [
        ("computed: agvhd_magic", "computed: agvhd_magik", "there is no calculation method `agvhd_magik`"),
        ("liver: LIVER, ", "", "the calculation method `agvhd_magic` needs `liver`"),
        ("liver: LIVER", "liver: LIVRE", "there is no item of GV `LIVRE`"),
        ("liver: LIVER", "liver: GUT", "there is no item of GV `GUT`"),
        ("skin: SKIN", "skin: SKIN, lung: SKIN", "has no parameter `lung`"),
    ],
)
def test_a_definition_that_computes_from_nothing_is_refused(was: str, becomes: str, complaint: str) -> None:
    with pytest.raises(DefinitionErrors, match=complaint):
        read_definition(text(FORM.replace(was, becomes, 1)), file="larch.yaml")


@pytest.fixture
def world(db: None) -> World:
    return build_world(text=text())


def assessed(world: World, participant: Participant, on: str, *stages: str) -> None:
    actions.save_entry(
        participant=participant,
        form="GV",
        repeat=1 + selectors.entries_of(participant).filter(form="GV").count(),
        answers={"DATE": on, **dict(zip(("SKIN", "LIVER", "UPPER", "LOWER"), stages, strict=True))},
        by=world.bob,
    )


@pytest.mark.parametrize(
    "rows, worst, last_risk",
    [
        ([("2", "0", "0", "2")], 3, "high"),
        ([("1", "0", "0", "0"), ("0", "0", "0", "0")], 1, "none"),
        ([("4", "UNK", "0", "0")], 4, "high"),  # the liver cannot change it
        ([("1", "UNK", "0", "0")], None, "standard"),  # here it can change the grade: not known, and not I
        ([("3", "0", "0", "0"), ("1", "ND", "ND", "ND")], None, None),
    ],
)
def test_grades_and_risk_follow_from_the_stages(world: World, rows: list, worst: int | None, last_risk: str) -> None:
    participant = world.enrolled()
    for week, stages in enumerate(rows):
        assessed(world, participant, f"{1 + 7 * week} apr 2025", *stages)
    known = selectors.item_values(participant)
    assert (known["DX.WORST"].value, known["DX.LAST_RISK"].value) == (worst, last_risk)


def test_an_age_is_computed_from_the_dates_or_taken_as_it_is_reported(world: World) -> None:
    participant = world.enrolled()
    known = selectors.item_values(participant)
    days = (known["DM.SCREENED_ON"].value - known["DM.BIRTH_DATE"].value).days
    assert known["DX.AGE_EXACT"].value == (Decimal(days) / Decimal("365.25")).quantize(Decimal("0.01"))
    actions.save_entry(participant=participant, form="QS", visit=participant.visits.get(code="SCR"), by=world.bob,
                       answers={"AGE": "7.25", "PERFORMANCE": "90"})  # fmt: skip
    assert selectors.item_values(participant)["DX.AGE_EXACT"].value != Decimal("7.25")
    Participant.objects.filter(pk=participant.pk).update(birth_date="")
    again = selectors.item_values(Participant.objects.get(pk=participant.pk))
    assert again["DX.AGE_EXACT"].value == Decimal("7.25")


def test_everybody_at_once_is_each_one_by_one(world: World, django_assert_max_num_queries) -> None:
    people = [world.enrolled(), world.enrolled(by=world.carol), world.screened()]
    assessed(world, people[0], "1 apr 2025", "2", "0", "0", "2")
    assessed(world, people[0], "8 apr 2025", "1", "UNK", "0", "0")
    every = list(people[0].protocol.addresses())
    with django_assert_max_num_queries(9):
        found = dict(selectors.values_in_bulk(world.trial, participants=[one.pk for one in people], addresses=every))
    assert found == {one.pk: selectors.item_values(Participant.objects.get(pk=one.pk)) for one in people}
    some = dict(selectors.values_in_bulk(world.trial, participants=[people[0].pk], addresses=["DX.WORST", "DM.AGE"]))
    assert some[people[0].pk] == {name: found[people[0].pk][name] for name in ("DX.WORST", "DM.AGE")}


def test_the_page_shows_what_is_computed_of_its_own_row(world: World, client: Client) -> None:
    participant = world.enrolled()
    assessed(world, participant, "1 apr 2025", "0", "0", "0", "3")
    assessed(world, participant, "8 apr 2025", "1", "0", "0", "0")
    client.force_login(world.user("bob"), backend="django.contrib.auth.backends.ModelBackend")
    for entry, grade in zip(selectors.entries_of(participant).filter(form="GV"), ("III", "I"), strict=True):
        url = reverse("casebook:entry", kwargs={"trial": "larch", "participant": participant.pk, "form": "GV"})
        page = client.get(url, {"repeat": entry.repeat}).content.decode()
        assert f"MAGIC 2016: grade {grade}." in page
