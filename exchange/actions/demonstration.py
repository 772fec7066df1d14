"""The demonstration: three published definitions, two reconstructed trials, and a practice trial that is alive today.

Everything is made by the product's own actions, as its users would. Nobody in it is real.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.actions import open_account
from accounts.demo import DEMO_ACCOUNTS
from accounts.models import User
from adverse_events import actions as adverse_events
from adverse_events.domain.reporting import Report
from analysis import actions as analysis
from analysis.models import Gate
from casebook import actions as casebook
from casebook.domain.results import Written
from dosing import actions as dosing
from dosing import selectors as dosing_selectors
from dosing.domain.worksheet import as_source_says
from dosing.models import DoseWorksheet
from exchange.actions.extracts import import_extract
from exchange.domain.extract import Extract, translate
from trials import actions as trials
from trials.models import Membership, Participant, Site, Trial, Visit

DEFINITIONS = settings.BASE_DIR / "trials" / "definitions"
RECONSTRUCTIONS = Path(__file__).parent.parent / "reconstructions"
SINCE = date(2015, 6, 1)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class DemoTrial:
    """A definition, the name it runs under, and what kind of trial it is in the demonstration."""

    definition: str
    code: str
    kind: str


TRIALS = (
    DemoTrial("parachute", "parachute", Trial.Kind.RECONSTRUCTION),
    DemoTrial("parachute", "parachute-practice", Trial.Kind.PRACTICE),
    DemoTrial("nct07648992", "nct07648992", Trial.Kind.PRACTICE),
    DemoTrial("relax", "relax", Trial.Kind.RECONSTRUCTION),
)


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


def seed_demonstration(*, tell: Tell, demos: Sequence[DemoTrial] = TRIALS) -> None:
    """Make everything that is not there yet; a second call changes nothing."""
    users = _accounts()
    tell(f"{len(users)} practice accounts")
    for demo in demos:
        trial, is_new = _trial(demo)
        members = _memberships(trial, users)
        if is_new:
            tell(f"{trial.code}: definition published, {trial.sites.count()} sites")
        if demo.kind == Trial.Kind.RECONSTRUCTION:
            _reconstruction(trial, members, tell)
        elif demo.code == "parachute-practice":
            _practice(trial, members, tell)
        elif demo.code == "nct07648992":
            _practice_models(trial)


def _accounts() -> dict[str, User]:
    users = {}
    for account in DEMO_ACCOUNTS:
        user = User.objects.filter(username=account.username).first()
        users[account.username] = user or open_account(
            username=account.username,
            email=f"{account.username}@canopy.example",
            password=settings.DEMO_PASSWORD,
            display_name=account.username.replace("-", " ").capitalize(),
        )
    return users


@transaction.atomic
def _trial(demo: DemoTrial) -> tuple[Trial, bool]:
    known = Trial.objects.filter(code=demo.code).first()
    if known is not None:
        return known, False
    file = DEFINITIONS / demo.definition / "v1.yaml"
    version = trials.publish_protocol(
        text=file.read_text(encoding="utf-8"),
        file=str(file),
        kind=demo.kind,
        code=demo.code if demo.code != demo.definition else "",
        by=None,
        reason="demonstration",
    )
    for site in version.trial.sites.all():
        trials.record_site_approval(site=site, version=version, approved_on=SINCE, by=None, reason="demonstration")
    return version.trial, True


def _memberships(trial: Trial, users: Mapping[str, User]) -> dict[str, Membership]:
    """Site A of a demo account is the trial's first site, site B its second."""
    sites = dict(zip("AB", trial.sites.order_by("pk"), strict=False))
    members = {}
    for account in DEMO_ACCOUNTS:
        site: Site | None = sites.get(account.site)
        # Who works with a reconstruction looks at the whole of it.
        if trial.kind == Trial.Kind.RECONSTRUCTION:
            site = None
        user = users[account.username]
        known = Membership.objects.filter(user=user, trial=trial, role=account.role_key, valid_until=None).first()
        members[account.username] = known or trials.grant_membership(
            user=user,
            trial=trial,
            role=account.role_key,
            site=site,
            valid_from=SINCE,
            by=None,
            reason="demonstration",
        )
    return members


def _reconstruction(trial: Trial, members: Mapping[str, Membership], tell: Tell) -> None:
    """Import the reconstruction, decide its first gate as the publication did, and leave the last one to the user."""
    if not trial.participants.exists():
        with transaction.atomic():
            if _looks_up_a_table(trial):
                _practice_table(trial)
            import_extract(
                trial=trial,
                extract=read_extract(RECONSTRUCTIONS / trial.code),
                by=members["coordinator"],
                reason="Reconstruction from published figures; no real patients.",
                tell=lambda line: tell(f"{trial.code}: {line}"),
            )
    _bring_up_to_date(trial)
    gate = Gate.objects.filter(trial=trial, stage=1).first()
    if gate is not None and gate.state == "proposed":
        by = members["investigator"]
        if gate.safety_reviewed_at is None:
            gate = analysis.sign_safety_review(
                gate=gate, review="Adverse events of the first stage reviewed; nothing stands against going on.", by=by
            )
        analysis.decide_gate(
            gate=gate,
            decision="continue",
            reason="15 of 19, at least 13 needed (Lancet Haematol 2022; 9: e111-20).",
            by=by,
        )
        analysis.refresh_gates(trial=trial)
    tell(f"{trial.code}: endpoints adjudicated{', stage gates computed' if gate is not None else ''}")


def read_extract(folder: Path) -> Extract:
    """The extract in a folder: its tables and their mapping."""
    mapping = yaml.safe_load((folder / "mapping.yaml").read_text(encoding="utf-8"))
    tables = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as lines:
            tables[file.name] = list(csv.DictReader(lines))
    return translate(mapping, tables)


def _looks_up_a_table(trial: Trial) -> bool:
    return trial.protocol.dosing is not None and "table" in trial.protocol.dosing.parameters


def _practice_table(trial: Trial) -> None:
    """The synthetic dosing table, under the name that the trial's definition looks up. Never for clinical use."""
    file = settings.BASE_DIR / "dosing" / "tables" / "demo_not_for_clinical_use.yaml"
    cells = file.with_suffix(".csv").read_text(encoding="utf-8")
    why = "For practice only: not for clinical use."
    table = dosing.enter_table(
        trial=trial,
        description=file.read_text(encoding="utf-8"),
        cells=cells,
        code=str(trial.protocol.dosing.parameters["table"]) if trial.protocol.dosing else "",
        by=None,
        reason=why,
    )
    table = dosing.verify_table(table=table, cells=cells, by=None, reason=why)
    dosing.approve_table(table=table, by=None, reason=why)


def _practice_models(trial: Trial) -> None:
    """The invented parameter set and algorithm that level-guided doses follow. Never for clinical use."""
    why = "For practice only: not for clinical use."
    for file in ("parameter_sets/practice-atg.yaml", "algorithms/practice_sponsor.yaml"):
        content = (settings.BASE_DIR / "dosing" / file).read_text(encoding="utf-8")
        model = dosing.enter_model(trial=trial, content=content, by=None, reason=why)
        if model.status == "DRAFT":
            model = dosing.verify_model(model=model, content=content, by=None, reason=why)
        if model.status == "VERIFIED":
            dosing.approve_model(model=model, by=None, reason=why)


def _bring_up_to_date(trial: Trial) -> None:
    """What the worker does on its own a moment later; done here so that the first page shows it."""
    for needing in dosing_selectors.needing_work(timezone.localdate(), limit=1000):
        dosing.bring_up_to_date(participant=Participant.objects.get(pk=needing))
    participants = list(trial.participants.values_list("pk", flat=True))
    analysis.adjudicate(participants=participants, as_of=timezone.localdate())
    analysis.refresh_gates(trial=trial)


def _practice(trial: Trial, members: Mapping[str, Membership], tell: Tell) -> None:
    if trial.participants.exists():
        return
    today = timezone.localdate()
    sites = list(trial.sites.order_by("pk"))
    with transaction.atomic():
        _practice_table(trial)
        for child in CHILDREN:
            by = members["coordinator"] if child.site == 0 else members["coordinator-b"]
            _child(trial, sites[child.site], child, today, by)
    _bring_up_to_date(trial)
    tell(f"{trial.code}: {len(CHILDREN)} fictitious participants, from screening to day 140")


def _child(trial: Trial, site: Site, child: Child, today: date, by: Membership) -> None:
    zone = ZoneInfo(site.time_zone)
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
    participant = Participant.objects.select_related("trial", "site", "protocol_version__trial").get(pk=participant.pk)
    _forms(participant, child, screened, graft, by)
    if not child.complete:
        return
    _clinical_judgement(participant, by)
    first_dose = graft - timedelta(days=9)
    _before_first_dose(participant, child, first_dose, zone, by)
    if not child.enrolled:
        return
    casebook.enrol_participant(participant=participant, enrolled_on=min(first_dose, today), by=by)
    participant.refresh_from_db()
    worksheet = dosing.compute_worksheet(participant=participant)
    _visits_done(participant, by)
    if not child.released:
        return
    _verified_and_released(participant, worksheet)
    _infusions(participant, worksheet, today, zone, by)
    if graft > today:
        return
    entry = participant.entries.get(form="TX")
    casebook.save_entry(
        participant=participant,
        form="TX",
        visit=entry.visit,
        answers={"DATETIME": f"{graft.isoformat()}T13:30"},
        revision=entry.revision,
        by=by,
        reason="graft infused",
    )
    _visits_done(participant, by)
    for day, value in child.cd4.items():
        _draw(participant, graft + timedelta(days=day), {"LB.CD4": value, "LB.ALC": "0.40"}, zone, by)
    if child.graft_in_days < -130:
        _monitored_levels(participant, graft, zone, by)
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


def _clinical_judgement(participant: Participant, coordinator: Membership) -> None:
    """The answers that the protocol wants of a human; a criterion that does not apply is not asked."""
    assessment = casebook.check_eligibility(participant=participant, by=coordinator)
    asked = [row["id"] for row in assessment.criteria if row["needs_human"] and row["result"] == "unknown"]
    casebook.answer_criteria(
        participant=participant,
        answers=dict.fromkeys(asked, ("no", "")),
        by=_member_at(participant, "investigator", "investigator"),
    )


def _member_at(participant: Participant, username: str, role: str) -> Membership:
    """The membership of a practice account at the participant's site, given where the account has none there."""
    user = User.objects.get(username=username)
    known = Membership.objects.filter(
        user=user, trial=participant.trial, site=participant.site, role=role, valid_until=None
    ).first()
    return known or trials.grant_membership(
        user=user,
        trial=participant.trial,
        role=role,
        site=participant.site,
        valid_from=SINCE,
        by=None,
        reason="demonstration",
    )


def _verified_and_released(participant: Participant, worksheet: DoseWorksheet) -> None:
    """The pharmacist enters the covariates from the source document, independently, and releases the dose."""
    by = _member_at(participant, "pharmacist", "pharmacist")
    typed = {one["id"]: as_source_says(one) for one in worksheet.inputs["covariates"]}
    dosing.verify_worksheet(worksheet=worksheet, typed=typed, by=by)
    dosing.release_worksheet(worksheet=worksheet, by=by, reason="Compared with the source document.")


def _before_first_dose(
    participant: Participant, child: Child, first_dose: date, zone: ZoneInfo, by: Membership
) -> None:
    today = timezone.localdate()
    on = min(first_dose, today)
    _draw(participant, on, {"LB.ALC": child.alc, "LB.WBC": "4.10"}, zone, by, at=time(7, 10))
    visit: Visit = trials.record_visit(visit=participant.visits.get(code="BL"), done_on=on, by=by)
    casebook.save_entry(
        participant=participant, form="VS", visit=visit, answers={"WEIGHT": child.weight_kg}, complete=True, by=by
    )


def _infusions(participant: Participant, worksheet: DoseWorksheet, today: date, zone: ZoneInfo, by: Membership) -> None:
    """The infusions of the worksheet whose day has come, given as planned."""
    if worksheet.is_refused:
        return
    dosing_rule = participant.protocol.dosing
    product = dosing_rule.product if dosing_rule else ""
    for number, day in enumerate(worksheet.result["days"], start=1):
        on = date.fromisoformat(day["on"])
        started = datetime.combine(on, time(10, 0), zone)
        stopped = started + timedelta(hours=8)
        if stopped > timezone.now():
            return
        dosing.record_administration(
            participant=participant,
            infusion=number,
            started_at=started,
            stopped_at=stopped,
            dose_mg=Decimal(str(day["mg"])),
            product=product,
            batch="PRACTICE-1",
            by=by,
        )


def _draw(
    participant: Participant,
    on: date,
    values: Mapping[str, str],
    zone: ZoneInfo,
    by: Membership,
    *,
    at: time = time(8, 0),
) -> None:
    """A morning's draw; one of this morning is of this moment when the demonstration is made before that hour."""
    casebook.record_draw(
        participant=participant,
        sampled_at=min(datetime.combine(on, at, zone), timezone.now()),
        laboratory="PRACTICE-LAB",
        values={address: Written(value, "10^9/L") for address, value in values.items()},
        by=by,
    )


def _monitored_levels(participant: Participant, graft: date, zone: ZoneInfo, by: Membership) -> None:
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
        casebook.record_draw(
            participant=participant,
            sampled_at=datetime.combine(graft + timedelta(days=day), time(7, 45), zone),
            laboratory="PRACTICE-LAB",
            values={address: Written(value, unit)},
            by=by,
        )


def _visits_done(participant: Participant, by: Membership) -> None:
    """Every visit whose window has closed took place as planned; what is due now is left to the user."""
    today = timezone.localdate()
    for visit in participant.visits.filter(status="planned", latest_date__lt=today).order_by("latest_date"):
        done_on = visit.planned_date or visit.earliest_date
        if done_on is not None:
            trials.record_visit(visit=visit, done_on=done_on, by=by)
