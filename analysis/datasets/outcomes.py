"""The analysis data set: every participant with sets, values and the answers of every endpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import reduce
from operator import or_

from django.utils import timezone

from analysis.datasets.people import AT_ONCE, Evidence, date_of, persons, standing_at
from analysis.datasets.recorded import records_of
from analysis.domain.analysis_sets import Person, items_read, members
from analysis.domain.dataset import Dataset, Subject
from analysis.domain.endpoint_answers import ANSWERS, Reads, evaluability
from analysis.domain.endpoint_outcomes import Outcome
from trials.domain.definition import EndpointSpec, Protocol
from trials.models import Trial


def dataset(
    trial: Trial,
    *,
    as_of: date | None = None,
    site: int | None = None,
    items: Collection[str] = (),
    endpoints: Collection[str] | None = None,
) -> Dataset:
    """Everybody of the trial (at ``site``, if given) on the data until ``as_of`` (None: until today).

    ``items`` are addresses whose values are wanted beside those that the analysis sets read; ``endpoints`` the ids of
    those to answer (None: every endpoint whose method answers for a participant).

    Who is evaluable on an earlier day is what was recorded by then. For whom nothing was, as in records entered
    afterwards, the method answers on the data until that day.
    """
    protocol = trial.protocol
    people = persons(
        trial,
        protocol.design.endpoint,
        site=site,
        items={*items, *items_read(protocol.analysis_sets)},
        standing=None if as_of is None else standing_at(as_of),
    )
    if as_of is not None:
        people = _evaluable_at(as_of, trial, protocol, people)
    return Dataset(
        trial=trial.code,
        protocol_version=protocol.version,
        as_of=as_of or timezone.localdate(),
        first_day=protocol.anchor.first_day,
        subjects=tuple(subjects(trial, protocol, people, as_of=as_of, endpoints=endpoints)),
    )


def _evaluable_at(cut: date, trial: Trial, protocol: Protocol, people: Sequence[Person]) -> list[Person]:
    """``people``, with an answer of the method on the data until ``cut`` for whom none was recorded by then."""
    endpoint = next((one for one in protocol.endpoints if one.id == protocol.design.endpoint), None)
    if endpoint is None or endpoint.method not in ANSWERS:
        return list(people)
    recorded = set(
        standing_at(cut)
        .filter(participant__trial=trial, endpoint=endpoint.id)
        .order_by()
        .values_list("participant_id", flat=True)
    )
    asked = [one.participant for one in people if one.is_enrolled and one.participant not in recorded]
    answer = ANSWERS[endpoint.method]
    decide, reads = answer.prepared(protocol, endpoint), answer.reads(endpoint)
    found: dict[int, bool | None] = {}
    for at in range(0, len(asked), AT_ONCE):
        for records in records_of(trial, reads, protocol.anchor.first_day, asked[at : at + AT_ONCE], as_of=cut):
            found[records.participant] = evaluability(decide(records), records).answer
    return [replace(one, evaluable=found[one.participant]) if one.participant in found else one for one in people]


def subjects(
    trial: Trial,
    protocol: Protocol,
    people: Sequence[Person],
    *,
    as_of: date | None = None,
    endpoints: Collection[str] | None = None,
) -> Iterator[Subject]:
    """One subject after the other, with memory for some of them only."""
    in_sets: dict[int, set[str]] = {person.participant: set() for person in people}
    for one in protocol.analysis_sets:
        for person in members(protocol.analysis_sets, one.id, people):
            in_sets[person.participant].add(one.id)
    wanted = [e for e in protocol.endpoints if e.method in ANSWERS and (endpoints is None or e.id in endpoints)]
    for at in range(0, len(people), AT_ONCE):
        some = people[at : at + AT_ONCE]
        answered = outcomes_of(trial, protocol, wanted, [person.participant for person in some], as_of=as_of)
        for person in some:
            yield Subject(
                participant=person.participant,
                number=person.number,
                site=person.site,
                group=person.group,
                kind=person.kind,
                anchor_day=person.anchor_day,
                sets=frozenset(in_sets[person.participant]),
                values=dict(person.values),
                outcomes=answered.get(person.participant, {}) if person.is_enrolled else {},
            )


def outcomes_of(
    trial: Trial,
    protocol: Protocol,
    endpoints: Sequence[EndpointSpec],
    participants: Collection[int],
    *,
    as_of: date | None = None,
) -> dict[int, dict[str, Outcome]]:
    """The answer of each endpoint in each participant, on the data until ``as_of``."""
    reads = reduce(or_, (ANSWERS[e.method].reads(e) for e in endpoints), Reads())
    prepared = {e.id: ANSWERS[e.method].prepared(protocol, e) for e in endpoints}
    return {
        records.participant: {name: answer(records) for name, answer in prepared.items()}
        for records in records_of(trial, reads, protocol.anchor.first_day, participants, as_of=as_of)
    }


def answered(trial: Trial, endpoint: EndpointSpec, people: Sequence[Person]) -> Iterator[Evidence]:
    """An endpoint that is not adjudicated, on the data of now, in the form of those that are."""
    protocol = trial.protocol
    enrolled = {person.participant: person for person in people if person.is_enrolled}
    now = timezone.now()
    for pk, outcomes in outcomes_of(trial, protocol, [endpoint], list(enrolled)).items():
        person, outcome = enrolled[pk], outcomes[endpoint.id]
        yield Evidence(
            participant=pk,
            number=person.number,
            site=person.site,
            group=person.group,
            status=outcome.status.value,
            event_day=outcome.event_day,
            event_date=date_of(person.anchor_day, outcome.event_day, protocol.anchor.first_day),
            competing_kind=outcome.competing_kind,
            evaluable=person.evaluable,
            anchor_day=person.anchor_day,
            decided_at=now,
            detail={
                "sentence": outcome.sentence,
                "competing_day": outcome.competing_day,
                "censored_day": outcome.censored_day,
            },
        )
