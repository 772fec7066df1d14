"""Reads of the trials floor, each as far as a membership sees."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from trials.models import Membership


def memberships_of(user: Any) -> list[Membership]:
    """The memberships the user holds today, trial by trial."""
    return list(
        Membership.objects.active_on(timezone.localdate())
        .filter(user_id=user.pk)
        .select_related("trial", "site", "user")
        .order_by("trial__code", "role", "site__code")
    )


def membership_for(*, user: Any, trial_code: str, chosen: int | None = None) -> Membership | None:
    """The membership the user acts with in the trial: the chosen one where it is theirs today, else the first."""
    mine = [membership for membership in memberships_of(user) if membership.trial.code == trial_code]
    return next((membership for membership in mine if membership.pk == chosen), mine[0] if mine else None)
