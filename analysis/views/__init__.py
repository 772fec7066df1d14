"""The pages of endpoints and gates. Each finds, calls once, answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.roles import Permission
from analysis import actions, formats, forms, selectors
from analysis.actions.packets import take_packet
from analysis.domain.gates import GateState
from analysis.formats import pictures
from analysis.formats.pictures import course_links
from analysis.models import Gate
from analysis.permissions import check_can_view_results, check_has_packet
from analysis.reports.packet import packet as make_packet
from analysis.reports.reconciliation import is_published
from analysis.selectors import overview, signed
from trials.domain.figures import unit_words
from trials.formats.figures import Figure
from trials.models import Membership, Participant, Site
from trials.permissions import NotPossible, require
from trials.selectors import may_see_group, participant_for, sites_of

PAGE_LENGTH = 50
#: The query of the log of adverse events that lists what ``overview.open_serious_events`` counts.
OPEN_SERIOUS = "serious=yes&end=open&void=no"


class TrialRequest(HttpRequest):
    """A request under a trial's address: the middleware has found the membership that acts."""

    membership: Membership
    htmx: Any


def _site_of(request: TrialRequest) -> Site | None:
    """The site that the address asks for, among those the membership reaches; None for all of them."""
    code = request.GET.get("site", "")
    if not code:
        return None
    site = sites_of(request.membership).filter(code=code).first()
    if site is None:
        raise Http404("No such site among those that you see.")
    return site


def dashboard(request: TrialRequest, trial: str) -> HttpResponse:
    """Three numbers and one picture first; every number leads to those it counts."""
    membership = request.membership
    check_can_view_results(membership, membership.trial)
    site = _site_of(request)
    found = selectors.dashboard(membership, site=site)
    results = found.results
    listing = reverse("analysis:adjudications", kwargs={"trial": trial})
    at_site = f"site={site.code}&" if site else ""
    links = course_links(found.participants, trial)
    figures: dict[str, Figure] = {}
    if results and results.incidence:
        figures["incidence"] = formats.incidence_figure(
            results.incidence,
            set_label=results.incidence_set.label if results.incidence_set else "",
            competing=", ".join(kind.replace("_", " ") for kind in results.endpoint.competing),
            as_of=found.as_of,
        )
    if found.flow:
        figures["flow"] = formats.flow_figure(found.flow, listing, at_site=at_site, as_of=found.as_of)
    if results and results.curves:
        figures["curves"] = formats.curves_figure(results.curves, links, as_of=found.as_of)
    enrolment = overview.enrolment(membership, site=site, planned=found.places)
    if enrolment:
        figures["accrual"] = pictures.accrual_figure(enrolment, as_of=found.as_of)
    if found.stages:
        figures["stages"] = formats.stage_figure(found.stages, as_of=found.as_of, links=_snapshots_of(membership))
    return render(
        request,
        "analysis/dashboard.html",
        {
            "found": found,
            "results": results,
            "figures": figures,
            "listing": f"{listing}?{at_site}",
            "open_serious": overview.open_serious_events(membership, site=site),
            "serious_listing": f"{reverse('adverse_events:list', kwargs={'trial': trial})}?{at_site}{OPEN_SERIOUS}",
            **(_results_in_words(results) if results else {}),
            "sites": sites_of(membership),
            "site": site,
            "gates": selectors.gates_of(membership),
            "endpoint": selectors.primary_endpoint(membership.trial.protocol),
            "is_published": is_published(trial),
        },
    )


def _snapshots_of(membership: Membership) -> dict[int, str]:
    """The pages of the stages that have a snapshot, and so list who was counted."""
    return {
        gate.stage: reverse("analysis:gate", kwargs={"trial": membership.trial.code, "stage": gate.stage})
        for gate in selectors.gates_of(membership)
        if gate.snapshot
    }


def _results_in_words(results: selectors.Results) -> dict[str, str]:
    words = {
        "pending_words": formats.pending_words(results.pending),
        "rule_words": formats.rule_words(results.rule, results.endpoint.unit)
        if results.rule
        else formats.parameter_words(results.endpoint),
        "evaluable_words": formats.evaluable_words(results.rule, results.endpoint.competing) if results.rule else "",
    }
    if results.interval:
        words["proportion"] = formats.proportion_words(results.responders, results.decided, results.interval)
    if (based := results.design_based) is not None:
        words["design_based"] = formats.design_based_words(
            based.inference, based.responders, based.n, is_final=based.is_final
        )
    return words


def adjudications(request: TrialRequest, trial: str) -> HttpResponse:
    """Exactly the participants that a number counts."""
    membership = request.membership
    check_can_view_results(membership, membership.trial)
    form = forms.ListingForm(request.GET, membership=membership)
    if not form.is_valid():
        raise Http404("No such listing. Follow a number of the dashboard, or choose from the filters.")
    asked = form.cleaned_data
    protocol = membership.trial.protocol
    wanted = [one for one in protocol.analysis_sets if one.id in (asked["set"], asked["left"])]
    people = selectors.population(
        membership,
        site=_site_of(request),
        sets=wanted,
        endpoint_id=asked["endpoint"],
        items=[asked["item"]] if asked["item"] else [],
    )
    rows = selectors.listing(
        people,
        set_id=asked["set"],
        left=asked["left"],
        why=asked["why"],
        status=asked["status"],
        evaluable=asked["evaluable"],
        group=asked["group"],
        item=asked["item"],
        value=asked["value"],
        replaced=asked["replaced"],
    )
    return render(
        request,
        "analysis/adjudications.html",
        {
            "page": Paginator(rows, PAGE_LENGTH).get_page(request.GET.get("page")),
            "form": form,
            "filtered": any(asked.values()),
            "left": next((one for one in protocol.analysis_sets if one.id == asked["left"]), None),
            "why": rows[0].why if rows and asked["why"] else None,
            "endpoint": people.endpoint,
            "shows_group": may_see_group(membership, protocol),
        },
    )


def panel(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """What became of the endpoints of one participant, and why."""
    membership = request.membership
    try:
        person = participant_for(membership, participant)
    except Participant.DoesNotExist:
        raise Http404("No such participant at the sites that you see.") from None
    hidden = selectors.reads_independently(membership)
    rows = [] if hidden else selectors.adjudications_of(membership, person.pk)
    specs = {one.id: one for one in person.protocol.endpoints}
    for row in rows:
        spec = specs.get(row.endpoint)
        row.label = spec.label if spec else row.endpoint  # type: ignore[attr-defined]
        row.unit = unit_words(spec.unit) if spec else ""  # type: ignore[attr-defined]
        row.rests_on = list(zip(row.evidence.get("days", ()), row.evidence.get("values", ()), strict=False))  # type: ignore[attr-defined]
    current = [row for row in rows if row.is_current]
    primary = selectors.primary_endpoint(person.protocol)
    decided = next((row for row in current if primary and row.endpoint == primary.id), None)
    drawn = None if hidden else selectors.curves_of(person, decided)
    return render(
        request,
        "analysis/panel.html",
        {
            "participant": person,
            "hidden": hidden,
            "current": current,
            "figure": formats.curve_figure(drawn, as_of=timezone.now()) if drawn else None,
            "former": [row for row in rows if not row.is_current],
            "endpoint": primary,
        },
    )


def worklist(request: TrialRequest, trial: str) -> HttpResponse:
    """Gates that wait for this person, and endpoints that lack data."""
    return render(request, "analysis/worklist.html", {"work": selectors.worklist(request.membership)})


# --- Gates --------------------------------------------------------------------------------------------------------


def _found_gate(request: TrialRequest, stage: int, to_write: Permission | None = None) -> Gate:
    check_can_view_results(request.membership, request.membership.trial)
    if to_write is not None:
        trial = request.membership.trial_id
        require(request.membership, to_write, doing="do this at a gate", trial_id=trial, site_matters=False)
    gate = selectors.gate_for(request.membership, stage)
    if gate is None:
        raise Http404("This trial has no such stage.")
    return gate


def gate(request: TrialRequest, trial: str, stage: int) -> HttpResponse:
    """One stage: the snapshot it rests on, what is proposed, what came late, and the decision."""
    return _gate_page(request, _found_gate(request, stage))


def _gate_page(request: TrialRequest, gate: Gate, sent: Form | None = None, status: int = 200) -> HttpResponse:
    membership = request.membership
    design = gate.protocol_version.protocol.design
    now = {"seen": gate.snapshot_sha256}
    proposed = gate.state == GateState.PROPOSED
    needs_review = design.safety_review_required and gate.safety_reviewed_at is None
    seen = selectors.seats_of(membership, gate)
    stages = selectors.stage_counts(membership.trial)
    page: dict[str, Any] = {
        "gate": gate,
        "design": design,
        "planned": selectors.stages_of(gate.protocol_version.protocol)[gate.stage - 1],
        "count": selectors.count_of(gate) if gate.state == GateState.WAITING else None,
        "seats": seen,
        "changes": selectors.changes_for(membership, gate),
        "needs_review": needs_review,
        "figure": formats.stage_figure(stages, as_of=timezone.now()) if stages else None,
        "decision_words": forms.DECISION_WORDS.get(gate.decision or gate.proposal, ""),
        "has_next": selectors.has_next_stage(gate),
        "signatures": signed.signatures_of(gate),
        "may_decide": membership.may(Permission.DECIDE_GATE),
        "may_sign": membership.may(Permission.SIGN_SAFETY_REVIEW),
    }
    if proposed and membership.may(Permission.DECIDE_GATE):
        page["decision_form"] = (
            sent
            if isinstance(sent, forms.DecisionForm)
            else forms.DecisionForm(request=request, gate=gate, initial=now)
        )
        page["renewal_form"] = sent if isinstance(sent, forms.RenewalForm) else forms.RenewalForm(auto_id="renew_%s")
    if proposed and needs_review and membership.may(Permission.SIGN_SAFETY_REVIEW):
        page["review_form"] = (
            sent
            if isinstance(sent, forms.SafetyReviewForm)
            else forms.SafetyReviewForm(request=request, initial=now, auto_id="review_%s")
        )
    page["sent"] = sent
    return render(request, "analysis/gate.html", page, status=status)


def _act(
    request: TrialRequest, gate: Gate, form: Form, act: Callable[[dict[str, Any]], Gate], said: str
) -> HttpResponse:
    """Call the action with what was typed; what it refuses stands on the page: 422 for a field, 409 for the state."""
    status = 422
    if form.is_valid():
        try:
            act(form.cleaned_data)
        except ValidationError as refused:
            for name, errors in refused.error_dict.items():
                form.add_error(name if name in form.fields else None, errors)
        except NotPossible as refused:
            form.add_error(None, str(refused))
            status = 409
        else:
            messages.success(request, said)
            return redirect("analysis:gate", trial=gate.trial.code, stage=gate.stage)
    fresh = selectors.gate_for(request.membership, gate.stage) or gate
    # The page shows the snapshot of now: what is signed from it next is about that one.
    form.data = {**dict(form.data.items()), "seen": fresh.snapshot_sha256}
    return _gate_page(request, fresh, form, status)


def packet(request: TrialRequest, trial: str, stage: int) -> HttpResponse:
    """The packet of a proposed or decided gate, from its snapshot only; what was signed on it stands below."""
    gate = _found_gate(request, stage)
    check_has_packet(gate)
    document = make_packet(gate, closed=selectors.closed_part_for(request.membership, gate))
    return render(
        request,
        "analysis/packet.html",
        {
            "gate": gate,
            "document": document,
            "decision_words": forms.DECISION_WORDS.get(gate.decision, ""),
            "signatures": signed.signatures_of(gate),
        },
    )


def packet_pdf(request: TrialRequest, trial: str, stage: int) -> HttpResponse:
    """The same as a tagged PDF, on record with who took it; its SHA-256 travels beside it."""
    gate = _found_gate(request, stage)
    content = take_packet(gate=gate, by=request.membership)
    answer = HttpResponse(content, content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="{gate.trial.code}-stage-{gate.stage}-packet.pdf"'
    answer["X-Content-SHA256"] = hashlib.sha256(content).hexdigest()
    return answer


@require_POST
def decide(request: TrialRequest, trial: str, stage: int) -> HttpResponse:
    gate = _found_gate(request, stage, Permission.DECIDE_GATE)
    return _act(
        request,
        gate,
        forms.DecisionForm(request.POST, request=request, gate=gate),
        lambda typed: actions.decide_gate(gate=gate, by=request.membership, **typed),
        _("The decision is recorded. It stays as it is."),
    )


@require_POST
def sign(request: TrialRequest, trial: str, stage: int) -> HttpResponse:
    gate = _found_gate(request, stage, Permission.SIGN_SAFETY_REVIEW)
    return _act(
        request,
        gate,
        forms.SafetyReviewForm(request.POST, request=request, auto_id="review_%s"),
        lambda typed: actions.sign_safety_review(gate=gate, by=request.membership, **typed),
        _("The safety review is signed."),
    )


@require_POST
def renew(request: TrialRequest, trial: str, stage: int) -> HttpResponse:
    gate = _found_gate(request, stage, Permission.DECIDE_GATE)
    return _act(
        request,
        gate,
        forms.RenewalForm(request.POST, auto_id="renew_%s"),
        lambda typed: actions.renew_proposal(gate=gate, by=request.membership, **typed),
        _("A new snapshot was asked for."),
    )
