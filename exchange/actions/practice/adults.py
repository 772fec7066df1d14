"""The adults of the practice trial whose doses follow drug levels: fictitious, from screening to day 8.

The groups are drawn by the product and known only then. For each way that levels can go, adults are enrolled until one
is drawn to the arm that follows levels; those drawn to the other arm get the fixed dose of the same days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from django.utils import timezone

from casebook import actions as casebook
from casebook.domain.results import Written
from dosing import actions as dosing
from exchange.actions.practice.making import (
    answer_clinically,
    as_it_is,
    cells,
    draw,
    graft,
    infuse,
    verify,
    verify_and_release,
    visits_done,
)
from trials import actions as trials
from trials.models import Membership, Participant, Site, Trial

ASSAY, LIMIT_UE_PER_ML = "Chinese programme", "0.5"
BEFORE_LEVELS = "Levels of days -5 and -4 are on their way; unrelated donor, as the protocol has it."
FEW_LEVELS = (
    "Two levels, both after the end of an infusion; the trend is clear. Unrelated donor, as the protocol has it."
)


class Ends(Enum):
    """How far the dose of an adult has come."""

    PROPOSED = "a proposal waits for the second person"
    VERIFIED = "verified, not released"
    GIVEN = "released and given"


@dataclass(frozen=True)
class Course:
    """One way that levels can go. ``levels`` are of day -4, before and after its infusion; ``later`` by study day."""

    graft_in_days: int
    levels: tuple[tuple[time, str], ...]
    ends: Ends
    later: tuple[tuple[int, str], ...] = ()


COURSES = (
    # Higher levels than most: less is given on the last two days. The whole course is over.
    Course(-8, ((time(8), "5.6"), (time(22), "12.4")), Ends.GIVEN, ((1, "6.9"), (3, "4.4"), (7, "2.7"))),
    # Low levels: more is proposed, and nobody has looked at it yet.
    Course(3, ((time(8), "1.9"), (time(22), "4.6")), Ends.PROPOSED),
    # The fixed dose would lead above the target.
    Course(3, ((time(8), "8.2"), (time(22), "17.9")), Ends.VERIFIED),
    # One of the two lies below the limit of quantification: it is no zero, nothing is proposed, the fixed dose stands.
    Course(3, ((time(8), "<0.5"), (time(22), "4.8")), Ends.PROPOSED),
)


@dataclass(frozen=True)
class Adult:
    age_years: int
    sex: str
    weight_kg: str
    diagnosis: str
    remission: str


#: As many as the worst draws need: four of the arm that follows levels, from permuted blocks of 4 and 6.
ADULTS = (
    Adult(34, "female", "58.4", "Acute myeloid leukaemia", "CR1"),
    Adult(51, "male", "72.5", "Acute lymphoblastic leukaemia", "CR1"),
    Adult(27, "male", "66.2", "Acute myeloid leukaemia", "CR2"),
    Adult(44, "female", "61.0", "Acute lymphoblastic leukaemia", "CR2"),
    Adult(19, "male", "70.8", "Acute myeloid leukaemia", "CR1"),
    Adult(60, "male", "80.6", "Acute myeloid leukaemia", "CR1"),
    Adult(38, "female", "54.9", "Acute lymphoblastic leukaemia", "CR1"),
    Adult(47, "male", "77.3", "Acute myeloid leukaemia", "CR2"),
    Adult(55, "female", "63.7", "Acute myeloid leukaemia", "CR1"),
    Adult(31, "male", "69.1", "Acute lymphoblastic leukaemia", "CR1"),
)
IN_SCREENING = Adult(42, "female", "59.3", "Acute myeloid leukaemia", "CR1")


def make_adults(trial: Trial, members: Mapping[str, Membership]) -> int:
    """Adults until every course has somebody, and one in screening; returns how many."""
    by, site = members["coordinator"], trial.sites.order_by("pk")[0]
    today = timezone.now().astimezone(ZoneInfo(site.time_zone)).date()
    waiting = iter(ADULTS)
    for course in COURSES:
        while True:
            participant = _enrolled(trial, site, next(waiting), today + timedelta(days=course.graft_in_days), by)
            if _follows_levels(participant):
                _by_levels(participant, course, today, by)
                break
            _fixed(participant, course, today, by)
    _screened(trial, site, IN_SCREENING, today + timedelta(days=20), today - timedelta(days=2), by)
    return trial.participants.count()


def _follows_levels(participant: Participant) -> bool:
    rule = participant.protocol.dosing
    return rule is not None and rule.by_group[participant.group].method == "level_guided"


# --- To the allocation --------------------------------------------------------------------------------------------


def _screened(trial: Trial, site: Site, adult: Adult, graft_on: date, on: date, by: Membership) -> Participant:
    participant = trials.register_participant(
        trial=trial,
        site=site,
        birth_date=date(on.year - adult.age_years, 1, 17).isoformat(),
        sex=adult.sex,
        screened_on=on,
        by=by,
    )
    trials.record_consent(participant=participant, version="1.0", signed_on=on, signatory=["participant"], by=by)
    participant = as_it_is(participant)
    answers: dict[str, dict[str, str]] = {
        "DX": {
            "GROUP": "malignancy",
            "DIAGNOSIS": adult.diagnosis,
            "REMISSION": adult.remission,
            "DRI": "intermediate",
        },
        "TX": {
            "PLANNED_DATE": graft_on.isoformat(),
            "DONOR_RELATION": "unrelated",
            "HLA_MATCH": "10",
            "SOURCE": "pbsc",
            "DONOR_AGE": "29",
            "DONOR_SEX": "M",
        },
        "QS": {"ECOG": "1"},
        "SE": {"CMV_PATIENT": "positive", "CMV_DONOR": "positive"},
        "CO": {"REGIMEN": "busulfan, cyclophosphamide", "INTENSITY": "MAC"},
    }
    if adult.sex == "female":
        answers["RP"] = {"PREGNANT": "N"}
    visit = participant.visits.get(code="SCR")
    for form, typed in answers.items():
        casebook.save_entry(
            participant=participant,
            form=form,
            visit=None if participant.protocol.form(form).per_participant else visit,
            answers=typed,
            complete=form != "TX",
            by=by,
        )
    return participant


def _enrolled(trial: Trial, site: Site, adult: Adult, graft_on: date, by: Membership) -> Participant:
    """Screened, found eligible, weighed and allocated on day -6; the product draws the group."""
    allocated_on = graft_on - timedelta(days=6)
    participant = _screened(trial, site, adult, graft_on, graft_on - timedelta(days=20), by)
    chemistry = {
        "LB.ALT": Written("31", "U/L", upper_limit="40"),
        "LB.AST": Written("27", "U/L", upper_limit="40"),
        "LB.BILI": Written("11.3", "µmol/L", upper_limit="21"),
        "LB.CREA": Written("68", "µmol/L", upper_limit="84"),
    }
    counts = cells({"LB.WBC": "3.10", "LB.ANC": "1.900", "LB.ALC": "0.840", "LB.PLT": "142"})
    draw(participant, allocated_on, chemistry | counts, by)
    answer_clinically(participant, by)
    trials.record_visit(visit=participant.visits.get(code="SCR"), done_on=participant.screened_on, by=by)
    visit = trials.record_visit(visit=participant.visits.get(code="RAND"), done_on=allocated_on, by=by)
    casebook.save_entry(
        participant=participant, form="VS", visit=visit, answers={"WEIGHT": adult.weight_kg}, complete=True, by=by
    )
    casebook.enrol_participant(participant=as_it_is(participant), enrolled_on=allocated_on, by=by)
    return as_it_is(participant)


# --- From the first dose on ---------------------------------------------------------------------------------------


def _fixed(participant: Participant, course: Course, today: date, by: Membership) -> None:
    """The fixed dose on every day; its levels are measured as well."""
    plan = dosing.compute_worksheet(participant=participant)
    verify_and_release(plan)
    infuse(participant, plan, by)
    _after_the_graft(participant, course, today, by)


def _by_levels(participant: Participant, course: Course, today: date, by: Membership) -> None:
    """Two fixed doses, two levels, and the doses of the open days as far as the course goes."""
    graft_on = today + timedelta(days=course.graft_in_days)
    plan = dosing.compute_worksheet(participant=participant)
    verify_and_release(plan, BEFORE_LEVELS)
    measured_on = graft_on - timedelta(days=4)
    infuse(participant, plan, by, until=measured_on)
    for at, text in course.levels:
        draw(participant, measured_on, _level(text), by, at=at, laboratory=ASSAY)
    proposed = dosing.compute_worksheet(participant=as_it_is(participant))
    if course.ends is Ends.VERIFIED:
        verify(proposed)
    elif course.ends is Ends.GIVEN:
        verify_and_release(proposed, FEW_LEVELS)
        infuse(participant, proposed, by)
    _after_the_graft(participant, course, today, by)


def _level(text: str) -> dict[str, Written]:
    return {"PC.ATG_ACTIVE": Written(text, "UE/mL", lloq=LIMIT_UE_PER_ML)}


def _after_the_graft(participant: Participant, course: Course, today: date, by: Membership) -> None:
    graft_on = today + timedelta(days=course.graft_in_days)
    if graft_on < today:
        graft(participant, graft_on, by)
        for day, text in course.later:
            draw(participant, graft_on + timedelta(days=day), _level(text), by, laboratory=ASSAY)
        viral = {address: Written("<200", "copies/mL") for address in ("VL.CMV", "VL.EBV")}
        draw(participant, graft_on + timedelta(days=7), viral, by)
    visits_done(participant, today, by)
