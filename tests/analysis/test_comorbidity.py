"""HCT-CI: the points of every item, the tiers' cut-offs, the risk groups, and what is not known."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.domain.bounds import Bounds
from analysis.domain.comorbidity import (
    HEPATIC_POINTS,
    PULMONARY_POINTS,
    YES_NO_ITEMS,
    Comorbidities,
    RiskGroup,
    Rule,
    any_of,
    cardiac,
    comorbidity_index,
    hepatic_tiers,
    obesity,
    pulmonary_tiers,
    renal,
    risk_group,
)

NOTHING = dict.fromkeys(YES_NO_ITEMS, False)
NONE = frozenset({"none"})


def patient(  # type: ignore[no-untyped-def]
    *, hepatic=NONE, pulmonary=NONE, age=30, **answers: bool | None
) -> Comorbidities:
    return Comorbidities({**NOTHING, **answers}, frozenset(hepatic), frozenset(pulmonary), age)


@pytest.mark.parametrize(
    "item, points",
    [
        ("arrhythmia", 1),
        ("cardiac", 1),
        ("inflammatory_bowel_disease", 1),
        ("diabetes", 1),
        ("cerebrovascular", 1),
        ("psychiatric", 1),
        ("obesity", 1),
        ("infection", 1),
        ("rheumatological", 2),
        ("peptic_ulcer", 2),
        ("renal", 2),
        ("prior_tumour", 3),
        ("heart_valve", 3),
    ],
)
def test_every_item(item: str, points: int) -> None:
    index = comorbidity_index(Rule(), patient(**{item: True}))
    assert (index.score.known, index.points) == (points, {item: points})
    assert set(YES_NO_ITEMS) >= {item} and len(YES_NO_ITEMS) == 13


@pytest.mark.parametrize(
    "tiers, points",
    [
        ({"hepatic": {"mild"}}, 1),
        ({"hepatic": {"severe"}}, 3),
        ({"pulmonary": {"moderate"}}, 2),
        ({"pulmonary": {"severe"}}, 3),
        ({"hepatic": {"severe"}, "pulmonary": {"severe"}}, 6),
    ],
)
def test_every_tier(tiers: dict[str, set[str]], points: int) -> None:
    assert comorbidity_index(Rule(), patient(**tiers)).score.known == points


@pytest.mark.parametrize(
    "score, group", [(0, "low"), (1, "intermediate"), (2, "intermediate"), (3, "high"), (26, "high")]
)
def test_risk_groups(score: int, group: str) -> None:
    assert risk_group(score) == RiskGroup(group)


def test_the_highest_score() -> None:
    everything = patient(hepatic={"severe"}, pulmonary={"severe"}, **dict.fromkeys(YES_NO_ITEMS, True))
    assert comorbidity_index(Rule(), everything).score.known == 26


@pytest.mark.parametrize(
    "dlco, fev1, tiers",
    [
        ("81", "90", "none"),
        ("80", "90", "moderate"),
        ("66", "90", "moderate"),
        ("65.5", "90", "moderate"),
        ("65", "90", "severe"),
        ("90", "65", "severe"),
        ("75", "60", "severe"),
        (None, "60", "severe"),
        (None, "75", "moderate severe"),
        (None, "90", "moderate none severe"),
        (None, None, "moderate none severe"),
    ],
)
def test_pulmonary(dlco: str | None, fev1: str | None, tiers: str) -> None:
    values = (None if value is None else Decimal(value) for value in (dlco, fev1))
    assert pulmonary_tiers(dlco_percent=next(values), fev1_percent=next(values)) == set(tiers.split())


@pytest.mark.parametrize(
    "hepatitis, cirrhosis, bilirubin, ast, alt, tiers",
    [
        (False, False, "1", "1", "1", "none"),
        (True, False, "1", "1", "1", "mild"),
        (False, False, "1.01", "1", "1", "mild"),
        (False, False, "1.5", "1", "1", "mild"),
        (False, False, "1.51", "1", "1", "severe"),
        (False, False, "1", "2.5", "1", "mild"),
        (False, False, "1", "1", "2.6", "severe"),
        (True, True, "1", "1", "1", "severe"),
        (False, None, "1", "1", "1", "none severe"),
        (None, False, "1", "1", "1", "mild none"),
        (True, False, "1", None, "1", "mild severe"),
    ],
)
def test_hepatic(hepatitis, cirrhosis, bilirubin, ast, alt, tiers) -> None:  # type: ignore[no-untyped-def]
    found = hepatic_tiers(
        chronic_hepatitis=hepatitis,
        cirrhosis=cirrhosis,
        bilirubin_over_uln=Decimal(bilirubin),
        ast_over_uln=None if ast is None else Decimal(ast),
        alt_over_uln=Decimal(alt),
    )
    assert found == set(tiers.split())


def test_items_from_what_was_measured() -> None:
    healthy = {"coronary_disease": False, "heart_failure": False, "infarction": False}
    assert cardiac(**healthy, ejection_fraction_percent=Decimal(50)) is True
    assert cardiac(**healthy, ejection_fraction_percent=Decimal("50.5")) is False
    assert cardiac(**healthy, ejection_fraction_percent=None) is None
    assert renal(creatinine_umol_per_l=Decimal("176.8"), dialysis=False, renal_transplant=False) is False
    assert renal(creatinine_umol_per_l=Decimal("176.9"), dialysis=False, renal_transplant=False) is True
    assert renal(creatinine_umol_per_l=None, dialysis=True, renal_transplant=None) is True
    assert obesity(age_years=18, bmi_kg_per_m2=Decimal(35), bmi_centile=None) is False
    assert obesity(age_years=18, bmi_kg_per_m2=Decimal("35.1"), bmi_centile=None) is True
    assert obesity(age_years=17, bmi_kg_per_m2=Decimal(40), bmi_centile=None) is None
    assert obesity(age_years=17, bmi_kg_per_m2=None, bmi_centile=Decimal(95)) is True
    assert obesity(age_years=None, bmi_kg_per_m2=Decimal(40), bmi_centile=None) is None
    assert any_of() is False


@pytest.mark.parametrize(
    "answers, score, risk",
    [
        ({"diabetes": None}, Bounds(0, 1), None),
        ({"diabetes": None, "renal": True}, Bounds(2, 3), None),
        ({"diabetes": None, "prior_tumour": True}, Bounds(3, 4), RiskGroup.HIGH),  # decided all the same
        ({"diabetes": None, "cardiac": True}, Bounds(1, 2), RiskGroup.INTERMEDIATE),
    ],
)
def test_what_was_not_recorded_is_no_0(answers: dict[str, bool | None], score: Bounds, risk: RiskGroup | None) -> None:
    index = comorbidity_index(Rule(), patient(**answers))
    assert (index.score, index.risk, index.missing) == (score, risk, ("diabetes",))
    assert index.is_incomplete and "not known: diabetes" in index.sentence


def test_a_record_without_answers_says_nothing() -> None:
    index = comorbidity_index(Rule(), Comorbidities({}))
    assert (index.score, index.risks) == (Bounds(0, 26), frozenset(RiskGroup))


def test_the_variant_with_age_has_a_score_and_no_group() -> None:
    rule = Rule.from_parameters({"variant": "hct_ci_age"})
    assert [comorbidity_index(rule, patient(age=age)).score for age in (39, 40, None)] == [
        Bounds(0, 0),
        Bounds(1, 1),
        Bounds(0, 1),
    ]
    assert comorbidity_index(rule, patient(age=40)).risk is None
    with pytest.raises(ValueError, match="variant"):
        Rule.from_parameters({"variant": "hct_ci_2016"})


def test_what_rests_on_an_unconfirmed_rule_is_named() -> None:
    assert comorbidity_index(Rule(), patient(pulmonary={"severe"})).unconfirmed == ("pulmonary",)
    assert comorbidity_index(Rule(), patient(pulmonary={"moderate"})).verified
    assert comorbidity_index(Rule(), patient(obesity=True, age=12)).unconfirmed == ("obesity",)
    assert comorbidity_index(Rule(), patient(obesity=True)).verified


def test_items_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="smoking is no item"):
        Comorbidities({"smoking": True})
    with pytest.raises(ValueError, match="hepatic"):
        Comorbidities({}, hepatic=frozenset({"moderate"}))
    with pytest.raises(ValueError, match="score"):
        risk_group(-1)


answers = st.fixed_dictionaries({item: st.sampled_from([True, False, None]) for item in YES_NO_ITEMS})
hepatic = st.sets(st.sampled_from(sorted(HEPATIC_POINTS)), min_size=1)
pulmonary = st.sets(st.sampled_from(sorted(PULMONARY_POINTS)), min_size=1)


@given(answers, hepatic, pulmonary, st.sampled_from(sorted(YES_NO_ITEMS)))
def test_a_comorbidity_more_never_lowers_the_score(given_answers, liver, lungs, item) -> None:  # type: ignore[no-untyped-def]
    without = comorbidity_index(Rule(), patient(hepatic=liver, pulmonary=lungs, **{**given_answers, item: False}))
    with_it = comorbidity_index(Rule(), patient(hepatic=liver, pulmonary=lungs, **{**given_answers, item: True}))
    unknown = comorbidity_index(Rule(), patient(hepatic=liver, pulmonary=lungs, **{**given_answers, item: None}))
    assert with_it.score.low == without.score.low + YES_NO_ITEMS[item]
    assert unknown.score == Bounds(without.score.low, with_it.score.high)
    assert unknown.risks == without.risks | with_it.risks
