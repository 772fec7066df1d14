"""Addresses of dosing: pages under ``t/<trial>/``, data under ``api/v1/trials/<trial>/``."""

from django.urls import path

from dosing import api
from dosing.views import doses, exposure, models, tables

_OF = "participants/<int:participant>/doses"

urlpatterns = [
    path(f"{_OF}/", doses.panel, name="panel"),
    path(f"{_OF}/card.pdf", doses.card_file, name="card_file"),
    path(f"{_OF}/monitoring/", doses.monitoring, name="monitoring"),
    path(f"{_OF}/exposure/", exposure.exposure, name="exposure"),
    path(f"{_OF}/compute/", doses.compute, name="compute"),
    path(f"{_OF}/record/", doses.record, name="record"),
    path(f"{_OF}/end/", doses.end_course, name="end_course"),
    path(f"{_OF}/resume/", doses.resume_course, name="resume_course"),
    path("doses/worklist/", doses.worklist, name="worklist"),
    path("doses/<int:worksheet>/verify/", doses.verify, name="verify"),
    path("doses/<int:worksheet>/release/", doses.release, name="release"),
    path("infusions/<int:administration>/correct/", doses.correct, name="correct"),
    path("infusions/<int:administration>/void/", doses.void, name="void"),
    path("dosing-models/", models.models, name="models"),
    path("dosing-models/enter/", models.enter, name="enter_model"),
    path("dosing-models/<int:model>/", models.model, name="model"),
    path("dosing-models/<int:model>/verify/", models.verify, name="verify_model"),
    path("dosing-models/<int:model>/approve/", models.approve, name="approve_model"),
    path("dosing-models/<int:model>/retire/", models.retire, name="retire_model"),
    path("dosing-tables/", tables.tables, name="tables"),
    path("dosing-tables/research/", exposure.research, name="research"),
    path("dosing-tables/enter/", tables.enter, name="enter_table"),
    path("dosing-tables/<int:table>/", tables.table, name="table"),
    path("dosing-tables/<int:table>/verify/", tables.verify, name="verify_table"),
    path("dosing-tables/<int:table>/approve/", tables.approve, name="approve_table"),
    path("dosing-tables/<int:table>/retire/", tables.retire, name="retire_table"),
    path("dosing-tables/<int:table>/sites/", tables.put_into_force, name="put_into_force"),
]
api_urlpatterns = api.urlpatterns
