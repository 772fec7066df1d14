"""Reads of the analysis floor: what stands, what waits, what a gate counts now."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from django.db.models import QuerySet

from adverse_events import selectors as adverse_events
from analysis import datasets
from analysis.domain import gates
from analysis.domain.consecutive_threshold import Status
from analysis.domain.endpoint_methods import COMPUTED
from analysis.models import Adjudication, AdjudicationNeed, Gate
from trials.domain.definition import GroupKind
from trials.models import Membership, Trial


def gates_of(membership: Membership) -> list[Gate]:
    """The stage gates of the membership's trial, in order."""
    return list(Gate.objects.filter(trial_id=membership.trial_id).select_related("trial").order_by("stage"))


def gate_for(membership: Membership, stage: int) -> Gate | None:
    return Gate.objects.filter(trial_id=membership.trial_id, stage=stage).select_related("trial").first()


def count_of(gate: Gate) -> gates.Count:
    """What the gate's stage counts on the data of now, whatever was proposed or decided."""
    protocol = gate.protocol_version.protocol
    design = protocol.design
    stages = [
        gates.Stage(stage.n, int(stage.continue_if_at_least or stage.succeed_if_at_least or 0))
        for stage in design.stages
    ]
    first = Gate.objects.filter(trial=gate.trial, stage=1).exclude(decision="").first()
    # Everybody enrolled, whatever is known of them: who is still followed may turn out to be among those counted.
    enrolled = {
        person.participant
        for person in datasets.persons(gate.trial, design.endpoint)
        if person.is_enrolled and person.kind is not GroupKind.EXTERNAL
    }
    seats = [
        gates.Seat(e.participant, e.number, e.anchor_day, Status(e.status), e.evaluable)
        for e in datasets.adjudications(gate.trial, design.endpoint)
        if e.participant in enrolled
    ]
    counter = getattr(gate.trial, "counter", None)
    return gates.GATED_DESIGNS[design.method](
        stages,
        design.null,
        stage=gate.stage,
        seats=seats,
        accrual_closed=counter is not None and counter.closed_on is not None,
        stage1_responders=first.responders if first else None,
    )


def has_next_stage(gate: Gate) -> bool:
    return gate.stage < len(gate.protocol_version.protocol.design.stages)


def changed_since(gate: Gate) -> list[str]:
    """What late data would say otherwise of the participants that the gate's snapshot counted, one sentence each."""
    if not gate.snapshot:
        return []
    now = {e.participant: e for e in datasets.adjudications(gate.trial, gate.protocol_version.protocol.design.endpoint)}
    sentences = []
    for seat in gate.snapshot["participants"]:
        current = now.get(seat["participant"])
        if current is None:
            sentences.append(f"{seat['number']}: counted as {seat['status']}; there is no result now.")
        elif current.status != seat["status"]:
            sentences.append(f"{seat['number']}: counted as {seat['status']}; now {current.status}.")
        elif current.evaluable != seat["evaluable"]:
            sentences.append(f"{seat['number']}: counted as evaluable; now {_known(current.evaluable)}.")
    return sentences


def _known(evaluable: bool | None) -> str:
    return {True: "evaluable", False: "not evaluable", None: "not known"}[evaluable]


def safety_summary(trial: Trial) -> dict[str, int]:
    """Adverse events of the trial's own participants by grade, as a gate's safety review reads them."""
    grades = Counter(event.grade for event in adverse_events.events_of_trial(trial) if not event.is_external)
    return {f"grade_{grade}": grades[grade] for grade in range(1, 6)}


def adjudication_of(membership: Membership, participant: int) -> QuerySet[Adjudication]:
    """Every adjudication of one participant, newest first: what stands and what stood."""
    return Adjudication.objects.visible_to(membership).filter(participant=participant).order_by("-pk")


def needing_adjudication(*, as_of: date, limit: int = 5000) -> list[int]:
    """Participants whose data are newer than their endpoint, have none yet, or whose window has passed meanwhile.

    The last two need no note: a participant with an anchor and no result, and one still pending after the last day of
    the window, are found from the rows themselves.
    """
    noted = list(AdjudicationNeed.objects.order_by("since").values_list("participant_id", flat=True)[:limit])
    due: set[int] = set()
    for trial in Trial.objects.filter(versions__status="ACTIVE").distinct():
        for endpoint in trial.protocol.endpoints:
            if endpoint.method not in COMPUTED:
                continue
            due.update(_pending_whose_day_has_passed(trial, endpoint.id, as_of))
            due.update(_without_result(trial, endpoint.id))
    return [*noted, *sorted(due - set(noted))][:limit]


def _pending_whose_day_has_passed(trial: Trial, endpoint: str, as_of: date) -> set[int]:
    """Pending results are asked again once a day has passed since they were decided that may decide them."""
    spec = trial.protocol.endpoint(endpoint).parameters
    horizon = int(str(spec.get("horizon_day", 100)))
    last = int(str(spec.get("confirm_last_day", 103)))
    waiting = Adjudication.objects.current().filter(participant__trial=trial, endpoint=endpoint)
    rows = waiting.filter(status=Status.PENDING) | waiting.filter(is_evaluable__isnull=True)
    due = set()
    for pk, decided_at, day_0 in rows.annotate(day_0=datasets.anchor_day_of("participant")).values_list(
        "participant_id", "created_at", "day_0"
    ):
        if day_0 is None:
            continue
        passed = [day_0 + timedelta(days=horizon), day_0 + timedelta(days=last + 1)]
        if any(decided_at.date() < day <= as_of for day in passed):
            due.add(pk)
    return due


def _without_result(trial: Trial, endpoint: str) -> set[int]:
    return {
        person.participant
        for person in datasets.persons(trial, endpoint)
        if person.is_enrolled and person.anchor_day is not None
    } - set(
        Adjudication.objects.current()
        .filter(participant__trial=trial, endpoint=endpoint)
        .values_list("participant_id", flat=True)
    )
