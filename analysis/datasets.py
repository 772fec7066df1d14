"""What the endpoints and sets are computed from: plain rows in bulk, one query a subject, never one a participant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from django.db.models import OuterRef, Subquery

from analysis.domain.analysis_sets import Person
from analysis.domain.consecutive_threshold import CompetingEvent, Measurement
from analysis.models import Adjudication
from casebook import selectors as casebook
from casebook.domain.clinical_events import EventKind
from trials.domain.definition import EndpointSpec
from trials.domain.partial_dates import PartialDate
from trials.models import Anchor, Deviation, Participant, Trial


@dataclass(frozen=True)
class EndpointInputs:
    """Everything one participant's endpoint is decided on. Days count from the anchor; it is None while unknown."""

    participant: int
    protocol_version: int
    anchor_day: date | None
    removed: bool | None
    measurements: tuple[Measurement, ...] = ()
    competing: tuple[CompetingEvent, ...] = ()
    last_contact_day: int | None = None

    def as_plain(self) -> dict[str, object]:
        """The inputs as they are hashed and kept beside the result."""
        return {
            "anchor": self.anchor_day,
            "removed": self.removed,
            "measurements": [[m.row, m.day, m.value, m.qualifier] for m in self.measurements],
            "competing": [[e.row, e.kind, e.earliest_day, e.latest_day] for e in self.competing],
            "last_contact_day": self.last_contact_day,
        }


def endpoint_inputs(
    trial: Trial, endpoint: EndpointSpec, first_day: int, participants: Collection[int]
) -> Iterator[EndpointInputs]:
    """The inputs of ``endpoint`` for each of ``participants``, in the order of their ids."""
    series: dict[int, list[casebook.LabPoint]] = defaultdict(list)
    for point in casebook.lab_series(trial, endpoint.item, participants=participants):
        series[point.participant_id].append(point)
    happened: dict[int, list[casebook.EventPoint]] = defaultdict(list)
    for event in casebook.events_of_trial(trial, participants=participants):
        happened[event.participant_id].append(event)
    removed = removals(participants)
    people = _with_anchor().filter(pk__in=participants).order_by("pk").values_list("pk", "protocol_version_id", "day_0")
    for participant, version, day_0 in people:
        if day_0 is None:
            yield EndpointInputs(participant, version, None, removed.get(participant, False))
            continue

        def day(of: date, day_0: date = day_0) -> int:
            return (of - day_0).days + first_day

        contacts = [
            day(PartialDate.from_iso(e.occurred).latest)
            for e in happened[participant]
            if e.kind == EventKind.LAST_CONTACT
        ]
        yield EndpointInputs(
            participant,
            version,
            day_0,
            removed.get(participant, False),
            tuple(
                Measurement(day(p.sampled_on), p.value, p.qualifier, p.result_id)
                for p in sorted(series[participant], key=lambda p: (p.sampled_at, p.result_id))
            ),
            tuple(
                CompetingEvent(
                    str(e.kind),
                    day(PartialDate.from_iso(e.occurred).earliest),
                    day(PartialDate.from_iso(e.occurred).latest),
                    e.event_id,
                )
                for e in happened[participant]
                if e.kind in endpoint.competing
            ),
            max(contacts, default=None),
        )


def removals(participants: Collection[int]) -> Mapping[int, bool | None]:
    """Who a major deviation removed from the efficacy sets: yes, or (None) where a human's answer is awaited."""
    found: dict[int, bool | None] = {}
    deviations = Deviation.objects.filter(
        participant__in=participants, removes_from_efficacy=True, is_void=False
    ).values_list("participant_id", "is_confirmed")
    for participant, is_confirmed in deviations:
        if is_confirmed:
            found[participant] = True
        elif is_confirmed is None and not found.get(participant):
            found[participant] = None
    return found


def persons(trial: Trial, endpoint: str, *, site: int | None = None) -> list[Person]:
    """Every participant of the trial (at ``site``, if given) as the analysis sets ask of them."""
    kinds = {group.id: group.kind for group in trial.protocol.groups}
    people = _with_anchor().filter(trial=trial)
    if site is not None:
        people = people.filter(site_id=site)
    rows = list(
        people.annotate(
            evaluable=Subquery(
                Adjudication.objects.current()
                .filter(participant=OuterRef("pk"), endpoint=endpoint)
                .values("is_evaluable")[:1]
            )
        ).values_list("pk", "number", "screening_number", "group", "enrolment", "evaluable", "day_0", "is_external")
    )
    removed = removals([row[0] for row in rows])
    return [
        Person(
            participant=pk,
            number=number or screening_number,
            group=group,
            kind=kinds.get(group),
            is_enrolled=enrolment is not None or is_external,
            removed=removed.get(pk, False),
            evaluable=evaluable,
            anchor_day=day_0,
        )
        for pk, number, screening_number, group, enrolment, evaluable, day_0, is_external in rows
    ]


@dataclass(frozen=True)
class Evidence:
    """An adjudication as the pages, the gate and the exports read it."""

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
    detail: Mapping[str, object] = field(default_factory=dict)


def adjudications(trial: Trial, endpoint: str) -> Iterator[Evidence]:
    """The current adjudications of ``endpoint``, by date of the anchor."""
    rows = (
        Adjudication.objects.current()
        .filter(participant__trial=trial, endpoint=endpoint)
        .annotate(day_0=anchor_day_of("participant"))
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
            detail=row.evidence,
        )


def date_of(anchor_day: date | None, study_day: int | None, first_day: int) -> date | None:
    """The calendar date of a study day."""
    if anchor_day is None or study_day is None:
        return None
    return anchor_day + timedelta(days=study_day - first_day)


def anchor_day_of(reference: str) -> Subquery:
    return Subquery(Anchor.objects.filter(participant=OuterRef(reference)).order_by("-revision").values("day")[:1])


def _with_anchor():  # type: ignore[no-untyped-def]
    return Participant.objects.annotate(day_0=anchor_day_of("pk"))
