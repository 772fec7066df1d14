"""Published numbers beside those of the live data: the page and its PDF."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from analysis.permissions import check_can_view_results
from analysis.reports import reconciliation as report
from trials.formats.documents import as_pdf
from trials.models import Membership


class TrialRequest(HttpRequest):
    """A request under a trial's address: the middleware has found the membership that acts."""

    membership: Membership


def reconciliation(request: TrialRequest, trial: str) -> HttpResponse:
    """What agrees, what differs and why; ``show=differences`` leaves out what agrees."""
    check_can_view_results(request.membership, request.membership.trial)
    found = report.for_member(request.membership)
    differences = [row for row in found.rows if not row.agrees]
    only = request.GET.get("show") == "differences"
    return render(
        request,
        "analysis/reconciliation.html",
        {
            "found": found,
            "rows": differences if only else found.rows,
            "only_differences": only,
            "total": len(found.rows),
            "agreeing": len(found.rows) - len(differences),
            "differing": len(differences),
            "as_of": timezone.now(),
        },
    )


def reconciliation_pdf(request: TrialRequest, trial: str) -> HttpResponse:
    """The same rows as a document."""
    check_can_view_results(request.membership, request.membership.trial)
    document = report.as_document(request.membership.trial, report.for_member(request.membership))
    response = HttpResponse(as_pdf(document), content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{trial}-reconciliation.pdf"'
    return response
