"""More than sixty inputs that must not lead to a dose, each with its kind of stop and its way out."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from dosing.domain.nomogram import Applicability
from dosing.domain.refusals import Refusal, Stop
from dosing.domain.worksheet import GRAFT, Question, Reading, compute
from tests.dosing.questions import DEMO, SPEC, WHOLE, asked, at
from tests.dosing.test_level_guided import BAD as BAD_LEVELS
from trials.domain.definition import DoseBounds
from trials.domain.partial_dates import PartialDate

D = Decimal
NO_GRAFT = replace(WHOLE, readings={name: one for name, one in WHOLE.readings.items() if name != GRAFT})
LATE = replace(DEMO, cells=tuple(replace(cell, start_day=-5) for cell in DEMO.cells))
FIXED = replace(SPEC, method="fixed_per_kg")
MAC = replace(DEMO, applicability=replace(DEMO.applicability, items={"CO.INTENSITY": ("MAC",)}))


def intensity(value: str | None) -> dict[str, Reading]:
    return {"CO.INTENSITY": Reading("CO.INTENSITY", "Intensity", value)}


def parameters(**changes: object) -> Question:
    return asked(spec=replace(SPEC, parameters={**SPEC.parameters, **changes}))  # type: ignore[dict-item]


BAD: list[tuple[str, Question, Stop]] = [
    # Missing
    ("no weight", asked(weight={"value": None}), Stop.MISSING),
    ("no count", asked(alc={"value": None}), Stop.MISSING),
    ("no graft", asked(graft={"value": None}), Stop.GRAFT),
    ("no graft date", asked(anchor_date=None), Stop.NO_DATE),
    ("no birth date", asked(birth=None), Stop.NOT_APPLICABLE),
    ("weight without date", asked(weight={"observed_at": None}), Stop.STALE),
    ("count without date", asked(alc={"observed_at": None}), Stop.STALE),
    ("no readings at all", replace(WHOLE, readings={}), Stop.DEFINITION),
    ("weight is no covariate", asked(spec=replace(SPEC, covariates=SPEC.covariates[1:])), Stop.DEFINITION),
    # No numbers
    ("weight in words", asked(weight={"value": "heavy"}), Stop.NOT_A_NUMBER),
    ("weight not a number", asked(weight={"value": D("NaN")}), Stop.NOT_A_NUMBER),
    ("weight without end", asked(weight={"value": D("Infinity")}), Stop.NOT_A_NUMBER),
    ("count not a number", asked(alc={"value": D("NaN")}), Stop.NOT_A_NUMBER),
    ("count without end", asked(alc={"value": D("-Infinity")}), Stop.NOT_A_NUMBER),
    ("count in words", asked(alc={"value": "low"}), Stop.NOT_A_NUMBER),
    # Units and magnitudes
    ("weight in grams by unit", asked(weight={"unit": "g", "value": D(23400)}), Stop.UNIT),
    ("weight in pounds by unit", asked(weight={"unit": "lb", "value": D(52)}), Stop.UNIT),
    ("weight without unit", asked(weight={"unit": ""}), Stop.UNIT),
    ("count in cells by unit", asked(alc={"unit": "cells/µL", "value": D(800)}), Stop.UNIT),
    ("count without unit", asked(alc={"unit": ""}), Stop.UNIT),
    ("weight in grams", asked(weight={"value": D(23400)}), Stop.MAGNITUDE),
    ("weight just above any body", asked(weight={"value": D("250.1")}), Stop.MAGNITUDE),
    ("weight of zero", asked(weight={"value": D(0)}), Stop.MAGNITUDE),
    ("weight below zero", asked(weight={"value": D("-23.4")}), Stop.MAGNITUDE),
    ("count in cells", asked(alc={"value": D(800)}), Stop.MAGNITUDE),
    ("count just above the limit", asked(alc={"value": D("20.001")}), Stop.MAGNITUDE),
    ("count below zero", asked(alc={"value": D("-0.1")}), Stop.MAGNITUDE),
    # Out of the table
    ("too light", asked(weight={"value": D("2.99")}), Stop.OUT_OF_TABLE),
    ("too heavy", asked(weight={"value": D("120.01")}), Stop.OUT_OF_TABLE),
    ("much too light", asked(weight={"value": D("0.5")}), Stop.OUT_OF_TABLE),
    ("pounds for kilograms of an adult", asked(weight={"value": D("160")}), Stop.OUT_OF_TABLE),
    # Qualifiers
    ("count below a limit in two cells", asked(alc={"value": D("0.6"), "qualifier": "<"}), Stop.AMBIGUOUS),
    ("count below two whole bands", asked(alc={"value": D("1.5"), "qualifier": "<"}), Stop.AMBIGUOUS),
    ("count above a limit", asked(alc={"value": D("5"), "qualifier": ">"}), Stop.AMBIGUOUS),
    ("count at most", asked(alc={"value": D("0.4"), "qualifier": "<="}), Stop.AMBIGUOUS),
    ("weight below", asked(weight={"qualifier": "<"}), Stop.AMBIGUOUS),
    ("weight above", asked(weight={"qualifier": ">"}), Stop.AMBIGUOUS),
    # Stale, or too late
    ("count of two days before", asked(alc={"observed_at": at(13, 23, 59)}), Stop.STALE),
    ("count of the week before", asked(alc={"observed_at": at(7, 8)}), Stop.STALE),
    ("count of a year before", asked(alc={"observed_at": at(14, 8).replace(year=2024)}), Stop.STALE),
    ("count of a day too early", asked(alc={"observed_at": date(2025, 3, 13)}), Stop.STALE),
    ("weight of four days before", asked(weight={"observed_at": date(2025, 3, 11)}), Stop.STALE),
    ("weight of a month before", asked(weight={"observed_at": date(2025, 2, 13)}), Stop.STALE),
    ("count 24 h 1 min before", asked(first_dose_at=at(15, 10), alc={"observed_at": at(14, 9, 59)}), Stop.STALE),
    (
        "count after the first dose",
        asked(first_dose_at=at(15, 10), alc={"observed_at": at(15, 11)}),
        Stop.AFTER_FIRST_DOSE,
    ),
    (
        "count at the first dose",
        asked(first_dose_at=at(15, 10), alc={"observed_at": at(15, 10)}),
        Stop.AFTER_FIRST_DOSE,
    ),
    ("count of the day after", asked(alc={"observed_at": at(16, 0)}), Stop.AFTER_FIRST_DOSE),
    ("weight of the day after", asked(weight={"observed_at": date(2025, 3, 16)}), Stop.AFTER_FIRST_DOSE),
    ("only a late count", asked(alc={"value": None, "is_after_first_dose": True}), Stop.AFTER_FIRST_DOSE),
    ("only a late weight", asked(weight={"value": None, "is_after_first_dose": True}), Stop.AFTER_FIRST_DOSE),
    # Graft
    ("unknown graft", asked(graft={"value": "haplo"}), Stop.GRAFT),
    ("graft in capitals", asked(graft={"value": "Bone_Marrow"}), Stop.GRAFT),
    ("graft without text", asked(graft={"value": ""}), Stop.GRAFT),
    (
        "graft is no covariate",
        NO_GRAFT,
        Stop.DEFINITION,
    ),
    ("grafts are not mapped", parameters(graft_tables=None), Stop.DEFINITION),
    ("graft mapped to no cells", parameters(graft_tables={"bone_marrow": "marrow_only"}), Stop.GRAFT),
    # Table
    ("no table", asked(table=None), Stop.NO_TABLE),
    ("table refused", asked(table_refusal=Refusal(Stop.SYNTHETIC, "Synthetic.", "Approve one.")), Stop.SYNTHETIC),
    ("table of ATGAM", asked(table=replace(DEMO, product="atgam")), Stop.PRODUCT),
    ("table of Grafalon", asked(table=replace(DEMO, product="grafalon")), Stop.PRODUCT),
    ("product in capitals", asked(table=replace(DEMO, product="Thymoglobulin")), Stop.PRODUCT),
    ("protocol of another product", asked(spec=replace(SPEC, product="grafalon")), Stop.PRODUCT),
    ("table with a hole", asked(table=replace(DEMO, cells=DEMO.cells[:4] + DEMO.cells[5:])), Stop.OUT_OF_TABLE),
    (
        "table from another day",
        asked(table=LATE),
        Stop.BOUNDS,
    ),
    ("dose above the protocol", asked(spec=replace(SPEC, bounds=DoseBounds(total_high=D("6.9")))), Stop.BOUNDS),
    ("dose below the protocol", asked(spec=replace(SPEC, bounds=DoseBounds(total_low=D("7.1")))), Stop.BOUNDS),
    ("more days than the protocol", asked(spec=replace(SPEC, bounds=DoseBounds(days_high=2))), Stop.BOUNDS),
    ("fewer days than the protocol", asked(spec=replace(SPEC, bounds=DoseBounds(days_low=4))), Stop.BOUNDS),
    # For whom
    ("an adult", asked(birth=PartialDate.from_iso("2007-03-15")), Stop.NOT_APPLICABLE),
    ("perhaps an adult", asked(birth=PartialDate.from_iso("2007")), Stop.NOT_APPLICABLE),
    ("born after the dose", asked(birth=PartialDate.from_iso("2025-06-01")), Stop.NOT_APPLICABLE),
    ("reduced intensity", asked(table=MAC, conditions=intensity("RIC")), Stop.NOT_APPLICABLE),
    ("intensity not known", asked(table=MAC, conditions=intensity(None)), Stop.NOT_APPLICABLE),
    ("intensity never asked", asked(table=MAC), Stop.NOT_APPLICABLE),
    # Definition
    ("no start day", asked(spec=replace(SPEC, start_day=None)), Stop.DEFINITION),
    ("no such method", asked(spec=replace(SPEC, method="by_guess")), Stop.DEFINITION),
    (
        "fixed without a dose",
        asked(spec=replace(SPEC, method="fixed_per_kg", days=(-9,), parameters={})),
        Stop.DEFINITION,
    ),
    (
        "fixed without days",
        asked(spec=replace(SPEC, method="fixed_per_kg", parameters={"total_mg_per_kg": 10})),
        Stop.DEFINITION,
    ),
    ("levels without algorithm", asked(spec=replace(SPEC, method="level_guided")), Stop.NO_ALGORITHM),
]


def test_the_complete_question_has_a_dose() -> None:
    assert compute(WHOLE).total_mg == 164


@pytest.mark.parametrize("question, stop", [pytest.param(q, stop, id=name) for name, q, stop in BAD])
def test_no_dose_from_a_bad_input(question: Question, stop: Stop) -> None:
    answer = compute(question)
    assert stop in [one.code for one in answer.refusals]
    assert answer.days == () and answer.total_mg is None and answer.total_mg_per_kg is None
    for one in answer.refusals:
        assert one.sentence.endswith((".", ")")) and one.way_out.endswith(".")


def test_the_matrix_has_more_than_sixty_inputs_and_every_kind_of_stop_of_a_value() -> None:
    assert len(BAD) > 60
    # tests/dosing/test_tables.py, test_worksheet.py, test_levels.py; a set that does not settle has no small example
    elsewhere = {Stop.TABLE_CHANGED, Stop.ROUNDING, Stop.ALGORITHM_CHANGED, Stop.NO_ESTIMATE}
    assert {stop for _, _, stop in (*BAD, *BAD_LEVELS)} == set(Stop) - elsewhere


def test_all_reasons_are_said_at_once() -> None:
    answer = compute(asked(weight={"value": None}, alc={"value": D(800)}, graft={"value": None}, anchor_date=None))
    assert [one.code for one in answer.refusals] == [Stop.NO_DATE, Stop.MISSING, Stop.MAGNITUDE, Stop.GRAFT]


def test_a_count_of_800_says_what_it_would_be_in_the_right_unit() -> None:
    (refused,) = compute(asked(alc={"value": D(800)})).refusals
    assert "above 20 it is taken for cells/µL (= 0.8 ×10^9/L)" in refused.sentence


@pytest.mark.parametrize(
    "question",
    [
        asked(alc={"observed_at": at(14, 0)}),  # 24 h before the first moment of day -9
        asked(alc={"observed_at": date(2025, 3, 14)}),
        asked(alc={"observed_at": at(15, 9)}),
        asked(first_dose_at=at(15, 10), alc={"observed_at": at(14, 10)}),  # 24 h to the minute
        asked(weight={"observed_at": date(2025, 3, 12)}),
        asked(alc={"value": D(20)}),
        asked(birth=PartialDate.from_iso("2007-03-16")),  # eighteen on the day after
        asked(table=MAC, conditions=intensity("MAC")),
        replace(
            asked(table=MAC, conditions=intensity("RIC")),
            spec=replace(SPEC, parameters={**SPEC.parameters, "intensity_check": "warning"}),
        ),
    ],
)
def test_what_lies_just_inside_has_a_dose(question: Question) -> None:
    assert not compute(question).refusals


def test_applicability_without_an_age_asks_for_none() -> None:
    open_age = Applicability(DEMO.applicability.weight_kg, DEMO.applicability.alc_1e9_per_l)
    assert not compute(asked(table=replace(DEMO, applicability=open_age), birth=None)).refusals
