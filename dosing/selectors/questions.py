"""The question that a worksheet answers: the rule that holds, the table in force, and the facts as they are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from audit.models import TrailRow
from casebook import selectors as casebook
from dosing.domain import nomogram
from dosing.domain.applicability import Applied, checks_of_protocol
from dosing.domain.nomogram import Table
from dosing.domain.refusals import Refusal, Stop
from dosing.domain.states import TableStatus
from dosing.domain.table_rules import Bounds
from dosing.domain.worksheet import METHOD_VERSIONS, Question, Reading, spec_for
from dosing.models import Administration, DoseWorksheet, DosingTable
from dosing.permissions import synthetic_allowed
from trials.domain.conditions import Observed, Value
from trials.domain.definition import Capture, Covariate, DosingSpec, Item, Protocol
from trials.domain.observations import labels
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import date_of_day
from trials.models import Membership, Participant, ProtocolVersion, Trial

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
    doses = versions_that_dose()
    return [pk for pk, version in rows.values_list("pk", "protocol_version_id") if version in doses]


def versions_that_dose() -> set[int]:
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
    checks = _protocol_checks(participant, protocol, spec)
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
        protocol_checks=checks,
    )
    inputs: dict[str, object] = {
        "covariates": [_stored(one) for one in readings.values()],
        "conditions": [_stored(one) for one in conditions.values()],
        "applicability": [{"id": one.id, "answer": one.answer.value, "found": one.found} for one in checks],
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
        text=_said(item, last.value),
    )


def _said(item: Item, value: Value) -> str:
    """The words of a code; empty for anything else."""
    return next((code.label for code in item.codes if code.value == value), "")


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


def _protocol_checks(participant: Participant, protocol: Protocol, spec: DosingSpec) -> tuple[Applied, ...]:
    if not spec.applicability:
        return ()
    return checks_of_protocol(spec, casebook.item_values(participant), labels(protocol))


def entered_by(participant: Participant, worksheet: DoseWorksheet) -> set[int]:
    """The users who wrote the values that the worksheet rests on, by the audit trail: the first entry is theirs."""
    spec, protocol = dosing_of(participant), participant.protocol
    used = {one["id"]: one for one in worksheet.inputs["covariates"]}
    rows: list[tuple[str, int]] = []
    for covariate in spec.covariates if spec is not None else ():
        seen = str(used.get(covariate.id, {}).get("observed_at") or "")[:10]
        form, _, name = covariate.item.partition(".")
        if any(f"{analyte.form}.{analyte.id}" == covariate.item for analyte in protocol.analytes):
            points = casebook.lab_series(participant.trial, covariate.item, participants=[participant.pk])
            rows += [("casebook_labresult", one.result_id) for one in points if one.sampled_on.isoformat() == seen]
        else:
            entries = casebook.entries_of_trial(participant.trial, form=form, participants=[participant.pk])
            rows += [
                ("casebook_formentry", one.entry_id)
                for one in entries
                if name in one.answers and (one.observed_on.isoformat() if one.observed_on else "") == seen
            ]
    wrote: set[int] = set()
    for table in {table for table, _ in rows}:
        ids = [str(pk) for one, pk in rows if one == table]
        trail = TrailRow.objects.filter(table_name=table, row_id__in=ids, user_id__isnull=False)
        wrote |= {user for user in trail.values_list("user_id", flat=True) if user is not None}
    return wrote


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
