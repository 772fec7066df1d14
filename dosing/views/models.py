"""Parameter sets and level-guided algorithms: the list, the entry, the review, the second entry and the approval."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.roles import Permission
from dosing import actions, forms, selectors
from dosing.domain.states import TableEvent, can
from dosing.models import DosingModel
from dosing.permissions import (
    check_can_approve_table,
    check_can_enter_table,
    check_can_retire_table,
    check_can_see_tables,
    check_can_verify_table,
)
from dosing.views.pages import TrialRequest, member_page
from trials.views.pages import form_page


@member_page
def models(request: TrialRequest) -> HttpResponse:
    membership = request.membership
    check_can_see_tables(membership, membership.trial)
    rows = list(selectors.models(membership))
    wanted = selectors.algorithms_named(membership.trial)
    active = {row.code for row in rows if row.status == "ACTIVE"}
    return render(
        request,
        "dosing/models.html",
        {
            "models": rows,
            "wanted": wanted,
            "missing": [code for code in wanted if code not in active],
            "may_enter": membership.may(Permission.ENTER_DOSING_TABLE),
        },
    )


@member_page
def enter(request: TrialRequest) -> HttpResponse:
    """Upload a draft; what is wrong is refused with its places."""
    membership = request.membership
    check_can_enter_table(membership, membership.trial, is_synthetic=False)
    form = forms.EnterModelForm(request.POST or None, request.FILES or None)
    made: list[DosingModel] = []

    def act(typed: dict[str, Any]) -> str:
        made.append(actions.enter_model(trial=membership.trial, by=membership, **typed))
        return _("%(model)s is entered as a draft. Another person enters it a second time.") % {"model": made[0]}

    answer = form_page(
        request,
        form,
        act,
        done=reverse("dosing:models", kwargs={"trial": membership.trial.code}),
        template="dosing/upload.html",
        heading=_("Enter a parameter set or an algorithm"),
        submit=_("Check and enter"),
    )
    return redirect(_page(made[0])) if made else answer


@member_page
def model(request: TrialRequest, model: int) -> HttpResponse:
    """Everything that an approver looks at: source, every value, and what differs from the one in force."""
    membership = request.membership
    check_can_see_tables(membership, membership.trial)
    row = selectors.model_for(membership, model)
    return render(
        request,
        "dosing/model.html",
        {
            "model": row,
            "review": selectors.model_review(row),
            "may_verify": membership.may(Permission.VERIFY_DOSING_TABLE)
            and row.status == "DRAFT"
            and (row.entered_by is None or row.entered_by.user_id != membership.user_id),
            "may_approve": membership.may(Permission.APPROVE_DOSING_TABLE) and row.status == "VERIFIED",
            "may_retire": membership.may(Permission.APPROVE_DOSING_TABLE) and can(row.status, TableEvent.RETIRE),
        },
    )


@member_page
def verify(request: TrialRequest, model: int) -> HttpResponse:
    row = selectors.model_for(request.membership, model)
    check_can_verify_table(request.membership, row)
    form = forms.VerifyModelForm(request.POST or None, request.FILES or None)

    def act(typed: dict[str, Any]) -> str:
        actions.verify_model(model=row, by=request.membership, **typed)
        return _("Both entries of %(model)s agree; it waits for approval.") % {"model": row}

    return form_page(
        request,
        form,
        act,
        done=_page(row),
        template="dosing/upload.html",
        heading=_("Enter %(model)s a second time") % {"model": row},
        submit=_("Compare"),
    )


@member_page
def approve(request: TrialRequest, model: int) -> HttpResponse:
    row = selectors.model_for(request.membership, model)
    check_can_approve_table(request.membership, row)
    form = forms.ApproveModelForm(request.POST or None, initial={"effective_from": timezone.localdate()})

    def act(typed: dict[str, Any]) -> str:
        actions.approve_model(model=row, by=request.membership, **typed)
        return _("%(model)s is in force.") % {"model": row}

    return form_page(
        request,
        form,
        act,
        done=_page(row),
        heading=_("Approve %(model)s") % {"model": row},
        submit=_("Approve"),
        lead=_("Proposals whose days are still open are computed anew with it."),
    )


@member_page
def retire(request: TrialRequest, model: int) -> HttpResponse:
    """Take it out of use, with nothing in its place."""
    row = selectors.model_for(request.membership, model)
    check_can_retire_table(request.membership, row)
    form = forms.RetireForm(request.POST or None)

    def act(typed: dict[str, Any]) -> str:
        actions.retire_model(model=row, by=request.membership, **typed)
        return _("%(model)s is out of use.") % {"model": row}

    return form_page(
        request,
        form,
        act,
        done=_page(row),
        heading=_("Take %(model)s out of use") % {"model": row},
        submit=_("Take out of use"),
        lead=_("No dose is computed with it any more. Doses that have not begun are computed anew, or refused."),
    )


def _page(row: DosingModel) -> str:
    return reverse("dosing:model", kwargs={"trial": row.trial.code, "model": row.pk})
