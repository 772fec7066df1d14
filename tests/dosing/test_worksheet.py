"""The worksheet: golden courses by hand, rounding, dates, warnings; when it is computed anew and when it stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from dosing import actions, selectors, tasks
from dosing.domain.refusals import Stop
from dosing.domain.worksheet import compute, rounded_amounts, spec_for
from dosing.models import DoseNeed, DoseWorksheet
from tests.dosing.dose_world import count, fresh, graft, ready, weigh, with_table
from tests.dosing.questions import SPEC, WHOLE, asked, at
from tests.world import World
from trials import actions as trials
from trials.domain.definition import DosingSpec, Protocol, Rounding
from trials.formats.definitions import read_definition

STEP = Rounding(concentration=Decimal(5), volume_step=Decimal("0.1"), vial=Decimal(25))


def test_a_course_worked_out_by_hand() -> None:
    # 23.4 kg × 7 mg/kg = 163.8 mg = 32.76 mL → 32.8 mL; 54.6 mg a day = 10.92 mL → 10.9 mL; last day 32.8 - 21.8 mL.
    answer = compute(WHOLE)
    assert (answer.total_mg_per_kg, answer.planned_mg, answer.total_mg) == (7, Decimal("163.8"), 164)
    assert [(one.day, one.on, one.mg, one.ml) for one in answer.days] == [
        (-9, date(2025, 3, 15), Decimal("54.5"), Decimal("10.9")),
        (-8, date(2025, 3, 16), Decimal("54.5"), Decimal("10.9")),
        (-7, date(2025, 3, 17), Decimal("55"), Decimal("11")),
    ]
    assert [(one.vials, one.waste_mg) for one in answer.days] == [(3, Decimal("20.5")), (3, Decimal("20.5")), (3, 20)]


@pytest.mark.parametrize(
    "weight, alc, source, mg_per_kg, days, total_mg",
    [
        ("20", "0.5", "bone_marrow", "7", 3, "140"),
        ("20", "0.5", "pbsc", "7", 3, "140"),  # peripheral blood is looked up with marrow
        ("19.9", "0.49", "cord_blood", "5", 2, "99.5"),
        ("40", "1.5", "cord_blood", "6", 3, "240"),
        ("3.35", "0", "bone_marrow", "6", 3, "20"),  # 20.1 mg is 4.02 mL, given as 4.0 mL
        ("3.375", "0", "bone_marrow", "6", 3, "20.5"),  # 20.25 mg is 4.05 mL: half up
    ],
)
def test_golden_doses(weight: str, alc: str, source: str, mg_per_kg: str, days: int, total_mg: str) -> None:
    answer = compute(asked(weight={"value": Decimal(weight)}, alc={"value": Decimal(alc)}, graft={"value": source}))
    assert (answer.total_mg_per_kg, len(answer.days), answer.total_mg) == (Decimal(mg_per_kg), days, Decimal(total_mg))


@given(st.decimals("3", "120", places=2), st.integers(1, 4), st.decimals("2", "10", places=1))
def test_rounding_keeps_the_sum_and_every_day_near_its_share(weight: Decimal, days: int, mg_per_kg: Decimal) -> None:
    planned = weight * mg_per_kg
    amounts = rounded_amounts(planned, days, STEP)
    assert len(amounts) == days and len(set(amounts[:-1])) <= 1
    assert all(mg % Decimal("0.5") == 0 for mg in amounts)
    assert sum(amounts) == (planned * 2).quantize(Decimal(1), ROUND_HALF_UP) / 2
    assert all(abs(mg - planned / days) <= Decimal("0.25") for mg in amounts[:-1])
    assert abs(amounts[-1] - planned / days) <= Decimal("0.25") * days


def test_whole_vials_are_refused_where_they_leave_the_bounds() -> None:
    whole = replace(SPEC, rounding=replace(STEP, whole_vials=True))
    small = compute(asked(spec=whole, weight={"value": Decimal("4")}))  # 32 mg over 4 days in vials of 25 mg
    assert [one.code for one in small.refusals] == [Stop.ROUNDING]
    large = compute(asked(spec=whole, weight={"value": Decimal("100")}))  # 500 mg over 2 days: 10 vials each
    assert [one.mg for one in large.days] == [250, 250] and large.days[0].waste_mg == 0


def test_without_a_stated_concentration_there_is_no_volume() -> None:
    fixed = DosingSpec(
        method="fixed_per_kg",
        product="rabbit_atg",
        days=(-5, -4, -3, -2),
        covariates=SPEC.covariates[:1],
        parameters={"total_mg_per_kg": 10},
    )
    answer = compute(asked(spec=fixed, weight={"observed_at": date(2025, 3, 18)}))
    assert [(one.day, one.mg, one.ml) for one in answer.days] == [
        (day, Decimal("58.5"), None) for day in (-5, -4, -3, -2)
    ]
    assert answer.total_mg == 234
    each = replace(fixed, parameters={"dose_mg_per_kg": 1}, days=(1, 4, 8))
    answer = compute(asked(spec=each, first_day=1, weight={"observed_at": date(2025, 3, 24)}))
    assert [(one.day, one.on.day, one.mg) for one in answer.days] == [
        (1, 24, Decimal("23.4")),
        (4, 27, Decimal("23.4")),
        (8, 31, Decimal("23.4")),
    ]


def test_a_group_has_its_own_rule_and_the_trials_where_it_says_nothing() -> None:
    own = DosingSpec(method="fixed_per_kg", days=(-5,), parameters={"total_mg_per_kg": 10})
    whole = replace(SPEC, method="by_group", by_group={"fixed": own})
    found = spec_for(whole, "fixed")
    assert found is not None
    assert (found.method, found.product, found.rounding) == ("fixed_per_kg", SPEC.product, SPEC.rounding)
    assert spec_for(whole, "other") is None
    assert spec_for(SPEC, "any") is SPEC


@pytest.mark.parametrize(
    "question, codes",
    [
        (WHOLE, []),
        (asked(weight={"earlier": (Decimal("21"), date(2025, 3, 1))}), ["weight_change"]),
        (asked(weight={"earlier": (Decimal("21.3"), date(2025, 3, 1))}), []),  # 9.9 %
        (asked(alc={"earlier": (Decimal("0.26"), at(10, 8))}), ["alc_change"]),
        (asked(alc={"earlier": (Decimal("0.27"), at(10, 8))}), []),  # less than threefold
        (asked(alc={"earlier": (Decimal("0.1"), at(1, 8))}), []),  # longer ago than a week
        (asked(alc={"value": Decimal("10.1")}), ["alc_high"]),
        (asked(weight={"value": Decimal("20.4")}), ["near_weight"]),
        (asked(alc={"value": Decimal("0.51")}), ["near_alc"]),
        (asked(first_dose_at=at(16, 10), alc={"observed_at": at(16, 8)}), ["first_dose_day"]),
    ],
)
def test_what_is_remarkable_is_a_warning_and_no_stop(question: object, codes: list[str]) -> None:
    answer = compute(question)  # type: ignore[arg-type]
    assert not answer.refusals
    assert [one.code for one in answer.warnings] == codes


def test_the_warning_of_a_boundary_says_the_neighbours_dose() -> None:
    (warned,) = compute(asked(weight={"value": Decimal("20")})).warnings
    assert warned.sentence == (
        "Weight lies within 2 % of the boundary 20: the cell beside it gives 8 mg/kg over 4 days."
    )


def test_the_order_of_the_readings_changes_nothing() -> None:
    turned = replace(WHOLE, readings=dict(reversed(WHOLE.readings.items())))
    assert compute(turned).days == compute(WHOLE).days


def test_every_input_stands_in_the_trace() -> None:
    said = dict(compute(WHOLE).trace)
    assert said["Weight"] == "23.4 kg, 13-Mar-2025" and said["ALC"] == "0.8 10^9/L, 14-Mar-2025 08:00"
    assert said["Graft"] == "bone_marrow" and said["Table"] == "larch v1, bm_pbsc"
    assert said["Total"] == "23.4 kg × 7 mg/kg = 163.8 mg"
    assert "steps of 0.1 mL = 0.5 mg at 5 mg/mL, half up" in said["Rounding"]


# --- In the trial -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_same_facts_are_one_worksheet_and_changed_facts_make_a_new_one(world: World) -> None:
    with_table(world)
    participant = ready(world)
    first = actions.compute_worksheet(participant=participant)
    assert actions.compute_worksheet(participant=participant).pk == first.pk
    weigh(world, participant, "25", on=date(2025, 3, 14))
    second = actions.compute_worksheet(participant=participant)
    first.refresh_from_db()
    assert not first.is_current and not first.is_plan_of_record
    assert second.is_current and second.is_plan_of_record
    assert second.reason == ("Changed: Actual body weight: 23.4 kg of 13-Mar-2025 → 25 kg of 14-Mar-2025.")
    assert second.total_mg == 175


@pytest.mark.django_db
def test_a_refusal_is_kept_and_tried_again_when_its_reason_is_gone(world: World) -> None:
    with_table(world)
    participant = ready(world, alc=None)
    refused = actions.compute_worksheet(participant=participant)
    assert refused.is_refused and not refused.is_plan_of_record and refused.total_mg is None
    assert [one["sentence"] for one in refused.result["refusals"]] == ["Lymphocytes is not recorded."]
    count(world, participant, "0.8")
    assert actions.compute_worksheet(participant=participant).total_mg == 164


@pytest.mark.django_db
def test_cells_per_microlitre_give_the_same_dose(world: World) -> None:
    with_table(world)
    participant = ready(world, alc=None)
    count(world, participant, "800", unit="cells/µL")
    assert actions.compute_worksheet(participant=participant).total_mg == 164


@pytest.mark.django_db
def test_the_latest_value_before_the_first_dose_counts(world: World) -> None:
    with_table(world)
    participant = ready(world)
    count(world, participant, "0.3", at=at(14, 20))
    count(world, participant, "5", at=at(16, 8))  # after the day of the first dose: no baseline
    worksheet = actions.compute_worksheet(participant=participant)
    assert selectors.input_of(worksheet, "alc_1e9_per_l") == "0.3"
    assert worksheet.total_mg_per_kg == 5


@pytest.mark.django_db
def test_an_unknown_graft_date_is_refused_and_a_moved_one_computed_anew(world: World) -> None:
    with_table(world)
    participant = world.enrolled(graft_on=None)
    graft(world, participant)
    weigh(world, participant, "23.4")
    count(world, participant, "0.8")
    refused = actions.compute_worksheet(participant=fresh(participant))
    assert [one["code"] for one in refused.result["refusals"]] == [Stop.NO_DATE]
    trials.set_anchor(participant=participant, day=date(2025, 3, 24), by=world.bob)
    assert actions.compute_worksheet(participant=fresh(participant)).first_day_on == date(2025, 3, 15)
    trials.set_anchor(participant=participant, day=date(2025, 3, 25), by=world.bob, reason="donor was ill")
    moved = actions.compute_worksheet(participant=fresh(participant))
    assert moved.is_refused and moved.result["refusals"][0]["code"] == Stop.STALE


@pytest.mark.django_db
def test_from_the_first_infusion_on_the_plan_stands(world: World) -> None:
    with_table(world)
    participant = ready(world)
    worksheet = actions.compute_worksheet(participant=participant)
    actions.record_administration(
        participant=participant,
        infusion=1,
        started_at=at(15, 10),
        stopped_at=at(15, 18),
        dose_mg=Decimal("54.5"),
        product="thymoglobulin",
        comment="given before the release",
        by=world.bob,
    )
    count(world, participant, "0.2", at=at(14, 22))
    assert actions.compute_worksheet(participant=participant).pk == worksheet.pk


@pytest.mark.django_db
def test_a_worksheet_never_changes_and_is_never_deleted(world: World) -> None:
    with_table(world)
    worksheet = actions.compute_worksheet(participant=ready(world))
    for change in ({"total_mg": 1}, {"inputs": {}}, {"is_refused": True}):
        with pytest.raises(DatabaseError), transaction.atomic():
            DoseWorksheet.objects.filter(pk=worksheet.pk).update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        DoseWorksheet.objects.filter(pk=worksheet.pk).delete()


@pytest.mark.django_db
def test_an_imported_plan_is_the_plan_of_record_and_the_computed_one_stands_beside_it(world: World) -> None:
    with_table(world)
    participant = ready(world)
    computed = actions.compute_worksheet(participant=participant)
    facts = {
        "participant": participant,
        "total_mg_per_kg": Decimal("8.5"),
        "weight_kg": Decimal("23.4"),
        "graft_source": "bone_marrow",
        "start_day": -9,
    }
    plan = actions.import_plan_of_record(**facts, by=None)
    assert actions.import_plan_of_record(**facts, by=None).pk == plan.pk
    computed.refresh_from_db()
    assert computed.is_current and not computed.is_plan_of_record
    assert selectors.plan_of_record(participant) == plan
    assert (plan.planned_mg, plan.total_mg, plan.last_day_on) == (Decimal("198.9"), 199, date(2025, 3, 18))
    weigh(world, participant, "25", on=date(2025, 3, 14))
    again = actions.compute_worksheet(participant=participant)
    assert again.is_current and not again.is_plan_of_record and again.is_synthetic


@pytest.mark.django_db
def test_an_observation_marks_the_participant_and_the_sweep_computes(world: World) -> None:
    with_table(world)
    participant = ready(world)
    assert DoseNeed.objects.filter(participant=participant).exists()
    tasks.sweep()
    worksheet = selectors.current_worksheet(participant)
    assert worksheet is not None and worksheet.total_mg == 164
    assert not selectors.needing_work(timezone.localdate())
    weigh(world, participant, "25", on=date(2025, 3, 14))
    assert selectors.needing_work(timezone.localdate()) == [participant.pk]
    tasks.sweep()
    tasks.sweep()
    assert DoseWorksheet.objects.filter(participant=participant).count() == 2


@pytest.mark.django_db
def test_an_enrolled_participant_whose_mark_was_lost_is_found(world: World) -> None:
    with_table(world)
    participant = ready(world)
    DoseNeed.objects.all().delete()
    assert selectors.needing_work(timezone.localdate()) == [participant.pk]


def shipped(trial: str) -> Protocol:
    file = Path(__file__).resolve().parents[2] / "trials" / "definitions" / trial / "v1.yaml"
    return read_definition(file.read_text(), file=str(file))


@pytest.mark.parametrize("trial", ["parachute", "nct07648992", "relax"])
def test_the_shipped_definitions_name_known_methods_with_known_parameters(trial: str) -> None:
    assert shipped(trial).dosing is not None  # read_definition refuses any other


def test_the_arms_of_nct07648992_are_a_fixed_dose_and_no_proposal() -> None:
    dosing = shipped("nct07648992").dosing
    assert dosing is not None
    fixed, guided = spec_for(dosing, "fixed"), spec_for(dosing, "individualised")
    assert fixed is not None and guided is not None
    weight = {"value": Decimal("61.3"), "observed_at": date(2025, 3, 18)}
    answer = compute(asked(spec=fixed, weight=weight, table=None, birth=None))
    assert [(one.day, one.mg) for one in answer.days] == [(day, Decimal("153.25")) for day in (-5, -4, -3, -2)]
    assert answer.total_mg == 613
    assert [one.code for one in compute(asked(spec=guided)).refusals] == [Stop.NO_ALGORITHM]
