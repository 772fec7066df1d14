"""Reads of the trials floor, each as far as a membership sees."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from django.db.models import Count, F, OuterRef, Prefetch, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, NullIf
from django.utils import timezone

from accounts.roles import Permission
from audit.models import TrailRow
from trials.domain import language, schedule
from trials.domain.consent import SignedConsent
from trials.domain.definition import CheckBy, Group, GroupKind, Protocol, RemovalRule
from trials.domain.language import Change
from trials.domain.lifecycle import ParticipantState, VersionState
from trials.domain.schedule import PlannedVisit, WindowStatus
from trials.models import (
    Anchor,
    Consent,
    Deviation,
    EligibilityAssessment,
    EnrolmentCounter,
    Membership,
    Participant,
    ProtocolVersion,
    Replacement,
    Site,
    SiteApproval,
    Trial,
    Visit,
)

#: Whose planned visits somebody still waits for.
IN_FOLLOW_UP = (ParticipantState.SCREENING, ParticipantState.ELIGIBLE, ParticipantState.ENROLLED)


# --- Memberships --------------------------------------------------------------------------------------------------


def memberships_of(user: Any) -> list[Membership]:
    """The memberships the user holds today, trial by trial."""
    return list(
        Membership.objects.active_on(timezone.localdate())
        .filter(user_id=user.pk)
        .select_related("trial", "site", "user")
        .order_by("trial__code", "pk")
    )


def membership_for(*, user: Any, trial_code: str, chosen: int | None = None) -> Membership | None:
    """The membership the user acts with in the trial: the chosen one where it is theirs today, else the first."""
    mine = [membership for membership in memberships_of(user) if membership.trial.code == trial_code]
    return next((membership for membership in mine if membership.pk == chosen), mine[0] if mine else None)


def members_of(trial: Trial) -> QuerySet[Membership]:
    """Every membership there is or was: who had which right when."""
    return (
        Membership.objects.filter(trial=trial)
        .select_related("user", "site")
        .order_by(F("valid_until").desc(nulls_first=True), "user__username", "role")
    )


# --- Protocol and sites -------------------------------------------------------------------------------------------


def active_version(code: str) -> ProtocolVersion | None:
    """The version that is in force in the trial of that code; None where there is no such trial yet."""
    return ProtocolVersion.objects.filter(trial__code=code, status=VersionState.ACTIVE).select_related("trial").first()


def changes(active: ProtocolVersion, protocol: Protocol, *, code: str = "") -> tuple[Change, ...]:
    """What a definition would change against the active version, clause by clause."""
    return language.diff(active.protocol, replace(protocol, trial=code) if code else protocol)


def usable_version(site: Site, on: date) -> ProtocolVersion | None:
    """The newest published version that the site's ethics committee had approved on the day."""
    return (
        ProtocolVersion.objects.filter(
            trial_id=site.trial_id,
            status__in=[VersionState.ACTIVE, VersionState.SUPERSEDED],
            site_approvals__site=site,
            site_approvals__approved_on__lte=on,
        )
        .select_related("trial")
        .order_by("-activated_at", "-pk")
        .first()
    )


def sites_of(membership: Membership) -> QuerySet[Site]:
    """The sites that the membership reaches."""
    own = Site.objects.filter(trial_id=membership.trial_id).order_by("code")
    return own if membership.site_id is None else own.filter(pk=membership.site_id)


def sites_with_counts(membership: Membership) -> QuerySet[Site]:
    """The sites the membership reaches, with ``screened`` and ``enrolled``."""
    own = Q(participants__is_external=False)
    return sites_of(membership).annotate(
        screened=Count("participants", filter=own, distinct=True),
        enrolled=Count("participants", filter=own & Q(participants__enrolment__isnull=False), distinct=True),
    )


def approvals(trial: Trial) -> QuerySet[SiteApproval]:
    """From when which site may use which version."""
    return (
        SiteApproval.objects.filter(trial=trial)
        .select_related("site", "protocol_version__trial")
        .order_by("site__code", "-approved_on", "-pk")
    )


@dataclass(frozen=True)
class Section:
    """One top-level clause of a definition's text."""

    name: str
    first_line: int
    lines: tuple[tuple[str, str], ...]

    @property
    def anchor(self) -> str:
        return f"section-{self.name}"


def sections_of(text: str) -> list[Section]:
    """A definition's text by its top-level clauses, each line as its words and its comment; the text is kept whole."""
    sections: list[Section] = []
    lines: list[tuple[str, str]] = []
    name, first = "head", 1
    for number, line in enumerate(text.splitlines(), start=1):
        key = re.match(r"([a-z_]+):(?:\s|$)", line)
        if key and key[1] not in _IDENTITY:
            if lines:
                sections.append(Section(name, first, tuple(lines)))
            name, first, lines = key[1], number, []
        words, comment = line, ""
        if marked := re.search(r"(?:^|\s)#", line):
            words, comment = line[: marked.start()], line[marked.start() :]
        lines.append((words, comment))
    sections.append(Section(name, first, tuple(lines)))
    return sections


#: Top-level lines that make one section together: what the trial is called.
_IDENTITY = frozenset({"trial", "title", "version", "registry", "source", "capture", "note", "blinded_roles"})


def own_groups(protocol: Protocol) -> tuple[Group, ...]:
    """The groups that participants can come into; external controls are not among them."""
    return tuple(group for group in protocol.groups if group.kind is not GroupKind.EXTERNAL)


def may_see_group(membership: Membership, protocol: Protocol) -> bool:
    """Whether the membership may know who is in which group; where there is but one group, there is nothing to hide."""
    if membership.role in protocol.blinded_roles:
        return False
    return len(own_groups(protocol)) < 2 or membership.may(Permission.VIEW_ALLOCATION)


# --- Participants -------------------------------------------------------------------------------------------------


def participants(membership: Membership) -> QuerySet[Participant]:
    """The participants the membership sees, each with site, version, enrolment, anchor and the next planned visit.

    Annotated: ``code`` (the number, before enrolment the screening number), ``next_code``, ``next_date``,
    ``next_earliest``, ``next_latest``.
    """
    coming = Visit.objects.filter(
        participant=OuterRef("pk"), participant__status__in=IN_FOLLOW_UP, status=Visit.Status.PLANNED
    ).order_by(Coalesce("planned_date", "earliest_date").asc(nulls_last=True), "pk")
    return (
        Participant.objects.visible_to(membership)
        .select_related("site", "protocol_version__trial", "trial", "enrolment")
        .prefetch_related(Prefetch("anchors", Anchor.objects.order_by("revision")))
        .annotate(
            code=Coalesce(NullIf("number", Value("")), "screening_number"),
            next_code=Subquery(coming.values("code")[:1]),
            next_date=Subquery(coming.values("planned_date")[:1]),
            next_earliest=Subquery(coming.values("earliest_date")[:1]),
            next_latest=Subquery(coming.values("latest_date")[:1]),
        )
    )


def participant_for(membership: Membership, pk: int) -> Participant:
    """The participant, where the membership sees them; raises Participant.DoesNotExist."""
    return (
        Participant.objects.visible_to(membership)
        .select_related("site", "trial", "protocol_version__trial", "enrolment")
        .prefetch_related(Prefetch("anchors", Anchor.objects.order_by("revision")))
        .get(pk=pk)
    )


def participants_called(memberships: Iterable[Membership], code: str) -> list[tuple[Membership, Participant]]:
    """The participants of that number or screening number, in each trial the memberships reach."""
    found = []
    seen = set()
    for membership in memberships:
        mine = Participant.objects.visible_to(membership).select_related("trial", "site")
        for participant in mine.filter(number__iexact=code) | mine.filter(screening_number__iexact=code):
            if participant.pk not in seen:
                seen.add(participant.pk)
                found.append((membership, participant))
    return found


def signed_consents(participant: Participant) -> tuple[SignedConsent, ...]:
    """The consents that stand, as the domain judges them; a withdrawn one is not among them."""
    return signed_consents_of([participant.pk]).get(participant.pk, ())


def signed_consents_of(participants: Collection[int]) -> dict[int, tuple[SignedConsent, ...]]:
    """The consents that stand, of many participants."""
    standing: dict[int, list[SignedConsent]] = {}
    rows = Consent.objects.filter(participant__in=participants, withdrawn_on__isnull=True).order_by("signed_on", "pk")
    for one in rows:
        names = tuple(name.strip() for name in one.signatory.split(","))
        standing.setdefault(one.participant_id, []).append(SignedConsent(one.version, one.signed_on, names))
    return {pk: tuple(own) for pk, own in standing.items()}


def consent_choices(participant: Participant) -> tuple[list[str], list[str]]:
    """The consent versions that may be recorded for the participant, and everybody who may sign one."""
    current = usable_version(participant.site, timezone.localdate())
    protocols = [participant.protocol, *([current.protocol] if current else [])]
    documents = [one for protocol in protocols for one in protocol.consent.versions]
    versions = [one.version for one in documents if not one.sites or participant.site.code in one.sites]
    names = [name for protocol in protocols for rule in protocol.consent.signatories for name in rule.signatories]
    return list(dict.fromkeys(versions)), list(dict.fromkeys(names)) or ["participant"]


def latest_assessment(participant: Participant) -> EligibilityAssessment | None:
    return participant.assessments.select_related("assessed_by__user").order_by("-pk").first()


def counts_by_status(membership: Membership) -> dict[str, int]:
    """How many participants the membership sees in each state, external controls apart."""
    rows = Participant.objects.visible_to(membership).filter(is_external=False)
    counts = dict(rows.values_list("status").annotate(Count("pk")).order_by())
    return {state.value: counts.get(state.value, 0) for state in ParticipantState if state != ParticipantState.EXTERNAL}


# --- Visits -------------------------------------------------------------------------------------------------------


def with_shared(participants: QuerySet[Participant]) -> list[Participant]:
    """The participants with site, trial and protocol version, of which each is read once and not once a person."""
    people = list(participants)
    sites = Site.objects.in_bulk({one.site_id for one in people})
    versions = ProtocolVersion.objects.select_related("trial").in_bulk({one.protocol_version_id for one in people})
    for one in people:
        one.site, one.protocol_version = sites[one.site_id], versions[one.protocol_version_id]
        one.trial = one.protocol_version.trial
    return people


def planned_visits_of(participant: Participant, anchor_date: date | None = None) -> tuple[PlannedVisit, ...]:
    """The schedule of the participant's version and group; ``anchor_date`` asks *what if the date were this one*."""
    groups = own_groups(participant.protocol)
    group = participant.group or (groups[0].id if len(groups) == 1 else "")
    if anchor_date is None:
        latest = participant.anchors.order_by("-revision").first()
        anchor_date = latest.day if latest else None
    return schedule.planned_visits(participant.protocol, anchor_date, group=group)


@dataclass(frozen=True)
class VisitMove:
    """One visit, with its date as it is and as it would be."""

    code: str
    label: str
    old: date | None
    new: date | None
    done_on: date | None


def moves_of(participant: Participant, day: date) -> tuple[VisitMove, ...]:
    """What another anchor date would change, visit by visit."""
    wanted = {visit.code: visit for visit in planned_visits_of(participant, day)}
    moves = []
    for visit in visits_of(participant):
        planned = wanted.get(visit.code)
        if planned is not None:
            old, new = visit.planned_date or visit.earliest_date, planned.date or planned.earliest
            if old != new:
                moves.append(VisitMove(visit.code, visit.label, old, new, visit.done_on))
    return tuple(moves)


def visits_of(participant: Participant) -> QuerySet[Visit]:
    """The participant's visits in the order of time; while no date is known, in that of the schedule."""
    return participant.visits.order_by(Coalesce("earliest_date", "planned_date", "done_on").asc(nulls_last=True), "pk")


def window_status(visit: Visit, today: date) -> WindowStatus:
    """Where the visit stands against its window."""
    planned = PlannedVisit(
        code=visit.code,
        label=visit.label,
        day=visit.day,
        earliest_day=None,
        latest_day=None,
        date=visit.planned_date,
        earliest=visit.earliest_date,
        latest=visit.latest_date,
        forms=(),
        analytes=(),
    )
    return schedule.window_status(planned, today, visit.done_on)


@dataclass(frozen=True)
class VisitLine:
    """One visit as a list shows it: where it stands against its window, and on which study day it took place."""

    visit: Visit
    window: WindowStatus
    actual_day: int | None = None


def visit_lines(participant: Participant, today: date) -> list[VisitLine]:
    """The participant's visits, in order."""
    anchor, first_day = participant.anchor_date, participant.protocol.anchor.first_day
    return [
        VisitLine(
            visit,
            window_status(visit, today),
            schedule.study_day(visit.done_on, anchor, first_day) if visit.done_on and anchor else None,
        )
        for visit in visits_of(participant)
    ]


def due_visits(membership: Membership, today: date) -> QuerySet[Visit]:
    """Planned visits whose window is open or over, of participants in follow-up, the longest overdue first."""
    return (
        Visit.objects.filter(
            participant__in=Participant.objects.visible_to(membership),
            participant__status__in=IN_FOLLOW_UP,
            status=Visit.Status.PLANNED,
            earliest_date__lte=today,
        )
        .select_related("participant__site")
        .order_by("latest_date", "participant__number", "pk")
    )


# --- Deviations and places ----------------------------------------------------------------------------------------


def deviations(membership: Membership) -> QuerySet[Deviation]:
    return (
        Deviation.objects.filter(participant__in=Participant.objects.visible_to(membership))
        .select_related("participant__site", "participant__protocol_version__trial")
        .order_by("is_void", "-pk")
    )


def removal_rule(participant: Participant, rule: str) -> RemovalRule | None:
    """The protocol's rule of that id; None for a deviation that is recorded in words only."""
    return next((one for one in participant.protocol.eligibility.removal if one.id == rule), None)


def waits_for_confirmation(deviation: Deviation) -> bool:
    """Whether a person has still to say yes or no to it."""
    rule = removal_rule(deviation.participant, deviation.rule)
    return (
        not deviation.is_void and deviation.is_confirmed is None and rule is not None and rule.check is not CheckBy.AUTO
    )


def unconfirmed(rows: QuerySet[Deviation]) -> QuerySet[Deviation]:
    """Those that wait for a person's answer."""
    return rows.filter(pk__in=[row.pk for row in rows if waits_for_confirmation(row)])


@dataclass(frozen=True)
class Capacity:
    """The places of a trial. ``planned`` and ``free`` are None where the protocol plans no number."""

    planned: int | None
    replaced: int
    enrolled: int
    held_because: str
    closed_on: date | None

    @property
    def free(self) -> int | None:
        return None if self.planned is None else max(self.planned + self.replaced - self.enrolled, 0)

    @property
    def refusal(self) -> str:
        """Why nobody can be enrolled now; empty when somebody can."""
        if self.closed_on is not None:
            return f"Accrual ended on {self.closed_on:%d-%b-%Y}."
        if self.held_because:
            return f"Enrolment is on hold: {self.held_because}"
        if self.free == 0:
            places = f"{self.planned} planned" + (f" and {self.replaced} to be replaced" if self.replaced else "")
            return f"All places are taken ({places}). A place opens when a participant has to be replaced."
        return ""


def capacity(trial: Trial, protocol: Protocol | None = None) -> Capacity:
    """How many places there are and how many are taken; external controls take none.

    While a stage of the design matures, only the places of the stages that a gate has opened count.
    """
    protocol = protocol or trial.protocol
    counter = EnrolmentCounter.objects.get(trial=trial)  # never the row that a long-lived object remembers
    counts = [group.planned for group in own_groups(protocol)]
    known = [count for count in counts if count is not None]
    planned = sum(known) if known and len(known) == len(counts) else protocol.design.planned
    stages = protocol.design.stages
    if protocol.design.hold_enrolment and stages and counter.stage <= len(stages):
        planned = stages[counter.stage - 1].n
    return Capacity(
        planned=planned,
        replaced=Replacement.objects.filter(participant__trial=trial, is_open=True).count(),
        enrolled=Participant.objects.filter(trial=trial, is_external=False).enrolled().count(),
        held_because=counter.held_because,
        closed_on=counter.closed_on,
    )


# --- The trail ----------------------------------------------------------------------------------------------------

#: Tables whose rows tell a reader of the trail the group: by the allocation, by the dose, or in results by group. The
#: export of the trail leaves out the same ones.
TABLES_THAT_TELL_THE_GROUP = (
    "trials_allocation",
    "trials_allocationlist",
    "dosing_doseworksheet",
    "dosing_doseverification",
    "dosing_doserelease",
    "dosing_administration",
    "dosing_cardcopy",
    "dosing_courseend",
    "analysis_run",
)
#: Rows that hold numbers of every site: a membership of one site does not read them.
_ALL_SITES_TABLES = ("analysis_run",)


@dataclass(frozen=True)
class TrailLine:
    """One change as the viewer shows it: who, when, why, and each field's old and new value."""

    row: TrailRow
    participant: Participant | None
    what: str
    fields: tuple[tuple[str, str, str], ...]


def trail(
    membership: Membership,
    *,
    participant: str = "",
    who: str = "",
    since: date | None = None,
    source: str = "",
) -> QuerySet[TrailRow]:
    """What changed in the trial, newest first, as far as the membership sees participants; never by other sites.

    Roles that may not know the groups see no allocation, nor a change of a participant's group.
    """
    rows = TrailRow.objects.filter(chain=f"trial:{membership.trial_id}")
    if membership.site_id is not None:
        rows = rows.exclude(table_name__in=_ALL_SITES_TABLES)
    if membership.site_id is not None or participant:
        people = Participant.objects.visible_to(membership)
        if participant:
            people = people.filter(Q(number__iexact=participant) | Q(screening_number__iexact=participant))
            rows = rows.filter(participant_id__in=people.values("pk"))
        else:
            rows = rows.filter(Q(participant_id__isnull=True) | Q(participant_id__in=people.values("pk")))
    if not may_see_group(membership, membership.trial.protocol):
        rows = rows.exclude(table_name__in=TABLES_THAT_TELL_THE_GROUP)
    if who:
        rows = rows.filter(user_name__icontains=who)
    if since is not None:
        rows = rows.filter(at__date__gte=since)
    if source:
        rows = rows.filter(source=source)
    return rows.order_by("-seq")


def trail_lines(membership: Membership, rows: Iterable[TrailRow]) -> list[TrailLine]:
    """The rows of one page with their participants and their fields in words."""
    rows = list(rows)
    people = Participant.objects.in_bulk({row.participant_id for row in rows if row.participant_id})
    hidden = set() if may_see_group(membership, membership.trial.protocol) else {"group"}
    lines = []
    for row in rows:
        old, new = _fields(row.old), _fields(row.new)
        changed = tuple(
            (name, _shown(old.get(name)), _shown(new.get(name)))
            for name in dict.fromkeys([*old, *new])
            if name not in hidden and (row.operation == "UPDATE" or _shown(new.get(name, old.get(name))))
        )
        what = row.table_name.partition("_")[2] if not row.table_name.startswith("adverse") else "adverse event"
        lines.append(TrailLine(row, people.get(row.participant_id or 0), what, changed))
    return lines


def _fields(values: dict[str, Any] | None) -> dict[str, Any]:
    """The fields of a trail row; those of a form's answers stand beside the row's own."""
    fields = dict(values or {})
    answers = fields.pop("answers", None) or {}
    return fields | {f"answers.{name}": answer for name, answer in answers.items()}


def _shown(value: object) -> str:
    """A value on one line; an answer by its value, anything long by its beginning."""
    if isinstance(value, dict) and "value" in value:
        value = value["value"] or value.get("missing_reason", "")
    text = "" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
