"""Addresses of adverse events: pages under ``t/<trial>/``, data under ``api/v1/trials/<trial>/``."""

from collections.abc import Callable

from django.http import HttpResponse
from django.urls import URLPattern, path

from adverse_events import api
from adverse_events.views import entry, lists
from adverse_events.views.pages import member_page


def page(route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    return path(route, member_page(view), name=name)


_OF = "participants/<int:participant>/adverse-events"

urlpatterns = [
    page("adverse-events/", lists.events, "list"),
    page("adverse-events/table/", lists.table, "table"),
    page("adverse-events/worklist/", lists.worklist, "worklist"),
    page("adverse-events/terms/", entry.terms, "terms"),
    page("adverse-events/<int:event>/", entry.event, "event"),
    page("adverse-events/<int:event>/correct/", entry.correct, "correct"),
    page("adverse-events/<int:event>/void/", entry.void, "void"),
    page(f"{_OF}/new/", entry.new, "new"),
    page(f"{_OF}/panel/", lists.panel, "panel"),
    page(f"{_OF}/sheet/", entry.sheet, "sheet"),
    page(f"{_OF}/echo/", entry.echo, "echo"),
]

api_urlpatterns = api.urlpatterns
