"""Eligibility and enrolment on what the casebook holds; the decisions themselves are those of ``trials.actions``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from django.db import transaction

from casebook import selectors
from casebook.actions.entries import locked
from trials import actions as trials
from trials.models import EligibilityAssessment, Enrolment, EnrolmentCounter, Membership, Participant
from trials.permissions import check_can_assess, check_can_enrol


@transaction.atomic
def check_eligibility(*, participant: Participant, by: Membership) -> EligibilityAssessment:
    """Assess the criteria against every value recorded so far; the assessment is kept with the values it rests on."""
    check_can_assess(by, participant)
    locked(participant)
    return trials.assess_eligibility(participant=participant, values=selectors.item_values(participant), by=by)


@transaction.atomic
def enrol_participant(*, participant: Participant, enrolled_on: date, by: Membership, group: str = "") -> Enrolment:
    """Assess on the facts as they are now and enrol on that assessment, in one transaction; only ever once.

    ``group`` is asked for only where participants come as treated and the protocol has several groups.
    """
    check_can_enrol(by, participant)
    # The counter first, as trials.enrol takes it: two ways to enrol must not wait for each other.
    EnrolmentCounter.objects.select_for_update().get(trial_id=participant.trial_id)
    if existing := Enrolment.objects.filter(participant=participant).first():
        return existing
    assessment = check_eligibility(participant=participant, by=by)
    return trials.enrol(participant=participant, assessment=assessment, enrolled_on=enrolled_on, by=by, group=group)


@transaction.atomic
def answer_criteria(
    *, participant: Participant, answers: Mapping[str, tuple[str, str]], by: Membership
) -> EligibilityAssessment:
    """Record a clinician's answers (criterion → yes, no or unknown, and a comment), and assess on them, together.

    An answer equal to the latest one is not recorded again.
    """
    check_can_assess(by, participant)
    latest = selectors.human_answers(participant)
    for criterion, (answer, comment) in answers.items():
        known = latest.get(criterion)
        if known is None or (known.answer, known.comment) != (answer, comment.strip()):
            trials.answer_criterion(
                participant=participant, criterion=criterion, answer=answer, comment=comment.strip(), by=by
            )
    return check_eligibility(participant=participant, by=by)


@transaction.atomic
def waive_criterion(*, participant: Participant, criterion: str, reason: str, by: Membership) -> EligibilityAssessment:
    """Set a criterion aside as the protocol lets the role do, and assess with that."""
    trials.waive_criterion(participant=participant, criterion=criterion, reason=reason, by=by)
    return check_eligibility(participant=participant, by=by)
