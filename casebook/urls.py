"""Addresses of the casebook: pages under ``t/<trial>/``, data under ``api/v1/trials/<trial>/``."""

from django.urls import path

from casebook import api
from casebook.views import casebook, enrolment, entries, events, laboratory

_OF = "participants/<int:participant>"

urlpatterns = [
    path(f"{_OF}/casebook/", casebook.casebook, name="casebook"),
    path(f"{_OF}/casebook/panel/", casebook.panel, name="panel"),
    path(f"{_OF}/forms/<slug:form>/", entries.entry, name="entry"),
    path(f"{_OF}/forms/<slug:form>/fields/", entries.fields, name="fields"),
    path(f"{_OF}/visits/<slug:visit>/forms/<slug:form>/", entries.entry, name="visit_entry"),
    path(f"{_OF}/visits/<slug:visit>/forms/<slug:form>/fields/", entries.fields, name="visit_fields"),
    path(f"{_OF}/entries/<int:entry>/history/", entries.history, name="history"),
    path(f"{_OF}/entries/<int:entry>/reopen/", entries.reopen, name="reopen"),
    path(f"{_OF}/labs/", laboratory.labs, name="labs"),
    path(f"{_OF}/results/<int:result>/", laboratory.result, name="result"),
    path(f"{_OF}/events/", events.events, name="events"),
    path(f"{_OF}/events/new/<slug:kind>/", events.new_event, name="new_event"),
    path(f"{_OF}/events/<int:event>/", events.event, name="event"),
    path(f"{_OF}/events/<int:event>/void/", events.void_event, name="void_event"),
    path(f"{_OF}/eligibility/", enrolment.eligibility, name="eligibility"),
    path(f"{_OF}/eligibility/<slug:criterion>/waive/", enrolment.waive, name="waive"),
    path(f"{_OF}/enrol/", enrolment.enrol, name="enrol"),
    path("labs/imports/", laboratory.lab_imports, name="lab_imports"),
    path("labs/imports/template.csv", laboratory.lab_template, name="lab_template"),
    path("labs/imports/<int:lab_import>/", laboratory.lab_import, name="lab_import"),
    path("labs/imports/<int:lab_import>/rejected.csv", laboratory.rejections, name="rejections"),
    path("casebook/worklist/", casebook.worklist, name="worklist"),
]
api_urlpatterns = api.urlpatterns
