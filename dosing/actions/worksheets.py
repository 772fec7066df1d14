"""Worksheets: computed from the facts, verified by a second person, released. Frozen rows; new facts make new ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils import timezone

import audit.context
from casebook.domain.numbers import NumberEntryError, enter_number
from dosing import selectors
from dosing.actions.administrations import check_administered, locked
from dosing.actions.needs import done
from dosing.domain import nomogram
from dosing.domain.level_guided import Guided
from dosing.domain.nomogram import plain
from dosing.domain.states import WORKSHEET, WorksheetEvent, WorksheetStatus
from dosing.domain.worksheet import (
    GRAFT,
    METHOD_VERSIONS,
    NOTHING_FOUND,
    WEIGHT,
    DoseDay,
    Worksheet,
    as_source_says,
    compute,
    rounded_amounts,
    stored_moment_words,
)
from dosing.models import DoseRelease, DoseVerification, DoseWorksheet
from dosing.permissions import (
    Conflict,
    NotPossible,
    check_can_compute,
    check_can_import_plan,
    check_can_release,
    check_can_verify,
)
from trials.domain.schedule import date_of_day, study_day
from trials.models import Membership, Participant

RELEASE_MEANING = (
    "I entered the covariates from the source documents, independently of the first entry, and they agree. "
    "The dose may be given."
)
CALCULATION, IMPORT = DoseWorksheet.Source.CALCULATION, DoseWorksheet.Source.IMPORT


@transaction.atomic
def compute_worksheet(*, participant: Participant, by: Membership | None = None, reason: str = "") -> DoseWorksheet:
    """Compute the dose from the facts as they are now, or store why there is none; the same facts give the same row.

    From the first infusion on the plan stands: it is computed only where there is none yet, where levels guide the
    days that are still open, or did so until one was withdrawn, or the algorithm.
    """
    check_can_compute(by, participant)
    participant = locked(participant)
    now = timezone.now()
    standing = selectors.current_worksheet(participant)
    has_begun = selectors.first_infusion(participant) is not None
    asked = selectors.ask(participant)
    if (
        standing is not None
        and not standing.is_refused
        and has_begun
        and not asked.is_guided
        and not selectors.is_open_proposal(standing, selectors.administrations_of(participant).filter(is_void=False))
    ):
        return standing
    if standing is not None and standing.input_sha256 == asked.sha256:
        return standing
    answer = compute(asked.question)
    has_import = DoseWorksheet.objects.filter(participant=participant, source=IMPORT, is_current=True).exists()
    changed = _what_changed(standing, asked.inputs)
    with audit.context.context(by=by, reason=reason or changed, source=_source(by)):
        if standing is not None:
            DoseWorksheet.objects.filter(pk=standing.pk).update(is_current=False, is_plan_of_record=False)
        return DoseWorksheet.objects.create(
            participant=participant,
            source=CALCULATION,
            is_plan_of_record=not answer.is_refused and not has_import,
            is_refused=answer.is_refused,
            is_synthetic=not answer.is_refused
            and (asked.is_synthetic or bool(asked.table and asked.table.is_synthetic)),
            method=asked.question.spec.method,
            method_version=METHOD_VERSIONS.get(asked.question.spec.method, ""),
            protocol_version=participant.protocol_version,
            code_version=settings.VERSION,
            table=asked.table,
            inputs=asked.inputs,
            input_sha256=asked.sha256,
            total_mg_per_kg=answer.total_mg_per_kg,
            planned_mg=answer.planned_mg,
            total_mg=answer.total_mg,
            graft_source=_value(asked.inputs, GRAFT),
            n_days=len(answer.days) or None,
            first_day_on=answer.days[0].on if answer.days else None,
            last_day_on=answer.days[-1].on if answer.days else None,
            result=as_stored(answer),
            reason=reason or changed,
            proposed_by=by or participant.enrolment.enrolled_by,
            created_at=now,
        )


@transaction.atomic
def bring_up_to_date(*, participant: Participant, by: Membership | None = None) -> DoseWorksheet | None:
    """The worksheet and the deviations of one participant as the facts are now, and the mark that asked for both.

    What the task does (None), or a person who does not want to wait for it.
    """
    if by is not None:
        check_can_compute(by, participant)
    since = timezone.now()
    if not selectors.expects_dose(participant):
        done(participant, since=since, next_on=None)
        return None
    worksheet = compute_worksheet(participant=participant, by=by)
    check_administered(participant=participant)
    plan = worksheet if worksheet.is_plan_of_record else selectors.plan_of_record(participant)
    is_open = (
        plan is not None
        and plan.last_day_on is not None
        and plan.last_day_on >= timezone.localdate()
        and selectors.course_end(participant) is None
    )
    next_on = plan.last_day_on + timedelta(days=1) if is_open and plan is not None and plan.last_day_on else None
    done(participant, since=since, next_on=next_on)
    return worksheet


def as_stored(answer: Worksheet) -> dict[str, object]:
    """What a worksheet keeps of an answer, numbers as decimal strings."""
    cell = answer.cell
    return {
        "days": [_day(one) for one in answer.days],
        "trace": [list(step) for step in answer.trace],
        "warnings": [{"code": one.code, "sentence": one.sentence} for one in answer.warnings],
        "refusals": [
            {"code": one.code.value, "sentence": one.sentence, "way_out": one.way_out} for one in answer.refusals
        ],
        "cell": [plain(cell.weight_lo), plain(cell.alc_lo), cell.stem_cell_source] if cell else None,
        **({"guided": guided_as_stored(answer.guided)} if answer.guided is not None else {}),
        "applicability": [
            {
                "id": one.id,
                "text": one.text,
                "answer": one.answer.value,
                "found": one.found,
                "source": one.source,
                "otherwise": one.otherwise,
            }
            for one in answer.applicability
        ],
    }


def guided_as_stored(guided: Guided) -> dict[str, object]:
    """The proposal, or the reasons why there is none, in the target's unit."""
    refusals = [{"code": one.code.value, "sentence": one.sentence, "way_out": one.way_out} for one in guided.refusals]
    one = guided.proposal
    if one is None:
        return {"proposal": None, "refusals": refusals}
    curve = one.curve
    return {
        "refusals": refusals,
        "proposal": {
            "mg_each": plain(one.mg_each),
            "fixed_mg_each": plain(one.fixed_mg_each),
            "target": {
                "id": one.target.id,
                "low": plain(one.target.low) if one.target.low is not None else None,
                "high": plain(one.target.high) if one.target.high is not None else None,
                "unit": one.target.unit,
                "assay": one.target.assay,
                "window": one.target.window,
                "population": one.target.population,
            },
            "levels_used": one.levels_used,
            "levels_excluded": one.levels_excluded,
            "limits": list(one.limits),
            "to_date": one.to_date,
            "at_planned": one.at_planned,
            "at_proposed": one.at_proposed,
            "interval": list(one.interval) if one.interval is not None else None,
            "steps": list(one.steps),
            "shrinkage": dict(one.shrinkage),
            "mainly_population": list(one.mainly_population),
            "etas": dict(one.etas),
            "parameters": {name: float(value) for name, value in vars(curve.parameters).items()} if curve else None,
        },
    }


def _day(one: DoseDay) -> dict[str, object]:
    return {
        "day": one.day,
        "on": one.on.isoformat(),
        "mg": plain(one.mg),
        "ml": plain(one.ml) if one.ml is not None else None,
        "vials": one.vials,
        "waste_mg": plain(one.waste_mg) if one.waste_mg is not None else None,
    }


def _what_changed(standing: DoseWorksheet | None, inputs: Mapping[str, object]) -> str:
    """The reason of a new worksheet in words: which inputs are others than before."""
    if standing is None:
        return ""
    before, now = _flat(standing.inputs), _flat(inputs)
    changed = [
        f"{name}: {before.get(name) or 'not known'} → {now.get(name) or 'not known'}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    return f"Changed: {'; '.join(changed)}." if changed else "The protocol or its method changed."


def _flat(inputs: Mapping[str, object]) -> dict[str, str]:
    flat = {}
    for kind in ("covariates", "conditions"):
        for one in inputs.get(kind) or ():  # type: ignore[attr-defined]
            value = f"{one['qualifier']}{one['value']} {one['unit']}".strip() if one["value"] is not None else ""
            seen = stored_moment_words(one["observed_at"])
            flat[one["label"]] = f"{value} of {seen}" if value and seen else value
    for key, name in {"anchor": "day 0", "first_dose_at": "first dose"}.items():
        flat[name] = stored_moment_words(str(inputs.get(key) or ""))
    for key, name in {"birth_date": "birth date", "group": "group"}.items():
        flat[name] = str(inputs.get(key) or "")
    for one in inputs.get("applicability") or ():  # type: ignore[attr-defined]
        flat[f"applies ({one['id']})"] = str(one["answer"])
    table = inputs.get("table")
    flat["table"] = f"{table['code']} v{table['version']}" if isinstance(table, Mapping) else ""
    flat["table's use"] = str(inputs.get("table_refusal") or "allowed")
    return flat


def _value(inputs: Mapping[str, object], name: str) -> str:
    for one in inputs["covariates"]:  # type: ignore[attr-defined]
        if one["id"] == name:
            return str(one["value"] or "")
    return ""


#: What a file does not say of a plan's covariates.
_UNDATED = {"unit": "", "qualifier": "", "observed_at": None, "source": "import"}


# --- The plan of an import ----------------------------------------------------------------------------------------


@transaction.atomic
def import_plan_of_record(
    *,
    participant: Participant,
    total_mg_per_kg: Decimal,
    weight_kg: Decimal | None,
    graft_source: str,
    start_day: int,
    n_days: int | None = None,
    by: Membership | None,
    reason: str = "Import",
) -> DoseWorksheet:
    """Keep the plan that a file reports as the plan of record; what is computed here stands beside it.

    The same plan again is the row that there is; another one takes its place. Without ``n_days`` the protocol's
    longest course is assumed for the day on which the course is over.
    """
    check_can_import_plan(by, participant)
    participant = locked(participant)
    spec = selectors.dosing_of(participant)
    if spec is None:
        raise NotPossible(f"{participant.trial} has no dosing rule; a dose plan cannot be kept.")
    if weight_kg is None or weight_kg <= 0:
        raise ValidationError({"weight_kg": f"{participant}: a plan needs a weight above 0 kg."})
    if total_mg_per_kg <= 0:
        raise ValidationError({"total_mg_per_kg": f"{participant}: a plan needs a dose above 0 mg/kg."})
    anchor = participant.anchor_date
    if anchor is None:
        raise NotPossible(f"{participant}: the date that days are counted from is not known; import it first.")
    days = n_days or (spec.bounds.days_high if spec.bounds and spec.bounds.days_high else len(spec.days) or 1)
    first_day = participant.protocol.anchor.first_day
    first = date_of_day(start_day, anchor, first_day)
    dates = [first + timedelta(days=count) for count in range(days)]
    planned = weight_kg * total_mg_per_kg
    amounts = rounded_amounts(planned, days, spec.rounding)
    inputs: dict[str, object] = {
        "covariates": [
            {"id": WEIGHT, "label": "Weight", "value": plain(weight_kg), **_UNDATED, "unit": "kg"},
            {"id": GRAFT, "label": "Graft source", "value": graft_source, **_UNDATED},
        ],
        "anchor": anchor.isoformat(),
        "n_days": n_days,
        "total_mg_per_kg": plain(total_mg_per_kg),
        "start_day": start_day,
    }
    input_sha256 = nomogram.sha256(inputs)
    standing = DoseWorksheet.objects.filter(participant=participant, source=IMPORT, is_current=True).first()
    if standing is not None and standing.input_sha256 == input_sha256:
        return standing
    with audit.context.context(by=by, reason=reason, source=audit.context.Source.IMPORT):
        current = DoseWorksheet.objects.filter(participant=participant, is_current=True)
        current.filter(source=CALCULATION, is_plan_of_record=True).update(is_plan_of_record=False)
        current.filter(source=IMPORT).update(is_current=False, is_plan_of_record=False)
        return DoseWorksheet.objects.create(
            participant=participant,
            source=IMPORT,
            is_plan_of_record=True,
            method=spec.method,
            method_version="",
            protocol_version=participant.protocol_version,
            code_version=settings.VERSION,
            inputs=inputs,
            input_sha256=input_sha256,
            total_mg_per_kg=total_mg_per_kg,
            planned_mg=planned,
            total_mg=sum(amounts, Decimal(0)),
            graft_source=graft_source,
            n_days=days,
            first_day_on=dates[0],
            last_day_on=dates[-1],
            result={
                "days": []
                if n_days is None
                else [
                    _day(DoseDay(study_day(on, anchor, first_day), on, mg))
                    for on, mg in zip(dates, amounts, strict=True)
                ],
                "trace": [],
                "warnings": [],
                "refusals": [],
                "cell": None,
            },
            reason=reason,
        )


# --- Independent verification and release -------------------------------------------------------------------------


def verify_worksheet(*, worksheet: DoseWorksheet, typed: Mapping[str, str], by: Membership) -> DoseVerification:
    """The second person's own entry of the covariates, from the source document, compared with the first.

    Both outcomes are kept: an entry that differs as one that does, with a sentence for each difference.
    """
    check_can_verify(by, worksheet)
    if by.user_id in selectors.entered_by(worksheet.participant, worksheet):
        raise PermissionDenied("You entered a value that this dose rests on; another person has to verify it.")
    read = _read_typed(worksheet, typed)
    with transaction.atomic():
        locked(worksheet.participant)
        worksheet = _fresh(worksheet)
        check_can_verify(by, worksheet)
        _check_state(worksheet, WorksheetEvent.VERIFY)
        _check_current(worksheet)
        differences = _differences(worksheet, read)
        with audit.context.context(by=by):
            return DoseVerification.objects.create(
                worksheet=worksheet,
                participant=worksheet.participant,
                typed={name: str(value) for name, value in read.items()},
                differences=differences,
                agrees=not differences,
                verified_by=by,
            )


def _read_typed(worksheet: DoseWorksheet, typed: Mapping[str, str]) -> dict[str, Decimal | str]:
    read: dict[str, Decimal | str] = {}
    problems = {}
    for one in worksheet.inputs["covariates"]:
        name, text = one["id"], typed.get(one["id"], "").strip()
        if not text:
            problems[name] = f"Enter {one['label'].lower()} from the source document."
        elif name == GRAFT:
            read[name] = text
        elif name.startswith("level_") and text.lower() == NOTHING_FOUND:
            read[name] = NOTHING_FOUND
        else:
            try:
                number = enter_number(text)
            except NumberEntryError as error:
                problems[name] = f"{error} Write {one['label'].lower()} in {one['unit']}."
            else:
                # Below a limit is another finding than the number of that limit.
                read[name] = f"{number.qualifier}{plain(number.value)}" if number.qualifier else number.value
    if problems:
        raise ValidationError(problems)
    return read


def _differences(worksheet: DoseWorksheet, read: Mapping[str, Decimal | str]) -> list[str]:
    """One sentence a covariate that differs; the first entry's value is not told."""
    found = []
    for one in worksheet.inputs["covariates"]:
        value = read[one["id"]]
        typed = plain(value) if isinstance(value, Decimal) else value
        if typed != as_source_says(one):
            said = f"{plain(value)} {one['unit']}" if isinstance(value, Decimal) else value
            found.append(
                f"{one['label']} {said} is not what the dose was computed from. "
                "Compare both with the source document and correct the one that is wrong."
            )
    return found


def release_worksheet(*, worksheet: DoseWorksheet, by: Membership, reason: str = "") -> DoseRelease:
    """The verifier signs that the dose may be given; never on inputs that are no longer current, and once only.

    Warnings need ``reason``. Facts that changed since make a new worksheet, and the release is refused.
    """
    check_can_release(by, worksheet)
    bring_up_to_date(participant=worksheet.participant)
    with transaction.atomic():
        locked(worksheet.participant)
        worksheet = _fresh(worksheet)
        check_can_release(by, worksheet)
        _check_state(worksheet, WorksheetEvent.RELEASE)
        _check_current(worksheet)
        agreed = selectors.agreed_verification(worksheet)
        assert agreed is not None
        if agreed.verified_by.user_id != by.user_id:
            raise PermissionDenied(f"{agreed.verified_by.user} verified this dose and has to release it.")
        if worksheet.result["warnings"] and not reason.strip():
            raise ValidationError({"reason": "There are warnings: say why the dose is right all the same."})
        with audit.context.context(by=by, reason=reason.strip()):
            return DoseRelease.objects.create(
                worksheet=worksheet,
                participant=worksheet.participant,
                verification=agreed,
                meaning=RELEASE_MEANING,
                reason=reason.strip(),
                released_by=by,
            )


def _check_state(worksheet: DoseWorksheet, event: WorksheetEvent) -> None:
    """What the table of states lets happen; the sentence says who was quicker, or what comes first."""
    status = selectors.status_of(worksheet)
    if (status, event) in WORKSHEET:
        return
    released, agreed = selectors.release_of(worksheet), selectors.agreed_verification(worksheet)
    if event is WorksheetEvent.RELEASE and released is not None:
        who, at = released.released_by.user, released.released_at
        raise Conflict(f"{who} released this dose at {at:%H:%M} UTC already.")
    if event is WorksheetEvent.VERIFY and agreed is not None:
        raise Conflict(f"{agreed.verified_by.user} verified this dose at {agreed.verified_at:%H:%M} UTC already.")
    if status is WorksheetStatus.UNDER_WAY:
        raise NotPossible("The course has begun; the dose was released, or given without a release.")
    raise NotPossible("The dose was not verified yet: a second person enters the covariates first.")


def _check_current(worksheet: DoseWorksheet) -> None:
    """The facts under the participant's lock are those the dose was computed from."""
    if selectors.ask(worksheet.participant).sha256 != worksheet.input_sha256:
        raise Conflict(
            "A value that this dose rests on was changed after it was computed. The dose is computed anew: verify that."
        )


def _fresh(worksheet: DoseWorksheet) -> DoseWorksheet:
    return (
        selectors.worksheets_of(worksheet.participant)
        .select_related(
            "participant__site", "participant__trial", "participant__protocol_version__trial", "participant__enrolment"
        )
        .get(pk=worksheet.pk)
    )


def _source(by: Membership | None) -> audit.context.Source:
    return audit.context.Source.USER if by is not None else audit.context.Source.CALCULATION
