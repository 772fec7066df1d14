"""The pages above every trial."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from trials import selectors
from trials.models import Membership

#: The apps that list due tasks for the home page, in the order of the participant page.
WORKLISTS = ("trials", "casebook", "dosing", "adverse_events", "analysis", "exchange")


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """One section per trial: role, place, and what is to be done there, asked of each app by its address."""
    sections: dict[int, dict[str, object]] = {}
    for membership in selectors.memberships_of(request.user):
        section = sections.setdefault(membership.trial_id, {"trial": membership.trial, "memberships": [], "lists": []})
        section["memberships"].append(membership)  # type: ignore[attr-defined]
    chosen = request.session.get("membership")
    for section in sections.values():
        held: list[Membership] = section["memberships"]  # type: ignore[assignment]
        acting = next((one for one in held if one.pk == chosen), held[0])
        section["acting"] = acting
        section["capacity"] = selectors.capacity(acting.trial) if acting.trial.versions.exists() else None
        section["lists"] = worklists_of(acting)
    return render(request, "trials/home.html", {"sections": list(sections.values())})


def worklists_of(membership: Membership) -> list[str]:
    """The addresses of the worklists that there are in this deployment."""
    found = []
    for app in WORKLISTS:
        try:
            found.append(reverse(f"{app}:worklist", kwargs={"trial": membership.trial.code}))
        except NoReverseMatch:  # an app that lists no tasks
            continue
    return found


@require_POST
@login_required
def choose_membership(request: HttpRequest) -> HttpResponse:
    """Act in another of one's own roles."""
    wanted = request.POST.get("membership", "")
    for membership in selectors.memberships_of(request.user):
        if str(membership.pk) == wanted:
            request.session["membership"] = membership.pk
            messages.success(request, _("You now act as %(role)s.") % {"role": membership.get_role_display()})
            return redirect("trials:overview", trial=membership.trial.code)
    raise Http404("You hold no such membership today.")


@login_required
def go(request: HttpRequest, trial: str = "") -> HttpResponse:
    """Open the participant of that code: in this trial, else in any other of one's trials; several are offered."""
    code = (request.POST.get("q") or request.GET.get("q") or "").replace("\0", "").strip()
    mine = selectors.memberships_of(request.user)
    here = [membership for membership in mine if membership.trial.code == trial]
    found = selectors.participants_called(here, code) or selectors.participants_called(mine, code)
    if len(found) == 1:
        membership, participant = found[0]
        return redirect("trials:participant", trial=membership.trial.code, participant=participant.pk)
    return render(request, "trials/go.html", {"code": code, "found": found}, status=200 if found else 404)
