"""Endpoints decided, gates proposed and decided. Each verb is safe to run twice, late, or after a crash."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import date

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from analysis import datasets, selectors
from analysis.domain import consecutive_threshold, gates
from analysis.domain.endpoint_methods import COMPUTED
from analysis.domain.fingerprints import fingerprint, plain
from analysis.domain.gates import GateEvent, GateState
from analysis.models import Adjudication, AdjudicationNeed, Gate
from analysis.permissions import check_can_decide, check_can_renew_proposal, check_can_sign_safety_review
from audit import context
from audit.context import Source
from trials import actions as trials
from trials.domain.definition import EndpointSpec, GroupKind
from trials.models import Membership, Participant, ProtocolVersion, Trial

# How many participants one transaction adjudicates: long enough to be fast, short enough to give way to people.
BATCH = 500


def need_adjudication(*, participants: Iterable[int]) -> None:
    """Note, in the transaction that changed their data, that the endpoints of ``participants`` are to be decided again.

    Writing over an existing note is on purpose: it makes an adjudication under way wait for this transaction, or this
    one for it, so that no change falls between.
    """
    now = timezone.now()
    AdjudicationNeed.objects.bulk_create(
        [AdjudicationNeed(participant_id=pk, since=now) for pk in sorted(set(participants))],
        update_conflicts=True,
        unique_fields=["participant"],
        update_fields=["since"],
    )


def adjudicate(*, participants: Collection[int], as_of: date) -> int:
    """Decide the endpoints of ``participants`` on the data of now; return how many results are new.

    A result that says the same on the same inputs is not written again.
    """
    ordered = sorted(set(participants))
    return sum(_adjudicate_batch(ordered[at : at + BATCH], as_of) for at in range(0, len(ordered), BATCH))


@transaction.atomic
def _adjudicate_batch(participants: list[int], as_of: date) -> int:
    # The lock keeps a second run of the same task out; the note is taken away before anything is read, so that what is
    # recorded from now on leaves a new one.
    locked = list(
        Participant.objects.filter(pk__in=participants)
        .order_by("pk")
        .select_for_update(no_key=True)
        .select_related("trial", "protocol_version")
    )
    AdjudicationNeed.objects.filter(participant__in=participants).delete()
    versions: dict[int, list[Participant]] = {}
    for participant in locked:
        versions.setdefault(participant.protocol_version_id, []).append(participant)
    with context.context(by=None, reason="endpoint adjudication", source=Source.CALCULATION):
        return sum(_adjudicate_version(people, as_of) for people in versions.values())


def _adjudicate_version(people: list[Participant], as_of: date) -> int:
    version = people[0].protocol_version
    trial = people[0].trial
    written = 0
    for endpoint in version.protocol.endpoints:
        if endpoint.method in COMPUTED:
            written += _adjudicate_endpoint(trial, version, endpoint, people, as_of)
    return written


def _adjudicate_endpoint(
    trial: Trial, version: ProtocolVersion, endpoint: EndpointSpec, people: list[Participant], as_of: date
) -> int:
    rule = consecutive_threshold.Rule.from_parameters(endpoint.parameters)
    first_day = version.protocol.anchor.first_day
    ids = [participant.pk for participant in people]
    standing = {
        row.participant_id: row
        for row in Adjudication.objects.current().filter(endpoint=endpoint.id, participant__in=ids)
    }
    fresh: list[Adjudication] = []
    for inputs in datasets.endpoint_inputs(trial, endpoint, first_day, ids):
        as_of_day = (as_of - inputs.anchor_day).days + first_day if inputs.anchor_day else None
        outcome = consecutive_threshold.adjudicate(
            rule,
            inputs.measurements,
            inputs.competing,
            as_of_day=as_of_day,
            last_contact_day=inputs.last_contact_day,
            removed=inputs.removed,
        )
        row = Adjudication(
            participant_id=inputs.participant,
            endpoint=endpoint.id,
            status=outcome.status,
            event_day=outcome.event_day,
            event_date=datasets.date_of(inputs.anchor_day, outcome.event_day, first_day),
            competing_kind=outcome.competing_kind,
            is_evaluable=outcome.evaluable,
            evidence={
                "sentence": outcome.sentence,
                "rows": [m.row for m in outcome.evidence],
                "days": [m.day for m in outcome.evidence],
                "competing_day": outcome.competing_day,
                "censored_day": outcome.censored_day,
                "flags": list(outcome.flags),
            },
            parameters={name: str(value) for name, value in endpoint.parameters.items()},
            method=endpoint.method,
            method_version=consecutive_threshold.METHOD_VERSION,
            protocol_version=version,
            code_version=settings.VERSION,
            input_sha256=fingerprint({"rule": asdict(rule), **inputs.as_plain()}),
        )
        if not _says_the_same(standing.get(inputs.participant), row):
            fresh.append(row)
    replaced = [standing[row.participant_id].pk for row in fresh if row.participant_id in standing]
    Adjudication.objects.filter(pk__in=replaced).update(is_current=False)
    Adjudication.objects.bulk_create(fresh)
    if endpoint.id == version.protocol.design.endpoint:
        _replace_who_cannot_be_evaluated(version, people, fresh)
    return len(fresh)


def _says_the_same(standing: Adjudication | None, row: Adjudication) -> bool:
    """Today's date is no input: a pending endpoint is written again only when the days that passed decide it."""
    return standing is not None and all(
        getattr(standing, name) == getattr(row, name)
        for name in ("input_sha256", "status", "event_day", "is_evaluable", "method_version", "protocol_version_id")
    )


def _replace_who_cannot_be_evaluated(
    version: ProtocolVersion, people: list[Participant], fresh: list[Adjudication]
) -> None:
    """Open a place for each participant of the trial's own groups who cannot be evaluated; close it if they can."""
    own = {group.id for group in version.protocol.groups if group.kind is not GroupKind.EXTERNAL}
    by_id = {participant.pk: participant for participant in people if participant.group in own}
    for row in fresh:
        participant = by_id.get(row.participant_id)
        if participant is None:
            continue
        if row.is_evaluable is False:
            trials.open_replacement(participant=participant, reason=row.evidence["sentence"], by=None)
        else:
            trials.close_replacement(participant=participant, by=None)


@transaction.atomic
def refresh_gates(*, trial: Trial) -> list[Gate]:
    """Propose every stage whose participants are all decided; return the gates that were proposed now."""
    version = trial.active_version
    design = version.protocol.design
    if design.method not in gates.GATED_DESIGNS:
        return []
    proposed = []
    for number in range(1, len(design.stages) + 1):
        Gate.objects.get_or_create(
            trial=trial, stage=number, defaults={"state": GateState.WAITING, "protocol_version": version}
        )
    before: Gate | None = None
    with context.context(by=None, reason="stage gate", source=Source.CALCULATION):
        for gate in Gate.objects.filter(trial=trial).order_by("stage").select_for_update():
            if gate.state == GateState.WAITING and (before is None or before.decision in ("continue", "modify")):
                count = selectors.count_of(gate)
                if count.is_complete:
                    _propose(gate, count)
                    proposed.append(gate)
            before = gate
    return proposed


def _propose(gate: Gate, count: gates.Count) -> None:
    snapshot = {
        "as_of": timezone.now(),
        "sentence": count.sentence,
        "participants": [asdict(seat) for seat in count.seats],
        "unresolved": [seat.number for seat in count.unresolved],
        "design": asdict(gate.protocol_version.protocol.design),
        "safety": selectors.safety_summary(gate.trial),
    }
    gate.state = gates.after(GateState(gate.state), GateEvent.PROPOSE)
    gate.snapshot = plain(snapshot)
    gate.snapshot_sha256 = fingerprint(snapshot)
    gate.responders, gate.evaluable, gate.boundary = count.responders, count.evaluable, count.boundary
    gate.proposal = count.proposal
    gate.method_version, gate.code_version = gates.METHOD_VERSION, settings.VERSION
    gate.proposed_at = timezone.now()
    gate.save()


@transaction.atomic
def renew_proposal(*, gate: Gate, reason: str, by: Membership) -> Gate:
    """Set a proposal back to waiting, so that the next look takes a new snapshot. The old one stays in the trail."""
    check_can_renew_proposal(by, gate)
    gate = Gate.objects.select_for_update().get(pk=gate.pk)
    check_can_renew_proposal(by, gate)
    with context.context(by=by, reason=reason):
        gate.state = gates.after(GateState(gate.state), GateEvent.RENEW)
        gate.snapshot, gate.snapshot_sha256 = {}, ""
        gate.responders = gate.evaluable = gate.boundary = gate.proposed_at = None
        gate.proposal = ""
        gate.save()
    refresh_gates(trial=gate.trial)
    return Gate.objects.get(pk=gate.pk)


@transaction.atomic
def sign_safety_review(*, gate: Gate, review: str, by: Membership) -> Gate:
    """Record a safety review of the trial at this gate."""
    check_can_sign_safety_review(by, gate)
    gate = Gate.objects.select_for_update().get(pk=gate.pk)
    check_can_sign_safety_review(by, gate)
    with context.context(by=by, reason="safety review"):
        gate.safety_review, gate.safety_reviewed_by, gate.safety_reviewed_at = review, by, timezone.now()
        gate.save()
    return gate


@transaction.atomic
def decide_gate(*, gate: Gate, decision: str, reason: str, by: Membership) -> Gate:
    """Record what the investigator decided of a proposed gate. Nothing changes it afterwards."""
    check_can_decide(by, gate)
    gate = Gate.objects.select_for_update().get(pk=gate.pk)
    check_can_decide(by, gate)
    with context.context(by=by, reason=reason):
        gate.state = gates.after(GateState(gate.state), GateEvent.DECIDE)
        gate.decision, gate.decided_by, gate.decided_at, gate.decision_reason = decision, by, timezone.now(), reason
        gate.save()
        if decision == "stop":
            trials.hold_enrolment(trial=gate.trial, because=f"Stage {gate.stage} was stopped: {reason}", by=by)
        elif selectors.has_next_stage(gate):
            trials.open_stage(trial=gate.trial, stage=gate.stage + 1, by=by)
    return gate
