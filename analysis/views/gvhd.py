"""Acute GVHD of one participant: read, and the next assessment typed with four keys."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from analysis.formats.pictures import profile_figure
from analysis.reports import gvhd as report
from analysis.views import TrialRequest
from analysis.views.profile import found_participant
from casebook import actions as casebook
from casebook.permissions import check_can_record, may_record
from casebook.views.pages import problems_of
from trials.permissions import NotPossible


def gvhd(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """Every assessment with its grades and its response, and the form for the next one."""
    person = found_participant(request, participant)
    if request.method == "POST":
        check_can_record(request.membership, person, what="enter an assessment")
    found = report.gvhd_of(request.membership, person)
    if found is None:
        status = 409 if request.method == "POST" else 200
        return render(request, "analysis/gvhd.html", {"participant": person}, status=status)
    typed = report.typed_of(person, found.form, request.POST)
    problems: list[str] = []
    status = 200
    if request.method == "POST":
        try:
            casebook.save_entry(
                participant=person,
                form=found.form.id,
                visit=typed.visit,
                repeat=typed.repeat,
                answers=typed.answers,
                complete=request.POST.get("action") != "save",
                by=request.membership,
            )
        except ValidationError as refused:
            problems, status = [one.sentence for one in problems_of(refused)], 422
        except NotPossible as refused:
            problems, status = [str(refused)], 409
        else:
            messages.success(request, _("The assessment is saved."))
            return redirect(request.get_full_path())
    return render(
        request,
        "analysis/gvhd.html",
        {
            "participant": person,
            "found": found,
            "figure": profile_figure(found.course, as_of=timezone.now(), name="gvhd") if found.course else None,
            "typed": typed,
            "may_record": may_record(request.membership, person),
            "problems": [(None, one) for one in problems],
        },
        status=status,
    )


def grade(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """What the stages typed so far come to. Saves nothing."""
    person = found_participant(request, participant)
    grades = report.preview_of(request.membership, request.GET)
    return render(request, "analysis/grade.html", {"participant": person, "grades": grades})
