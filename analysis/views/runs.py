"""The pages of the statistical plan: its runs, the report of one as page, PDF and numbers."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts.roles import Permission
from analysis import forms
from analysis.actions import runs as actions
from analysis.formats.pictures import course_links
from analysis.models import Run, RunState
from analysis.permissions import check_can_view_results
from analysis.reports import plan
from analysis.selectors import runs as selectors
from trials.formats.documents import as_pdf
from trials.models import Membership
from trials.permissions import NotPossible, require

PAGE_LENGTH = 20


class TrialRequest(HttpRequest):
    """A request under a trial's address: the middleware has found the membership that acts."""

    membership: Membership


def runs(request: TrialRequest, trial: str) -> HttpResponse:
    """The runs so far, the latest first, and the request for another."""
    membership = request.membership
    check_can_view_results(membership, membership.trial)
    status = 200
    form = forms.RunForm(initial={"as_of": None})
    if request.method == "POST":
        require(
            membership,
            Permission.RUN_ANALYSIS,
            doing="run the analyses",
            trial_id=membership.trial_id,
            site_matters=False,
        )
        form, status = forms.RunForm(request.POST), 422
        if form.is_valid():
            try:
                run = actions.run_analyses(trial=membership.trial, by=membership, **form.cleaned_data)
            except ValidationError as refused:
                for name, errors in refused.error_dict.items():
                    form.add_error(name if name in form.fields else None, errors)
            except NotPossible as refused:
                form.add_error(None, str(refused))
                status = 409
            else:
                messages.success(request, _("The analyses are asked for. The report is ready in a moment."))
                return redirect("analysis:run", trial=trial, run=run.pk)
    page = Paginator(selectors.runs_of(membership), PAGE_LENGTH).get_page(request.GET.get("page"))
    latest = next((run for run in page.object_list if run.state == RunState.DONE), None)
    return render(
        request,
        "analysis/runs.html",
        {
            "page": page,
            "form": form,
            "latest": latest,
            "has_changed": selectors.has_changed(latest) if latest and page.number == 1 else None,
            "may_run": membership.may(Permission.RUN_ANALYSIS) and membership.site_id is None,
            "analyses": membership.trial.protocol.analyses,
        },
        status=status,
    )


def _found(request: TrialRequest, run: int) -> Run:
    check_can_view_results(request.membership, request.membership.trial)
    found = selectors.run_for(request.membership, run)
    if found is None:
        raise Http404("No such run among those that you see.")
    return found


def _done(request: TrialRequest, run: int) -> Run:
    found = _found(request, run)
    if found.state != RunState.DONE:
        raise Http404("This run has no report yet.")
    return found


def run(request: TrialRequest, trial: str, run: int) -> HttpResponse:
    """The report of one run; while it is computed, how far it is."""
    found = _found(request, run)
    done = found.state == RunState.DONE
    results = selectors.results_for(request.membership, found) if done else ()
    links = course_links(selectors.drawn_of(request.membership, results), trial)
    return render(
        request,
        "analysis/run.html",
        {
            "run": found,
            "report": plan.document(found, results, links) if done else None,
            "compared": selectors.compared(found),
            "has_changed": selectors.has_changed(found),
        },
    )


def report_pdf(request: TrialRequest, trial: str, run: int) -> HttpResponse:
    """The report as a PDF; the same run and the same eyes give the same bytes."""
    found = _done(request, run)
    document = plan.document(found, selectors.results_for(request.membership, found))
    answer = HttpResponse(as_pdf(document), content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="{trial}-run-{found.pk}.pdf"'
    return answer


def numbers(request: TrialRequest, trial: str, run: int) -> HttpResponse:
    """Every number of the report as a table."""
    found = _done(request, run)
    text = plan.numbers_csv(found, selectors.results_for(request.membership, found))
    answer = HttpResponse("\ufeff" + text, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{trial}-run-{found.pk}.csv"'
    return answer
