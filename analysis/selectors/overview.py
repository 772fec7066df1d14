"""What the dashboard says besides the endpoint: enrolment so far, and the serious events that are open."""

from __future__ import annotations

from datetime import date

from django.utils import timezone

from adverse_events import selectors as adverse_events
from analysis.domain.figures import accrual
from trials.models import Membership, Participant, Site
from trials.selectors import capacity


def open_serious_events(membership: Membership, *, site: Site | None = None) -> int:
    """Serious adverse events that count and have no end, where the membership sees them (at ``site``, if given)."""
    rows = adverse_events.open_events(adverse_events.adverse_events(membership)).filter(is_serious=True)
    if site is not None:
        rows = rows.filter(participant__site=site)
    return rows.count()


def enrolment(membership: Membership, *, site: Site | None = None, planned: int | None) -> accrual.Accrual | None:
    """Everybody enrolled in the trial's own groups by day and site, against the number of places; None before anybody.

    It ends today, or with the last enrolment where accrual was closed or all places are taken.
    """
    people = Participant.objects.visible_to(membership).filter(enrolment__isnull=False, is_external=False)
    if site is not None:
        people = people.filter(site=site)
    rows = [accrual.Enrolled(code, day) for code, day in people.values_list("site__code", "enrolment__enrolled_on")]
    if not rows:
        return None
    last = max(row.day for row in rows)
    is_full = capacity(membership.trial).closed_on is not None or (planned is not None and len(rows) >= planned)
    return accrual.accrual(rows, until=last if is_full else max(last, _today()), planned=planned)


def _today() -> date:
    return timezone.localdate()
