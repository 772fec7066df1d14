"""Memberships: given, ended, never deleted."""

from __future__ import annotations

from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.roles import ROLES
from audit import context
from trials.models import Membership, Site, Trial
from trials.permissions import NotPossible, check_can_manage_members


@transaction.atomic
def grant_membership(
    *,
    user: User,
    trial: Trial,
    role: str,
    by: Membership | None,
    reason: str,
    site: Site | None = None,
    valid_from: date | None = None,
    valid_until: date | None = None,
) -> Membership:
    """Let ``user`` act in ``role`` in the trial, at ``site`` or (None) at all of them; an open one is kept."""
    check_can_manage_members(by, trial, user.pk)
    if role not in ROLES:
        raise ValidationError({"role": f"There is no role “{role}”. Known: {', '.join(ROLES)}."})
    if site is not None and site.trial_id != trial.pk:
        raise ValidationError({"site": f"{site} is no site of {trial.code}."})
    if not user.is_active:
        raise ValidationError({"user": f"The account {user.username} is deactivated; it can hold no membership."})
    start = valid_from or timezone.localdate()
    if valid_until is not None and valid_until < start:
        raise ValidationError({"valid_until": "The membership would end before it begins."})
    held = Membership.objects.filter(user=user, trial=trial, site=site, role=role, valid_until__isnull=True).first()
    if held is not None:
        return held
    with context.context(by=by, reason=reason):
        return Membership.objects.create(
            user=user, trial=trial, site=site, role=role, valid_from=start, valid_until=valid_until
        )


@transaction.atomic
def end_membership(*, membership: Membership, on: date, by: Membership | None, reason: str) -> Membership:
    """End a membership after the day ``on``. The row stays: it says who had which right when."""
    check_can_manage_members(by, membership.trial, membership.user_id)
    if not reason.strip():
        raise ValidationError({"reason": "Give the reason; it stands in the audit trail."})
    if on < membership.valid_from:
        raise ValidationError({"on": f"The membership began on {membership.valid_from:%d-%b-%Y}."})
    if membership.valid_until is not None and membership.valid_until < timezone.localdate():
        raise NotPossible(f"This membership ended on {membership.valid_until:%d-%b-%Y}; grant a new one instead.")
    with context.context(by=by, reason=reason):
        membership.valid_until = on
        membership.save(update_fields=["valid_until"])
    return membership
