"""Each endpoint method on the records of one participant: what it reads, and the answer it gives.

A method is an entry of ``ANSWERS``: which results, events and forms an endpoint of that method reads, and the function
that turns them into the arguments of the method's own rule and back into an :class:`Outcome` on study days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from analysis.domain import (
    acute_gvhd,
    chronic_gvhd,
    consecutive_threshold,
    engraftment,
    first_grade,
    reactivation,
    response,
    time_to_event,
)
from analysis.domain.acute_gvhd import OrganStages
from analysis.domain.bounds import Bounds
from analysis.domain.consecutive_threshold import Evaluability, Status
from analysis.domain.endpoint_outcomes import Evidence, Outcome, as_verified, came_first, no_anchor
from analysis.domain.first_grade import Graded
from analysis.domain.records import Entered, Happened, Records
from analysis.domain.rule_parameters import check_at_least
from trials.domain.definition import Capture, EndpointSpec, Free, Protocol
from trials.domain.partial_dates import PartialDate

LAST_CONTACT = "last_contact"
#: Parameters that say where an endpoint reads, and that the rule itself does not take.
PLACES = ("stages", "treatments", "recorded_as", "form", "by", "date", "where")


@dataclass(frozen=True)
class Reads:
    """What an endpoint reads of the casebook: analytes by address, kinds of clinical event, forms."""

    analytes: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    forms: frozenset[str] = frozenset()

    def __or__(self, other: Reads) -> Reads:
        return Reads(self.analytes | other.analytes, self.events | other.events, self.forms | other.forms)


#: The rule is what ``Answer.rule`` made of the endpoint's parameters, once for all participants.
Decide = Callable[[Protocol, EndpointSpec, Any, Records], Outcome]


@dataclass(frozen=True)
class Answer:
    """How endpoints of one method are answered.

    ``days`` are those on which an open answer may change by itself. ``over_time``: the answer is a time to an event, so
    that there is a cumulative incidence; a response on a day is not.
    """

    version: str
    reads: Callable[[EndpointSpec], Reads]
    rule: Callable[[EndpointSpec], Any]
    decide: Decide
    days: Callable[[EndpointSpec], tuple[int, ...]] = lambda spec: ()
    over_time: bool = True

    def prepared(self, protocol: Protocol, spec: EndpointSpec) -> Callable[[Records], Outcome]:
        """The function that answers ``spec`` for one participant after the other."""
        return partial(self.decide, protocol, spec, self.rule(spec))


def _kinds(names: Iterable[str]) -> frozenset[str]:
    """The kinds of event behind the names of a definition: a death may be named by its cause."""
    return frozenset("death" if name.startswith("death") else name for name in names) | {LAST_CONTACT}


def _names(spec: EndpointSpec, key: str) -> tuple[str, ...]:
    listed = spec.parameters.get(key, ())
    return tuple(str(name) for name in listed) if isinstance(listed, tuple | list) else (str(listed),)


def _rule_of(spec: EndpointSpec, *, without: Sequence[str] = ()) -> dict[str, Free]:
    return {name: value for name, value in spec.parameters.items() if name not in (*PLACES, *without)}


# Values in a row ------------------------------------------------------------------------------------------------------


def _consecutive(protocol: Protocol, spec: EndpointSpec, rule: consecutive_threshold.Rule, records: Records) -> Outcome:
    found = consecutive_threshold.adjudicate(
        rule,
        records.measurements(spec.item),
        records.competing(spec.competing),
        as_of_day=records.as_of_day,
        last_contact_day=records.last_contact_day,
        removed=records.removed,
    )
    return Outcome(
        found.status,
        found.sentence,
        event_day=found.event_day,
        competing_kind=found.competing_kind,
        competing_day=found.competing_day,
        censored_day=found.censored_day,
        evidence=tuple(Evidence(m.day, m.as_written, m.row) for m in found.evidence),
        flags=found.flags,
        verified=spec.verified,
        evaluability=found.evaluability,
    )


def _consecutive_days(spec: EndpointSpec) -> tuple[int, ...]:
    rule = consecutive_threshold.Rule.from_parameters(spec.parameters)
    return rule.horizon_day, rule.confirm_last_day + 1


# The first of several events ------------------------------------------------------------------------------------------


def _first_event(protocol: Protocol, spec: EndpointSpec, rule: time_to_event.Rule, records: Records) -> Outcome:
    history = time_to_event.History(
        records.participant,
        records.anchor_day,
        tuple(
            time_to_event.DatedEvent(
                event.kind,
                event.occurred,
                event.row,
                {"Y": True, "N": False}.get(event.detail.get("relapse_related", "")),
            )
            for event in records.events
            if event.kind in _kinds((*rule.events, *rule.competing, "death")) and event.kind != LAST_CONTACT
        ),
        max((e.occurred for e in records.of_kind(LAST_CONTACT)), key=lambda day: day.latest, default=None),
    )
    return time_to_event.adjudicate(
        rule, history, data_cutoff=records.as_of, first_day=records.first_day, verified=spec.verified
    )


def _horizon(spec: EndpointSpec) -> tuple[int, ...]:
    day = spec.parameters.get("horizon_day")
    return () if day is None else (int(str(day)) + 1,)


# Grades ---------------------------------------------------------------------------------------------------------------

#: How an assessment names the system it was graded by, and the systems of the endpoints that its grade stands for.
RECORDED_SYSTEMS = {"glucksberg": ("glucksberg_1994", "glucksberg_1994_gi4_iv"), "magic": ("magic",)}


def _first_grade(
    protocol: Protocol, spec: EndpointSpec, rule: acute_gvhd.Rule | chronic_gvhd.Rule, records: Records
) -> Outcome:
    if isinstance(rule, chronic_gvhd.Rule):
        return _first_severity(spec, rule, records)
    system = acute_gvhd.SYSTEMS[rule.system]
    graded = [_acute(event, system) for event in records.of_kind("acute_gvhd")]
    label = f"grade {acute_gvhd.GRADE_NAMES[rule.at_least]}" + ("" if rule.at_least == 4 else " or more")
    question = first_grade.Question(
        rule.at_least, label, lambda g: f"grade {acute_gvhd.GRADE_NAMES[g]}", rule.horizon_day, rule.tie,
        rule.max_gap_days, system.verified and spec.verified,
    )  # fmt: skip
    return first_grade.adjudicate(
        question,
        graded,
        records.competing(spec.competing),
        as_of_day=records.as_of_day,
        last_assessment_day=records.last_contact_day,
    )


def _acute(event: Happened, system: acute_gvhd.GradingSystem) -> Graded:
    """The grade that was recorded in this system; otherwise that of the organ stages, between its limits."""
    recorded = event.detail.get("system", "")
    if event.grade in acute_gvhd.GRADE_NAMES and system.id in RECORDED_SYSTEMS.get(recorded, ()):
        grade = Bounds.exactly(acute_gvhd.GRADE_NAMES.index(event.grade))
        return Graded(event.earliest_day, event.latest_day, grade, event.row)
    stages = OrganStages.of(*(_whole(event.detail.get(organ)) for organ in ("skin", "liver", "upper_gut", "lower_gut")))
    histology = {"Y": True, "N": False}.get(event.detail.get("biopsy", ""))
    found = acute_gvhd.grade(system, stages, histology=histology)
    return Graded(event.earliest_day, event.latest_day, found.limits, event.row, found.sentence)


def _grade_rule(spec: EndpointSpec) -> acute_gvhd.Rule | chronic_gvhd.Rule:
    chronic = str(spec.parameters.get("event")) == "chronic_gvhd"
    return (chronic_gvhd.Rule if chronic else acute_gvhd.Rule).from_parameters(_rule_of(spec))


def _first_severity(spec: EndpointSpec, rule: chronic_gvhd.Rule, records: Records) -> Outcome:
    graded = []
    for event in records.of_kind("chronic_gvhd"):
        known = event.grade in chronic_gvhd.SEVERITIES
        severity = Bounds.exactly(chronic_gvhd.SEVERITIES.index(event.grade)) if known else Bounds(1, 3)
        why = "" if known else "chronic GVHD without a severity"
        graded.append(Graded(event.earliest_day, event.latest_day, severity, event.row, why))
    label = chronic_gvhd.SEVERITIES[rule.at_least] + ("" if rule.at_least == 3 else " or more")
    question = first_grade.Question(
        rule.at_least, label, lambda s: f"{chronic_gvhd.SEVERITIES[s]} chronic GVHD", rule.horizon_day, rule.tie,
        rule.max_gap_days, chronic_gvhd.VERIFIED and spec.verified,
    )  # fmt: skip
    return first_grade.adjudicate(
        question,
        graded,
        records.competing(spec.competing),
        as_of_day=records.as_of_day,
        last_assessment_day=records.last_contact_day,
    )


def _graded_events(spec: EndpointSpec) -> Reads:
    return Reads(events=_kinds(spec.competing) | {str(spec.parameters.get("event", ""))})


# Counts of neutrophils ------------------------------------------------------------------------------------------------


def _engraftment(protocol: Protocol, spec: EndpointSpec, rule: engraftment.NeutrophilRule, records: Records) -> Outcome:
    counts = records.measurements(spec.item)
    recorded = records.of_kind("neutrophil_engraftment")
    if recorded and not counts:
        return _as_recorded(spec, records, recorded[0], last_day=rule.last_day)
    found = engraftment.neutrophil_engraftment(
        rule, counts, records.competing(spec.competing), as_of_day=records.as_of_day
    )
    return as_verified(found, spec.verified)


def _graft_failure(
    protocol: Protocol, spec: EndpointSpec, rule: engraftment.GraftFailureRule, records: Records
) -> Outcome:
    """A graft failure that an investigator recorded stands; without one the counts decide."""
    recorded = records.of_kind("graft_failure")
    if recorded:
        return _as_recorded(spec, records, recorded[0])
    second = records.of_kind("second_transplant")
    found = engraftment.graft_failure(
        rule,
        engraftment.GraftRecords(
            counts=tuple(records.measurements(spec.item)),
            second_transplant=second[0].as_competing() if second else None,
        ),
        records.competing(spec.competing),
        as_of_day=records.as_of_day,
        last_contact_day=records.last_contact_day,
    )
    return as_verified(found, spec.verified)


def _as_recorded(spec: EndpointSpec, records: Records, event: Happened, *, last_day: int | None = None) -> Outcome:
    """What was recorded as an event, unless a competing event came before it."""
    if records.as_of_day is None:
        return no_anchor(verified=spec.verified)
    if event.earliest_day != event.latest_day:
        return Outcome(
            Status.INSUFFICIENT_DATA,
            f"The date of {event.kind.replace('_', ' ')} is known in part only.",
            earliest_day=event.earliest_day,
            latest_day=event.latest_day,
            verified=spec.verified,
        )
    day = event.earliest_day
    before = [one for one in records.competing(spec.competing) if one.latest_day < day]
    if before:
        return came_first(min(before, key=lambda one: one.earliest_day), verified=spec.verified)
    if last_day is not None and day > last_day:
        return Outcome(Status.NOT_REACHED, f"Recorded on day {day}, after day {last_day}.", censored_day=last_day)
    what = event.kind.replace("_", " ")
    return Outcome(
        Status.REACHED,
        f"{what.capitalize()} was recorded on day {day}.",
        event_day=day,
        evidence=(Evidence(day, what, event.row),),
        verified=spec.verified,
    )


def _counted(*more: str) -> Callable[[EndpointSpec], Reads]:
    def reads(spec: EndpointSpec) -> Reads:
        return Reads(frozenset({spec.item}), _kinds(spec.competing) | set(more))

    return reads


def _engraftment_days(spec: EndpointSpec) -> tuple[int, ...]:
    return (engraftment.NeutrophilRule.from_parameters(_rule_of(spec)).last_day + 1,)


def _graft_days(spec: EndpointSpec) -> tuple[int, ...]:
    rule = engraftment.GraftFailureRule.from_parameters(_rule_of(spec))
    return rule.engrafted_by_day + 1, rule.failed_by_day, rule.failed_by_day + 1


# Viruses --------------------------------------------------------------------------------------------------------------


def _reactivation(protocol: Protocol, spec: EndpointSpec, rule: reactivation.Rule, records: Records) -> Outcome:
    """Episodes of the viral load; where there is no load at all, a reactivation that was recorded as an event."""
    # The numbers of different assays are never compared; each is compared with the threshold, where the definition
    # says that it holds for this assay.
    same = _names(spec, "assays")
    loads = tuple(
        reactivation.ViralLoad(
            v.day,
            v.value,
            "" if v.qualifier == "nd" else v.qualifier,
            "" if v.assay in same else v.assay,
            v.specimen,
            v.row,
        )
        for v in records.results.get(spec.item, ())
    )
    virus = spec.item.partition(".")[2]
    recorded = [e for e in records.of_kind("viral_reactivation") if e.detail.get("virus") == virus]
    after = [event for event in recorded if event.latest_day > 0 or not rule.exclude_baseline]
    if after and not loads:
        return _as_recorded(spec, records, after[0], last_day=rule.horizon_day)
    diseases = tuple(
        reactivation.Disease(event.earliest_day, event.detail.get("specimen", ""), event.row)
        for event in recorded
        if event.detail.get("disease") == "Y" and event.earliest_day == event.latest_day
    )
    found = reactivation.adjudicate(
        rule,
        reactivation.Records(loads, diseases),
        records.competing(spec.competing),
        as_of_day=records.as_of_day,
    )
    return as_verified(found.outcome, spec.verified)


# Responses ------------------------------------------------------------------------------------------------------------


def _response_on_day(protocol: Protocol, spec: EndpointSpec, rule: response.DayRule, records: Records) -> Outcome:
    rule = replace(rule, persistence_days=0) if _is_adjudicated(spec, records) else rule
    found = response.response_on_day(rule, _course(spec, records, best=False), as_of_day=records.as_of_day)
    return as_verified(found, found.verified and spec.verified)


def _best_response(protocol: Protocol, spec: EndpointSpec, rule: response.Rule, records: Records) -> Outcome:
    rule = replace(rule, persistence_days=0) if _is_adjudicated(spec, records) else rule
    found = response.best_response(rule, _course(spec, records, best=True), as_of_day=records.as_of_day)
    if found.status is Status.PENDING and records.anchor_day is not None and protocol.capture is Capture.RETROSPECTIVE:
        # No assessment is to come: who has not responded is in the denominator (RELAX, Outcomes).
        provisional = found.sentence.startswith(response.PROVISIONAL)
        found = replace(
            found,
            status=Status.INSUFFICIENT_DATA if provisional else Status.NOT_REACHED,
            sentence=f"{found.sentence} The records are of the past; nothing is to come.",
            classification="" if provisional else "non-response",
        )
    return as_verified(found, found.verified and spec.verified)


def assessed_responses(spec: EndpointSpec, records: Records) -> list[response.Assessed]:
    """Each assessment after the first day with its class against the baseline, by the rule of a response endpoint."""
    if records.as_of_day is None:
        return []
    rule = ANSWERS[spec.method].rule(spec)
    return response.assess(rule, _course(spec, records, best=False), as_of_day=records.as_of_day)


def _is_adjudicated(spec: EndpointSpec, records: Records) -> bool:
    """Whether the responses were adjudicated elsewhere (external controls): then they are taken as they were recorded,
    without asking how long they lasted."""
    return records.is_external and bool(_mapping(spec, "recorded_as"))


def _course(spec: EndpointSpec, records: Records, *, best: bool) -> response.Course:
    """The assessments and treatments of one participant; ``best``: with the row that states a best response."""
    places, marks = _mapping(spec, "stages"), _mapping(spec, "recorded_as")
    assessments = []
    for entry in records.entries.get(str(places.get("form", "")), ()):
        on = _day_of(records, entry, str(places.get("date", "")))
        states_best = bool(marks) and entry.answers.get(str(marks.get("item", ""))) == str(marks.get("best", ""))
        # A stated best response is no assessment of a participant whose assessments are all here.
        if on is not None and (not states_best or (best and records.is_external)):
            assessments.append(response.StagedDay(on, _stages(entry, places), entry.row))
    deaths = records.of_kind("death")
    return response.Course(
        tuple(assessments),
        () if _is_adjudicated(spec, records) else _treatments(spec, records),
        deaths[0].as_competing() if deaths else None,
        records.last_contact_day,
        records.first_day,
    )


def _stages(entry: Entered, places: Mapping[str, Free]) -> OrganStages:
    organs = ("skin", "liver", "upper_gi", "lower_gi")
    return OrganStages.of(*(_whole(entry.answers.get(str(places.get(organ, "")))) for organ in organs))


def _treatments(spec: EndpointSpec, records: Records) -> tuple[response.NewTreatment, ...]:
    places = _mapping(spec, "treatments")
    where = places.get("where", {})
    found = []
    for entry in records.entries.get(str(places.get("form", "")), ()):
        if isinstance(where, Mapping) and any(entry.answers.get(name) != str(value) for name, value in where.items()):
            continue
        on = _partial(entry.answers.get(str(places.get("date", "")), ""))
        if on is not None:
            name = entry.answers.get(str(places.get("name", "")), "")
            found.append(
                response.NewTreatment(
                    records.day_of(on.earliest), records.day_of(on.latest), name.replace("_", " "), row=entry.row
                )
            )
    return tuple(found)


def _response_reads(spec: EndpointSpec) -> Reads:
    forms = {str(_mapping(spec, place).get("form", "")) for place in ("stages", "treatments")} - {""}
    return Reads(events=_kinds(("death",)), forms=frozenset(forms))


def _response_days(spec: EndpointSpec) -> tuple[int, ...]:
    rule = response.DayRule.from_parameters(_rule_of(spec))
    last = rule.day + rule.window
    return (
        rule.day + 1,
        last + 1,
        *range(rule.day - rule.window + rule.persistence_days, last + rule.persistence_days + 2),
    )


# Rows of forms --------------------------------------------------------------------------------------------------------


def _any_row(protocol: Protocol, spec: EndpointSpec, rule: None, records: Records) -> Outcome:
    """Whether a form was filled in for something on or after the day of the anchor; the first such day."""
    if records.as_of_day is None:
        return no_anchor(verified=spec.verified)
    form, date_item = str(spec.parameters["form"]), str(spec.parameters["date"])
    by = str(spec.parameters.get("by", "")).partition(".")[2]
    rows = []
    for entry in records.entries.get(form, ()):
        on = _partial(entry.answers.get(date_item, ""))
        if on is not None and records.day_of(on.latest) >= records.first_day:
            rows.append((records.day_of(on.earliest), records.day_of(on.latest), entry))
    if not rows:
        until = records.last_contact_day or records.as_of_day
        return Outcome(
            Status.NOT_REACHED, f"None is recorded by day {until}.", censored_day=until, verified=spec.verified
        )
    rows.sort(key=lambda row: row[:2])
    kinds = sorted({entry.answers.get(by, "") for _, _, entry in rows} - {""})
    first, latest, _ = rows[0]
    return Outcome(
        Status.REACHED,
        f"{len(rows)} recorded, the first on day {first}." if first == latest else f"{len(rows)} recorded.",
        event_day=max(first, records.first_day) if first == latest else None,
        evidence=tuple(Evidence(day, entry.answers.get(by, form), entry.row) for day, _, entry in rows),
        classification=", ".join(kinds),
        verified=spec.verified,
        earliest_day=first,
        latest_day=latest,
    )


def _relative_reduction(protocol: Protocol, spec: EndpointSpec, rule: None, records: Records) -> Outcome:
    """Whether a dose fell by a share between the first day and a later one. Both must have been recorded."""
    if records.as_of_day is None:
        return no_anchor(verified=spec.verified)
    day, share = int(str(spec.parameters["day"])), Decimal(str(spec.parameters["at_least"]))
    doses = doses_by_day(spec, records)
    before, after = doses.get(records.first_day), doses.get(day)
    if before is None or after is None or before == 0:
        if records.as_of_day < day:
            return Outcome(Status.PENDING, f"Day {day} has not passed.", verified=spec.verified)
        missing = records.first_day if not before else day
        return Outcome(Status.INSUFFICIENT_DATA, f"No dose is recorded on day {missing}.", verified=spec.verified)
    fell = (before - after) / before
    reached = fell >= share
    return Outcome(
        Status.REACHED if reached else Status.NOT_REACHED,
        f"From {before} to {after} {spec.unit} by day {day}: {100 * fell:.1f} % less.",
        event_day=day if reached else None,
        censored_day=None if reached else day,
        evidence=(Evidence(records.first_day, str(before)), Evidence(day, str(after))),
        verified=spec.verified,
    )


def doses_by_day(spec: EndpointSpec, records: Records) -> dict[int, Decimal]:
    """The value of the endpoint's item by study day; of two on one day the later row counts."""
    form, _, item = spec.item.partition(".")
    date_item = str(spec.parameters.get("date", "DATE"))
    found: dict[int, Decimal] = {}
    for entry in records.entries.get(form, ()):
        on = _partial(entry.answers.get(date_item, ""))
        value = _number(entry.answers.get(item, ""))
        if on is not None and on.exact is not None and value is not None:
            found[records.day_of(on.exact)] = value
    return found


def _value_in_target(protocol: Protocol, spec: EndpointSpec, rule: None, records: Records) -> Outcome:
    """Whether the last value of an exposure lies inside the target of the definition, both ends included."""
    if records.as_of_day is None:
        return no_anchor(verified=spec.verified)
    target = next(one for one in protocol.targets if one.id == str(spec.parameters["target"]))
    values = sorted(records.results.get(spec.item, ()), key=lambda v: (v.day, v.row or 0))
    if not values:
        return Outcome(Status.PENDING, "No exposure is recorded.", verified=spec.verified)
    last = values[-1]
    if last.qualifier:
        why = f"{last.qualifier}{last.value} {spec.unit} is not a value."
        return Outcome(Status.INSUFFICIENT_DATA, why, verified=spec.verified)
    inside = (target.low is None or last.value >= target.low) and (target.high is None or last.value <= target.high)
    where = "inside" if inside else "outside"
    return Outcome(
        Status.REACHED if inside else Status.NOT_REACHED,
        f"{last.value.normalize():f} {spec.unit} lies {where} {target.low} to {target.high} {target.unit}.",
        event_day=last.day if inside else None,
        censored_day=None if inside else last.day,
        evidence=(Evidence(last.day, f"{last.value.normalize():f} {spec.unit}", last.row),),
        verified=spec.verified,
    )


# Reading --------------------------------------------------------------------------------------------------------------


def _mapping(spec: EndpointSpec, key: str) -> Mapping[str, Free]:
    value = spec.parameters.get(key, {})
    return value if isinstance(value, Mapping) else {}


def _day_of(records: Records, entry: Entered, item: str) -> int | None:
    on = _partial(entry.answers.get(item, ""))
    return None if on is None or on.exact is None else records.day_of(on.exact)


def _partial(text: str) -> PartialDate | None:
    try:
        return PartialDate.from_iso(text[: len("2017-03-05")])
    except ValueError:
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _form_reads(spec: EndpointSpec) -> Reads:
    form = str(spec.parameters.get("form", "")) or spec.item.partition(".")[0]
    return Reads(events=_kinds(spec.competing), forms=frozenset({form}))


def _no_rule(spec: EndpointSpec) -> None:
    """The parameters are few, and read where they are used."""


def _check_reduction(spec: EndpointSpec) -> tuple[int, ...]:
    day = int(str(spec.parameters["day"]))
    check_at_least("day", day, 1)
    return (day,)


ANSWERS: Mapping[str, Answer] = {
    "consecutive_threshold": Answer(
        consecutive_threshold.METHOD_VERSION,
        lambda spec: Reads(frozenset({spec.item}), _kinds(spec.competing)),
        lambda spec: consecutive_threshold.Rule.from_parameters(spec.parameters),
        _consecutive,
        _consecutive_days,
    ),
    "first_event": Answer(
        time_to_event.METHOD_VERSION,
        lambda spec: Reads(events=_kinds((*_names(spec, "events"), *spec.competing, "death"))),
        lambda spec: time_to_event.Rule.from_parameters(_rule_of(spec), competing=spec.competing),
        _first_event,
        _horizon,
    ),
    "first_grade": Answer(acute_gvhd.METHOD_VERSION, _graded_events, _grade_rule, _first_grade, _horizon),
    "engraftment": Answer(
        "1",
        _counted("neutrophil_engraftment"),
        lambda spec: engraftment.NeutrophilRule.from_parameters(_rule_of(spec)),
        _engraftment,
        _engraftment_days,
    ),
    "graft_failure": Answer(
        "1",
        _counted("graft_failure", "second_transplant"),
        lambda spec: engraftment.GraftFailureRule.from_parameters(_rule_of(spec)),
        _graft_failure,
        _graft_days,
    ),
    "viral_reactivation": Answer(
        "1",
        _counted("viral_reactivation"),
        lambda spec: reactivation.Rule.from_parameters(_rule_of(spec, without=("assays",))),
        _reactivation,
        _horizon,
    ),
    "response_on_day": Answer(
        "1",
        _response_reads,
        lambda spec: response.DayRule.from_parameters(_rule_of(spec)),
        _response_on_day,
        _response_days,
        over_time=False,
    ),
    "best_response": Answer(
        "1", _response_reads, lambda spec: response.Rule.from_parameters(_rule_of(spec)), _best_response
    ),
    "any_row": Answer("1", _form_reads, _no_rule, _any_row),
    "relative_reduction": Answer("1", _form_reads, _no_rule, _relative_reduction, _check_reduction, over_time=False),
    "value_in_target": Answer(
        "1", lambda spec: Reads(frozenset({spec.item})), _no_rule, _value_in_target, over_time=False
    ),
}


def ends_on(spec: EndpointSpec) -> tuple[int, int] | None:
    """The day by which the endpoint is asked for, and the last day that still counts for it; None without an end."""
    if spec.method == "consecutive_threshold":
        rule = consecutive_threshold.Rule.from_parameters(spec.parameters)
        return rule.horizon_day, rule.confirm_last_day
    day = spec.parameters.get("horizon_day")
    return None if day is None else (int(str(day)), int(str(day)))


def evaluability(outcome: Outcome, records: Records) -> Evaluability:
    """Whether one participant is evaluable: by the method's own rule, or else unless a deviation removed them."""
    if outcome.evaluability is not None:
        return outcome.evaluability
    if records.removed:
        return Evaluability(False, "Removed for a major deviation from the protocol.", "removal")
    if records.removed is None:
        return Evaluability(None, "A major deviation waits for a person to confirm or refute it.")
    if records.anchor_day is None:
        return Evaluability(None, "Not known before the day that the schedule counts from.")
    return Evaluability(True, "Not removed for a deviation.")
