"""Laboratory files: uploaded, worked out in a dry run, and written whole in one transaction once confirmed."""

from __future__ import annotations

import hashlib

from django.db import transaction
from django.utils import timezone

import audit.context
from casebook.actions.entries import Refused, lock_all
from casebook.actions.laboratory import as_result, change, windows_of
from casebook.announcements import observation_recorded
from casebook.domain.answers import Problem
from casebook.domain.lab_files import too_large
from casebook.domain.results import visit_of_draw
from casebook.formats import Change, LabPlan, participants_in, plan_of
from casebook.models import LabDraw, LabImport, LabResult
from casebook.permissions import Conflict, check_can_import_labs, check_can_write_import
from trials.models import Membership
from trials.permissions import NotPossible

MAX_FILE_NAME = 200


@transaction.atomic
def check_lab_file(*, content: bytes, file_name: str, by: Membership, laboratory: str = "") -> LabImport:
    """Keep an uploaded file and work out what it would change. No result is written.

    The report holds the counts and every rejection with row, column and reason; a file too large to read is refused
    without being kept. The same file, checked and not written yet, is not kept twice.
    """
    check_can_import_labs(by, by.trial)
    if sentence := too_large(len(content)):
        raise Refused((Problem("file", sentence),))
    if len(laboratory.strip()) > 40:
        raise Refused((Problem("laboratory", "The name of the laboratory has more than 40 characters."),))
    sha256 = hashlib.sha256(content).hexdigest()
    plan = plan_of(content, laboratory=laboratory.strip(), membership=by)
    facts = {"report": plan.report(), "plan_sha256": plan.sha256}
    with audit.context.context(by=by, source=audit.context.Source.IMPORT):
        known = LabImport.objects.filter(
            trial=by.trial,
            uploaded_by=by,
            sha256=sha256,
            laboratory=laboratory.strip(),
            state=LabImport.State.CHECKED,
        ).first()
        if known is not None:
            if known.plan_sha256 != plan.sha256:
                LabImport.objects.filter(pk=known.pk).update(**facts)
                known.refresh_from_db()
            return known
        return LabImport.objects.create(
            trial=by.trial,
            uploaded_by=by,
            file_name=(file_name.strip() or "laboratory file")[-MAX_FILE_NAME:],
            sha256=sha256,
            content=content,
            laboratory=laboratory.strip(),
            **facts,
        )


@transaction.atomic
def write_lab_import(*, lab_import: LabImport, by: Membership, shown: str, reason: str = "") -> LabImport:
    """Write a checked file: every row or none.

    ``shown`` is the digest of the dry run that was confirmed; when results have changed since, that is a Conflict and
    nothing is written. Changed values need one reason for the file. A file with rejections is corrected and uploaded
    again. Written once; confirming it again returns it.
    """
    lab_import = LabImport.objects.select_for_update(of=("self",)).select_related("trial").get(pk=lab_import.pk)
    if lab_import.state == LabImport.State.WRITTEN and lab_import.uploaded_by_id == by.pk:
        return lab_import
    check_can_write_import(by, lab_import)
    content = bytes(lab_import.content)
    concerned = participants_in(content, by)
    lock_all(concerned)
    plan = plan_of(content, laboratory=lab_import.laboratory, membership=by)
    if plan.sha256 != shown:
        raise Conflict("Results have changed since this file was checked. Look at the differences again.")
    if plan.rejections:
        raise NotPossible("The file has rejected rows. Correct them and upload it again; nothing was written.")
    if plan.changed and not reason.strip():
        raise Refused((Problem("reason", "Values that are recorded change: say why, once for the file."),))
    with audit.context.context(by=by, reason=reason.strip(), source=audit.context.Source.IMPORT):
        _write(plan)
        lab_import.state, lab_import.reason = LabImport.State.WRITTEN, reason.strip()
        lab_import.written_at = timezone.now()
        lab_import.save(update_fields=["state", "reason", "written_at"])
        touched = tuple(sorted({row.participant.pk for row in (*plan.new, *plan.changed)}))
        if touched:
            observation_recorded.send(sender=LabImport, participant_ids=touched)
    return lab_import


@transaction.atomic
def discard_lab_import(*, lab_import: LabImport, by: Membership) -> LabImport:
    """Set a checked file aside; nothing of it was written."""
    lab_import = LabImport.objects.select_for_update(of=("self",)).select_related("trial").get(pk=lab_import.pk)
    if lab_import.state == LabImport.State.DISCARDED:
        return lab_import
    check_can_write_import(by, lab_import)
    with audit.context.context(by=by, source=audit.context.Source.IMPORT):
        lab_import.state = LabImport.State.DISCARDED
        lab_import.save(update_fields=["state"])
    return lab_import


def _write(plan: LabPlan) -> None:
    draws: dict[tuple[object, ...], LabDraw] = {}
    addresses: dict[tuple[object, ...], set[str]] = {}
    for row in plan.new:
        addresses.setdefault(row.draw_key, set()).add(row.read.address)
    for pk in sorted({row.participant.pk for row in plan.new}):
        rows = [row for row in plan.new if row.participant.pk == pk]
        participant = rows[0].participant
        windows = windows_of(participant)
        visits = {visit.code: visit for visit in participant.visits.all()}
        for row in rows:
            if row.draw is not None:
                draws[row.draw_key] = row.draw
            elif row.draw_key not in draws:
                code = visit_of_draw(row.sampled_on, addresses[row.draw_key], windows)
                draws[row.draw_key] = LabDraw(
                    participant=participant,
                    visit=visits.get(code) if code else None,
                    sampled_at=row.sampled_at,
                    sampled_on=row.sampled_on,
                    has_time=row.has_time,
                    laboratory=row.laboratory,
                    specimen=row.specimen,
                )
    LabDraw.objects.bulk_create([draw for draw in draws.values() if draw.pk is None], batch_size=1000)
    LabResult.objects.bulk_create([as_result(draws[row.draw_key], row.read) for row in plan.new], batch_size=1000)
    corrected = [_corrected(row) for row in plan.changed]
    LabResult.objects.bulk_update(
        corrected,
        [
            "value_as_written",
            "qualifier",
            "unit_as_written",
            "value",
            "unit",
            "lower_limit",
            "upper_limit",
            "lloq",
            "lloq_as_written",
            "missing_reason",
            "revision",
            "changed_at",
        ],
        batch_size=1000,
    )


def _corrected(row: Change) -> LabResult:
    assert row.result is not None
    lower, upper = row.read.lower_limit is not None, row.read.upper_limit is not None
    change(row.result, row.read, lower=lower, upper=upper, lloq=row.read.lloq is not None)
    return row.result
