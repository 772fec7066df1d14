"""From values as they are typed to the three answers of the criteria, with the PARACHUTE definition."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from casebook import actions, selectors
from tests.world import PEOPLE, SINCE, World, person
from trials import actions as trials
from trials.models import Participant, Trial
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db

DEFINITION = Path(__file__).resolve().parents[2] / "trials/definitions/parachute/v1.yaml"
#: A girl of twelve with a benign disease and an unrelated bone marrow donor.
FORMS = {
    "DX": {"GROUP": "bone_marrow_failure", "DIAGNOSIS": "aplastic anaemia", "REMISSION": "NA"},
    "RP": {"MENARCHE": "N", "POSTPUBERTAL": "N"},
    "SH": {"GIVEN": "N"},
    "TX": {
        "PLANNED_DATE": "2026-06-15",
        "TRANSPLANT_NUMBER": "1",
        "DONOR_RELATION": "unrelated",
        "SOURCE": "bone_marrow",
        "TCELL_MANIPULATION": "none",
    },
    "CO": {"ATG_PLANNED": "yes", "REGIMEN": "Flu Bu", "INTENSITY": "MAC"},
}
VISIT_FORMS = {"QS": {"SCALE": "lansky", "PERFORMANCE": "90"}, "EC": {"DATE": "2026-05-20", "LVEF": "60"}}


@pytest.fixture
def parachute(db: None) -> World:
    version = trials.publish_protocol(
        text=DEFINITION.read_text(), file=str(DEFINITION.name), kind=Trial.Kind.PRACTICE, by=None, reason="first"
    )
    sites = {site.code: site for site in version.trial.sites.all()}
    first = next(iter(sites.values()))
    for site in sites.values():
        trials.record_site_approval(site=site, version=version, approved_on=date(2014, 1, 1), by=None)
    members = {
        name: trials.grant_membership(
            user=person(name),
            trial=version.trial,
            role=PEOPLE[name][0],
            site=first,
            valid_from=SINCE,
            by=None,
            reason="x",
        )
        for name in ("alice", "bob")
    }
    return World(version=version, members=members, sites={"A": first})


def screened(parachute: World) -> Participant:
    signed = max(date(2026, 5, 18), *(one.valid_from for one in parachute.trial.protocol.consent.versions))
    participant = trials.register_participant(
        trial=parachute.trial,
        site=parachute.site_a,
        birth_date="2014-02-03",
        sex="female",
        screened_on=signed,
        by=parachute.bob,
    )
    rules = parachute.trial.protocol.consent.signatories
    trials.record_consent(
        participant=participant,
        version=parachute.trial.protocol.consent.versions[-1].version,
        signed_on=signed,
        signatory=", ".join(dict.fromkeys(name for rule in rules for name in rule.signatories)) or "parent",
        by=parachute.bob,
    )
    return Participant.objects.select_related("site", "trial", "protocol_version__trial").get(pk=participant.pk)


def fill(parachute: World, participant: Participant, **changes: dict[str, str]) -> None:
    for form, answers in (FORMS | {name: one for name, one in changes.items() if name in FORMS}).items():
        actions.save_entry(participant=participant, form=form, answers=answers, by=parachute.bob)
    visit = participant.visits.filter(code="SCR").first()
    for form, answers in (VISIT_FORMS | {n: one for n, one in changes.items() if n in VISIT_FORMS}).items():
        actions.save_entry(participant=participant, form=form, visit=visit, answers=answers, by=parachute.bob)


def results(assessment) -> dict[str, str]:
    return {row["id"]: row["result"] for row in assessment.criteria}


def test_with_nothing_recorded_nothing_is_said_to_be_met_or_not(parachute: World) -> None:
    participant = screened(parachute)
    assessment = actions.check_eligibility(participant=participant, by=parachute.bob)
    assert assessment.outcome == "unknown"
    said = results(assessment)
    assert said["I1"] == "met"
    assert {said[name] for name in ("I2", "I3", "I4", "I5", "I6", "E1", "E3", "E7", "E8")} == {"unknown"}


def test_a_complete_screening_waits_for_the_clinician_and_is_then_eligible(parachute: World) -> None:
    participant = screened(parachute)
    fill(parachute, participant)
    assessment = actions.check_eligibility(participant=participant, by=parachute.bob)
    said = results(assessment)
    assert (assessment.outcome, said["E7"], said["E2"], said["E4"]) == (
        "unknown",
        "unknown",
        "not_applicable",
        "not_applicable",
    )
    assessment = actions.answer_criteria(
        participant=participant, answers={"E7": ("no", "no infection")}, by=parachute.alice
    )
    assert assessment.outcome == "eligible", [row["sentence"] for row in assessment.criteria]
    enrolment = actions.enrol_participant(
        participant=participant, enrolled_on=participant.screened_on, by=parachute.bob
    )
    again = actions.enrol_participant(participant=participant, enrolled_on=participant.screened_on, by=parachute.bob)
    assert again.pk == enrolment.pk
    # The planned date of the graft on the form is the day that days are counted from.
    assert participant.anchors.get().day == date(2026, 6, 15)


@pytest.mark.parametrize(
    "form, answers, criterion, result, sentence",
    [
        ("QS", {"SCALE": "lansky", "PERFORMANCE": "60"}, "I3", "not_met", "below 70"),
        ("QS", {"SCALE": "lansky", "PERFORMANCE": "70"}, "I3", "met", "at least 70"),
        ("QS", {"SCALE": "lansky", "PERFORMANCE": "ND"}, "I3", "unknown", "not known"),
        ("EC", {"DATE": "2026-05-20", "LVEF": "30"}, "E8", "met", "at most 30"),
        ("EC", {"DATE": "2026-05-20", "LVEF": "31"}, "E8", "not_met", "above 30"),
        ("EC", {"DATE": "2026-05-20", "LVEF": "<40"}, "E8", "unknown", "not known"),
        ("SH", {"GIVEN": "U"}, "E1", "unknown", "not known"),
        ("CO", {"ATG_PLANNED": "no"}, "I6", "not_met", "not Y"),
    ],
)
def test_typed_values_decide_their_criterion_and_missing_ones_leave_it_open(
    parachute: World, form: str, answers: dict[str, str], criterion: str, result: str, sentence: str
) -> None:
    participant = screened(parachute)
    fill(parachute, participant, **{form: answers})
    assessment = actions.check_eligibility(participant=participant, by=parachute.bob)
    row = next(row for row in assessment.criteria if row["id"] == criterion)
    assert (row["result"], sentence in row["sentence"]) == (result, True), row


@pytest.mark.parametrize(
    "stopped, result",
    [("2026-03-16", "met"), ("2026-03-15", "not_met"), ("mar 2026", "unknown"), ("UNK", "unknown")],
)
def test_serotherapy_within_three_months_is_read_from_the_rows_of_medication(
    parachute: World, stopped: str, result: str
) -> None:
    participant = screened(parachute)
    fill(parachute, participant, SH={"GIVEN": "Y"})
    for repeat, (drug, stop, given) in enumerate(
        [("alemtuzumab", stopped, "Y"), ("rituximab", "2025-01-01", "Y"), ("ciclosporin", "2026-05-01", "N")], start=1
    ):
        row = {"DRUG": drug, "START": "2025", "STOP": stop, "SEROTHERAPY": given}
        actions.save_entry(participant=participant, form="CM", repeat=repeat, answers=row, by=parachute.bob)
    assessment = actions.check_eligibility(participant=participant, by=parachute.bob)
    assert results(assessment)["E1"] == result


def test_every_value_names_its_source_and_its_day(parachute: World) -> None:
    participant = screened(parachute)
    fill(parachute, participant)
    values = selectors.item_values(participant)
    assert set(participant.protocol.addresses()) <= set(values)
    assert (values["EC.LVEF"].value, values["EC.LVEF"].observed_on) == (60, date(2026, 5, 20))
    assert values["EC.LVEF"].source.startswith("Echocardiography")
    assert values["DM.AGE"].value == 12
    assert values["VS.WEIGHT"].value is None


def test_nobody_is_enrolled_while_a_criterion_is_open(parachute: World) -> None:
    participant = screened(parachute)
    fill(parachute, participant)
    with pytest.raises(NotPossible, match="E7"):
        actions.enrol_participant(participant=participant, enrolled_on=participant.screened_on, by=parachute.bob)
    assert not hasattr(participant, "enrolment")
