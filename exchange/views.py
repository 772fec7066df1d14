"""The export centre: ask, watch, take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from accounts.roles import ROLES, Permission
from exchange import actions, selectors
from exchange.datasets import DATASETS
from exchange.forms import ExportForm
from exchange.models import ExportJob
from exchange.permissions import check_can_export
from trials.models import Membership
from trials.permissions import NotPossible


class TrialRequest(HttpRequest):
    """A request under a trial's address: the middleware has found the membership that acts."""

    membership: Membership
    htmx: Any


def member_page(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A page for members of the trial; a job that is not theirs is a 404, never a hint that it exists."""

    @login_required
    def page(request: TrialRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        kwargs.pop("trial")
        try:
            return view(request, *args, **kwargs)
        except ExportJob.DoesNotExist:
            raise Http404("There is no such export, or it is not for you.") from None

    page.__name__, page.__doc__ = view.__name__, view.__doc__
    return page


@member_page
def exports(request: TrialRequest) -> HttpResponse:
    """The exports so far, and the request for another."""
    membership = request.membership
    status = 200
    form = ExportForm(request.POST or None, membership=membership)
    if request.method == "POST":
        check_can_export(membership, membership.trial, {})
        if form.is_valid():
            try:
                job = actions.request_export(trial=membership.trial, by=membership, **form.cleaned_data)
            except ValidationError as refused:
                form.add_error(None, refused)
            else:
                messages.success(request, _("The export is on its way. This page shows how far it is."))
                return redirect("exchange:export", trial=membership.trial.code, key=job.key)
        status = 422
    return render(
        request,
        "exchange/exports.html",
        {
            "form": form,
            "may_export": selectors.may_export(membership),
            "holders": [r.display_name.lower() for r in ROLES.values() if Permission.EXPORT_DATA in r.permissions],
            "groups": selectors.includes_groups(membership),
            "identifying": selectors.includes_identifying(membership),
            "page": Paginator(selectors.export_jobs(membership), 25).get_page(request.GET.get("page")),
            "dataset_count": len(DATASETS),
        },
        status=status,
    )


@member_page
@require_GET
def export(request: TrialRequest, key: UUID) -> HttpResponse:
    """One export: how far it is, what is in it, who took it. Asked by the page itself, the part that changes."""
    job = selectors.export_job_for(request.membership, key)
    page = {
        "job": job,
        "datasets": [DATASETS[name] for name in job.specification["datasets"] if name in DATASETS],
        "downloads": job.downloads.select_related("by__user").order_by("-pk"),
        "again": ExportForm(membership=request.membership, initial=job.specification),
        "may_repeat": selectors.may_export(request.membership),
    }
    if request.htmx:
        template = "exchange/job_row.html" if request.GET.get("as") == "row" else "exchange/job_body.html"
        return render(request, template, page)
    return render(request, "exchange/export.html", page)


@member_page
@require_GET
def download(request: TrialRequest, key: UUID) -> HttpResponseBase:
    """The file. Where there is none (any more), the page of the export says why."""
    job = selectors.export_job_for(request.membership, key)
    try:
        file = actions.download_export(job=job, by=request.membership)
    except NotPossible as refused:
        messages.error(request, str(refused))
        return redirect("exchange:export", trial=job.trial.code, key=job.key)
    return file_response(file, job)


def file_response(file: Path, job: ExportJob) -> FileResponse:
    answer = FileResponse(file.open("rb"), as_attachment=True, filename=job.file_name, content_type="application/zip")
    answer["ETag"] = f'"{job.sha256}"'
    answer["Cache-Control"] = "private, no-store"
    # A ZIP is compressed already; the word keeps the middleware from doing it once more and hiding the length.
    answer["Content-Encoding"] = "identity"
    return answer
