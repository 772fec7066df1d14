"""Reads of the export centre: what can be asked for, what was asked for, and how far the queue is with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Count, Q, QuerySet

from accounts.roles import Permission
from exchange.datasets import DATASETS, Dataset, Extent
from exchange.domain.codebook import Table, within
from exchange.models import ExportJob, JobState
from trials.models import Membership, Trial
from trials.selectors import may_see_group


@dataclass(frozen=True)
class Snapshot:
    """The state of a trial's data, named by the last change in its audit trail that concerns data.

    Exports and downloads write to the trail as well; they change no data, and so make no other snapshot.
    """

    chain: str
    seq: int
    hash: str
    trail_id: int
    at: datetime | None

    def __str__(self) -> str:
        return f"{self.chain}#{self.seq}#{self.hash}"


def snapshot_of(trial: Trial) -> Snapshot:
    """The snapshot of this moment (within a transaction: of the transaction's view)."""
    chain = f"trial:{trial.pk}"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq, encode(hash, 'hex'), id, at FROM audit_trail"
            " WHERE chain = %s AND table_name NOT LIKE 'exchange@_%%' ESCAPE '@' ORDER BY seq DESC LIMIT 1",
            [chain],
        )
        row = cursor.fetchone()
    return Snapshot(chain, *row) if row else Snapshot(chain, 0, "", 0, None)


def may_export(membership: Membership) -> bool:
    """What the page shows the request for."""
    return membership.may(Permission.EXPORT_DATA)


def includes_groups(membership: Membership) -> bool:
    return may_see_group(membership, membership.trial.protocol)


def includes_identifying(membership: Membership) -> bool:
    return membership.may(Permission.EXPORT_IDENTIFYING_DATES)


def datasets_for(membership: Membership) -> list[Dataset]:
    """What the membership can ask for, in the order of the list."""
    groups = includes_groups(membership)
    return [one for one in DATASETS.values() if membership.may(one.needs) and (groups or not one.tells_group)]


def tables_of(job: ExportJob, snapshot: Snapshot) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """The files of a job in the order of the data sets, and the names of what its reader may not have."""
    extent = Extent(
        trial=job.trial,
        site_id=job.requested_by.site_id,
        last_change=snapshot.trail_id,
        groups=job.includes_groups,
        identifying=job.includes_identifying,
        as_of=snapshot.at,
    )
    wanted: Collection[str] = job.specification["datasets"]
    tables = [table for name, dataset in DATASETS.items() if name in wanted for table in dataset.tables(extent)]
    return within(tables, groups=job.includes_groups, identifying=job.includes_identifying)


def export_jobs(membership: Membership) -> QuerySet[ExportJob]:
    """The jobs the membership sees, the latest first, each with ``taken``: how many times it was downloaded."""
    return (
        ExportJob.objects.visible_to(membership)
        .select_related("requested_by__user", "requested_by__site", "trial", "progress")
        .annotate(taken=Count("downloads"))
        .order_by("-pk")
    )


def export_job_for(membership: Membership, key: UUID) -> ExportJob:
    return export_jobs(membership).get(key=key)


def unfinished() -> list[int]:
    """Jobs that wait, or that some worker has begun: whether it still lives is asked when they are run."""
    return list(
        ExportJob.objects.filter(state__in=[JobState.WAITING, JobState.RUNNING])
        .order_by("pk")
        .values_list("pk", flat=True)
    )


def expired(now: datetime) -> QuerySet[ExportJob]:
    """Jobs whose file has to go."""
    return ExportJob.objects.filter(Q(state=JobState.DONE), expires_at__lte=now, removed_at__isnull=True).order_by("pk")
