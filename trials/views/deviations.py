"""Departures from the protocol."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.roles import Permission
from trials import actions, forms, selectors
from trials.models import Deviation
from trials.permissions import (
    check_can_confirm_deviation,
    check_can_record_deviation,
    check_can_void_deviation,
    may,
    require,
)
from trials.views.pages import TrialRequest, form_page
from trials.views.participants import PAGE_LENGTH, found, page_of


def deviations(request: TrialRequest, trial: str) -> HttpResponse:
    """Every deviation the membership sees, those that wait for a person's answer first."""
    membership = request.membership
    require(
        membership,
        Permission.VIEW_PARTICIPANT,
        doing="see deviations",
        trial_id=membership.trial_id,
        site_matters=False,
    )
    rows = selectors.deviations(membership)
    if request.GET.get("show") == "major":
        rows = rows.filter(is_major=True, is_void=False)
    elif request.GET.get("show") == "open":
        rows = selectors.unconfirmed(rows)
    page = Paginator(rows, PAGE_LENGTH).get_page(request.GET.get("page"))
    lines = [
        {
            "deviation": row,
            "waits": selectors.waits_for_confirmation(row),
            "may_decide": may(membership, Permission.RECORD_DEVIATION, row.participant),
        }
        for row in page.object_list
    ]
    return render(
        request, "trials/deviations.html", {"page": page, "lines": lines, "show": request.GET.get("show", "")}
    )


def record(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    person = found(request, participant)
    check_can_record_deviation(request.membership, person, Deviation.Source.USER)

    def act(typed: dict[str, Any]) -> str:
        actions.record_deviation(participant=person, by=request.membership, **typed)
        return _("The deviation of %(code)s is recorded.") % {"code": person}

    return form_page(
        request,
        forms.DeviationForm(request.POST or None, participant=person),
        act,
        done=page_of(person),
        participant=person,
        heading=_("Record a deviation of %(code)s") % {"code": person},
        submit=_("Record the deviation"),
    )


def decide(request: TrialRequest, trial: str, deviation: int) -> HttpResponse:
    one = _found(request, deviation)
    check_can_confirm_deviation(request.membership, one, selectors.removal_rule(one.participant, one.rule))

    def act(typed: dict[str, Any]) -> str:
        actions.confirm_deviation(deviation=one, by=request.membership, **typed)
        return _("The answer is recorded.")

    return form_page(
        request,
        forms.DeviationDecisionForm(request.POST or None),
        act,
        done=_list(request),
        participant=one.participant,
        heading=_("Deviation of %(code)s") % {"code": one.participant},
        submit=_("Record the answer"),
        lead=one.description,
    )


def void(request: TrialRequest, trial: str, deviation: int) -> HttpResponse:
    one = _found(request, deviation)
    check_can_void_deviation(request.membership, one)

    def act(typed: dict[str, Any]) -> str:
        actions.void_deviation(deviation=one, by=request.membership, **typed)
        return _("The deviation is void; it stays in the list, marked so.")

    return form_page(
        request,
        forms.ReasonForm(request.POST or None),
        act,
        done=_list(request),
        participant=one.participant,
        heading=_("Void a deviation of %(code)s") % {"code": one.participant},
        submit=_("Void the deviation"),
        lead=one.description,
    )


def _list(request: TrialRequest) -> str:
    return reverse("trials:deviations", kwargs={"trial": request.membership.trial.code})


def _found(request: TrialRequest, pk: int) -> Deviation:
    one = selectors.deviations(request.membership).filter(pk=pk).first()
    if one is None:
        raise Http404("No such deviation at the sites that you see.")
    return one
