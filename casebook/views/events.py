"""Clinical events: the list, a new one by kind, its correction, and taking one back."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from casebook import actions, forms, selectors
from casebook.domain.answers import Problem
from casebook.domain.clinical_events import EventKind
from casebook.permissions import may_record
from casebook.views.pages import TrialRequest, address, member_page, participant_of, problems_of, revision_of, show
from trials.permissions import NotPossible


@member_page
def events(request: TrialRequest, participant: int) -> HttpResponse:
    subject = participant_of(request, participant)
    return show(
        request,
        "casebook/events.html",
        subject,
        events=selectors.event_rows(subject),
        kinds=list(EventKind),
        can_type=may_record(request.membership, subject),
    )


@member_page
def new_event(request: TrialRequest, participant: int, kind: str) -> HttpResponse:
    subject = participant_of(request, participant)
    try:
        known = EventKind(kind)
    except ValueError:
        raise Http404("There is no such kind of event.") from None
    typed, status, problems = {}, 200, []
    if request.method == "POST":
        typed = forms.typed_event(known, request.POST)
        detail = {name: text for name, text in typed.items() if name not in ("occurred", "grade", "note")}
        try:
            actions.record_event(
                participant=subject,
                kind=kind,
                occurred=typed.get("occurred", ""),
                grade=typed.get("grade", ""),
                detail=detail,
                note=typed.get("note", ""),
                by=request.membership,
            )
        except ValidationError as refused:
            status, problems = 422, problems_of(refused)
        except NotPossible as refused:
            status, problems = 409, [Problem("", str(refused))]
        else:
            messages.success(request, _("%(kind)s is recorded.") % {"kind": known.label.capitalize()})
            return redirect(address("events", subject))
    fields = forms.event_fields(known, typed=typed, problems=problems)
    names = {one.name: one for one in fields}
    return show(
        request,
        "casebook/event.html",
        subject,
        kind=known,
        fields=fields,
        problems=[(names.get(one.item), one.sentence) for one in problems],
        can_type=may_record(request.membership, subject),
        status=status,
    )


@member_page
def event(request: TrialRequest, participant: int, event: int) -> HttpResponse:
    """One event with its history, and its correction with a reason."""
    subject = participant_of(request, participant)
    found = selectors.clinical_event_for(request.membership, event)
    if found.participant_id != subject.pk:
        raise Http404("No such event of this participant.")
    kind = EventKind(found.kind)
    typed, status, problems = None, 200, []
    if request.method == "POST":
        typed = forms.typed_event(kind, request.POST)
        detail = {name: text for name, text in typed.items() if name not in ("occurred", "grade", "note")}
        try:
            actions.correct_event(
                event=found,
                occurred=typed.get("occurred", ""),
                grade=typed.get("grade", ""),
                detail=detail,
                note=typed.get("note", ""),
                reason=request.POST.get("reason", ""),
                revision=revision_of(request),
                by=request.membership,
            )
        except ValidationError as refused:
            status, problems = 422, problems_of(refused)
        except NotPossible as refused:
            status, problems = 409, [Problem("", str(refused))]
        else:
            messages.success(request, _("The event is corrected; what it said stays in its history."))
            return redirect(address("events", subject))
    fields = forms.event_fields(kind, event=found, typed=typed, problems=problems)
    names = {one.name: one for one in fields}
    return show(
        request,
        "casebook/event.html",
        subject,
        kind=kind,
        event=found,
        fields=fields,
        rows=selectors.event_history(found),
        problems=[(names.get(one.item), one.sentence) for one in problems],
        reason=request.POST.get("reason", ""),
        can_type=may_record(request.membership, subject) and not found.is_void,
        status=status,
    )


@require_POST
@member_page
def void_event(request: TrialRequest, participant: int, event: int) -> HttpResponse:
    subject = participant_of(request, participant)
    found = selectors.clinical_event_for(request.membership, event)
    if found.participant_id != subject.pk:
        raise Http404("No such event of this participant.")
    try:
        actions.void_event(event=found, by=request.membership, reason=request.POST.get("reason", ""))
    except ValidationError as refused:
        messages.error(request, " ".join(one.sentence for one in problems_of(refused)))
        return redirect(address("event", subject, event=found.pk))
    messages.success(request, _("The event is void. It stays in the list and no longer counts."))
    return redirect(address("events", subject))
