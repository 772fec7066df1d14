"""Eligibility of the shipped trials, waivers, consent, and the states a participant goes through."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from trials.domain import language
from trials.domain.answers import Answer
from trials.domain.consent import SignedConsent, consent_verdict
from trials.domain.definition import Protocol
from trials.domain.derived import with_derived
from trials.domain.eligibility import HumanAnswer, NotWaivable, Outcome, Result, Waiver, assess
from trials.domain.lifecycle import (
    PARTICIPANT,
    VERSION,
    IllegalTransition,
    ParticipantEvent,
    ParticipantState,
    VersionEvent,
    VersionState,
    after,
    mermaid,
    possible,
)
from trials.domain.observations import observe, observe_all

DEFINITIONS = Path(__file__).parents[2] / "trials" / "definitions"


def load(name: str) -> Protocol:
    file = DEFINITIONS / name / "v1.yaml"
    return language.parse(file.read_text(), file=str(file))


PARACHUTE, URD = load("parachute"), load("nct07648992")

CHILD = {
    "DM.BIRTH_DATE": "2010-05-04",
    "DM.SEX": "M",
    "DM.SCREENED_ON": "2016-05-01",
    "IC.DATE": "2016-05-02",
    "IC.VALID": "Y",
    "DX.GROUP": "malignancy",
    "DX.REMISSION": "CR2",
    "QS.PERFORMANCE": 90,
    "EC.LVEF": 60,
    "RP.POSTPUBERTAL": "N",
    "SH.GIVEN": "N",
    "TX.PLANNED_DATE": "2016-06-15",
    "TX.TRANSPLANT_NUMBER": 1,
    "TX.DONOR_RELATION": "unrelated",
    "TX.TCELL_MANIPULATION": "none",
    "CO.ATG_PLANNED": "Y",
}
NO = HumanAnswer(Answer.NO, by="Alice")
ANSWERS = {"E2": NO, "E7": NO}


def outcome(
    changes: dict[str, object], answers: dict[str, HumanAnswer] = ANSWERS
) -> tuple[Outcome, list[str], list[str]]:
    given = {address: raw for address, raw in {**CHILD, **changes}.items() if raw is not None}
    values = with_derived(PARACHUTE, observe_all(PARACHUTE, given), {"CM": [], "EX": [], "PR": []})
    found = assess(PARACHUTE, values, answers)
    return found.outcome, [one.id for one in found.obstacles], [one.id for one in found.open]


@pytest.mark.parametrize(
    ("changes", "expected", "obstacles", "open_criteria"),
    [
        ({}, Outcome.ELIGIBLE, [], []),
        ({"DM.BIRTH_DATE": "1998-05-03"}, Outcome.ELIGIBLE, [], []),  # 17 on the day of consent
        ({"DM.BIRTH_DATE": "1998-05-02"}, Outcome.NOT_ELIGIBLE, ["I1"], []),  # 18 on the day of consent
        ({"DM.BIRTH_DATE": None}, Outcome.UNKNOWN, [], ["I1"]),
        ({"QS.PERFORMANCE": 70}, Outcome.ELIGIBLE, [], []),
        ({"QS.PERFORMANCE": 60}, Outcome.NOT_ELIGIBLE, ["I3"], []),
        ({"TX.TCELL_MANIPULATION": "ex_vivo_depletion"}, Outcome.NOT_ELIGIBLE, ["I5", "E3"], []),
        ({"TX.TCELL_MANIPULATION": None}, Outcome.UNKNOWN, [], ["I5", "E3"]),
        ({"EC.LVEF": 30}, Outcome.NOT_ELIGIBLE, ["E8"], []),
        ({"EC.LVEF": None, "QS.PERFORMANCE": 50}, Outcome.NOT_ELIGIBLE, ["I3"], ["E8"]),
        ({"SH.GIVEN": "U"}, Outcome.UNKNOWN, [], ["E1"]),
        ({"IC.VALID": None}, Outcome.UNKNOWN, [], ["I8"]),
        ({"DX.REMISSION": "not_CR"}, Outcome.NOT_ELIGIBLE, ["E2"], []),
        ({"DX.GROUP": "bone_marrow_failure", "DX.REMISSION": "not_CR"}, Outcome.ELIGIBLE, [], []),
        ({"DM.SEX": "F", "RP.MENARCHE": "Y", "RP.HCG": "positive"}, Outcome.NOT_ELIGIBLE, ["E4"], ["E5"]),
        ({"DM.SEX": "F", "RP.MENARCHE": "Y", "RP.HCG": "not_done"}, Outcome.UNKNOWN, [], ["E4", "E5"]),
        ({"DM.SEX": "F", "RP.MENARCHE": "N"}, Outcome.ELIGIBLE, [], []),
        ({"DM.SEX": "F"}, Outcome.UNKNOWN, [], ["E4", "E5"]),
    ],
)
def test_parachute(
    changes: dict[str, object], expected: Outcome, obstacles: list[str], open_criteria: list[str]
) -> None:
    assert outcome(changes) == (expected, obstacles, open_criteria)


def test_a_human_must_answer_what_the_protocol_asks_of_one() -> None:
    assert outcome({}, {}) == (Outcome.UNKNOWN, [], ["E2", "E7"])
    yes = HumanAnswer(Answer.YES, by="Alice", comment="invasive aspergillosis")
    assert outcome({}, {**ANSWERS, "E7": yes})[:2] == (Outcome.NOT_ELIGIBLE, ["E7"])
    # The item and the human disagree: the cautious one decides.
    assert outcome({}, {**ANSWERS, "E2": yes})[:2] == (Outcome.NOT_ELIGIBLE, ["E2"])


def test_verdict_explains_itself() -> None:
    values = observe_all(PARACHUTE, {"EC.LVEF": 25})
    found = {one.id: one for one in assess(PARACHUTE, values).criteria}
    assert found["E8"].sentence == "Left ventricular ejection fraction is 25 %, at most 30."
    assert found["I1"].sentence == "Age at consent is not known."
    assert found["E7"].needs_human
    assert "To be answered by: investigator." in found["E7"].sentence
    assert found["E2"].result is Result.UNKNOWN


def test_serotherapy_in_the_medication_of_the_participant() -> None:
    row = observe_all(PARACHUTE, {"CM.STOP": "2016-03-20", "CM.SEROTHERAPY": "Y"})
    values = observe_all(PARACHUTE, {**CHILD, "SH.GIVEN": "Y"})
    found = assess(PARACHUTE, with_derived(PARACHUTE, values, {"CM": [row]}), ANSWERS)
    assert [one.id for one in found.obstacles] == ["E1"]
    assert "20-Mar-2016" in found.obstacles[0].sentence
    assert "minus 3 months" in found.obstacles[0].sentence


ADULT = {
    "DM.BIRTH_DATE": "1980-01-01",
    "DM.SEX": "M",
    "IC.DATE": "2026-01-10",
    "IC.VALID": "Y",
    "DX.GROUP": "malignancy",
    "DX.REMISSION": "CR1",
    "QS.ECOG": 1,
    "TX.DONOR_RELATION": "unrelated",
    "TX.DONOR_SEX": "M",
}
YES_AND_NO = {
    **dict.fromkeys(("I1", "I6a", "I6b"), HumanAnswer(Answer.YES, by="Alice")),
    **dict.fromkeys(("E1", "E5"), NO),
}
LABORATORY = {"LB.ALT": (100, 40), "LB.AST": (30, 40), "LB.BILI": (10, 20), "LB.CREA": (90, 104)}


def adult_values(taken_on: date, **changes: object):  # type: ignore[no-untyped-def]
    values = observe_all(URD, {**ADULT, **changes})
    for address, (value, upper_limit) in LABORATORY.items():
        values[address] = observe(URD, address, value, observed_on=taken_on)
        values[f"{address}_ULN"] = observe(URD, f"{address}_ULN", upper_limit, observed_on=taken_on)
    return with_derived(URD, values)


def test_laboratory_values_count_for_fourteen_days() -> None:
    taken, fresh, stale = date(2026, 1, 1), date(2026, 1, 15), date(2026, 1, 16)
    assert assess(URD, adult_values(taken), YES_AND_NO, on=fresh).outcome is Outcome.ELIGIBLE
    found = assess(URD, adult_values(taken), YES_AND_NO, on=stale)
    assert found.outcome is Outcome.UNKNOWN
    assert [one.id for one in found.open] == ["I4a", "I4b", "I4c", "I5"]
    assert "15 days old; at most 14 count" in found.open[0].sentence


@pytest.mark.parametrize(("birth", "eligible"), [("2012-01-10", True), ("2012-01-11", False), ("1960-01-11", True)])
def test_age_of_14_to_65_both_included(birth: str, eligible: bool) -> None:
    values = adult_values(date(2026, 1, 5), **{"DM.BIRTH_DATE": birth})
    found = assess(URD, values, YES_AND_NO, on=date(2026, 1, 10))
    assert (found.outcome is Outcome.ELIGIBLE) is eligible
    assert [one.id for one in found.obstacles] == ([] if eligible else ["I3", "E3"])


def test_only_the_named_role_may_waive_and_only_the_named_criterion() -> None:
    values = adult_values(date(2026, 1, 5), **{"TX.DONOR_RELATION": "sibling_matched"})
    on = date(2026, 1, 10)
    assert assess(URD, values, YES_AND_NO, on=on).outcome is Outcome.NOT_ELIGIBLE
    waiver = Waiver(by="Alice", role="investigator", reason="agreed with the sponsor")
    found = assess(URD, values, YES_AND_NO, {"I2": waiver}, on=on)
    assert found.outcome is Outcome.ELIGIBLE
    assert next(one for one in found.criteria if one.id == "I2").result is Result.WAIVED
    with pytest.raises(NotWaivable, match="waived by investigator"):
        assess(URD, values, YES_AND_NO, {"I2": replace(waiver, role="monitor")}, on=on)
    with pytest.raises(NotWaivable, match="nobody"):
        assess(URD, values, YES_AND_NO, {"I3": waiver}, on=on)


@pytest.mark.parametrize(
    ("signed", "age", "site", "first_procedure", "answer", "says"),
    [
        (("1.0", "2016-05-02", ("parent",)), 6, "UMCU", None, Answer.YES, "signed on 2016-05-02"),
        (("1.0", "2016-05-02", ("participant",)), 13, "UMCU", None, Answer.NO, "missing: parent"),
        (("1.0", "2016-05-02", ("participant", "parent")), 13, "UMCU", None, Answer.YES, "signed"),
        (("1.0", "2016-05-02", ("participant",)), 17, "UMCU", None, Answer.YES, "signed"),
        (("1.0", "2016-05-02", ("parent",)), None, "UMCU", None, Answer.UNKNOWN, "Who must sign"),
        (("1.0", "2016-05-02", ("parent",)), 6, "LUMC", None, Answer.NO, "not approved at LUMC"),
        (("2.0", "2016-05-02", ("parent",)), 6, "UMCU", None, Answer.NO, "2.0 is not approved"),
        (("1.0", "2015-06-30", ("parent",)), 6, "UMCU", None, Answer.NO, "not in force"),
        (("1.0", "2016-05-02", ("parent",)), 6, "UMCU", "2016-05-01", Answer.NO, "after the first trial procedure"),
        (("1.0", "2016-05-02", ("parent",)), 6, "UMCU", "2016-05-02", Answer.YES, "signed"),
        (None, 6, "UMCU", None, Answer.UNKNOWN, "No signed consent"),
    ],
)
def test_consent(
    signed: tuple[str, str, tuple[str, ...]] | None,
    age: int | None,
    site: str,
    first_procedure: str | None,
    answer: Answer,
    says: str,
) -> None:
    records = [SignedConsent(signed[0], date.fromisoformat(signed[1]), signed[2])] if signed else []
    verdict = consent_verdict(
        PARACHUTE.consent,
        records,
        site=site,
        values=observe_all(PARACHUTE, {} if age is None else {"DM.AGE_AT_SCREENING": age}),
        first_procedure_on=date.fromisoformat(first_procedure) if first_procedure else None,
    )
    assert verdict.answer is answer
    assert says in verdict.sentence


@pytest.mark.parametrize("state", ParticipantState)
@pytest.mark.parametrize("event", ParticipantEvent)
def test_every_event_in_every_state_of_a_participant(state: ParticipantState, event: ParticipantEvent) -> None:
    if (state, event) in PARTICIPANT:
        assert after(state, event) is PARTICIPANT[state, event]
        assert event in possible(state)
    else:
        with pytest.raises(IllegalTransition, match=f"Cannot {event} a participant"):
            after(state, event)


@pytest.mark.parametrize("state", VersionState)
@pytest.mark.parametrize("event", VersionEvent)
def test_every_event_in_every_state_of_a_version(state: VersionState, event: VersionEvent) -> None:
    if (state, event) in VERSION:
        assert after(state, event) is VERSION[state, event]
    else:
        with pytest.raises(IllegalTransition, match="protocol version"):
            after(state, event)


def test_refusal_names_the_way_out() -> None:
    with pytest.raises(IllegalTransition, match="screen failed; possible now: return to screening"):
        after(ParticipantState.SCREEN_FAILED, ParticipantEvent.ENROL)
    with pytest.raises(IllegalTransition, match="this state is final"):
        after(VersionState.SUPERSEDED, VersionEvent.ACTIVATE)


def test_diagram_shows_every_transition() -> None:
    diagram = mermaid(VERSION, initial=VersionState.DRAFT)
    assert diagram.startswith("stateDiagram-v2\n    [*] --> DRAFT\n    DRAFT --> APPROVED: approve\n")
    assert diagram.count("-->") == len(VERSION) + 1
