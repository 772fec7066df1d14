"""The methods of the statistical plan on people made of rows: against R, by hand, and on what they must refuse."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_events.domain.tables import CountedEvent
from analysis.domain.consecutive_threshold import Status
from analysis.domain.dataset import Subject
from analysis.domain.endpoint_outcomes import Evidence, Outcome
from analysis.domain.plan import methods
from analysis.domain.plan.material import Material
from analysis.domain.plan.methods import METHODS, compute, compute_plan
from analysis.domain.plan.responders import IMMORTAL
from analysis.domain.plan.results import Number, Result, as_plain, from_plain
from tests.analysis.plan_world import GOLDEN, analysis, answered, dated, material, subject
from trials.domain.definition import GroupKind, Predictor, PredictorKind
from trials.domain.language import DefinitionErrors, assumptions
from trials.formats.definitions import read_definition

# --- Against R: tests/golden/synth_hct.json (survival 3.8, cmprsk 2.2) ------------------------------------------------

ROWS = list(csv.DictReader((GOLDEN / "synth_hct.csv").open()))
R: dict[str, Any] = json.loads((GOLDEN / "synth_hct.json").read_text())
CONTINUOUS = Predictor(id="age", label="Age", item="DM.AGE", kind=PredictorKind.CONTINUOUS)
FLAGS = [
    Predictor(id=name, label=name, item=f"X.{name.upper()}", kind=PredictorKind.CUT, at_least=Decimal(1))
    for name in ("malig", "cord", "mm")
]


def synthetic(time: str, cause: str) -> list[Subject]:
    return [
        subject(
            int(row["id"]),
            "new" if row["arm"] == "1" else "old",
            values={"DM.AGE": float(row["age"]), **{f"X.{n.upper()}": row[n] for n in ("malig", "cord", "mm")}},
            death=dated(int(row[time]), int(row[cause])),
        )
        for row in ROWS
    ]


def cell(result: Result, row: str, column: str, table: int = 0) -> Number:
    found = result.tables[table]
    line = next(one for one in found.rows if one.label == row)
    return line.cells[found.columns.index(column)]


def test_survival_by_group_is_that_of_r() -> None:
    spec = analysis("survival", by="analysis_set", reference="controls", days=(365, 1095))
    result = compute(material(synthetic("os_time", "os")), spec)
    for label, arm in (("Everybody", "1"), ("Controls", "0")):
        expected = R["km_os"]["curves"][arm]
        for column, place in (("day 365", 1), ("day 1095", 3)):
            number = cell(result, label, column)
            assert number.value == pytest.approx(expected["surv"][place], rel=1e-9)
            assert number.lower == pytest.approx(expected["ci"]["log"]["lower"][place], rel=1e-9)
    assert "log-rank" in cell(result, "Test", "Participants").method
    assert not result.broken_laws


def test_incidence_by_group_is_that_of_r() -> None:
    spec = analysis("cumulative_incidence", by="analysis_set", reference="controls", days=(30, 60, 100))
    result = compute(material(synthetic("ir_time", "ir_cause")), spec)
    for place, day in enumerate((30, 60, 100)):
        number = cell(result, "Controls", f"day {day}")
        expected = R["cif_ir"]["groups"]["0"]["cause1"]
        assert number.value == pytest.approx(expected["est"][place], rel=1e-9)
        assert number.lower == pytest.approx(expected["ci_gray"]["loglog_F"]["lower"][place], rel=1e-9)
    assert len(result.laws) == 6 and not result.broken_laws


@pytest.mark.parametrize(
    "model, time, cause, golden",
    [
        ("fine_gray", "ir_time", "ir_cause", R["crr_ir"]["coef"]),
        ("cox", "os_time", "os", R["cox_os"]["efron"]["coef"]),
    ],
)
def test_the_multivariable_model_is_that_of_r(model: str, time: str, cause: str, golden: list[float]) -> None:
    predictors = [CONTINUOUS, *FLAGS]
    spec = analysis(
        "regression",
        by="analysis_set",
        reference="controls",
        predictors=tuple(one.id for one in predictors),
        enter_below=Decimal("0.999999"),
        parameters={"model": model},
    )
    result = compute(material(synthetic(time, cause), predictors), spec)
    column = next(name for name in result.tables[0].columns if name.startswith("Multivariable"))
    place = result.tables[0].columns.index(column)
    found = [row.cells[place].value for row in result.tables[0].rows if row.cells[place].value is not None]
    assert found == pytest.approx([math.exp(one) for one in golden], rel=1e-6)
    assert all(
        row.cells[place + 2].method.startswith("Grambsch-Therneau")
        for row in result.tables[0].rows
        if row.cells[place].value is not None
    )


def test_the_landmark_counts_whom_r_counts_and_the_naive_one_says_that_it_is_biased() -> None:
    people = [
        subject(
            int(row["id"]),
            response=dated(int(row["ir_time"]), int(row["ir_cause"])),
            death=dated(int(row["os_time"]), int(row["os"])),
        )
        for row in ROWS
    ]
    spec = analysis("responder_effect", endpoints=("response", "death"), parameters={"landmark_day": 100})
    result = compute(material(people), spec)
    assert cell(result, "Landmark at day 100", "Participants").value == R["landmark100"]["n"]
    assert IMMORTAL in result.warnings
    biased, honest = cell(result, "Naive, biased", "Hazard ratio"), cell(result, "Changing with time", "Hazard ratio")
    assert biased.value is not None and honest.value is not None and biased.value < honest.value


def test_matching_is_that_of_matchit() -> None:
    """tests/golden/match_synth.json: MatchIt 4.7.1, ratio 5, caliper 0.02 on the score."""
    golden = json.loads((GOLDEN / "match_synth.json").read_text())["ratio5_cal0.02raw"]
    grades = Predictor(id="grade", label="Grade", item="X.GRADE", reference="1")
    predictors = [
        CONTINUOUS,
        grades,
        Predictor(id="risk", label="Risk", item="X.RISK", kind=PredictorKind.CUT, at_least=Decimal(1)),
    ]
    people = [
        subject(
            int(row["id"]),
            "new" if row["treat"] == "1" else "old",
            values={"DM.AGE": float(row["age"]), "X.GRADE": row["grade"], "X.RISK": row["risk"]},
            response=answered(Status.REACHED if row["resp"] == "1" else Status.NOT_REACHED),
        )
        for row in csv.DictReader((GOLDEN / "synth_psm.csv").open())
    ]
    spec = analysis(
        "propensity_matching",
        by="analysis_set",
        reference="controls",
        endpoints=("response",),
        predictors=("age", "grade", "risk"),
        parameters={"ratio": 5, "caliper": Decimal("0.02"), "caliper_unit": "score"},
    )
    result = compute(material(people, predictors), spec)
    assert [one.value for one in result.tables[0].rows[1].cells] == [
        golden["n_treated_matched"],
        golden["n_control_matched"],
    ]
    balance = [(row.cells[0].value, row.cells[1].value) for row in result.tables[1].rows]
    for (before, after), b, a in zip(balance[:2], golden["smd_before"][:2], golden["smd_after"][:2], strict=True):
        assert (before, after) == pytest.approx((b, a), abs=1e-8)
    assert "on the score itself" in result.method
    assert any("not allocated at random" in one for one in result.warnings)


# --- By hand ----------------------------------------------------------------------------------------------------------


def responders(reached: int, not_reached: int, *, group: str = "new", start: int = 0, **states: int) -> list[Subject]:
    answers = [Status.REACHED] * reached + [Status.NOT_REACHED] * not_reached
    answers += [Status.PENDING] * states.get("pending", 0)
    answers += [Status.INSUFFICIENT_DATA] * states.get("insufficient", 0)
    return [subject(start + i, group, response=answered(one)) for i, one in enumerate(answers)]


@pytest.mark.parametrize(
    "interval, expected",
    [("clopper_pearson", "80.4 % (66.9 to 90.2)"), ("wald", "80.4 % (69.5 to 91.3)")],
)
def test_a_proportion_names_its_interval_and_who_is_not_known(interval: str, expected: str) -> None:
    """41 of 51, PARACHUTE (Lancet Haematol 2022; 9: e111-20)."""
    spec = analysis("proportion", endpoints=("response",), parameters={"interval": interval})
    result = compute(material(responders(41, 10, pending=3)), spec)
    assert [one.text for one in result.tables[0].rows[0].cells] == ["54", "41 of 51 (80.4 %)", expected, "3"]
    assert result.method == f"Share reached, {interval.replace('_', '-').title()} interval"


@pytest.mark.parametrize(
    "insufficient, counted", [({}, "8 of 10 (80.0 %)"), ({"insufficient": "not_reached"}, "8 of 12 (66.7 %)")]
)
def test_missing_is_not_false_unless_the_plan_says_so(insufficient: dict[str, str], counted: str) -> None:
    spec = analysis("proportion", endpoints=("response",), parameters=insufficient)
    result = compute(material(responders(8, 2, pending=1, insufficient=2)), spec)
    assert result.tables[0].rows[0].cells[1].text == counted


def test_two_shares_are_compared_by_the_test_named() -> None:
    """RELAX, response on day 28 with and without gut involvement: 75 of 129, 36 of 43, chi-square p 0.002."""
    people = responders(75, 54) + responders(36, 7, group="old", start=500)
    spec = analysis(
        "compare_proportions",
        endpoints=("response",),
        by="analysis_set",
        parameters={"interval": "wald", "test": "pearson"},
    )
    result = compute(material(people), spec)
    test = cell(result, "Test", "Share")
    assert test.text == "0.0024" and test.method == "Pearson chi-square, no correction"


def test_table_1_shows_the_unknown_and_leaves_it_out_of_the_test() -> None:
    """Sex in PARACHUTE: 29 and 29, 59 and 41; Fisher 0.32, and with unknown ones beside them the same."""
    sex = Predictor(id="sex", label="Sex", item="X.SEX")
    people = [
        subject(1000 * (group == "old") + i, group, values={} if value is None else {"X.SEX": value})
        for group, values in (("new", ["M"] * 29 + ["F"] * 29 + [None]), ("old", ["M"] * 59 + ["F"] * 41))
        for i, value in enumerate(values)
    ]
    result = compute(material(people, [sex]), analysis("baseline_table", by="analysis_set", predictors=("sex",)))
    assert cell(result, "Sex, n (%)", "p").text == "0.32"
    assert cell(result, "Unknown", "Everybody (n = 59)").text == "1"
    assert cell(result, "M", "Everybody (n = 59)").text == "29 (50 %)"


def test_follow_up_is_the_plain_median_with_reverse_kaplan_meier_beside_it() -> None:
    people = [subject(i, death=dated(int(30.4375 * months), cause)) for i, (months, cause) in
              enumerate([(12, 1), (24, 0), (36, 0)])]  # fmt: skip
    row = compute(material(people), analysis("follow_up")).tables[0].rows[0]
    assert row.cells[1].text.startswith("24.0") and "plain median" in row.cells[1].method
    assert row.cells[2].method == "reverse Kaplan-Meier"


def test_adverse_events_count_events_and_participants_apart() -> None:

    people = [subject(i) for i in range(4)]
    events = (CountedEvent(0, "x", "Sepsis", 3), CountedEvent(0, "x", "Sepsis", 5), CountedEvent(9, "x", "Sepsis", 3))
    found = compute(replace(material(people), adverse_events=events), analysis("adverse_events", endpoints=()))
    assert found.tables[0].rows[-1].cells[-1].text == "2 / 1 (25 %)"


# --- Controls from outside --------------------------------------------------------------------------------------------
@pytest.mark.requirement("PLN4")
def test_controls_enter_only_where_the_analysis_names_them() -> None:
    people = responders(5, 5) + responders(1, 9, group="old", start=100)
    alone = compute(material(people), analysis("proportion", endpoints=("response",)))
    assert alone.tables[0].rows[0].cells[0].text == "10" and not alone.warnings


@pytest.mark.requirement("PLN4")
def test_controls_of_another_time_are_said_to_be_so() -> None:

    people = [
        *responders(5, 5),
        *(replace(one, anchor_day=date(2005, 1, 1)) for one in responders(1, 9, group="old", start=100)),
    ]
    spec = analysis("compare_proportions", endpoints=("response",), by="analysis_set")
    result = compute(material(people), spec)
    assert any(one.startswith("Not concurrent: Controls Jan 2005") for one in result.warnings)


def test_a_comparison_of_own_groups_is_marked_as_one() -> None:
    arms = {"new": GroupKind.ARM, "fixed": GroupKind.ARM, "old": GroupKind.EXTERNAL}
    people = responders(5, 5) + responders(4, 6, group="fixed", start=100)
    by_group = compute(
        material(people, groups=arms), analysis("compare_proportions", endpoints=("response",), by="group")
    )
    together = compute(material(people, groups=arms), analysis("proportion", endpoints=("response",)))
    assert (by_group.by_group, together.by_group) == (True, False)


# --- What the data do not allow ---------------------------------------------------------------------------------------

NOBODY: list[Subject] = []
HARD: dict[str, Callable[[], list[Subject]]] = {
    "nobody": lambda: NOBODY,
    "one person": lambda: [subject(1, death=dated(10, 1), response=answered(Status.REACHED))],
    "no outcome": lambda: [subject(i) for i in range(5)],
    "all pending": lambda: [subject(i, death=dated(None, 0), response=answered(Status.PENDING)) for i in range(5)],
    "no event": lambda: [subject(i, death=dated(100 + i, 0)) for i in range(5)],
    "one group": lambda: [subject(i, "old", death=dated(100 + i, 1)) for i in range(5)],
    "separated": lambda: [
        *(subject(i, death=dated(10 + i, 1), response=dated(5, 1)) for i in range(5)),
        *(subject(10 + i, "old", death=dated(100 + i, 0), response=dated(20, 0)) for i in range(5)),
    ],
    "words for numbers": lambda: [subject(i, values={"DM.AGE": "old"}, death=dated(10 + i, 1)) for i in range(5)],
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("people", HARD)
@pytest.mark.parametrize("by", ["", "analysis_set"])
def test_malformed_data_are_a_result_that_says_why(method: str, people: str, by: str) -> None:
    parameters = {"model": "cox", "landmark_day": 100, "stage_set": "all", "price": "DM.AGE", "doses": "DM.AGE"}
    known = set(METHODS[method].choices)
    spec = analysis(
        method,
        by=by,
        endpoints=("response", "death"),
        predictors=("age",),
        days=(100,),
        enter_below=Decimal("0.1"),
        parameters={name: value for name, value in parameters.items() if name in known},
    )
    result = compute(material(HARD[people](), [CONTINUOUS]), spec)
    plain = as_plain(result)  # raises for a number that is none
    assert result.refused or result.tables
    assert from_plain(json.loads(json.dumps(plain))).sentence == result.sentence


def test_few_events_are_shown_and_their_test_is_marked() -> None:
    people = [subject(i, "new" if i % 2 else "old", death=dated(50 + i, int(i in (3, 4, 7)))) for i in range(20)]
    spec = analysis("regression", by="analysis_set", parameters={"model": "cox"})
    result = compute(material(people), spec)
    assert cell(result, "Everybody", "p").text.endswith("(sparse)")


@pytest.mark.parametrize("name, value", [("interval", "wold"), ("insufficient", "maybe")])
def test_an_option_that_there_is_not_is_refused_with_the_choices(name: str, value: str) -> None:
    result = compute(
        material(responders(5, 5)), analysis("proportion", endpoints=("response",), parameters={name: value})
    )
    assert result.refused.startswith(f"{name}: {value} is not known; the choices are ")


# --- Laws -------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.booleans()), min_size=1, max_size=40))
def test_the_laws_hold_on_any_data(rows: list[tuple[int, int, bool]]) -> None:
    people = [subject(i, "old" if old else "new", death=dated(day, cause)) for i, (day, cause, old) in enumerate(rows)]
    for method in ("survival", "cumulative_incidence"):
        result = compute(material(people), analysis(method, by="analysis_set", days=(100,), figures=("curves",)))
        assert not result.broken_laws
        as_plain(result)


def test_the_order_of_the_people_changes_nothing() -> None:
    people = synthetic("ir_time", "ir_cause")
    spec = analysis("cumulative_incidence", by="analysis_set", days=(100,))
    there, back = compute(material(people), spec), compute(material(people[::-1]), spec)
    assert as_plain(there) == as_plain(back)


def test_a_plan_is_computed_in_its_order_and_methods_are_explicit() -> None:
    assert compute_plan(material(responders(1, 1))) == ()
    assert set(methods.known()) == set(METHODS)


# --- Kinds, and what a responder costs ------------------------------------------------------------------------------


def infected(number: int, *kinds: str, group: str = "new") -> Subject:
    had = Outcome(Status.REACHED, "", event_day=1, evidence=tuple(Evidence(1, kind) for kind in kinds))
    return subject(number, group, response=had if kinds else answered(Status.NOT_REACHED))


def of_kinds(subjects: list[Subject]) -> Material:
    """The endpoint ``response`` counts rows by an item with codes."""
    world = material(subjects)
    endpoints = tuple(replace(one, parameters={"by": "DX.GROUP"}) for one in world.protocol.endpoints)
    return replace(world, protocol=replace(world.protocol, endpoints=endpoints))


def test_kinds_are_counted_in_participants_and_one_may_have_several() -> None:
    world = of_kinds(
        [infected(1, "malignancy", "malignancy"), infected(2, "malignancy", "benign"), infected(3), infected(4),
         *(infected(n, "benign", group="old") for n in range(5, 9))]
    )  # fmt: skip
    result = compute(world, analysis("kinds", endpoints=("response",), by="analysis_set", reference="controls"))
    rows = {row.label: [one.text for one in row.cells] for row in result.tables[0].rows}
    assert {label: cells[:2] for label, cells in rows.items()} == {
        "Malignancy": ["2 of 4 (50.0 %)", "0 of 4 (0.0 %)"],
        "Benign disease": ["1 of 4 (25.0 %)", "4 of 4 (100.0 %)"],
        "Any": ["2 of 4 (50.0 %)", "4 of 4 (100.0 %)"],
        "More than one kind": ["1 of 4 (25.0 %)", "0 of 4 (0.0 %)"],
    }
    # 1 of 4 against 4 of 4 by hand: chi-square 8 (1 x 0 - 3 x 4)^2 / (4 x 4 x 5 x 3) = 4.8
    assert cell(result, "Benign disease", "p").value == pytest.approx(math.erfc(math.sqrt(4.8 / 2)))
    assert cell(result, "Any", result.tables[0].columns[0]).listing is not None
    assert result.laws and not result.broken_laws and result.warnings


def test_what_has_no_kinds_is_said() -> None:
    spec = analysis("kinds", endpoints=("response",))
    assert "names no `by`" in compute(material([infected(1, "benign")]), spec).refused
    assert "nobody has any" in compute(of_kinds([infected(1)]), spec).refused


def responder(number: int, responded: bool, price: str | None, doses: str | None) -> Subject:
    values = {"VS.WEIGHT": price, "VS.HEIGHT": doses}
    status = Status.REACHED if responded else Status.NOT_REACHED
    return subject(number, values={k: v for k, v in values.items() if v is not None}, response=answered(status))


COST = {"price": "VS.WEIGHT", "doses": "VS.HEIGHT"}


def test_a_responder_costs_the_median_course_over_the_share_that_responded() -> None:
    """By hand: 10 x median(2, 4) = 30 a course, 2 of 3 responded: 45."""
    people = [responder(1, True, "10", "2"), responder(2, True, "10", "4"), responder(3, False, "10", "7")]
    result = compute(material(people), analysis("cost_per_responder", endpoints=("response",), parameters=COST))
    texts = [one.text for one in result.tables[0].rows[0].cells]
    assert texts == ["3", "2 of 3 (66.7 %)", "10", "3", "30", "45"] and not result.broken_laws


@pytest.mark.parametrize(
    "people, sentence",
    [
        ([responder(1, False, "10", "2")], "nobody responded"),
        ([responder(1, True, None, "2")], "no price is recorded"),
        ([responder(1, True, "10", None)], "no dose is recorded"),
        ([responder(1, True, "10", "2"), responder(2, True, "11", "2")], "2 prices are recorded"),
    ],
)
def test_a_cost_that_cannot_be_told_is_refused(people: list[Subject], sentence: str) -> None:
    spec = analysis("cost_per_responder", endpoints=("response",), parameters=COST)
    assert sentence in compute(material(people), spec).refused


# --- The definition ---------------------------------------------------------------------------------------------------

PARACHUTE = GOLDEN.parent.parent / "trials" / "definitions" / "parachute" / "v1.yaml"


@pytest.mark.requirement("PLN1")
@pytest.mark.parametrize(
    "old, new, rule",
    [
        ("endpoints: [cd4_reconstitution],\n     analysis_sets: [evaluable], interval",
         "endpoints: [cd4],\n     analysis_sets: [evaluable], interval", "there is no endpoint `cd4`"),
        ("analysis_sets: [evaluable], interval", "analysis_sets: [evaluabel], interval", "no analysis set `evaluabel`"),
        ("method: follow_up", "method: followup", "there is no analysis method `followup`"),
        ("by: TX.SOURCE", "by: TX.SAUCE", "no form has the item `TX.SAUCE`"),
        ("landmark_day: 100, assumed", "landmark: 100, assumed", "has no parameter `landmark`"),
        ("reference: Malignancy", "reference: Cancer", "there is no category `Cancer`"),
        ("enter_below: 0.1, figures: [forest], source: Statistical analysis}\n  - {id: A6_survival",
         "enter_below: 5, figures: [forest], source: Statistical analysis}\n  - {id: A6_survival",
         "not between 0 and 1"),
        ("figures: [curves],\n     source: Results", "figures: [pie],\n     source: Results",
         "there is no figure `pie`"),
        ("item: SE.EBV_DONOR, source", "item: SE.EBV, source", "no form has the item `SE.EBV`"),
    ],
)  # fmt: skip
def test_what_an_analysis_names_and_is_not_there_is_refused_at_its_line(old: str, new: str, rule: str) -> None:
    text = PARACHUTE.read_text()
    assert text.count(old) == 1
    with pytest.raises(DefinitionErrors) as refused:
        read_definition(text.replace(old, new), file="v1.yaml")
    line = text[: text.index(old)].count("\n") + 1
    assert any(rule in str(one) and abs(one.line - line) <= old.count("\n") + 3 for one in refused.value.errors), (
        refused.value
    )


def test_what_is_assumed_of_an_analysis_is_listed() -> None:
    found = [one.path for one in assumptions(read_definition(PARACHUTE.read_text(), file="v1.yaml"))]
    assert "analyses[A3].variance" in found and "analyses[A1_stages]" in found
