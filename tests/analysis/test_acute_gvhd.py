"""Acute GVHD: the whole truth tables of the grades, the cut-offs of the stages, and the first date at a grade."""

from __future__ import annotations

import csv
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.domain.acute_gvhd import (
    GRADE_NAMES,
    HIGHEST,
    SYSTEMS,
    Assessment,
    DayOfStool,
    LowerGut,
    OrganStages,
    Rule,
    adjudicate,
    grade,
    liver_stage,
    lower_gi_stage,
    magic_grade,
    maximum_grade,
    skin_stage,
    three_day_mean_ml,
    upper_gi_stage,
)
from analysis.domain.bounds import Bounds
from analysis.domain.consecutive_threshold import CompetingEvent, Status

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
MAGIC = SYSTEMS["magic"]


def rows(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


MAGIC_TABLE = rows("agvhd_truth_table.csv")
GLUCKSBERG_TABLE = rows("agvhd_glucksberg_truth_table.csv")


def test_the_tables_are_whole() -> None:
    assert len(MAGIC_TABLE) == 250
    assert len({tuple(row.values())[:4] for row in MAGIC_TABLE}) == 250
    assert len(GLUCKSBERG_TABLE) == 125
    assert len({tuple(row.values())[:3] for row in GLUCKSBERG_TABLE}) == 125


@pytest.mark.parametrize("row", MAGIC_TABLE, ids=lambda row: "-".join(list(row.values())[:4]))
def test_every_row_of_magic(row: dict[str, str]) -> None:
    skin, liver, upper, lower = (int(row[f"{organ}_stage"]) for organ in ("skin", "liver", "upper_gi", "lower_gi"))
    found = grade(MAGIC, OrganStages.of(skin, liver, upper, lower))
    assert (found.name, found.is_incomplete) == (row["magic_grade"], False)


def test_magic_counts() -> None:
    names = [GRADE_NAMES[magic_grade(*stages)] for stages in product(range(5), range(5), range(2), range(5))]
    assert {name: names.count(name) for name in GRADE_NAMES} == {"0": 1, "I": 2, "II": 29, "III": 96, "IV": 122}


@pytest.mark.parametrize("row", GLUCKSBERG_TABLE, ids=lambda row: "-".join(list(row.values())[:3]))
def test_every_row_of_modified_glucksberg_and_its_variant(row: dict[str, str]) -> None:
    stages = OrganStages.of(int(row["skin_stage"]), int(row["liver_stage"]), 0, int(row["gi_stage"]))
    expected = {
        "glucksberg_1994": row["consensus_1994_grade_not_confirmed"],
        "glucksberg_1994_gi4_iv": row["variant_gi4_is_iv_grade"],
        "magic": row["magic_grade_upper_gi_0_lower_gi_as_gi"],
    }
    assert {id: grade(system, stages).name for id, system in SYSTEMS.items()} == expected


def test_only_confirmed_systems_are_called_verified() -> None:
    assert {id: system.verified for id, system in SYSTEMS.items()} == {
        "magic": True,
        "glucksberg_1994": False,
        "glucksberg_1994_gi4_iv": False,
    }


def test_glucksberg_counts_persistent_nausea_with_histology_only() -> None:
    nausea = OrganStages.of(0, 0, 1, 0)
    system = SYSTEMS["glucksberg_1994"]
    assert grade(system, nausea, histology=True).name == "II"
    assert grade(system, nausea, histology=False).name == "0"
    open_grade = grade(system, nausea)
    assert (open_grade.limits, open_grade.missing) == (Bounds(0, 2), ("histology of the gut",))


@pytest.mark.parametrize(
    "stages, limits, missing",
    [
        ((2, None, 0, 0), Bounds(1, 4), ("liver",)),
        ((None, None, None, None), Bounds(0, 4), ("skin", "liver", "upper_gi", "lower_gi")),
        ((4, None, 0, 0), Bounds(4, 4), ("liver",)),  # nothing exceeds IV
        ((0, 0, None, 0), Bounds(0, 2), ("upper_gi",)),
        ((0, 2, None, 0), Bounds(3, 3), ("upper_gi",)),
    ],
)
def test_a_missing_organ_gives_a_lower_limit_and_never_0(
    stages: tuple[int | None, ...], limits: Bounds, missing: tuple[str, ...]
) -> None:
    found = grade(MAGIC, OrganStages.of(*stages))
    assert (found.limits, found.missing, found.is_incomplete) == (limits, missing, True)
    assert limits.is_known or "incomplete" in found.name


@pytest.mark.parametrize(
    "bsa, bullae, desquamation, stage",
    [
        ("0", False, False, Bounds.exactly(0)),
        ("0.5", False, False, Bounds.exactly(1)),
        ("24.9", None, None, Bounds.exactly(1)),
        ("25", False, False, Bounds.exactly(2)),
        ("50", True, True, Bounds.exactly(2)),  # no erythroderma: bullae alone are not stage 4
        ("50.1", False, False, Bounds.exactly(3)),
        ("90", True, False, Bounds.exactly(3)),
        ("90", True, True, Bounds.exactly(4)),
        ("90", True, None, Bounds(3, 4)),
        ("90", None, False, Bounds.exactly(3)),
        (None, None, None, Bounds(0, 4)),
    ],
)
def test_skin(bsa: str | None, bullae: bool | None, desquamation: bool | None, stage: Bounds) -> None:
    percent = None if bsa is None else Decimal(bsa)
    assert skin_stage(percent, bullae=bullae, desquamation_over_5_percent=desquamation) == stage


@pytest.mark.parametrize(
    "mg_per_dl, stage",
    [("1.99", 0), ("2", 1), ("3", 1), ("3.01", 2), ("3.1", 2), ("6", 2), ("6.05", 3), ("15", 3), ("15.01", 4)],
)
def test_liver(mg_per_dl: str, stage: int) -> None:
    assert liver_stage(Decimal(mg_per_dl)) == Bounds.exactly(stage)
    assert liver_stage(Decimal(mg_per_dl) * Decimal("17.1"), unit="umol/L") == Bounds.exactly(stage)


@pytest.mark.parametrize(
    "volume, episodes, weight, stage",
    [
        ("499", None, "70", 0),
        ("500", None, "70", 1),
        ("999.5", None, "70", 1),
        ("1000", None, "70", 2),
        ("1500", None, "70", 2),
        ("1501", None, "70", 3),
        (None, 2, "70", 0),
        (None, 3, "70", 1),
        (None, 4, "70", 1),
        (None, 5, "70", 2),
        (None, 7, "70", 2),
        (None, 8, "70", 3),
        ("199", None, "20", 0),
        ("200", None, "20", 1),
        ("399", None, "20", 1),
        ("400", None, "20", 2),
        ("600", None, "20", 2),
        ("601", None, "20", 3),
        (None, 3, "20", 0),
        (None, 4, "20", 1),
        (None, 6, "20", 1),
        (None, 7, "20", 2),
        (None, 10, "20", 2),
        (None, 11, "20", 3),
        ("499", None, "50", 0),  # at 50 kg still the child's values: 9.98 mL/kg
        ("500", None, "50", 1),
        ("600", 8, "70", 1),  # volume is preferred when both were measured
    ],
)
def test_lower_gut(volume: str | None, episodes: int | None, weight: str, stage: int) -> None:
    gut = LowerGut(None if volume is None else Decimal(volume), episodes, severe_pain=False, grossly_bloody=False)
    assert lower_gi_stage(gut, weight_kg=Decimal(weight)) == Bounds.exactly(stage)


def test_lower_gut_by_episodes_pain_blood_and_what_is_not_known() -> None:
    both = LowerGut(Decimal(600), 8, severe_pain=False, grossly_bloody=False)
    assert lower_gi_stage(both, weight_kg=Decimal(70), gi_basis="episodes") == Bounds.exactly(3)
    assert lower_gi_stage(LowerGut(Decimal(100), severe_pain=True), weight_kg=None) == Bounds.exactly(4)
    assert lower_gi_stage(LowerGut(grossly_bloody=True), weight_kg=None) == Bounds.exactly(4)
    assert lower_gi_stage(LowerGut(Decimal(600), severe_pain=False), weight_kg=Decimal(70)) == Bounds(1, 4)
    no_stage_4 = {"severe_pain": False, "grossly_bloody": False}
    assert lower_gi_stage(LowerGut(**no_stage_4), weight_kg=Decimal(70)) == Bounds(0, 3)
    assert lower_gi_stage(LowerGut(episodes_per_day=7, **no_stage_4), weight_kg=None) == Bounds.exactly(2)
    assert lower_gi_stage(LowerGut(episodes_per_day=3, **no_stage_4), weight_kg=None) == Bounds(0, 1)


def test_upper_gut_and_the_mean_of_three_days() -> None:
    assert [upper_gi_stage(answer) for answer in (True, False, None)] == [Bounds(1, 1), Bounds(0, 0), Bounds(0, 1)]
    days = [DayOfStool(Decimal(900), False), DayOfStool(Decimal(900), False), DayOfStool(Decimal(1200), True)]
    assert three_day_mean_ml(days) == 800
    assert three_day_mean_ml(days[:2]) is None
    assert three_day_mean_ml([*days[:2], DayOfStool(Decimal(900), None)]) is None


def test_grades_of_two_systems_are_never_compared() -> None:
    one, other = (grade(SYSTEMS[id], OrganStages.of(2, 0, 0, 4)) for id in ("magic", "glucksberg_1994"))
    assert (one.name, other.name) == ("IV", "III")
    with pytest.raises(ValueError, match="never compared"):
        maximum_grade([one, other])
    assert maximum_grade([one, grade(MAGIC, OrganStages.of(1, 0, 0, 0))]) == Bounds(4, 4)


# The first date at a grade --------------------------------------------------------------------------------------------

FIRST, SECOND, THIRD = OrganStages.of(2, 0, 0, 0), OrganStages.of(3, 0, 0, 0), OrganStages.of(0, 2, 0, 0)
NONE, OPEN = OrganStages.of(0, 0, 0, 0), OrganStages.of(2, None, 0, 0)
RULE = Rule(at_least=2, system="magic")


def on(*days: tuple[int, OrganStages]) -> list[Assessment]:
    return [Assessment.on(day, stages, row=day) for day, stages in days]


def event(kind: str, earliest: int, latest: int | None = None) -> CompetingEvent:
    return CompetingEvent(kind, earliest, earliest if latest is None else latest)


@pytest.mark.parametrize(
    "rule, assessments, competing, as_of, status, day",
    [
        ({}, on((14, FIRST), (21, SECOND), (28, THIRD)), [], 200, "reached", 21),
        ({"at_least": 1}, on((14, FIRST), (21, SECOND)), [], 200, "reached", 14),
        ({"at_least": 4}, on((14, THIRD), (98, NONE)), [], 200, "not_reached", None),
        ({"at_least": 3}, on((14, FIRST), (21, SECOND), (28, THIRD)), [], 200, "reached", 28),
        ({}, on((14, FIRST), (50, NONE), (98, NONE)), [], 200, "not_reached", None),
        ({}, on((14, FIRST), (50, NONE)), [], 200, "insufficient_data", None),  # not followed to day 100
        ({}, on((14, FIRST), (50, NONE)), [], 60, "pending", None),
        ({}, on((100, SECOND)), [], 200, "reached", 100),
        ({}, on((98, FIRST), (101, SECOND)), [], 200, "not_reached", None),
        ({"horizon_day": None}, on((101, SECOND)), [], 200, "reached", 101),
        ({}, on((14, FIRST)), [event("death", 30)], 200, "competing", None),
        ({}, on((14, SECOND)), [event("death", 30)], 200, "reached", 14),
        ({}, on((30, SECOND)), [event("relapse", 30)], 200, "reached", 30),
        ({"tie": "competing"}, on((30, SECOND)), [event("relapse", 30)], 200, "competing", None),
        ({}, on((-5, SECOND), (98, NONE)), [], 200, "not_reached", None),
        ({}, on((14, OPEN), (98, NONE)), [], 200, "insufficient_data", None),
        ({}, on((14, OPEN), (21, SECOND)), [], 200, "insufficient_data", None),
        ({}, on((14, SECOND), (21, OPEN)), [], 200, "reached", 14),
        ({}, on((21, SECOND)), [event("death", 30, 59)], 200, "reached", 21),
        ({}, on((21, SECOND)), [event("relapse", 15, 30)], 200, "insufficient_data", None),
        ({}, on((28, SECOND)), [event("relapse", 1, 20)], 200, "insufficient_data", None),  # its day is not known
        ({}, [], [], None, "pending", None),
    ],
)
def test_the_first_date_at_a_grade(rule, assessments, competing, as_of, status, day) -> None:  # type: ignore[no-untyped-def]
    given_rule = Rule(**{"at_least": 2, "system": "magic", **rule})
    outcome = adjudicate(given_rule, assessments, competing, as_of_day=as_of)
    assert (outcome.status, outcome.event_day) == (status, day), outcome.sentence


def test_what_is_certain_although_its_day_is_not() -> None:
    outcome = adjudicate(RULE, on((14, OPEN), (21, SECOND)), as_of_day=200)
    assert (outcome.earliest_day, outcome.latest_day) == (14, 21)
    assert "not known: liver" in outcome.sentence
    beaten = adjudicate(RULE, on((28, SECOND)), [event("relapse", 1, 20)], as_of_day=200)
    assert (beaten.earliest_day, beaten.latest_day) == (1, 20)
    assert "relapse came first" in beaten.sentence


def test_a_partial_date_of_an_assessment() -> None:
    march = Assessment(59, 89, SECOND)
    assert adjudicate(RULE, [march], as_of_day=200).status is Status.INSUFFICIENT_DATA
    assert adjudicate(RULE, [*on((50, SECOND)), march], as_of_day=200).event_day == 50


def test_the_evidence_and_an_earlier_grade_are_told() -> None:
    outcome = adjudicate(RULE, on((-3, SECOND), (21, SECOND)), as_of_day=200)
    assert [(each.day, each.row, each.says) for each in outcome.evidence] == [(21, 21, "grade II")]
    assert "before the day that is counted from" in outcome.flags[0]
    assert outcome.verified
    unconfirmed = Rule(at_least=2, system="glucksberg_1994")
    assert not adjudicate(unconfirmed, on((21, SECOND)), as_of_day=200).verified


@pytest.mark.parametrize(
    "parameters, complaint",
    [
        ({"system": "magic"}, "at_least is missing"),
        ({"at_least": 2}, "system is missing"),
        ({"at_least": 5, "system": "magic"}, "at_least"),
        ({"at_least": "II", "system": "magic"}, "at_least is 'II'; it must be a whole number"),
        ({"at_least": 2, "system": "keystone"}, "system"),
        ({"at_least": 2, "system": "magic", "event": "chronic_gvhd"}, "event"),
        ({"at_least": 2, "system": "magic", "tie": "draw"}, "tie"),
        ({"at_least": 2, "system": "magic", "horizon_day": 0}, "horizon_day"),
        ({"at_least": 2, "system": "magic", "of": 1}, "of is no parameter of first_grade"),
    ],
)
def test_parameters_that_do_not_fit_are_named(parameters: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rule.from_parameters(parameters)


def test_the_parameters_of_the_reference_trials_are_read() -> None:
    given_parameters = {"event": "acute_gvhd", "at_least": 2, "system": "glucksberg_1994", "horizon_day": 100}
    assert Rule.from_parameters(given_parameters) == Rule(at_least=2, system="glucksberg_1994", horizon_day=100)


def test_a_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="upper_gi is 2; it may be 0 to 1"):
        OrganStages.of(0, 0, 2, 0)


# Laws -----------------------------------------------------------------------------------------------------------------

known_stages = st.tuples(*(st.integers(0, highest) for highest in HIGHEST.values()))
perhaps_stages = st.tuples(*(st.none() | st.integers(0, highest) for highest in HIGHEST.values()))


@given(known_stages, st.sampled_from(sorted(SYSTEMS)), st.sampled_from([True, False, None]))
def test_raising_a_stage_never_lowers_a_grade(stages: tuple[int, ...], system: str, histology: bool | None) -> None:
    before = grade(SYSTEMS[system], OrganStages.of(*stages), histology=histology).limits
    for at, highest in enumerate(HIGHEST.values()):
        if stages[at] < highest:
            raised = OrganStages.of(*(stage + (i == at) for i, stage in enumerate(stages)))
            after = grade(SYSTEMS[system], raised, histology=histology).limits
            assert after.low >= before.low and after.high >= before.high


@settings(max_examples=60, deadline=None)
@given(perhaps_stages, st.sampled_from(sorted(SYSTEMS)))
def test_the_limits_are_those_of_every_completion(stages: tuple[int | None, ...], system: str) -> None:
    choices = [
        range(highest + 1) if stage is None else [stage]
        for stage, highest in zip(stages, HIGHEST.values(), strict=True)
    ]
    grades = [grade(SYSTEMS[system], OrganStages.of(*known), histology=True).limits.low for known in product(*choices)]
    found = grade(SYSTEMS[system], OrganStages.of(*stages), histology=True).limits
    assert (found.low, found.high) == (min(grades), max(grades))


courses = st.lists(st.tuples(st.integers(0, 120), st.sampled_from([NONE, FIRST, SECOND, THIRD])), max_size=8)


@given(courses, st.none() | st.integers(1, 120))
def test_it_agrees_with_the_obvious_implementation(course: list[tuple[int, OrganStages]], death: int | None) -> None:
    day = min((day for day, stages in course if stages in (SECOND, THIRD) and day <= 100), default=None)
    outcome = adjudicate(RULE, on(*course), [] if death is None else [event("death", death)], as_of_day=300)
    if day is not None and (death is None or day <= death):
        assert (outcome.status, outcome.event_day) == (Status.REACHED, day)
    elif death is not None and death <= 100:
        assert (outcome.status, outcome.competing_day) == (Status.COMPETING, death)
    else:
        assert outcome.status in (Status.NOT_REACHED, Status.INSUFFICIENT_DATA)


@given(courses, st.randoms())
def test_the_order_of_rows_is_irrelevant(course: list[tuple[int, OrganStages]], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(course)
    random.shuffle(shuffled)
    assert (
        adjudicate(RULE, on(*course), as_of_day=200).decision == adjudicate(RULE, on(*shuffled), as_of_day=200).decision
    )
