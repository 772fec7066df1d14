"""The audit trail as its readers see it: what changed, who did it, when and why."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render

from accounts.roles import Permission
from trials import forms, selectors
from trials.permissions import require
from trials.views.pages import TrialRequest
from trials.views.participants import PAGE_LENGTH


def trail(request: TrialRequest, trial: str) -> HttpResponse:
    membership = request.membership
    require(
        membership,
        Permission.VIEW_AUDIT,
        doing="read the audit trail",
        trial_id=membership.trial_id,
        site_matters=False,
    )
    form = forms.TrailFilterForm(request.GET or None)
    wanted = form.cleaned_data if form.is_bound and form.is_valid() else {}
    page = Paginator(selectors.trail(membership, **wanted), PAGE_LENGTH).get_page(request.GET.get("page"))
    return render(
        request,
        "trials/trail.html",
        {"page": page, "lines": selectors.trail_lines(membership, page.object_list), "filter_form": form},
    )
