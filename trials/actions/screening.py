"""From the first contact to an answer: may this person take part?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit import context
from trials.actions.schedule import plan_visits
from trials.domain import eligibility
from trials.domain.answers import Answer
from trials.domain.conditions import MISSING, Observed, items_of
from trials.domain.consent import consent_verdict
from trials.domain.definition import CheckBy, Criterion, Protocol
from trials.domain.eligibility import Assessment, CriterionVerdict, HumanAnswer, Kind, Outcome, Result
from trials.domain.lifecycle import ParticipantEvent, ParticipantState
from trials.domain.partial_dates import PartialDate
from trials.models import (
    Consent,
    CriterionAnswer,
    EligibilityAssessment,
    EnrolmentCounter,
    Membership,
    Participant,
    ProtocolVersion,
    Site,
    Trial,
    Waiver,
)
from trials.permissions import (
    NotPossible,
    check_can_answer,
    check_can_assess,
    check_can_fail_screening,
    check_can_record_consent,
    check_can_register,
    check_can_reopen_screening,
    check_can_waive,
    check_can_withdraw_consent,
    next_state,
)
from trials.selectors import latest_assessment, signed_consents, usable_version

#: The row of an assessment that says whether consent counts; the protocol's own criteria stand below it.
CONSENT = "CONSENT"
#: The calculation of an item that holds the same answer.
CONSENT_CALCULATION = "consent_valid"


@transaction.atomic
def register_participant(
    *,
    trial: Trial,
    site: Site,
    birth_date: str,
    sex: str,
    screened_on: date,
    by: Membership,
    screening_number: str = "",
) -> Participant:
    """Give a person a screening number and bind them to the protocol version that the site may use on that day.

    ``birth_date`` is ISO 8601 and may be partial (``2012-05``), empty while unknown.
    """
    check_can_register(by, site)
    if site.trial_id != trial.pk:
        raise ValidationError({"site": f"{site} is no site of {trial.code}."})
    check_birth_date(birth_date, screened_on)
    if sex not in ("male", "female", "unknown"):
        raise ValidationError({"sex": "Sex is male, female or unknown."})
    if screened_on > timezone.localdate():
        raise ValidationError({"screened_on": "The screening cannot have begun on a day to come."})
    version = usable_version(site, screened_on)
    if version is None:
        raise NotPossible(
            f"No protocol version is approved at site {site.code} for {screened_on:%d-%b-%Y}. "
            "The trial manager records the approval of its ethics committee on the protocol page."
        )
    with context.context(by=by):
        number = screening_number or next_screening_number(trial, version.protocol)
        if Participant.objects.filter(trial=trial, screening_number=number).exists():
            raise ValidationError({"screening_number": f"Screening number {number} is taken; leave it empty."})
        participant = Participant.objects.create(
            trial=trial,
            site=site,
            protocol_version=version,
            screening_number=number,
            status=ParticipantState.SCREENING,
            screened_on=screened_on,
            birth_date=birth_date,
            sex=sex,
        )
        plan_visits(participant)
    return participant


def check_birth_date(birth_date: str, screened_on: date) -> None:
    """Raise ValidationError for text that is no date, or a birth after the screening; empty is not known."""
    if not birth_date:
        return
    try:
        born = PartialDate.from_iso(birth_date)
    except ValueError:
        raise ValidationError(
            {"birth_date": f"“{birth_date}” is no date. Write 2012-05-17, or 2012-05 or 2012 where only that is known."}
        ) from None
    if born.earliest > screened_on:
        raise ValidationError({"birth_date": "The birth lies after the screening; check both dates."})


def next_screening_number(trial: Trial, protocol: Protocol) -> str:
    """The next free screening number, under the counter's lock."""
    counter = EnrolmentCounter.objects.select_for_update().get(trial=trial)
    pattern = str(protocol.assignment.parameters.get("screening_number_format", "S{n:03}"))
    while True:
        counter.last_screening_number += 1
        number = numbered(pattern, counter.last_screening_number)
        # A number that an import brought along is stepped over.
        if not Participant.objects.filter(trial=trial, screening_number=number).exists():
            break
    counter.save(update_fields=["last_screening_number"])
    return number


def numbered(pattern: str, number: int) -> str:
    """``P{n:03}`` and 7 give ``P007``.

    >>> numbered("P{n:03}", 7)
    'P007'
    """
    return re.sub(r"\{n(?::0?(\d+))?\}", lambda match: str(number).zfill(int(match[1] or 0)), pattern)


@transaction.atomic
def record_consent(
    *, participant: Participant, version: str, signed_on: date, signatory: str | Sequence[str], by: Membership
) -> Consent:
    """Record which version of the consent form was signed, when and by whom. The same record again is kept.

    A version that only a newer protocol has binds the participant to that protocol, where the site may use it.
    """
    check_can_record_consent(by, participant)
    names = [signatory] if isinstance(signatory, str) else list(signatory)
    signed_by = ", ".join(name.strip() for name in names if name.strip())
    if not signed_by:
        raise ValidationError({"signatory": "Say who signed."})
    if signed_on > timezone.localdate():
        raise ValidationError({"signed_on": "The consent cannot have been signed on a day to come."})
    bound_to = _version_with_consent(participant, version)
    document = next((one for one in bound_to.protocol.consent.versions if one.version == version), None)
    if document is not None:
        if signed_on < document.valid_from:
            raise ValidationError(
                {"signed_on": f"Consent version {version} may be signed from {document.valid_from:%d-%b-%Y} on."}
            )
        if document.valid_until and signed_on > document.valid_until:
            raise ValidationError(
                {"signed_on": f"Consent version {version} was in force until {document.valid_until:%d-%b-%Y}."}
            )
    with context.context(by=by):
        consent, made = Consent.objects.get_or_create(
            participant=participant, version=version, signed_on=signed_on, defaults={"signatory": signed_by}
        )
        if not made and consent.signatory != signed_by:
            raise NotPossible(f"Consent version {version} of that day is recorded as signed by {consent.signatory}.")
        if bound_to.pk != participant.protocol_version_id:
            participant.protocol_version = bound_to
            participant.save(update_fields=["protocol_version"])
            plan_visits(participant)
    return consent


def _version_with_consent(participant: Participant, version: str) -> ProtocolVersion:
    """The protocol version whose consent this is: the participant's own, else the one that the site may use now."""
    own = participant.protocol_version
    current = usable_version(participant.site, timezone.localdate()) or own
    for candidate in (own, current):
        documents = candidate.protocol.consent.versions
        if not documents and candidate == own:
            return own
        for document in documents:
            if document.version == version and (not document.sites or participant.site.code in document.sites):
                return candidate
    known = ", ".join(
        one.version for one in current.protocol.consent.versions if not one.sites or participant.site.code in one.sites
    )
    raise ValidationError(
        {"version": f"Consent version {version} is not approved at {participant.site}. Known: {known or 'none'}."}
    )


@transaction.atomic
def withdraw_consent(*, consent: Consent, withdrawn_on: date, reason: str, by: Membership) -> Consent:
    """Record that a consent was withdrawn. What was recorded until then stays."""
    check_can_withdraw_consent(by, consent)
    if consent.withdrawn_on is not None:
        raise NotPossible(f"This consent was withdrawn on {consent.withdrawn_on:%d-%b-%Y}.")
    if withdrawn_on < consent.signed_on:
        raise ValidationError({"withdrawn_on": f"It was signed on {consent.signed_on:%d-%b-%Y}."})
    if withdrawn_on > timezone.localdate():
        raise ValidationError({"withdrawn_on": "This day is still to come."})
    if not reason.strip():
        raise ValidationError({"reason": "Give the reason, or write that none was given."})
    with context.context(by=by, reason=reason):
        consent.withdrawn_on, consent.withdrawal_reason = withdrawn_on, reason
        consent.save(update_fields=["withdrawn_on", "withdrawal_reason"])
    return consent


@transaction.atomic
def answer_criterion(
    *, participant: Participant, criterion: str, answer: str, comment: str = "", by: Membership
) -> CriterionAnswer:
    """A person's answer to a criterion that needs one: yes, no or not known. The latest counts; earlier ones stay."""
    clause = criterion_of(participant, criterion)
    check_can_answer(by, participant, clause)
    if clause.check is CheckBy.AUTO:
        raise ValidationError({"criterion": f"Criterion {criterion} follows from recorded values; nobody answers it."})
    if answer not in CriterionAnswer.Answer.values:
        raise ValidationError({"answer": "The answer is yes, no or unknown."})
    latest = participant.criterion_answers.filter(criterion=criterion).order_by("-pk").first()
    if latest and (latest.answer, latest.comment, latest.answered_by_id) == (answer, comment, by.pk):
        return latest
    with context.context(by=by):
        return CriterionAnswer.objects.create(
            participant=participant, criterion=criterion, answer=answer, comment=comment, answered_by=by
        )


@transaction.atomic
def waive_criterion(*, participant: Participant, criterion: str, reason: str, by: Membership) -> Waiver:
    """Set a criterion aside for this participant, where the protocol lets the role do so. Recorded once."""
    clause = criterion_of(participant, criterion)
    check_can_waive(by, participant, clause)
    if not reason.strip():
        raise ValidationError({"reason": "A waiver needs its reason."})
    known = participant.waivers.filter(criterion=criterion).first()
    if known is not None:
        return known
    with context.context(by=by, reason=reason):
        return Waiver.objects.create(participant=participant, criterion=criterion, reason=reason, waived_by=by)


def criterion_of(participant: Participant, criterion: str) -> Criterion:
    """The clause of the participant's protocol; ValidationError names those there are."""
    clauses = (*participant.protocol.eligibility.include, *participant.protocol.eligibility.exclude)
    for clause in clauses:
        if clause.id == criterion:
            return clause
    known = ", ".join(clause.id for clause in clauses)
    raise ValidationError({"criterion": f"The protocol has no criterion {criterion}. Known: {known}."})


@transaction.atomic
def assess_eligibility(
    *, participant: Participant, values: Mapping[str, Observed], by: Membership, on: date | None = None
) -> EligibilityAssessment:
    """Judge every criterion on the given values, the human answers, the waivers and the consents, and keep the result.

    Each criterion is kept with its result, the value and source that decided it, and the sentence that explains it. The
    same facts give the assessment that there is. ``on`` is the day the age of a value is counted from (today).
    """
    check_can_assess(by, participant)
    locked = Participant.objects.select_for_update().get(pk=participant.pk)
    assessed = with_consent(participant, values, judged(participant, values, on=on or timezone.localdate()))
    criteria = [criterion_data(verdict) for verdict in assessed.criteria]
    facts = json.dumps([participant.protocol_version.sha256, criteria], sort_keys=True, ensure_ascii=False)
    sha256 = hashlib.sha256(facts.encode()).hexdigest()
    with context.context(by=by):
        assessment = latest_assessment(participant)
        if assessment is None or assessment.input_sha256 != sha256:
            assessment = EligibilityAssessment.objects.create(
                participant=participant,
                protocol_version=participant.protocol_version,
                outcome=assessed.outcome,
                criteria=criteria,
                input_sha256=sha256,
                assessed_by=by,
            )
        eligible = assessed.outcome is Outcome.ELIGIBLE
        if eligible and locked.status == ParticipantState.SCREENING:
            locked.status = next_state(locked, ParticipantEvent.FIND_ELIGIBLE)
            locked.save(update_fields=["status"])
        elif not eligible and locked.status == ParticipantState.ELIGIBLE:
            locked.status = next_state(locked, ParticipantEvent.RETURN_TO_SCREENING)
            locked.save(update_fields=["status"])
    participant.status = locked.status
    return assessment


def judged(participant: Participant, values: Mapping[str, Observed], *, on: date) -> Assessment:
    """The protocol's criteria on the values, the latest human answers and the waivers."""
    answers = {
        row.criterion: HumanAnswer(Answer(row.answer), str(row.answered_by.user), row.comment, row.answered_at.date())
        for row in participant.criterion_answers.select_related("answered_by__user").order_by("pk")
    }
    waivers = {
        row.criterion: eligibility.Waiver(str(row.waived_by.user), row.waived_by.role, row.reason)
        for row in participant.waivers.select_related("waived_by__user")
    }
    return eligibility.assess(participant.protocol, values, answers, waivers, on=on)


def with_consent(participant: Participant, values: Mapping[str, Observed], assessed: Assessment) -> Assessment:
    """The assessment with the consent in front: nobody takes part on a consent that is missing or does not count.

    A protocol whose own criterion reads the computed validity of the consent says so itself.
    """
    rule = participant.protocol.consent
    if not rule.required or _has_consent_criterion(participant.protocol):
        return assessed
    verdict = consent_verdict(rule, signed_consents(participant), site=participant.site.code, values=values)
    result = {Answer.YES: Result.MET, Answer.NO: Result.NOT_MET, Answer.UNKNOWN: Result.UNKNOWN}[verdict.answer]
    row = CriterionVerdict(
        id=CONSENT,
        kind=Kind.INCLUDE,
        text="Informed consent",
        result=result,
        stands_in_the_way=verdict.answer is Answer.NO,
        value=MISSING,
        source="consent record",
        sentence=verdict.sentence,
        needs_human=False,
    )
    outcome = assessed.outcome
    if row.stands_in_the_way:
        outcome = Outcome.NOT_ELIGIBLE
    elif result is Result.UNKNOWN and outcome is Outcome.ELIGIBLE:
        outcome = Outcome.UNKNOWN
    return replace(assessed, outcome=outcome, criteria=(row, *assessed.criteria))


def _has_consent_criterion(protocol: Protocol) -> bool:
    computed = {
        f"{form.id}.{item.id}" for form in protocol.forms for item in form.items if item.computed == CONSENT_CALCULATION
    }
    return any(
        computed & set(items_of(criterion.when))
        for criterion in protocol.eligibility.include
        if criterion.when is not None
    )


def criterion_data(verdict: CriterionVerdict) -> dict[str, object]:
    """One criterion of an assessment as it is stored."""
    value = verdict.value.value
    seen_on = verdict.value.observed_on
    return {
        "id": verdict.id,
        "kind": verdict.kind,
        "text": verdict.text,
        "result": verdict.result,
        "stands_in_the_way": verdict.stands_in_the_way,
        "value": None if value is None else verdict.value.words(),
        "raw": _json(value),
        "unit": verdict.value.unit,
        "observed_on": seen_on.isoformat() if isinstance(seen_on, date | datetime) else None,
        "source": verdict.source,
        "sentence": verdict.sentence,
        "needs_human": verdict.needs_human,
    }


def _json(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


@transaction.atomic
def fail_screening(*, participant: Participant, reason: str, by: Membership) -> Participant:
    """End the screening of a person who does not take part, with the reason."""
    check_can_fail_screening(by, participant)
    if not reason.strip():
        raise ValidationError({"reason": "Say why the screening ends."})
    locked = _locked(participant)
    with context.context(by=by, reason=reason):
        locked.status = next_state(locked, ParticipantEvent.FAIL_SCREENING)
        locked.failure_reason = reason
        locked.save(update_fields=["status", "failure_reason"])
    return locked


@transaction.atomic
def reopen_screening(*, participant: Participant, reason: str, by: Membership) -> Participant:
    """Take a screening up again whose failure was recorded in error, or whose reason has gone."""
    check_can_reopen_screening(by, participant)
    if not reason.strip():
        raise ValidationError({"reason": "Say why the screening is taken up again."})
    locked = _locked(participant)
    if locked.status == ParticipantState.ELIGIBLE:
        raise NotPossible(f"{participant} is being screened; there is nothing to reopen.")
    with context.context(by=by, reason=reason):
        locked.status = next_state(locked, ParticipantEvent.RETURN_TO_SCREENING)
        locked.failure_reason = ""
        locked.save(update_fields=["status", "failure_reason"])
    return locked


def _locked(participant: Participant) -> Participant:
    return (
        Participant.objects.select_for_update(of=("self",))
        .select_related("protocol_version__trial")
        .get(pk=participant.pk)
    )
