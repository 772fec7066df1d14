"""Parameter sets and level-guided algorithms: entered, entered again by somebody else, approved by a third person."""

from __future__ import annotations

from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

import audit.context
from dosing import selectors
from dosing.actions.needs import locked_trial, need_trial
from dosing.domain import nomogram
from dosing.domain.model_files import ModelFile, differing, parse_model
from dosing.domain.states import GONE, TableStatus
from dosing.domain.table_files import TableErrors
from dosing.models import DosingModel
from dosing.permissions import (
    NotPossible,
    check_can_approve_table,
    check_can_enter_table,
    check_can_retire_table,
    check_can_verify_table,
    check_synthetic_allowed,
)
from trials.models import Membership, Trial


@transaction.atomic
def enter_model(*, trial: Trial, content: str, by: Membership | None, reason: str = "") -> DosingModel:
    """Enter a draft from its YAML text; the same content again is the row that there is.

    Raises ValidationError with every place that is wrong; nothing of the file is kept then.
    """
    file = _read(content)
    check_can_enter_table(by, trial, is_synthetic=file.is_synthetic)
    check_synthetic_allowed(trial, is_synthetic=file.is_synthetic)
    sha256 = nomogram.sha256(file.content)
    Trial.objects.select_for_update(no_key=True).get(pk=trial.pk)
    latest = DosingModel.objects.filter(trial=trial, code=file.code).order_by("-version").first()
    if latest is not None and latest.kind != file.kind and "parameters" in (latest.kind, file.kind):
        raise ValidationError({"content": f"{file.code} is a {latest.get_kind_display()} in this trial; rename one."})
    if latest is not None and latest.sha256 == sha256 and latest.status not in GONE:
        return latest
    with audit.context.context(by=by, reason=reason):
        return DosingModel.objects.create(
            trial=trial,
            kind=file.kind,
            code=file.code,
            version=latest.version + 1 if latest else 1,
            title=file.title,
            status=TableStatus.DRAFT,
            product=file.product,
            is_synthetic=file.is_synthetic,
            source_citation=file.source_citation,
            licence_note=file.licence_note,
            content=file.content,
            sha256=sha256,
            entered_by=by,
        )


@transaction.atomic
def verify_model(*, model: DosingModel, content: str, by: Membership | None, reason: str = "") -> DosingModel:
    """The second entry, made from the source without sight of the first; VERIFIED where every value agrees.

    Raises NotPossible naming the places that differ; the draft stays a draft.
    """
    check_can_verify_table(by, model)
    model = _locked(model)
    check_can_verify_table(by, model)
    _check_intact(model)
    second = _read(content)
    if found := differing(model.content, second.content):
        places = [f"{place}: {one or 'nothing'} against {other or 'nothing'}" for place, one, other in found[:5]]
        more = f", and {len(found) - 5} more" if len(found) > 5 else ""
        raise NotPossible(
            f"The second entry of {model} differs in {len(found)} places: {'; '.join(places)}{more}. "
            "Compare both with the source; if the first entry is wrong, enter the file anew."
        )
    with audit.context.context(by=by, reason=reason):
        model.status, model.verified_by, model.verified_at = TableStatus.VERIFIED, by, timezone.now()
        model.save(update_fields=["status", "verified_by", "verified_at"])
    return model


@transaction.atomic
def approve_model(
    *, model: DosingModel, by: Membership | None, reason: str, effective_from: date | None = None
) -> DosingModel:
    """Put a verified set or algorithm into force in its trial, in the place of the one before; ``reason`` is what the
    signature means. Doses that are not given yet are computed anew."""
    check_can_approve_table(by, model)
    if not reason.strip():
        raise ValidationError({"reason": "Say what your approval means; it stands in the audit trail."})
    today = timezone.localdate()
    effective_from = effective_from or today
    if effective_from > today:
        raise ValidationError({"effective_from": "Approve the model on the day from which it holds, not before."})
    locked_trial(model.trial)
    model = _locked(model)
    check_can_approve_table(by, model)
    _check_intact(model)
    with audit.context.context(by=by, reason=reason.strip()):
        DosingModel.objects.filter(trial=model.trial, code=model.code, status=TableStatus.ACTIVE).update(
            status=TableStatus.SUPERSEDED
        )
        model.status, model.approved_by, model.approved_at = TableStatus.ACTIVE, by, timezone.now()
        model.effective_from = effective_from
        model.save(update_fields=["status", "approved_by", "approved_at", "effective_from"])
        need_trial(model.trial)
    return model


@transaction.atomic
def retire_model(*, model: DosingModel, by: Membership, reason: str) -> DosingModel:
    """Take a set or an algorithm out of use with nothing in its place, for instance after an error was found in it.

    Doses that are not given yet are computed anew, which without another one in force is refused. It does not come
    back: the same content is entered as a new version.
    """
    check_can_retire_table(by, model)
    if not reason.strip():
        raise ValidationError({"reason": "Say why it is not used any more; it stands on its page and in the trail."})
    locked_trial(model.trial)
    model = _locked(model)
    check_can_retire_table(by, model)
    with audit.context.context(by=by, reason=reason.strip()):
        was_in_force = model.status == TableStatus.ACTIVE
        model.status, model.retired_by, model.retired_at = TableStatus.RETIRED, by, timezone.now()
        model.retired_because = reason.strip()
        model.save(update_fields=["status", "retired_by", "retired_at", "retired_because"])
        if was_in_force:
            need_trial(model.trial)
    return model


def _read(content: str) -> ModelFile:
    try:
        return parse_model(content)
    except TableErrors as errors:
        raise ValidationError({"content": [str(one) for one in errors.errors]}) from None


def _check_intact(model: DosingModel) -> None:
    if not selectors.is_intact(model):
        raise NotPossible(f"{model} is not what was entered: its hash differs. Run `manage.py verify_audit`.")


def _locked(model: DosingModel) -> DosingModel:
    return (
        DosingModel.objects.select_for_update(of=("self",))
        .select_related("trial", "entered_by", "verified_by")
        .get(pk=model.pk)
    )
