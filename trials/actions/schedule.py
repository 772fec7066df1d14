"""The day the schedule counts from, and the visits that follow from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit import context
from trials.announcements import anchor_moved, visit_recorded
from trials.domain.schedule import PlannedVisit
from trials.models import Anchor, Membership, Participant, Visit
from trials.permissions import (
    NotPossible,
    check_can_add_visit,
    check_can_import,
    check_can_record_visit,
    check_can_set_anchor,
)
from trials.selectors import planned_visits_of, with_shared


@transaction.atomic
def set_anchor(
    *,
    participant: Participant,
    day: date,
    by: Membership | None,
    at: datetime | None = None,
    is_actual: bool = False,
    reason: str = "",
    source: context.Source = context.Source.USER,
) -> Anchor:
    """Record the day that days are counted from, planned or actual, and plan the visits from it anew.

    Every revision stays. A move needs a reason; that the planned event took place is reason enough for the actual date.
    The same day again changes nothing.
    """
    if by is not None or source == context.Source.USER:
        check_can_set_anchor(by, participant)
    _lock(participant)
    event = participant.protocol.anchor.label or participant.protocol.anchor.event
    if is_actual and day > timezone.localdate():
        raise ValidationError({"day": f"The {event} cannot have taken place on a day to come; record it as planned."})
    former = participant.anchors.order_by("-revision").first()
    if former is not None and (former.day, former.at, former.is_actual) == (day, at, is_actual):
        return former
    if former is not None and former.is_actual and not is_actual:
        raise NotPossible(
            f"The {event} took place on {former.day:%d-%b-%Y}. Correct the actual date; it cannot become a plan again."
        )
    if former is not None and not reason.strip():
        if former.is_actual or not is_actual:
            raise ValidationError({"reason": f"Say why the date of the {event} moves; the visits move with it."})
        reason = f"The {event} took place; it was planned for {former.day:%d-%b-%Y}."
    with context.context(by=by, reason=reason, source=source):
        anchor = Anchor.objects.create(
            participant=participant,
            revision=former.revision + 1 if former else 1,
            day=day,
            at=at,
            is_actual=is_actual,
            reason=reason,
        )
        plan_visits(participant)
        anchor_moved.send(sender=Participant, participant=participant, anchor=anchor)
    return anchor


@transaction.atomic
def import_anchors_of_controls(*, days: Mapping[int, date], by: Membership | None, reason: str) -> None:
    """The first anchor of many external controls (participant id -> day), who have no visits that would follow it."""
    people = Participant.objects.filter(pk__in=days, is_external=True, anchors__isnull=True)
    controls = with_shared(people.order_by("pk"))
    for site in {control.site for control in controls}:
        check_can_import(by, site.trial, site)
    late = next((control for control in controls if days[control.pk] > timezone.localdate()), None)
    if late is not None:
        raise ValidationError({"day": f"{late}: {days[late.pk]:%d-%b-%Y} is still to come."})
    with context.context(by=by, reason=reason, source=context.Source.IMPORT):
        Anchor.objects.bulk_create(
            [Anchor(participant=one, revision=1, day=days[one.pk], is_actual=True, reason=reason) for one in controls],
            batch_size=1000,
        )
        for control, anchor in zip(
            controls, Anchor.objects.filter(participant__in=controls).order_by("participant"), strict=True
        ):
            anchor_moved.send(sender=Participant, participant=control, anchor=anchor)


def plan_visits(participant: Participant) -> None:
    """Bring the visit rows to what protocol, group and anchor say now. Called inside another action's context.

    A visit keeps its row and what was recorded on it; the audit trail keeps the dates it had. A planned visit that the
    schedule no longer has is closed as missed with that reason, because rows of this table are never deleted.
    """
    if participant.is_external:  # a control of another time has none of the trial's visits
        return
    anchor = participant.anchors.order_by("-revision").first()
    wanted = {visit.code: visit for visit in planned_visits_of(participant) if not visit.unscheduled}
    known = {visit.code: visit for visit in participant.visits.select_for_update()}
    revision = anchor.revision if anchor else 0
    Visit.objects.bulk_create(
        Visit(participant=participant, code=code, anchor_revision=revision, **_dates(planned))
        for code, planned in wanted.items()
        if code not in known
    )
    changed = []
    for code, visit in known.items():
        if code in wanted:
            facts = {**_dates(wanted[code]), "anchor_revision": revision}
        elif visit.status == Visit.Status.PLANNED:
            reason = f"Not part of protocol version {participant.protocol_version.version}."
            facts = {"status": Visit.Status.MISSED, "missed_reason": reason}
        else:
            continue
        if any(getattr(visit, name) != value for name, value in facts.items()):
            for name, value in facts.items():
                setattr(visit, name, value)
            changed.append(visit)
    # Written as rows that are there already: many times faster than an update that tells each field of each row apart.
    Visit.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["participant", "code"],
        update_fields=[
            "label",
            "day",
            "planned_date",
            "earliest_date",
            "latest_date",
            "anchor_revision",
            "status",
            "missed_reason",
        ],
    )


def _dates(planned: PlannedVisit) -> dict[str, object]:
    return {
        "label": planned.label,
        "day": planned.day,
        "planned_date": planned.date,
        "earliest_date": planned.earliest,
        "latest_date": planned.latest,
    }


@transaction.atomic
def record_visit(*, visit: Visit, done_on: date, by: Membership, reason: str = "") -> Visit:
    """Record the day a visit took place, inside or outside its window; another day than recorded needs a reason."""
    check_can_record_visit(by, visit)
    _lock(visit.participant)
    visit = _locked(visit)
    if done_on > timezone.localdate():
        raise ValidationError(
            {"done_on": "A visit that took place lies in the past; this day is still to come. Correct it."}
        )
    if visit.status == Visit.Status.DONE and visit.done_on == done_on:
        return visit
    if visit.status != Visit.Status.PLANNED and not reason.strip():
        raise ValidationError({"reason": f"{visit.code} is recorded as {visit.status} already; say why that changes."})
    with context.context(by=by, reason=reason):
        visit.status, visit.done_on, visit.missed_reason = Visit.Status.DONE, done_on, ""
        visit.save(update_fields=["status", "done_on", "missed_reason"])
        visit_recorded.send(sender=Visit, visit=visit)
    return visit


@transaction.atomic
def import_visits(*, rows: Sequence[tuple[Participant, str, date]], by: Membership | None, reason: str) -> int:
    """Visits of a file that took place (participant, code, day), in few questions; returns how many were news."""
    for site, trial in {(participant.site, participant.trial) for participant, _, _ in rows}:
        check_can_import(by, trial, site)
    people = {participant.pk for participant, _, _ in rows}
    list(Participant.objects.select_for_update(no_key=True).filter(pk__in=people).order_by("pk"))
    known = {
        (visit.participant_id, visit.code): visit
        for visit in Visit.objects.filter(participant__in=people, code__in={code for _, code, _ in rows})
        .select_for_update()
        .order_by("pk")
    }
    changed = []
    for participant, code, done_on in rows:
        visit = known.get((participant.pk, code))
        if visit is None:
            raise NotPossible(f"{participant} has no visit {code}.")
        if done_on > timezone.localdate():
            raise ValidationError({"done_on": f"{participant} {code}: {done_on:%d-%b-%Y} is still to come."})
        if (visit.status, visit.done_on) != (Visit.Status.DONE, done_on):
            visit.status, visit.done_on, visit.missed_reason = Visit.Status.DONE, done_on, ""
            visit.participant = participant
            changed.append(visit)
    with context.context(by=by, reason=reason, source=context.Source.IMPORT):
        Visit.objects.bulk_create(
            changed,
            batch_size=1000,
            update_conflicts=True,
            unique_fields=["participant", "code"],
            update_fields=["status", "done_on", "missed_reason"],
        )
        for visit in changed:
            visit_recorded.send(sender=Visit, visit=visit)
    return len(changed)


@transaction.atomic
def miss_visit(*, visit: Visit, reason: str, by: Membership) -> Visit:
    """Record that a visit did not take place, and why."""
    check_can_record_visit(by, visit)
    _lock(visit.participant)
    visit = _locked(visit)
    if not reason.strip():
        raise ValidationError({"reason": "Say why the visit was missed."})
    with context.context(by=by, reason=reason):
        visit.status, visit.done_on, visit.missed_reason = Visit.Status.MISSED, None, reason
        visit.save(update_fields=["status", "done_on", "missed_reason"])
    return visit


@transaction.atomic
def add_unscheduled_visit(*, participant: Participant, on: date, by: Membership, code: str = "") -> Visit:
    """Record a visit that the schedule does not foresee, under the protocol's code for such visits and a number."""
    check_can_add_visit(by, participant)
    _lock(participant)
    specs = [visit for visit in planned_visits_of(participant) if visit.unscheduled]
    spec = next((one for one in specs if not code or one.code == code), None)
    if spec is None:
        raise NotPossible(f"{participant.protocol_version} has no unscheduled visits. Record on the nearest visit.")
    if on > timezone.localdate():
        raise ValidationError(
            {"on": "A visit that took place lies in the past; this day is still to come. Correct it."}
        )
    stem = re.sub(r"\d+$", "", spec.code)
    taken = participant.visits.filter(code__startswith=stem).count()
    with context.context(by=by):
        return Visit.objects.create(
            participant=participant,
            code=f"{stem}{taken + 1}",
            label=f"{spec.label} {taken + 1}",
            status=Visit.Status.DONE,
            done_on=on,
        )


def _lock(participant: Participant) -> None:
    """One change of a participant's schedule at a time."""
    Participant.objects.select_for_update().get(pk=participant.pk)


def _locked(visit: Visit) -> Visit:
    return Visit.objects.select_for_update(of=("self",)).select_related("participant").get(pk=visit.pk)
