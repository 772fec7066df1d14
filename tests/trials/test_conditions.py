"""Conditions and derived items: three answers, and the sentence that explains each."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.domain.answers import Answer, conjunction, disjunction, negation
from trials.domain.conditions import (
    All,
    Any,
    Condition,
    Not,
    Observed,
    Offset,
    Operator,
    Reference,
    Test,
    evaluate,
    items_of,
)
from trials.domain.definition import Derived, DerivedFunction
from trials.domain.derived import derive
from trials.domain.partial_dates import PartialDate

YES, NO, UNKNOWN = Answer.YES, Answer.NO, Answer.UNKNOWN
answers = st.sampled_from(Answer)


@pytest.mark.requirement("ELI1")
@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (YES, YES, YES, YES),
        (YES, NO, NO, YES),
        (YES, UNKNOWN, UNKNOWN, YES),
        (NO, NO, NO, NO),
        (NO, UNKNOWN, NO, UNKNOWN),
        (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_three_valued_tables(left: Answer, right: Answer, both: Answer, either: Answer) -> None:
    """Kleene SC (1952) Introduction to Metamathematics, section 64: the strong tables."""
    for pair in ([left, right], [right, left]):
        assert (conjunction(pair), disjunction(pair)) == (both, either)


@given(answers, answers, answers)
def test_laws_of_three_answers(a: Answer, b: Answer, c: Answer) -> None:
    assert negation(conjunction([a, b])) == disjunction([negation(a), negation(b)])
    assert negation(disjunction([a, b])) == conjunction([negation(a), negation(b)])
    assert negation(negation(a)) == a
    assert conjunction([a, conjunction([b, c])]) == conjunction([conjunction([a, b]), c])
    assert conjunction([a, disjunction([b, c])]) == disjunction([conjunction([a, b]), conjunction([a, c])])


leaves = st.builds(
    Test,
    st.sampled_from(["A.X", "A.Y", "A.Z"]),
    st.sampled_from([Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.EQ, Operator.NE]),
    st.integers(-2, 2),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Any, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
worlds = st.dictionaries(st.sampled_from(["A.X", "A.Y", "A.Z"]), st.builds(Observed, st.integers(-2, 2)))


@given(st.lists(trees, min_size=1, max_size=3), worlds)
def test_de_morgan_holds_for_conditions(parts: list[Condition], values: dict[str, Observed]) -> None:
    neither = Not(Any(tuple(parts)))
    each_not = All(tuple(Not(part) for part in parts))
    assert evaluate(neither, values).answer == evaluate(each_not, values).answer


@pytest.mark.requirement("ELI1")
@given(trees, worlds, worlds)
def test_learning_more_never_overturns_an_answer(
    condition: Condition, known: dict[str, Observed], learnt: dict[str, Observed]
) -> None:
    before = evaluate(condition, known).answer
    if before is not UNKNOWN:
        assert evaluate(condition, {**learnt, **known}).answer is before


@pytest.mark.parametrize(
    ("test", "seen", "answer", "sentence"),
    [
        (Test("DM.AGE", Operator.LT, 18), Observed(17), YES, "DM.AGE is 17, below 18."),
        (Test("DM.AGE", Operator.LT, 18), Observed(18), NO, "DM.AGE is 18, not below 18."),
        (Test("DM.AGE", Operator.LT, 18), Observed(None), UNKNOWN, "DM.AGE is not known."),
        (Test("EC.LVEF", Operator.LE, 30), Observed(Decimal("30.0"), unit="%"), YES, "EC.LVEF is 30 %, at most 30."),
        (Test("A.B", Operator.GE, Decimal("0.1")), Observed(Decimal("0.10")), YES, "A.B is 0.1, at least 0.1."),
        (Test("DX.R", Operator.IN, ("CR1", "CR2")), Observed("CR3+"), NO, "DX.R is CR3+, none of CR1, CR2."),
        (Test("DX.R", Operator.NOT_IN, ("CR1", "CR2")), Observed("CR1"), NO, "DX.R is CR1, one of CR1, CR2."),
        (Test("QS.ECOG", Operator.IN, (0, 1, 2)), Observed(Decimal(2)), YES, "QS.ECOG is 2, one of 0, 1, 2."),
        (Test("RP.P", Operator.EQ, "Y"), Observed("N"), NO, "RP.P is N, not Y."),
        (Test("RP.P", Operator.PRESENT, True), Observed(None), NO, "RP.P is not recorded."),
        (Test("RP.P", Operator.PRESENT, False), Observed(None), YES, "RP.P is not recorded."),
        (Test("LB.CD4", Operator.LT, Decimal("0.05")), Observed(Decimal("0.01"), qualifier="<"), YES, "<0.01, below"),
        (Test("LB.CD4", Operator.GE, Decimal("0.05")), Observed(Decimal("0.01"), qualifier="<"), NO, "below 0.05"),
        (Test("LB.CD4", Operator.GE, Decimal("0.05")), Observed(Decimal("0.1"), qualifier="<"), UNKNOWN, "not known"),
        (Test("LB.CD4", Operator.LT, Decimal("0.05")), Observed(Decimal("0.05"), qualifier="<"), YES, "below 0.05"),
        (Test("A.B", Operator.GT, 5), Observed(Decimal(5), qualifier=">"), YES, "above 5"),
        (Test("A.B", Operator.LT, 5), Observed("many"), UNKNOWN, "whether that is below 5 is not known"),
        (Test("EX.D", Operator.GE, "2020-01-01"), Observed(date(2020, 1, 1)), YES, "on or after 2020-01-01"),
        (Test("EX.D", Operator.LT, "2020-01-01"), Observed(PartialDate(2019)), YES, "before 2020-01-01"),
        (Test("EX.D", Operator.LT, "2020-06-01"), Observed(PartialDate(2020)), UNKNOWN, "not known"),
    ],
)
def test_leaf(test: Test, seen: Observed, answer: Answer, sentence: str) -> None:
    verdict = evaluate(test, {test.item: seen})
    assert verdict.answer is answer
    assert sentence in verdict.sentence
    assert verdict.leaf == test


@pytest.mark.parametrize(
    ("stop", "answer"),
    [
        (date(2016, 3, 15), NO),
        (date(2016, 3, 16), YES),
        (PartialDate(2016, 4), YES),
        (PartialDate(2016, 3), UNKNOWN),
        (PartialDate(2016, 2), NO),
        (PartialDate(2016), UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_serotherapy_within_three_calendar_months(stop: date | PartialDate | None, answer: Answer) -> None:
    """PARACHUTE, E1: the last day of serotherapy after the planned day 0 less three calendar months."""
    rule = Test("CM.STOP", Operator.GT, Reference("TX.PLANNED_DATE", Offset(months=-3)))
    values = {"CM.STOP": Observed(stop), "TX.PLANNED_DATE": Observed(date(2016, 6, 15))}
    assert evaluate(rule, values).answer is answer


def test_multiple_of_another_item_shows_its_arithmetic() -> None:
    rule = Test("LB.ALT", Operator.LE, Decimal("2.5"), of="LB.ALT_ULN")
    values = {"LB.ALT": Observed(Decimal(101), unit="U/L"), "LB.ALT_ULN": Observed(Decimal(40))}
    verdict = evaluate(rule, values, labels={"LB.ALT": "ALT", "LB.ALT_ULN": "its upper limit"})
    assert verdict.answer is NO
    assert verdict.sentence == "ALT is 101 U/L, above 2.5 times its upper limit (100)."
    assert evaluate(rule, {"LB.ALT": Observed(Decimal(101))}).answer is UNKNOWN
    assert items_of(rule) == ("LB.ALT", "LB.ALT_ULN")


def test_refusal_returns_the_failing_leaf() -> None:
    low, high = Test("DM.AGE", Operator.GE, 14), Test("DM.AGE", Operator.LE, 65)
    seen = Observed(66, source="DM, screening", observed_on=date(2026, 1, 5))
    verdict = evaluate(All((low, high)), {"DM.AGE": seen})
    assert (verdict.answer, verdict.leaf, verdict.source, verdict.value) == (NO, high, "DM, screening", seen)
    assert [leaf.answer for leaf in verdict.leaves] == [YES, NO]


def test_times_of_one_day_are_ordered_but_a_day_is_not_ordered_against_its_hours() -> None:
    stop, start = datetime.fromisoformat("2016-03-01T08:00"), datetime.fromisoformat("2016-03-01T12:00")
    rule = Test("EX.STOP", Operator.LT, Reference("EX.START"))
    assert evaluate(rule, {"EX.STOP": Observed(stop), "EX.START": Observed(start)}).answer is YES
    assert evaluate(rule, {"EX.STOP": Observed(stop.date()), "EX.START": Observed(start)}).answer is NO


@given(st.dates(date(1990, 1, 1), date(2030, 1, 1)), st.integers(-40, 40))
def test_day_offsets_agree_with_the_calendar(day: date, days: int) -> None:
    assert Offset(days=days).added_to(day) == day + timedelta(days=days)


AGE = Derived(id="DM.AGE", function=DerivedFunction.COMPLETED_YEARS, from_item="DM.BIRTH", to_item="IC.DATE")


@pytest.mark.parametrize(
    ("birth", "consent", "age"),
    [
        (date(1998, 3, 15), date(2016, 3, 14), 17),
        (date(1998, 3, 15), date(2016, 3, 15), 18),
        (date(2000, 2, 29), date(2017, 2, 28), 16),
        (PartialDate(1998, 3), date(2016, 2, 29), 17),
        (PartialDate(1998, 3), date(2016, 3, 14), None),
        (PartialDate(1998), date(2016, 12, 31), 18),
        (None, date(2016, 3, 14), None),
        (date(1998, 3, 15), None, None),
    ],
)
def test_age_in_completed_years(birth: date | PartialDate | None, consent: date | None, age: int | None) -> None:
    derived = derive(AGE, {"DM.BIRTH": Observed(birth), "IC.DATE": Observed(consent)}, {})
    assert derived.value == age


def rows(*pairs: tuple[date | PartialDate | None, int | None]) -> dict[str, list[dict[str, Observed]]]:
    return {"GV": [{"GV.DATE": Observed(day), "GV.GRADE": Observed(grade)} for day, grade in pairs]}


@pytest.mark.parametrize(
    ("function", "found", "result"),
    [
        (DerivedFunction.LAST, rows((date(2021, 5, 1), 2), (date(2021, 5, 8), 3)), 3),
        (DerivedFunction.LAST, rows((date(2021, 5, 8), 3), (date(2021, 5, 1), 2)), 3),
        (DerivedFunction.FIRST, rows((date(2021, 5, 8), 3), (date(2021, 5, 1), 2)), 2),
        (DerivedFunction.LAST, rows((PartialDate(2021, 4), 2), (date(2021, 5, 8), 3)), 3),
        (DerivedFunction.LAST, rows((PartialDate(2021, 5), 2), (date(2021, 5, 8), 3)), None),
        (DerivedFunction.LAST, rows((None, 2), (date(2021, 5, 8), 3)), None),
        (DerivedFunction.MAXIMUM, rows((date(2021, 5, 1), 3), (date(2021, 5, 8), 2)), 3),
        (DerivedFunction.MAXIMUM, rows((date(2021, 5, 1), 3), (date(2021, 5, 8), None)), None),
        (DerivedFunction.MAXIMUM, rows((date(2021, 5, 1), 2), (date(2021, 5, 10), 4)), 2),
        (DerivedFunction.MINIMUM, rows((date(2021, 5, 1), 3), (date(2021, 5, 8), 2)), 2),
        (DerivedFunction.COUNT, rows((date(2021, 5, 1), 3), (date(2021, 5, 10), 2)), 1),
        (DerivedFunction.COUNT, {"GV": []}, 0),
        (DerivedFunction.MAXIMUM, {"GV": []}, None),
        (DerivedFunction.COUNT, {}, None),
    ],
)
def test_over_the_rows_before_the_first_dose(
    function: DerivedFunction, found: dict[str, list[dict[str, Observed]]], result: int | None
) -> None:
    spec = Derived(id="XS.G", function=function, item="GV.GRADE", by="GV.DATE", before="TX.FIRST_DOSE")
    assert derive(spec, {"TX.FIRST_DOSE": Observed(date(2021, 5, 10))}, found).value == result


@pytest.mark.parametrize(("grade", "result"), [(2, None), (3, 3)])
def test_last_row_is_open_when_a_partial_date_may_be_later(grade: int, result: int | None) -> None:
    spec = Derived(id="XS.G", function=DerivedFunction.LAST, item="GV.GRADE", by="GV.DATE")
    assert derive(spec, {}, rows((PartialDate(2021, 5), grade), (date(2021, 5, 8), 3))).value == result


def test_latest_date_of_marked_rows() -> None:
    spec = Derived(
        id="SH.LAST_STOP",
        function=DerivedFunction.LATEST,
        item="CM.STOP",
        where=Test("CM.SEROTHERAPY", Operator.EQ, "Y"),
    )
    marked = {"CM.STOP": Observed(date(2016, 1, 5)), "CM.SEROTHERAPY": Observed("Y")}
    other = {"CM.STOP": Observed(date(2016, 4, 5)), "CM.SEROTHERAPY": Observed("N")}
    unclear = {"CM.STOP": Observed(date(2016, 4, 5)), "CM.SEROTHERAPY": Observed(None)}
    ongoing = {"CM.STOP": Observed(None), "CM.SEROTHERAPY": Observed("Y")}
    assert derive(spec, {}, {"CM": [marked, other]}).value == date(2016, 1, 5)
    assert derive(spec, {}, {"CM": [marked, unclear]}).value is None
    assert derive(spec, {}, {"CM": [marked, ongoing]}).value is None
