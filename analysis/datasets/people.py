"""What endpoints, sets and figures are computed from: plain rows in bulk, one query a subject, never one a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import OuterRef, QuerySet, Subquery

from analysis.domain.analysis_sets import Person
from analysis.models import Adjudication
from casebook import selectors as casebook
from trials.domain.definition import CheckBy, EndpointSpec
from trials.domain.schedule import date_of_day, study_day
from trials.models import Anchor, Deviation, Participant, Trial

#: Participants whose records are in memory at a time.
AT_ONCE = 2000


def today_at(zone: str, now: datetime) -> date:
    """The calendar date at a site: a sample of this morning in Shanghai may be of tomorrow in UTC."""
    return now.astimezone(ZoneInfo(zone)).date()


def removals(trial: Trial, participants: Collection[int] | None) -> Mapping[int, bool | None]:
    """Who a major deviation removed from the efficacy sets: yes, or (None) where a human's answer is awaited.

    Of ``participants``, or (None) of everybody.
    """
    needs_human = {rule.id: rule.check is not CheckBy.AUTO for rule in trial.protocol.eligibility.removal}
    deviations = Deviation.objects.filter(participant__trial=trial)
    if participants is not None:
        deviations = deviations.filter(participant__in=participants)
    found: dict[int, bool | None] = {}
    for participant, rule, is_confirmed in _removing(deviations):
        if is_confirmed or (is_confirmed is None and not needs_human.get(rule, True)):
            found[participant] = True
        elif is_confirmed is None:
            found.setdefault(participant, None)
    return found


def removal_rules(participants: Collection[int]) -> Mapping[int, str]:
    """The rule that removed each participant, "" for one described in words only.

    Whom several rules remove is counted once, under the last by its id: a dose off its plan often follows from what a
    later rule names, such as a graft source that changed.
    """
    rules: dict[int, str] = {}
    for participant, rule, is_confirmed in _removing(Deviation.objects.filter(participant__in=participants)):
        if is_confirmed is not False:
            rules[participant] = rule
    return rules


def _removing(deviations: QuerySet[Deviation]) -> QuerySet[Deviation, tuple[int, str, bool | None]]:
    removing = deviations.filter(removes_from_efficacy=True, is_void=False).order_by("rule", "pk")
    return removing.values_list("participant_id", "rule", "is_confirmed")


def persons(
    trial: Trial,
    endpoint: str,
    *,
    site: int | None = None,
    items: Collection[str] = (),
    standing: QuerySet[Adjudication] | None = None,
) -> list[Person]:
    """Every participant of the trial (at ``site``, if given) as the analysis sets ask of them.

    ``items`` are the addresses whose values the sets of method ``with_value`` read; they are filled in. ``standing``
    are the adjudications that say who is evaluable, the first of each participant (None: the current ones).
    """
    if standing is None:
        standing = Adjudication.objects.current()
    kinds = {group.id: group.kind for group in trial.protocol.groups}
    people = with_anchor().filter(trial=trial).order_by("pk")
    if site is not None:
        people = people.filter(site_id=site)
    rows = list(
        people.annotate(
            evaluable=Subquery(
                standing.filter(participant=OuterRef("pk"), endpoint=endpoint).values("is_evaluable")[:1]
            )
        ).values_list(
            "pk",
            "number",
            "screening_number",
            "group",
            "enrolment",
            "evaluable",
            "day_0",
            "is_external",
            "status",
            "failure_reason",
            "site__code",
        )
    )
    removed = removals(trial, None if site is None else [row[0] for row in rows])
    values = _values(trial, [row[0] for row in rows], items) if items else {}
    return [
        Person(
            participant=pk,
            number=number or screening,
            group=group,
            kind=kinds.get(group),
            is_enrolled=enrolment is not None or is_external,
            removed=removed.get(pk, False),
            evaluable=evaluable,
            anchor_day=day_0,
            status=status,
            failure_reason=reason,
            site=code,
            values=values.get(pk, {}),
        )
        for pk, number, screening, group, enrolment, evaluable, day_0, is_external, status, reason, code in rows
    ]


def standing_at(cut: date) -> QuerySet[Adjudication]:
    """The adjudications recorded until the end of ``cut`` (UTC), newest first: the first of each is what stood then.

    Rows are never written over but for the mark of the current one, so that the past can be read from their times.
    """
    end = datetime.combine(cut + timedelta(days=1), time.min, tzinfo=UTC)
    return Adjudication.objects.filter(created_at__lt=end).order_by("-created_at", "-pk")


def _values(trial: Trial, participants: Collection[int], items: Collection[str]) -> dict[int, dict[str, str]]:
    """The value of each item by participant, in bulk: the latest answer of a typed one, or what it computes to."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    protocol = trial.protocol
    analytes = {f"{one.form}.{one.id}" for one in protocol.analytes}
    typed = {
        f"{form.id}.{item.id}"
        for form in protocol.forms
        for item in form.items
        if not item.computed and not form.repeating and form.id != "DM"
    }
    for address in analytes.intersection(items):
        for point in casebook.lab_series(trial, address, participants=participants):
            found[point.participant_id][address] = str(point.value)
    for form in {address.partition(".")[0] for address in typed.intersection(items)}:
        wanted = [address for address in items if address in typed and address.startswith(f"{form}.")]
        entries = list(casebook.entries_of_trial(trial, form=form, participants=participants))
        entries.sort(key=lambda entry: (entry.observed_on or date.min, entry.entry_id))
        for entry in entries:
            for address in wanted:
                answer = entry.answers.get(address.partition(".")[2])
                if answer is not None:
                    found[entry.participant_id][address] = answer.get("value", "")
    computed = [address for address in items if address not in analytes | typed]
    if computed:
        ordered = sorted(participants)
        for at in range(0, len(ordered), AT_ONCE):
            some = ordered[at : at + AT_ONCE]
            for pk, known in casebook.values_in_bulk(trial, participants=some, addresses=computed):
                found[pk] |= {name: str(seen.value) for name, seen in known.items() if seen.value is not None}
    return {pk: {address: value for address, value in own.items() if value != ""} for pk, own in found.items()}


@dataclass(frozen=True)
class Evidence:
    """An adjudication as the pages, the gate, the figures and the exports read it."""

    participant: int
    number: str
    site: str
    group: str
    status: str
    event_day: int | None
    event_date: date | None
    competing_kind: str
    evaluable: bool | None
    anchor_day: date | None
    decided_at: datetime
    detail: Mapping[str, object] = field(default_factory=dict)


def adjudications(trial: Trial, endpoint: str, *, site: int | None = None) -> Iterator[Evidence]:
    """The current adjudications of ``endpoint`` (at ``site``, if given), by date of the anchor."""
    rows = Adjudication.objects.current().filter(participant__trial=trial, endpoint=endpoint)
    if site is not None:
        rows = rows.filter(participant__site_id=site)
    rows = (
        rows.annotate(day_0=anchor_day_of("participant"))
        .select_related("participant__site")
        .order_by("day_0", "participant__number")
    )
    for row in rows.iterator(chunk_size=2000):
        yield Evidence(
            participant=row.participant_id,
            number=str(row.participant),
            site=row.participant.site.code,
            group=row.participant.group,
            status=row.status,
            event_day=row.event_day,
            event_date=row.event_date,
            competing_kind=row.competing_kind,
            evaluable=row.is_evaluable,
            anchor_day=row.day_0,
            decided_at=row.created_at,
            detail=row.evidence,
        )


@dataclass(frozen=True)
class DatedValue:
    """One result on its study day, as a curve draws it."""

    participant: int
    row: int
    day: int
    value: float
    as_written: str


def values_by_day(
    trial: Trial, endpoint: EndpointSpec, participants: Mapping[int, date], *, first_day: int, last_day: int
) -> list[DatedValue]:
    """Every result of the endpoint's analyte after the anchor and until ``last_day``.

    ``participants`` maps each participant to the date of the anchor.
    """
    values = []
    for point in casebook.lab_series(trial, endpoint.item, participants=list(participants)):
        day = study_day(point.sampled_on, participants[point.participant_id], first_day)
        if 0 < day <= last_day:
            written = f"{point.qualifier}{point.value.normalize():f} {point.unit}"
            values.append(DatedValue(point.participant_id, point.result_id, day, float(point.value), written))
    return values


def date_of(anchor_day: date | None, day: int | None, first_day: int) -> date | None:
    """The calendar date of a study day."""
    return None if anchor_day is None or day is None else date_of_day(day, anchor_day, first_day)


def anchor_day_of(reference: str) -> Subquery:
    return Subquery(Anchor.objects.filter(participant=OuterRef(reference)).order_by("-revision").values("day")[:1])


def with_anchor() -> QuerySet[Any]:
    """Participants with ``day_0``, the date of their anchor."""
    return Participant.objects.annotate(day_0=anchor_day_of("pk"))
