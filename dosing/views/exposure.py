"""The predicted exposure of a participant; and research: a table from targets, a population through a table."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from dosing import forms, selectors
from dosing.domain.exposure_tables import NOTICE
from dosing.permissions import check_can_explore_tables, check_can_see_doses
from dosing.reports.explored import explore
from dosing.reports.exposure import curve_figure
from dosing.views.pages import TrialRequest, member_page, participant_of


@member_page
def exposure(request: TrialRequest, participant: int) -> HttpResponse:
    """Curve, areas and targets of one participant; who may still verify the dose blind is told so first."""
    person = participant_of(request, participant)
    check_can_see_doses(request.membership, person)
    today = timezone.now().astimezone(ZoneInfo(person.site.time_zone)).date()
    card = selectors.dose_card(person, request.membership, today, looks="show" in request.GET)
    page = {"participant": person, "card": card}
    if not card.is_hidden:
        found = selectors.exposure_of(person)
        page |= {"found": found, "figure": curve_figure(found)}
    return render(request, "dosing/exposure.html", page)


@member_page
def research(request: TrialRequest) -> HttpResponse:
    """Derive a table, compare it with the one in force, send a population through both. Nothing is kept."""
    membership = request.membership
    check_can_explore_tables(membership, membership.trial)
    active = selectors.tables_in_force(membership.trial)
    form = forms.ExploreTableForm(request.GET if "seed" in request.GET else None, active=active)
    page = {"form": form, "notice": NOTICE, "parameters": selectors.illustrative_set(), "active": active}
    if form.is_bound and form.is_valid():
        try:
            page["explored"] = explore(membership.trial, **form.cleaned_data)
        except ValueError as refused:
            form.add_error(None, str(refused))
    return render(request, "dosing/research.html", page, status=400 if form.is_bound and form.errors else 200)
