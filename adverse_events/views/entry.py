"""One adverse event: entered, shown with its history, corrected, set aside; and the fragments of its form."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from adverse_events import actions, selectors
from adverse_events.domain.reporting import FIELD_WORDS
from adverse_events.formats import differences_of, echo_date, facts_of, value_words
from adverse_events.forms import AdverseEventForm, CorrectionForm, VoidForm
from adverse_events.models import AdverseEvent
from adverse_events.permissions import check_can_correct, check_can_record, check_can_view, may_correct, may_record
from trials.models import Participant
from trials.permissions import NotPossible
from trials.views.pages import TrialRequest, add_errors, form_page
from trials.views.participants import found

#: Buttons of the form that look terms up instead of recording, for browsers without scripts.
LOOK_UP = "look-up"


def new(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """Record an adverse event of one participant. The same page sent twice records once."""
    person = found(request, participant)
    check_can_record(request.membership, person)
    initial: dict[str, Any] = {"key": uuid4().hex}
    if (copied := _copied(request, person)) is not None:
        initial |= AdverseEventForm.initial_of(copied, copied=True)
    form = AdverseEventForm(_typed(request), participant=person, initial=initial)
    if request.POST.get("action") == LOOK_UP:
        return _look_up(request, form, person)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                event = actions.record_adverse_event(
                    participant=person,
                    report=form.report,
                    by=request.membership,
                    external_id=f"form:{form.cleaned_data['key']}" if form.cleaned_data["key"] else "",
                )
            except ValidationError as refused:
                add_errors(form, refused)
            except NotPossible as refused:
                form.add_error(None, str(refused))
                status = 409
            else:
                messages.success(
                    request, _("AE %(n)s is recorded: %(term)s.") % {"n": event.number, "term": event.term}
                )
                return redirect(address_of(event) if request.POST.get("action") != "another" else request.path)
    return _page(request, form, person, status=status)


def event(request: TrialRequest, trial: str, event: int) -> HttpResponse:
    """One event and its history."""
    check_can_view(request.membership)
    one = _found(request, event)
    person = one.participant
    changes = [
        (
            change,
            FIELD_WORDS[change.name],
            "" if change.is_first else value_words(person, change.name, change.old),
            value_words(person, change.name, change.new),
        )
        for change in selectors.history(one)
    ]
    return render(
        request,
        "adverse_events/event.html",
        {
            "event": one,
            "participant": one.participant,
            "facts": facts_of(one),
            "sheet": selectors.term_sheet(one.participant.protocol.adverse_events, one.term),
            "changes": changes,
            "may_correct": may_correct(request.membership, one),
            "may_record": may_record(request.membership, one.participant),
        },
    )


def correct(request: TrialRequest, trial: str, event: int) -> HttpResponse:
    """Change an event with a reason; what somebody else changed meanwhile is shown beside what was typed."""
    one = _found(request, event)
    check_can_correct(request.membership, one)
    initial = {**AdverseEventForm.initial_of(one), "revision": one.revision}
    form = CorrectionForm(_typed(request), participant=one.participant, initial=initial)
    if request.POST.get("action") == LOOK_UP:
        return _look_up(request, form, one.participant, event=one)
    status, differences = 200, None
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                actions.correct_adverse_event(
                    event=one,
                    report=form.report,
                    revision=form.cleaned_data["revision"],
                    reason=form.cleaned_data["reason"],
                    by=request.membership,
                )
            except ValidationError as refused:
                add_errors(form, refused)
            except actions.Conflict as refused:
                one = _found(request, event)
                differences = differences_of(form.report, one)
                # Saving once more is a decision on what is shown now.
                form = CorrectionForm(_typed(request, revision=one.revision), participant=one.participant)
                form.add_error(None, str(refused))
                status = 409
            except NotPossible as refused:
                form.add_error(None, str(refused))
                status = 409
            else:
                messages.success(request, _("AE %(n)s is corrected.") % {"n": one.number})
                return redirect(address_of(one))
    return _page(request, form, one.participant, event=one, differences=differences, status=status)


def void(request: TrialRequest, trial: str, event: int) -> HttpResponse:
    """Set aside an event that was recorded in error."""
    one = _found(request, event)
    check_can_correct(request.membership, one)

    def act(typed: dict[str, Any]) -> str:
        actions.void_adverse_event(event=one, reason=typed["reason"], by=request.membership)
        return _("AE %(n)s is void. It stays in the log, struck through, and is not counted.") % {"n": one.number}

    return form_page(
        request,
        VoidForm(request.POST or None),
        act,
        done=address_of(one),
        participant=one.participant,
        heading=_("Void AE %(n)s of %(code)s") % {"n": one.number, "code": one.participant},
        submit=_("Void the event"),
        lead=_("%(term)s, grade %(grade)s. The event is kept and no longer counts.")
        % {"term": one.term, "grade": one.grade},
    )


# --- Fragments of the form ----------------------------------------------------------------------------------------


def terms(request: TrialRequest, trial: str) -> HttpResponse:
    """The terms nearest to what is typed (``q``), as the options of a list box."""
    check_can_view(request.membership)
    typed = request.GET.get("q") or request.GET.get("term", "")
    asked = request.GET.get("participant", "")
    bound_to = found(request, int(asked)) if asked.isascii() and asked.isdigit() else request.membership.trial
    dictionary = selectors.dictionary_of(bound_to.protocol.adverse_events)
    context = {"options": dictionary.search(typed[:200]), "typed": typed, "dictionary": dictionary}
    return render(request, "adverse_events/options.html", context)


def sheet(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """Definition and grades of the term that was chosen."""
    person = found(request, participant)
    check_can_view(request.membership)
    form = AdverseEventForm(participant=person, initial=request.GET.dict())
    return render(request, "adverse_events/sheet.html", {"form": form})


def echo(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """How a date was understood."""
    person = found(request, participant)
    name = "ended" if "ended" in request.GET else "started"
    typed = echo_date(person, request.GET.get(name, "")[:40])
    return render(request, "adverse_events/echo.html", {"echo": typed, "name": name})


# --- What they share ----------------------------------------------------------------------------------------------


def address_of(event: AdverseEvent) -> str:
    return reverse("adverse_events:event", kwargs={"trial": event.participant.trial.code, "event": event.pk})


def _found(request: TrialRequest, pk: int) -> AdverseEvent:
    one = selectors.adverse_events(request.membership).filter(pk=pk).first()
    if one is None:
        raise Http404("No such adverse event at the sites that you see.")
    return one


def _copied(request: TrialRequest, person: Participant) -> AdverseEvent | None:
    """The event of the same participant that a new one starts from, where the address names one."""
    asked = request.GET.get("copy", "")
    rows = selectors.adverse_events(request.membership).filter(participant=person)
    return rows.filter(pk=int(asked)).first() if asked.isascii() and asked.isdigit() and len(asked) < 10 else None


def _typed(request: TrialRequest, revision: int | None = None) -> Any:
    """What was sent; a term picked from the list stands for the one that was typed."""
    if request.method != "POST":
        return None
    typed = request.POST.copy()
    if revision is not None:
        typed["revision"] = str(revision)
    if picked := typed.get("pick"):
        typed["term"] = picked
    return typed


def _look_up(request: TrialRequest, form: AdverseEventForm, person: Participant, **page: Any) -> HttpResponse:
    """The page again with the terms to pick from; nothing is recorded and nothing is complained about."""
    sent = _typed(request)
    typed = sent.dict() | {"serious_criteria": sent.getlist("serious_criteria")}
    asked = type(form)(participant=person, initial=typed)
    page["options"] = selectors.dictionary_of(form.policy).search(str(typed.get("term", "")))
    return _page(request, asked, person, looked_up=True, **page)


def _page(
    request: TrialRequest, form: AdverseEventForm, person: Participant, *, status: int = 200, **page: Any
) -> HttpResponse:
    one = page.get("event")
    context = {"form": form, "participant": person, "policy": form.policy, **page}
    context["back"] = (
        address_of(one)
        if one
        else reverse("trials:participant", kwargs={"trial": person.trial.code, "participant": person.pk})
    )
    context["dictionary"] = selectors.dictionary_of(form.policy)
    return render(request, "adverse_events/entry.html", context, status=status)
