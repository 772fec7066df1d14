"""The statistical plan: asked for, computed once on the data of one moment, and kept as it came out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from analysis.announcements import run_requested
from analysis.datasets import plan as plan_data
from analysis.domain.fingerprints import fingerprint, plain
from analysis.domain.plan.methods import METHOD_VERSION, compute_plan
from analysis.domain.plan.results import as_plain
from analysis.models import Run, RunState
from analysis.permissions import check_can_run_analyses
from audit import context
from trials.domain import language
from trials.models import Membership, Trial

#: A run whose worker died this often is not begun again: it would take the next one with it.
MAX_ATTEMPTS = 3
#: First key of the advisory locks of runs; the second is the run's id.
_LOCKS = 7230003


@transaction.atomic
def run_analyses(*, trial: Trial, by: Membership, as_of: date | None = None, reason: str) -> Run:
    """Ask for the plan of the active protocol version on the data until ``as_of`` (None: today); the queue computes it.

    Raises ValidationError for a day to come, for no reason, and for a protocol that names no analysis.
    """
    check_can_run_analyses(by, trial)
    today = timezone.localdate()
    refused: dict[str, str] = {}
    if not reason.strip():
        refused["reason"] = "Give the reason; it stands on the report and in the audit trail."
    if as_of is not None and as_of > today:
        refused["as_of"] = f"The data end today; choose a day until {today:%d-%b-%Y}."
    version = trial.active_version
    if not version.protocol.analyses:
        refused["as_of"] = "The protocol version in force names no analysis. Add `analyses` in a new version."
    if refused:
        raise ValidationError(refused)
    with context.context(by=by, reason=reason.strip()):
        run = Run.objects.create(
            trial=trial,
            protocol_version=version,
            as_of=as_of or today,
            reason=reason.strip(),
            requested_by=by,
            specification=language.to_data(version.protocol)["analyses"],
        )
    run_requested.send(Run, run=run)
    return run


def compute_run(*, run: int) -> bool:
    """Compute a run; return whether it was computed now.

    One that is done or failed stays as it is; one that another worker computes is left to it; one whose worker died is
    begun again. Everything is read at one moment of the database.
    """
    with _alone(run) as mine:
        begun = _begin(run) if mine else None
        if begun is None:
            return False
        try:
            found = _computed(begun)
        except Exception:
            _finish(begun, state=RunState.FAILED, failure=f"The software stopped on an error; the log names run {run}.")
            raise
        _finish(begun, state=RunState.DONE, **found)
    return True


def _computed(run: Run) -> dict[str, Any]:
    # Inside a caller's transaction, whose level cannot be changed any more, the caller answers for the moment.
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        data_seq = plan_data.last_change(run.trial)
        material = plan_data.material(run.protocol_version, as_of=run.as_of)
    results = [as_plain(result) for result in compute_plan(material)]
    return {
        "data_seq": data_seq,
        "input_sha256": plan_data.fingerprint_of(material),
        "method_version": METHOD_VERSION,
        "code_version": settings.VERSION,
        "result": plain(results),
        "result_sha256": fingerprint({"results": results}),
    }


@contextmanager
def _alone(run: int) -> Iterator[bool]:
    """Whether the run's lock is ours; PostgreSQL lets go of it the moment a worker dies, whatever killed it."""
    aside = connection.copy()
    try:
        with aside.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCKS, run])
            mine: bool = cursor.fetchone()[0]
        yield mine
    finally:
        aside.close()


@transaction.atomic
def _begin(pk: int) -> Run | None:
    open_runs = Run.objects.filter(pk=pk, state__in=[RunState.QUEUED, RunState.RUNNING])
    run = open_runs.select_related("trial", "protocol_version__trial").select_for_update(of=("self",)).first()
    if run is None:
        return None
    if run.attempts >= MAX_ATTEMPTS:
        _finish(
            run,
            state=RunState.FAILED,
            failure=f"Begun {run.attempts} times, and no worker lived to finish it. Ask the operator, then run again.",
        )
        return None
    run.state, run.attempts, run.started_at = RunState.RUNNING, run.attempts + 1, timezone.now()
    with context.context(by=None, source=context.Source.SYSTEM):
        run.save(update_fields=["state", "attempts", "started_at"])
    return run


@transaction.atomic
def _finish(run: Run, **facts: Any) -> None:
    for name, value in {"finished_at": timezone.now(), **facts}.items():
        setattr(run, name, value)
    with context.context(by=None, reason="analysis plan", source=context.Source.CALCULATION):
        run.save(update_fields=["finished_at", *facts])
