"""People over time rather than an estimate: a response from day to day, a value by day, follow-up lane by lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_

from analysis.domain.consecutive_threshold import Status
from analysis.domain.endpoint_answers import ANSWERS, Reads, doses_by_day
from analysis.domain.endpoint_outcomes import Outcome
from analysis.domain.figures import boxes, swimmer, transitions, waterfall
from analysis.domain.plan import wording
from analysis.domain.plan.material import (
    CannotCompute,
    Course,
    Material,
    Strand,
    Timed,
    reached,
    strands,
    tells_groups,
    warnings,
)
from analysis.domain.plan.results import Drawing, Law, Number, Result, ResultTable, Row
from analysis.domain.plan.shares import narrowed
from analysis.domain.records import Happened, Records
from trials.domain.definition import AnalysisSpec, EndpointSpec, Protocol

VALUES, RESPONSES = "values_by_day", "response_course"
#: The method of an endpoint that reads a dose by its day, and of one that asks for a response on a day.
REDUCTION, ON_DAY = "relative_reduction", "response_on_day"
#: Lanes that fit one figure.
MOST_LANES = 60
QUARTILES = "median and quartiles (type 7)"


# What the plan reads of each participant ------------------------------------------------------------------------------


def _asked(protocol: Protocol, method: str) -> Iterator[tuple[AnalysisSpec, EndpointSpec]]:
    """The analyses of a method, each with the first of its endpoints."""
    for spec in protocol.analyses:
        if spec.method == method and spec.endpoints:
            yield spec, protocol.endpoint(spec.endpoints[0])


def _draws_events(protocol: Protocol) -> bool:
    return any("swimmer" in spec.figures for spec in protocol.analyses)


def sets_read(protocol: Protocol) -> frozenset[str]:
    """The analysis sets whose members' courses the plan asks for; empty where no analysis draws people."""
    return frozenset(
        name
        for spec in protocol.analyses
        if spec.method in (VALUES, RESPONSES) or "swimmer" in spec.figures
        for name in spec.analysis_sets
    )


def reads(protocol: Protocol) -> Reads:
    """What the courses rest on."""
    endpoints = [endpoint for method in (VALUES, RESPONSES) for _, endpoint in _asked(protocol, method)]
    found = reduce(or_, (ANSWERS[one.method].reads(one) for one in endpoints if one.method in ANSWERS), Reads())
    return found | Reads(events=frozenset(swimmer.KINDS)) if _draws_events(protocol) else found


def reader(protocol: Protocol) -> Callable[[Records], Course]:
    """The function that reads one participant after the other."""
    values = [one for _, one in _asked(protocol, VALUES) if one.method == REDUCTION]
    asked = [
        (endpoint.id, day, _on(protocol, spec, day))
        for spec, endpoint in _asked(protocol, RESPONSES)
        if endpoint.method == ON_DAY
        for day in spec.days
    ]
    answers = [(name, day, ANSWERS[one.method].prepared(protocol, one)) for name, day, one in asked]
    draws = _draws_events(protocol)

    def course(records: Records) -> Course:
        if records.anchor_day is None:
            return Course()
        states: dict[str, dict[int, str]] = {}
        died = min((event.latest_day for event in records.of_kind("death")), default=None)
        for name, day, answer in answers:
            states.setdefault(name, {})[day] = state_on(day, answer(records), died)
        return Course(
            {one.id: {day: float(dose) for day, dose in doses_by_day(one, records).items()} for one in values},
            states,
            tuple(_marks(records)) if draws else (),
        )

    return course


def _on(protocol: Protocol, spec: AnalysisSpec, day: int) -> EndpointSpec:
    """The endpoint of that day among those of the analysis; where there is none, the first one asked on that day."""
    endpoints = [protocol.endpoint(name) for name in spec.endpoints]
    own = next((one for one in endpoints if one.parameters.get("day") == day), None)
    return own or replace(endpoints[0], parameters={**endpoints[0].parameters, "day": day})


def state_on(day: int, outcome: Outcome, died: int | None) -> str:
    """The state of a participant on a day: dead by then, or what the rule says of the response.

    A response that may be complete or partial is drawn as partial: so much is certain.
    """
    if died is not None and died <= day:
        return "dead"
    if outcome.status is Status.REACHED:
        return "CR" if outcome.classification == "CR" else "PR"
    return "NR" if outcome.status is Status.NOT_REACHED and outcome.evidence else "not_assessed"


def _marks(records: Records) -> Iterator[swimmer.Mark]:
    """The first event of each kind, on days from the anchor; one with a part of its date stands on the first day that
    it may be of."""
    for kind in swimmer.KINDS:
        events = [event for event in records.of_kind(kind) if event.latest_day >= records.first_day]
        if events:
            first = min(events, key=lambda event: (event.earliest_day, event.latest_day))
            day = max(first.earliest_day, records.first_day) - records.first_day
            yield swimmer.Mark(kind, day, _said(first))


def _said(event: Happened) -> str:
    words = [f"grade {event.grade}" if event.kind == "acute_gvhd" and event.grade else event.grade]
    if event.earliest_day != event.latest_day:
        words.append("date known in part")
    return ", ".join(filter(None, words))


# A response from day to day -------------------------------------------------------------------------------------------


def response_course(material: Material, spec: AnalysisSpec) -> Result:
    """Everybody's response on each day of the analysis, the dead and those not assessed among them."""
    groups = strands(material, spec)
    endpoints = [material.protocol.endpoint(name) for name in spec.endpoints]
    if endpoints[0].method != ON_DAY:
        raise CannotCompute(f"{endpoints[0].label} asks for no response on a day, so that there is no course of it.")
    if not spec.days:
        raise CannotCompute("The analysis names no days. Add `days` to it, such as [7, 14, 28, 42, 56].")
    by_group = tells_groups(material, spec, groups)
    first = material.dataset.first_day
    by_day = {int(str(one.parameters["day"])): one for one in endpoints if "day" in one.parameters}
    tables, drawings, laws, sentences = [], [], [], []
    for group in groups:
        courses = [
            transitions.Course(subject.participant, ("start", *_states(material, endpoints[0].id, subject.participant,
                                                                       spec.days)))
            for subject in group.subjects
        ]  # fmt: skip
        label = _named(spec, group, groups)
        found = transitions.transitions(courses, (first, *spec.days), label=label, origin=_origin(material))
        assert found is not None, "a group without anybody is left out"
        tables.append(_course_table(found, group, by_day, by_group))
        sentences.append(f"{group.label}: {transitions.in_words(found)}.")
        for place, day in enumerate(found.days):
            if day in by_day:
                k, _ = reached(by_day[day], group, spec)
                own = round(found.response_rate(place) * found.n)
                detail = f"{own} and {k} of {found.n}"
                laws.append(Law(f"{group.label}: responses of day {day} are those of the endpoint", own == k, detail))
        if "transitions" in spec.figures:
            drawings.append(Drawing("transitions", label, _rule_words(endpoints[0]), found))
    return Result(
        spec.id, spec.label, "State on each day; shares over everybody", " ".join(sentences), tuple(tables),
        laws=tuple(laws), warnings=warnings(groups), by_group=by_group, drawings=tuple(drawings),
    )  # fmt: skip


def _states(material: Material, endpoint: str, participant: int, days: Sequence[int]) -> tuple[str, ...]:
    course = material.courses.get(participant, Course())
    known: Mapping[int, str] = course.states.get(endpoint, {})
    return tuple(known.get(day, "not_assessed") for day in days)


def _course_table(
    found: transitions.Transitions, group: Strand, by_day: Mapping[int, EndpointSpec], by_group: bool
) -> ResultTable:
    rows = []
    for place, day in enumerate(found.days):
        counts = found.counts[place]
        responding = sum(counts.get(state, 0) for state in transitions.RESPONSES)
        listing = narrowed(group.listing, by_day[day], Status.REACHED.value) if day in by_day else None
        cells = [wording.number(counts.get(state, 0)) for state in transitions.STATES]
        cells += [wording.number(found.n, group.listing), wording.count(responding, found.n, listing)]
        rows.append(Row(f"Day {day}", tuple(cells)))
    columns = (*(words[:1].upper() + words[1:] for words, _, _ in transitions.STATES.values()), "All",
               "Complete or partial")  # fmt: skip
    return ResultTable(f"{found.label}: state on each day", "Day", columns, tuple(rows), by_group=by_group)


def _rule_words(endpoint: EndpointSpec) -> str:
    """How a response of a day comes about, from the parameters of its endpoint."""
    told = endpoint.parameters
    window, lasts = told.get("window"), told.get("persistence_days")
    words = "the assessment nearest to the day" + (f", at most {window} days off" if window is not None else "")
    return words + (f"; a response lasts {lasts} days" if lasts else "")


# A value by day -------------------------------------------------------------------------------------------------------


def values_by_day(material: Material, spec: AnalysisSpec) -> Result:
    """The values of the first endpoint's item by day, and how they changed; the second endpoint colours the change."""
    groups = strands(material, spec)
    endpoint = material.protocol.endpoint(spec.endpoints[0])
    if endpoint.method != REDUCTION:
        raise CannotCompute(f"{endpoint.label} reads no value by its day, so that there is nothing to summarise.")
    by_group = tells_groups(material, spec, groups)
    days = spec.days or _days(endpoint)
    unit, label = endpoint.unit, _item_label(material.protocol, endpoint)
    tables, drawings, sentences, laws = [], [], [], []
    for group in groups:
        values = {
            day: [
                value for s in group.subjects if (value := _value(material, endpoint, s.participant, day)) is not None
            ]
            for day in days
        }
        found = boxes.boxes(values, label=label, unit=unit, origin=_origin(material), of=len(group.subjects))
        if found is None:
            continue
        tables.append(_value_table(found, group, endpoint, spec, by_group))
        sentences.append(f"{group.label}: {'; '.join(boxes.in_words(found, box) for box in found.boxes)}.")
        within = all(box.n <= len(group.subjects) for box in found.boxes)
        laws.append(Law(f"{group.label}: no day has more values than there are people", within))
        named = _named(spec, group, groups)
        if "boxes" in spec.figures:
            drawings.append(Drawing("boxes", named, QUARTILES, found))
        fall = _waterfall(material, spec, group, endpoint, label)
        if fall is not None and "waterfall" in spec.figures:
            drawings.append(Drawing("waterfall", named, "change in per cent of the first value", fall))
    if not tables:
        raise CannotCompute(f"{label}: no value is recorded on any of the days {', '.join(map(str, days))}.")
    return Result(
        spec.id, spec.label, QUARTILES[:1].upper() + QUARTILES[1:], " ".join(sentences), tuple(tables),
        laws=tuple(laws), warnings=warnings(groups), by_group=by_group, drawings=tuple(drawings),
    )  # fmt: skip


def _days(endpoint: EndpointSpec) -> tuple[int, ...]:
    listed = endpoint.parameters.get("report_days", ())
    assert isinstance(listed, tuple | list)
    return tuple(int(str(day)) for day in listed) or (int(str(endpoint.parameters["day"])),)


def _item_label(protocol: Protocol, endpoint: EndpointSpec) -> str:
    """What is measured: the form and the item, such as *Steroids, dose*."""
    form = next(one for one in protocol.forms if one.id == endpoint.item.partition(".")[0])
    return f"{form.label}, {protocol.item(endpoint.item).label.lower()}"


def _value(material: Material, endpoint: EndpointSpec, participant: int, day: int) -> float | None:
    return material.courses.get(participant, Course()).values.get(endpoint.id, {}).get(day)


def _value_table(
    found: boxes.Boxes, group: Strand, endpoint: EndpointSpec, spec: AnalysisSpec, by_group: bool
) -> ResultTable:
    rows = []
    for box in found.boxes:
        low, middle, high = (f"{value:.4g}" for value in (box.lower_quartile, box.median, box.upper_quartile))
        median = Number(
            f"{middle} ({low} to {high})", box.median, QUARTILES, box.n, box.lower_quartile, box.upper_quartile
        )
        alone = wording.number(len(box.alone), method="beyond 1.5 heights of the box")
        rows.append(Row(f"Day {box.day}", (wording.count(box.n, found.of), median, alone)))
    k, n = reached(endpoint, group, spec)
    halved = wording.count(k, n, narrowed(group.listing, endpoint, Status.REACHED.value))
    rows.append(Row(endpoint.label, (halved, wording.NONE, wording.NONE)))
    caption = f"{found.label} ({found.unit}) by day, {group.label}"
    columns = ("With a value", "Median (quartiles)", "Standing alone")
    notes = (f"{endpoint.label}: among those with a value on both days.",)
    return ResultTable(caption, "Day", columns, tuple(rows), notes, by_group)


def _waterfall(
    material: Material, spec: AnalysisSpec, group: Strand, endpoint: EndpointSpec, label: str
) -> waterfall.Waterfall | None:
    first, last = material.dataset.first_day, int(str(endpoint.parameters["day"]))
    response = spec.endpoints[1] if len(spec.endpoints) > 1 else ""
    bars = []
    for subject in group.subjects:
        before = _value(material, endpoint, subject.participant, first)
        after = _value(material, endpoint, subject.participant, last)
        if before and after is not None:
            answer = _response(subject.outcomes.get(response))
            bars.append(waterfall.Bar(subject.participant, subject.number, before, after, answer))
    return waterfall.waterfall(
        bars, label=label, unit=endpoint.unit, from_day=first, to_day=last,
        without_value=len(group.subjects) - len(bars),
    )  # fmt: skip


def _response(outcome: Outcome | None) -> str:
    """The response in the words of the figure; "" where it is not known."""
    if outcome is None or outcome.status not in (Status.REACHED, Status.NOT_REACHED):
        return ""
    if outcome.status is Status.NOT_REACHED:
        return "NR"
    return "CR" if outcome.classification == "CR" else "PR"


# Follow-up lane by lane -----------------------------------------------------------------------------------------------


def swimmers(material: Material, spec: AnalysisSpec, found: Sequence[Timed]) -> tuple[Drawing, ...]:
    """The lanes of everybody but external controls, as many figures as they need."""
    if "swimmer" not in spec.figures:
        return ()
    own = [one for one in found if not one.strand.is_external]
    lanes = [
        swimmer.Lane(
            subject.participant,
            subject.number,
            days,
            tuple(mark for mark in material.courses.get(subject.participant, Course()).events if mark.day <= days),
            cause == 0,
        )
        for one in own
        for subject, days, cause in zip(one.subjects, one.days, one.causes, strict=True)
    ]
    drawings = []
    for start in range(0, len(lanes), MOST_LANES):
        part = swimmer.swimmer(lanes, origin=_origin(material), start=start, most=MOST_LANES)
        assert part is not None, "there is a lane from each start"
        until = min(start + MOST_LANES, len(lanes))
        title = "Follow-up and events" + (f", {start + 1} to {until}" if len(lanes) > MOST_LANES else "")
        drawings.append(Drawing("swimmer", title, "first event of each kind", part))
    return tuple(drawings)


def _named(spec: AnalysisSpec, group: Strand, groups: Sequence[Strand]) -> str:
    return spec.label if len(groups) == 1 else f"{spec.label}: {group.label}"


def _origin(material: Material) -> str:
    anchor = material.protocol.anchor
    return anchor.label or anchor.event.replace("_", " ")
