"""What the people of every practice trial go through, by the product's own actions. Nobody of them is real."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.utils import timezone

from accounts.models import User
from casebook import actions as casebook
from casebook.domain.results import Written
from dosing import actions as dosing
from dosing.domain.worksheet import as_source_says
from dosing.models import DoseWorksheet
from trials import actions as trials
from trials.models import Membership, Participant

#: Sites and accounts take part from this day, long before anything of the demonstration.
SINCE = date(2015, 6, 1)
LABORATORY = "PRACTICE-LAB"


def as_it_is(participant: Participant) -> Participant:
    """The participant as the database has them now, with what the actions read of them."""
    return Participant.objects.select_related("trial", "site", "protocol_version__trial", "enrolment").get(
        pk=participant.pk
    )


def member_at(participant: Participant, username: str, role: str) -> Membership:
    """The membership of a practice account at the participant's site, given where the account has none there."""
    user = User.objects.get(username=username)
    known = Membership.objects.filter(
        user=user, trial=participant.trial, site=participant.site, role=role, valid_until=None
    ).first()
    return known or trials.grant_membership(
        user=user,
        trial=participant.trial,
        role=role,
        site=participant.site,
        valid_from=SINCE,
        by=None,
        reason="demonstration",
    )


def answer_clinically(participant: Participant, coordinator: Membership) -> None:
    """The answers that the protocol wants of a human: nothing stands against taking part.

    A criterion that does not apply is not asked.
    """
    assessment = casebook.check_eligibility(participant=participant, by=coordinator)
    asked = {
        row["id"]: ("yes" if row["kind"] == "include" else "no", "")
        for row in assessment.criteria
        if row["needs_human"] and row["result"] == "unknown"
    }
    casebook.answer_criteria(
        participant=participant, answers=asked, by=member_at(participant, "investigator", "investigator")
    )


def verify(worksheet: DoseWorksheet) -> Membership:
    """The pharmacist enters every value from the source document, independently; returns who it was."""
    by = member_at(worksheet.participant, "pharmacist", "pharmacist")
    typed = {one["id"]: as_source_says(one) for one in worksheet.inputs["covariates"]}
    dosing.verify_worksheet(worksheet=worksheet, typed=typed, by=by)
    return by


def verify_and_release(worksheet: DoseWorksheet, reason: str = "Compared with the source document.") -> None:
    """The same person releases the dose."""
    by = verify(worksheet)
    dosing.release_worksheet(worksheet=worksheet, by=by, reason=reason)


def infuse(participant: Participant, worksheet: DoseWorksheet, by: Membership, *, until: date | None = None) -> None:
    """The infusions of the worksheet whose day has come and that are not recorded yet, given as planned."""
    if worksheet.is_refused:
        return
    zone = ZoneInfo(participant.site.time_zone)
    dosing_rule = participant.protocol.dosing
    taken = set(participant.administrations.filter(is_void=False).values_list("infusion", flat=True))
    for number, day in enumerate(worksheet.result["days"], start=1):
        started = datetime.combine(date.fromisoformat(day["on"]), time(10), zone)
        stopped = started + timedelta(hours=8)
        if stopped > timezone.now() or (until is not None and started.date() > until):
            return
        if number not in taken:
            dosing.record_administration(
                participant=participant,
                infusion=number,
                started_at=started,
                stopped_at=stopped,
                dose_mg=Decimal(str(day["mg"])),
                product=dosing_rule.product if dosing_rule else "",
                batch="PRACTICE-1",
                by=by,
            )


def graft(participant: Participant, on: date, by: Membership) -> None:
    """The graft took place on the day that it was planned for."""
    entry = participant.entries.get(form="TX")
    casebook.save_entry(
        participant=participant,
        form="TX",
        visit=entry.visit,
        answers={"DATETIME": f"{on.isoformat()}T13:30"},
        revision=entry.revision,
        by=by,
        reason="graft infused",
    )


def draw(
    participant: Participant,
    on: date,
    values: Mapping[str, Written],
    by: Membership,
    *,
    at: time = time(8, 0),
    laboratory: str = LABORATORY,
) -> None:
    """One draw; one of this morning is of this moment when the demonstration is made before that hour."""
    zone = ZoneInfo(participant.site.time_zone)
    casebook.record_draw(
        participant=participant,
        sampled_at=min(datetime.combine(on, at, zone), timezone.now()),
        laboratory=laboratory,
        values=values,
        by=by,
    )


def cells(values: Mapping[str, str]) -> dict[str, Written]:
    """Counts in 10^9/L."""
    return {address: Written(value, "10^9/L") for address, value in values.items()}


def visits_done(participant: Participant, today: date, by: Membership) -> None:
    """Every visit whose window has closed took place as planned; what is due now is left to the user."""
    for visit in participant.visits.filter(status="planned", latest_date__lt=today).order_by("latest_date"):
        done_on = visit.planned_date or visit.earliest_date
        if done_on is not None:
            trials.record_visit(visit=visit, done_on=done_on, by=by)
