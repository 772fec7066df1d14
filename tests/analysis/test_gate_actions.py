"""A gate takes its snapshot when its stage is complete, waits for a person, and stays as it was decided."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, transaction

from accounts.roles import Permission
from analysis import actions, selectors, tasks
from analysis.domain.gates import GateState
from analysis.models import Adjudication, Gate
from analysis.permissions import CannotDecide
from audit.models import FieldChange
from tests.analysis.test_adjudication import AFTER_ALL, NOT_REACHED, REACHED, happened, measured, on_day
from tests.world import PEOPLE, World, proof
from trials import actions as trials
from trials.models import Participant

pytestmark = pytest.mark.django_db


def followed(world: World, outcome: str, *, after_days: int = 0) -> Participant:
    """A participant of site A, grafted so many days after the first, whose window is over."""
    participant = world.enrolled(graft_on=on_day(after_days))
    series = {"reached": REACHED, "not_reached": NOT_REACHED, "no_data": ((14, "0.01"),)}[outcome]
    measured(world, participant, *[(day + after_days, value) for day, value in series])
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    return participant


def stage(world: World, number: int) -> Gate:
    return Gate.objects.get(trial=world.trial, stage=number)


def proposed(world: World, *outcomes: str) -> Gate:
    """The first gate (3 of 4 needed), proposed on four participants."""
    for after_days, outcome in enumerate(outcomes or ("reached", "reached", "reached", "not_reached")):
        followed(world, outcome, after_days=after_days)
    actions.refresh_gates(trial=world.trial)
    return stage(world, 1)


def reviewed(world: World, gate: Gate) -> Gate:
    return actions.sign_safety_review(
        gate=gate, review="No unexpected toxicity.", by=world.alice, proof=proof(world.alice)
    )


def decided(world: World, decision: str = "continue") -> Gate:
    return actions.decide_gate(
        gate=reviewed(world, proposed(world)),
        decision=decision,
        reason="As planned.",
        by=world.alice,
        proof=proof(world.alice),
    )


# --- The proposal -------------------------------------------------------------------------------------------------


def test_the_gate_waits_until_the_last_of_the_stage_is_decided(world: World) -> None:
    for n in range(3):
        followed(world, "reached", after_days=n)
        assert actions.refresh_gates(trial=world.trial) == []
    assert stage(world, 1).state == GateState.WAITING
    followed(world, "not_reached", after_days=3)
    (gate,) = actions.refresh_gates(trial=world.trial)
    assert (gate.state, gate.responders, gate.evaluable, gate.boundary, gate.proposal) == (
        GateState.PROPOSED,
        3,
        4,
        3,
        "continue",
    )
    assert actions.refresh_gates(trial=world.trial) == []  # twice is once


def test_too_few_responders_propose_to_stop(world: World) -> None:
    gate = proposed(world, "reached", "reached", "not_reached", "no_data")
    assert (gate.responders, gate.proposal) == (2, "stop")
    assert gate.snapshot["unresolved"] == ["P004"]
    assert gate.snapshot["sentence"].endswith("Counted as not reached for want of data: P004.")


@pytest.mark.requirement("RL4")
def test_the_snapshot_holds_who_was_counted_the_design_and_the_safety_data(world: World) -> None:
    gate = proposed(world)
    assert [(s["number"], s["status"], s["evaluable"]) for s in gate.snapshot["participants"]] == [
        ("P001", "reached", True),
        ("P002", "reached", True),
        ("P003", "reached", True),
        ("P004", "not_reached", True),
    ]
    assert gate.snapshot["design"]["null"] == "0.6"
    assert gate.snapshot["safety"]["grade_3"] == 0
    assert len(gate.snapshot_sha256) == 64


def test_somebody_followed_without_a_result_yet_may_still_be_among_the_first(world: World) -> None:
    world.enrolled(graft_on=on_day(-1))  # grafted before the others; nothing is decided of them yet
    for n in range(3):
        followed(world, "reached", after_days=n)
    died = Participant.objects.get(number="P002")
    happened(world, died, "death", on_day(40).isoformat())
    actions.adjudicate(participants=[died.pk], as_of=AFTER_ALL)
    followed(world, "reached", after_days=3)
    assert actions.refresh_gates(trial=world.trial) == []


def test_who_left_before_the_graft_holds_no_gate_back(world: World) -> None:
    gone = world.enrolled(graft_on=None)
    trials.withdraw_participant(participant=gone, on=on_day(-5), reason="refused", by=world.alice)
    trials.open_replacement(participant=gone, reason="left before the graft", by=None)
    assert proposed(world).state == GateState.PROPOSED


def test_who_is_replaced_is_passed_over_and_the_next_one_counts(world: World) -> None:
    first = followed(world, "reached", after_days=0)
    happened(world, first, "relapse", on_day(60).isoformat())
    actions.adjudicate(participants=[first.pk], as_of=AFTER_ALL)
    for n in range(1, 5):  # four more fit, since one place was opened again
        followed(world, "reached", after_days=n)
    (gate,) = actions.refresh_gates(trial=world.trial)
    assert [seat["number"] for seat in gate.snapshot["participants"]] == ["P002", "P003", "P004", "P005"]


# --- The decision -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("GAT3")
def test_the_protocol_asks_for_a_signed_safety_review_first(world: World) -> None:
    gate = proposed(world)
    with pytest.raises(CannotDecide, match="signed safety review first"):
        actions.decide_gate(
            gate=gate, decision="continue", reason="As planned.", by=world.alice, proof=proof(world.alice)
        )
    gate = reviewed(world, gate)
    assert (gate.safety_reviewed_by, gate.safety_review) == (world.alice, "No unexpected toxicity.")
    with pytest.raises(CannotDecide, match="is signed"):
        reviewed(world, gate)
    gate = actions.decide_gate(
        gate=gate, decision="continue", reason="As planned.", by=world.alice, proof=proof(world.alice)
    )
    assert (gate.state, gate.decision, gate.decided_by, gate.decision_reason) == (
        GateState.DECIDED,
        "continue",
        world.alice,
        "As planned.",
    )


def test_to_continue_opens_the_places_of_the_next_stage(world: World) -> None:
    decided(world)
    world.trial.counter.refresh_from_db()
    assert world.trial.counter.stage == 2
    assert world.enrolled().number == "P005"


def test_to_stop_holds_enrolment_with_the_reason(world: World) -> None:
    decided(world, "stop")
    with pytest.raises(Exception, match="Stage 1 was stopped: As planned."):
        world.enrolled()
    actions.refresh_gates(trial=world.trial)
    assert stage(world, 2).state == GateState.WAITING


@pytest.mark.parametrize("decision, reason", [("success", "As planned."), ("", "As planned."), ("continue", "  ")])
def test_a_decision_is_one_that_the_stage_has_and_has_a_reason(world: World, decision: str, reason: str) -> None:
    gate = reviewed(world, proposed(world))
    with pytest.raises(ValidationError):
        actions.decide_gate(gate=gate, decision=decision, reason=reason, by=world.alice, proof=proof(world.alice))
    assert stage(world, 1).state == GateState.PROPOSED


def test_what_was_read_is_what_is_decided(world: World) -> None:
    gate = proposed(world)
    seen = gate.snapshot_sha256
    actions.renew_proposal(gate=gate, reason="late laboratory data", by=world.alice)
    with pytest.raises(CannotDecide, match="newer snapshot"):
        actions.sign_safety_review(gate=gate, review="Fine.", by=world.alice, proof=proof(world.alice), seen=seen)


#: Verb, who may: as the roles say.
DEEDS = {
    "sign": (
        Permission.SIGN_SAFETY_REVIEW,
        lambda gate, by: actions.sign_safety_review(gate=gate, review="x", by=by, proof=proof(by)),
    ),
    "decide": (
        Permission.DECIDE_GATE,
        lambda gate, by: actions.decide_gate(gate=gate, decision="continue", reason="x", by=by, proof=proof(by)),
    ),
    "renew": (Permission.DECIDE_GATE, lambda gate, by: actions.renew_proposal(gate=gate, reason="x", by=by)),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_only_the_roles_that_hold_the_permission_act_on_a_gate(world: World, deed: str) -> None:
    permission, act = DEEDS[deed]
    gate = proposed(world)
    if deed == "decide":
        gate = reviewed(world, gate)
    allowed = {name for name in PEOPLE if world.members[name].may(permission)}
    assert allowed == {"alice", "ben"}
    for name in sorted(set(PEOPLE) - allowed):
        with pytest.raises(PermissionDenied):
            act(gate, world.members[name])
    act(gate, world.alice)


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("state", GateState)
def test_every_verb_in_every_state(world: World, state: GateState, deed: str) -> None:
    gate = {
        GateState.WAITING: lambda: actions.refresh_gates(trial=world.trial) or stage(world, 1),
        GateState.PROPOSED: lambda: reviewed(world, proposed(world)) if deed != "sign" else proposed(world),
        GateState.DECIDED: lambda: decided(world),
    }[state]()
    _, act = DEEDS[deed]
    if state is GateState.PROPOSED:
        act(gate, world.alice)
    else:
        with pytest.raises(CannotDecide):
            act(gate, world.alice)


# --- Late data ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("GAT2")
def test_late_data_never_change_a_decided_gate_and_are_shown_beside_it(world: World) -> None:
    gate = decided(world)
    before = Gate.objects.filter(pk=gate.pk).values().get()
    late = Participant.objects.get(number="P004")
    measured(world, late, (103, "0.2"))  # day 100 of P004, who was grafted three days after P001
    tasks.sweep()
    assert Adjudication.objects.current().get(participant=late).status == "reached"
    assert Gate.objects.filter(pk=gate.pk).values().get() == before
    assert [change.sentence for change in selectors.changed_since(gate)] == [
        "P004: counted as not reached; now reached."
    ]


def test_a_participant_who_turns_out_to_be_one_of_the_first_is_shown_beside(world: World) -> None:
    gate = decided(world)
    counted = Participant.objects.get(number="P001")
    happened(world, counted, "relapse", on_day(50).isoformat())
    tasks.sweep()
    followed(world, "reached", after_days=30)
    assert [change.sentence for change in selectors.changed_since(gate)] == [
        "P001: counted as evaluable; now not evaluable.",
        "P005: not counted; now among the 4 of the stage.",
    ]


@pytest.mark.requirement("GAT2")
@pytest.mark.parametrize(
    "sql", ["UPDATE analysis_gate SET responders = 4 WHERE stage = 1", "DELETE FROM analysis_gate WHERE stage = 1"]
)
def test_the_database_keeps_a_decided_gate(world: World, sql: str) -> None:
    from django.db import connection

    decided(world)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    assert stage(world, 1).responders == 3


def test_the_database_keeps_a_result(world: World) -> None:
    participant = followed(world, "reached")
    with pytest.raises(DatabaseError), transaction.atomic():
        Adjudication.objects.filter(participant=participant).update(status="not_reached")


def test_a_proposal_is_renewed_on_late_data_and_asks_for_a_new_review(world: World) -> None:
    gate = reviewed(world, proposed(world))
    late = Participant.objects.get(number="P004")
    measured(world, late, (103, "0.2"))
    tasks.sweep()
    assert stage(world, 1).responders == 3  # a proposal changes only when a person asks
    gate = actions.renew_proposal(gate=gate, reason="late laboratory data", by=world.alice)
    assert (gate.state, gate.responders, gate.safety_reviewed_at, gate.safety_review) == (
        GateState.PROPOSED,
        4,
        None,
        "",
    )


def test_a_renewed_gate_waits_where_its_stage_is_no_longer_complete(world: World) -> None:
    gate = proposed(world)
    counted = Participant.objects.get(number="P001")
    happened(world, counted, "death", on_day(50).isoformat())
    tasks.sweep()
    gate = actions.renew_proposal(gate=gate, reason="P001 died on day 50", by=world.alice)
    assert (gate.state, gate.snapshot, gate.snapshot_sha256) == (GateState.WAITING, {}, "")


@pytest.mark.django_db(transaction=True)
def test_the_trail_tells_who_decided_and_what_the_renewed_proposal_was(world: World) -> None:
    gate = proposed(world)
    first = gate.snapshot_sha256
    gate = actions.renew_proposal(gate=gate, reason="late laboratory data", by=world.alice)
    actions.decide_gate(
        gate=reviewed(world, gate), decision="continue", reason="As planned.", by=world.alice, proof=proof(world.alice)
    )
    changes = FieldChange.objects.filter(table_name="analysis_gate", row_id=str(gate.pk)).order_by("trail_id")
    told = [(c.user_name, c.reason) for c in changes.filter(field="state") if c.old_value]
    assert told == [
        ("Canopy", "stage gate"),
        ("Alice", "late laboratory data"),
        ("Canopy", "stage gate"),
        ("Alice", "As planned."),
    ]
    assert first in [c.old_value for c in changes.filter(field="snapshot_sha256")]


# --- The end ------------------------------------------------------------------------------------------------------


def test_the_final_analysis_handles_another_number_than_planned(world: World) -> None:
    """11 instead of 12 evaluable: the boundary keeps the conditional error that stage one left.

    By hand, after 3 of 4: P(X >= 7 | 8, 0.6) = 0.106 was left; of 7 more, P(X >= 6) = 0.159 is too much and
    P(X >= 7) = 0.028 is not. So 3 + 7 are needed.
    """
    decided(world)
    for n in range(4, 11):
        followed(world, "reached", after_days=n)
    actions.refresh_gates(trial=world.trial)
    assert stage(world, 2).state == GateState.WAITING
    trials.close_accrual(trial=world.trial, on=AFTER_ALL - timedelta(days=1), by=world.alice, reason="enough")
    tasks.sweep()  # the end of accrual is no observation; the sweep looks at every gate that waits
    gate = stage(world, 2)
    assert (gate.state, gate.responders, gate.evaluable, gate.boundary, gate.proposal) == (
        GateState.PROPOSED,
        10,
        11,
        10,
        "success",
    )
    assert "the design's 10 of 12, for 11" in gate.snapshot["sentence"]
    gate = actions.decide_gate(
        gate=reviewed(world, gate), decision="success", reason="Boundary met.", by=world.alice, proof=proof(world.alice)
    )
    assert gate.decision == "success"
