"""The dose card of a participant, its verification and release, what was given, and the list of open work."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.roles import Permission
from dosing import actions, forms, selectors
from dosing.domain.monitoring import range_words
from dosing.domain.nomogram import plain
from dosing.permissions import (
    check_can_record_administration,
    check_can_release,
    check_can_see_doses,
    check_can_verify,
    may_record_administration,
)
from dosing.reports.monitoring import timeline
from dosing.reports.proposal import proposal_figure
from dosing.views.pages import TrialRequest, dose_card, member_page, participant_of
from trials.permissions import NotPossible, may
from trials.views.pages import form_page


@member_page
def panel(request: TrialRequest, participant: int) -> HttpResponse:
    """The dose card: the plan and what it rests on, its verification and release, and what was given."""
    person = participant_of(request, participant)
    page: dict[str, Any] = {"participant": person, "spec": selectors.dosing_of(person)}
    try:
        check_can_see_doses(request.membership, person)
    except PermissionDenied as refused:
        if not request.htmx:
            raise
        return render(request, "dosing/panel.html", {**page, "blinded": str(refused)})
    today = timezone.now().astimezone(ZoneInfo(person.site.time_zone)).date()
    card = selectors.dose_card(person, request.membership, today, looks="show" in request.GET)
    return render(
        request,
        "dosing/panel.html",
        {
            **page,
            "card": card,
            "proposal_figure": None if card.is_hidden else proposal_figure(card.worksheet),
            "may_record": may_record_administration(request.membership, person),
            "may_compute": may(request.membership, Permission.COMPUTE_DOSE, person),
        },
    )


@member_page
def card_file(request: TrialRequest, participant: int) -> HttpResponse:
    """The dose card as a PDF; where there is none to take, the card's page says why."""
    person = participant_of(request, participant)
    today = timezone.now().astimezone(ZoneInfo(person.site.time_zone)).date()
    try:
        pdf = actions.take_card(participant=person, by=request.membership, today=today, looks="show" in request.GET)
    except NotPossible as refused:
        messages.error(request, str(refused))
        return redirect(dose_card(person))
    answer = HttpResponse(pdf, content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="dose-card-{person}.pdf"'
    answer["Cache-Control"] = "private, no-store"
    return answer


@member_page
def monitoring(request: TrialRequest, participant: int) -> HttpResponse:
    """The monitored targets: each result below, in or above, on a timeline and in a list."""
    person = participant_of(request, participant)
    check_can_see_doses(request.membership, person)
    targets = [
        {"of": one, "figure": timeline(one), "name": f"timeline-{one.target.id}", "range": range_words(one.target)}
        for one in selectors.monitored(person)
    ]
    return render(request, "dosing/monitoring.html", {"participant": person, "targets": targets})


@member_page
def compute(request: TrialRequest, participant: int) -> HttpResponse:
    """Compute the dose now, with a reason; the same facts give the same worksheet."""
    person = participant_of(request, participant)
    if request.method == "POST":
        try:
            worksheet = actions.bring_up_to_date(participant=person, by=request.membership)
        except NotPossible as refused:
            messages.error(request, str(refused))
        else:
            said = _("No dose can be computed; the reasons stand on the card.")
            messages.info(
                request,
                said
                if worksheet is None or worksheet.is_refused
                else _("The dose card rests on the facts as they are now."),
            )
    return redirect(dose_card(person))


@member_page
def verify(request: TrialRequest, worksheet: int) -> HttpResponse:
    """The second person's own entry of the covariates; nothing of the first entry is on the page."""
    row = selectors.worksheet_for(request.membership, worksheet)
    person = row.participant
    check_can_verify(request.membership, row)
    form = forms.VerifyDoseForm(request.POST or None, worksheet=row, choices=selectors.graft_choices(person))

    def act(typed: dict[str, Any]) -> str:
        verification = actions.verify_worksheet(worksheet=row, typed=typed, by=request.membership)
        if not verification.agrees:
            raise NotPossible(" ".join(verification.differences))
        return _("Your entry agrees with the first. Release the dose when it may be given.")

    return form_page(
        request,
        form,
        act,
        done=dose_card(person),
        participant=person,
        heading=_("Verify the dose of %(code)s") % {"code": person},
        submit=_("Compare"),
        lead=_("Enter the values from the source documents. What the first person entered is not shown."),
    )


@member_page
def release(request: TrialRequest, worksheet: int) -> HttpResponse:
    """The verifier's signature that the dose may be given."""
    row = selectors.worksheet_for(request.membership, worksheet)
    person = row.participant
    check_can_release(request.membership, row)
    form = forms.ReleaseForm(request.POST or None, has_warnings=bool(row.result["warnings"]))

    def act(typed: dict[str, Any]) -> str:
        actions.release_worksheet(worksheet=row, by=request.membership, reason=typed.get("reason", ""))
        return _("The dose of %(code)s is released.") % {"code": person}

    return form_page(
        request,
        form,
        act,
        done=dose_card(person),
        template="dosing/release.html",
        participant=person,
        worksheet=row,
        meaning=actions.RELEASE_MEANING,
        heading=_("Release the dose of %(code)s") % {"code": person},
        submit=_("Release"),
    )


@member_page
def record(request: TrialRequest, participant: int) -> HttpResponse:
    """Record one infusion as it was given."""
    person = participant_of(request, participant)
    check_can_record_administration(request.membership, person)
    check_can_see_doses(request.membership, person)
    spec = selectors.dosing_of(person)
    planned = selectors.next_infusion(person)
    form = forms.AdministrationForm(
        request.POST or None,
        participant=person,
        spec=spec,
        initial={"infusion": planned.number, "dose_mg": planned.mg, "started_at": planned.starts},
    )

    def act(typed: dict[str, Any]) -> str:
        given = actions.record_administration(
            participant=person, product=spec.product if spec else "", by=request.membership, **typed
        )
        return _("Infusion %(n)s is recorded: %(mg)s mg.") % {"n": given.infusion, "mg": plain(given.dose_mg)}

    return form_page(
        request,
        form,
        act,
        done=dose_card(person),
        template="dosing/administration.html",
        participant=person,
        planned=planned,
        spec=spec,
        heading=_("Record an infusion of %(code)s") % {"code": person},
        submit=_("Record"),
    )


@member_page
def correct(request: TrialRequest, administration: int) -> HttpResponse:
    """Correct an infusion, with a reason."""
    given = selectors.administration_for(request.membership, administration)
    person = given.participant
    check_can_record_administration(request.membership, person)
    check_can_see_doses(request.membership, person)
    zone = ZoneInfo(person.site.time_zone)
    form = forms.AdministrationForm(
        request.POST or None,
        participant=person,
        spec=selectors.dosing_of(person),
        correcting=given,
        initial={
            "started_at": given.started_at.astimezone(zone),
            "stopped_at": given.stopped_at.astimezone(zone),
            "dose_mg": given.dose_mg,
            "volume_ml": given.volume_ml,
            "was_stopped_early": given.was_stopped_early,
            "batch": given.batch,
            "comment": given.comment,
        },
    )

    def act(typed: dict[str, Any]) -> str:
        actions.correct_administration(administration=given, by=request.membership, **typed)
        return _("Infusion %(n)s is corrected.") % {"n": given.infusion}

    return form_page(
        request,
        form,
        act,
        done=dose_card(person),
        template="dosing/administration.html",
        participant=person,
        spec=selectors.dosing_of(person),
        heading=_("Correct infusion %(n)s of %(code)s") % {"n": given.infusion, "code": person},
        submit=_("Correct"),
    )


@member_page
def void(request: TrialRequest, administration: int) -> HttpResponse:
    """Take back an infusion that was recorded in error."""
    given = selectors.administration_for(request.membership, administration)
    person = given.participant
    check_can_record_administration(request.membership, person)
    form = forms.ReasonForm(request.POST or None)

    def act(typed: dict[str, Any]) -> str:
        actions.void_administration(administration=given, by=request.membership, **typed)
        return _("Infusion %(n)s no longer counts.") % {"n": given.infusion}

    return form_page(
        request,
        form,
        act,
        done=dose_card(person),
        participant=person,
        heading=_("Infusion %(n)s of %(code)s was recorded in error") % {"n": given.infusion, "code": person},
        submit=_("Take it back"),
    )


@member_page
def end_course(request: TrialRequest, participant: int) -> HttpResponse:
    """Declare that no further dose is given."""
    person = participant_of(request, participant)
    check_can_record_administration(request.membership, person)
    form = forms.EndCourseForm(request.POST or None, initial={"ended_on": timezone.localdate()})

    def act(typed: dict[str, Any]) -> str:
        actions.end_course(participant=person, by=request.membership, **typed)
        return _("The course of %(code)s has ended.") % {"code": person}

    return form_page(
        request,
        form,
        act,
        done=dose_card(person),
        participant=person,
        heading=_("End the course of %(code)s") % {"code": person},
        submit=_("End the course"),
    )


@member_page
def resume_course(request: TrialRequest, participant: int) -> HttpResponse:
    """Take back that the course has ended."""
    person = participant_of(request, participant)
    check_can_record_administration(request.membership, person)
    form = forms.ReasonForm(request.POST or None)

    def act(typed: dict[str, Any]) -> str:
        actions.resume_course(participant=person, by=request.membership, **typed)
        return _("The course of %(code)s goes on.") % {"code": person}

    return form_page(
        request,
        form,
        act,
        done=dose_card(person),
        participant=person,
        heading=_("The course of %(code)s goes on") % {"code": person},
        submit=_("Resume"),
    )


@member_page
def worklist(request: TrialRequest) -> HttpResponse:
    """Doses to verify, to release and to give, and those that cannot be computed; counts equal the lists."""
    membership = request.membership
    nothing = not membership.may(Permission.VIEW_DOSE)
    work = None if nothing else selectors.open_work(membership, timezone.localdate())
    return render(
        request,
        "dosing/worklist.html",
        {
            "work": work,
            "may_confirm": membership.may(Permission.CONFIRM_DOSE),
            "may_record": membership.may(Permission.RECORD_ADMINISTRATION),
        },
    )
