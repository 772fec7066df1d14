"""A new trial is a file: an invented one goes from its definition to the proposal at its first gate without code."""

from __future__ import annotations

import ast
import io
import tokenize
from datetime import date, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from analysis import actions as analysis
from analysis.domain.gates import GateState
from analysis.domain.simon import TwoStage, operating_characteristics
from analysis.models import Adjudication, Gate
from casebook import actions as casebook
from casebook.domain.results import Written
from tests.world import DEFINITIONS, SINCE, person, proof
from trials import actions as trials
from trials.models import Membership, Participant, ProtocolVersion, Trial

ROOT = Path(__file__).resolve().parents[2]
FILE = DEFINITIONS / "hornbeam.yaml"
SCREENED_ON, INFUSION_ON = date(2025, 1, 7), date(2025, 1, 20)
#: Study days at which the CD4 count is taken, and counts above and not above 0.2 x 10^9/L three times in a row.
DAYS = (30, 60, 90, 120, 187)
REACHED = ("0.10", "0.21", "0.25", "0.30", "0.30")
#: Twice in a row with exactly the threshold between: "above" is not "at least".
NOT_REACHED = ("0.25", "0.30", "0.20", "0.25", "0.30")


@pytest.fixture
def version(db: None) -> ProtocolVersion:
    made = trials.publish_protocol(
        text=FILE.read_text(), file="hornbeam.yaml", kind=Trial.Kind.PRACTICE, by=None, reason="first version"
    )
    trials.record_site_approval(site=made.trial.sites.get(), version=made, approved_on=SINCE, by=None)
    return made


def member(version: ProtocolVersion, name: str, role: str) -> Membership:
    return trials.grant_membership(
        user=person(name),
        trial=version.trial,
        role=role,
        site=version.trial.sites.get(),
        valid_from=SINCE,
        by=None,
        reason="start of the trial",
    )


def treated(by: Membership, *, counts: tuple[str, ...], born: str = "2010-05-01", later_days: int = 0) -> Participant:
    """A child from screening to the last count, entered as it is at a site."""
    child = trials.register_participant(
        trial=by.trial, site=by.site, birth_date=born, sex="male", screened_on=SCREENED_ON, by=by
    )
    trials.record_consent(participant=child, version="1.0", signed_on=SCREENED_ON, signatory="parent", by=by)
    casebook.save_entry(participant=child, form="HX", answers={"SCORE": "2"}, by=by, complete=True)
    casebook.check_eligibility(participant=child, by=by)
    casebook.enrol_participant(participant=child, enrolled_on=SCREENED_ON + timedelta(days=3), by=by)
    child.refresh_from_db()
    infusion = INFUSION_ON + timedelta(days=later_days)
    trials.set_anchor(participant=child, day=infusion, is_actual=True, by=by)
    for day, count in zip(DAYS, counts, strict=True):
        casebook.record_draw(
            participant=child,
            sampled_at=infusion + timedelta(days=day - 1),  # the infusion is day 1 here
            values={"LB.CD4": Written(count, "10^9/L")},
            laboratory="H",
            by=by,
        )
    return Participant.objects.get(pk=child.pk)


def test_the_design_of_the_file_is_the_published_one(version: ProtocolVersion) -> None:
    """Simon R (1989) Control Clin Trials 10: 1-10, Table 1: 3/17, 10/37 has EN(p0) 26.0 and PET(p0) 0.55."""
    first, second = version.protocol.design.stages
    design = TwoStage(n1=first.n, r1=first.continue_if_at_least - 1, n=second.n, r=second.succeed_if_at_least - 1)
    found = operating_characteristics(design, 0.20)
    assert round(found.expected_n, 1) == 26.0
    assert round(found.early_termination, 2) == 0.55


def test_a_participant_reaches_the_endpoint_and_the_gate_proposes(version: ProtocolVersion) -> None:
    coordinator = member(version, "hanna", "coordinator")
    investigator = member(version, "hugo", "investigator")
    children = [treated(coordinator, counts=REACHED if n < 4 else NOT_REACHED, later_days=n) for n in range(17)]
    assert [visit.day for visit in children[0].visits.filter(code__startswith="M")] == [30, 60, 90, 120, 150, 180]
    analysis.adjudicate(participants=[child.pk for child in children], as_of=date(2025, 12, 1))
    results = {one.participant_id: one for one in Adjudication.objects.current().filter(endpoint="cd4_early")}
    first = results[children[0].pk]
    assert (first.status, first.event_day, first.is_evaluable) == ("reached", 60, True)
    assert [results[child.pk].status for child in children] == ["reached"] * 4 + ["not_reached"] * 13

    (gate,) = analysis.refresh_gates(trial=version.trial)
    assert (gate.state, gate.evaluable, gate.responders, gate.boundary) == (GateState.PROPOSED, 17, 4, 4)
    assert gate.proposal == "continue"
    gate = analysis.decide_gate(
        gate=gate, decision="continue", reason="As planned.", by=investigator, proof=proof(investigator)
    )
    assert gate.state == GateState.DECIDED

    # And on the screen, without a page of its own.
    client = Client()
    client.force_login(coordinator.user, backend="django.contrib.auth.backends.ModelBackend")
    for name, keys in {
        "trials:overview": {},
        "trials:protocol": {},
        "trials:participant": {"participant": children[0].pk},
        "casebook:casebook": {"participant": children[0].pk},
        "casebook:labs": {"participant": children[0].pk},
        "dosing:panel": {"participant": children[0].pk},
        "adverse_events:new": {"participant": children[0].pk},
        "adverse_events:table": {},
        "analysis:panel": {"participant": children[0].pk},
        "analysis:dashboard": {},
        "analysis:adjudications": {},
        "exchange:exports": {},
    }.items():
        answer = client.get(reverse(name, kwargs={"trial": "hornbeam", **keys}))
        assert answer.status_code == 200, name
    gate_page = client.get(reverse("analysis:gate", kwargs={"trial": "hornbeam", "stage": 1}))
    assert "4 of 17" in gate_page.content.decode()


def test_too_few_propose_to_stop(version: ProtocolVersion) -> None:
    coordinator = member(version, "hanna", "coordinator")
    children = [treated(coordinator, counts=REACHED if n < 3 else NOT_REACHED, later_days=n) for n in range(17)]
    analysis.adjudicate(participants=[child.pk for child in children], as_of=date(2025, 12, 1))
    analysis.refresh_gates(trial=version.trial)
    gate = Gate.objects.get(trial=version.trial, stage=1)
    assert (gate.responders, gate.proposal) == (3, "stop")


# --- No branch on a trial's name ------------------------------------------------------------------------------------

NAMES = ("parachute", "nct07648992", "relax")
PACKAGES = ("config", "exchange", "analysis", "dosing", "adverse_events", "casebook", "trials", "accounts", "audit")
#: Modules that are data about one trial, or that seed it, and why they may name it.
MAY_NAME = {
    "exchange/actions/demonstration.py": "the table of the trials that the demonstration seeds",
    "config/generated_docs.py": "which trial's export the generated page describes",
    "exchange/management/commands/reconcile.py": "an example in the help of a command",
    "trials/management/commands/publish_protocol.py": "examples in the help of a command",
}


def named_in_code(text: str) -> list[tuple[int, str]]:
    """Lines of Python in which a trial is named outside comments and docstrings."""
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            inside |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or token.start[0] in inside:
            continue
        if any(name in token.string.lower() for name in NAMES):
            found.append((token.start[0], token.string))
    return found


def test_the_search_sees_a_branch_and_no_docstring() -> None:
    text = '"""Of PARACHUTE."""\n# relax\nif trial.code == "parachute":\n    pass\n'
    assert named_in_code(text) == [(3, '"parachute"')]


def test_no_module_names_a_trial() -> None:
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            if hits := named_in_code(file.read_text()):
                found[name] = hits
    assert {name: hits for name, hits in found.items() if name not in MAY_NAME} == {}
    assert set(MAY_NAME) == set(found), "an exception that is no longer needed"
