"""Dosing tables: entered, entered again by somebody else, approved by a third person, in force in the trial."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

import audit.context
from dosing import selectors
from dosing.actions.needs import locked_trial, need_trial
from dosing.domain import nomogram
from dosing.domain.nomogram import Table
from dosing.domain.states import GONE, TableStatus
from dosing.domain.table_files import TableErrors, parse_cells, parse_table
from dosing.domain.table_rules import Difference, Finding, differences, has_errors, validate
from dosing.models import DosingTable, TableAtSite
from dosing.permissions import (
    NotPossible,
    check_can_approve_table,
    check_can_enter_table,
    check_can_put_into_force,
    check_can_retire_table,
    check_can_verify_table,
    check_synthetic_allowed,
)
from trials.models import Membership, Site, Trial


class TableDiffers(NotPossible):
    """The second entry is not the first; ``differences`` names every place."""

    def __init__(self, table: DosingTable, found: tuple[Difference, ...]) -> None:
        self.differences = found
        places = "; ".join(
            f"{one.place}: {one.one or 'no such cell'} against {one.other or 'no such cell'}" for one in found[:5]
        )
        more = f", and {len(found) - 5} more" if len(found) > 5 else ""
        super().__init__(
            f"The second entry of {table} differs in {len(found)} places: {places}{more}. "
            "Compare both with the printed source; if the first entry is wrong, enter the table anew."
        )


@transaction.atomic
def enter_table(
    *, trial: Trial, description: str, cells: str = "", by: Membership | None, code: str = "", reason: str = ""
) -> DosingTable:
    """Enter a draft from its YAML description and, where they stand apart, its cells as CSV.

    A table that breaks rule 1, 2, 3 or 5 is refused whole, every place named. The same content again is the row that
    there is. ``code`` replaces the file's own, where the trial's definition names the table otherwise.

    Raises ValidationError with every problem.
    """
    table = _read(description, cells)
    check_can_enter_table(by, trial, is_synthetic=table.is_synthetic)
    check_synthetic_allowed(trial, is_synthetic=table.is_synthetic)
    code = code or table.code
    broken = [str(one) for one in findings_for(trial, code, table) if one.severity == "error"]
    if broken:
        raise ValidationError({"cells": broken})
    content = {**nomogram.to_data(table), "code": code}
    sha256 = nomogram.sha256(content)
    Trial.objects.select_for_update(no_key=True).get(pk=trial.pk)
    known = DosingTable.objects.filter(trial=trial, code=code).order_by("-version")
    latest = known.first()
    if latest is not None and latest.sha256 == sha256 and latest.status not in GONE:
        return latest
    with audit.context.context(by=by, reason=reason):
        return DosingTable.objects.create(
            trial=trial,
            code=code,
            version=latest.version + 1 if latest else 1,
            title=table.title,
            status=TableStatus.DRAFT,
            product=table.product,
            is_synthetic=table.is_synthetic,
            source_citation=table.source_citation,
            licence_note=table.licence_note,
            content=content,
            sha256=sha256,
            entered_by=by,
        )


def findings_for(trial: Trial, code: str, table: Table) -> tuple[Finding, ...]:
    """What the five rules say of the table in this trial, by the bounds of its definition."""
    limits = selectors.bounds_for(trial, code)
    if limits is None:
        known = ", ".join(str(spec.parameters["table"]) for spec in selectors.table_specs(trial)) or "none"
        raise ValidationError({"code": f"The protocol of {trial} looks up no table {code}. It looks up: {known}."})
    bounds, sources = limits
    return validate(table, bounds=bounds, required_sources=sources)


@transaction.atomic
def verify_table(*, table: DosingTable, cells: str, by: Membership | None, reason: str = "") -> DosingTable:
    """The second entry, made from the printed source without sight of the first; VERIFIED where both agree.

    Raises TableDiffers with every difference; the draft stays a draft.
    """
    check_can_verify_table(by, table)
    table = _locked(table)
    check_can_verify_table(by, table)
    _check_intact(table)
    first = selectors.content_of(table)
    try:
        second = Table(**{**vars(first), "cells": parse_cells(cells)})
    except TableErrors as errors:
        raise ValidationError({"cells": [str(one) for one in errors.errors]}) from None
    if found := differences(first, second):
        raise TableDiffers(table, found)
    if has_errors(findings_for(table.trial, table.code, first)):
        raise NotPossible(f"{table} breaks the rules of the protocol that is in force now. Enter it anew.")
    with audit.context.context(by=by, reason=reason):
        table.status, table.verified_by, table.verified_at = TableStatus.VERIFIED, by, timezone.now()
        table.save(update_fields=["status", "verified_by", "verified_at"])
    return table


@transaction.atomic
def approve_table(
    *,
    table: DosingTable,
    by: Membership | None,
    reason: str,
    effective_from: date | None = None,
    sites: Iterable[Site] | None = None,
) -> DosingTable:
    """Put a verified table into force in its trial, in the place of the one before; ``reason`` is what the signature
    means. Doses that have not begun are computed anew.

    Without ``sites`` it holds at every site; with them at these only, until it is put into force at others. The table
    before it holds nowhere any more: a site that waits computes no dose.
    """
    check_can_approve_table(by, table)
    if not reason.strip():
        raise ValidationError({"reason": "Say what your approval means; it stands in the audit trail."})
    today = timezone.localdate()
    effective_from = effective_from or today
    if effective_from > today:
        raise ValidationError({"effective_from": "Approve the table on the day from which it holds, not before."})
    locked_trial(table.trial)
    table = _locked(table)
    check_can_approve_table(by, table)
    _check_intact(table)
    if has_errors(findings_for(table.trial, table.code, selectors.content_of(table))):
        raise NotPossible(f"{table} breaks the rules of the protocol that is in force now. Enter it anew.")
    named = list(sites) if sites is not None else []
    if sites is not None and not named:
        raise ValidationError({"sites": "Name at least one site, or approve the table for all of them."})
    if named and by is None:
        raise ValidationError({"sites": "A person puts a table into force at single sites."})
    with audit.context.context(by=by, reason=reason.strip()):
        DosingTable.objects.filter(trial=table.trial, code=table.code, status=TableStatus.ACTIVE).update(
            status=TableStatus.SUPERSEDED
        )
        table.status, table.approved_by, table.approved_at = TableStatus.ACTIVE, by, timezone.now()
        table.effective_from = effective_from
        table.save(update_fields=["status", "approved_by", "approved_at", "effective_from"])
        for site in named:
            assert by is not None
            check_can_put_into_force(by, table, site)
            _hold(table, site, effective_from, reason, by)
        need_trial(table.trial)
    return table


@transaction.atomic
def put_into_force(
    *, table: DosingTable, site: Site, by: Membership, reason: str, effective_from: date | None = None
) -> TableAtSite:
    """Let the trial's table hold at one more site; its doses that have not begun are computed anew.

    Where it holds already, the row that there is.
    """
    check_can_put_into_force(by, table, site)
    if not reason.strip():
        raise ValidationError({"reason": "Say what your approval means; it stands in the audit trail."})
    effective_from = effective_from or timezone.localdate()
    if effective_from > timezone.localdate():
        raise ValidationError({"effective_from": "Put the table into force on the day from which it holds."})
    locked_trial(table.trial)
    table = _locked(table)
    check_can_put_into_force(by, table, site)
    known = selectors.sites_of(table)
    if not known:
        raise NotPossible(f"{table} holds at every site already.")
    if site.pk in known:
        return known[site.pk]
    with audit.context.context(by=by, reason=reason.strip()):
        made = _hold(table, site, effective_from, reason, by)
        need_trial(table.trial)
    return made


@transaction.atomic
def retire_table(*, table: DosingTable, by: Membership, reason: str) -> DosingTable:
    """Take a table out of use with nothing in its place, for instance after an error was found in it.

    Doses that have not begun are computed anew, which without another table in force is refused. It does not come back:
    the same content is entered as a new version.
    """
    check_can_retire_table(by, table)
    if not reason.strip():
        raise ValidationError({"reason": "Say why it is not used any more; it stands on its page and in the trail."})
    locked_trial(table.trial)
    table = _locked(table)
    check_can_retire_table(by, table)
    with audit.context.context(by=by, reason=reason.strip()):
        was_in_force = table.status == TableStatus.ACTIVE
        table.status, table.retired_by, table.retired_at = TableStatus.RETIRED, by, timezone.now()
        table.retired_because = reason.strip()
        table.save(update_fields=["status", "retired_by", "retired_at", "retired_because"])
        if was_in_force:
            need_trial(table.trial)
    return table


def _hold(table: DosingTable, site: Site, on: date, reason: str, by: Membership) -> TableAtSite:
    return TableAtSite.objects.create(
        trial=table.trial, table=table, site=site, effective_from=on, reason=reason.strip(), approved_by=by
    )


def _read(description: str, cells: str) -> Table:
    try:
        return parse_table(description, cells=cells)
    except TableErrors as errors:
        raise ValidationError({"cells": [str(one) for one in errors.errors]}) from None


def _check_intact(table: DosingTable) -> None:
    if not selectors.is_intact(table):
        raise NotPossible(f"{table} is not what was entered: its hash differs. Run `manage.py verify_audit`.")


def _locked(table: DosingTable) -> DosingTable:
    return (
        DosingTable.objects.select_for_update(of=("self",))
        .select_related("trial", "entered_by", "verified_by")
        .get(pk=table.pk)
    )
