"""The log, the table, what is due, and the panel of one participant."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import render

from accounts.roles import Permission
from adverse_events import selectors
from adverse_events.domain.reporting import category_words
from adverse_events.formats import value_words
from adverse_events.forms import AdverseEventFilter
from adverse_events.permissions import check_can_view, may_record
from trials import selectors as trials
from trials.views.pages import TrialRequest
from trials.views.participants import found

PAGE_LENGTH = 50
ORDERS: dict[str, tuple[str, ...]] = {
    "participant": ("participant__number", "participant__screening_number", "number"),
    "term": ("term", "-grade"),
    "category": ("category", "term"),
    "grade": ("grade", "started"),
    "started": ("started", "pk"),
    "ended": ("ended", "started"),
    "outcome": ("outcome", "started"),
    "recorded": ("recorded_at", "pk"),
}
SHOWN_FILTERS = ("participant", "grade", "serious", "category", "site", "end", "void")
TABLE_FILTERS = ("serious", "site")


def events(request: TrialRequest, trial: str) -> HttpResponse:
    """Every adverse event the membership sees; those recorded in error struck through."""
    check_can_view(request.membership)
    narrowed = AdverseEventFilter(request.GET, selectors.adverse_events(request.membership), request=request)
    rows = narrowed.qs.order_by(*_order(request.GET.get("order", "-started")))
    page = Paginator(rows, PAGE_LENGTH).get_page(request.GET.get("page"))
    in_words(page.object_list)
    return render(
        request,
        "adverse_events/list.html",
        {
            "page": page,
            "people": narrowed.qs.order_by().values("participant_id").distinct().count(),
            "fields": [narrowed.form[name] for name in SHOWN_FILTERS],
            "row": request.GET.get("row", ""),
            "days": request.GET.get("days", ""),
            "show": request.GET.get("show", ""),
            "filtered": any(request.GET.get(name) for name in narrowed.filters),
            "order": request.GET.get("order", "-started"),
        },
    )


def table(request: TrialRequest, trial: str) -> HttpResponse:
    """Events and participants by heading, term and grade; each number leads to the listing of the same length."""
    membership = request.membership
    check_can_view(membership)
    narrowed = AdverseEventFilter(request.GET, selectors.adverse_events(membership), request=request)
    site = next((one for one in trials.sites_of(membership) if one.code == request.GET.get("site")), membership.site)
    made = selectors.table(membership, narrowed.qs.order_by(), site=site.pk if site else None)
    return render(
        request,
        "adverse_events/table.html",
        {
            "table": made,
            "site": site,
            "policy": membership.trial.protocol.adverse_events,
            "fields": [narrowed.form[name] for name in TABLE_FILTERS],
            "filtered": any(request.GET.get(name) for name in TABLE_FILTERS),
        },
    )


def worklist(request: TrialRequest, trial: str) -> HttpResponse:
    """For the home page: new serious events, seriousness not known, events without an end."""
    membership = request.membership
    check_can_view(membership)
    rows = selectors.adverse_events(membership)
    due: list[dict[str, Any]] = []
    if membership.may(Permission.ASSESS_ADVERSE_EVENT):
        new = rows.filter(selectors.new_since(selectors.NEW_FOR_DAYS), is_serious=True, is_void=False)
        due.append({"kind": "new", "rows": new, "query": f"serious=yes&void=no&days={selectors.NEW_FOR_DAYS}"})
    if membership.may(Permission.RECORD_ADVERSE_EVENT):
        unknown = rows.filter(is_serious__isnull=True, is_void=False)
        due.append({"kind": "unknown", "rows": unknown, "query": "serious=unknown&void=no"})
        due.append({"kind": "open", "rows": selectors.open_events(rows), "query": "end=open"})
    for one in due:
        one["count"] = one["rows"].count()
        one["rows"] = in_words(one["rows"][:5])
    context = {"due": [one for one in due if one["count"]], "days": selectors.NEW_FOR_DAYS}
    return render(request, "adverse_events/worklist.html", context)


def panel(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """The adverse events of one participant."""
    check_can_view(request.membership)
    person = found(request, participant)
    rows = selectors.adverse_events(request.membership).filter(participant=person)
    return render(
        request,
        "adverse_events/panel.html",
        {
            "participant": person,
            "rows": in_words(rows),
            "may_record": may_record(request.membership, person),
            "policy": person.protocol.adverse_events,
        },
    )


def in_words(rows: Any) -> Any:
    """The events of a page, each with the words of its dates and heading."""
    rows = list(rows) if not isinstance(rows, list) else rows
    for row in rows:
        row.started_words = value_words(row.participant, "started", row.started)
        row.ended_words = value_words(row.participant, "ended", row.ended)
        row.relation_words = value_words(row.participant, "relations", row.relations)
        row.category_words = category_words(row.participant.protocol.adverse_events, row.category)
    return rows


def _order(asked: str) -> list[Any]:
    names = ORDERS.get(asked.removeprefix("-"))
    if names is None:
        return ["-started", "-pk"]
    descending = asked.startswith("-")
    return [_ordered(name, descending) for name in names] + ["pk"]


def _ordered(name: str, descending: bool) -> Any:
    turned = name.startswith("-") != descending
    field = F(name.removeprefix("-"))
    return field.desc(nulls_last=True) if turned else field.asc(nulls_last=True)
