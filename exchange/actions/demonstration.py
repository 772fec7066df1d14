"""The demonstration: three published definitions, two reconstructed trials, and two practice trials alive today.

Everything is made by the product's own actions, as its users would. Nobody in it is real.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.actions import open_account
from accounts.demo import DEMO_ACCOUNTS
from accounts.models import User
from accounts.signing import Proof
from analysis import actions as analysis
from analysis.models import Gate
from dosing import actions as dosing
from dosing import selectors as dosing_selectors
from exchange.actions.extracts import import_extract
from exchange.actions.practice.adults import make_adults
from exchange.actions.practice.children import make_children
from exchange.actions.practice.making import SINCE
from exchange.domain.extract import Extract, translate
from trials import actions as trials
from trials.models import Membership, Participant, Site, Trial

DEFINITIONS = settings.BASE_DIR / "trials" / "definitions"
RECONSTRUCTIONS = Path(__file__).parent.parent / "reconstructions"

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
            _children(trial, members, tell)
        elif demo.code == "nct07648992":
            _adults(trial, members, tell)


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
        elif account.site and site is None:
            continue  # who works at a second site has nothing to do with a trial of one site
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
        proof = Proof(by.user_id, ("the demonstration, no password",), timezone.now())
        if gate.safety_reviewed_at is None:
            gate = analysis.sign_safety_review(
                gate=gate,
                review="Adverse events of the first stage reviewed; nothing stands against going on.",
                by=by,
                proof=proof,
            )
        analysis.decide_gate(
            gate=gate,
            decision="continue",
            reason="15 of 19, at least 13 needed (Lancet Haematol 2022; 9: e111-20).",
            by=by,
            proof=proof,
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


def _children(trial: Trial, members: Mapping[str, Membership], tell: Tell) -> None:
    if trial.participants.exists():
        return
    with transaction.atomic():
        _practice_table(trial)
        made = make_children(trial, members)
    _bring_up_to_date(trial)
    tell(f"{trial.code}: {made} fictitious participants, from screening to day 140")


def _adults(trial: Trial, members: Mapping[str, Membership], tell: Tell) -> None:
    _practice_models(trial)
    if trial.participants.exists():
        return
    with transaction.atomic():
        made = make_adults(trial, members)
    _bring_up_to_date(trial)
    tell(
        f"{trial.code}: {made} fictitious participants; levels guide the doses of those drawn to the individualised arm"
    )
