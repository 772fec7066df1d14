"""The trial itself: overview, protocol, sites, members."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.roles import Permission
from trials import actions, forms, selectors
from trials.domain import language
from trials.models import Membership
from trials.permissions import check_can_manage_members, check_can_manage_sites, require
from trials.views.pages import TrialRequest, form_page


def overview(request: TrialRequest, trial: str) -> HttpResponse:
    """The trial at a glance, and the way to its pages."""
    membership = request.membership
    return render(
        request,
        "trials/overview.html",
        {
            "trial": membership.trial,
            "version": membership.trial.active_version,
            "protocol": membership.trial.protocol,
            "capacity": selectors.capacity(membership.trial),
            "counts": selectors.counts_by_status(membership),
            "sites": selectors.sites_with_counts(membership),
            "held": [one for one in selectors.memberships_of(request.user) if one.trial_id == membership.trial_id],
        },
    )


def protocol(request: TrialRequest, trial: str, version: int | None = None) -> HttpResponse:
    """One published version: its facts, its text section by section, what it changed, and where it may be used."""
    membership = request.membership
    versions = list(membership.trial.versions.select_related("trial").order_by("-pk"))
    shown = next((one for one in versions if (one.pk == version if version else one.status == "ACTIVE")), None)
    if shown is None:
        raise Http404("No such version of this trial.")
    for one in versions:
        one.trial = membership.trial
    before = next((one for one in versions if one.pk < shown.pk), None)
    return render(
        request,
        "trials/protocol.html",
        {
            "shown": shown,
            "protocol": shown.protocol,
            "versions": versions,
            "sections": selectors.sections_of(shown.source_text),
            "assumptions": language.assumptions(shown.protocol),
            "before": before,
            "changes": language.diff(before.protocol, shown.protocol) if before else (),
            "sites": membership.trial.sites.order_by("code"),
            "approvals": selectors.approvals(membership.trial),
            "may_manage_sites": membership.may(Permission.MANAGE_SITES),
        },
    )


def approve_site(request: TrialRequest, trial: str) -> HttpResponse:
    membership = request.membership
    check_can_manage_sites(membership, membership.trial)

    def act(typed: dict[str, Any]) -> str:
        made = actions.record_site_approval(by=membership, **typed)
        return _("Site %(site)s may use %(version)s from %(day)s.") % {
            "site": made.site,
            "version": made.protocol_version,
            "day": f"{made.approved_on:%d-%b-%Y}",
        }

    return form_page(
        request,
        forms.SiteApprovalForm(request.POST or None, membership=membership),
        act,
        done=reverse("trials:protocol", kwargs={"trial": trial}),
        heading=_("Record a site's approval"),
        submit=_("Record the approval"),
        lead=_("A version is used at a site from the day its ethics committee approved it, never before."),
    )


def switch_site(request: TrialRequest, trial: str, site: int) -> HttpResponse:
    """Close an open site, or open a closed one."""
    membership = request.membership
    check_can_manage_sites(membership, membership.trial)
    one = membership.trial.sites.filter(pk=site).first()
    if one is None:
        raise Http404("No such site of this trial.")
    action = actions.close_site if one.is_open else actions.reopen_site

    def act(typed: dict[str, Any]) -> str:
        action(site=one, by=membership, reason=typed["reason"])
        return _("Site %(site)s is changed.") % {"site": one}

    return form_page(
        request,
        forms.ReasonForm(request.POST or None),
        act,
        done=reverse("trials:protocol", kwargs={"trial": trial}),
        heading=(_("Close site %(site)s") if one.is_open else _("Reopen site %(site)s")) % {"site": one},
        submit=_("Close the site") if one.is_open else _("Reopen the site"),
    )


def members(request: TrialRequest, trial: str) -> HttpResponse:
    """Who has, and had, which role where and when. Everybody in the trial may read it."""
    today = timezone.localdate()
    rows = list(selectors.members_of(request.membership.trial))
    manages = request.membership.may(Permission.MANAGE_MEMBERS)
    current = [one for one in rows if one.valid_until is None or one.valid_until >= today]
    return render(
        request,
        "trials/members.html",
        {
            "current": current,
            "past": [one for one in rows if one not in current],
            "today": today,
            "manages": manages,
        },
    )


def grant(request: TrialRequest, trial: str) -> HttpResponse:
    membership = request.membership
    require(
        membership,
        Permission.MANAGE_MEMBERS,
        doing="manage members",
        trial_id=membership.trial_id,
        site_matters=False,
    )

    def act(typed: dict[str, Any]) -> str:
        made = actions.grant_membership(user=typed.pop("username"), trial=membership.trial, by=membership, **typed)
        return _("%(who)s is %(role)s now.") % {"who": made.user, "role": made.get_role_display()}

    return form_page(
        request,
        forms.MembershipForm(request.POST or None, membership=membership, initial={"valid_from": timezone.localdate()}),
        act,
        done=reverse("trials:members", kwargs={"trial": trial}),
        heading=_("Give a membership"),
        submit=_("Give the membership"),
    )


def end(request: TrialRequest, trial: str, member: int) -> HttpResponse:
    membership = request.membership
    one = Membership.objects.filter(trial=membership.trial, pk=member).select_related("user", "trial", "site").first()
    if one is None:
        raise Http404("No such membership of this trial.")
    check_can_manage_members(membership, membership.trial, one.user_id)

    def act(typed: dict[str, Any]) -> str:
        actions.end_membership(membership=one, by=membership, **typed)
        return _("The membership of %(who)s ends.") % {"who": one.user}

    return form_page(
        request,
        forms.EndMembershipForm(request.POST or None, initial={"on": timezone.localdate()}),
        act,
        done=reverse("trials:members", kwargs={"trial": trial}),
        heading=_("End the membership of %(who)s") % {"who": one.user},
        submit=_("End the membership"),
        lead=f"{one.get_role_display()}, {one.site or _('all sites')}",
    )
