"""Every endpoint method of the three definitions, from records to the answer.

The rules have truth tables of their own; here it is asked whether a definition's endpoint reads what it should.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from analysis.domain.endpoint_answers import ANSWERS, ends_on, evaluability
from analysis.domain.endpoint_methods import ENDPOINT_METHODS, OF_THE_TRIAL
from analysis.domain.endpoint_outcomes import Outcome
from analysis.domain.records import Entered, Happened, LabValue, Records
from trials.domain.definition import Protocol
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import date_of_day, study_day
from trials.formats.definitions import read_definition

DEFINITIONS = Path(__file__).parents[2] / "trials" / "definitions"
ANCHOR = date(2021, 3, 1)


@cache
def protocol(name: str) -> Protocol:
    file = DEFINITIONS / name / "v1.yaml"
    return read_definition(file.read_text(encoding="utf-8"), file=str(file))


class Person:
    """Records, written down in study days."""

    def __init__(self, trial: str, *, until: int = 400, external: bool = False) -> None:
        self.protocol = protocol(trial)
        self.first_day = self.protocol.anchor.first_day
        self.until, self.external = until, external
        self.results: dict[str, list[LabValue]] = {}
        self.events: list[Happened] = []
        self.entries: dict[str, list[Entered]] = {}

    def on(self, day: int) -> date:
        return date_of_day(day, ANCHOR, self.first_day)

    def value(self, address: str, day: int, value: str, qualifier: str = "", assay: str = "lab") -> Person:
        self.results.setdefault(address, []).append(LabValue(day, Decimal(value), qualifier, assay, "blood", day))
        return self

    def event(self, kind: str, occurred: int | str, grade: str = "", **detail: str) -> Person:
        text = self.on(occurred).isoformat() if isinstance(occurred, int) else occurred
        when = PartialDate.from_iso(text)
        days = (study_day(one, ANCHOR, self.first_day) for one in (when.earliest, when.latest))
        self.events.append(Happened(kind, when, *days, grade, detail, len(self.events)))
        return self

    def form(self, form: str, **answers: str | int) -> Person:
        rows = self.entries.setdefault(form, [])
        said = {name: self.on(v).isoformat() if isinstance(v, int) else v for name, v in answers.items()}
        rows.append(Entered(form, "", len(rows) + 1, said, len(rows)))
        return self

    def stages(
        self, day: int, skin: int, liver: int, upper: int, lower: int, timepoint: str = "on_treatment"
    ) -> Person:
        return self.form(
            "GV", DATE=day, TIMEPOINT=timepoint, SKIN_STAGE=str(skin), LIVER_STAGE=str(liver),
            UPPER_GI_STAGE=str(upper), LOWER_GI_STAGE=str(lower),
        )  # fmt: skip

    def records(self) -> Records:
        return Records(
            1,
            self.on(self.until),
            ANCHOR,
            self.first_day,
            self.external,
            results={address: tuple(found) for address, found in self.results.items()},
            events=tuple(sorted(self.events, key=lambda one: one.earliest_day)),
            entries={form: tuple(found) for form, found in self.entries.items()},
        )

    def answer(self, endpoint: str) -> Outcome:
        spec = self.protocol.endpoint(endpoint)
        return ANSWERS[spec.method].prepared(self.protocol, spec)(self.records())


def parachute(**options: object) -> Person:
    return Person("parachute", **options)  # type: ignore[arg-type]


def relax(**options: object) -> Person:
    """Skin 2 and lower gut 3 before the first dose: the baseline of the tables of the rule."""
    return Person("relax", **options).stages(1, 2, 0, 0, 3, "before_treatment")  # type: ignore[arg-type]


def counts(person: Person, *days: int, value: str = "0.8") -> Person:
    for day in days:
        person.value("LB.ANC", day, value)
    return person


RELAPSED_AND_DIED = ("relapse", 50, {}), ("death", 90, {"relapse_related": "N"})


@pytest.mark.parametrize(
    ("person", "endpoint", "status", "day"),
    [
        # CD4
        (parachute().value("LB.CD4", 28, "0.05").value("LB.CD4", 35, "0.05"), "cd4_reconstitution", "reached", 35),
        (parachute().value("LB.CD4", 28, "0.06").event("death", 20), "cd4_reconstitution", "competing", 20),
        # the first of several events
        (parachute().event("last_contact", 300), "overall_survival", "pending", None),
        (parachute().event("death", 90), "overall_survival", "reached", 90),
        (parachute().event("graft_failure", 40).event("death", 90), "event_free_survival", "reached", 40),
        (parachute().event("death", 90, relapse_related="Y"), "treatment_related_mortality", "competing", 90),
        (
            parachute().event("relapse", 50).event("death", 90, relapse_related="N"),
            "treatment_related_mortality",
            "reached",
            90,
        ),
        (parachute().event("death", 90), "treatment_related_mortality", "insufficient_data", None),
        (parachute().event("death", 500), "overall_survival", "pending", None),
        (parachute().event("relapse", "2021-05"), "relapse", "insufficient_data", None),
        # there is no day 0 where the anchor is day 1: a death of the same day is on day 1
        (relax().event("relapse", 50).event("death", 90), "non_relapse_mortality", "competing", 50),
        (relax().event("death", 1), "overall_survival", "reached", 1),
        # grades: the one recorded in the endpoint's system stands; that of another is worked out from the stages
        (parachute().event("acute_gvhd", 25, "II", system="glucksberg"), "agvhd_2_4", "reached", 25),
        (parachute().event("acute_gvhd", 25, "II", system="glucksberg"), "agvhd_3_4", "insufficient_data", None),
        (
            parachute(until=200).event("acute_gvhd", 25, "IV", system="magic", skin="2", liver="0", upper_gut="0",
                                       lower_gut="0").event("last_contact", 190),
            "agvhd_2_4",
            "not_reached",
            None,
        ),
        (parachute().event("acute_gvhd", 25, system="magic", skin="1"), "agvhd_2_4", "insufficient_data", None),
        (parachute().event("chronic_gvhd", 150, "mild"), "cgvhd_moderate_severe", "pending", None),
        (parachute().event("chronic_gvhd", 150, "severe"), "cgvhd_moderate_severe", "reached", 150),
        (parachute().event("chronic_gvhd", 150), "cgvhd_moderate_severe", "insufficient_data", None),
        # neutrophils: counts decide; without any, what was recorded does
        (counts(counts(parachute(), 10, value="0.1"), 14, 15, 16), "engraftment", "reached", 14),
        (parachute().event("neutrophil_engraftment", 18), "engraftment", "reached", 18),
        (parachute().event("neutrophil_engraftment", 45), "engraftment", "not_reached", None),
        (counts(parachute(), *range(5, 64), value="0.1").event("last_contact", 63), "graft_failure", "reached", 60),
        (counts(parachute(), 14, 15, 16).event("graft_failure", 80), "graft_failure", "reached", 80),
        (parachute().event("death", 30).event("graft_failure", 80), "graft_failure", "competing", 30),
        # viruses
        (parachute().value("VL.CMV", 24, "1200"), "cmv_reactivation", "reached", 24),
        (parachute().value("VL.CMV", 24, "0", "nd"), "cmv_reactivation", "pending", None),
        (parachute().value("VL.CMV", -3, "1200"), "cmv_reactivation", "pending", None),
        (
            parachute().value("VL.CMV", 17, "10", assay="UMCU-LKCH").value("VL.CMV", 24, "1200", assay="PMC-DLAB"),
            "cmv_reactivation",
            "reached",
            24,
        ),
        (
            parachute().value("VL.CMV", 17, "10", assay="one").value("VL.CMV", 24, "1200", assay="another"),
            "cmv_reactivation",
            "insufficient_data",
            None,
        ),
        (parachute().event("viral_reactivation", 33, virus="EBV"), "ebv_reactivation", "reached", 33),
        (parachute().event("viral_reactivation", 33, virus="EBV"), "cmv_reactivation", "pending", None),
        # responses, after definitions of acute GVHD response: baseline skin 2, lower gut 3
        (relax().stages(28, 0, 0, 0, 0).stages(35, 0, 0, 0, 0).stages(49, 0, 0, 0, 0), "orr_day_28", "reached", 28),
        (relax().stages(28, 2, 1, 0, 1), "orr_day_28", "not_reached", None),
        (relax(until=35).stages(28, 0, 0, 0, 0), "orr_day_28", "pending", None),
        (relax().stages(7, 0, 0, 0, 0).event("death", 20), "orr_day_28", "not_reached", None),
        (relax(), "orr_day_28", "not_reached", None),
        (
            relax().stages(28, 0, 0, 0, 0).form("RX2", ROLE="new_systemic", DRUG="ruxolitinib", START=49),
            "orr_day_28",
            "not_reached",
            None,
        ),
        (
            relax().stages(28, 0, 0, 0, 0).form("RX2", ROLE="new_systemic", DRUG="ruxolitinib", START=50),
            "orr_day_28",
            "reached",
            28,
        ),
        (
            relax().stages(28, 0, 0, 0, 0).form("RX2", ROLE="concomitant", DRUG="ruxolitinib", START=40),
            "orr_day_28",
            "reached",
            28,
        ),
        (relax().stages(14, 1, 0, 0, 1).stages(21, 1, 0, 0, 0), "orr_any", "reached", 14),
        (relax().stages(14, 1, 0, 0, 1), "crr", "not_reached", None),
        (relax(until=30).stages(21, 1, 0, 0, 1), "orr_any", "insufficient_data", None),
        # an external control's adjudicated responses stand as they were recorded
        (relax(external=True, until=30).stages(28, 1, 0, 0, 0), "orr_day_28", "reached", 28),
        (relax(external=True).stages(28, 2, 0, 0, 3).stages(40, 1, 0, 0, 0, "best"), "orr_day_28", "not_reached", None),
        (relax(external=True).stages(28, 2, 0, 0, 3).stages(40, 1, 0, 0, 0, "best"), "orr_any", "reached", 40),
        (relax().stages(40, 1, 0, 0, 0, "best"), "orr_any", "not_reached", None),
        # rows and doses
        (relax().form("IN", TYPE="viral", ONSET=12).form("IN", TYPE="bacterial", ONSET=9), "infection", "reached", 9),
        (relax().form("IN", TYPE="viral", ONSET=-4).event("last_contact", 60), "infection", "not_reached", None),
        (relax().form("ST", DATE=1, DOSE="60").form("ST", DATE=28, DOSE="30"), "steroid_reduction", "reached", 28),
        (
            relax().form("ST", DATE=1, DOSE="60").form("ST", DATE=28, DOSE="30.1"),
            "steroid_reduction",
            "not_reached",
            None,
        ),
        (relax().form("ST", DATE=1, DOSE="60"), "steroid_reduction", "insufficient_data", None),
        # exposure: both ends of the target are inside
        (Person("nct07648992").value("PC.AUC_TOTAL", 20, "148.5"), "exposure_in_target", "reached", 20),
        (Person("nct07648992").value("PC.AUC_TOTAL", 20, "148.6"), "exposure_in_target", "not_reached", None),
        (Person("nct07648992").value("PC.AUC_TOTAL", 20, "100", "<"), "exposure_in_target", "insufficient_data", None),
        (Person("nct07648992"), "exposure_in_target", "pending", None),
    ],
)  # fmt: skip
def test_the_answer(person: Person, endpoint: str, status: str, day: int | None) -> None:
    outcome = person.answer(endpoint)
    happened = outcome.competing_day if outcome.status == "competing" else outcome.event_day
    assert (outcome.status.value, happened) == (status, day), outcome.sentence


@pytest.mark.parametrize("trial", ["parachute", "relax", "nct07648992"])
def test_every_endpoint_is_answered_for_a_participant_or_is_one_number_of_the_trial(trial: str) -> None:
    for spec in protocol(trial).endpoints:
        assert spec.method in ENDPOINT_METHODS
        if spec.method in OF_THE_TRIAL:
            assert spec.method not in ANSWERS
        else:
            assert Person(trial).answer(spec.id).sentence


@pytest.mark.parametrize("trial", ["parachute", "relax", "nct07648992"])
def test_nothing_is_answered_before_the_anchor_is_known(trial: str) -> None:
    unknown = Records(1, ANCHOR, None, protocol(trial).anchor.first_day)
    for spec in protocol(trial).endpoints:
        if spec.method in ANSWERS:
            outcome = ANSWERS[spec.method].prepared(protocol(trial), spec)(unknown)
            assert outcome.status == "pending"
            assert evaluability(outcome, unknown).answer is None


def test_an_unconfirmed_rule_says_so_in_its_answer() -> None:
    assert relax().answer("orr_day_28").verified is False
    assert parachute().answer("overall_survival").verified is True


def test_what_is_asked_by_a_day_says_by_which() -> None:
    assert ends_on(protocol("parachute").endpoint("cd4_reconstitution")) == (100, 103)
    assert ends_on(protocol("nct07648992").endpoint("cmv_infection")) == (180, 180)
    assert ends_on(protocol("parachute").endpoint("overall_survival")) is None


def test_a_pending_answer_may_change_on_the_days_that_the_method_names() -> None:
    """Day by day, a provisional response turns into its answer on one of the named days, and on no other."""
    spec = protocol("relax").endpoint("orr_day_28")
    named = set(ANSWERS[spec.method].days(spec))
    told = [relax(until=day).stages(28, 0, 0, 0, 0).answer("orr_day_28").status for day in range(20, 80)]
    changed = {day for day, (one, other) in enumerate(zip(told, told[1:], strict=False), start=21) if one != other}
    assert changed and changed <= named | {28}
    assert (ANCHOR + timedelta(days=27)) == relax().on(28)
