"""Reads of adverse events, and the dictionaries they are coded to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from adverse_events.domain.dictionary import Dictionary, Term, parse_terms
from adverse_events.domain.reporting import FIELD_WORDS, GradeChoice, grade_choices, row_label
from adverse_events.domain.tables import CountedEvent, EventTable, event_table
from adverse_events.models import AdverseEvent, TermWording
from audit.models import FieldChange
from trials import selectors as trials
from trials.domain.definition import AdverseEvents
from trials.models import Membership, Trial
from trials.permissions import NotPossible

DICTIONARIES = Path(__file__).parent / "dictionaries"
NEW_FOR_DAYS = 7


class NoDictionary(NotPossible):
    """The protocol names a dictionary that is neither shipped nor loaded; the message says how to load it."""


# --- Dictionaries -------------------------------------------------------------------------------------------------


@lru_cache
def shipped_dictionary(name: str) -> Dictionary | None:
    """The facts that Canopy ships of this version; None for another one."""
    file = DICTIONARIES / f"{name.lower().replace(' ', '_').replace('.', '_')}.csv"
    return parse_terms(file.read_text(encoding="utf-8"), name=name) if file.exists() else None


def dictionary(name: str) -> Dictionary:
    """The dictionary of this name (``CTCAE 4.03``): the shipped facts, or what was loaded from the publisher's file."""
    shipped = shipped_dictionary(name)
    if shipped is not None:
        return shipped
    rows = TermWording.objects.filter(dictionary=name).order_by("pk").values_list("soc", "term", "grades")
    terms = tuple(Term(soc, term, frozenset(int(grade) for grade in grades)) for soc, term, grades in rows)
    if not terms:
        raise NoDictionary(
            f"{name} is not shipped with Canopy. Load the publisher's file: "
            f"manage.py load_dictionary_wording FILE --dictionary '{name}'."
        )
    return Dictionary(name, terms)


def dictionary_of(policy: AdverseEvents) -> Dictionary:
    """The dictionary that a protocol's collection policy names."""
    return dictionary(f"{policy.dictionary} {policy.version}".strip())


def wording(name: str, term: str) -> TermWording | None:
    """The official wording of a term, where the user has loaded it."""
    return TermWording.objects.filter(dictionary=name, term=term).first()


@dataclass(frozen=True)
class TermSheet:
    """One term as the entry page shows it: its definition, and the five grades with text or reason."""

    typed: str
    term: Term | None
    definition: str
    grades: tuple[GradeChoice, ...]


def term_sheet(policy: AdverseEvents, typed: str) -> TermSheet:
    """What is to be known of the term that was typed; without a term, what the protocol collects."""
    term = dictionary_of(policy).find(typed) if typed.strip() else None
    words = wording(f"{policy.dictionary} {policy.version}".strip(), term.name) if term else None
    texts = {int(grade): text for grade, text in words.grades.items()} if words else {}
    return TermSheet(typed, term, words.definition if words else "", grade_choices(term, policy, texts))


# --- Events -------------------------------------------------------------------------------------------------------


def adverse_events(membership: Membership) -> QuerySet[AdverseEvent]:
    """The adverse events the membership sees, those recorded in error included, newest first."""
    return (
        AdverseEvent.objects.visible_to(membership)
        .select_related("participant__site", "participant__trial", "participant__protocol_version__trial")
        .order_by("-started", "-pk")
    )


def open_events(rows: QuerySet[AdverseEvent]) -> QuerySet[AdverseEvent]:
    """Those that count and have no end: they go on, or nobody has said how they ended."""
    return rows.filter(is_void=False, ended="").exclude(outcome="fatal")


def new_since(days: int, now: datetime | None = None) -> Q:
    """Recorded in the last ``days`` days."""
    return Q(recorded_at__gte=(now or timezone.now()) - timedelta(days=days))


@dataclass(frozen=True)
class Change:
    """One field of an event as it changed: when, by whom, why, from what to what; at first from nothing."""

    at: datetime
    is_first: bool
    who: str
    role: str
    source: str
    reason: str
    name: str
    old: Any
    new: Any


def history(event: AdverseEvent) -> list[Change]:
    """Every change of an event, the latest first."""
    changes = FieldChange.objects.filter(
        table_name="adverse_events_adverseevent", row_id=str(event.pk), field__in=FIELD_WORDS
    ).order_by("-trail_id")
    found = [
        Change(
            one.at,
            one.operation == "INSERT",
            one.user_name,
            one.role,
            one.source,
            one.reason,
            one.field,
            one.old_value,
            one.new_value,
        )
        for one in changes
    ]
    return [one for one in found if one.old not in (None, "", [], {}) or one.new not in (None, "", [], {}, False)]


# --- The table ----------------------------------------------------------------------------------------------------


def table(membership: Membership, rows: QuerySet[AdverseEvent], *, site: int | None = None) -> EventTable:
    """The trial's table over ``rows`` (those that count), of everybody enrolled whom the membership sees.

    Those whom a deviation keeps out of the efficacy sets stay in: safety is of every treated participant.
    """
    policy = membership.trial.protocol.adverse_events
    people = trials.participants(membership).filter(enrolment__isnull=False, is_external=False)
    if site is not None:
        people = people.filter(site_id=site)
    events = [
        CountedEvent(participant, category, _label(policy, verbatim, term, other), grade)
        for participant, category, verbatim, term, other, grade in rows.filter(is_void=False).values_list(
            "participant_id", "category", "verbatim", "term", "other_specify", "grade"
        )
    ]
    lowest = min([policy.minimum_grade, *(event.grade for event in events)])
    return event_table(
        events,
        headings=[(one.id, one.label) for one in policy.categories],
        grades=range(lowest, 6),
        participants=people.count(),
    )


def in_row(policy: AdverseEvents, rows: QuerySet[AdverseEvent], label: str) -> QuerySet[AdverseEvent]:
    """Those of ``rows`` that the table counts in the row called ``label``."""
    facts = rows.order_by().values_list("pk", "verbatim", "term", "other_specify")
    return rows.filter(pk__in=[pk for pk, *words in facts if _label(policy, *words) == label])


def worst_of_each(rows: QuerySet[AdverseEvent]) -> QuerySet[AdverseEvent]:
    """One event a participant: the worst, of equals the first."""
    worst = rows.order_by("participant_id", "-grade", "started", "number").distinct("participant_id")
    return rows.filter(pk__in=worst.values("pk"))


def categories_of(membership: Membership) -> list[tuple[str, str]]:
    """The headings to choose from: those of the definition, and classes that events stand under themselves."""
    policy = membership.trial.protocol.adverse_events
    used = AdverseEvent.objects.visible_to(membership).order_by().values_list("category", flat=True).distinct()
    named = [(one.id, one.label) for one in policy.categories]
    return [*named, *((one, one) for one in sorted(set(used) - {key for key, _ in named}))]


def _label(policy: AdverseEvents, verbatim: str, term: str, other_specify: str) -> str:
    return row_label(policy, verbatim=verbatim, term=term, other_specify=other_specify)


# --- For the floors above -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EventRow:
    """One adverse event that counts, as tables, gates and exports read it."""

    participant_id: int
    is_external: bool
    term: str
    soc: str
    verbatim: str
    other_specify: str
    category: str
    grade: int
    started: str
    is_serious: bool | None


def events_of_trial(trial: Trial, *, site: int | None = None) -> Iterator[EventRow]:
    """Every adverse event of the trial that counts, by participant and number."""
    rows = AdverseEvent.objects.filter(participant__trial=trial, is_void=False)
    if site is not None:
        rows = rows.filter(participant__site_id=site)
    for values in (
        rows.order_by("participant_id", "number")
        .values_list(
            "participant_id",
            "participant__is_external",
            "term",
            "soc",
            "verbatim",
            "other_specify",
            "category",
            "grade",
            "started",
            "is_serious",
        )
        .iterator(chunk_size=2000)
    ):
        yield EventRow(*values)


def counted_events(trial: Trial) -> list[tuple[str, CountedEvent]]:
    """Every adverse event of the trial that counts as its table counts it, with when it started (ISO 8601, partial)."""
    policy = trial.protocol.adverse_events
    return [
        (one.started, CountedEvent(one.participant_id, one.category, label, one.grade))
        for one in events_of_trial(trial)
        for label in [_label(policy, one.verbatim, one.term, one.other_specify)]
    ]
