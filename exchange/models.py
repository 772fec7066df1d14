"""Data out, as jobs that report what they do: an export with its checksum, and who took it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q

from accounts.roles import Permission
from trials.models import Membership, Trial
from trials.selectors import may_see_group


class JobState(models.TextChoices):
    WAITING = "waiting", "waiting"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"


class JobQuerySet(models.QuerySet):
    def visible_to(self, membership: Membership) -> Self:
        """The jobs of the membership's trial that were asked for within its scope."""
        own = self.filter(trial_id=membership.trial_id)
        return own if membership.site_id is None else own.filter(requested_by__site_id=membership.site_id)


class ExportJobQuerySet(JobQuerySet):
    def visible_to(self, membership: Membership) -> Self:
        """Those asked for within the membership's scope that hold nothing which the membership could not ask for."""
        if not membership.may(Permission.EXPORT_DATA):
            return self.none()
        own = super().visible_to(membership)
        if not membership.may(Permission.EXPORT_IDENTIFYING_DATES):
            own = own.filter(includes_identifying=False)
        if not may_see_group(membership, membership.trial.protocol):
            own = own.filter(includes_groups=False)
        if not membership.may(Permission.VIEW_AUDIT):
            own = own.filter(includes_audit_trail=False)
        return own


class ExportJob(models.Model):
    """One request for datasets, worked off by the queue; the ZIP is kept until it expires, the row for ever.

    What the request may hold (site, groups, identifying items) is decided when it is made and kept with it, so that
    nobody who could not have asked for the same finds it.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="exports")
    requested_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="exports")
    requested_at = models.DateTimeField(auto_now_add=True)
    specification = models.JSONField(help_text="datasets, variant (statistical or spreadsheet)")
    includes_groups = models.BooleanField(help_text="whoever asked may see the groups")
    includes_identifying = models.BooleanField(help_text="whoever asked may take out what identifies a person")
    includes_audit_trail = models.BooleanField()
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    snapshot = models.JSONField(default=dict, help_text="chain, number and hash of the last change that is in it")
    file_name = models.TextField(blank=True)
    size_bytes = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    row_counts = models.JSONField(default=dict)
    failure = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True, help_text="when the file was deleted; the row stays")

    objects = ExportJobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="done")
                | ~Q(sha256="")
                & ~Q(file_name="")
                & Q(size_bytes__isnull=False, finished_at__isnull=False, expires_at__isnull=False),
                name="exchange_exportjob_done_has_file",
            ),
            models.CheckConstraint(
                condition=~Q(state="failed") | ~Q(failure=""), name="exchange_exportjob_failed_says_why"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "running", "done", "failed"]), name="exchange_exportjob_state_known"
            ),
        ]
        indexes = [models.Index(fields=["state", "expires_at"], name="exchange_exportjob_due")]

    def __str__(self) -> str:
        return f"{self.trial} export {self.key}"

    @property
    def is_open(self) -> bool:
        """Whether somebody still waits for it."""
        return self.state in (JobState.WAITING, JobState.RUNNING)

    @property
    def data_as_of(self) -> datetime | None:
        """The moment of the last change that is in the file."""
        at = self.snapshot.get("at")
        return datetime.fromisoformat(at) if at else None

    @property
    def progress_percent(self) -> int:
        if self.state == JobState.DONE:
            return 100
        progress = getattr(self, "progress", None)
        return progress.percent if progress is not None and self.state == JobState.RUNNING else 0


class ExportProgress(models.Model):
    """How far a running export has come; written beside the export's own transaction, which sees one moment only."""

    job = models.OneToOneField(ExportJob, on_delete=models.CASCADE, primary_key=True, related_name="progress")
    percent = models.PositiveSmallIntegerField(default=0)

    audit_exempt = "a bar on a page; the job that it belongs to is audited"

    def __str__(self) -> str:
        return f"{self.job} {self.percent} %"


class Download(models.Model):
    """One time that somebody took an export's file. Frozen."""

    export = models.ForeignKey(ExportJob, on_delete=models.PROTECT, related_name="downloads")
    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.export} taken by {self.by}"
