"""Reads of adverse events, and the dictionaries they are coded to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.db.models import QuerySet

from adverse_events.domain.dictionary import Dictionary, Term, parse_terms
from adverse_events.models import AdverseEvent, TermWording
from trials.models import Membership, Trial

DICTIONARIES = Path(__file__).parent / "dictionaries"


class NoDictionary(Exception):
    """The protocol names a dictionary that is neither shipped nor loaded; the message says how to load it."""


@lru_cache
def _shipped(name: str) -> Dictionary | None:
    file = DICTIONARIES / f"{name.lower().replace(' ', '_').replace('.', '_')}.csv"
    return parse_terms(file.read_text(encoding="utf-8"), name=name) if file.exists() else None


def dictionary(name: str) -> Dictionary:
    """The dictionary of this name (``CTCAE 4.03``): the shipped facts, or what was loaded from the publisher's file."""
    shipped = _shipped(name)
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


def dictionary_of(trial: Trial) -> Dictionary:
    """The dictionary that the trial's active protocol version names."""
    policy = trial.protocol.adverse_events
    return dictionary(f"{policy.dictionary} {policy.version}".strip())


def wording(name: str, term: str) -> TermWording | None:
    """The official wording of a term, where the user has loaded it."""
    return TermWording.objects.filter(dictionary=name, term=term).first()


def adverse_events(membership: Membership) -> QuerySet[AdverseEvent]:
    """The adverse events the membership sees, those recorded in error included, newest first."""
    return AdverseEvent.objects.visible_to(membership).select_related("participant__site").order_by("-started", "-pk")


@dataclass(frozen=True)
class EventRow:
    """One adverse event that counts, as tables, gates and exports read it."""

    participant_id: int
    is_external: bool
    term: str
    soc: str
    verbatim: str
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
            "category",
            "grade",
            "started",
            "is_serious",
        )
        .iterator(chunk_size=2000)
    ):
        yield EventRow(*values)
