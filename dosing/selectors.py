"""Reads of doses: the question that a worksheet answers, and what pages, exports and computations ask.

What a page reads goes through ``.visible_to(membership)``; what a computation reads is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.utils import timezone

from casebook import selectors as casebook
from casebook.domain.answers import FormAnswer, observed
from dosing.domain import nomogram
from dosing.domain.administered import Administered, administered
from dosing.domain.nomogram import Table
from dosing.domain.refusals import Refusal, Stop
from dosing.domain.states import TableStatus
from dosing.domain.table_rules import Bounds
from dosing.domain.worksheet import METHOD_VERSIONS, WEIGHT, Question, Reading, spec_for
from dosing.models import Administration, CourseEnd, DoseNeed, DoseRelease, DoseVerification, DoseWorksheet, DosingTable
from dosing.permissions import synthetic_allowed
from trials.domain.conditions import Observed, Value
from trials.domain.definition import Capture, Covariate, DosingSpec, Protocol
from trials.domain.derived import derive
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import date_of_day
from trials.models import Membership, Participant, ProtocolVersion, Trial
from trials.selectors import may_see_group

DEFAULT_LOW, DEFAULT_HIGH = Decimal("0.90"), Decimal("1.10")


# --- The rule that holds for a participant ------------------------------------------------------------------------


def dosing_of(participant: Participant) -> DosingSpec | None:
    """The participant's dosing rule, by their group where the protocol has several."""
    spec = participant.protocol.dosing
    return spec_for(spec, participant.group) if spec is not None else None


def expects_dose(participant: Participant) -> bool:
    """Whether a worksheet is computed for the participant: enrolled here, in a trial that doses by a rule."""
    return (
        participant.protocol.dosing is not None
        and participant.protocol.capture is not Capture.RETROSPECTIVE
        and not participant.is_external
        and hasattr(participant, "enrolment")
    )


def dosed(participant_ids: Iterable[int]) -> list[int]:
    """Those of the participants for whom a worksheet is computed."""
    rows = Participant.objects.filter(pk__in=list(participant_ids), is_external=False).enrolled()
    doses = _versions_that_dose()
    return [pk for pk, version in rows.values_list("pk", "protocol_version_id") if version in doses]


def _versions_that_dose() -> set[int]:
    """The protocol versions whose participants get a worksheet. A published version never changes: asked once."""
    known = set(ProtocolVersion.objects.values_list("pk", flat=True))
    for version in ProtocolVersion.objects.filter(pk__in=known - set(_DOSES)):
        protocol = version.protocol
        _DOSES[version.pk] = protocol.dosing is not None and protocol.capture is not Capture.RETROSPECTIVE
    return {pk for pk in known if _DOSES[pk]}


_DOSES: dict[int, bool] = {}


# --- Tables -------------------------------------------------------------------------------------------------------


def tables(membership: Membership) -> QuerySet[DosingTable]:
    return (
        DosingTable.objects.visible_to(membership)
        .select_related("entered_by__user", "verified_by__user", "approved_by__user", "trial")
        .order_by("code", "-version")
    )


def table_for(membership: Membership, pk: int) -> DosingTable:
    return tables(membership).get(pk=pk)


def active_table(trial: Trial, code: str) -> DosingTable | None:
    return DosingTable.objects.filter(trial=trial, code=code, status=TableStatus.ACTIVE).first()


def content_of(table: DosingTable) -> Table:
    return nomogram.from_data(table.content)


def is_intact(table: DosingTable) -> bool:
    """Whether the content is what was entered: its hash says so."""
    return nomogram.sha256(table.content) == table.sha256


def table_specs(trial: Trial) -> list[DosingSpec]:
    """The dosing rules of the active protocol that look up a table."""
    spec = trial.protocol.dosing
    if spec is None:
        return []
    all_specs = [spec_for(spec, group) for group in spec.by_group] if spec.by_group else [spec]
    return [one for one in all_specs if one is not None and one.parameters.get("table")]


def bounds_for(trial: Trial, code: str) -> tuple[Bounds, tuple[str, ...]] | None:
    """What the protocol lets the table say, and which graft sources it needs; None where it names no such table."""
    for spec in table_specs(trial):
        if spec.parameters.get("table") == code:
            limits, mapped = spec.bounds, spec.parameters.get("graft_tables")
            sources = tuple(dict.fromkeys(str(one) for one in mapped.values())) if isinstance(mapped, Mapping) else ()
            return (
                Bounds(
                    total_low_mg_per_kg=limits.total_low if limits else None,
                    total_high_mg_per_kg=limits.total_high if limits else None,
                    days_low=limits.days_low if limits else None,
                    days_high=limits.days_high if limits else None,
                    start_day=spec.start_day,
                ),
                sources,
            )
    return None


# --- The question -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A question with what is stored beside its answer."""

    question: Question
    table: DosingTable | None
    inputs: dict[str, object]
    sha256: str


def ask(participant: Participant) -> Asked:
    """Everything that the participant's dose rests on, as it is known now."""
    protocol = participant.protocol
    spec = dosing_of(participant)
    assert protocol.dosing is not None
    if spec is None:
        spec = DosingSpec(method="none")
    zone = ZoneInfo(participant.site.time_zone)
    started = first_infusion(participant)
    begun = started.started_at.astimezone(zone).replace(tzinfo=None) if started else None
    anchor = participant.anchors.order_by("-revision").first()
    anchor_day = anchor.day if anchor else None
    limit = begun or _end_of_first_day(spec, protocol, anchor_day)
    readings = {one.id: _reading(participant, protocol, one, limit, zone) for one in spec.covariates}
    row, refusal = _table_of(participant, spec)
    table = content_of(row) if row is not None and refusal is None else None
    conditions = _conditions(participant, protocol, table)
    question = Question(
        spec=spec,
        readings=readings,
        anchor_date=anchor_day,
        first_day=protocol.anchor.first_day,
        anchor_label=protocol.anchor.label or protocol.anchor.event,
        first_dose_at=begun,
        birth=PartialDate.from_iso(participant.birth_date) if participant.birth_date else None,
        table=table,
        table_name=str(row) if row else "",
        table_refusal=refusal,
        conditions=conditions,
    )
    inputs: dict[str, object] = {
        "covariates": [_stored(one) for one in readings.values()],
        "conditions": [_stored(one) for one in conditions.values()],
        "anchor": anchor_day.isoformat() if anchor_day else None,
        "first_dose_at": begun.isoformat() if begun else None,
        "birth_date": participant.birth_date,
        "table": {"code": row.code, "version": row.version, "sha256": row.sha256} if row else None,
        "table_refusal": refusal.code.value if refusal else None,
        "group": participant.group,
    }
    said = {
        "inputs": inputs,
        "method": spec.method,
        "method_version": METHOD_VERSIONS.get(spec.method, ""),
        "protocol": participant.protocol_version.sha256,
    }
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, default=str)
    return Asked(question, row, inputs, hashlib.sha256(text.encode()).hexdigest())


def first_infusion(participant: Participant) -> Administration | None:
    return Administration.objects.filter(participant=participant, is_void=False).order_by("started_at").first()


def _end_of_first_day(spec: DosingSpec, protocol: Protocol, anchor_day: date | None) -> datetime | None:
    first = spec.days[0] if spec.days else spec.start_day
    if first is None or anchor_day is None:
        return None
    on = date_of_day(first, anchor_day, protocol.anchor.first_day)
    return datetime.combine(on + timedelta(days=1), time.min)


def _reading(
    participant: Participant, protocol: Protocol, covariate: Covariate, limit: datetime | None, zone: ZoneInfo
) -> Reading:
    """The latest value before the first dose, and the one before it."""
    limit = limit if covariate.before_first_dose else None
    try:
        analyte = protocol.analyte(covariate.item)
    except KeyError:
        return _item_reading(participant, protocol, covariate, limit)
    points = list(casebook.lab_series(participant.trial, covariate.item, participants=[participant.pk]))
    moments = [
        point.sampled_at.astimezone(zone).replace(tzinfo=None) if point.has_time else point.sampled_on
        for point in points
    ]
    inside = [
        place
        for place, moment in enumerate(moments)
        if limit is None or (moment < limit if isinstance(moment, datetime) else _whole_day_before(moment, limit))
    ]
    if not inside:
        return Reading(covariate.id, analyte.label, None, is_after_first_dose=bool(points))
    last = points[inside[-1]]
    earlier = (points[inside[-2]].value, moments[inside[-2]]) if len(inside) > 1 else None
    return Reading(
        id=covariate.id,
        label=analyte.label,
        value=last.value,
        unit=last.unit,
        qualifier=last.qualifier,
        observed_at=moments[inside[-1]],
        source=f"laboratory {last.laboratory}".strip(),
        earlier=earlier,
    )


def _whole_day_before(day: date, limit: datetime) -> bool:
    """A sample known by its day only counts as before the first dose when that whole day is."""
    return datetime.combine(day + timedelta(days=1), time.min) <= limit


def _item_reading(
    participant: Participant, protocol: Protocol, covariate: Covariate, limit: datetime | None
) -> Reading:
    item = protocol.item(covariate.item)
    series = casebook.item_series(participant, covariate.item)
    inside = [one for one in series if limit is None or one.observed_on is None or _is_before(one.observed_on, limit)]
    if not inside:
        return Reading(covariate.id, item.label, None, is_after_first_dose=bool(series))
    last = inside[-1]
    numbers = [one for one in inside[:-1] if isinstance(one.value, Decimal) and one.observed_on is not None]
    earlier = None
    if numbers:
        before = numbers[-1]
        assert isinstance(before.value, Decimal) and before.observed_on is not None
        earlier = (before.value, before.observed_on)
    return Reading(
        id=covariate.id,
        label=item.label,
        value=_covariate_value(last.value),
        unit=last.unit,
        qualifier=last.qualifier,
        observed_at=last.observed_on,
        source=last.source,
        earlier=earlier,
    )


def _is_before(moment: date | datetime, limit: datetime) -> bool:
    """A form's answer is known by its day; on the day of the first dose it is taken as given before the dose."""
    return moment < limit if isinstance(moment, datetime) else datetime.combine(moment, time.min) < limit


def _covariate_value(value: Value) -> Decimal | str | None:
    return value if value is None or isinstance(value, Decimal) else str(value)


def _conditions(participant: Participant, protocol: Protocol, table: Table | None) -> dict[str, Reading]:
    """What the table's applicability asks of the casebook."""
    found = {}
    for address in table.applicability.items if table is not None else ():
        try:
            item = protocol.item(address)
        except KeyError:
            continue
        series = casebook.item_series(participant, address)
        last = series[-1] if series else Observed(None)
        value = None if last.value is None else str(last.value)
        found[address] = Reading(address, item.label, value, observed_at=last.observed_on, source=last.source)
    return found


def _stored(reading: Reading) -> dict[str, object]:
    earlier = reading.earlier
    return {
        "id": reading.id,
        "label": reading.label,
        "value": nomogram.plain(reading.value) if isinstance(reading.value, Decimal) else reading.value,
        "unit": reading.unit,
        "qualifier": reading.qualifier,
        "observed_at": reading.observed_at.isoformat() if reading.observed_at else None,
        "source": reading.source,
        "earlier": [nomogram.plain(earlier[0]), earlier[1].isoformat()] if earlier else None,
        "is_after_first_dose": reading.is_after_first_dose,
    }


def _table_of(participant: Participant, spec: DosingSpec) -> tuple[DosingTable | None, Refusal | None]:
    code = spec.parameters.get("table")
    if not isinstance(code, str):
        return None, None
    row = active_table(participant.trial, code)
    if row is None:
        sentence = f"The protocol's dosing table “{code}” is not loaded and approved in this trial."
        return None, Refusal(Stop.NO_TABLE, sentence, "Enter, verify and approve it under dosing tables.")
    if not is_intact(row):
        sentence = f"{row} is not the table that was approved: its hash differs."
        return row, Refusal(Stop.TABLE_CHANGED, sentence, "Tell the data manager; the table is entered anew.")
    if row.is_synthetic and not synthetic_allowed(participant.trial):
        sentence = f"{row} is synthetic and computes no dose for a real participant."
        return row, Refusal(Stop.SYNTHETIC, sentence, "Approve the published table of the protocol.")
    return row, None


# --- Worksheets ---------------------------------------------------------------------------------------------------


def worksheets_of(participant: Participant) -> QuerySet[DoseWorksheet]:
    """All of them, the latest first."""
    return (
        DoseWorksheet.objects.filter(participant=participant)
        .select_related("table", "proposed_by__user", "protocol_version__trial", "release__released_by__user")
        .prefetch_related(
            Prefetch("verifications", DoseVerification.objects.select_related("verified_by__user").order_by("pk"))
        )
        .order_by("-pk")
    )


def _versions_hidden_from(membership: Membership) -> list[int]:
    """Versions whose groups the membership may not know: doses would tell them."""
    versions = membership.trial.versions.select_related("trial")
    return [version.pk for version in versions if not may_see_group(membership, version.protocol)]


def worksheets(membership: Membership) -> QuerySet[DoseWorksheet]:
    """The worksheets that the membership may see."""
    rows = (
        DoseWorksheet.objects.visible_to(membership)
        .select_related("participant__site", "participant__protocol_version__trial", "table", "release")
        .order_by("participant__number", "-pk")
    )
    hidden = [
        version.pk for version in membership.trial.versions.all() if not may_see_group(membership, version.protocol)
    ]
    return rows.exclude(participant__protocol_version__in=hidden)


def worksheet_for(membership: Membership, pk: int) -> DoseWorksheet:
    return (
        DoseWorksheet.objects.visible_to(membership)
        .select_related(
            "participant__site",
            "participant__trial",
            "participant__protocol_version__trial",
            "participant__enrolment",
            "proposed_by",
            "table",
        )
        .get(pk=pk)
    )


def current_worksheet(participant: Participant) -> DoseWorksheet | None:
    """What was computed last from the facts."""
    return worksheets_of(participant).filter(is_current=True, source=DoseWorksheet.Source.CALCULATION).first()


def plan_of_record(participant: Participant) -> DoseWorksheet | None:
    """The plan that what is given is compared with; None while there is none."""
    return worksheets_of(participant).filter(is_current=True, is_plan_of_record=True).first()


def agreed_verification(worksheet: DoseWorksheet) -> DoseVerification | None:
    return next((one for one in worksheet.verifications.all() if one.agrees), None)


def release_of(worksheet: DoseWorksheet) -> DoseRelease | None:
    return getattr(worksheet, "release", None)


# --- What was given -----------------------------------------------------------------------------------------------


def administrations_of(participant: Participant) -> QuerySet[Administration]:
    """All of them, void ones too, by infusion."""
    return Administration.objects.filter(participant=participant).order_by("infusion", "pk")


def administrations(membership: Membership) -> QuerySet[Administration]:
    rows = (
        Administration.objects.visible_to(membership)
        .select_related("participant__site")
        .order_by("participant__number", "infusion", "pk")
    )
    hidden = [
        version.pk for version in membership.trial.versions.all() if not may_see_group(membership, version.protocol)
    ]
    return rows.exclude(participant__protocol_version__in=hidden)


def administration_for(membership: Membership, pk: int) -> Administration:
    return (
        Administration.objects.visible_to(membership)
        .select_related(
            "participant__site",
            "participant__trial",
            "participant__protocol_version__trial",
            "participant__enrolment",
        )
        .get(pk=pk)
    )


def course_end(participant: Participant) -> CourseEnd | None:
    return CourseEnd.objects.filter(participant=participant, is_void=False).first()


def judged(participant: Participant, today: date) -> Administered | None:
    """What was given against the plan of record, as of ``today``; None without a plan."""
    plan = plan_of_record(participant)
    given = list(administrations_of(participant).filter(is_void=False).values_list("dose_mg", flat=True))
    return judge(participant, plan, given, today)


def judge(
    participant: Participant, plan: DoseWorksheet | None, given: Collection[Decimal], today: date
) -> Administered | None:
    if plan is None or plan.planned_mg is None or plan.last_day_on is None:
        return None
    low, high = ratio_bounds(participant)
    return administered(
        planned_mg=plan.planned_mg,
        given_mg=given,
        low=low,
        high=high,
        last_planned_day=plan.last_day_on,
        today=today,
        is_ended=course_end(participant) is not None,
    )


def ratio_bounds(participant: Participant) -> tuple[Decimal, Decimal]:
    """Given over planned that is no deviation, both ends inside."""
    spec = dosing_of(participant)
    bounds = spec.deviation if spec is not None else None
    return (bounds.low, bounds.high) if bounds is not None else (DEFAULT_LOW, DEFAULT_HIGH)


@dataclass(frozen=True)
class Given:
    """The cumulative dose of one participant, per kg of the plan's weight, and over the plan; None without a plan."""

    mg: Decimal
    mg_per_kg: Decimal | None
    over_planned: Decimal | None


def given_by_participant(trial: Trial) -> dict[int, Given]:
    """What each participant of the trial was given, in bulk."""
    plans = {
        plan.participant_id: plan
        for plan in DoseWorksheet.objects.filter(participant__trial=trial, is_current=True, is_plan_of_record=True)
    }
    sums: dict[int, Decimal] = defaultdict(Decimal)
    rows = Administration.objects.filter(participant__trial=trial, is_void=False)
    for participant, mg in rows.values_list("participant_id", "dose_mg"):
        sums[participant] += mg
    found = {}
    for participant, mg in sums.items():
        plan = plans.get(participant)
        weight = input_of(plan, WEIGHT) if plan else None
        per_kg = mg / Decimal(weight) if weight and Decimal(weight) else None
        found[participant] = Given(mg, per_kg, mg / plan.planned_mg if plan and plan.planned_mg else None)
    return found


def input_of(worksheet: DoseWorksheet, name: str) -> str:
    """One covariate of a stored worksheet as text; empty where it had none."""
    for one in worksheet.inputs.get("covariates", ()):
        if one["id"] == name:
            return str(one["value"]) if one["value"] is not None else ""
    return ""


# --- For rules of the definition ----------------------------------------------------------------------------------


def computed_items(participant: Participant, today: date | None = None) -> dict[str, Observed]:
    """The items of the definition that follow from plan and doses, where it has them; not known while provisional.

    An item is recognised by what it says it is computed from (``dose_worksheet``, ``given_over_planned``), and those
    over given doses by the rows of the form ``EX``.
    """
    today = today or timezone.now().astimezone(ZoneInfo(participant.site.time_zone)).date()
    protocol, plan = participant.protocol, plan_of_record(participant)
    given = list(administrations_of(participant).filter(is_void=False))
    verdict = judge(participant, plan, [one.dose_mg for one in given], today)
    known: dict[str, Observed] = {}
    facts: dict[str, Value] = {}
    if plan is not None:
        facts = {
            "SOURCE": plan.graft_source or None,
            "TOTAL_MG_PER_KG": plan.total_mg_per_kg,
            "DAYS": Decimal(plan.n_days) if plan.n_days else None,
        }
    for form in protocol.forms:
        for item in form.items:
            address = f"{form.id}.{item.id}"
            if form.repeating:
                continue
            if item.computed == "given_over_planned":
                ratio = verdict.ratio if verdict is not None and verdict.is_final else None
                known[address] = Observed(ratio, "given doses", unit=item.unit)
            elif item.computed == "dose_worksheet":
                known[address] = Observed(facts.get(item.id), str(plan) if plan else "dose plan", unit=item.unit)
    return _with_derived(participant, known, _infusion_rows(participant, given))


def _infusion_rows(participant: Participant, given: list[Administration]) -> list[dict[str, Observed]]:
    zone = ZoneInfo(participant.site.time_zone)
    rows = []
    for one in given:
        started, stopped = (moment.astimezone(zone).replace(tzinfo=None) for moment in (one.started_at, one.stopped_at))
        source = f"infusion {one.infusion}"
        rows.append(
            {
                "EX.START": Observed(started, source, started),
                "EX.STOP": Observed(stopped, source, started),
                "EX.DOSE": Observed(one.dose_mg, source, started, unit="mg"),
                "EX.PRODUCT": Observed(one.product, source, started),
            }
        )
    return rows


def _with_derived(
    participant: Participant, known: dict[str, Observed], infusions: list[dict[str, Observed]]
) -> dict[str, Observed]:
    """The derived items that rest on given doses, and those that rest on them in turn."""
    protocol = participant.protocol
    rows: dict[str, list[dict[str, Observed]]] = {"EX": infusions}
    values: Mapping[str, Observed] | None = None
    computed_forms = {address.partition(".")[0] for address in known}
    for spec in protocol.derived:
        form = spec.item.partition(".")[0]
        if form != "EX" and spec.id.partition(".")[0] not in computed_forms:
            continue
        if form and form not in rows:
            rows[form] = list(_form_rows(participant, form))
        if values is None:
            values = casebook.item_values(participant)
        known[spec.id] = derive(spec, {**values, **known}, rows)
    return known


def _form_rows(participant: Participant, form_id: str) -> Iterator[dict[str, Observed]]:
    form = participant.protocol.form(form_id)
    items = {item.id: item for item in form.items}
    for entry in casebook.entries_of_trial(participant.trial, form=form_id, participants=[participant.pk]):
        yield {
            f"{form_id}.{name}": observed(items[name], FormAnswer.from_stored(stored), source=form.label)
            for name, stored in entry.answers.items()
            if name in items
        }


# --- Work to be done ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenWork:
    """What is to be done about doses in the reach of a membership."""

    to_verify: tuple[DoseWorksheet, ...]
    to_release: tuple[DoseWorksheet, ...]
    due_today: tuple[tuple[DoseWorksheet, int], ...]
    refused: tuple[DoseWorksheet, ...]


def open_work(membership: Membership, today: date) -> OpenWork:
    """Doses to verify and to release, infusions due on ``today``, and worksheets that could not be computed."""
    rows = (
        worksheets(membership)
        .filter(is_current=True, source=DoseWorksheet.Source.CALCULATION, participant__status="enrolled")
        .exclude(
            Exists(
                DoseWorksheet.objects.filter(
                    participant=OuterRef("participant"), is_current=True, source=DoseWorksheet.Source.IMPORT
                )
            )
        )
        .prefetch_related("verifications")
    )
    ended = set(
        CourseEnd.objects.filter(is_void=False, participant__trial=membership.trial).values_list(
            "participant_id", flat=True
        )
    )
    given: dict[int, set[date]] = defaultdict(set)
    for infusion in (
        Administration.objects.visible_to(membership).filter(is_void=False).select_related("participant__site")
    ):
        zone = ZoneInfo(infusion.participant.site.time_zone)
        given[infusion.participant_id].add(infusion.started_at.astimezone(zone).date())
    to_verify: list[DoseWorksheet] = []
    to_release: list[DoseWorksheet] = []
    refused: list[DoseWorksheet] = []
    due: list[tuple[DoseWorksheet, int]] = []
    for row in rows:
        if row.participant_id in ended:
            continue
        if row.is_refused:
            if not given[row.participant_id]:
                refused.append(row)
            continue
        if release_of(row) is None:
            if not given[row.participant_id]:
                (to_release if agreed_verification(row) else to_verify).append(row)
            continue
        for number, day in enumerate(row.result["days"], start=1):
            on = date.fromisoformat(day["on"])
            if on <= today and on not in given[row.participant_id] and today <= (row.last_day_on or on):
                due.append((row, number))
    return OpenWork(tuple(to_verify), tuple(to_release), tuple(due), tuple(refused))


def needing_work(today: date, *, limit: int = 200) -> list[int]:
    """Participants whose inputs are newer than what was computed, or whose course is over by today, oldest first;
    and the enrolled ones for whom nothing was computed yet."""
    marked = list(DoseNeed.objects.filter(due_on__lte=today).order_by("since").values_list("pk", flat=True)[:limit])
    versions = _versions_that_dose()
    without = (
        Participant.objects.filter(is_external=False, protocol_version__in=versions)
        .enrolled()
        .exclude(
            Exists(
                DoseWorksheet.objects.filter(
                    participant=OuterRef("pk"), is_current=True, source=DoseWorksheet.Source.CALCULATION
                )
            )
        )
        .exclude(pk__in=marked)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    return marked + list(without[: limit - len(marked)])
