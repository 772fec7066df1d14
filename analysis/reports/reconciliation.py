"""The published numbers of a trial beside those of its live data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from adverse_events import selectors as adverse_events
from analysis import datasets
from analysis.domain.analysis_sets import members
from analysis.domain.consecutive_threshold import Rule, Status, adjudicate
from analysis.domain.dataset import time_of
from analysis.domain.endpoint_answers import ANSWERS
from analysis.domain.endpoint_outcomes import Outcome
from analysis.domain.reconciliation import AdverseEventCell, Because, Case, Facts, Reconciled, reconcile
from analysis.domain.simon import TwoStage
from analysis.models import Adjudication, Gate
from casebook import selectors as casebook
from casebook.domain.clinical_events import EventKind
from dosing import selectors as dosing
from trials.domain.definition import EndpointSpec
from trials.domain.documents import Document, Heading, Notice, Paragraph, TableBlock
from trials.domain.figures import Table
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import study_day
from trials.models import Membership, Participant, Trial
from trials.selectors import may_see_group

PUBLISHED = Path(__file__).parent.parent / "published"


NO_RESPONSE = "NR"


class NothingPublished(Exception):
    """No published numbers are known of this definition."""


def published_rows(definition: str) -> Sequence[Mapping[str, Any]]:
    """The published numbers of a definition, as data."""
    file = PUBLISHED / f"{definition}.yaml"
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in PUBLISHED.glob("*.yaml")))
        raise NothingPublished(f"No published numbers are known of {definition}; there are those of {known}.")
    rows: Sequence[Mapping[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["rows"]
    return rows


def is_published(definition: str) -> bool:
    return (PUBLISHED / f"{definition}.yaml").exists()


def reconciliation(trial: Trial) -> tuple[Reconciled, ...]:
    """Every published number of the trial's definition beside the one its live data give."""
    return reconcile(published_rows(trial.code), facts(trial))


@dataclass(frozen=True)
class ForMember:
    """The rows a membership may see, or the sentence that says why there are none."""

    rows: tuple[Reconciled, ...] = ()
    nothing: str = ""

    @property
    def reasons(self) -> list[tuple[str, int]]:
        return reasons(self.rows)


def reasons(rows: Sequence[Reconciled]) -> list[tuple[str, int]]:
    """Where the differences lie, and how many lie there."""
    return [
        (why.value, count) for why in Because if (count := sum(row.because is why and not row.agrees for row in rows))
    ]


def for_member(membership: Membership) -> ForMember:
    """The reconciliation as ``membership`` may see it: it is of the whole trial, and compares its groups."""
    if membership.site_id is not None:
        return ForMember(nothing="Published numbers are of the whole trial; they are shown to members of all sites.")
    if not may_see_group(membership, membership.trial.protocol):
        return ForMember(nothing="Published numbers compare the groups; they are hidden while you are blinded.")
    try:
        return ForMember(rows=reconciliation(membership.trial))
    except NothingPublished as nothing:
        return ForMember(nothing=str(nothing))


def as_document(trial: Trial, found: ForMember) -> Document:
    """The reconciliation as a document: every row, then why the numbers differ."""
    if not found.rows:
        return Document(title=f"Published and computed: {trial.code}", blocks=(Notice(found.nothing),))
    agree = sum(row.agrees for row in found.rows)
    columns = ("Row", "Quantity", "Published", "Canopy", "Method", "Agrees")
    cells = tuple(
        (row.id, row.quantity, row.published, row.computed, row.method, "yes" if row.agrees else "no")
        for row in found.rows
    )
    differing = tuple(
        (row.id, row.published, row.computed, row.because.value if row.because else "", row.explanation)
        for row in found.rows
        if not row.agrees
    )
    return Document(
        title=f"Published and computed: {trial.code}",
        subtitle=trial.protocol.source,
        blocks=(
            Paragraph(f"{agree} of {len(found.rows)} numbers are as published; every difference says why."),
            TableBlock("Every published number beside that of the data", Table(columns, cells)),
            Heading("Differences explained"),
            TableBlock("Where they lie", Table(("Where the difference lies", "Numbers"), tuple(found.reasons))),
            TableBlock("Why they differ", Table(("Row", "Published", "Canopy", "Where it lies", "Why"), differing)),
        ),
        footer=f"{trial.code}, protocol version {trial.protocol.version}",
    )


def facts(trial: Trial) -> Facts:
    """What the published numbers are computed from, read in bulk."""
    protocol = trial.protocol
    endpoint = protocol.endpoint(protocol.design.endpoint)
    rule = Rule.from_parameters(endpoint.parameters) if endpoint.method == "consecutive_threshold" else None
    persons = datasets.persons(trial, endpoint.id)
    cases = _cases(trial, endpoint, rule, {person.participant: person.kind for person in persons})
    stages = protocol.design.stages
    return Facts(
        cases=tuple(cases),
        sets={
            each.id: frozenset(person.number for person in members(protocol.analysis_sets, each.id, persons))
            for each in protocol.analysis_sets
        },
        gates={gate.stage: (gate.responders or 0, gate.evaluable or 0) for gate in Gate.objects.filter(trial=trial)},
        adverse_events=tuple(
            AdverseEventCell(str(event.participant_id), event.category, event.verbatim, event.grade)
            for event in adverse_events.events_of_trial(trial)
        ),
        design=TwoStage(
            r1=int(stages[0].continue_if_at_least or 0) - 1,
            n1=stages[0].n,
            r=int(stages[1].succeed_if_at_least or 0) - 1,
            n=stages[1].n,
        )
        if protocol.design.method == "simon_two_stage"
        else None,
        null=float(protocol.design.null) if protocol.design.null is not None else None,
        alternative=float(protocol.design.alternative) if protocol.design.alternative is not None else None,
        last_day=rule.confirm_last_day if rule is not None else 0,
        first_day=protocol.anchor.first_day,
    )


def _cases(trial: Trial, endpoint: EndpointSpec, rule: Rule | None, kinds: Mapping[int, object]) -> list[Case]:
    participants = list(Participant.objects.filter(trial=trial).order_by("pk"))
    ids = [participant.pk for participant in participants]
    first_day = trial.protocol.anchor.first_day
    inputs = {}
    if rule is not None:
        reads = ANSWERS[endpoint.method].reads(endpoint)
        inputs = {one.participant: one for one in datasets.records_of(trial, reads, first_day, ids)}
    anchors = dict(datasets.with_anchor().filter(trial=trial).values_list("pk", "day_0"))
    answering = [each for each in trial.protocol.endpoints if each.method in ANSWERS]
    responses = {each.id for each in answering if each.method in ("response_on_day", "best_response")}
    answered = datasets.outcomes_of(trial, trial.protocol, answering, ids)
    standing = {
        row.participant_id: row
        for row in Adjudication.objects.current().filter(endpoint=endpoint.id, participant__in=ids)
    }
    removed = datasets.removal_rules(ids)
    values, rows = _recorded(trial, anchors, first_day)
    derived = [spec.id for spec in trial.protocol.derived]
    for pk, known in casebook.values_in_bulk(trial, participants=ids, addresses=derived):
        values[pk] |= {address: str(seen.value) for address, seen in known.items() if seen.value is not None}
    events = _first_days(trial, anchors, first_day)
    given = dosing.given_by_participant(trial)
    cases = []
    for participant in participants:
        pk, one, row = participant.pk, inputs.get(participant.pk), standing.get(participant.pk)
        dose = given.get(pk)
        met = False
        if rule is not None and one is not None and one.anchor_day is not None:
            alone = adjudicate(rule, one.measurements(endpoint.item), as_of_day=(date.max - one.anchor_day).days)
            met = alone.status is Status.REACHED
        outcomes = answered.get(pk, {})
        values[pk] |= _responses(outcomes, responses)
        values[pk] |= {"group": participant.group, "rule.met": _met(row, met)}
        if anchors.get(pk) is not None:
            values[pk]["anchor.year"] = str(anchors[pk].year)
        values[pk] |= {f"rows.{form}": str(len(own)) for form, own in rows[pk].items()}
        values[pk]["event.death"] = "Y" if "death" in events[pk] else "N"
        cases.append(
            Case(
                number=str(participant),
                group=participant.group,
                is_external=participant.is_external,
                is_enrolled=kinds.get(pk) is not None,
                failure_reason=participant.failure_reason,
                removed_by=removed.get(pk, ""),
                evaluable=row.is_evaluable if row else None,
                status=row.status if row else "",
                met_rule=met,
                event_day=row.event_day if row else None,
                competing_kind=row.competing_kind if row else "",
                competing_day=row.evidence.get("competing_day") if row else None,
                censored_day=row.evidence.get("censored_day") if row else None,
                values={**values[pk], "DM.SEX": {"male": "M", "female": "F"}.get(participant.sex, "")},
                rows={form: tuple(own) for form, own in rows[pk].items()},
                events=events[pk],
                times=_times(outcomes, first_day),
                given_mg=dose.mg if dose else None,
                first_given_day=_day(dose.first_on, anchors.get(pk), first_day) if dose else None,
                followed_to_day=events[pk].get(EventKind.LAST_CONTACT),
                given_mg_per_kg=dose.mg_per_kg if dose else None,
                given_over_planned=dose.over_planned if dose else None,
            )
        )
    return cases


def _responses(answered: Mapping[str, Outcome], responses: Collection[str]) -> dict[str, str]:
    """``response.<endpoint>``: the class of a response that counts, NR for none, nothing while it is open."""
    return {
        f"response.{name}": outcome.classification if outcome.status is Status.REACHED else NO_RESPONSE
        for name, outcome in answered.items()
        if name in responses and outcome.status is not Status.INSUFFICIENT_DATA
    }


def _met(row: Adjudication | None, met: bool) -> str:
    """``rule.met``: whether the measurements meet the primary rule; nothing where they are too few to tell."""
    if row is None or (row.status == Status.INSUFFICIENT_DATA and not met):
        return ""
    return "Y" if met else "N"


def _times(answered: Mapping[str, Outcome], first_day: int) -> dict[str, tuple[int, int]]:
    """Days and cause of each endpoint that has a time."""
    timed = {name: time_of(outcome, first_day=first_day) for name, outcome in answered.items()}
    return {name: (time.days, time.cause) for name, time in timed.items() if time is not None}


def _day(on: date, anchor: date | None, first_day: int) -> int | None:
    return None if anchor is None else study_day(on, anchor, first_day)


def _recorded(
    trial: Trial, anchors: Mapping[int, date | None], first_day: int
) -> tuple[dict[int, dict[str, str]], dict[int, dict[str, list[dict[str, str]]]]]:
    """The answers of each participant by address, and the rows of the repeating forms with their study day."""
    values: dict[int, dict[str, str]] = defaultdict(dict)
    rows: dict[int, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    repeating = {form.id for form in trial.protocol.forms if form.repeating}
    for entry in casebook.entries_of_trial(trial):
        said = {name: str(answer["value"]) for name, answer in entry.answers.items() if answer.get("value")}
        if entry.form not in repeating:
            values[entry.participant_id] |= {f"{entry.form}.{name}": value for name, value in said.items()}
            continue
        anchor = anchors.get(entry.participant_id)
        if anchor is not None and entry.observed_on is not None:
            said["DAY"] = str(study_day(entry.observed_on, anchor, first_day))
        rows[entry.participant_id][entry.form].append(said)
    return values, rows


def _first_days(trial: Trial, anchors: Mapping[int, date | None], first_day: int) -> Mapping[int, dict[str, int]]:
    """The study day of each participant's first event of a kind; of the last contact, the last."""
    days: dict[int, dict[str, int]] = defaultdict(dict)
    for event in casebook.events_of_trial(trial):
        anchor = anchors.get(event.participant_id)
        exact = PartialDate.from_iso(event.occurred).exact
        if anchor is None or exact is None:
            continue
        day = study_day(exact, anchor, first_day)
        own = days[event.participant_id]
        if event.kind == EventKind.LAST_CONTACT:
            own[event.kind] = max(day, own.get(event.kind, day))
            continue
        for name in (event.kind, *([f"{event.kind}:{event.grade}"] if event.grade else [])):
            own[name] = min(day, own.get(name, day))
    return days


def as_page(trial_code: str, rows: Sequence[Reconciled]) -> str:
    """The reconciliation as a page of the documentation (Markdown)."""
    agree = sum(row.agrees for row in rows)
    lines = [
        f"# Published and computed: {trial_code}",
        "",
        "Generated by `manage.py reconcile` from the reconstruction in `exchange/reconstructions`; a test compares it",
        f"with the live data. {agree} of {len(rows)} numbers are as published; every difference says why.",
        "",
        "| | id | quantity | published | Canopy | method |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        mark = "=" if row.agrees else "≠"
        lines.append(f"| {mark} | `{row.id}` | {row.quantity} | {row.published} | {row.computed} | {row.method} |")
    lines += ["", "## Differences explained", "", "| where the difference lies | numbers |", "|---|---|"]
    lines += [f"| {why} | {count} |" for why, count in reasons(rows)]
    lines += [""]
    lines += [
        f"- `{row.id}`: published {row.published}, computed {row.computed}. "
        + (f"{row.because.value.capitalize()}: " if row.because and not row.agrees else "")
        + row.explanation
        for row in rows
        if row.explanation
    ]
    return "\n".join(lines) + "\n"
