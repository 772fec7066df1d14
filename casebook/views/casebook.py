"""The casebook of a participant, its panel on the participant page, and the list of open work."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from casebook import selectors
from casebook.permissions import may_import, may_record
from casebook.views.pages import TrialRequest, member_page, participant_of, show


@member_page
def casebook(request: TrialRequest, participant: int) -> HttpResponse:
    """Visits by forms, the forms kept once, and the logs."""
    subject = participant_of(request, participant)
    grid = selectors.casebook_grid(subject, selectors.moment_for(subject).today)
    return show(
        request, "casebook/casebook.html", subject, grid=grid, may_record=may_record(request.membership, subject)
    )


@member_page
def panel(request: TrialRequest, participant: int) -> HttpResponse:
    """The casebook in short, for the participant page."""
    subject = participant_of(request, participant)
    template = "casebook/panel.html" if request.htmx else "casebook/panel_page.html"
    return show(
        request,
        template,
        subject,
        summary=selectors.casebook_summary(subject, selectors.moment_for(subject).today),
        may_record=may_record(request.membership, subject),
    )


@member_page
def worklist(request: TrialRequest) -> HttpResponse:
    """What is to be filled in, with counts that equal the lists."""
    template = "casebook/worklist.html" if request.htmx else "casebook/worklist_page.html"
    work = selectors.open_work(request.membership, timezone.localdate())
    return render(
        request,
        template,
        {"work": work, "trial_code": request.membership.trial.code, "may_import": may_import(request.membership)},
    )
