"""Adverse events recorded, corrected, and set aside. Refused whole with every reason, or kept whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from adverse_events import selectors
from adverse_events.domain.reporting import Report, category_of, problems
from adverse_events.domain.wording import WordingTable, read_wordings
from adverse_events.formats import site_today
from adverse_events.models import AdverseEvent, TermWording
from adverse_events.permissions import check_can_correct, check_can_record
from audit import context
from audit.context import Source
from trials.models import Membership, Participant
from trials.permissions import NotPossible

#: Longest name that an event may have where it comes from, as its column holds it.
MOST_OF_A_NAME = 40


class Conflict(NotPossible):
    """Somebody changed the event meanwhile; the message says what to do."""


@transaction.atomic
def record_adverse_event(
    *,
    participant: Participant,
    report: Report,
    by: Membership | None,
    external_id: str = "",
    source: Source = Source.USER,
    reason: str = "",
) -> AdverseEvent:
    """Record one adverse event, coded to the dictionary of the participant's protocol version.

    ``external_id`` names the event where it comes from: its number in a file, or the form it was typed into. The same
    again is the event that is recorded already. An import corrects it where the file differs (not one that was set
    aside since); a person corrects it with a reason, so other content under the same name is a Conflict.

    Raises ValidationError with every reason for which the event is refused.
    """
    check_can_record(by, participant, source)
    if len(external_id) > MOST_OF_A_NAME:
        raise ValidationError({"external_id": f"{external_id!r}: it has at most {MOST_OF_A_NAME} characters."})
    facts = _facts(participant, report)
    Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    standing = participant.adverse_events.filter(external_id=external_id).first() if external_id else None
    with context.context(by=by, reason=reason, source=source):
        if standing is not None:
            differs = any(getattr(standing, name) != value for name, value in facts.items())
            if not differs or standing.is_void:
                return standing
            if source is not Source.IMPORT:
                raise Conflict(
                    f"This was recorded already as AE {standing.number} of {participant}, and says something else now. "
                    f"Open AE {standing.number} and correct it there."
                )
            return _change(standing, facts)
        last = participant.adverse_events.aggregate(last=Max("number"))["last"] or 0
        return AdverseEvent.objects.create(participant=participant, number=last + 1, external_id=external_id, **facts)


@transaction.atomic
def correct_adverse_event(
    *,
    event: AdverseEvent,
    report: Report,
    revision: int,
    reason: str,
    by: Membership,
    source: Source = Source.USER,
) -> AdverseEvent:
    """Change a recorded event, with a reason. ``revision`` is that of the event as the reader saw it."""
    check_can_correct(by, event)
    event = _locked(event)
    check_can_correct(by, event)  # somebody may have set it aside since
    if event.revision != revision:
        raise Conflict(f"AE {event.number} was changed by somebody else meanwhile. Look at it again, then correct it.")
    if not reason.strip():
        raise ValidationError({"reason": "Give the reason for the change; it stands in the audit trail."})
    facts = _facts(event.participant, report)
    with context.context(by=by, reason=reason, source=source):
        return _change(event, facts)


@transaction.atomic
def void_adverse_event(
    *, event: AdverseEvent, reason: str, by: Membership, source: Source = Source.USER
) -> AdverseEvent:
    """Set aside an event that was recorded in error. It is kept, and no longer counted."""
    check_can_correct(by, event)
    event = _locked(event)
    check_can_correct(by, event)  # somebody may have set it aside since
    if not reason.strip():
        raise ValidationError({"reason": "Say why it was recorded in error."})
    with context.context(by=by, reason=reason, source=source):
        return _change(event, {"is_void": True})


@transaction.atomic
def load_wording(*, name: str, rows: Sequence[Sequence[str]]) -> WordingTable:
    """Load the official wording of a dictionary from the publisher's table, in place of what was loaded before.

    Nothing is loaded unless the table agrees with everything that is known of the dictionary: raises NotPossible with
    every difference.
    """
    table = read_wordings(rows, name=name, shipped=selectors.shipped_dictionary(name))
    if table.complaints:
        listed = "\n".join(f"- {sentence}" for sentence in table.complaints)
        raise NotPossible(f"The file is not {name} as Canopy knows it; nothing was loaded.\n{listed}")
    with context.context(by=None, reason=f"wording of {name} loaded", source=Source.IMPORT):
        TermWording.objects.filter(dictionary=name).delete()
        TermWording.objects.bulk_create(
            TermWording(
                dictionary=name,
                soc=one.soc,
                term=one.term,
                definition=one.definition,
                grades={str(grade): text for grade, text in one.grades.items()},
            )
            for one in table.wordings
        )
    return table


def _facts(participant: Participant, report: Report) -> dict[str, Any]:
    """The columns of a report that holds; ValidationError with every reason for one that does not."""
    policy = participant.protocol.adverse_events
    dictionary = selectors.dictionary_of(policy)
    found = problems(report, policy, dictionary, today=site_today(participant))
    if found:
        by_field: dict[str, list[str]] = {}
        for problem in found:
            by_field.setdefault(problem.field, []).append(problem.sentence)
        raise ValidationError(by_field)
    term = dictionary.find(report.term)
    assert term is not None  # ``problems`` has refused a term that is not found
    return {
        **asdict(report),
        "term": term.name,
        "soc": term.soc,
        "dictionary": dictionary.name,
        "category": category_of(policy, verbatim=report.verbatim, term=term),
        "serious_criteria": list(report.serious_criteria),
        "relations": dict(report.relations),
    }


def _locked(event: AdverseEvent) -> AdverseEvent:
    """The event as it is now, and nobody else's until the end of the transaction."""
    rows = AdverseEvent.objects.select_for_update(of=("self",))
    return rows.select_related("participant__site", "participant__protocol_version__trial").get(pk=event.pk)


def _change(event: AdverseEvent, facts: dict[str, Any]) -> AdverseEvent:
    changed = [name for name, value in facts.items() if getattr(event, name) != value]
    if changed:
        for name in changed:
            setattr(event, name, facts[name])
        event.revision += 1
        event.save(update_fields=[*changed, "revision", "changed_at"])
    return event
