"""Exports: asked for, made by the queue, taken, and removed when their time is over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from audit import context
from exchange import formats, selectors
from exchange.announcements import export_requested
from exchange.datasets import DATASETS
from exchange.domain.delimited import Variant
from exchange.models import Download, ExportJob, ExportProgress, JobState
from exchange.permissions import check_can_download, check_can_export
from exchange.selectors import Snapshot
from trials.models import Membership, Trial
from trials.permissions import NotPossible

#: A job whose worker died this often is not begun again: it would take the next one with it.
MAX_ATTEMPTS = 3
KEPT_FOR = timedelta(days=7)
#: How often the page's bar moves at most.
TELL_EVERY_S = 0.5
#: First key of the advisory locks of jobs; the second is the job's id.
_LOCKS = 7230002


@transaction.atomic
def request_export(*, trial: Trial, datasets: Sequence[str], variant: str, by: Membership) -> ExportJob:
    """Ask for ``datasets`` as files of ``variant``; the queue makes them. What ``by`` may see is decided now.

    Raises ValidationError for a name that there is not, PermissionDenied for what the role may not take out.
    """
    check_can_export(by, trial, {DATASETS[name].label: DATASETS[name].needs for name in datasets if name in DATASETS})
    offered = {one.id for one in selectors.datasets_for(by)}
    if not datasets:
        raise ValidationError({"datasets": ["Choose at least one data set."]})
    for name in datasets:
        if name not in offered:
            known = ", ".join(one for one in DATASETS if one in offered)
            raise ValidationError({"datasets": [f"There is no data set {name!r} for your role; there are: {known}."]})
    if variant not in set(Variant):
        raise ValidationError({"variant": [f"There is no variant {variant!r}; there are: {', '.join(Variant)}."]})
    with context.context(by=by):
        job = ExportJob.objects.create(
            trial=trial,
            requested_by=by,
            specification={"datasets": [one for one in DATASETS if one in datasets], "variant": variant},
            includes_groups=selectors.includes_groups(by),
            includes_identifying=selectors.includes_identifying(by),
            includes_audit_trail="audit_trail" in datasets,
        )
    ExportProgress.objects.create(job=job)
    export_requested.send(ExportJob, job=job)
    return job


def run_export(*, job: int) -> bool:
    """Make the file of a job; return whether it was made now.

    A job that is done or failed stays as it is; one that another worker is making is left to it; one whose worker died
    is made from the start. Everything is read at one moment of the database, so that its tables fit together.
    """
    with _alone(job) as aside:
        if aside is None:
            return False
        begun = _begin(job)
        if begun is None:
            return False
        try:
            _make(begun, aside)
        except OSError as error:
            _fail(
                begun, f"The file could not be written: {error.strerror or error}. Ask the operator, then export again."
            )
            return False
        except Exception:
            _fail(
                begun, f"The export stopped on an error of the software; the log names it beside the key {begun.key}."
            )
            raise
    return True


def download_export(*, job: ExportJob, by: Membership) -> Path:
    """The file of a job, for ``by`` to take; that it was taken is on record before the first byte leaves."""
    check_can_download(by, job)
    file = file_of(job)
    if not file.exists():
        raise NotPossible("The file is not on this server any more. Ask for the same export again.")
    with transaction.atomic(), context.context(by=by):
        Download.objects.create(export=job, trial_id=job.trial_id, by=by)
    return file


def remove_expired_exports() -> int:
    """Delete the files whose time is over and return how many; the rows, with their hashes, stay."""
    gone = 0
    for job in selectors.expired(timezone.now()):
        file_of(job).unlink(missing_ok=True)
        with transaction.atomic(), context.context(by=None, reason="expired", source=context.Source.SYSTEM):
            ExportJob.objects.filter(pk=job.pk).update(removed_at=timezone.now())
        gone += 1
    return gone


def file_of(job: ExportJob) -> Path:
    """Where the file of a job lies; its name holds nothing but the key."""
    return Path(settings.EXPORT_DIR) / f"{job.key}.zip"


@contextmanager
def _alone(job: int) -> Iterator[BaseDatabaseWrapper | None]:
    """A second connection that holds the job's lock, or None while another worker holds it.

    The lock is the connection's: PostgreSQL lets go of it the moment a worker dies, whatever killed it.
    """
    aside = connection.copy()
    try:
        with aside.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCKS, job])
            mine = cursor.fetchone()[0]
        yield aside if mine else None
    finally:
        aside.close()


@transaction.atomic
def _begin(pk: int) -> ExportJob | None:
    job = (
        ExportJob.objects.select_for_update(of=("self",))
        .select_related("trial", "requested_by__site", "requested_by__user")
        .filter(pk=pk, state__in=[JobState.WAITING, JobState.RUNNING])
        .first()
    )
    if job is None:
        return None
    if job.attempts >= MAX_ATTEMPTS:
        _fail(
            job, f"The export was begun {job.attempts} times and no worker lived to finish it. Choose fewer data sets."
        )
        return None
    job.state, job.attempts, job.started_at = JobState.RUNNING, job.attempts + 1, timezone.now()
    with context.context(by=None, source=context.Source.SYSTEM):
        job.save(update_fields=["state", "attempts", "started_at"])
    return job


def _make(job: ExportJob, aside: BaseDatabaseWrapper) -> None:
    file = file_of(job)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot = selectors.snapshot_of(job.trial)
        tables, left_out = selectors.tables_of(job, snapshot)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as out:
            archive = formats.write_archive(
                out, tables, _preface(job, snapshot, left_out), tell=_Teller(job.pk, aside).tell
            )
            out.flush()
            os.fsync(out.fileno())
    with part.open("rb") as whole:
        sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
    size = part.stat().st_size
    os.replace(part, file)
    now = timezone.now()
    _finish(
        job,
        state=JobState.DONE,
        snapshot={"chain": snapshot.chain, "seq": snapshot.seq, "hash": snapshot.hash, "at": _moment(snapshot)},
        file_name=f"{job.trial.code}_{job.specification['variant']}_{snapshot.seq}_{sha256[:8]}.zip",
        size_bytes=size,
        sha256=sha256,
        row_counts={name.removesuffix(".csv"): count for name, count in archive.counts.items()},
        finished_at=now,
        expires_at=now + KEPT_FOR,
    )


def _preface(job: ExportJob, snapshot: Snapshot, left_out: tuple[str, ...]) -> formats.Preface:
    site = job.requested_by.site
    role = job.requested_by.get_role_display()
    scope = f"site {site.code}" if site else "all sites"
    groups = "groups shown" if job.includes_groups else "groups not shown"
    return formats.Preface(
        trial=job.trial.code,
        title=job.trial.title,
        snapshot=str(snapshot),
        data_as_of=_moment(snapshot) or "no data yet",
        scope=f"{scope}, as a {role.lower()} sees it, {groups}; every participant and every row, void ones marked",
        left_out=left_out,
        variant=Variant(job.specification["variant"]),
        software=f"Canopy {settings.VERSION}",
    )


def _moment(snapshot: Snapshot) -> str:
    return snapshot.at.isoformat(timespec="seconds").replace("+00:00", "Z") if snapshot.at else ""


class _Teller:
    """Moves the bar from outside the export's transaction, not more often than somebody looks."""

    def __init__(self, job: int, aside: BaseDatabaseWrapper) -> None:
        self.job, self.aside = job, aside
        self.told_at, self.told = 0.0, -1

    def tell(self, percent: int) -> None:
        now = monotonic()
        if percent == self.told or now - self.told_at < TELL_EVERY_S:
            return
        self.told_at, self.told = now, percent
        with self.aside.cursor() as cursor:
            cursor.execute("UPDATE exchange_exportprogress SET percent = %s WHERE job_id = %s", [percent, self.job])


def _fail(job: ExportJob, sentence: str) -> None:
    _finish(job, state=JobState.FAILED, failure=sentence, finished_at=timezone.now())
    # Where the disk itself is what failed, the sentence matters more than the rest of a file.
    with suppress(OSError):
        file_of(job).with_suffix(".part").unlink(missing_ok=True)


@transaction.atomic
def _finish(job: ExportJob, **facts: Any) -> None:
    for name, value in facts.items():
        setattr(job, name, value)
    with context.context(by=None, source=context.Source.SYSTEM):
        job.save(update_fields=list(facts))
