"""Acute GVHD of one participant (ux S13): each assessment with its computed grades and response, the endpoints that
rest on them, and the course over the doses of steroids.

The form of assessments is found by its items, never by the name of a trial. An organ that was not staged leaves limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _

from analysis.datasets import records_of
from analysis.datasets.people import today_at
from analysis.domain import acute_gvhd, minnesota_risk
from analysis.domain.endpoint_answers import ANSWERS, Reads, assessed_responses
from analysis.domain.endpoint_outcomes import Outcome
from analysis.domain.figures.profile import Lane, Mark, Profile, Spot, Track, profile
from analysis.reports.profile import STAGES, Course, is_graded, logs
from analysis.selectors import origin_of, reads_independently
from casebook import selectors as casebook
from trials.domain.definition import EndpointSpec, Form, Protocol
from trials.domain.partial_dates import PartialDate
from trials.models import Membership, Participant, Visit
from trials.selectors import may_see_group

ORGANS = ("Skin", "Liver", "Upper gut", "Lower gut")
RESPONSE_METHODS = ("response_on_day", "best_response")


@dataclass(frozen=True)
class Grades:
    """What four stages come to; limits where an organ was not staged."""

    magic: str
    glucksberg: str
    risk: str


@dataclass(frozen=True)
class Row:
    """One assessment. ``response`` is its class against the baseline, ``because`` what became of it."""

    day: int | None
    on: str
    stages: tuple[str, ...]
    grades: Grades | None
    response: str
    because: str
    url: str


@dataclass(frozen=True)
class Answered:
    """One endpoint as computed now."""

    label: str
    status: str
    classification: str
    sentence: str
    verified: bool


@dataclass(frozen=True)
class Gvhd:
    """The page of one participant. ``is_hidden``: the reader decides for themselves and sees no computed answer."""

    form: Form
    rows: tuple[Row, ...]
    answers: tuple[Answered, ...]
    course: Profile | None
    is_hidden: bool


def graded_form(protocol: Protocol) -> Form | None:
    """The form that holds the organ stages; None where the protocol has none."""
    return next((form for form in protocol.forms if is_graded(form)), None)


def grades_of(said: Mapping[str, str]) -> Grades:
    """The grades and the risk of the stages as they were typed; what is no stage of its organ counts as not known."""
    highest = acute_gvhd.HIGHEST.values()
    staged = [
        int(said[name]) if said.get(name, "").strip() in {str(one) for one in range(most + 1)} else None
        for name, most in zip(STAGES, highest, strict=True)
    ]
    stages = acute_gvhd.OrganStages.of(*staged)
    magic, glucksberg = (
        acute_gvhd.grade(acute_gvhd.SYSTEMS[system], stages).limits for system in ("magic", "glucksberg_1994")
    )
    names = acute_gvhd.GRADE_NAMES

    def words(low: int, high: int) -> str:
        return names[low] if low == high else _("%(low)s to %(high)s") % {"low": names[low], "high": names[high]}

    possible = minnesota_risk.risk(stages).possible
    risk = _(" or ").join(one.value for one in minnesota_risk.Risk if one in possible)
    return Grades(words(magic.low, magic.high), words(glucksberg.low, glucksberg.high), risk)


def gvhd_of(membership: Membership, participant: Participant) -> Gvhd | None:
    """Everything on the page, as the membership may see it; None where there is no form of organ stages for them."""
    protocol = participant.protocol
    form = graded_form(protocol)
    if form is None or (form.groups and not may_see_group(membership, protocol)):
        return None
    hidden = reads_independently(membership)
    course = None if participant.anchor_date is None else Course(participant, participant.anchor_date)
    endpoints = [] if hidden else _endpoints(protocol)
    outcomes, responses = _answers(participant, endpoints)
    rows = []
    entries = casebook.entries_of_trial(participant.trial, forms=[form.id], participants=[participant.pk])
    for entry in entries:
        said = {name: str(one["value"]) for name, one in entry.answers.items() if one.get("value", "") != ""}
        iso = said.get("DATE", "") or (entry.observed_on.isoformat() if entry.observed_on else "")
        known = PartialDate.from_iso(iso[:10]) if iso else None
        day = None if course is None or known is None or known.exact is None else course.day(known.exact)
        found = responses.get(day) if day is not None else None
        rows.append(
            Row(
                day,
                "" if known is None else known.display(),
                tuple(said.get(name, "–") for name in STAGES),
                None if hidden else grades_of(said),
                found[0] if found else "",
                found[1] if found else "",
                (course or Course(participant, timezone.localdate())).entry_url(entry),
            )
        )
    rows.sort(key=lambda row: (row.day is None, row.day or 0))
    return Gvhd(
        form,
        tuple(rows),
        tuple(_answered(endpoint, outcomes.get(endpoint.id)) for endpoint in endpoints),
        None if hidden or course is None else _course(course, tuple(rows), membership),
        hidden,
    )


def preview_of(membership: Membership, said: Mapping[str, str]) -> Grades | None:
    """The grades of stages that are being typed; None where the reader is to see no computed answer."""
    return None if reads_independently(membership) else grades_of(said)


@dataclass(frozen=True)
class Field:
    """One thing to type: the date, or the stage of one organ."""

    id: str
    label: str
    hint: str
    value: str
    is_stage: bool


@dataclass(frozen=True)
class Typed:
    """The next assessment as it was typed so far, and where it is kept: a visit, or the next row of the form."""

    fields: tuple[Field, ...]
    answers: Mapping[str, str]
    visits: tuple[Visit, ...]
    visit: Visit | None
    repeat: int


def typed_of(participant: Participant, form: Form, posted: Mapping[str, str]) -> Typed:
    """The fields of the next assessment. A form that repeats gets a row; else a visit that has none yet is chosen."""
    names = ("DATE", *STAGES)
    items = {item.id: item for item in form.items}
    fields = tuple(
        Field(
            name,
            items[name].label,
            "" if name == "DATE" else f"{items[name].minimum} – {items[name].maximum}",
            posted.get(name, ""),
            name != "DATE",
        )
        for name in names
        if name in items
    )
    answers = {name: posted[name] for name in names if name in posted}
    if form.repeating:
        rows = casebook.repeats_of(participant, form.id, None)
        return Typed(fields, answers, (), None, max((row.repeat for row in rows), default=0) + 1)
    planned = casebook.forms_by_visit(participant)
    filled = set(casebook.entries_of(participant).filter(form=form.id).values_list("visit_id", flat=True))
    visits = tuple(
        visit
        for visit in participant.visits.order_by("planned_date", "pk")
        if form.id in planned.get(visit.code, frozenset()) and visit.pk not in filled
    )
    chosen = next((visit for visit in visits if visit.code == posted.get("visit")), visits[0] if visits else None)
    return Typed(fields, answers, visits, chosen, 1)


def _endpoints(protocol: Protocol) -> list[EndpointSpec]:
    """The endpoints that rest on acute GVHD: responses, and the first day at a grade."""
    return [
        one
        for one in protocol.endpoints
        if one.method in RESPONSE_METHODS
        or (one.method == "first_grade" and str(one.parameters.get("event")) == "acute_gvhd")
    ]


def _answers(
    participant: Participant, endpoints: list[EndpointSpec]
) -> tuple[dict[str, Outcome], dict[int, tuple[str, str]]]:
    """The answer of each endpoint now, and by day the class of each assessment with what became of it."""
    reads = Reads()
    for one in endpoints:
        reads |= ANSWERS[one.method].reads(one)
    first = participant.protocol.anchor.first_day
    today = today_at(participant.site.time_zone, timezone.now())
    records = next(iter(records_of(participant.trial, reads, first, [participant.pk], as_of=today)), None)
    if records is None or records.anchor_day is None:
        return {}, {}
    outcomes = {one.id: ANSWERS[one.method].prepared(participant.protocol, one)(records) for one in endpoints}
    by_day = next((one for one in endpoints if one.method in RESPONSE_METHODS), None)
    found = assessed_responses(by_day, records) if by_day else []
    return outcomes, {one.day: (one.name, one.sentence) for one in found}


def _answered(endpoint: EndpointSpec, outcome: Outcome | None) -> Answered:
    if outcome is None:
        why = _("The day that the schedule counts from is not known yet.")
        return Answered(endpoint.label, "pending", "", why, endpoint.verified)
    status = outcome.status.value.replace("_", " ")
    return Answered(endpoint.label, status, outcome.classification, outcome.sentence, outcome.verified)


def _course(course: Course, rows: tuple[Row, ...], membership: Membership) -> Profile | None:
    """The grade over the stage of each organ and the doses of steroids, on one axis of days."""
    dated = [row for row in rows if row.day is not None]
    doses = [one for one in logs(course, may_see_group(membership, course.protocol))[0] if one.is_dose]
    if not dated and not doses:
        return None
    grades = Lane(
        _("MAGIC grade"),
        tuple(
            Mark(row.day, f"day {row.day}, MAGIC grade {row.grades.magic}", row.grades.magic, "warn", url=row.url)
            for row in dated
            if row.day is not None and row.grades is not None
        ),
    )
    responses = Lane(
        _("Response"),
        tuple(
            Mark(row.day, f"day {row.day}, {row.response}: {row.because}", row.response, "plain", url=row.url)
            for row in dated
            if row.day is not None and row.response
        ),
    )
    tracks = [
        Track(
            _("%(organ)s, stage") % {"organ": organ},
            "",
            tuple(
                Spot(row.day, float(row.stages[place]), f"day {row.day}, stage {row.stages[place]}", row.url)
                for row in dated
                if row.day is not None and row.stages[place].isdigit()
            ),
            highest=4,
        )
        for place, organ in enumerate(ORGANS)
    ]
    days = [row.day for row in dated if row.day is not None] + [spot.day for one in doses for spot in one.spots]
    first = min([*days, course.protocol.anchor.first_day]) - 1
    return profile(
        str(course.participant),
        origin=origin_of(course.protocol),
        lanes=(grades, responses),
        tracks=(*tracks, *doses),
        first_day=first,
        last_day=max([*days, first + 1]) + 1,
    )
