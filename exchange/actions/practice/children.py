"""The children of the practice trial of PARACHUTE: fictitious, from screening to day 140."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta

from django.utils import timezone

from adverse_events import actions as adverse_events
from adverse_events.domain.reporting import Report
from casebook import actions as casebook
from casebook.domain.results import Written
from dosing import actions as dosing
from exchange.actions.practice.making import (
    answer_clinically,
    as_it_is,
    cells,
    draw,
    infuse,
    verify_and_release,
    visits_done,
)
from exchange.actions.practice.making import graft as graft_infused
from trials import actions as trials
from trials.models import Membership, Participant, Site, Trial, Visit


@dataclass(frozen=True)
class Child:
    """A fictitious participant of the practice trial; ``graft_in_days`` counts from today, negative is the past.

    ``cd4`` and ``alc`` map a study day to a value in 10^9/L.
    """

    site: int
    age_years: int
    sex: str
    weight_kg: str
    alc: str
    graft_source: str
    disease: str
    graft_in_days: int
    enrolled: bool = True
    complete: bool = True
    released: bool = True
    cd4: Mapping[int, str] = field(default_factory=dict)


CHILDREN = (
    Child(0, 6, "female", "21.4", "0.62", "bone_marrow", "malignancy", 24, enrolled=False, complete=False),
    Child(0, 3, "male", "14.2", "1.80", "cord_blood", "immune_hlh_autoimmune", 9, enrolled=False),
    Child(0, 9, "male", "31.5", "0.44", "bone_marrow", "bone_marrow_failure", 9, released=False),
    Child(1, 12, "female", "38.0", "1.10", "cord_blood", "metabolic_benign_haem", 7),
    Child(
        0, 4, "female", "16.8", "2.10", "cord_blood", "malignancy", -38,
        cd4={14: "<0.01", 21: "0.018", 28: "0.041", 35: "0.056"},
    ),
    Child(
        0, 15, "male", "52.3", "0.95", "bone_marrow", "malignancy", -97,
        cd4={14: "<0.01", 28: "0.012", 42: "0.024", 56: "0.031", 70: "0.047", 84: "0.052", 91: "0.049"},
    ),
    Child(
        1, 7, "male", "24.9", "1.45", "bone_marrow", "immune_hlh_autoimmune", -140,
        cd4={14: "0.015", 21: "0.038", 28: "0.052", 35: "0.071", 42: "0.090", 63: "0.120", 84: "0.160", 100: "0.210"},
    ),
)  # fmt: skip


def make_children(trial: Trial, members: Mapping[str, Membership]) -> int:
    """Every child of the list, at their site; returns how many."""
    sites = list(trial.sites.order_by("pk"))
    for child in CHILDREN:
        by = members["coordinator"] if child.site == 0 else members["coordinator-b"]
        _child(trial, sites[child.site], child, timezone.localdate(), by)
    return len(CHILDREN)


def _child(trial: Trial, site: Site, child: Child, today: date, by: Membership) -> None:
    graft = today + timedelta(days=child.graft_in_days)
    screened = min(graft - timedelta(days=26), today - timedelta(days=2))
    participant = trials.register_participant(
        trial=trial,
        site=site,
        birth_date=screened.replace(year=screened.year - child.age_years, month=3, day=9).isoformat(),
        sex=child.sex,
        screened_on=screened,
        by=by,
    )
    trials.record_consent(
        participant=participant,
        version="1.0",
        signed_on=screened,
        signatory=["parent"] if child.age_years < 12 else ["participant", "parent"],
        by=by,
    )
    participant = as_it_is(participant)
    _forms(participant, child, screened, graft, by)
    if not child.complete:
        return
    answer_clinically(participant, by)
    first_dose = graft - timedelta(days=9)
    _before_first_dose(participant, child, first_dose, by)
    if not child.enrolled:
        return
    casebook.enrol_participant(participant=participant, enrolled_on=min(first_dose, today), by=by)
    participant.refresh_from_db()
    worksheet = dosing.compute_worksheet(participant=participant)
    visits_done(participant, today, by)
    if not child.released:
        return
    verify_and_release(worksheet)
    infuse(participant, worksheet, by)
    if graft > today:
        return
    graft_infused(participant, graft, by)
    visits_done(participant, today, by)
    for day, value in child.cd4.items():
        draw(participant, graft + timedelta(days=day), cells({"LB.CD4": value, "LB.ALC": "0.40"}), by)
    if child.graft_in_days < -130:
        _monitored_levels(participant, graft, by)
    if child.graft_in_days < -90:
        adverse_events.record_adverse_event(
            participant=participant,
            report=Report(
                verbatim="Febrile neutropenia",
                term="Febrile neutropenia",
                grade=3,
                started=(graft + timedelta(days=6)).isoformat(),
                ended=(graft + timedelta(days=12)).isoformat(),
                outcome="recovered",
                is_serious=False,
                relations={"thymoglobulin": "unlikely"},
            ),
            by=by,
        )


def _forms(participant: Participant, child: Child, screened: date, graft: date, by: Membership) -> None:
    """Screening as a coordinator enters it; the first child's is still in progress."""
    disease = {"GROUP": child.disease, "DIAGNOSIS": "fictitious diagnosis"}
    disease["REMISSION"] = "CR1" if child.disease == "malignancy" else "NA"
    if child.disease == "bone_marrow_failure":
        disease["SAA_OR_FANCONI"] = "Y"
    answers: dict[str, dict[str, str]] = {
        "DX": disease,
        "QS": {"SCALE": "lansky" if child.age_years < 16 else "karnofsky", "PERFORMANCE": "90"},
        "EC": {"DATE": screened.isoformat(), "LVEF": "62"},
        "RP": {"POSTPUBERTAL": "N"} | ({"MENARCHE": "N"} if child.sex == "female" else {}),
        "SE": {"CMV_PATIENT": "positive", "EBV_PATIENT": "positive", "CMV_DONOR": "negative", "EBV_DONOR": "negative"},
        "SH": {"GIVEN": "N"},
        "TX": {
            "PLANNED_DATE": graft.isoformat(),
            "TRANSPLANT_NUMBER": "1",
            "DONOR_RELATION": "unrelated",
            "SOURCE": child.graft_source,
            "TCELL_MANIPULATION": "none",
            "HLA": "fully_matched",
        },
        "CO": {
            "ATG_PLANNED": "Y",
            "REGIMEN": "fludarabine, busulfan",
            "INTENSITY": "RIC" if child.disease == "bone_marrow_failure" else "MAC",
        },
    }
    in_progress = {"DX", "QS"}
    visit = participant.visits.get(code="SCR")
    for form, typed in answers.items():
        if not child.complete and form not in in_progress:
            continue
        per_participant = participant.protocol.form(form).per_participant
        casebook.save_entry(
            participant=participant,
            form=form,
            visit=None if per_participant else visit,
            answers=typed,
            complete=form != "TX",
            by=by,
        )


def _before_first_dose(participant: Participant, child: Child, first_dose: date, by: Membership) -> None:
    on = min(first_dose, timezone.localdate())
    draw(participant, on, cells({"LB.ALC": child.alc, "LB.WBC": "4.10"}), by, at=time(7, 10))
    visit: Visit = trials.record_visit(visit=participant.visits.get(code="BL"), done_on=on, by=by)
    casebook.save_entry(
        participant=participant, form="VS", visit=visit, answers={"WEIGHT": child.weight_kg}, complete=True, by=by
    )


def _monitored_levels(participant: Participant, graft: date, by: Membership) -> None:
    """Invented levels of the drugs that the protocol monitors: some in the target, some below and above it."""
    levels = (
        (-5, "PC.BUSULFAN_AUC", "88.4", "mg·h/L"),
        (3, "PC.CICLOSPORIN", "118", "µg/L"),
        (10, "PC.CICLOSPORIN", "176", "µg/L"),
        (17, "PC.CICLOSPORIN", "232", "µg/L"),
        (24, "PC.CICLOSPORIN", "291", "µg/L"),
        (31, "PC.CICLOSPORIN", "205", "µg/L"),
    )
    for day, address, value, unit in levels:
        draw(participant, graft + timedelta(days=day), {address: Written(value, unit)}, by, at=time(7, 45))
