"""The pages of independent readers: what is to be read, a case with all its evidence, and how well they agreed."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from analysis import actions, forms
from analysis.permissions import check_can_see_cases, check_can_view_results, check_has_readers
from analysis.selectors import readings
from trials.models import Membership, Participant
from trials.permissions import NotPossible
from trials.selectors import participant_for

PAGE_LENGTH = 50


class TrialRequest(HttpRequest):
    membership: Membership


def queue(request: TrialRequest, trial: str) -> HttpResponse:
    """The cases that want this reader first."""
    membership = request.membership
    check_can_see_cases(membership, membership.trial)
    rows = readings.queue(membership)
    return render(
        request,
        "analysis/readings.html",
        {
            "page": Paginator(rows, PAGE_LENGTH).get_page(request.GET.get("page")),
            "waiting": sum(row.state in ("to read", "to settle") for row in rows),
            "total": len(rows),
        },
    )


def case(request: TrialRequest, trial: str, participant: int, endpoint: str) -> HttpResponse:
    """All evidence on one page; the proposal of the rule after the own vote only."""
    membership = request.membership
    check_can_see_cases(membership, membership.trial)
    found = _found(membership, participant, endpoint)
    now = {"seen": found.evidence_sha256, "settles": found.case.to_settle}
    form = forms.ReadingForm(request.POST or None, request=request, initial=now)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                actions.record_reading(
                    participant=found.participant, endpoint=endpoint, by=membership, **form.cleaned_data
                )
            except ValidationError as refused:
                for name, errors in refused.error_dict.items():
                    form.add_error(name, errors)
            except NotPossible as refused:
                form.add_error(None, str(refused))
                status = 409
            else:
                messages.success(request, _("Your reading is signed. It stays as it is."))
                return redirect("analysis:case", trial=trial, participant=participant, endpoint=endpoint)
        found = _found(membership, participant, endpoint)
        # The page shows the case of now: what is signed from it next is about that.
        form.data = {**dict(form.data.items()), "seen": found.evidence_sha256, "settles": found.case.to_settle}
    return render(
        request,
        "analysis/case.html",
        {
            "case": found,
            "form": form if found.case.wants(membership.user_id) or form.errors else None,
            "tables": readings.evidence_tables(found),
            "readings": readings.readings_for(membership, found),
            "proposal": readings.proposal_for(membership, found),
            "settles": found.case.to_settle and found.case.wants(membership.user_id),
        },
        status=status,
    )


def _found(membership: Membership, participant: int, endpoint: str) -> readings.CaseNow:
    try:
        return readings.case_of(participant_for(membership, participant), endpoint)
    except (Participant.DoesNotExist, KeyError):
        raise Http404("There is no such case among those that you read.") from None


def agreement(request: TrialRequest, trial: str) -> HttpResponse:
    """Agreement and kappa, and every case on which readers, or rule and readers, differ."""
    membership = request.membership
    check_can_view_results(membership, membership.trial)
    check_has_readers(membership.trial.protocol)
    return render(request, "analysis/agreement.html", {"found": readings.agreement(membership)})
