"""Reads of the analysis floor: what stands, what waits, what a gate counts now, and what the dashboard says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime

from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.text import slugify

from accounts.roles import Permission
from adverse_events import selectors as adverse_events
from analysis import datasets
from analysis.domain import analysis_sets, gates, simon
from analysis.domain.analysis_sets import Person
from analysis.domain.conditional_power import outlook
from analysis.domain.consecutive_threshold import Rule, Status
from analysis.domain.endpoint_answers import ANSWERS, ends_on
from analysis.domain.figures import consort, curves, incidence, stage_gate
from analysis.domain.gates import GateState
from analysis.domain.proportions import Interval, proportion_ci
from analysis.models import Adjudication, AdjudicationNeed, Gate
from casebook import selectors as casebook
from trials.domain.definition import AnalysisSet, EndpointRole, EndpointSpec, GroupKind, Protocol
from trials.domain.lifecycle import ParticipantState
from trials.domain.schedule import date_of_day
from trials.models import Membership, Participant, Replacement, Site, Trial
from trials.selectors import may_see_group

# --- Gates --------------------------------------------------------------------------------------------------------


def gates_of(membership: Membership) -> list[Gate]:
    """The stage gates of the membership's trial, in order."""
    return list(_gates().filter(trial_id=membership.trial_id).order_by("stage"))


def gate_for(membership: Membership, stage: int) -> Gate | None:
    return _gates().filter(trial_id=membership.trial_id, stage=stage).first()


def _gates() -> QuerySet[Gate]:
    return Gate.objects.select_related(
        "trial",
        "protocol_version__trial",
        "decided_by__user",
        "safety_reviewed_by__user",
        "safety_signature__by",
        "decision_signature__by",
    )


def count_of(gate: Gate) -> gates.Count:
    """What the gate's stage counts on the data of now, whatever was proposed or decided."""
    design = gate.protocol_version.protocol.design
    first = Gate.objects.filter(trial=gate.trial, stage=1).exclude(decision="").first()
    own = {group.id for group in gate.protocol_version.protocol.groups if group.kind is not GroupKind.EXTERNAL}
    decided = {e.participant: e for e in datasets.adjudications(gate.trial, design.endpoint)}
    # Who is enrolled and has no result yet is open: they may turn out to be among those counted.
    seats = [
        gates.Seat(
            person.participant,
            person.number,
            person.anchor_day,
            Status(decided[person.participant].status) if person.participant in decided else Status.PENDING,
            decided[person.participant].evaluable if person.participant in decided else None,
        )
        for person in datasets.persons(gate.trial, design.endpoint)
        if person.is_enrolled and person.group in own and not _left_before_the_anchor(person)
    ]
    counter = getattr(gate.trial, "counter", None)
    return gates.GATED_DESIGNS[design.method](
        stages_of(gate.protocol_version.protocol),
        design.null,
        stage=gate.stage,
        seats=seats,
        accrual_closed=counter is not None and counter.closed_on is not None,
        stage1_responders=first.responders if first else None,
    )


#: Whose anchor will not come any more, where it has not come yet.
_GONE = (ParticipantState.WITHDRAWN, ParticipantState.LOST, ParticipantState.DIED, ParticipantState.COMPLETED)


def _left_before_the_anchor(person: Person) -> bool:
    """Enrolled and gone before the day that the schedule counts from: nothing can be counted, or waited for."""
    return person.anchor_day is None and person.status in _GONE


def stages_of(protocol: Protocol) -> list[gates.Stage]:
    """The stages of the design as the gates count them."""
    return [
        gates.Stage(stage.n, int(stage.continue_if_at_least or stage.succeed_if_at_least or 0))
        for stage in protocol.design.stages
    ]


def has_next_stage(gate: Gate) -> bool:
    return gate.stage < len(gate.protocol_version.protocol.design.stages)


@dataclass(frozen=True)
class Change:
    """What late data say of somebody whom the snapshot counted, or of a count that it took."""

    participant: int | None
    sentence: str


def changed_since(gate: Gate) -> list[Change]:
    """What the data of now would say otherwise than the gate's snapshot. The snapshot stays as it was."""
    if not gate.snapshot:
        return []
    design = gate.protocol_version.protocol.design
    now = {e.participant: e for e in datasets.adjudications(gate.trial, design.endpoint)}
    counted = {seat["participant"] for seat in gate.snapshot["participants"]}
    changes = []
    for seat in gate.snapshot["participants"]:
        current = now.get(seat["participant"])
        if current is None:
            sentence = f"counted as {_words(seat['status'])}; there is no result now."
        elif current.status != seat["status"]:
            sentence = f"counted as {_words(seat['status'])}; now {_words(current.status)}."
        elif current.evaluable != seat["evaluable"]:
            sentence = f"counted as evaluable; now {_EVALUABLE[current.evaluable]}."
        else:
            continue
        changes.append(Change(seat["participant"], f"{seat['number']}: {sentence}"))
    count = count_of(gate)
    for later in count.seats:
        if later.participant not in counted:
            changes.append(
                Change(later.participant, f"{later.number}: not counted; now among the {_planned(gate)} of the stage.")
            )
    return changes


def changes_for(membership: Membership, gate: Gate) -> list[Change]:
    """``changed_since`` as far as the membership sees: what concerns other sites is told as a number."""
    changes = changed_since(gate)
    seen = _visible(membership, [change.participant for change in changes if change.participant])
    own = [change for change in changes if change.participant in seen]
    others = len(changes) - len(own)
    if others:
        own.append(Change(None, f"Other sites: {others} more differ from the snapshot."))
    return own


@dataclass(frozen=True)
class Seats:
    """The snapshot's participants whom the membership sees, and those of other sites as numbers by status."""

    own: tuple[dict[str, object], ...]
    elsewhere: dict[str, int]

    @property
    def elsewhere_total(self) -> int:
        return sum(self.elsewhere.values())

    @property
    def total(self) -> int:
        return len(self.own) + self.elsewhere_total


def seats_of(membership: Membership, gate: Gate) -> Seats:
    """Who was counted, in order."""
    seats = [
        {**seat, "place": place, "day_0": date.fromisoformat(seat["anchor_day"]) if seat["anchor_day"] else None}
        for place, seat in enumerate(gate.snapshot.get("participants", []), start=1)
    ]
    seen = _visible(membership, [seat["participant"] for seat in seats])
    elsewhere = Counter(_words(seat["status"]) for seat in seats if seat["participant"] not in seen)
    return Seats(tuple(seat for seat in seats if seat["participant"] in seen), dict(elsewhere))


def closed_part_for(membership: Membership, gate: Gate) -> list[dict[str, object]] | None:
    """The snapshot's participants one by one; None for who sees one site only, or may not know the groups."""
    if membership.site_id is not None or not may_see_group(membership, gate.protocol_version.protocol):
        return None
    return list(gate.snapshot.get("participants", []))


def _visible(membership: Membership, participants: Sequence[int]) -> set[int]:
    own = Participant.objects.visible_to(membership).filter(pk__in=participants)
    return set(own.values_list("pk", flat=True))


def _planned(gate: Gate) -> int:
    planned: int = gate.protocol_version.protocol.design.stages[gate.stage - 1].n
    return planned


_EVALUABLE = {True: "evaluable", False: "not evaluable", None: "evaluable or not: not known"}


def _words(status: str) -> str:
    return status.replace("_", " ")


def safety_summary(trial: Trial) -> dict[str, int]:
    """Adverse events of the trial's own participants by grade, as a gate's safety review reads them."""
    rows = [event for event in adverse_events.events_of_trial(trial) if not event.is_external]
    grades = Counter(event.grade for event in rows)
    return {
        **{f"grade_{grade}": grades[grade] for grade in range(1, 6)},
        "total": len(rows),
        "serious": sum(event.is_serious is True for event in rows),
        "participants": len({event.participant_id for event in rows}),
    }


def committee_summary(gate: Gate, count: gates.Count) -> dict[str, object]:
    """What a committee reads beside the count: design, outlook, accrual, safety by category, deaths by cause."""
    protocol = gate.protocol_version.protocol
    people = [
        person
        for person in datasets.persons(gate.trial, protocol.design.endpoint)
        if person.is_enrolled and person.kind is not GroupKind.EXTERNAL
    ]
    ids = [person.participant for person in people]
    events = [event for event in adverse_events.events_of_trial(gate.trial) if not event.is_external]
    labels = {one.id: one.label for one in protocol.adverse_events.categories}
    categories: dict[str, Counter[str]] = {}
    for event in events:
        category = labels.get(event.category, event.category) or "not categorised"
        categories.setdefault(category, Counter())[str(event.grade)] += 1
    deaths = casebook.events_of_trial(gate.trial, participants=ids, kinds=["death"])
    removed = [person.participant for person in people if person.removed]
    return {
        "accrual": {
            "enrolled": len(people),
            "removed": dict(Counter(datasets.removal_rules(removed).values())),
            "not_evaluable": sum(person.evaluable is False for person in people),
        },
        "safety_by_category": {name: dict(categories[name]) for name in sorted(categories)},
        "deaths": dict(Counter(death.detail.get("cause", "unknown").replace("_", " ") for death in deaths)),
        **_design_summary(protocol, count),
    }


def _design_summary(protocol: Protocol, count: gates.Count) -> dict[str, object]:
    stages, design = stages_of(protocol), protocol.design
    if design.method not in gates.GATED_DESIGNS or len(stages) != 2 or design.null is None:
        return {}
    two_stage = simon.TwoStage(r1=stages[0].at_least - 1, n1=stages[0].n, r=stages[1].at_least - 1, n=stages[1].n)
    rates = {"null": float(design.null)}
    if design.alternative is not None:
        rates["alternative"] = float(design.alternative)
    return {
        "operating_characteristics": {
            name: asdict(simon.operating_characteristics(two_stage, p)) for name, p in rates.items()
        },
        "outlook": asdict(
            outlook(
                two_stage,
                responses=count.responders,
                decided=count.evaluable,
                null=rates["null"],
                alternative=rates.get("alternative"),
            )
        ),
    }


def reads_independently(membership: Membership) -> bool:
    """Whether the membership decides endpoints by itself, so that it must not see the computed answer first."""
    return membership.may(Permission.ADJUDICATE_ENDPOINT) and not membership.may(Permission.VIEW_DASHBOARD)


def adjudications_of(membership: Membership, participant: int) -> list[Adjudication]:
    """Every adjudication of one participant, newest first: what stands and what stood."""
    return list(
        Adjudication.objects.visible_to(membership)
        .filter(participant=participant)
        .select_related("protocol_version__trial")
        .order_by("-pk")
    )


# --- The people behind the numbers --------------------------------------------------------------------------------


def primary_endpoint(protocol: Protocol) -> EndpointSpec | None:
    """The endpoint that the design counts, or else the first primary one."""
    if protocol.design.endpoint:
        return protocol.endpoint(protocol.design.endpoint)
    return next((one for one in protocol.endpoints if one.role is EndpointRole.PRIMARY), None)


def adjudicated(protocol: Protocol) -> list[EndpointSpec]:
    """The endpoints that are decided for good, as rows with their evidence: the primary ones.

    The others are answered whenever a data set is made, on the data of its moment (docs/adr/0014-endpoints.md).
    """
    return [one for one in protocol.endpoints if one.role is EndpointRole.PRIMARY and one.method in ANSWERS]


@dataclass(frozen=True)
class Member:
    """One participant with their result; ``result`` is None before there is one. ``why``: the reason for leaving."""

    person: Person
    result: datasets.Evidence | None
    why: consort.Reason | None = None

    @property
    def status(self) -> str:
        return self.result.status if self.result else ""


@dataclass(frozen=True)
class Population:
    """Everybody the membership sees, each with the result of the primary endpoint, and the sets they are in."""

    protocol: Protocol
    endpoint: EndpointSpec | None
    persons: Sequence[Person]
    results: dict[int, datasets.Evidence]
    removed_by: dict[int, str]

    def enrolled(self) -> list[Member]:
        """The participants of the trial's own groups."""
        return self._with_result([p for p in self.persons if p.is_enrolled and p.kind is not GroupKind.EXTERNAL])

    def members(self, set_id: str) -> list[Member]:
        """The members of a set; KeyError for a set that the definition does not have."""
        return self._with_result(analysis_sets.members(self.protocol.analysis_sets, set_id, self.persons))

    def left(self, set_id: str) -> list[Member]:
        """Who is in the set that ``set_id`` narrows and not in it, each with the reason."""
        *_, narrowed = analysis_sets.lineage(self.protocol.analysis_sets, set_id)
        if not narrowed.base:
            return []
        stayed = {member.person.participant for member in self.members(set_id)}
        return [
            replace(member, why=self._why(narrowed, member))
            for member in self.members(narrowed.base)
            if member.person.participant not in stayed
        ]

    def _with_result(self, persons: Sequence[Person]) -> list[Member]:
        return [Member(person, self.results.get(person.participant)) for person in persons]

    def _why(self, narrowed: AnalysisSet, member: Member) -> consort.Reason:
        find = _WHY.get(narrowed.method, lambda *_: ("other", "Does not fit the set"))
        key, label = find(self, member)
        return consort.Reason(key, label, 1)

    def flow(self, to: str) -> consort.Flow:
        """From everybody screened to the set ``to``, with who left at each step and why; external sets beside it."""
        steps = []
        for one in analysis_sets.lineage(self.protocol.analysis_sets, to):
            reasons = Counter(member.why.key for member in self.left(one.id) if member.why)
            labels = {member.why.key: member.why.label for member in self.left(one.id) if member.why}
            left = tuple(consort.Reason(key, labels[key], n) for key, n in reasons.most_common())
            steps.append(consort.Step(one.id, one.label, len(self.members(one.id)), left))
        external = [one for one in self.protocol.analysis_sets if one.method == "external"]
        beside = [consort.Beside(one.id, one.label, len(self.members(one.id))) for one in external]
        return consort.Flow(tuple(steps), tuple(one for one in beside if one.count))


def _why_not_enrolled(population: Population, member: Member) -> tuple[str, str]:
    person = member.person
    if person.status == ParticipantState.SCREEN_FAILED:
        reason = person.failure_reason or "No reason recorded"
        return slugify(f"failed {reason}"), f"Screening failed: {reason}"
    words = {ParticipantState.SCREENING: "In screening", ParticipantState.ELIGIBLE: "Eligible, not enrolled yet"}
    state = ParticipantState(person.status)
    return state.value, words.get(state, state.value.replace("_", " ").capitalize())


def _why_removed(population: Population, member: Member) -> tuple[str, str]:
    if member.person.removed is None:
        return "unconfirmed", "Major deviation, not confirmed yet"
    rule = population.removed_by.get(member.person.participant, "")
    text = next((one.text for one in population.protocol.eligibility.removal if one.id == rule), "Major deviation")
    return rule or "deviation", f"{rule}: {text}" if rule else text


def _why_not_evaluable(population: Population, member: Member) -> tuple[str, str]:
    if member.result is None or member.person.evaluable is None:
        return "open", "Not known yet: still followed"
    cause = str(member.result.detail.get("not_evaluable_for", ""))
    if not cause or population.endpoint is None:
        return "other", "Other"
    ends = ends_on(population.endpoint)
    what = cause.replace("_", " ").capitalize()
    return cause, f"{what} before day {ends[0]}" if ends else what


_WHY: dict[str, Callable[[Population, Member], tuple[str, str]]] = {
    "enrolled": _why_not_enrolled,
    "not_removed": _why_removed,
    "no_event_before": _why_not_evaluable,
    "first_evaluable": lambda *_: ("later", "Later than the number counted"),
    "with_value": lambda *_: ("value", "Another value, or none recorded"),
}


def population(
    membership: Membership,
    *,
    site: Site | None = None,
    sets: Sequence[AnalysisSet] = (),
    endpoint_id: str = "",
    items: Collection[str] = (),
) -> Population:
    """The people at the sites that the membership reaches (at ``site``, if given).

    ``sets`` are those whose members will be asked for: the values they read are fetched, and those of ``items``. The
    results are those of ``endpoint_id``, or of the primary endpoint.
    """
    trial = membership.trial
    protocol = trial.protocol
    endpoint = primary_endpoint(protocol)
    at = site.pk if site is not None else membership.site_id
    name = endpoint.id if endpoint else ""
    chains = [one for wanted in sets for one in analysis_sets.lineage(protocol.analysis_sets, wanted.id)]
    people = datasets.persons(trial, name, site=at, items=analysis_sets.items_read(chains) | set(items))
    if endpoint_id:
        endpoint, name = protocol.endpoint(endpoint_id), endpoint_id
    removed = [person.participant for person in people if person.removed]
    return Population(
        protocol,
        endpoint,
        people,
        _results_of(trial, endpoint, people, site=at),
        dict(datasets.removal_rules(removed)),
    )


def _results_of(
    trial: Trial, endpoint: EndpointSpec | None, people: Sequence[Person], *, site: int | None
) -> dict[int, datasets.Evidence]:
    """What stands of an adjudicated endpoint; any other one is answered on the data of now, as a data set does it."""
    if endpoint is None:
        return {}
    if endpoint in adjudicated(trial.protocol) or endpoint.method not in ANSWERS:
        return {one.participant: one for one in datasets.adjudications(trial, endpoint.id, site=site)}
    return {one.participant: one for one in datasets.answered(trial, endpoint, people)}


def set_counts(membership: Membership) -> list[tuple[AnalysisSet, int]]:
    """Every analysis set of the definition with its number of members."""
    sets = membership.trial.protocol.analysis_sets
    people = population(membership, sets=sets)
    return [(one, len(people.members(one.id))) for one in sets]


#: What a listing may be narrowed to by the state of the endpoint. "decided" is every state but pending.
DECIDED = "decided"
#: "undecided" is the rest: pending, or without a result.
UNDECIDED = "undecided"


def listing(
    people: Population,
    *,
    set_id: str = "",
    left: str = "",
    why: str = "",
    status: str = "",
    evaluable: str = "",
    group: str = "",
    item: str = "",
    value: str = "",
    replaced: bool = False,
) -> list[Member]:
    """The members that a number on the dashboard counts: of a set, or of those who left it; everybody enrolled else."""
    rows = people.left(left) if left else people.members(set_id) if set_id else people.enrolled()
    if why:
        rows = [row for row in rows if row.why and row.why.key == why]
    if group:
        rows = [row for row in rows if row.person.group == group]
    if item:
        rows = [row for row in rows if row.person.values.get(item, "") == value]
    if status == DECIDED:
        rows = [row for row in rows if row.status and Status(row.status).is_final]
    elif status == UNDECIDED:
        rows = [row for row in rows if not row.status or not Status(row.status).is_final]
    elif status:
        rows = [row for row in rows if (row.status or "no_result") == status]
    if evaluable:
        wanted = {"yes": True, "no": False, "open": None}[evaluable]
        rows = [row for row in rows if row.person.evaluable is wanted]
    if replaced:
        opened = replaced_of([row.person.participant for row in rows])
        rows = [row for row in rows if row.person.participant in opened]
    return sorted(rows, key=lambda row: (row.person.anchor_day is None, row.person.anchor_day, row.person.number))


def replaced_of(participants: Collection[int]) -> frozenset[int]:
    """Those of ``participants`` whose place is open again."""
    rows = Replacement.objects.filter(participant__in=participants, is_open=True)
    return frozenset(rows.values_list("participant_id", flat=True))


# --- The dashboard ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DesignBased:
    """The estimate that respects the stages. ``is_final``: the trial has ended; else as if it ended now."""

    inference: simon.Inference
    responders: int
    n: int
    is_final: bool


@dataclass(frozen=True)
class Results:
    """What the primary endpoint says now. ``decided`` are the evaluable whose endpoint is not pending."""

    endpoint: EndpointSpec
    set_id: str
    evaluable: int
    evaluable_planned: int | None
    decided: int
    responders: int
    interval: Interval | None
    design_based: DesignBased | None
    incidence: incidence.Incidence | None
    incidence_set: AnalysisSet | None
    curves: curves.Curves | None
    rule: Rule | None

    @property
    def is_over_time(self) -> bool:
        return ANSWERS[self.endpoint.method].over_time

    @property
    def pending(self) -> int:
        """Evaluable, and the endpoint not decided yet."""
        return self.evaluable - self.decided


@dataclass(frozen=True)
class Dashboard:
    """Everything that the dashboard shows, of one site or of all that the membership reaches."""

    as_of: datetime
    site: Site | None
    enrolled: int
    planned: int | None
    replaced: int
    flow: consort.Flow | None
    results: Results | None
    stages: stage_gate.StageGates | None
    participants: dict[int, str]

    @property
    def places(self) -> int | None:
        """The planned number with one more for each who is replaced."""
        return None if self.planned is None else self.planned + self.replaced


def dashboard(membership: Membership, *, site: Site | None = None) -> Dashboard:
    """The state of the trial as the membership sees it now."""
    trial = membership.trial
    protocol = trial.protocol
    counted_in = protocol.design.analysis_set or next((one.id for one in protocol.analysis_sets), "")
    wanted = [one for one in protocol.analysis_sets if one.id == counted_in]
    people = population(membership, site=site, sets=wanted)
    whole = site is None and membership.site_id is None
    own = [group.planned for group in protocol.groups if group.kind is not GroupKind.EXTERNAL]
    planned = sum(n for n in own if n is not None) if own and None not in own else protocol.design.planned
    enrolled = people.enrolled()
    ids = [member.person.participant for member in enrolled]
    return Dashboard(
        as_of=timezone.now(),
        site=site,
        enrolled=len(enrolled),
        planned=planned if whole else None,
        replaced=len(replaced_of(ids)),
        flow=people.flow(counted_in) if wanted else None,
        results=_results(membership, people, counted_in, whole=whole) if wanted else None,
        stages=stage_counts(trial),
        participants={person.participant: person.number for person in people.persons},
    )


def _results(membership: Membership, people: Population, set_id: str, *, whole: bool) -> Results | None:
    endpoint = people.endpoint
    if endpoint is None or endpoint.method not in ANSWERS:
        return None
    protocol = people.protocol
    evaluable = people.members(set_id)
    decided = [m for m in evaluable if m.status and Status(m.status).is_final]
    responders = sum(m.status == Status.REACHED for m in decided)
    *before, _ = analysis_sets.lineage(protocol.analysis_sets, set_id)
    full = before[-1] if before else None
    rule = Rule.from_parameters(endpoint.parameters) if endpoint.method == "consecutive_threshold" else None
    over_time = people.members(full.id if full else set_id)
    stages = protocol.design.stages
    return Results(
        endpoint=endpoint,
        set_id=set_id,
        evaluable=len(evaluable),
        evaluable_planned=stages[-1].n if stages and whole else None,
        decided=len(decided),
        responders=responders,
        interval=proportion_ci(responders, len(decided)) if decided else None,
        design_based=_design_based(membership.trial, responders, len(decided)) if whole else None,
        incidence=_incidence(membership, people, over_time, endpoint) if ANSWERS[endpoint.method].over_time else None,
        incidence_set=full,
        curves=_curves(membership.trial, over_time, endpoint, rule) if rule else None,
        rule=rule,
    )


def _design_based(trial: Trial, responders: int, decided: int) -> DesignBased | None:
    """The estimate after a decided stage: of the stage that ended the trial, or of the data of now after one that did
    not, as if the trial ended with them."""
    protocol = trial.protocol
    stages = stages_of(protocol)
    if protocol.design.method not in gates.GATED_DESIGNS or len(stages) != 2 or protocol.design.null is None:
        return None
    decided_gates = {gate.stage: gate for gate in Gate.objects.filter(trial=trial, state=GateState.DECIDED)}
    first, last = decided_gates.get(1), decided_gates.get(2)
    if first is None or first.responders is None:
        return None
    design = simon.TwoStage(r1=stages[0].at_least - 1, n1=stages[0].n, r=stages[1].at_least - 1, n=stages[1].n)
    passed = first.responders >= stages[0].at_least
    if not passed:
        total, n, is_final = first.responders, design.n1, first.decision == "stop"
    elif last is not None and last.responders is not None and last.evaluable is not None:
        total, n, is_final = last.responders, last.evaluable, True
    else:
        total, n, is_final = responders, decided, first.decision == "stop"
    if passed and not (n > design.n1 and first.responders <= total <= first.responders + n - design.n1):
        return None
    found = simon.inference(
        design, p0=float(protocol.design.null), responses=total, stage1_responses=first.responders, n=n
    )
    return DesignBased(found, total, n, is_final)


#: More curves than these cannot be told apart in print: the external groups are then drawn as one.
_MOST_CURVES = 3


def _incidence(
    membership: Membership, people: Population, members: Sequence[Member], endpoint: EndpointSpec
) -> incidence.Incidence | None:
    protocol = people.protocol
    own = [group for group in protocol.groups if group.kind is not GroupKind.EXTERNAL]
    external = [group for group in protocol.groups if group.kind is GroupKind.EXTERNAL]
    sees_groups = may_see_group(membership, protocol)
    names = {group.id: (group.id, group.label) for group in [*own, *external]}
    if not sees_groups:
        names |= {group.id: ("own", "Trial participants") for group in own}
    if len({key for key, _ in names.values()}) > _MOST_CURVES:
        names |= {group.id: ("external", "External controls") for group in external}
    controls = [
        member for one in protocol.analysis_sets if one.method == "external" for member in people.members(one.id)
    ]
    subjects = [
        incidence.Subject(member.person.participant, names[member.person.group][0], time_days, cause)
        for member in [*members, *controls]
        if member.person.group in names and member.result is not None
        for time_days, cause in [_until(member.result)]
        if time_days is not None
    ]
    horizon_day, last_day = ends_on(endpoint) or (max((s.time_days for s in subjects), default=1),) * 2
    return incidence.incidence(
        subjects,
        dict(names.values()),
        label=endpoint.label,
        origin=origin_of(protocol),
        horizon_day=horizon_day,
        last_day=max(last_day, 1),
    )


def _until(result: datasets.Evidence) -> tuple[int | None, int]:
    """Days until the endpoint, the competing event, or the last day known to be free of both."""
    if result.status == Status.REACHED:
        return result.event_day, incidence.EVENT
    if result.status == Status.COMPETING:
        return _day(result, "competing_day"), incidence.COMPETING
    return _day(result, "censored_day"), incidence.CENSORED


def _day(result: datasets.Evidence, name: str) -> int | None:
    day = result.detail.get(name)
    return day if isinstance(day, int) else None


def _curves(trial: Trial, members: Sequence[Member], endpoint: EndpointSpec, rule: Rule) -> curves.Curves | None:
    people = [
        _Followed(
            m.person.participant,
            m.person.number,
            m.person.anchor_day,
            Status(m.status) if m.status else Status.PENDING,
            frozenset(_rows(m.result.detail)) if m.result and m.status == Status.REACHED else frozenset(),
        )
        for m in members
    ]
    return _drawn(trial, trial.protocol, people, endpoint, rule)


def curves_of(participant: Participant, current: Adjudication | None) -> curves.Curves | None:
    """The values of one participant; None where the primary endpoint is not one of values over time."""
    protocol = participant.protocol
    endpoint = primary_endpoint(protocol)
    if endpoint is None or endpoint.method != "consecutive_threshold":
        return None
    reached = current is not None and current.status == Status.REACHED
    followed = _Followed(
        participant.pk,
        str(participant),
        participant.anchor_date,
        Status(current.status) if current else Status.PENDING,
        frozenset(_rows(current.evidence)) if current and reached else frozenset(),
    )
    return _drawn(participant.trial, protocol, [followed], endpoint, Rule.from_parameters(endpoint.parameters))


@dataclass(frozen=True)
class _Followed:
    """One line of the figure before its points; ``rests_on`` are the rows that the endpoint rests on."""

    participant: int
    number: str
    anchor_day: date | None
    status: Status
    rests_on: frozenset[int]


def _drawn(
    trial: Trial, protocol: Protocol, people: Sequence[_Followed], endpoint: EndpointSpec, rule: Rule
) -> curves.Curves | None:
    by_id = {one.participant: one for one in people}
    values = datasets.values_by_day(
        trial,
        endpoint,
        {one.participant: one.anchor_day for one in people if one.anchor_day is not None},
        first_day=protocol.anchor.first_day,
        last_day=rule.confirm_last_day + 10,
    )
    points: dict[int, list[curves.Point]] = {}
    for value in values:
        qualifies = value.row in by_id[value.participant].rests_on
        points.setdefault(value.participant, []).append(
            curves.Point(value.day, value.value, value.as_written, qualifies)
        )
    lines = tuple(
        curves.Line(one.participant, one.number, one.status, tuple(points[one.participant]))
        for one in people
        if one.participant in points
    )
    if not lines:
        return None
    label = protocol.analyte(endpoint.item).label
    return curves.Curves(
        label,
        origin_of(protocol),
        endpoint.unit,
        float(rule.threshold),
        rule.operator,
        rule.confirm_last_day,
        lines,
    )


def origin_of(protocol: Protocol) -> str:
    """What the days count from, in words."""
    return protocol.anchor.label or protocol.anchor.event.replace("_", " ")


def _rows(evidence: Mapping[str, object]) -> Sequence[int]:
    rows = evidence.get("rows", ())
    return rows if isinstance(rows, list) else ()


def stage_counts(trial: Trial) -> stage_gate.StageGates | None:
    """Each stage of the design: as it was decided, or as it stands now. The counts are of all sites."""
    stages = []
    for gate in Gate.objects.filter(trial=trial).select_related("trial", "protocol_version__trial").order_by("stage"):
        planned = stages_of(gate.protocol_version.protocol)[gate.stage - 1]
        if gate.state == GateState.WAITING:
            count = count_of(gate)
            decided, responders = count.evaluable, count.responders
            n, at_least = planned.n, planned.at_least
        else:
            decided, responders = gate.evaluable or 0, gate.responders or 0
            n, at_least = gate.evaluable or planned.n, gate.boundary or planned.at_least
        stages.append(stage_gate.StageCount(gate.stage, n, at_least, decided, responders, gate.state, gate.decision))
    return stage_gate.StageGates(tuple(stages)) if stages else None


# --- Work to do ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Worklist:
    """Gates that wait for this person, and participants whose endpoint lacks data."""

    to_sign: tuple[Gate, ...]
    to_decide: tuple[Gate, ...]
    lacking_data: tuple[Adjudication, ...]
    reads: bool = False

    @property
    def gates_total(self) -> int:
        return len(self.to_sign) + len(self.to_decide)


def worklist(membership: Membership) -> Worklist:
    """What the membership may act on."""
    proposed = [gate for gate in gates_of(membership) if gate.state == GateState.PROPOSED]
    unsigned = [
        gate
        for gate in proposed
        if gate.protocol_version.protocol.design.safety_review_required and gate.safety_reviewed_at is None
    ]
    lacking = (
        Adjudication.objects.visible_to(membership)
        .current()
        .filter(status=Status.INSUFFICIENT_DATA, participant__is_external=False)
        .select_related("participant__site")
        .order_by("participant__number", "endpoint")
    )
    return Worklist(
        tuple(unsigned) if membership.may(Permission.SIGN_SAFETY_REVIEW) else (),
        tuple(gate for gate in proposed if gate not in unsigned) if membership.may(Permission.DECIDE_GATE) else (),
        tuple(lacking) if membership.may(Permission.RECORD_OBSERVATION) else (),
        reads_independently(membership) and membership.trial.protocol.review.readers > 1,
    )


# --- What is to be decided again ----------------------------------------------------------------------------------


def noted(participants: Collection[int]) -> list[int]:
    """Those of ``participants`` whose data changed since their endpoints were decided."""
    return list(
        AdjudicationNeed.objects.filter(participant__in=participants)
        .order_by("participant_id")
        .values_list("participant_id", flat=True)
    )


def needing_adjudication(*, now: datetime, limit: int = 5000) -> list[int]:
    """Participants whose data are newer than their endpoint, have none yet, or whose window has passed meanwhile.

    The last need no note: a participant with an anchor and no result, one decided by an earlier version of the method,
    and one still open after a day on which that may have ended, are found from the rows themselves.
    """
    noted = list(
        AdjudicationNeed.objects.exclude(participant__enrolment=None, participant__is_external=False)
        .order_by("since")
        .values_list("participant_id", flat=True)[:limit]
    )
    due: set[int] = set()
    for trial in Trial.objects.filter(versions__status="ACTIVE").distinct():
        for endpoint in adjudicated(trial.protocol):
            due.update(_open_after_a_day_that_decides(trial, endpoint, now))
            due.update(_without_result(trial, endpoint.id))
            due.update(_decided_by_another_version(trial, endpoint))
    return [*noted, *sorted(due - set(noted))][:limit]


def _open_after_a_day_that_decides(trial: Trial, endpoint: EndpointSpec, now: datetime) -> set[int]:
    """Open results are asked again once a day has begun, at the site, that may decide them."""
    decisive = ANSWERS[endpoint.method].days(endpoint)
    first_day = trial.protocol.anchor.first_day
    waiting = Adjudication.objects.current().filter(participant__trial=trial, endpoint=endpoint.id)
    rows = waiting.filter(status=Status.PENDING) | waiting.filter(is_evaluable__isnull=True)
    due = set()
    for pk, zone, decided_at, day_0 in rows.annotate(day_0=datasets.anchor_day_of("participant")).values_list(
        "participant_id", "participant__site__time_zone", "created_at", "day_0"
    ):
        if day_0 is None:
            continue
        decided_on, today = datasets.today_at(zone, decided_at), datasets.today_at(zone, now)
        passed = [date_of_day(day, day_0, first_day) for day in decisive]
        if any(decided_on < day <= today for day in passed):
            due.add(pk)
    return due


def _without_result(trial: Trial, endpoint: str) -> set[int]:
    enrolled = datasets.with_anchor().filter(trial=trial, day_0__isnull=False)
    enrolled = enrolled.exclude(enrolment=None, is_external=False)
    have = Adjudication.objects.current().filter(endpoint=endpoint).values("participant")
    return set(enrolled.exclude(pk__in=have).values_list("pk", flat=True))


def _decided_by_another_version(trial: Trial, endpoint: EndpointSpec) -> set[int]:
    """Results of an earlier version of the method, or of another protocol version than the participant's now."""
    current = Adjudication.objects.current().filter(participant__trial=trial, endpoint=endpoint.id)
    outdated = current.exclude(method_version=ANSWERS[endpoint.method].version)
    outdated |= current.exclude(protocol_version=F("participant__protocol_version"))
    return set(outdated.values_list("participant_id", flat=True))
