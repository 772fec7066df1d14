"""An extract of another system written into a trial: whole, in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from django.db import connection, transaction

from adverse_events import actions as adverse_events
from adverse_events.domain.reporting import Report
from audit.context import Source
from casebook import actions as casebook
from casebook.actions.entries import FormRow
from casebook.actions.events import EventRow
from casebook.actions.laboratory import DrawRow
from casebook.domain.results import Written
from dosing import actions as dosing
from dosing.actions import InfusionRow
from exchange.domain.extract import Extract, Person
from exchange.permissions import check_can_import_extract
from trials import actions as trials
from trials.actions import ControlRow
from trials.domain.lifecycle import ParticipantState
from trials.models import Deviation, Membership, Participant, Trial

Tell = Callable[[str], None]


def _quietly(line: str) -> None:
    return


@transaction.atomic
def import_extract(
    *, trial: Trial, extract: Extract, by: Membership, reason: str, tell: Tell = _quietly
) -> dict[str, int]:
    """Write everything ``extract`` holds through the actions of each floor; return how many rows of each kind.

    What is there already and says the same stays as it is, so that the same extract twice changes nothing. ``tell``
    hears a line of progress for each kind. Any refusal undoes the whole.
    """
    check_can_import_extract(by, trial)
    people = _controls(trial, extract, by, reason)
    people |= {one.subject: _person(trial, one, by, reason) for one in extract.people if not one.is_external}
    tell(f"{len(people)} people")
    visits = [(people[one.subject], one.visit, one.done_on) for one in extract.visits]
    trials.import_visits(rows=visits, by=by, reason=reason)
    tell(f"{len(visits)} visits")
    casebook.import_entries(
        rows=[FormRow(people[e.subject], e.form, e.answers, e.visit, e.repeat) for e in extract.entries],
        by=by,
        reason=reason,
        complete=extract.forms_are_complete,
    )
    tell(f"{len(extract.entries)} forms")
    casebook.import_draws(rows=_draws(extract, people), by=by, reason=reason)
    tell(f"{len(extract.results)} laboratory results")
    events = [EventRow(people[e.subject], e.kind, e.occurred, e.grade, e.detail, e.note) for e in extract.happenings]
    casebook.import_events(rows=events, by=by, reason=reason)
    tell(f"{len(events)} clinical events")
    for event in extract.adverse_events:
        participant = people[event.subject]
        adverse_events.record_adverse_event(
            participant=participant,
            report=_report(participant, event),
            external_id=event.number,
            by=by,
            source=Source.IMPORT,
            reason=reason,
        )
    tell(f"{len(extract.adverse_events)} adverse events")
    for plan in extract.plans:
        dosing.import_plan_of_record(
            participant=people[plan.subject],
            total_mg_per_kg=plan.total_mg_per_kg,
            weight_kg=plan.weight_kg,
            graft_source=plan.graft,
            start_day=plan.start_day,
            by=by,
        )
    infusions = [
        InfusionRow(people[i.subject], i.number, i.started_at, i.stopped_at, i.dose_mg, i.product, i.comment)
        for i in extract.infusions
    ]
    dosing.import_administrations(rows=infusions, by=by)
    tell(f"{len(extract.plans)} dose plans, {len(infusions)} infusions")
    for departure in extract.departures:
        trials.record_deviation(
            participant=people[departure.subject],
            rule=departure.rule,
            description=departure.description,
            is_major=True,
            removes_from_efficacy=True,
            is_confirmed=True,
            by=by,
            source=Deviation.Source.IMPORT,
        )
    _follow_up(extract, people, by, reason)
    if extract.accrual_closed_on is not None:
        trials.close_accrual(trial=trial, on=extract.accrual_closed_on, by=None, reason=reason)
    _have_the_rows_counted()
    return {
        "people": len(people),
        "forms": len(extract.entries),
        "laboratory results": len(extract.results),
        "clinical events": len(events),
        "adverse events": len(extract.adverse_events),
        "infusions": len(infusions),
    }


def _have_the_rows_counted() -> None:
    """Tell the database's planner how many rows there are now.

    It learns that by itself only some time after the commit. What reads the import until then (adjudication does, at
    once) would be planned for nearly empty tables, and a join of two of them takes minutes instead of a second.
    """
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _controls(trial: Trial, extract: Extract, by: Membership, reason: str) -> dict[str, Participant]:
    sites = {site.code: site for site in trial.sites.all()}
    rows = [
        ControlRow(
            sites[one.site], one.subject, one.screened_on, one.group, one.screening_number, one.birth_date, one.sex
        )
        for one in extract.people
        if one.is_external
    ]
    return trials.import_controls(trial=trial, rows=rows, by=by, reason=reason)


def _person(trial: Trial, person: Person, by: Membership, reason: str) -> Participant:
    site = trial.sites.get(code=person.site)
    participant = trials.import_participant(
        trial=trial,
        site=site,
        screened_on=person.screened_on,
        screening_number=person.screening_number,
        group=person.group,
        birth_date=person.birth_date,
        sex=person.sex,
        status=ParticipantState.SCREEN_FAILED if person.failure_reason else ParticipantState.SCREENING,
        failure_reason=person.failure_reason,
        by=by,
        reason=reason,
    )
    if person.consent_signed_on is not None and not participant.consents.exists():
        trials.record_consent(
            participant=participant,
            version=person.consent_version,
            signed_on=person.consent_signed_on,
            signatory=person.consent_signatory,
            by=by,
        )
    if person.enrolled_on is not None:
        trials.import_enrolment(
            participant=participant, enrolled_on=person.enrolled_on, number=person.subject, by=by, reason=reason
        )
    return Participant.objects.select_related("trial", "site", "protocol_version__trial").get(pk=participant.pk)


def _draws(extract: Extract, people: dict[str, Participant]) -> list[DrawRow]:
    """The results of one moment in one laboratory are one draw."""
    draws: dict[tuple[str, object, str], dict[str, Written]] = {}
    for result in extract.results:
        key = (result.subject, result.sampled_at, result.laboratory)
        draws.setdefault(key, {})[result.analyte] = Written(result.value, result.unit)
    return [
        DrawRow(people[subject], sampled_at, values, laboratory)  # type: ignore[arg-type]
        for (subject, sampled_at, laboratory), values in draws.items()
    ]


def _report(participant: Participant, event: Any) -> Report:
    """The event coded as the definition's report terms say; a term that they do not list is looked up as it stands."""
    policy = participant.protocol.adverse_events
    coded = next((t for t in policy.report_terms if t.reported.lower() == event.verbatim.lower()), None)
    term = coded.term if coded else event.verbatim
    product = policy.products[0] if policy.products else ""
    return Report(
        verbatim=event.verbatim,
        term=term,
        other_specify=event.verbatim if term.endswith("Other, specify") else "",
        grade=event.grade,
        started=event.started,
        ended=event.ended,
        is_ongoing=not event.ended and event.outcome == "not_recovered",
        outcome=event.outcome,
        is_serious=event.is_serious,
        relations={product: event.relation} if product and event.relation else {},
        note=event.note,
    )


def _follow_up(extract: Extract, people: dict[str, Participant], by: Membership, reason: str) -> None:
    """Who died, and (where the extract says that follow-up is complete) that it ended for everybody else."""
    died = {one.subject: date.fromisoformat(one.occurred) for one in extract.happenings if one.kind == "death"}
    for subject, participant in people.items():
        if participant.status != ParticipantState.ENROLLED:
            continue
        if subject in died:
            trials.record_death(participant=participant, on=died[subject], by=by, reason=reason, source=Source.IMPORT)
        elif extract.follow_up_is_complete:
            trials.complete_participant(participant=participant, by=by, reason=reason)
