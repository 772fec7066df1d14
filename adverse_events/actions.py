"""Adverse events recorded, corrected, and set aside. Refused whole with every reason, or kept whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from adverse_events import selectors
from adverse_events.domain.dictionary import Dictionary, Term, differences
from adverse_events.domain.reporting import Report, category_of, problems
from adverse_events.models import AdverseEvent, TermWording
from adverse_events.permissions import check_can_correct, check_can_record
from audit import context
from audit.context import Source
from trials.models import Membership, Participant
from trials.permissions import NotPossible


class Conflict(Exception):
    """Somebody changed the event meanwhile; the message says what to do."""


@transaction.atomic
def record_adverse_event(
    *,
    participant: Participant,
    report: Report,
    by: Membership,
    external_id: str = "",
    source: Source = Source.USER,
    reason: str = "",
) -> AdverseEvent:
    """Record one adverse event, coded to the dictionary of the participant's protocol version.

    An event with the ``external_id`` of one that is recorded already is that one, corrected where it differs: a file
    imported twice changes nothing. Raises ValidationError with every reason for which the event is refused.
    """
    check_can_record(by, participant)
    facts = _facts(participant, report)
    Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    standing = participant.adverse_events.filter(external_id=external_id).first() if external_id else None
    with context.context(by=by, reason=reason, source=source):
        if standing is not None:
            return _change(standing, facts)
        last = participant.adverse_events.aggregate(last=Max("number"))["last"] or 0
        return AdverseEvent.objects.create(participant=participant, number=last + 1, external_id=external_id, **facts)


@transaction.atomic
def correct_adverse_event(
    *, event: AdverseEvent, report: Report, revision: int, reason: str, by: Membership
) -> AdverseEvent:
    """Change a recorded event, with a reason. ``revision`` is that of the event as the reader saw it."""
    check_can_correct(by, event)
    event = AdverseEvent.objects.select_for_update().select_related("participant").get(pk=event.pk)
    if event.revision != revision:
        raise Conflict(f"AE {event.number} was changed by somebody else meanwhile. Look at it again, then correct it.")
    if not reason.strip():
        raise ValidationError({"reason": "Give the reason for the change; it stands in the audit trail."})
    facts = _facts(event.participant, report)
    with context.context(by=by, reason=reason):
        return _change(event, facts)


@transaction.atomic
def void_adverse_event(*, event: AdverseEvent, reason: str, by: Membership) -> AdverseEvent:
    """Set aside an event that was recorded in error. It is kept, and no longer counted."""
    check_can_correct(by, event)
    if not reason.strip():
        raise ValidationError({"reason": "Say why it was recorded in error."})
    with context.context(by=by, reason=reason):
        return _change(event, {"is_void": True})


@transaction.atomic
def load_wording(*, name: str, wordings: Iterable[TermWording], replace: bool = False) -> int:
    """Load the official wording of a dictionary, once it is shown to agree with the facts that are shipped of it."""
    rows = list(wordings)
    names = [row.term for row in rows]
    twice = sorted({term for term in names if names.count(term) > 1})
    if twice:
        raise NotPossible(f"{twice[0]} stands twice in the file; nothing was loaded.")
    official = [Term(row.soc, row.term, frozenset(int(grade) for grade in row.grades)) for row in rows]
    try:
        shipped: Dictionary | None = selectors.dictionary(name)
    except selectors.NoDictionary:
        shipped = None
    different = differences(shipped, official) if shipped is not None and not replace else []
    if different:
        listed = "\n".join(f"- {sentence}" for sentence in different)
        raise NotPossible(f"The file differs from the list of {name} that Canopy knows; nothing was loaded.\n{listed}")
    with context.context(by=None, reason=f"wording of {name} loaded", source=Source.IMPORT):
        TermWording.objects.filter(dictionary=name).delete()
        TermWording.objects.bulk_create(rows)
    return len(rows)


def _facts(participant: Participant, report: Report) -> dict[str, Any]:
    """The columns of a report that holds; ValidationError with every reason for one that does not."""
    policy = participant.protocol.adverse_events
    dictionary = selectors.dictionary(f"{policy.dictionary} {policy.version}".strip())
    found = problems(report, policy, dictionary)
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


def _change(event: AdverseEvent, facts: dict[str, Any]) -> AdverseEvent:
    changed = [name for name, value in facts.items() if getattr(event, name) != value]
    if changed:
        for name in changed:
            setattr(event, name, facts[name])
        event.revision += 1
        event.save(update_fields=[*changed, "revision", "changed_at"])
    return event
