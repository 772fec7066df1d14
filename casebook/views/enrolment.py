"""Eligibility, criterion by criterion, and enrolment."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.roles import Permission
from casebook import actions, selectors
from casebook.views.pages import TrialRequest, address, member_page, participant_of, problems_of, show
from trials import selectors as trials
from trials.domain.lifecycle import ParticipantState
from trials.domain.partial_dates import DateEntryError, enter_date
from trials.permissions import NotPossible, check_can_enrol, may

SCREENING = (ParticipantState.SCREENING, ParticipantState.ELIGIBLE)


@member_page
def eligibility(request: TrialRequest, participant: int) -> HttpResponse:
    """The criteria with their results; posted, the answers given by hand are recorded and all is assessed anew."""
    subject = participant_of(request, participant)
    status, problems = 200, []
    if request.method == "POST":
        answers = {
            name[7:]: (str(answer), request.POST.get(f"comment:{name[7:]}", ""))
            for name, answer in request.POST.dict().items()
            if name.startswith("answer:") and answer
        }
        try:
            assessment = actions.answer_criteria(participant=subject, answers=answers, by=request.membership)
        except ValidationError as refused:
            status, problems = 422, [one.sentence for one in problems_of(refused)]
        except NotPossible as refused:
            status, problems = 409, [str(refused)]
        else:
            messages.success(request, _("Assessed: %(outcome)s.") % {"outcome": assessment.get_outcome_display()})
            return redirect(request.path)
    rows = selectors.criterion_rows(subject, request.membership)
    screening = subject.status in SCREENING
    return show(
        request,
        "casebook/eligibility.html",
        subject,
        assessment=trials.latest_assessment(subject),
        rows=rows,
        problems=problems,
        in_screening=screening,
        can_assess=screening and may(request.membership, Permission.ASSESS_ELIGIBILITY, subject),
        can_enrol=screening and may(request.membership, Permission.ENROL, subject),
        status=status,
    )


@require_POST
@member_page
def waive(request: TrialRequest, participant: int, criterion: str) -> HttpResponse:
    """Set one criterion aside, with a reason."""
    subject = participant_of(request, participant)
    try:
        actions.waive_criterion(
            participant=subject, criterion=criterion, reason=request.POST.get("reason", ""), by=request.membership
        )
    except ValidationError as refused:
        messages.error(request, " ".join(one.sentence for one in problems_of(refused)))
    except NotPossible as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, _("Criterion %(id)s is waived.") % {"id": criterion})
    return redirect(address("eligibility", subject))


@member_page
def enrol(request: TrialRequest, participant: int) -> HttpResponse:
    """What enrolment rests on, and the confirmation."""
    subject = participant_of(request, participant)
    status, problems = 200, []
    today = selectors.moment_for(subject).today
    if request.method == "POST":
        check_can_enrol(request.membership, subject)
        try:
            day = enter_date(request.POST.get("enrolled_on", ""), today=today).exact
            if day is None:
                raise DateEntryError(_("The day itself is needed here."))
            actions.enrol_participant(
                participant=subject, enrolled_on=day, group=request.POST.get("group", ""), by=request.membership
            )
        except DateEntryError as error:
            status, problems = 422, [str(error)]
        except ValidationError as refused:
            status, problems = 422, [one.sentence for one in problems_of(refused)]
        except NotPossible as refused:
            status, problems = 409, [str(refused)]
        else:
            messages.success(request, _("The participant is enrolled. The dose is being computed."))
            return redirect("trials:participant", trial=subject.trial.code, participant=subject.pk)
    groups = trials.own_groups(subject.protocol)
    rows = selectors.criterion_rows(subject, request.membership)
    return show(
        request,
        "casebook/enrol.html",
        subject,
        assessment=trials.latest_assessment(subject),
        obstacles=[row for row in rows if row.stands_in_the_way or row.result in ("", "unknown")],
        met=sum(row.result not in ("", "unknown") and not row.stands_in_the_way for row in rows),
        total=len(rows),
        capacity=trials.capacity(subject.trial),
        groups=groups if len(groups) > 1 and subject.protocol.assignment.method == "as_treated" else (),
        chosen_group=request.POST.get("group", ""),
        enrolled_on=request.POST.get("enrolled_on") or today.strftime("%d-%b-%Y"),
        problems=problems,
        in_screening=subject.status in SCREENING,
        can_enrol=subject.status in SCREENING and may(request.membership, Permission.ENROL, subject),
        status=status,
    )
