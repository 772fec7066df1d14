"""The addresses of the trials floor under ``t/<trial>/`` and under ``api/v1/trials/<trial>/``."""

from collections.abc import Callable

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.urls import URLPattern, path

from trials import api
from trials.views import audit, deviations, home, participants, trial


def page(route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    """A page for members who are logged in."""
    return path(route, login_required(view), name=name)


one = "participants/<int:participant>/"

urlpatterns = [
    page("", trial.overview, "overview"),
    page("go/", home.go, "go"),
    page("worklist/", participants.worklist, "worklist"),
    page("participants/", participants.participants, "participants"),
    page("participants/register/", participants.register, "register"),
    page(one, participants.participant, "participant"),
    page(f"{one}consent/", participants.consent, "consent"),
    page(f"{one}consent/<int:consent>/withdraw/", participants.withdraw_consent, "withdraw_consent"),
    page(f"{one}anchor/", participants.anchor, "anchor"),
    page(f"{one}visits/unscheduled/", participants.unscheduled_visit, "unscheduled_visit"),
    page(f"{one}visits/<int:visit>/done/", participants.visit_done, "visit_done"),
    page(f"{one}visits/<int:visit>/missed/", participants.visit_missed, "visit_missed"),
    page(f"{one}fail-screening/", participants.fail_screening, "fail_screening"),
    page(f"{one}withdraw/", participants.withdraw, "withdraw"),
    page(f"{one}deviations/record/", deviations.record, "record_deviation"),
    page(f"{one}<slug:verb>/change/", participants.change_status, "change_status"),
    page("deviations/", deviations.deviations, "deviations"),
    page("deviations/<int:deviation>/decide/", deviations.decide, "decide_deviation"),
    page("deviations/<int:deviation>/void/", deviations.void, "void_deviation"),
    page("protocol/", trial.protocol, "protocol"),
    page("protocol/<int:version>/", trial.protocol, "protocol_version"),
    page("protocol/approve-site/", trial.approve_site, "approve_site"),
    page("sites/<int:site>/switch/", trial.switch_site, "switch_site"),
    page("audit/", audit.trail, "trail"),
    page("members/", trial.members, "members"),
    page("members/grant/", trial.grant, "grant_membership"),
    page("members/<int:member>/end/", trial.end, "end_membership"),
]

api_urlpatterns = api.urlpatterns
