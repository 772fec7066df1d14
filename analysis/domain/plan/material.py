"""What an analysis is computed from: the people it compares, their values and their times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from adverse_events.domain.tables import CountedEvent
from analysis.domain.consecutive_threshold import Status
from analysis.domain.dataset import Dataset, Subject
from analysis.domain.figures.swimmer import Mark
from analysis.domain.plan.results import Listing
from analysis.domain.time_to_event import DAYS_PER_YEAR
from trials.domain.definition import (
    AnalysisSpec,
    EndpointSpec,
    GroupKind,
    ItemType,
    Predictor,
    PredictorKind,
    Protocol,
)
from trials.domain.observations import NO, YES

#: Of days; the two units in which a definition says when a curve is read.
YEAR_DAYS = float(DAYS_PER_YEAR)


class CannotCompute(ValueError):
    """The data do not allow the analysis; the message is the sentence of the report."""


@dataclass(frozen=True)
class Course:
    """What was recorded of one participant over time, as far as the figures of people ask for it.

    ``values``: by endpoint, the value of its item on each study day; ``states``: by endpoint, the state of the response
    on each day asked; ``events``: what happened, on days from the anchor.
    """

    values: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    states: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    events: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Material:
    """Everything of one data cut that the plan asks for. ``courses``: by participant, where an analysis draws them."""

    protocol: Protocol
    dataset: Dataset
    adverse_events: tuple[CountedEvent, ...] = ()
    courses: Mapping[int, Course] = field(default_factory=dict)


@dataclass(frozen=True)
class Strand:
    """One of the groups that an analysis compares: an analysis set, a group, or the people with one answer."""

    key: str
    label: str
    subjects: tuple[Subject, ...]
    listing: Listing = field(default_factory=Listing)

    @property
    def is_external(self) -> bool:
        return bool(self.subjects) and all(subject.is_external for subject in self.subjects)


def strands(material: Material, spec: AnalysisSpec) -> tuple[Strand, ...]:
    """The groups that the analysis compares, in the order of the definition; empty ones are left out.

    External controls are among them only where a set of the analysis holds them. Raises CannotCompute for nobody.
    """
    protocol, dataset = material.protocol, material.dataset
    labels = {one.id: one.label for one in protocol.analysis_sets}

    def within(subjects: Sequence[Subject]) -> tuple[Subject, ...]:
        return tuple(s for s in subjects if not spec.groups or s.group in spec.groups)

    found: list[Strand] = []
    if spec.by == "analysis_set":
        for name in spec.analysis_sets:
            found.append(Strand(name, labels[name], within(dataset.members(name)), Listing(set_id=name)))
    else:
        people = within(tuple(s for s in dataset.subjects if any(name in s.sets for name in spec.analysis_sets)))
        where = spec.analysis_sets[0] if len(spec.analysis_sets) == 1 else ""
        if not spec.by:
            label = " and ".join(labels[name] for name in spec.analysis_sets)
            found.append(Strand(where or "all", label, people, Listing(set_id=where)))
        elif spec.by == "group":
            for group in protocol.groups:
                own = tuple(s for s in people if s.group == group.id)
                found.append(Strand(group.id, group.label, own, Listing(set_id=where, group=group.id)))
        else:
            for value, label in answers(protocol, spec.by, people):
                own = tuple(s for s in people if written(s, spec.by) == value)
                found.append(Strand(value, label, own, Listing(set_id=where, item=spec.by, value=value)))
    kept = tuple(strand for strand in found if strand.subjects)
    if not kept:
        sets = ", ".join(labels[name] for name in spec.analysis_sets)
        raise CannotCompute(f"Nobody is in the set {sets} yet; there is nothing to compute.")
    twice = len({s.participant for strand in kept for s in strand.subjects}) < sum(len(s.subjects) for s in kept)
    if twice:
        raise CannotCompute("Somebody is in two of the groups compared; name sets that share nobody.")
    return kept


def in_order(spec: AnalysisSpec, groups: Sequence[Strand]) -> tuple[Strand, ...]:
    """The groups compared with their reference last; without one named, the last of the definition."""
    reference = spec.reference or groups[-1].key
    return (*[g for g in groups if g.key != reference], *[g for g in groups if g.key == reference])


def written(subject: Subject, address: str) -> str | None:
    """The answer of an item as text; None where it is not known."""
    value = subject.values.get(address)
    if value is None or value == "":
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def answers(protocol: Protocol, address: str, people: Sequence[Subject]) -> list[tuple[str, str]]:
    """The answers of an item with their labels, in the order of the definition; *not known* is none of them."""
    try:
        item = protocol.item(address)
    except KeyError:
        item = None
    if item is not None and item.codes:
        return [(code.value, code.label) for code in item.codes if not code.unknown]
    if item is not None and item.type is ItemType.YES_NO_UNKNOWN:
        return [(NO, "no"), (YES, "yes")]
    known = {value for value in (written(subject, address) for subject in people) if value is not None}
    return [(value, value) for value in sorted(known)]


def category_of(protocol: Protocol, predictor: Predictor, subject: Subject) -> str | None:
    """The category a participant falls into, by its label; None where it is not known."""
    value = written(subject, predictor.item)
    if value is None:
        return None
    if predictor.kind is PredictorKind.CUT:
        assert predictor.at_least is not None
        high, low = cut_labels(predictor)
        return high if float(value) >= float(predictor.at_least) else low
    if predictor.categories:
        return next((one.label for one in predictor.categories if value in one.values), None)
    return dict(answers(protocol, predictor.item, (subject,))).get(value)


def cut_labels(predictor: Predictor) -> tuple[str, str]:
    return f"at least {predictor.at_least}", f"below {predictor.at_least}"


def categories(protocol: Protocol, predictor: Predictor, people: Sequence[Subject]) -> list[str]:
    """The labels of the categories that somebody falls into, the reference first."""
    if predictor.kind is PredictorKind.CUT:
        high, low = cut_labels(predictor)
        known = [low, high]
    elif predictor.categories:
        known = [one.label for one in predictor.categories]
    else:
        known = [label for _, label in answers(protocol, predictor.item, people)]
    present = {category_of(protocol, predictor, subject) for subject in people}
    known = [label for label in known if label in present]
    if predictor.reference in known:
        known = [predictor.reference, *[label for label in known if label != predictor.reference]]
    return known


def number_of(predictor: Predictor, subject: Subject) -> float | None:
    """The value of a continuous predictor; None where it is not known or not a number."""
    value = subject.values.get(predictor.item)
    if value is None or value == "":
        return None
    try:
        return float(value)
    except ValueError:
        return None


def predictors(protocol: Protocol, spec: AnalysisSpec) -> list[Predictor]:
    by_id = {one.id: one for one in protocol.predictors}
    return [by_id[name] for name in spec.predictors]


@dataclass(frozen=True)
class Timed:
    """Times and causes of one group for one endpoint, and how many have none."""

    strand: Strand
    subjects: tuple[Subject, ...]
    days: tuple[int, ...]
    causes: tuple[int, ...]
    untimed: int

    @property
    def n(self) -> int:
        return len(self.days)

    @property
    def events(self) -> int:
        return sum(cause == 1 for cause in self.causes)


def timed(material: Material, endpoint: EndpointSpec, strand: Strand) -> Timed:
    """The times of everybody in the group for whom one is known and not before the anchor."""
    subjects, days, causes = [], [], []
    for subject in strand.subjects:
        time = subject.time_to(endpoint.id, first_day=material.dataset.first_day)
        if time is not None and time.days >= 0:
            subjects.append(subject)
            days.append(time.days)
            causes.append(time.cause)
    return Timed(strand, tuple(subjects), tuple(days), tuple(causes), len(strand.subjects) - len(days))


def all_timed(material: Material, endpoint: EndpointSpec, groups: Sequence[Strand]) -> list[Timed]:
    """The times of each group that has any; CannotCompute where none has."""
    found = [timed(material, endpoint, strand) for strand in groups]
    kept = [one for one in found if one.n]
    if not kept:
        raise CannotCompute(f"{endpoint.label}: no time is known of anybody yet.")
    return kept


def reached(endpoint: EndpointSpec, strand: Strand, spec: AnalysisSpec) -> tuple[int, int]:
    """How many reached the endpoint, of how many in whom it is known.

    ``insufficient: not_reached`` counts who was not observed enough as not having reached it; a pending one never.
    """
    counts_all = spec.parameters.get("insufficient") == "not_reached"
    known = [_answer(subject, endpoint, counts_all) for subject in strand.subjects]
    return sum(one is True for one in known), sum(one is not None for one in known)


def _answer(subject: Subject, endpoint: EndpointSpec, insufficient_counts: bool) -> bool | None:
    outcome = subject.outcomes.get(endpoint.id)
    if insufficient_counts and outcome is not None and outcome.status is Status.INSUFFICIENT_DATA:
        return False
    return subject.has_reached(endpoint.id)


def read_days(spec: AnalysisSpec, material: Material) -> list[tuple[float, str]]:
    """When a curve is read: (days from the anchor, the words), days of the schedule first."""
    first = material.dataset.first_day
    return [
        *((float(day - first), f"day {day}") for day in spec.days),
        *((float(year) * YEAR_DAYS, f"{year.normalize():f} year{'' if year == 1 else 's'}") for year in spec.years),
    ]


def period(strand: Strand) -> tuple[date, date] | None:
    """First and last anchor of the group."""
    days = [subject.anchor_day for subject in strand.subjects if subject.anchor_day is not None]
    return (min(days), max(days)) if days else None


def warnings(groups: Sequence[Strand]) -> tuple[str, ...]:
    """What a reader must know before comparing these groups: controls from outside, and from another time."""
    outside = [group for group in groups if group.is_external]
    own = [group for group in groups if not group.is_external]
    if not outside or not own:
        return ()
    said = [
        f"{', '.join(group.label for group in outside)}: external controls, not allocated at random. A difference may "
        "come from who they were, from how they were treated otherwise, or from how they were recorded."
    ]
    for control in outside:
        before = period(control)
        for group in own:
            now = period(group)
            if before and now and (before[1] < now[0] or now[1] < before[0]):
                said.append(
                    f"Not concurrent: {control.label} {before[0]:%b %Y} to {before[1]:%b %Y}, {group.label} "
                    f"{now[0]:%b %Y} to {now[1]:%b %Y}. What changed in care between them is part of the difference."
                )
            elif before and now:
                inside = [
                    subject
                    for subject in control.subjects
                    if subject.anchor_day is not None and now[0] <= subject.anchor_day <= now[1]
                ]
                if len(inside) < len(control.subjects):
                    said.append(
                        f"Partly concurrent: {len(inside)} of {len(control.subjects)} of {control.label} began within "
                        f"the time of {group.label}."
                    )
    return tuple(said)


def tells_groups(material: Material, spec: AnalysisSpec, groups: Sequence[Strand]) -> bool:
    """Whether the comparison tells the trial's own groups apart, so that it is for those who may see them."""
    own = [group for group in material.protocol.groups if group.kind is not GroupKind.EXTERNAL]
    if len(own) < 2:
        return False
    members = [frozenset(s.group for s in group.subjects if not s.is_external) for group in groups]
    members = [one for one in members if one]
    # One group alone beside controls tells of it as well.
    return spec.by == "group" or bool(spec.groups) or any(len(one) < len(own) for one in members)
