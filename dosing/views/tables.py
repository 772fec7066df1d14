"""Dosing tables: the list, the entry, the review with its picture, the second entry and the approval."""

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
from dosing.models import DosingTable
from dosing.permissions import (
    check_can_approve_table,
    check_can_enter_table,
    check_can_retire_table,
    check_can_see_tables,
    check_can_verify_table,
    may_explore_tables,
)
from dosing.views.pages import TrialRequest, member_page
from trials.permissions import require
from trials.views.pages import form_page


@member_page
def tables(request: TrialRequest) -> HttpResponse:
    membership = request.membership
    check_can_see_tables(membership, membership.trial)
    rows = list(selectors.tables(membership))
    wanted = [str(spec.parameters["table"]) for spec in selectors.table_specs(membership.trial)]
    active = {row.code for row in rows if row.status == "ACTIVE"}
    return render(
        request,
        "dosing/tables.html",
        {
            "tables": rows,
            "wanted": wanted,
            "missing": [code for code in wanted if code not in active],
            "may_explore": may_explore_tables(membership, membership.trial),
            "may_enter": membership.may(Permission.ENTER_DOSING_TABLE),
        },
    )


@member_page
def enter(request: TrialRequest) -> HttpResponse:
    """Upload a draft; what breaks a rule is refused with its places."""
    membership = request.membership
    check_can_enter_table(membership, membership.trial, is_synthetic=False)
    form = forms.EnterTableForm(request.POST or None, request.FILES or None)
    made: list[DosingTable] = []

    def act(typed: dict[str, Any]) -> str:
        made.append(actions.enter_table(trial=membership.trial, by=membership, **typed))
        return _("%(table)s is entered as a draft. Another person enters it a second time.") % {"table": made[0]}

    answer = form_page(
        request,
        form,
        act,
        done=reverse("dosing:tables", kwargs={"trial": membership.trial.code}),
        template="dosing/upload.html",
        heading=_("Enter a dosing table"),
        submit=_("Check and enter"),
    )
    return redirect(_page(made[0])) if made else answer


@member_page
def table(request: TrialRequest, table: int) -> HttpResponse:
    """Everything that an approver looks at: source, rules, picture, and what differs from the table in force."""
    membership = request.membership
    check_can_see_tables(membership, membership.trial)
    row = selectors.table_for(membership, table)
    return render(
        request,
        "dosing/table.html",
        {
            "table": row,
            "review": selectors.review_of(row),
            "at_sites": list(selectors.sites_of(row).values()),
            "may_put": membership.may(Permission.APPROVE_DOSING_TABLE) and row.status == "ACTIVE",
            "may_verify": membership.may(Permission.VERIFY_DOSING_TABLE)
            and row.status == "DRAFT"
            and (row.entered_by is None or row.entered_by.user_id != membership.user_id),
            "may_approve": membership.may(Permission.APPROVE_DOSING_TABLE) and row.status == "VERIFIED",
            "may_retire": membership.may(Permission.APPROVE_DOSING_TABLE) and can(row.status, TableEvent.RETIRE),
        },
    )


@member_page
def verify(request: TrialRequest, table: int) -> HttpResponse:
    row = selectors.table_for(request.membership, table)
    check_can_verify_table(request.membership, row)
    form = forms.VerifyTableForm(request.POST or None, request.FILES or None)

    def act(typed: dict[str, Any]) -> str:
        actions.verify_table(table=row, by=request.membership, **typed)
        return _("Both entries of %(table)s agree; it waits for approval.") % {"table": row}

    return form_page(
        request,
        form,
        act,
        done=_page(row),
        template="dosing/upload.html",
        heading=_("Enter %(table)s a second time") % {"table": row},
        submit=_("Compare"),
    )


@member_page
def approve(request: TrialRequest, table: int) -> HttpResponse:
    row = selectors.table_for(request.membership, table)
    check_can_approve_table(request.membership, row)
    form = forms.ApproveTableForm(request.POST or None, table=row, initial={"effective_from": timezone.localdate()})

    def act(typed: dict[str, Any]) -> str:
        actions.approve_table(table=row, by=request.membership, **typed)
        return _("%(table)s is in force.") % {"table": row}

    return form_page(
        request,
        form,
        act,
        done=_page(row),
        heading=_("Approve %(table)s") % {"table": row},
        submit=_("Approve"),
        lead=_("Doses that have not begun are computed anew with this table."),
    )


@member_page
def put_into_force(request: TrialRequest, table: int) -> HttpResponse:
    """Let the table in force hold at one more site."""
    row = selectors.table_for(request.membership, table)
    membership = request.membership
    check_can_see_tables(membership, membership.trial)
    require(
        membership,
        Permission.APPROVE_DOSING_TABLE,
        doing="put a dosing table into force",
        trial_id=membership.trial_id,
        site_matters=False,
    )
    waiting = membership.trial.sites.exclude(pk__in=selectors.sites_of(row)).order_by("code")
    if membership.site_id is not None:
        waiting = waiting.filter(pk=membership.site_id)
    form = forms.AtSiteForm(request.POST or None, waiting=waiting, initial={"effective_from": timezone.localdate()})

    def act(typed: dict[str, Any]) -> str:
        made = actions.put_into_force(table=row, by=membership, **typed)
        return _("%(table)s holds at site %(site)s.") % {"table": row, "site": made.site}

    return form_page(
        request,
        form,
        act,
        done=_page(row),
        heading=_("Put %(table)s into force at a site") % {"table": row},
        submit=_("Put into force"),
        lead=_("Doses of the site that have not begun are computed with this table."),
    )


@member_page
def retire(request: TrialRequest, table: int) -> HttpResponse:
    """Take it out of use, with nothing in its place."""
    row = selectors.table_for(request.membership, table)
    check_can_retire_table(request.membership, row)
    form = forms.RetireForm(request.POST or None)

    def act(typed: dict[str, Any]) -> str:
        actions.retire_table(table=row, by=request.membership, **typed)
        return _("%(table)s is out of use.") % {"table": row}

    return form_page(
        request,
        form,
        act,
        done=_page(row),
        heading=_("Take %(table)s out of use") % {"table": row},
        submit=_("Take out of use"),
        lead=_("No dose is computed with it any more. Doses that have not begun are computed anew, or refused."),
    )


def _page(row: DosingTable) -> str:
    return reverse("dosing:table", kwargs={"trial": row.trial.code, "table": row.pk})
