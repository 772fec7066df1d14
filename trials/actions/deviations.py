"""Departures from the protocol: computed or recorded, and confirmed by a person where the rule says so."""

from __future__ import annotations

from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit import context
from trials.announcements import deviation_recorded
from trials.models import Deviation, Membership, Participant
from trials.permissions import (
    check_can_confirm_deviation,
    check_can_record_deviation,
    check_can_void_deviation,
)
from trials.selectors import removal_rule

_AUDIT_SOURCE = {
    Deviation.Source.USER: context.Source.USER,
    Deviation.Source.CALCULATION: context.Source.CALCULATION,
    Deviation.Source.IMPORT: context.Source.IMPORT,
}


@transaction.atomic
def record_deviation(
    *,
    participant: Participant,
    description: str,
    by: Membership | None,
    rule: str = "",
    is_major: bool = False,
    removes_from_efficacy: bool = False,
    occurred_on: date | None = None,
    source: str = Deviation.Source.USER,
    is_confirmed: bool | None = None,
) -> Deviation:
    """Record a departure from the protocol. One that stands under the same rule is described anew, not doubled.

    A rule that a human confirms stays unconfirmed (``is_confirmed`` None) until somebody does; only an imported
    deviation brings the answer along that it was given where it comes from.
    """
    check_can_record_deviation(by, participant, source)
    if is_confirmed is not None and source != Deviation.Source.IMPORT:
        raise ValidationError({"is_confirmed": "A deviation is confirmed in a step of its own, after it was recorded."})
    if not description.strip():
        raise ValidationError({"description": "Say what happened."})
    if rule and removal_rule(participant, rule) is None:
        known = ", ".join(one.id for one in participant.protocol.eligibility.removal) or "none"
        raise ValidationError({"rule": f"The protocol has no removal rule {rule}. Known: {known}."})
    if removes_from_efficacy and not is_major:
        raise ValidationError({"is_major": "Only a major deviation takes a participant out of the efficacy sets."})
    if occurred_on is not None and occurred_on > timezone.localdate():
        raise ValidationError({"occurred_on": "A deviation lies in the past."})
    Participant.objects.select_for_update().get(pk=participant.pk)
    facts = {
        "description": description,
        "is_major": is_major,
        "removes_from_efficacy": removes_from_efficacy,
        "occurred_on": occurred_on,
        # Without an answer of its own a record leaves the answer that was given before.
        **({} if is_confirmed is None else {"is_confirmed": is_confirmed}),
    }
    standing = participant.deviations.filter(rule=rule, is_void=False).first() if rule else None
    with context.context(by=by, source=_AUDIT_SOURCE[Deviation.Source(source)]):
        if standing is None:
            deviation = Deviation.objects.create(participant=participant, rule=rule, source=source, **facts)
        elif all(getattr(standing, name) == value for name, value in facts.items()):
            return standing
        else:
            deviation = standing
            for name, value in facts.items():
                setattr(deviation, name, value)
            deviation.save(update_fields=list(facts))
        deviation_recorded.send(sender=Deviation, participant=participant, deviation=deviation)
    return deviation


@transaction.atomic
def confirm_deviation(*, deviation: Deviation, is_confirmed: bool, by: Membership, reason: str = "") -> Deviation:
    """A human's yes or no to a deviation whose rule wants one."""
    participant = deviation.participant
    check_can_confirm_deviation(by, deviation, removal_rule(participant, deviation.rule))
    deviation = Deviation.objects.select_for_update().get(pk=deviation.pk)
    if deviation.is_confirmed is is_confirmed:
        return deviation
    if deviation.is_confirmed is not None and not reason.strip():
        raise ValidationError({"reason": "This was answered before; say why the answer changes."})
    with context.context(by=by, reason=reason):
        deviation.is_confirmed = is_confirmed
        deviation.save(update_fields=["is_confirmed"])
        deviation_recorded.send(sender=Deviation, participant=participant, deviation=deviation)
    return deviation


@transaction.atomic
def void_deviation(*, deviation: Deviation, by: Membership | None, reason: str) -> Deviation:
    """Take back a deviation that was recorded in error, or that the computation no longer finds. The row stays."""
    check_can_void_deviation(by, deviation)
    if not reason.strip():
        raise ValidationError({"reason": "Say why the deviation is void."})
    deviation = Deviation.objects.select_for_update().get(pk=deviation.pk)
    if deviation.is_void:
        return deviation
    source = context.Source.CALCULATION if by is None else context.Source.USER
    with context.context(by=by, reason=reason, source=source):
        deviation.is_void = True
        deviation.save(update_fields=["is_void"])
        deviation_recorded.send(sender=Deviation, participant=deviation.participant, deviation=deviation)
    return deviation
