"""The way of a level-guided dose: fixed doses, levels, a proposal, the second person, the release, the late level."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, connection, transaction

from casebook import actions as casebook
from casebook import selectors as casebook_selectors
from casebook.domain.results import Written
from dosing import actions, selectors, tasks
from dosing.domain.pharmacokinetics import Infusion, exposure
from dosing.models import Administration, DoseRelease, DoseWorksheet, DosingModel
from tests.dosing.dose_world import fresh, member, weigh
from tests.dosing.levels import ALGORITHM_TEXT, ASSAY, SET_TEXT, at
from tests.dosing.test_races import at_once
from tests.world import World, build_world, definition
from trials.models import Participant
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db(transaction=True)

GUIDED = """dosing:
  method: level_guided
  product: rabbit_atg
  start_day: -5
  days: [-5, -4, -3, -2]
  measure_on: [-5, -4]
  adjust_on: [-3, -2]
  target: active_atg_total
  algorithm: sponsor
  fallback: fixed_dose
  covariates:
    - {id: weight_kg, item: VS.WEIGHT, before_first_dose: true}
  deviation: {low: 0.90, high: 1.10}

targets:
  - {id: active_atg_total, analyte: PC.AUC_TOTAL, quantity: auc, window: total, low: 100, high: 148.5,
     unit: UE·day/mL, assay: Chinese programme}

"""
#: Levels of a person of 60 kg, whose dose the practice set raises.
RIGHT = {"weight_kg": "60", "level_1": "3.4", "level_2": "6.1"}


def build_guided() -> World:
    """Larch with a dose that follows levels."""
    text = re.sub(r"dosing:\n.*?(?=^adverse_events:)", GUIDED, definition(), flags=re.S | re.M)
    text = text.replace("canonical_unit: AU/mL", "canonical_unit: UE/mL, accepted_units: [mg/L]")
    text = text.replace(
        "\npanels:",
        "\n  - {id: AUC_TOTAL, form: PC, label: AUC, canonical_unit: UE·day/mL, per_assay: true}\n\npanels:",
    )
    world = build_world(text=text)
    member(world, "paula", "pharmacist")
    return world


@pytest.fixture
def guided() -> World:
    return build_guided()


def approved(world: World) -> tuple[DosingModel, ...]:
    """Set and algorithm in force: Peter, Paula, Alice."""
    rows = []
    for text in (SET_TEXT, ALGORITHM_TEXT):
        row = actions.enter_model(trial=world.trial, content=text, by=world.peter, reason="practice")
        row = actions.verify_model(model=row, content=text, by=world.paula)
        rows.append(actions.approve_model(model=row, by=world.alice, reason="I approve this for practice."))
    return tuple(rows)


def begun(world: World) -> Participant:
    """A participant of 60 kg with the fixed doses of days -5 and -4 released and given."""
    participant = world.enrolled()
    weigh(world, participant, "60")
    participant = fresh(participant)
    first = actions.bring_up_to_date(participant=participant)
    assert first is not None and not first.is_refused
    actions.verify_worksheet(worksheet=first, typed={"weight_kg": "60"}, by=world.peter)
    actions.release_worksheet(worksheet=first, by=world.peter, reason="Levels come on days -5 and -4.")
    for number, day in ((1, 19), (2, 20)):
        infuse(world, participant, number, day)
    return fresh(participant)


def infuse(world: World, participant: Participant, number: int, day: int, comment: str = "") -> Administration:
    return actions.record_administration(
        participant=participant,
        infusion=number,
        started_at=at(day, 10),
        stopped_at=at(day, 16),
        product="rabbit_atg",
        dose_mg=Decimal(150),
        by=world.bob,
        comment=comment,
    )


def level(world: World, participant: Participant, text: str, when: datetime, **changes: str) -> None:
    written = Written(text, changes.get("unit", "UE/mL"), lloq=changes.get("lloq", ""))
    casebook.record_draw(
        participant=participant,
        sampled_at=when,
        laboratory=changes.get("assay", ASSAY),
        values={"PC.ATG_ACTIVE": written},
        by=world.bob,
    )


def proposed(world: World) -> DoseWorksheet:
    approved(world)
    participant = begun(world)
    level(world, participant, "3.4", at(20, 8))
    level(world, participant, "6.1", at(21, 8))
    worksheet = actions.bring_up_to_date(participant=fresh(participant))
    assert worksheet is not None
    return worksheet


@pytest.mark.requirement("DOS6")
def test_without_an_approved_algorithm_nothing_is_proposed(guided: World) -> None:
    participant = guided.enrolled()
    weigh(guided, participant, "60")
    worksheet = actions.bring_up_to_date(participant=fresh(participant))
    assert worksheet is not None and worksheet.is_refused
    assert [one["code"] for one in worksheet.result["refusals"]] == ["no_algorithm"]
    level(guided, participant, "3.4", at(20, 8))
    assert len(list(casebook_selectors.lab_series(guided.trial, "PC.ATG_ACTIVE"))) == 1, "the level is kept"


@pytest.mark.requirement("DOS6")
def test_levels_lead_to_a_proposal_that_a_second_person_verifies_and_releases(guided: World) -> None:
    worksheet = proposed(guided)
    proposal = worksheet.result["guided"]["proposal"]
    assert worksheet.is_synthetic and worksheet.is_plan_of_record
    assert [Decimal(day["mg"]) for day in worksheet.result["days"]] == [150, 150, *[Decimal(proposal["mg_each"])] * 2]
    assert 100 <= proposal["at_proposed"] <= 148.5 and proposal["levels_used"] == 2
    assert worksheet.inputs["guide"]["algorithm"]["sha256"] and worksheet.inputs["guide"]["model"]["sha256"]
    # Whoever entered a level or a weight is not the second person, and a wrong level is a difference.
    with pytest.raises(PermissionDenied):
        actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=guided.bob)
    wrong = actions.verify_worksheet(worksheet=worksheet, typed={**RIGHT, "level_2": "16.1"}, by=guided.peter)
    assert not wrong.agrees and "16.1" in wrong.differences[0]
    with pytest.raises(ValidationError):
        actions.verify_worksheet(worksheet=worksheet, typed={"weight_kg": "60"}, by=guided.peter)
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=guided.peter)
    with pytest.raises(ValidationError):
        actions.release_worksheet(worksheet=worksheet, by=guided.peter)
    release = actions.release_worksheet(worksheet=worksheet, by=guided.peter, reason="Few levels; the trend is clear.")
    assert release.worksheet_id == worksheet.pk
    card = selectors.dose_card(fresh(worksheet.participant), guided.peter, at(21, 9).date())
    assert card.release is not None and len(card.lines) == 4


def test_one_level_changes_nothing_and_the_worker_proposes_on_the_second(guided: World) -> None:
    approved(guided)
    participant = begun(guided)
    first = selectors.plan_of_record(participant)
    level(guided, participant, "3.4", at(20, 8))
    tasks.sweep()
    assert selectors.plan_of_record(participant) == first
    level(guided, participant, "6.1", at(21, 8))
    tasks.sweep()
    second = selectors.plan_of_record(participant)
    assert second is not None and second != first and second.result["guided"]["proposal"]


@pytest.mark.requirement("DOS16")
@pytest.mark.parametrize(
    ("text", "when", "changes", "code"),
    [
        ("<0.1", at(21, 8), {}, "no_below_limit"),
        ("6.1", at(21, 8), {"lloq": "7"}, "no_below_limit"),
        ("not detected", at(21, 8), {"lloq": "0.5"}, "no_below_limit"),
        ("not detected", at(21, 8), {}, "no_ambiguous"),
        ("6.1", at(21, 8), {"assay": "Dutch assay"}, "no_assay"),
        ("6.1", at(20, 12), {}, "no_level_time"),
        ("6.1", at(19, 8), {}, "no_level_time"),
        ("900", at(21, 8), {}, "no_magnitude"),
        ("6.1", at(21, 8).date(), {}, "no_level_time"),
    ],
)
def test_a_level_that_cannot_be_used_leaves_the_fixed_dose_to_be_signed(
    guided: World, text: str, when: datetime, changes: dict[str, str], code: str
) -> None:
    approved(guided)
    participant = begun(guided)
    level(guided, participant, "3.4", at(20, 8))
    level(guided, participant, text, when, **changes)
    worksheet = actions.bring_up_to_date(participant=fresh(participant))
    assert worksheet is not None and worksheet.result["guided"]["proposal"] is None
    assert {"fallback", code} <= {one["code"] for one in worksheet.result["warnings"]}
    assert [day["mg"] for day in worksheet.result["days"]] == ["150"] * 4
    kept = casebook_selectors.results_of_trial(guided.trial, addresses=["PC.ATG_ACTIVE"], undetected=True)
    assert len(list(kept)) == 2, "nothing is lost"


def test_the_second_person_tells_below_a_limit_from_the_number_of_that_limit(guided: World) -> None:
    approved(guided)
    participant = begun(guided)
    level(guided, participant, "3.4", at(20, 8))
    level(guided, participant, "<0.5", at(21, 8))
    worksheet = actions.bring_up_to_date(participant=fresh(participant))
    assert worksheet is not None
    typed = {"weight_kg": "60", "level_1": "3.4", "level_2": "0.5"}
    assert not actions.verify_worksheet(worksheet=worksheet, typed=typed, by=guided.peter).agrees
    assert actions.verify_worksheet(worksheet=worksheet, typed={**typed, "level_2": "<0.5"}, by=guided.peter).agrees


def test_a_level_at_which_nothing_was_found_is_verified_in_these_words(guided: World) -> None:
    approved(guided)
    participant = begun(guided)
    level(guided, participant, "3.4", at(20, 8))
    level(guided, participant, "not detected", at(21, 8), lloq="0.5")
    worksheet = actions.bring_up_to_date(participant=fresh(participant))
    assert worksheet is not None
    typed = {"weight_kg": "60", "level_1": "3.4", "level_2": "Not detected"}
    assert actions.verify_worksheet(worksheet=worksheet, typed=typed, by=guided.peter).agrees
    release = actions.release_worksheet(worksheet=worksheet, by=guided.peter, reason="Fixed dose.")
    assert [day["mg"] for day in release.worksheet.result["days"]] == ["150"] * 4


def test_a_late_level_proposes_nothing(guided: World) -> None:
    approved(guided)
    participant = begun(guided)
    level(guided, participant, "3.4", at(20, 8))
    infuse(guided, participant, 3, 21, comment="The level did not come in time.")
    plan = selectors.plan_of_record(participant)
    level(guided, participant, "6.1", at(21, 8))
    assert actions.bring_up_to_date(participant=fresh(participant)) == plan
    assert plan is not None and "guided" not in plan.result


def test_a_dose_corrected_while_a_proposal_is_open_stops_the_release(guided: World) -> None:
    worksheet = proposed(guided)
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=guided.peter)
    given = worksheet.participant.administrations.get(infusion=2)
    actions.correct_administration(
        administration=given,
        started_at=at(20, 10),
        stopped_at=at(20, 18),
        dose_mg=Decimal(150),
        by=guided.bob,
        revision=given.revision,
        reason="ran longer",
        comment="ran longer than planned",
    )
    with pytest.raises(NotPossible):
        actions.release_worksheet(worksheet=worksheet, by=guided.peter, reason="in order")
    assert not DoseRelease.objects.filter(worksheet=worksheet).exists()
    now = selectors.current_worksheet(worksheet.participant)
    assert now is not None and now.pk != worksheet.pk
    assert now.result["guided"]["proposal"]["at_planned"] != worksheet.result["guided"]["proposal"]["at_planned"]


def test_a_level_that_comes_while_a_proposal_is_open_stops_the_release(guided: World) -> None:
    worksheet = proposed(guided)
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=guided.peter)
    level(guided, worksheet.participant, "5.9", at(21, 9))
    with pytest.raises(NotPossible):
        actions.release_worksheet(worksheet=worksheet, by=guided.peter, reason="in order")
    assert not DoseRelease.objects.filter(worksheet=worksheet).exists()


def test_two_releases_of_a_proposal_at_once_are_one(guided: World) -> None:
    worksheet = proposed(guided)
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=guided.peter)
    results = at_once(*[lambda: actions.release_worksheet(worksheet=worksheet, by=guided.peter, reason="in order")] * 3)
    assert DoseRelease.objects.filter(worksheet=worksheet).count() == 1
    assert sum(isinstance(one, NotPossible) for one in results) == 2


# --- Sets and algorithms as data ----------------------------------------------------------------------------------


def test_three_different_people_put_a_set_into_force(guided: World) -> None:
    row = actions.enter_model(trial=guided.trial, content=SET_TEXT, by=guided.peter)
    assert actions.enter_model(trial=guided.trial, content=SET_TEXT, by=guided.peter) == row
    with pytest.raises(PermissionDenied):
        actions.verify_model(model=row, content=SET_TEXT, by=guided.peter)
    with pytest.raises(NotPossible, match="parameters.cl.typical: 0.48 against 0.84"):
        actions.verify_model(model=row, content=SET_TEXT.replace("0.48", "0.84"), by=guided.paula)
    with pytest.raises(NotPossible, match="after it was verified"):
        actions.approve_model(model=row, by=guided.alice, reason="approved")
    row = actions.verify_model(model=row, content=SET_TEXT, by=guided.paula)
    with pytest.raises(ValidationError):
        actions.approve_model(model=row, by=guided.alice, reason=" ")
    row = actions.approve_model(model=row, by=guided.alice, reason="approved")
    assert row.status == "ACTIVE" and row.effective_from is not None
    other = SET_TEXT.replace("typical: 0.48", "typical: 0.5")
    later = actions.enter_model(trial=guided.trial, content=other, by=guided.peter)
    later = actions.verify_model(model=later, content=other, by=guided.paula)
    later = actions.approve_model(model=later, by=guided.alice, reason="approved")
    row.refresh_from_db()
    assert (row.status, later.status, later.version) == ("SUPERSEDED", "ACTIVE", 2)


@pytest.mark.parametrize("name", ["alice", "bob", "carol", "dora"])
def test_other_roles_enter_no_set(guided: World, name: str) -> None:
    with pytest.raises(PermissionDenied):
        actions.enter_model(trial=guided.trial, content=SET_TEXT, by=getattr(guided, name))
    assert not DosingModel.objects.exists()


def test_the_content_of_a_set_cannot_be_changed_behind_its_hash(guided: World) -> None:
    row, _ = approved(guided)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE dosing_dosingmodel SET title = 'another' WHERE id = %s", [row.pk])


def test_an_invented_set_is_refused_where_it_is_not_allowed(guided: World, settings: object) -> None:
    settings.ALLOW_SYNTHETIC_DOSING = False  # type: ignore[attr-defined]
    with pytest.raises(NotPossible):
        actions.enter_model(trial=guided.trial, content=SET_TEXT, by=guided.peter)


def test_the_exposure_is_in_the_unit_and_assay_of_the_set_in_force(guided: World) -> None:
    """The set's own factor brings milligrams into its unit: the areas are those of the doses times the factor."""
    found = selectors.exposure_of(fresh(proposed(guided).participant))
    assert found.missing == ()
    parameters = found.parameters
    assert parameters is not None and found.predicted is not None
    assert (parameters.area_unit, parameters.amount_per_mg) == ("UE·day/mL", 0.35)
    assert found.levels.estimate is not None, "the levels are there, so the prediction is the participant's own"
    own = found.levels.estimate.parameters
    course = [Infusion(one.start_day, one.end_day - one.start_day, one.mg * 0.35) for one in found.doses]
    total = float(exposure(own, course, graft_day=0, until_day=60).total[0])
    assert found.predicted.total.value == pytest.approx(total, rel=1e-4)
    (line,) = found.targets
    assert line.target.unit == "UE·day/mL"
    assert bool(line.why_not) is (parameters.assay != line.target.assay)
