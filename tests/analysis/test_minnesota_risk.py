"""The refined Minnesota risk: the whole truth table, what a missing stage leaves open, and its point in time."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.domain.acute_gvhd import HIGHEST, Assessment, OrganStages
from analysis.domain.minnesota_risk import Risk, Rule, adjudicate, risk, risk_of

TABLE = Path(__file__).resolve().parent.parent / "golden" / "agvhd_truth_table.csv"
with TABLE.open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(list(row.values())[:4]))
def test_every_row(row: dict[str, str]) -> None:
    stages = OrganStages.of(*(int(row[f"{organ}_stage"]) for organ in HIGHEST))
    found = risk(stages)
    assert found.risk == row["minnesota_2015_risk_not_confirmed"]
    assert (found.missing, found.verified) == ((), False)


def test_counts() -> None:
    found = [risk_of(*stages) for stages in product(range(5), range(5), range(2), range(5))]
    assert {each: found.count(each) for each in Risk} == {Risk.NONE: 1, Risk.STANDARD: 29, Risk.HIGH: 220}


@pytest.mark.parametrize(
    "stages, possible",
    [
        ((4, None, None, None), {"high"}),
        ((2, None, 0, 0), {"standard"}),  # any liver stage
        ((0, 1, 0, 0), {"high"}),
        ((None, 1, 0, 0), {"standard", "high"}),  # a higher stage of the skin lowers the risk
        ((0, 0, None, 0), {"none", "standard"}),
    ],
)
def test_a_missing_stage_leaves_open_what_it_may_be(stages: tuple[int | None, ...], possible: set[str]) -> None:
    found = risk(OrganStages.of(*stages))
    assert {each.value for each in found.possible} == possible
    assert (found.risk is None) == (len(possible) > 1)


STANDARD, HIGH = OrganStages.of(2, 0, 0, 0), OrganStages.of(0, 0, 0, 3)


@pytest.mark.parametrize(
    "assessments, status, classification",
    [
        ([Assessment.on(-1, STANDARD)], "reached", "standard"),
        ([Assessment.on(-5, STANDARD), Assessment.on(1, HIGH)], "reached", "high"),
        ([Assessment.on(-5, STANDARD), Assessment.on(2, HIGH)], "reached", "standard"),
        ([Assessment.on(-5, STANDARD), Assessment.on(-5, HIGH)], "reached", "high"),  # the highest stages of a day
        ([Assessment.on(-9, STANDARD)], "insufficient_data", ""),
        ([Assessment(-20, 10, STANDARD)], "insufficient_data", ""),
        ([Assessment.on(-5, STANDARD), Assessment(-30, 0, HIGH)], "insufficient_data", ""),
        ([Assessment.on(-5, HIGH), Assessment(-30, 0, HIGH)], "reached", "high"),
        ([Assessment.on(-5, STANDARD), Assessment(-30, -6, HIGH)], "reached", "standard"),
        ([Assessment.on(1, OrganStages.of(None, 1, 0, 0))], "insufficient_data", ""),
    ],
)
def test_the_last_assessment_up_to_the_point(assessments: list[Assessment], status: str, classification: str) -> None:
    outcome = adjudicate(Rule(), assessments, at_day=1)
    assert (outcome.status, outcome.classification, outcome.verified) == (status, classification, False)


def test_the_point_in_time_is_part_of_the_answer() -> None:
    rule = Rule.from_parameters({"time_point": "second_line_start"})
    assert "second line start" in adjudicate(rule, [Assessment.on(0, HIGH)], at_day=1).sentence
    assert adjudicate(rule, [], at_day=None).status == "pending"


@pytest.mark.parametrize(
    "parameters, complaint", [({"time_point": "day_28"}, "time_point"), ({"within_days": -1}, "within_days")]
)
def test_parameters_that_do_not_fit_are_named(parameters: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rule.from_parameters(parameters)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*(st.none() | st.integers(0, highest) for highest in HIGHEST.values())))
def test_the_possible_risks_are_those_of_every_completion(stages: tuple[int | None, ...]) -> None:
    choices = [
        range(highest + 1) if stage is None else [stage]
        for stage, highest in zip(stages, HIGHEST.values(), strict=True)
    ]
    assert risk(OrganStages.of(*stages)).possible == {risk_of(*known) for known in product(*choices)}
