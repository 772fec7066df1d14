"""The list of participants, and one participant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.core.paginator import Paginator
from django.db.models import F
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.roles import Permission
from trials import actions, forms, selectors
from trials.domain.schedule import WindowStatus, study_day
from trials.models import Consent, Membership, Participant, Visit
from trials.permissions import (
    check_can_add_visit,
    check_can_end_follow_up,
    check_can_fail_screening,
    check_can_record_consent,
    check_can_record_visit,
    check_can_reopen_screening,
    check_can_set_anchor,
    check_can_withdraw,
    may,
    require,
)
from trials.views.pages import TrialRequest, form_page

PAGE_LENGTH = 50
WORKLIST_LENGTH = 8
ORDERS = {
    "code": ("code",),
    "site": ("site__code", "code"),
    "status": ("status", "code"),
    "screened": ("screened_on", "pk"),
    "enrolled": ("enrolment__enrolled_on", "pk"),
    "next": ("next_date", "pk"),
}
#: Panels that other floors draw on the participant page: address and heading.
PANELS = (
    ("casebook", gettext_lazy("Casebook")),
    ("dosing", gettext_lazy("Doses")),
    ("adverse_events", gettext_lazy("Adverse events")),
    ("analysis", gettext_lazy("Primary endpoint")),
)


def found(request: TrialRequest, pk: int) -> Participant:
    """The participant, where the acting membership sees them; otherwise there is none."""
    try:
        return selectors.participant_for(request.membership, pk)
    except Participant.DoesNotExist:
        raise Http404("No such participant at the sites that you see.") from None


def found_visit(request: TrialRequest, participant: Participant, pk: int) -> Visit:
    visit = participant.visits.select_related("participant").filter(pk=pk).first()
    if visit is None:
        raise Http404("No such visit of this participant.")
    return visit


def page_of(participant: Participant) -> str:
    return reverse("trials:participant", kwargs={"trial": participant.trial.code, "participant": participant.pk})


def day_now(participant: Participant, today: Any) -> int | None:
    """The study day today; None while the anchor is unknown."""
    anchor = participant.anchor_date
    return None if anchor is None else study_day(today, anchor, participant.protocol.anchor.first_day)


# --- Lists --------------------------------------------------------------------------------------------------------


def participants(request: TrialRequest, trial: str) -> HttpResponse:
    membership: Membership = request.membership
    require(
        membership,
        Permission.VIEW_PARTICIPANT,
        doing="see participants",
        trial_id=membership.trial_id,
        site_matters=False,
    )
    today = timezone.localdate()
    filter_form = forms.ParticipantFilterForm(request.GET, membership=membership)
    rows = filter_form.narrowed(selectors.participants(membership), today)
    order = request.GET.get("order", "code")
    descending = order.startswith("-")
    names = ORDERS.get(order.removeprefix("-"), ORDERS["code"])
    rows = rows.order_by(
        "is_external",
        *[F(name).desc(nulls_last=True) if descending else F(name).asc(nulls_last=True) for name in names],
    )
    page = Paginator(rows, PAGE_LENGTH).get_page(request.GET.get("page"))
    for row in page.object_list:
        row.day_now = day_now(row, today)
        row.next_is_overdue = bool(row.next_latest and row.next_latest < today and row.status in selectors.IN_FOLLOW_UP)
        row.next_is_open = bool(row.next_earliest and row.next_earliest <= today <= (row.next_latest or today))
        row.shows_group = row.is_external or selectors.may_see_group(membership, row.protocol)
    return render(
        request,
        "trials/participants.html",
        {
            "page": page,
            "filter_form": filter_form,
            "filtered": any(request.GET.get(name) for name in ("q", "site", "status", "due")),
            "order": order,
            "may_register": membership.may(Permission.SCREEN_PARTICIPANT),
            "first_day": membership.trial.protocol.anchor.first_day,
        },
    )


def worklist(request: TrialRequest, trial: str) -> HttpResponse:
    """Visits whose window is open or over, for the home page; the count is the length of this list."""
    today = timezone.localdate()
    membership: Membership = request.membership
    due = list(selectors.due_visits(membership, today)) if membership.may(Permission.RECORD_OBSERVATION) else []
    standing = [(visit, selectors.window_status(visit, today)) for visit in due]
    overdue = [visit for visit, window in standing if window is WindowStatus.OVERDUE]
    within = [visit for visit, window in standing if window is WindowStatus.OPEN]
    # On the home page the first ones; the heading counts them all, and its list is one press away.
    most = WORKLIST_LENGTH if request.headers.get("HX-Request") else None
    return render(
        request,
        "trials/worklist.html",
        {
            "overdue": overdue,
            "open": within,
            "overdue_shown": overdue[:most],
            "open_shown": within[:most],
            "shortened": most is not None and max(len(overdue), len(within)) > most,
        },
    )


# --- Screening ----------------------------------------------------------------------------------------------------


def register(request: TrialRequest, trial: str) -> HttpResponse:
    membership: Membership = request.membership
    require(
        membership,
        Permission.SCREEN_PARTICIPANT,
        doing="register a person for screening",
        trial_id=membership.trial_id,
        site_matters=False,
    )
    sent = request.session.setdefault("registered", {})
    if (known := sent.get(request.POST.get("submission", ""))) is not None:
        return redirect("trials:participant", trial=trial, participant=known)
    form = forms.RegisterForm(
        request.POST or None,
        membership=membership,
        initial={"screened_on": timezone.localdate(), "submission": uuid4().hex},
    )
    new: list[Participant] = []

    def act(typed: dict[str, Any]) -> str:
        submission = typed.pop("submission")
        participant = actions.register_participant(trial=membership.trial, by=membership, **typed)
        new.append(participant)
        if submission:  # the same page sent twice registers once
            request.session["registered"] = {**sent, submission: participant.pk}
        return _("%(code)s is registered for screening.") % {"code": participant}

    answer = form_page(
        request,
        form,
        act,
        done=reverse("trials:participants", kwargs={"trial": trial}),
        heading=_("Register a person for screening"),
        submit=_("Register"),
        lead=_("Canopy gives a code and holds no name and no address. Keep the link to the person at the site."),
    )
    return redirect(page_of(new[0])) if new else answer


def participant(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """Everything of one participant: what this floor knows, and the panels of the others by their addresses."""
    membership: Membership = request.membership
    person = found(request, participant)
    today = timezone.localdate()
    lines = selectors.visit_lines(person, today)
    records = may(membership, Permission.RECORD_OBSERVATION, person)
    return render(
        request,
        "trials/participant.html",
        {
            "participant": person,
            "today": today,
            "day_now": day_now(person, today),
            "anchor_label": person.protocol.anchor.label or person.protocol.anchor.event,
            "anchors": person.anchors.order_by("-revision"),
            "lines": lines,
            "next_visit": next((line.visit for line in lines if line.visit.status == "planned"), None),
            "consents": person.consents.order_by("signed_on", "pk"),
            "assessment": selectors.latest_assessment(person),
            "deviations": person.deviations.order_by("is_void", "pk"),
            "replacement": getattr(person, "replacement", None),
            "shows_group": person.is_external or selectors.may_see_group(membership, person.protocol),
            "group": next((one.label for one in person.protocol.groups if one.id == person.group), ""),
            "panels": panels_of(person),
            "eligibility_url": casebook_page("eligibility", person),
            "enrol_url": casebook_page("enrol", person),
            "may_screen": may(membership, Permission.SCREEN_PARTICIPANT, person),
            "may_consent": may(membership, Permission.RECORD_CONSENT, person),
            "may_assess": may(membership, Permission.ASSESS_ELIGIBILITY, person),
            "may_record": records,
            "may_withdraw": may(membership, Permission.WITHDRAW_PARTICIPANT, person),
            "may_deviate": may(membership, Permission.RECORD_DEVIATION, person),
        },
    )


def panels_of(person: Participant) -> list[dict[str, str]]:
    """The panels that there are in this deployment."""
    panels = []
    for app, title in PANELS:
        try:
            url = reverse(f"{app}:panel", kwargs={"trial": person.trial.code, "participant": person.pk})
        except NoReverseMatch:  # a floor without a panel
            continue
        panels.append({"id": f"panel-{app}", "title": str(title), "url": url})
    return panels


def casebook_page(name: str, person: Participant) -> str:
    try:
        return reverse(f"casebook:{name}", kwargs={"trial": person.trial.code, "participant": person.pk})
    except NoReverseMatch:
        return ""


def consent(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    person = found(request, participant)
    check_can_record_consent(request.membership, person)
    form = forms.ConsentForm(request.POST or None, participant=person, initial={"signed_on": timezone.localdate()})

    def act(typed: dict[str, Any]) -> str:
        signed = actions.record_consent(
            participant=person,
            version=typed["version"],
            signed_on=typed["signed_on"],
            signatory=typed["signatories"],
            by=request.membership,
        )
        return _("Consent version %(version)s is recorded.") % {"version": signed.version}

    return form_page(
        request,
        form,
        act,
        done=page_of(person),
        participant=person,
        heading=_("Record consent of %(code)s") % {"code": person},
        submit=_("Record consent"),
    )


def withdraw_consent(request: TrialRequest, trial: str, participant: int, consent: int) -> HttpResponse:
    person = found(request, participant)
    check_can_record_consent(request.membership, person)
    signed = Consent.objects.filter(participant=person, pk=consent).first()
    if signed is None:
        raise Http404("No such consent of this participant.")
    form = forms.ConsentWithdrawalForm(request.POST or None, initial={"withdrawn_on": timezone.localdate()})

    def act(typed: dict[str, Any]) -> str:
        actions.withdraw_consent(consent=signed, by=request.membership, **typed)
        return _("The withdrawal is recorded. What was recorded until then stays.")

    return form_page(
        request,
        form,
        act,
        done=page_of(person),
        participant=person,
        heading=_("Withdrawal of consent of %(code)s") % {"code": person},
        submit=_("Record the withdrawal"),
        lead=_("Consent version %(version)s, signed on %(day)s.")
        % {"version": signed.version, "day": f"{signed.signed_on:%d-%b-%Y}"},
    )


def fail_screening(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    person = found(request, participant)
    check_can_fail_screening(request.membership, person)
    form = forms.ScreenFailureForm(request.POST or None, participant=person)

    def act(typed: dict[str, Any]) -> str:
        actions.fail_screening(participant=person, reason=form.reason, by=request.membership)
        return _("The screening of %(code)s has ended.") % {"code": person}

    return form_page(
        request,
        form,
        act,
        done=page_of(person),
        participant=person,
        heading=_("End the screening of %(code)s") % {"code": person},
        submit=_("End the screening"),
    )


# --- The day the schedule counts from, and the visits ----------------------------------------------------------------


def anchor(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """Plan or move the date; a move shows what it changes and asks once more."""
    person = found(request, participant)
    check_can_set_anchor(request.membership, person)
    label = person.protocol.anchor.label or person.protocol.anchor.event
    current = person.current_anchor
    initial = {"day": current.day, "is_actual": current.is_actual} if current else {}
    form = forms.AnchorForm(request.POST or None, initial=initial)
    moves: tuple[selectors.VisitMove, ...] = ()
    if request.method == "POST" and form.is_valid() and current is not None and not form.cleaned_data["confirmed"]:
        moves = selectors.moves_of(person, form.cleaned_data["day"])
    page: dict[str, Any] = {
        "done": page_of(person),
        "participant": person,
        "heading": _("Date of the %(event)s of %(code)s") % {"event": label, "code": person},
        "template": "trials/anchor.html",
        "current": current,
        "event": label,
        "moves": moves,
    }
    if moves:
        # Shown before it is done: the visits that would move, with the same form to confirm it.
        form = forms.AnchorForm({**request.POST.dict(), "confirmed": "yes"})
        context = {**page, "form": form, "back": page["done"], "submit": _("Move the date")}
        return render(request, "trials/anchor.html", context)

    def act(typed: dict[str, Any]) -> str:
        made = actions.set_anchor(
            participant=person,
            day=typed["day"],
            is_actual=typed["is_actual"],
            reason=typed["reason"],
            by=request.membership,
        )
        return _("The %(event)s is on %(day)s; the visits are planned from it.") % {
            "event": label,
            "day": f"{made.day:%d-%b-%Y}",
        }

    return form_page(request, form, act, submit=_("Show what it changes") if current else _("Record the date"), **page)


def visit_done(request: TrialRequest, trial: str, participant: int, visit: int) -> HttpResponse:
    person = found(request, participant)
    one = found_visit(request, person, visit)
    check_can_record_visit(request.membership, one)
    form = forms.VisitDoneForm(
        request.POST or None,
        anchor_date=person.anchor_date,
        initial={"done_on": one.done_on or timezone.localdate()},
    )
    if one.status == Visit.Status.PLANNED:
        del form.fields["reason"]

    def act(typed: dict[str, Any]) -> str:
        done = actions.record_visit(visit=one, by=request.membership, **typed)
        window = selectors.window_status(done, timezone.localdate())
        return _("%(visit)s took place on %(day)s: %(window)s.") % {
            "visit": done.label,
            "day": f"{done.done_on:%d-%b-%Y}",
            "window": _("inside its window") if window == "done" else _("outside its window (%s)") % window,
        }

    return form_page(
        request,
        form,
        act,
        done=page_of(person),
        participant=person,
        heading=_("%(visit)s of %(code)s took place") % {"visit": one.label, "code": person},
        submit=_("Record the visit"),
        lead=_window_words(one),
    )


def visit_missed(request: TrialRequest, trial: str, participant: int, visit: int) -> HttpResponse:
    person = found(request, participant)
    one = found_visit(request, person, visit)
    check_can_record_visit(request.membership, one)
    form = forms.VisitMissedForm(request.POST or None)

    def act(typed: dict[str, Any]) -> str:
        actions.miss_visit(visit=one, by=request.membership, **typed)
        return _("%(visit)s is recorded as missed.") % {"visit": one.label}

    return form_page(
        request,
        form,
        act,
        done=page_of(person),
        participant=person,
        heading=_("%(visit)s of %(code)s was missed") % {"visit": one.label, "code": person},
        submit=_("Record as missed"),
        lead=_window_words(one),
    )


def _window_words(visit: Visit) -> str:
    if visit.earliest_date is None or visit.latest_date is None:
        return _("Its window is not known, because the date it counts from is not known.")
    return _("Window %(first)s to %(last)s.") % {
        "first": f"{visit.earliest_date:%d-%b-%Y}",
        "last": f"{visit.latest_date:%d-%b-%Y}",
    }


def unscheduled_visit(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    person = found(request, participant)
    check_can_add_visit(request.membership, person)
    form = forms.UnscheduledVisitForm(request.POST or None, initial={"on": timezone.localdate()})

    def act(typed: dict[str, Any]) -> str:
        made = actions.add_unscheduled_visit(participant=person, by=request.membership, **typed)
        return _("%(visit)s is added.") % {"visit": made.label}

    return form_page(
        request,
        form,
        act,
        done=page_of(person),
        participant=person,
        heading=_("Add an unscheduled visit of %(code)s") % {"code": person},
        submit=_("Add the visit"),
    )


# --- The end of follow-up -------------------------------------------------------------------------------------------


def withdraw(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    person = found(request, participant)
    check_can_withdraw(request.membership, person)
    form = forms.WithdrawalForm(request.POST or None, initial={"on": timezone.localdate()})

    def act(typed: dict[str, Any]) -> str:
        actions.withdraw_participant(participant=person, by=request.membership, **typed)
        return _("%(code)s has left the trial. What was recorded until then stays.") % {"code": person}

    return form_page(
        request,
        form,
        act,
        done=page_of(person),
        participant=person,
        heading=_("%(code)s leaves the trial") % {"code": person},
        submit=_("Record the withdrawal"),
    )


#: Verb of the address: heading, button, sentence afterwards, who may, action.
STATUS_PAGES: dict[str, tuple[Any, Any, Any, Callable[..., None], Callable[..., Participant]]] = {
    "complete": (
        gettext_lazy("Follow-up of %(code)s is complete"),
        gettext_lazy("Complete the follow-up"),
        gettext_lazy("The follow-up of %(code)s is complete."),
        check_can_end_follow_up,
        actions.complete_participant,
    ),
    "lost": (
        gettext_lazy("%(code)s is lost to follow-up"),
        gettext_lazy("Record as lost"),
        gettext_lazy("%(code)s is lost to follow-up."),
        check_can_end_follow_up,
        actions.lose_participant,
    ),
    "resume": (
        gettext_lazy("Resume the follow-up of %(code)s"),
        gettext_lazy("Resume the follow-up"),
        gettext_lazy("%(code)s is followed up again."),
        check_can_end_follow_up,
        actions.resume_follow_up,
    ),
    "reopen": (
        gettext_lazy("Take the screening of %(code)s up again"),
        gettext_lazy("Reopen the screening"),
        gettext_lazy("%(code)s is screened again."),
        check_can_reopen_screening,
        actions.reopen_screening,
    ),
}


def change_status(request: TrialRequest, trial: str, participant: int, verb: str) -> HttpResponse:
    if verb not in STATUS_PAGES:
        raise Http404
    heading, submit, said, check, action = STATUS_PAGES[verb]
    person = found(request, participant)
    check(request.membership, person)

    def act(typed: dict[str, Any]) -> str:
        action(participant=person, by=request.membership, reason=typed["reason"])
        return said % {"code": person}

    return form_page(
        request,
        forms.ReasonForm(request.POST or None),
        act,
        done=page_of(person),
        participant=person,
        heading=heading % {"code": person},
        submit=submit,
    )
