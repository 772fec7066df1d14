"""Cases for independent readers: what is to be read, on which data, and how well the readers agreed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from analysis import datasets
from analysis.domain.agreement import Agreement, cohen_kappa
from analysis.domain.endpoint_answers import ANSWERS
from analysis.domain.fingerprints import fingerprint
from analysis.domain.readings import ANSWERS as READING_ANSWERS
from analysis.domain.readings import Case, CaseState, Vote, case_on
from analysis.domain.records import Entered, Records
from analysis.models import Adjudication, Reading
from analysis.selectors.signed import Signed, signature_of
from trials.domain.definition import EndpointRole, EndpointSpec, Item, Protocol
from trials.domain.figures import Table, unit_words
from trials.models import Membership, Participant, Trial


@dataclass(frozen=True)
class CaseNow:
    """One case on the data of now."""

    participant: Participant
    endpoint: EndpointSpec
    records: Records
    evidence_sha256: str
    case: Case


@dataclass(frozen=True)
class QueueRow:
    """A case in the list of a reader; ``state`` as far as this reader may know it."""

    participant: int
    number: str
    endpoint: str
    label: str
    state: str


def read_endpoints(protocol: Protocol) -> list[EndpointSpec]:
    """The endpoints that people read: the primary ones."""
    return [one for one in protocol.endpoints if one.role is EndpointRole.PRIMARY and one.method in ANSWERS]


def case_of(participant: Participant, endpoint: str) -> CaseNow:
    """The case of one participant; KeyError for an endpoint that is not read."""
    protocol = participant.protocol
    spec = next((one for one in read_endpoints(protocol) if one.id == endpoint), None)
    if spec is None:
        raise KeyError(endpoint)
    (records,) = datasets.records_of(
        participant.trial, ANSWERS[spec.method].reads(spec), protocol.anchor.first_day, [participant.pk]
    )
    sha256 = evidence_sha256(records)
    votes = _votes(participant.trial, spec.id, [participant.pk])[participant.pk]
    return CaseNow(participant, spec, records, sha256, case_on(votes, sha256))


def evidence_sha256(records: Records) -> str:
    """The hash of what a reader is shown."""
    return fingerprint(records.as_plain())


def _votes(trial: Trial, endpoint: str, participants: Collection[int]) -> dict[int, list[Vote]]:
    rows = Reading.objects.filter(participant__trial=trial, endpoint=endpoint, participant__in=participants)
    votes: dict[int, list[Vote]] = defaultdict(list)
    for pk, reader, position, answer, sha256 in rows.order_by("pk").values_list(
        "participant_id", "reader__user_id", "position", "answer", "evidence_sha256"
    ):
        votes[pk].append(Vote(reader, position, answer, sha256))
    return votes


def _cases(membership: Membership) -> list[tuple[Participant, EndpointSpec, Case]]:
    trial = membership.trial
    people = {
        person.pk: person
        for person in Participant.objects.visible_to(membership)
        .filter(enrolment__isnull=False, is_external=False)
        .select_related("site")
    }
    found = []
    protocol = trial.protocol
    for spec in read_endpoints(protocol):
        votes = _votes(trial, spec.id, list(people))
        reads = ANSWERS[spec.method].reads(spec)
        for records in datasets.records_of(trial, reads, protocol.anchor.first_day, list(people)):
            case = case_on(votes.get(records.participant, ()), evidence_sha256(records))
            found.append((people[records.participant], spec, case))
    return found


def queue(membership: Membership) -> list[QueueRow]:
    """The cases in the order of their numbers; what still wants this reader comes first.

    A reader is told of a case whether it wants them. Whether another person has read it is not said.
    """
    rows = []
    for person, spec, case in _cases(membership):
        wants = case.wants(membership.user_id)
        state = (
            ("to settle" if case.state is CaseState.DISCORDANT else "to read")
            if wants
            else "read by you" if case.voted(membership.user_id) else "closed"
        )  # fmt: skip
        rows.append(QueueRow(person.pk, str(person), spec.id, spec.label, state))
    order = {"to settle": 0, "to read": 1, "read by you": 2, "closed": 3}
    return sorted(rows, key=lambda row: (order[row.state], row.number, row.endpoint))


def evidence_tables(case: CaseNow) -> list[tuple[str, Table]]:
    """Everything that the endpoint rests on, by study day: results, events, forms."""
    tables = []
    for address, values in case.records.results.items():
        unit = unit_words(case.participant.protocol.analyte(address).canonical_unit)
        rows = tuple((v.day, f"{v.qualifier}{v.value.normalize():f} {unit}", v.assay) for v in values)
        tables.append((case.participant.protocol.analyte(address).label, Table(("Day", "Value", "Laboratory"), rows)))
    if case.records.events:
        happened = tuple(
            (
                e.earliest_day if e.earliest_day == e.latest_day else f"{e.earliest_day} to {e.latest_day}",
                e.kind.replace("_", " "),
                e.grade,
                ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in e.detail.items() if value),
            )
            for e in case.records.events
        )
        tables.append(("Clinical events", Table(("Day", "Event", "Grade", "Details"), happened)))
    for form, entries in case.records.entries.items():
        spec = case.participant.protocol.form(form)
        items = [item for item in spec.items if any(item.id in entry.answers for entry in entries)]
        rows_of_form = [
            (_day_words(case.records, entry.answers.get(spec.order_by, "")), *(_said(item, entry) for item in items))
            for entry in sorted(entries, key=lambda entry: entry.answers.get(spec.order_by, ""))
        ]
        tables.append((spec.label, Table(("Day", *(item.label for item in items)), tuple(rows_of_form))))
    return tables


def _day_words(records: Records, text: str) -> str:
    """The study day of a date, where it is known whole."""
    try:
        return str(records.day_of(date.fromisoformat(text[: len("2017-03-05")])))
    except ValueError:
        return ""


def _said(item: Item, entry: Entered) -> str:
    """An answer as a reader says it: a code by its label."""
    value = entry.answers.get(item.id, "")
    return next((code.label for code in item.codes if code.value == value), value)


def proposal_for(membership: Membership, case: CaseNow) -> Adjudication | None:
    """What the rule says, once this reader cannot be led by it any more."""
    if not case.case.shows_proposal_to(membership.user_id):
        return None
    return Adjudication.objects.current().filter(participant=case.participant, endpoint=case.endpoint.id).first()


def readings_for(membership: Membership, case: CaseNow) -> list[tuple[Reading, Signed | None]]:
    """The readings that this reader may see: their own, and the others once they could lead nobody any more.

    The signature, which names the reader, stands beside the own one, and beside all once the case is closed: whoever
    settles a difference decides between two answers, not between two people.
    """
    rows = Reading.objects.filter(
        participant=case.participant, endpoint=case.endpoint.id, evidence_sha256=case.evidence_sha256
    ).select_related("reader__user", "signature__by")
    if not case.case.shows_votes_to(membership.user_id):
        rows = rows.filter(reader__user=membership.user_id)
    return [
        (one, signature_of(one) if case.case.answer or one.reader.user_id == membership.user_id else None)
        for one in rows.order_by("position")
    ]


@dataclass(frozen=True)
class AgreementNow:
    """How the first two readers agree on one endpoint, and the cases on which they, or the rule, differ.

    A discordant case ends with what the third reader said, empty while nobody has settled it.
    """

    endpoint: EndpointSpec
    agreement: Agreement | None
    discordant: tuple[tuple[int, str, str, str, str], ...]
    against_rule: tuple[tuple[int, str, str, str], ...]
    read: int
    cases: int


def agreement(membership: Membership) -> list[AgreementNow]:
    """For who looks at results: agreement by endpoint, on the cases that two have read."""
    by_endpoint: dict[str, list[tuple[Participant, Case]]] = defaultdict(list)
    specs = {spec.id: spec for spec in read_endpoints(membership.trial.protocol)}
    for person, spec, case in _cases(membership):
        by_endpoint[spec.id].append((person, case))
    found = []
    for name, spec in specs.items():
        both = [(person, case) for person, case in by_endpoint[name] if len(case.votes) >= 2]
        rule = dict(
            Adjudication.objects.current()
            .filter(endpoint=name, participant__in=[person.pk for person, _ in both])
            .values_list("participant_id", "status")
        )
        words = READING_ANSWERS
        found.append(
            AgreementNow(
                spec,
                cohen_kappa(
                    [case.votes[0].answer for _, case in both],
                    [case.votes[1].answer for _, case in both],
                    categories=list(words),
                )
                if both
                else None,
                tuple(
                    (
                        person.pk,
                        str(person),
                        words[case.votes[0].answer],
                        words[case.votes[1].answer],
                        words.get(case.answer, ""),
                    )
                    for person, case in both
                    if case.votes[0].answer != case.votes[1].answer
                ),
                tuple(
                    (person.pk, str(person), words[case.answer], rule.get(person.pk, "no result").replace("_", " "))
                    for person, case in both
                    if case.answer in ("reached", "not_reached")
                    and (rule.get(person.pk) == "reached") != (case.answer == "reached")
                ),
                len(both),
                len(by_endpoint[name]),
            )
        )
    return found
