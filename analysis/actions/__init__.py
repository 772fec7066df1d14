"""Endpoints decided, gates proposed and decided. Each verb is safe to run twice, late, or after a crash."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import date

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.signing import Proof
from analysis import datasets, selectors
from analysis.domain import gates
from analysis.domain.endpoint_answers import ANSWERS, evaluability
from analysis.domain.fingerprints import fingerprint, plain
from analysis.domain.gates import GateEvent, GateState
from analysis.domain.readings import ANSWERS as READING_ANSWERS
from analysis.domain.readings import SETTLING
from analysis.models import Adjudication, AdjudicationNeed, Gate, Reading
from analysis.permissions import (
    CannotRead,
    check_can_decide,
    check_can_read,
    check_can_renew_proposal,
    check_can_sign_safety_review,
    check_is_the_snapshot,
)
from analysis.selectors import readings, signed
from audit import context
from audit.context import Source
from trials import actions as trials
from trials.domain.definition import EndpointSpec, GroupKind
from trials.models import Membership, Participant, ProtocolVersion, Replacement, Trial

# How many participants one transaction adjudicates: long enough to be fast, short enough to give way to people.
BATCH = 500
#: The decisions after which the next stage is counted.
GOING_ON = ("continue", "modify")


def need_adjudication(*, participants: Iterable[int]) -> None:
    """Note, in the transaction that changed their data, that the endpoints of ``participants`` are to be decided again.

    Writing over an existing note is on purpose: it makes an adjudication under way wait for this transaction, or this
    one for it, so that no change falls between. The note of somebody in screening waits for their enrolment.
    """
    now = timezone.now()
    AdjudicationNeed.objects.bulk_create(
        [AdjudicationNeed(participant_id=pk, since=now) for pk in sorted(set(participants))],
        update_conflicts=True,
        unique_fields=["participant"],
        update_fields=["since"],
    )


def adjudicate(*, participants: Collection[int], as_of: date | None = None) -> int:
    """Decide the endpoints of ``participants`` on the data of now; return how many results are new.

    The days that have passed are counted until ``as_of``, or (None) until today at each participant's site. A result
    that says the same on the same inputs is not written again.
    """
    ordered = sorted(set(participants))
    return sum(_adjudicate_batch(ordered[at : at + BATCH], as_of) for at in range(0, len(ordered), BATCH))


@transaction.atomic
def _adjudicate_batch(participants: list[int], as_of: date | None) -> int:
    # The lock keeps a second run of the same task out; the notes are taken away before anything is read, so that what
    # is recorded from now on leaves a new one. Both in the order of the ids, as every writer of them does. Who is not
    # enrolled is left alone, note and all: enrolment locks its places before its participant, this the other way round.
    locked = list(
        Participant.objects.filter(Q(enrolment__isnull=False) | Q(is_external=True), pk__in=participants)
        .order_by("pk")
        .select_for_update(no_key=True, of=("self",))
    )
    ids = [participant.pk for participant in locked]
    notes = AdjudicationNeed.objects.filter(participant__in=ids)
    list(notes.order_by("participant_id").select_for_update())
    notes.delete()
    versions: dict[int, list[Participant]] = {}
    for participant in locked:
        versions.setdefault(participant.protocol_version_id, []).append(participant)
    known = ProtocolVersion.objects.select_related("trial").in_bulk(versions)
    with context.context(by=None, reason="endpoint adjudication", source=Source.CALCULATION):
        return sum(_adjudicate_version(known[pk], people, as_of) for pk, people in sorted(versions.items()))


def _adjudicate_version(version: ProtocolVersion, people: list[Participant], as_of: date | None) -> int:
    return sum(
        _adjudicate_endpoint(version, endpoint, people, as_of) for endpoint in selectors.adjudicated(version.protocol)
    )


def _adjudicate_endpoint(
    version: ProtocolVersion, endpoint: EndpointSpec, people: list[Participant], as_of: date | None
) -> int:
    protocol = version.protocol
    first_day = protocol.anchor.first_day
    answer = ANSWERS[endpoint.method]
    decide = answer.prepared(protocol, endpoint)
    ids = [participant.pk for participant in people]
    standing = {
        row.participant_id: row
        for row in Adjudication.objects.current().filter(endpoint=endpoint.id, participant__in=ids)
    }
    fresh: list[Adjudication] = []
    for records in datasets.records_of(version.trial, answer.reads(endpoint), first_day, ids, as_of=as_of):
        outcome = decide(records)
        evaluable = evaluability(outcome, records)
        row = Adjudication(
            participant_id=records.participant,
            endpoint=endpoint.id,
            status=outcome.status,
            event_day=outcome.event_day,
            event_date=datasets.date_of(records.anchor_day, outcome.event_day, first_day),
            competing_kind=outcome.competing_kind,
            is_evaluable=evaluable.answer,
            evidence={
                "sentence": outcome.sentence,
                "classification": outcome.classification,
                "verified": outcome.verified,
                "evaluability": evaluable.sentence,
                "not_evaluable_for": evaluable.cause,
                "rows": [one.row for one in outcome.evidence],
                "days": [one.day for one in outcome.evidence],
                "values": [one.says for one in outcome.evidence],
                "competing_day": outcome.competing_day,
                "censored_day": outcome.censored_day,
                "flags": list(outcome.flags),
            },
            parameters={name: str(value) for name, value in endpoint.parameters.items()},
            method=endpoint.method,
            method_version=answer.version,
            protocol_version=version,
            code_version=settings.VERSION,
            input_sha256=fingerprint({"rule": endpoint.parameters, **records.as_plain()}),
        )
        if not _says_the_same(standing.get(records.participant), row):
            fresh.append(row)
    replaced = [standing[row.participant_id].pk for row in fresh if row.participant_id in standing]
    Adjudication.objects.filter(pk__in=replaced).update(is_current=False)
    Adjudication.objects.bulk_create(fresh)
    if endpoint.id == protocol.design.endpoint:
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
    replaced = set(
        Replacement.objects.filter(participant__in=by_id, is_open=True).values_list("participant_id", flat=True)
    )
    for row in fresh:
        participant = by_id.get(row.participant_id)
        if participant is None:
            continue
        if row.is_evaluable is False and participant.pk not in replaced:
            trials.open_replacement(participant=participant, reason=row.evidence["evaluability"], by=None)
        elif row.is_evaluable is not False and participant.pk in replaced:
            trials.close_replacement(participant=participant, by=None)


@transaction.atomic
def refresh_gates(*, trial: Trial) -> list[Gate]:
    """Propose every stage whose participants are all decided; return the gates that were proposed now."""
    version = trial.active_version
    design = version.protocol.design
    if design.method not in gates.GATED_DESIGNS:
        return []
    for number in range(1, len(design.stages) + 1):
        Gate.objects.get_or_create(
            trial=trial, stage=number, defaults={"state": GateState.WAITING, "protocol_version": version}
        )
    proposed = []
    before: Gate | None = None
    with context.context(by=None, reason="stage gate", source=Source.CALCULATION):
        gates_in_order = Gate.objects.filter(trial=trial).order_by("stage").select_for_update(of=("self",))
        for gate in gates_in_order.select_related("trial", "protocol_version__trial"):
            if gate.state == GateState.WAITING and (before is None or before.decision in GOING_ON):
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
        **selectors.committee_summary(gate, count),
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
    """Let the next look take a new snapshot; it is taken at once where the stage is still complete.

    What was proposed, and a safety review signed on it, stay in the audit trail.
    """
    check_can_renew_proposal(by, gate)
    gate = _locked(gate)
    check_can_renew_proposal(by, gate)
    with context.context(by=by, reason=_given(reason)):
        gate.state = gates.after(GateState(gate.state), GateEvent.RENEW)
        gate.snapshot, gate.snapshot_sha256 = {}, ""
        gate.responders = gate.evaluable = gate.boundary = gate.proposed_at = None
        gate.proposal = gate.method_version = gate.code_version = ""
        gate.safety_review, gate.safety_reviewed_by, gate.safety_reviewed_at = "", None, None
        gate.safety_signature = None
        gate.save()
    refresh_gates(trial=gate.trial)
    return _locked(gate)


@transaction.atomic
def sign_safety_review(*, gate: Gate, review: str, by: Membership, proof: Proof, seen: str = "") -> Gate:
    """Record a signed safety review of the data that the gate's snapshot rests on.

    ``seen`` is the hash of the snapshot that was read; a newer one is refused.
    """
    check_can_sign_safety_review(by, gate)
    if not review.strip():
        raise ValidationError({"review": "Write what was reviewed and what follows from it."})
    gate = _locked(gate)
    check_can_sign_safety_review(by, gate)
    check_is_the_snapshot(gate, seen)
    with context.context(by=by, reason="safety review"):
        gate.safety_review, gate.safety_reviewed_by, gate.safety_reviewed_at = review.strip(), by, timezone.now()
        gate.safety_signature = trials.sign(
            by=by,
            proof=proof,
            meaning=signed.SAFETY_REVIEW,
            subject=_subject(gate),
            sha256=signed.of_safety_review(gate),
        )
        gate.save()
    return gate


@transaction.atomic
def decide_gate(*, gate: Gate, decision: str, reason: str, by: Membership, proof: Proof, seen: str = "") -> Gate:
    """Record and sign what the investigator decided of a proposed gate. Nothing changes it afterwards.

    ``seen`` is the hash of the snapshot that was read; a newer one is refused.
    """
    check_can_decide(by, gate)
    gate = _locked(gate)
    check_can_decide(by, gate)
    check_is_the_snapshot(gate, seen)
    possible = gates.decisions(gate.stage, len(gate.protocol_version.protocol.design.stages))
    if decision not in possible:
        raise ValidationError({"decision": f"Choose one of: {', '.join(possible)}."})
    with context.context(by=by, reason=_given(reason)):
        gate.state = gates.after(GateState(gate.state), GateEvent.DECIDE)
        gate.decision, gate.decided_by, gate.decided_at = decision, by, timezone.now()
        gate.decision_reason = reason.strip()
        gate.decision_signature = trials.sign(
            by=by,
            proof=proof,
            meaning=signed.GATE_DECISION,
            subject=_subject(gate),
            sha256=signed.of_decision(gate),
        )
        gate.save()
        if decision == "stop":
            trials.hold_enrolment(trial=gate.trial, because=f"Stage {gate.stage} was stopped: {reason.strip()}", by=by)
        elif selectors.has_next_stage(gate):
            trials.open_stage(trial=gate.trial, stage=gate.stage + 1, by=by)
    return gate


# --- Independent readers ------------------------------------------------------------------------------------------


@transaction.atomic
def record_reading(
    *,
    participant: Participant,
    endpoint: str,
    answer: str,
    seen: str,
    by: Membership,
    proof: Proof,
    settles: bool = False,
    comment: str = "",
) -> Reading:
    """Sign one reader's answer on the data that they were shown; a third one settles a difference, with a reason.

    ``seen`` is the hash of the data on the reader's page, ``settles`` whether it showed two answers that differ. Data
    that changed since are refused, and so is an independent answer that would settle: they are read again.
    """
    locked = (
        Participant.objects.select_for_update(no_key=True, of=("self",))
        .select_related("trial", "protocol_version__trial")
        .get(pk=participant.pk)
    )
    case = readings.case_of(locked, endpoint)
    check_can_read(by, participant, case.case)
    if seen != case.evidence_sha256:
        raise CannotRead("The data changed while you were reading. Look at the case again; nothing was recorded.")
    if settles != case.case.to_settle:
        raise CannotRead(
            "Two others have read this case while you did, and differ: your answer would settle it. Look at their "
            "readings and sign again; nothing was recorded."
        )
    if answer not in READING_ANSWERS:
        raise ValidationError({"answer": f"Choose one of: {', '.join(READING_ANSWERS.values())}."})
    position = len(case.case.votes) + 1
    if position == SETTLING and not comment.strip():
        raise ValidationError({"comment": "Say why: this reading settles the difference of two others."})
    reading = Reading(
        participant=locked,
        endpoint=endpoint,
        position=position,
        answer=answer,
        comment=comment.strip(),
        evidence_sha256=case.evidence_sha256,
        reader=by,
    )
    with context.context(by=by, reason="independent reading"):
        reading.signature = trials.sign(
            by=by,
            proof=proof,
            meaning=signed.SETTLING if position == SETTLING else signed.READING,
            subject=f"{locked}, {endpoint}, data {case.evidence_sha256[:16]}",
            sha256=signed.of_reading(reading),
            participant=locked,
        )
        reading.save()
    return reading


def _subject(gate: Gate) -> str:
    return f"stage {gate.stage}, snapshot {gate.snapshot_sha256[:16]}"


def _locked(gate: Gate) -> Gate:
    found: Gate = (
        Gate.objects.select_for_update(of=("self",)).select_related("trial", "protocol_version__trial").get(pk=gate.pk)
    )
    return found


def _given(reason: str) -> str:
    if not reason.strip():
        raise ValidationError({"reason": "Give the reason; it stands in the audit trail."})
    return reason.strip()
