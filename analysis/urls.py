"""The addresses of endpoints and gates under ``t/<trial>/`` and under ``api/v1/trials/<trial>/``."""

from collections.abc import Callable

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.urls import URLPattern, path

from analysis import api, views
from analysis.views import gvhd, profile, readings, reconciliation, runs


def page(route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    """A page for members who are logged in."""
    return path(route, login_required(view), name=name)


urlpatterns = [
    page("dashboard/", views.dashboard, "dashboard"),
    page("endpoints/", views.adjudications, "adjudications"),
    page("endpoints/worklist/", views.worklist, "worklist"),
    page("participants/<int:participant>/endpoints/", views.panel, "panel"),
    page("participants/<int:participant>/profile/", profile.profile, "profile"),
    page("participants/<int:participant>/profile.pdf", profile.profile_pdf, "profile_pdf"),
    page("participants/<int:participant>/gvhd/", gvhd.gvhd, "gvhd"),
    page("participants/<int:participant>/gvhd/grade/", gvhd.grade, "gvhd_grade"),
    page("reconciliation/", reconciliation.reconciliation, "reconciliation"),
    page("reconciliation/pdf/", reconciliation.reconciliation_pdf, "reconciliation_pdf"),
    page("analyses/", runs.runs, "runs"),
    page("analyses/<int:run>/", runs.run, "run"),
    page("analyses/<int:run>/report.pdf", runs.report_pdf, "run_pdf"),
    page("analyses/<int:run>/numbers.csv", runs.numbers, "run_numbers"),
    page("readings/", readings.queue, "readings"),
    page("readings/agreement/", readings.agreement, "agreement"),
    page("readings/<int:participant>/<slug:endpoint>/", readings.case, "case"),
    page("gates/<int:stage>/", views.gate, "gate"),
    page("gates/<int:stage>/packet/", views.packet, "gate_packet"),
    page("gates/<int:stage>/packet.pdf", views.packet_pdf, "gate_packet_pdf"),
    page("gates/<int:stage>/decide/", views.decide, "decide_gate"),
    page("gates/<int:stage>/safety-review/", views.sign, "sign_safety_review"),
    page("gates/<int:stage>/renew/", views.renew, "renew_gate"),
]

api_urlpatterns = api.urlpatterns
