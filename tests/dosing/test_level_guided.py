"""Doses that follow levels: each thing that must refuse them, and what a proposal holds."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import permutations

import pytest

from dosing.domain.level_guided import LevelBand, LevelQuestion, propose
from dosing.domain.model_files import differing, parse_model, to_model
from dosing.domain.pharmacokinetics import exposure, simulate
from dosing.domain.refusals import Stop
from dosing.domain.table_files import TableErrors
from tests.dosing.levels import (
    ALGORITHM,
    ALGORITHM_TEXT,
    ASSAY,
    DOSES,
    FIRST,
    MODEL,
    SECOND,
    SET_TEXT,
    TARGET,
    WHOLE,
    at,
    changed,
    second,
)

D = Decimal
REAL_ALGORITHM = replace(ALGORITHM, is_verified=True, is_synthetic=False)

BAD: list[tuple[str, LevelQuestion, Stop]] = [
    # Too little
    ("no level", changed(levels=()), Stop.TOO_FEW_LEVELS),
    ("one level", changed(levels=(FIRST,)), Stop.TOO_FEW_LEVELS),
    ("one below the limit", second(qualifier="<"), Stop.BELOW_LIMIT),
    ("below the stated limit", second(lower_limit=D(7)), Stop.BELOW_LIMIT),
    # Unit, assay, number
    ("AU for UE", second(unit="AU/mL"), Stop.UNIT),
    ("mg/L for UE/mL", second(unit="mg/L"), Stop.UNIT),
    ("no unit", second(unit=""), Stop.UNIT),
    ("other assay", second(assay="Dutch assay"), Stop.ASSAY),
    ("no assay", second(assay=""), Stop.ASSAY),
    ("not a number", second(value=D("NaN")), Stop.NOT_A_NUMBER),
    ("without end", second(value=D("Infinity")), Stop.NOT_A_NUMBER),
    ("negative", second(value=D("-6.1")), Stop.MAGNITUDE),
    ("zero", second(value=D(0)), Stop.MAGNITUDE),
    ("a thousandfold", second(value=D(6100)), Stop.MAGNITUDE),
    ("above what was measured", second(qualifier=">"), Stop.AMBIGUOUS),
    # Time
    ("a day only", second(taken_at=at(21, 8).date()), Stop.LEVEL_TIME),
    ("before the first dose", changed(levels=(replace(FIRST, taken_at=at(19, 9)), SECOND)), Stop.LEVEL_TIME),
    ("during the second infusion", second(taken_at=at(20, 12)), Stop.LEVEL_TIME),
    ("twice at one time", second(taken_at=at(20, 8)), Stop.DUPLICATE),
    ("twice the same", changed(levels=(FIRST, SECOND, SECOND)), Stop.DUPLICATE),
    # The doses
    ("no infusion", changed(infusions=()), Stop.NO_STOP_TIME),
    ("second dose not recorded", changed(infusions=DOSES[:1]), Stop.NO_STOP_TIME),
    ("first dose not recorded", changed(infusions=DOSES[1:]), Stop.NO_STOP_TIME),
    ("no stop time", changed(infusions=(DOSES[0], replace(DOSES[1], stopped_at=None))), Stop.NO_STOP_TIME),
    ("stops as it starts", changed(infusions=(DOSES[0], replace(DOSES[1], stopped_at=at(20, 10)))), Stop.LEVEL_TIME),
    ("nothing given", changed(infusions=(DOSES[0], replace(DOSES[1], mg=D(0)))), Stop.MAGNITUDE),
    (
        "the open infusion has begun",
        changed(infusions=(*DOSES, replace(DOSES[1], day=-3, started_at=at(21, 10), stopped_at=at(21, 16)))),
        Stop.LATE,
    ),
    # Algorithm, set and target
    ("algorithm of another product", changed(algorithm=replace(ALGORITHM, product="grafalon")), Stop.PRODUCT),
    ("set of another product", changed(model=replace(MODEL, product="grafalon")), Stop.PRODUCT),
    ("protocol of another product", changed(product="grafalon"), Stop.PRODUCT),
    ("no set", changed(model=None), Stop.NO_ALGORITHM),
    ("another target", changed(algorithm=replace(ALGORITHM, target="other")), Stop.TARGET),
    ("target without an end", changed(target=replace(TARGET, high=None)), Stop.TARGET),
    ("target of a trough", changed(target=replace(TARGET, window="trough")), Stop.TARGET),
    ("target in AU", changed(target=replace(TARGET, unit="AU·day/mL")), Stop.UNIT),
    ("target of the other assay", changed(target=replace(TARGET, assay="Dutch assay")), Stop.ASSAY),
    ("set of the other assay", changed(model=replace(MODEL, assay="Dutch assay")), Stop.ASSAY),
    ("set in mg/L", changed(model=replace(MODEL, level_unit="mg/L")), Stop.UNIT),
    ("invented, in a real trial", changed(may_use_unverified=False), Stop.UNVERIFIED),
    (
        "verified algorithm, unverified set, in a real trial",
        changed(algorithm=REAL_ALGORITHM, may_use_unverified=False),
        Stop.UNVERIFIED,
    ),
    # Covariates of the set
    ("covariate missing", changed(covariates={}), Stop.MISSING),
    ("covariate of zero", changed(covariates={"weight_kg": 0.0}), Stop.MAGNITUDE),
    ("covariate below zero", changed(covariates={"weight_kg": -60.0}), Stop.MAGNITUDE),
]


@pytest.mark.parametrize(("question", "stop"), [(q, s) for _, q, s in BAD], ids=[name for name, _, _ in BAD])
def test_a_bad_level_leads_to_no_proposal(question: LevelQuestion, stop: Stop) -> None:
    answer = propose(question)
    assert answer.proposal is None
    assert stop in {one.code for one in answer.refusals}
    assert all(one.sentence.endswith(".") and one.way_out.endswith(".") for one in answer.refusals)


def test_the_whole_question_is_answered_inside_the_target() -> None:
    proposal = propose(WHOLE).proposal
    assert proposal is not None and proposal.at_proposed is not None and proposal.curve is not None
    assert proposal.is_inside and not proposal.limits
    # One step of rounding on two days moves the exposure by less than 2 UE·day/mL around the middle, 124.25.
    assert abs(proposal.at_proposed - 124.25) < 2
    assert proposal.mg_each % ALGORITHM.round_to_mg == 0
    curve = proposal.curve
    again = exposure(curve.parameters, [*curve.given, *curve.proposed], graft_day=0.0, until_day=curve.until_day)
    assert proposal.at_proposed == pytest.approx(again.total[0], rel=1e-9)


def test_the_target_returned_is_the_target_given() -> None:
    other = replace(TARGET, low=D(80), high=D(90))
    proposal = propose(changed(target=other)).proposal
    assert proposal is not None and proposal.target == other
    assert proposal.at_proposed is not None and 80 <= proposal.at_proposed <= 90


def test_the_order_of_levels_and_doses_changes_nothing() -> None:
    one = propose(WHOLE).proposal
    assert one is not None
    for levels in permutations(WHOLE.levels):
        for doses in permutations(WHOLE.infusions):
            other = propose(changed(levels=levels, infusions=doses)).proposal
            assert other is not None
            assert (other.mg_each, other.at_proposed, other.interval, other.etas) == (
                one.mg_each,
                one.at_proposed,
                one.interval,
                one.etas,
            )


def test_levels_of_a_known_patient_find_that_patient() -> None:
    """Levels drawn without error from parameters off the typical ones move the estimate towards them."""
    true = MODEL.population.individual({"weight_kg": 60.0}, {"cl": 0.5})
    given = [(-5 + -2 / 24, 0.25), (-4 + -2 / 24, 0.25)]
    from dosing.domain.pharmacokinetics import Infusion

    course = [Infusion(start, duration, 150 * 0.35) for start, duration in given]
    drawn = simulate(true, course, [-4 - 4 / 24, -3 - 4 / 24])[0]
    levels = (
        replace(FIRST, value=D(str(round(drawn[0], 4)))),
        replace(SECOND, value=D(str(round(drawn[1], 4)))),
    )
    proposal = propose(changed(levels=levels)).proposal
    assert proposal is not None and proposal.etas["cl"] > 0
    assert "cl" in proposal.mainly_population, "two early levels say little about clearance, and that is said"


@pytest.mark.parametrize(("moment", "is_refused"), [(at(20, 10), False), (at(20, 16), False), (at(20, 12), True)])
def test_the_edges_of_an_infusion_are_no_time_inside_it(moment: object, is_refused: bool) -> None:
    answer = propose(second(taken_at=moment))
    assert (Stop.LEVEL_TIME in {one.code for one in answer.refusals}) is is_refused


@pytest.mark.parametrize(
    ("first", "later", "limit"),
    [("0.4", "0.7", "highest 4 mg/kg a day"), ("90", "160", "largest change 60 %")],
)
def test_a_dose_at_a_limit_is_marked(first: str, later: str, limit: str) -> None:
    proposal = propose(changed(levels=(replace(FIRST, value=D(first)), replace(SECOND, value=D(later))))).proposal
    assert proposal is not None
    assert limit in proposal.limits
    assert D("0.5") * 60 <= proposal.mg_each <= D(4) * 60
    assert abs(proposal.mg_each - 150) <= D("0.6") * 150


def test_a_dose_given_late_or_in_part_is_estimated_as_it_was_given() -> None:
    less = changed(infusions=(DOSES[0], replace(DOSES[1], mg=D(75), stopped_at=at(20, 13))))
    one, other = propose(WHOLE).proposal, propose(less).proposal
    assert one is not None and other is not None and one.to_date and other.to_date
    assert other.to_date < one.to_date


TABLE = replace(
    ALGORITHM,
    kind="table",
    parameter_set="",
    bands=(LevelBand(D(0), D(4), D(3)), LevelBand(D(4), D(8), D(2)), LevelBand(D(8), None, D("1.5"))),
)


@pytest.mark.parametrize(
    ("level", "mg"), [("0.1", 180), ("3.99", 180), ("4", 120), ("7.99", 120), ("8", 90), ("150", 90)]
)
def test_a_table_of_levels_reads_the_last_one(level: str, mg: int) -> None:
    question = changed(algorithm=TABLE, model=None, levels=(FIRST, replace(SECOND, value=D(level))))
    proposal = propose(question).proposal
    assert proposal is not None
    assert proposal.mg_each == mg and proposal.at_proposed is None


# --- Files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "old", "new", "place"),
    [
        (SET_TEXT, "code: practice_atg", "code: a b", "code"),
        (SET_TEXT, "synthetic: true", "synthetic: perhaps", "synthetic"),
        (SET_TEXT, "product: rabbit_atg", "product:", "product"),
        (SET_TEXT, "typical: 0.48", "typical: minus", "parameters.cl.typical"),
        (SET_TEXT, "typical: 4.0", "typical: -4", "parameters.v1.typical"),
        (SET_TEXT, "omega2: 0.1225", "omega2: 0", "parameters.cl.omega2"),
        (SET_TEXT, "weight_kg: {reference: 20, exponent: 0.75}, omega2: 0.1225", "height: {reference: 1}", "height"),
        (SET_TEXT, "  km:   {typical: 0.35}\n", "", "parameters.km"),
        (SET_TEXT, "level_unit: UE/mL", "level_unit: UE", "level_unit"),
        (SET_TEXT, "amount_per_mg: 0.35", "amount_per_mg: 0", "amount_per_mg"),
        (SET_TEXT, "assay: Chinese programme\n", "", "assay"),
        (SET_TEXT, "proportional_variance: 0.0225, additive_variance: 0.0001", "additive_variance: 1", "proportional"),
        (SET_TEXT, "licence_note:", "license:", "license"),
        (SET_TEXT, "kind: parameters", "kind: magic", "magic"),
        (ALGORITHM_TEXT, "highest_change: 0.6", "highest_change: 1.5", "highest_change"),
        (ALGORITHM_TEXT, "fixed_mg_per_kg: 2.5", "fixed_mg_per_kg: 9", "fixed"),
        (ALGORITHM_TEXT, "at_least_levels: 2", "at_least_levels: 1.5", "at_least_levels"),
        (ALGORITHM_TEXT, "below_limit: exclude", "below_limit: m3", "excluded"),
        (ALGORITHM_TEXT, "fallback: fixed_dose", "fallback: none", "fallback"),
        (ALGORITHM_TEXT, "parameter_set: practice_atg\n", "", "parameter_set"),
        (ALGORITHM_TEXT, "kind: map\n", "kind: table\n", "bands"),
        (ALGORITHM_TEXT, "target: active_atg_total\n", "", "target"),
        (ALGORITHM_TEXT, "code: sponsor", "code: sponsor\ncode: other", "twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_place(text: str, old: str, new: str, place: str) -> None:
    assert old in text
    with pytest.raises(TableErrors) as refused:
        parse_model(text.replace(old, new))
    assert any(place in str(one) for one in refused.value.errors)


def test_numbers_written_otherwise_are_the_same_content() -> None:
    one, other = parse_model(SET_TEXT), parse_model(SET_TEXT.replace("typical: 4.0", "typical: 4.00"))
    assert to_model(one.content, "one").sha256 == to_model(other.content, "one").sha256
    assert differing(one.content, parse_model(SET_TEXT.replace("0.48", "0.84")).content) == (
        ("parameters.cl.typical", "0.48", "0.84"),
    )
    assert MODEL.assay == ASSAY
