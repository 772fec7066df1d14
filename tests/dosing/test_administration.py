"""What was given: the 90 to 110 % rule at its ends, the deviations it leads to, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.utils import timezone

from audit.models import TrailRow
from casebook import actions as casebook
from dosing import actions, selectors
from dosing.domain.administered import Adherence, EndCause, administered
from dosing.models import Administration, CourseEnd, DoseNeed
from tests.dosing.dose_world import fresh, graft, ready, with_table
from tests.dosing.questions import at
from tests.world import World, build_world, definition
from trials import actions as trials
from trials.models import Deviation, Participant
from trials.permissions import NotPossible

LAST = date(2025, 3, 17)
DAY_AFTER = LAST + timedelta(days=1)


LATER = at(15, 10).replace(year=2090)


def verdict(
    given: str, *, planned: str = "1000", today: date = LAST + timedelta(days=1), is_ended: bool = False
) -> Any:
    return administered(
        planned_mg=Decimal(planned),
        given_mg=[Decimal(given)] if given else [],
        low=Decimal("0.90"),
        high=Decimal("1.10"),
        last_planned_day=LAST,
        today=today,
        is_ended=is_ended,
    )


@pytest.mark.parametrize(
    "given, adherence, percent",
    [
        ("899.9", Adherence.BELOW, "89.99"),
        ("899.99", Adherence.BELOW, "89.99"),  # never shown as 90.00
        ("900", Adherence.WITHIN, "90.00"),
        ("1000", Adherence.WITHIN, "100.00"),
        ("1100", Adherence.WITHIN, "110.00"),
        ("1100.01", Adherence.ABOVE, "110.01"),  # never shown as 110.00
        ("1100.1", Adherence.ABOVE, "110.01"),
    ],
)
def test_both_ends_of_the_rule_are_inside(given: str, adherence: Adherence, percent: str) -> None:
    one = verdict(given)
    assert (one.adherence, one.percent, one.is_final) == (adherence, Decimal(percent), True)
    assert one.is_deviation == (adherence in (Adherence.BELOW, Adherence.ABOVE))


@pytest.mark.parametrize(
    "given, today, is_ended, adherence, is_final",
    [
        ("500", LAST, False, Adherence.UNDER_WAY, False),  # the last dose may still come
        ("500", LAST + timedelta(days=1), False, Adherence.BELOW, True),
        ("500", LAST - timedelta(days=1), True, Adherence.BELOW, True),  # the course was declared ended
        ("950", LAST - timedelta(days=1), False, Adherence.UNDER_WAY, False),
        ("1101", LAST - timedelta(days=1), False, Adherence.ABOVE, True),  # what was given stays given
        ("", LAST + timedelta(days=1), False, Adherence.NOT_STARTED, False),
        ("", LAST, True, Adherence.BELOW, True),  # ended before it began
    ],
)
def test_the_answer_is_provisional_until_no_dose_is_due(
    given: str, today: date, is_ended: bool, adherence: Adherence, is_final: bool
) -> None:
    one = verdict(given, today=today, is_ended=is_ended)
    assert (one.adherence, one.is_final) == (adherence, is_final)


def test_thirds_are_compared_exactly() -> None:
    third = Decimal("33.3")
    one = administered(
        planned_mg=Decimal("111"),
        given_mg=[third, third, third],
        low=Decimal("0.90"),
        high=Decimal("1.10"),
        last_planned_day=LAST,
        today=LAST + timedelta(days=1),
        is_ended=False,
    )
    assert one.adherence is Adherence.WITHIN and one.ratio == Decimal("0.9")
    with pytest.raises(ValueError, match="has no ratio"):
        verdict("1", planned="0")


# --- In the trial -------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.django_db


def with_plan(world: World) -> Participant:
    """A child with a plan of exactly 100 mg on one day: 50 kg, cord blood, 2 mg/kg."""
    with_table(world)
    participant = ready(world, kg="50", alc="0.3", source="cord_blood")
    worksheet = actions.compute_worksheet(participant=participant)
    assert (worksheet.planned_mg, worksheet.n_days) == (100, 1)
    return participant


def give(world: World, participant: Participant, mg: str | None, **changes: Any) -> Administration:
    facts: dict[str, Any] = {
        "infusion": 1,
        "started_at": at(15, 10),
        "stopped_at": at(15, 18),
        "dose_mg": Decimal(mg) if mg else None,
        "product": "thymoglobulin",
        "comment": "given before the release",
        "by": world.bob,
    }
    return actions.record_administration(participant=participant, **{**facts, **changes})


def standing(participant: Participant) -> list[Deviation]:
    return list(participant.deviations.filter(is_void=False))


@pytest.mark.requirement("DOS5")
@pytest.mark.parametrize(
    "mg, percent", [("89.99", "89.99"), ("90", None), ("100", None), ("110", None), ("110.01", "110.01")]
)
def test_a_sum_outside_is_a_major_deviation_by_the_protocols_rule(world: World, mg: str, percent: str | None) -> None:
    participant = with_plan(world)
    give(world, participant, mg)
    found = standing(participant)
    if percent is None:
        assert found == []
        return
    (deviation,) = found
    assert (deviation.rule, deviation.is_major, deviation.removes_from_efficacy) == ("D1", True, True)
    assert deviation.source == Deviation.Source.CALCULATION and deviation.occurred_on == date(2025, 3, 15)
    assert deviation.description == f"Given {mg} mg of 100 mg planned, {percent} %; allowed 90 to 110 %."


def test_a_correction_into_the_bounds_voids_the_deviation_and_back_again_finds_it(world: World) -> None:
    participant = with_plan(world)
    given = give(world, participant, "80")
    assert len(standing(participant)) == 1
    facts = {"started_at": given.started_at, "stopped_at": given.stopped_at, "comment": "x", "by": world.bob}
    given = actions.correct_administration(
        administration=given, dose_mg=Decimal(95), revision=1, reason="misread", **facts
    )
    assert standing(participant) == [] and given.revision == 2
    actions.correct_administration(
        administration=given, dose_mg=Decimal(80), revision=2, reason="read rightly", **facts
    )
    assert len(standing(participant)) == 1
    assert participant.deviations.count() == 2  # what was found before stays on record, void


def test_a_void_infusion_no_longer_counts(world: World) -> None:
    participant = with_plan(world)
    given = give(world, participant, "80")
    actions.void_administration(administration=given, by=world.bob, reason="another child")
    assert standing(participant) == [] and selectors.judged(participant, date(2025, 4, 1)).given_mg == 0  # type: ignore[union-attr]
    assert give(world, participant, "100").pk != given.pk  # the number is free again


def test_a_deviation_that_a_person_recorded_is_left_alone(world: World) -> None:
    participant = with_plan(world)
    trials.record_deviation(
        participant=participant,
        rule="D1",
        description="Stopped after an allergic reaction.",
        is_major=True,
        removes_from_efficacy=True,
        by=world.alice,
    )
    give(world, participant, "100")
    assert [one.description for one in standing(participant)] == ["Stopped after an allergic reaction."]


def test_a_stopped_infusion_is_its_volume_times_the_concentration(world: World) -> None:
    participant = with_plan(world)
    given = give(world, participant, None, volume_ml=Decimal("7.5"), was_stopped_early=True, comment="rash")
    assert given.dose_mg == Decimal("37.5")
    assert standing(participant)[0].description.startswith("Given 37.5 mg of 100 mg planned, 37.5 %")


def test_an_ended_course_is_judged_at_once_and_takes_no_further_dose(world: World) -> None:
    with_table(world)
    participant = ready(world)
    actions.compute_worksheet(participant=participant)
    actions.end_course(participant=participant, ended_on=date(2025, 3, 15), cause="allergic_reaction", by=world.bob)
    (found,) = standing(participant)
    assert found.rule == "D1" and found.description.endswith("Ended early: allergic reaction.")
    with pytest.raises(NotPossible, match="declared ended on 15-Mar-2025"):
        give(world, participant, "54.5")
    actions.resume_course(participant=participant, reason="declared in error", by=world.bob)
    assert standing(participant) == []


@pytest.mark.requirement("DOS18")
@pytest.mark.django_db(transaction=True)
def test_the_cause_of_an_ended_course_is_coded_on_record_and_removes_nobody_by_itself(world: World) -> None:
    participant = with_plan(world)
    give(world, participant, "95")
    for cause in EndCause:
        end = actions.end_course(
            participant=participant, ended_on=date(2025, 3, 15), cause=cause, reason="after an hour", by=world.bob
        )
        assert standing(participant) == [], "95 % of the plan is within the limits, whatever ended the course"
        assert (end.cause, "after an hour" in end.cause_words) == (cause, True)
    end = actions.end_course(participant=participant, ended_on=date(2025, 3, 15), cause="toxicity", by=world.bob)
    assert (end.cause, end.reason, end.cause_words) == ("toxicity", "", "toxicity other than an allergic reaction")
    trail = TrailRow.objects.filter(table_name="dosing_courseend").order_by("seq")
    assert [row.new["cause"] for row in trail] == [*EndCause, "toxicity"]
    assert (trail[5].old["reason"], trail[5].reason) == ("after an hour", "toxicity other than an allergic reaction")


@pytest.mark.parametrize(
    ("cause", "reason", "field"), [("", "rash", "cause"), ("rash", "", "cause"), ("other", " ", "reason")]
)
def test_a_course_does_not_end_without_a_cause(world: World, cause: str, reason: str, field: str) -> None:
    participant = with_plan(world)
    with pytest.raises(ValidationError) as refused:
        actions.end_course(
            participant=participant, ended_on=date(2025, 3, 15), cause=cause, reason=reason, by=world.bob
        )
    assert list(refused.value.message_dict) == [field]
    assert selectors.course_end(participant) is None


def test_the_database_takes_no_end_without_a_cause(world: World) -> None:
    participant = with_plan(world)
    for facts in ({"cause": "rash", "reason": "rash"}, {"cause": "other", "reason": ""}):
        with pytest.raises(DatabaseError), transaction.atomic():
            CourseEnd.objects.create(participant=participant, ended_on=date(2025, 3, 15), **facts)


def test_the_same_infusion_twice_is_one_and_another_under_its_number_a_conflict(world: World) -> None:
    participant = with_plan(world)
    assert give(world, participant, "100").pk == give(world, participant, "100").pk
    with pytest.raises(actions.Conflict, match="recorded already: 100 mg"):
        give(world, participant, "90")


@pytest.mark.parametrize(
    "changes, field, said",
    [
        ({"product": "atgam"}, "product", "never converted"),
        ({"product": ""}, "product", "no product"),
        ({"stopped_at": at(15, 10)}, "stopped_at", "stops after it starts"),
        ({"stopped_at": at(15, 9)}, "stopped_at", "stops after it starts"),
        ({"stopped_at": at(18, 10)}, "stopped_at", "more than 48 h"),
        (
            {"started_at": at(15, 10).replace(year=2090), "stopped_at": at(15, 11).replace(year=2090)},
            "stopped_at",
            "after",
        ),
        ({"infusion": 0}, "infusion", "counted from 1"),
        ({"dose_mg": Decimal(0)}, "dose_mg", "above 0 mg"),
        ({"dose_mg": Decimal("-5")}, "dose_mg", "above 0 mg"),
        ({"dose_mg": Decimal("NaN")}, "dose_mg", "above 0 mg"),
        ({"dose_mg": Decimal("5000.1")}, "dose_mg", "up to 5000"),
        ({"dose_mg": Decimal("0.1234")}, "dose_mg", "three decimals"),
        ({"dose_mg": None}, "dose_mg", "or the volume in mL"),
        ({"volume_ml": Decimal(3)}, "volume_ml", "3 mL at 5 mg/mL are 15 mg, not 100 mg"),
        ({"dose_mg": None, "volume_ml": Decimal(0)}, "volume_ml", "above 0"),
        ({"comment": ""}, "comment", "was not released: say why"),
        ({"comment": "", "was_stopped_early": True}, "comment", "stopped early: say why"),
    ],
)
def test_what_cannot_have_been_given_is_refused_at_its_field(
    world: World, changes: dict[str, Any], field: str, said: str
) -> None:
    participant = with_plan(world)
    with pytest.raises(ValidationError) as refused:
        give(world, participant, "100", **changes)
    assert said in " ".join(refused.value.message_dict[field])
    assert not Administration.objects.exists()


def test_two_infusions_never_run_at_the_same_time(world: World) -> None:
    participant = with_plan(world)
    give(world, participant, "50")
    with pytest.raises(ValidationError, match="Infusion 1 was running then"):
        give(world, participant, "50", infusion=2, started_at=at(15, 17), stopped_at=at(15, 19))
    assert give(world, participant, "50", infusion=2, started_at=at(15, 18), stopped_at=at(15, 19)).infusion == 2


def test_a_released_dose_near_its_plan_needs_no_comment_and_one_far_from_it_does(world: World) -> None:
    participant = with_plan(world)
    worksheet = selectors.current_worksheet(participant)
    assert worksheet is not None
    worksheet = selectors.worksheet_for(world.peter, worksheet.pk)
    typed = {"weight_kg": "50", "alc_1e9_per_l": "0.3", "graft": "cord_blood"}
    actions.verify_worksheet(worksheet=worksheet, typed=typed, by=world.peter)
    actions.release_worksheet(worksheet=worksheet, by=world.peter)
    with pytest.raises(ValidationError, match="more than 10 % from the planned 100 mg"):
        give(world, participant, "89", comment="")
    with pytest.raises(ValidationError, match="The plan has no infusion 2"):
        give(world, participant, "100", infusion=2, comment="")
    assert give(world, participant, "90", comment="").comment == ""


def test_imported_infusions_are_written_once_and_marked_for_the_task(world: World) -> None:
    participant = with_plan(world)
    DoseNeed.objects.all().delete()
    rows = [
        actions.InfusionRow(participant, 1, at(15, 10), at(15, 18), Decimal(60), "thymoglobulin"),
        actions.InfusionRow(participant, 2, at(16, 10), at(16, 18), Decimal(20), "thymoglobulin", "stopped"),
    ]
    assert actions.import_administrations(rows=rows, by=None) == 2
    assert actions.import_administrations(rows=rows, by=None) == 0
    with pytest.raises(actions.Conflict, match="infusion 1 is recorded with 60 mg"):
        actions.import_administrations(
            rows=[actions.InfusionRow(participant, 1, at(15, 10), at(15, 18), Decimal(61), "thymoglobulin")], by=None
        )
    assert DoseNeed.objects.filter(participant=participant).exists()
    actions.bring_up_to_date(participant=participant)
    assert [one.rule for one in standing(participant)] == ["D1"]
    given = selectors.given_by_participant(world.trial)[participant.pk]
    assert (given.mg, given.mg_per_kg, given.over_planned) == (80, Decimal("1.6"), Decimal("0.8"))


def test_one_bad_row_of_an_import_keeps_all_out(world: World) -> None:
    participant = with_plan(world)
    rows = [
        actions.InfusionRow(participant, 1, at(15, 10), at(15, 18), Decimal(60), "thymoglobulin"),
        actions.InfusionRow(participant, 2, at(16, 18), at(16, 10), Decimal(20), "thymoglobulin"),
    ]
    with pytest.raises(ValidationError, match="infusion 2: it stops before it starts"):
        actions.import_administrations(rows=rows, by=None)
    assert not Administration.objects.exists()


def with_source_rule() -> World:
    """Larch with the rule of a graft that changed after the plan, and plasmapheresis counted from the first dose."""
    text = definition().replace(
        "      - {id: GIVEN_OVER_PLANNED, label: Given over planned total dose, type: number, unit: ratio, "
        "computed: given_over_planned}",
        "      - {id: SOURCE, label: Source of the plan, type: code, computed: dose_worksheet, codes: ["
        "{value: bone_marrow, label: marrow}, {value: pbsc, label: blood}, {value: cord_blood, label: cord}]}\n"
        "      - {id: FIRST_DOSE, label: First infusion, type: datetime, computed: derived}\n"
        "      - {id: APHERESES, label: Plasmaphereses, type: integer, computed: derived}\n"
        "      - {id: GIVEN_OVER_PLANNED, label: Given over planned total dose, type: number, unit: ratio, "
        "computed: given_over_planned}",
    )
    text = text.replace(
        "  - id: CM\n",
        "  - id: EX\n    label: Infusion\n    repeating: true\n    order_by: START\n    items:\n"
        "      - {id: START, label: Start, type: datetime, required: true}\n  - id: CM\n",
        1,
    )
    text = text.replace(
        "derived:\n",
        "derived:\n  - {id: EX_PLAN.FIRST_DOSE, function: earliest, item: EX.START}\n"
        "  - {id: EX_PLAN.APHERESES, function: count, item: CM.DRUG,\n"
        "     where: {all: [{item: CM.DRUG, eq: plasmapheresis}, {item: CM.START, ge: {item: EX_PLAN.FIRST_DOSE}}]}}\n",
        1,
    )
    text = text.replace(
        "    - {id: D3, text: Problem",
        "    - {id: D2, text: Graft source changed after the dose plan, check: auto,\n"
        "       when: {item: TX.SOURCE, ne: {item: EX_PLAN.SOURCE}}, removed_from: [full]}\n"
        "    - {id: D4, text: Plasmapheresis that removes ATG, check: auto_human,\n"
        "       when: {item: EX_PLAN.APHERESES, gt: 0}, removed_from: [full]}\n"
        "    - {id: D3, text: Problem",
        1,
    )
    return build_world(text=text)


def test_a_graft_changed_after_the_first_dose_is_the_protocols_deviation() -> None:
    world = with_source_rule()
    participant = with_plan(world)
    give(world, participant, "100")
    graft(world, participant, "bone_marrow")
    actions.bring_up_to_date(participant=fresh(participant))
    (found,) = standing(participant)
    assert (found.rule, found.is_major, found.removes_from_efficacy) == ("D2", True, True)
    assert "Graft source changed after the dose plan" in found.description
    graft(world, participant, "cord_blood")
    actions.bring_up_to_date(participant=fresh(participant))
    assert standing(participant) == []


def test_a_graft_changed_before_the_first_dose_makes_a_new_plan_and_no_deviation() -> None:
    world = with_source_rule()
    participant = with_plan(world)
    graft(world, participant, "bone_marrow")
    worksheet = actions.bring_up_to_date(participant=fresh(participant))
    assert worksheet is not None and worksheet.total_mg_per_kg == 3
    assert standing(participant) == []


def test_plasmapheresis_after_the_first_dose_is_found_and_waits_for_a_person() -> None:
    world = with_source_rule()
    participant = with_plan(world)
    give(world, participant, "100")
    casebook.save_entry(
        participant=participant, form="CM", answers={"DRUG": "plasmapheresis", "START": "23mar25"}, by=world.bob
    )
    actions.bring_up_to_date(participant=fresh(participant))
    (found,) = standing(participant)
    assert (found.rule, found.is_confirmed) == ("D4", None)
    card = selectors.dose_card(fresh(participant), world.bob, date(2025, 3, 24))
    assert card.awaiting == {found.pk}
    items = selectors.computed_items(participant)
    assert items["EX_PLAN.APHERESES"].value == 1 and items["EX_PLAN.SOURCE"].value == "cord_blood"


def test_bounds_without_a_rule_of_removal_give_a_deviation_that_removes_nobody() -> None:
    lines = definition().splitlines(keepends=True)
    start = next(n for n, line in enumerate(lines) if "- id: D1" in line)
    del lines[start : start + 5]
    world = build_world(text="".join(lines))
    participant = with_plan(world)
    given = give(world, participant, "80")
    (found,) = standing(participant)
    assert (found.rule, found.is_major, found.removes_from_efficacy) == ("", True, False)
    actions.check_administered(participant=participant)
    assert len(standing(participant)) == 1
    actions.correct_administration(
        administration=given,
        started_at=given.started_at,
        stopped_at=given.stopped_at,
        dose_mg=Decimal(100),
        comment="x",
        revision=1,
        reason="misread",
        by=world.bob,
    )
    assert standing(participant) == []


def test_a_course_under_way_is_put_off_to_the_day_after_its_last_dose(world: World) -> None:
    with_table(world)
    participant = ready(world)
    worksheet = actions.bring_up_to_date(participant=participant)
    assert worksheet is not None and worksheet.last_day_on == LAST
    assert not DoseNeed.objects.exists()  # the course lies in the past: nothing is waited for
    assert selectors.needing_work(timezone.localdate()) == []


@pytest.mark.django_db(transaction=True)
def test_the_trail_says_who_gave_and_why_it_was_corrected(world: World) -> None:
    participant = with_plan(world)
    given = give(world, participant, "80")
    actions.correct_administration(
        administration=given,
        started_at=given.started_at,
        stopped_at=given.stopped_at,
        dose_mg=Decimal(95),
        comment="x",
        revision=1,
        reason="misread",
        by=world.bob,
    )
    rows = TrailRow.objects.filter(table_name="dosing_administration", row_id=str(given.pk)).order_by("seq")
    assert [(row.operation, row.role, row.reason) for row in rows] == [
        ("INSERT", "coordinator", ""),
        ("UPDATE", "coordinator", "misread"),
    ]
    assert rows[1].old["dose_mg"] == 80 and rows[1].new["dose_mg"] == 95
