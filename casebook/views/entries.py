"""Forms: filled in, compared after a conflict, reopened, and their history."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from casebook import actions, forms, selectors
from casebook.actions.entries import StaleEntry
from casebook.domain.answers import Problem
from casebook.domain.places import KEPT_ELSEWHERE, typed_items
from casebook.models import FormEntry
from casebook.permissions import may_record
from casebook.views.pages import TrialRequest, address, member_page, participant_of, problems_of, revision_of, show
from trials.domain.definition import Form
from trials.models import Participant, Visit
from trials.permissions import NotPossible


@member_page
def entry(request: TrialRequest, participant: int, form: str, visit: str = "") -> HttpResponse:
    """One form at one place: shown, and saved whole."""
    subject = participant_of(request, participant)
    spec, place, repeat = _place(request, subject, form, visit)
    stored = selectors.entry_at(subject, form, place, repeat)
    if request.method != "POST":
        return _page(request, subject, spec, place, repeat, stored)
    typed = forms.typed_answers(spec, request.POST)
    complete = request.POST.get("action") == "complete"
    try:
        saved = actions.save_entry(
            participant=subject,
            form=form,
            visit=place,
            repeat=repeat,
            answers=typed.answers,
            units=typed.units,
            revision=revision_of(request),
            complete=complete,
            reason=request.POST.get("reason", ""),
            by=request.membership,
        )
    except StaleEntry as stale:
        return _conflict(request, subject, spec, place, repeat, stale, typed, complete=complete)
    except ValidationError as refused:
        problems = problems_of(refused)
        return _page(request, subject, spec, place, repeat, stored, typed=typed, problems=problems, status=422)
    except NotPossible as refused:
        problems = [Problem("", str(refused))]
        return _page(request, subject, spec, place, repeat, stored, typed=typed, problems=problems, status=409)
    done = _("%(form)s is complete.") if saved.status == "complete" else _("%(form)s is saved; it is not complete yet.")
    messages.success(request, done % {"form": spec.label})
    if complete:
        return redirect(address("casebook", subject))
    return redirect(request.get_full_path())


@require_POST
@member_page
def fields(request: TrialRequest, participant: int, form: str, visit: str = "") -> HttpResponse:
    """The fields whose being asked changed with an answer that decides on them. Saves nothing."""
    subject = participant_of(request, participant)
    spec, place, repeat = _place(request, subject, form, visit)
    stored = selectors.entry_at(subject, form, place, repeat)
    typed = forms.typed_answers(spec, request.POST)
    shown = set(request.POST.getlist("shown"))
    rows = [
        one
        for one in forms.entry_fields(subject, spec, entry=stored, visit=place, typed=typed)
        if one.is_dependent and one.state not in shown
    ]
    return render(request, "casebook/fields.html", {"fields": rows, "out_of_band": True, "can_type": True})


@require_POST
@member_page
def reopen(request: TrialRequest, participant: int, entry: int) -> HttpResponse:
    """Take a complete form back to work in progress."""
    subject = participant_of(request, participant)
    found = selectors.entry_for(request.membership, entry)
    if found.participant_id != subject.pk:
        raise Http404("No such form of this participant.")
    try:
        actions.reopen_entry(entry=found, by=request.membership, reason=request.POST.get("reason", ""))
    except ValidationError as refused:
        messages.error(request, " ".join(problem.sentence for problem in problems_of(refused)))
    else:
        messages.success(request, _("The form is open for changes again."))
    return redirect(address_of(subject, found))


@member_page
def history(request: TrialRequest, participant: int, entry: int) -> HttpResponse:
    """Who changed which answer, when and why."""
    subject = participant_of(request, participant)
    found = selectors.entry_for(request.membership, entry)
    if found.participant_id != subject.pk:
        raise Http404("No such form of this participant.")
    item = request.GET.get("item", "")
    return show(
        request,
        "casebook/history.html",
        subject,
        rows=selectors.entry_history(found, item),
        title=subject.protocol.form(found.form).label,
        back=address_of(subject, found),
    )


def address_of(subject: Participant, found: FormEntry) -> str:
    """The page of an entry."""
    where = {"form": found.form} | ({"visit": found.visit.code} if found.visit else {})
    page = address("visit_entry" if found.visit else "entry", subject, **where)
    return f"{page}?repeat={found.repeat}" if found.repeat > 1 else page


def _place(request: TrialRequest, subject: Participant, form: str, visit: str) -> tuple[Form, Visit | None, int]:
    try:
        spec = subject.protocol.form(form)
    except KeyError:
        raise Http404("The protocol has no such form.") from None
    if form in KEPT_ELSEWHERE:
        raise Http404("This form is not filled in here.")
    place = subject.visits.select_related("participant").get(code=visit) if visit else None
    raw = request.GET.get("repeat", "1")
    repeat = int(raw) if raw.isascii() and raw.isdigit() and 0 < len(raw) < 5 else 1
    return spec, place, max(repeat, 1)


def _page(
    request: TrialRequest,
    subject: Participant,
    spec: Form,
    place: Visit | None,
    repeat: int,
    stored: FormEntry | None,
    *,
    typed: forms.Typed | None = None,
    problems: list[Problem] | None = None,
    status: int = 200,
) -> HttpResponse:
    problems = problems or []
    fields = forms.entry_fields(subject, spec, entry=stored, visit=place, typed=typed, problems=problems)
    names = {one.name: one for one in fields}
    answered = sum(bool(one.value) for one in fields if one.is_shown and one.control != "given")
    asked = sum(one.is_shown for one in fields if one.control != "given")
    repeats = selectors.repeats_of(subject, spec.id, place) if spec.repeating else []
    return show(
        request,
        "casebook/entry.html",
        subject,
        form=spec,
        visit=place,
        repeat=repeat,
        repeats=repeats,
        next_repeat=max((one.repeat for one in repeats), default=0) + 1,
        entry=stored,
        fields=fields,
        answered=answered,
        asked=asked,
        problems=[(names.get(one.item), one.sentence) for one in problems],
        reason_problem=next((one.sentence for one in problems if one.item == "reason"), ""),
        reason=request.POST.get("reason", ""),
        revision=request.POST.get("revision") or (stored.revision if stored else 0),
        needs_reason=bool(stored and stored.completed_at),
        can_type=may_record(request.membership, subject) and bool(typed_items(spec)),
        fields_url=address(
            "visit_fields" if place else "fields", subject, form=spec.id, **({"visit": place.code} if place else {})
        )
        + f"?repeat={repeat}",
        status=status,
    )


def _conflict(
    request: TrialRequest,
    subject: Participant,
    spec: Form,
    place: Visit | None,
    repeat: int,
    stale: StaleEntry,
    typed: forms.Typed,
    *,
    complete: bool,
) -> HttpResponse:
    """Both values of every answer that differs, to choose from."""
    theirs = {one.name: one for one in forms.entry_fields(subject, spec, entry=stale.stored, visit=place)}
    mine = {one.name: one for one in forms.entry_fields(subject, spec, entry=stale.stored, visit=place, typed=typed)}
    stored = stale.stored.answers
    differing = [
        (mine[name], theirs[name], answer.unit)
        for name, answer in ((item.id, stale.typed.get(item.id)) for item in spec.items)
        if answer is not None and stored.get(name) != answer.as_stored()
    ]
    cleared = [(mine[name], theirs[name], "") for name in stored if name not in stale.typed and name in mine]
    return show(
        request,
        "casebook/conflict.html",
        subject,
        form=spec,
        visit=place,
        stale=stale,
        differing=[*differing, *cleared],
        sentence=str(stale),
        complete=complete,
        reason=request.POST.get("reason", ""),
        needs_reason=stale.stored.completed_at is not None,
        status=409,
    )
