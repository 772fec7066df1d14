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
from dosing.domain.level_guided import NOT_DETECTED, GivenInfusion, LevelSample
from dosing.domain.model_files import to_algorithm, to_model
from dosing.domain.nomogram import Table
from dosing.domain.refusals import Refusal, Stop
from dosing.domain.states import TableStatus
from dosing.domain.table_rules import Bounds
from dosing.domain.worksheet import (
    METHOD_VERSIONS,
    NOTHING_FOUND,
    LevelFacts,
    Question,
    Reading,
    listed_days,
    moment_words,
    spec_for,
)
from dosing.models import Administration, DoseWorksheet, DosingModel, DosingTable, TableAtSite
from dosing.permissions import synthetic_allowed
from trials.domain.conditions import Observed, Value
from trials.domain.definition import Capture, Covariate, DosingSpec, Item, Protocol
from trials.domain.observations import labels
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import date_of_day, study_day
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
        .select_related("entered_by__user", "verified_by__user", "approved_by__user", "retired_by__user", "trial")
        .order_by("code", "-version")
    )


def table_for(membership: Membership, pk: int) -> DosingTable:
    return tables(membership).get(pk=pk)


def active_table(trial: Trial, code: str) -> DosingTable | None:
    return DosingTable.objects.filter(trial=trial, code=code, status=TableStatus.ACTIVE).first()


def tables_in_force(trial: Trial) -> list[DosingTable]:
    """The active tables that the protocol looks doses up in."""
    codes = {str(spec.parameters["table"]) for spec in table_specs(trial)}
    return list(DosingTable.objects.filter(trial=trial, code__in=codes, status=TableStatus.ACTIVE).order_by("code"))


def sites_of(table: DosingTable) -> dict[int, TableAtSite]:
    """Where the table was put into force site by site; empty where it holds at every site."""
    return {one.site_id: one for one in table.at_sites.select_related("site", "approved_by__user").order_by("pk")}


def holds_at(table: DosingTable, site: int) -> bool:
    """Whether an approved table is in force at the site."""
    named = sites_of(table)
    return not named or site in named


def content_of(table: DosingTable) -> Table:
    return nomogram.from_data(table.content)


def is_intact(table: DosingTable | DosingModel) -> bool:
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


# --- Levels and the algorithm -------------------------------------------------------------------------------------


def active_model(trial: Trial, code: str) -> DosingModel | None:
    return DosingModel.objects.filter(trial=trial, code=code, status=TableStatus.ACTIVE).first()


def models(membership: Membership) -> QuerySet[DosingModel]:
    """The parameter sets and algorithms of the trial."""
    return (
        DosingModel.objects.visible_to(membership)
        .select_related("entered_by__user", "verified_by__user", "approved_by__user", "retired_by__user", "trial")
        .order_by("code", "-version")
    )


def model_for(membership: Membership, pk: int) -> DosingModel:
    return models(membership).get(pk=pk)


def algorithms_named(trial: Trial) -> list[str]:
    """The level-guided algorithms that the protocol in force names."""
    spec = trial.protocol.dosing
    if spec is None:
        return []
    specs = [spec_for(spec, group) for group in spec.by_group] if spec.by_group else [spec]
    return [str(one.parameters["algorithm"]) for one in specs if one is not None and one.parameters.get("algorithm")]


@dataclass(frozen=True)
class _Guide:
    """The facts of a level-guided dose, with what is stored of them and the results they come from."""

    facts: LevelFacts
    algorithm: DosingModel | None = None
    model: DosingModel | None = None
    results: tuple[int, ...] = ()
    open_days: tuple[int, ...] = ()

    @property
    def is_synthetic(self) -> bool:
        return any(row is not None and row.is_synthetic for row in (self.algorithm, self.model))

    def stored(self) -> dict[str, object]:
        """Levels, infusions and graft count once there are enough levels: until then the fixed dose does not wait
        for them, and what changes them does not change it."""
        facts = self.facts
        said: dict[str, object] = {
            "algorithm": _version(self.algorithm),
            "model": _version(self.model),
            "algorithm_refusal": facts.refusal.code.value if facts.refusal else None,
        }
        if facts.guides:
            target = facts.target
            said["target"] = (
                [target.id, str(target.low), str(target.high), target.unit, target.assay, target.window]
                if target is not None
                else None
            )
            said["levels"] = [
                {
                    "result": result,
                    "assay": one.assay,
                    "lower_limit": nomogram.plain(one.lower_limit) if one.lower_limit is not None else None,
                }
                for result, one in zip(self.results, facts.levels, strict=True)
            ]
            said["infusions"] = [
                {
                    "day": one.day,
                    "started_at": one.started_at.isoformat(),
                    "stopped_at": one.stopped_at.isoformat() if one.stopped_at else None,
                    "mg": nomogram.plain(one.mg),
                }
                for one in facts.infusions
            ]
            said["open_days"] = list(self.open_days)
            said["graft_at"] = facts.graft_at.isoformat() if facts.graft_at else None
            said["graft_has_time"] = facts.graft_has_time
        return said

    def readings(self) -> list[Reading]:
        """The levels as covariates: the second person enters each of them again."""
        if not self.facts.guides:
            return []
        return [
            Reading(
                id=f"level_{count}",
                label=f"Level of {moment_words(one.taken_at)}",
                value=NOTHING_FOUND if one.qualifier == NOT_DETECTED else one.value,
                unit=one.unit,
                qualifier=one.qualifier,
                observed_at=one.taken_at,
                source=f"laboratory {one.assay}".strip(),
            )
            for count, one in enumerate(self.facts.levels, start=1)
        ]


def _version(row: DosingModel | None) -> dict[str, object] | None:
    return {"code": row.code, "version": row.version, "sha256": row.sha256} if row is not None else None


def _guide(
    participant: Participant, protocol: Protocol, spec: DosingSpec, anchor_day: date | None, zone: ZoneInfo
) -> _Guide:
    """Algorithm, parameter set, levels and infusions, where the rule is guided by levels."""
    code = spec.parameters.get("algorithm")
    if spec.method != "level_guided" or not isinstance(code, str):
        return _Guide(LevelFacts())
    row = active_model(participant.trial, code)
    if row is None or row.kind == DosingModel.Kind.PARAMETERS:
        return _Guide(LevelFacts())
    algorithm = to_algorithm(row.content, str(row))
    set_row = active_model(participant.trial, algorithm.parameter_set) if algorithm.parameter_set else None
    if set_row is not None and set_row.kind != DosingModel.Kind.PARAMETERS:
        set_row = None
    refusal = next((found for one in (row, set_row) if (found := _unusable(one, participant.trial))), None)
    target = next((one for one in protocol.targets if one.id == spec.parameters.get("target")), None)
    model = to_model(set_row.content, str(set_row)) if set_row is not None and refusal is None else None
    given = [
        GivenInfusion(
            day=study_day(started.date(), anchor_day, protocol.anchor.first_day),
            started_at=started,
            stopped_at=one.stopped_at.astimezone(zone).replace(tzinfo=None),
            mg=one.dose_mg,
        )
        for one in Administration.objects.filter(participant=participant, is_void=False).order_by("started_at")
        if anchor_day is not None
        for started in [one.started_at.astimezone(zone).replace(tzinfo=None)]
    ]
    analyte = model.analyte if model is not None else _level_analyte(protocol, algorithm.level_unit)
    open_days = listed_days(spec, "adjust_on")
    samples: list[tuple[LevelSample, int]] = []
    if analyte and open_days and anchor_day is not None:
        open_on = date_of_day(open_days[0], anchor_day, protocol.anchor.first_day)
        samples = [
            (one, point.result_id) for one, point in levels_of(participant, analyte) if point.sampled_on <= open_on
        ]
    begun = any(one.day in open_days for one in given)
    graft_at, has_time = graft_moment(participant, protocol, anchor_day)
    facts = LevelFacts(
        algorithm=algorithm,
        model=model,
        refusal=refusal,
        target=target,
        # From the first open infusion on nothing is proposed: the plan that was given stands.
        levels=() if begun else tuple(one for one, _ in samples),
        infusions=tuple(given),
        graft_at=graft_at,
        graft_has_time=has_time,
        may_use_unverified=synthetic_allowed(participant.trial),
    )
    return _Guide(facts, row, set_row, () if begun else tuple(pk for _, pk in samples), open_days)


def _unusable(row: DosingModel | None, trial: Trial) -> Refusal | None:
    if row is None:
        return None
    if not is_intact(row):
        sentence = f"{row} is not what was approved: its hash differs."
        return Refusal(Stop.ALGORITHM_CHANGED, sentence, "Tell the data manager; it is entered anew.")
    if row.is_synthetic and not synthetic_allowed(trial):
        sentence = f"{row} is synthetic and computes no dose for a real participant."
        return Refusal(Stop.SYNTHETIC, sentence, "Approve the sponsor's own.")
    return None


def _level_analyte(protocol: Protocol, unit: str) -> str:
    """An algorithm without a set reads the levels of its unit."""
    return next((f"{one.form}.{one.id}" for one in protocol.analytes if one.canonical_unit == unit), "")


def levels_of(participant: Participant, address: str) -> list[tuple[LevelSample, casebook.LabPoint]]:
    """Every level of one analyte in the site's time, also where the assay found nothing, with its result.

    The limit of quantification is the result's own; where the laboratory gave none, that of the definition.
    """
    zone = ZoneInfo(participant.site.time_zone)
    try:
        analyte = participant.protocol.analyte(address)
    except KeyError:
        return []
    points = casebook.results_of_trial(
        participant.trial, participants=[participant.pk], addresses=[address], undetected=True
    )
    return [
        (
            LevelSample(
                value=point.value,
                # A result without a number has no canonical unit of its own: its limit is in the analyte's.
                unit=point.unit or analyte.canonical_unit,
                assay=point.laboratory,
                taken_at=(
                    point.sampled_at.astimezone(zone).replace(tzinfo=None) if point.has_time else point.sampled_on
                ),
                qualifier=point.qualifier,
                lower_limit=point.lloq if point.lloq is not None else analyte.lloq,
                analyte=point.address,
            ),
            point,
        )
        for point in points
    ]


def graft_moment(participant: Participant, protocol: Protocol, anchor_day: date | None) -> tuple[datetime | None, bool]:
    """The graft's moment; noon of its planned day where its time is not recorded yet, which a total does not feel."""
    if anchor_day is None:
        return None, False
    noon = datetime.combine(anchor_day, time(12))
    try:
        series = casebook.item_series(participant, protocol.anchor.item)
    except KeyError:
        return noon, False
    for one in reversed(series):
        text = str(one.value or "")
        if len(text) > len("2025-01-01") and text.startswith(anchor_day.isoformat()):
            try:
                return datetime.fromisoformat(text).replace(tzinfo=None), True
            except ValueError:
                break
    return noon, False


# --- The question -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A question with what is stored beside its answer."""

    question: Question
    table: DosingTable | None
    inputs: dict[str, object]
    sha256: str
    is_synthetic: bool = False

    @property
    def is_guided(self) -> bool:
        """Whether levels guide the dose of days that are still open: then a course that has begun is planned anew."""
        return self.question.level_facts.guides


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
    guide = _guide(participant, protocol, spec, anchor_day, zone)
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
        level_facts=guide.facts,
    )
    inputs: dict[str, object] = {
        "covariates": [_stored(one) for one in (*readings.values(), *guide.readings())],
        "conditions": [_stored(one) for one in conditions.values()],
        "applicability": [{"id": one.id, "answer": one.answer.value, "found": one.found} for one in checks],
        "anchor": anchor_day.isoformat() if anchor_day else None,
        "first_dose_at": begun.isoformat() if begun else None,
        "birth_date": participant.birth_date,
        "table": {"code": row.code, "version": row.version, "sha256": row.sha256} if row else None,
        "table_refusal": refusal.code.value if refusal else None,
        "group": participant.group,
    }
    if spec.method == "level_guided":
        inputs["guide"] = guide.stored()
    said = {
        "inputs": inputs,
        "method": spec.method,
        "method_version": METHOD_VERSIONS.get(spec.method, ""),
        "protocol": participant.protocol_version.sha256,
    }
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, default=str)
    return Asked(question, row, inputs, hashlib.sha256(text.encode()).hexdigest(), guide.is_synthetic)


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
    guide = worksheet.inputs.get("guide") or {}
    rows += [("casebook_labresult", one["result"]) for one in guide.get("levels") or ()]
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
    if not holds_at(row, participant.site_id):
        sentence = f"{row} is approved in the trial and not yet put into force at site {participant.site}."
        return row, Refusal(Stop.NO_TABLE, sentence, "An investigator puts it into force at the site.")
    if not is_intact(row):
        sentence = f"{row} is not the table that was approved: its hash differs."
        return row, Refusal(Stop.TABLE_CHANGED, sentence, "Tell the data manager; the table is entered anew.")
    if row.is_synthetic and not synthetic_allowed(participant.trial):
        sentence = f"{row} is synthetic and computes no dose for a real participant."
        return row, Refusal(Stop.SYNTHETIC, sentence, "Approve the published table of the protocol.")
    return row, None
