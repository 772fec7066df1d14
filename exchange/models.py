"""Data in and out, as jobs that report what they do: an import with its dry run, an export with its checksum."""

from __future__ import annotations

import uuid
from typing import Self

from django.db import models
from django.db.models import Q

from trials.models import Membership, Trial


class JobState(models.TextChoices):
    WAITING = "waiting", "waiting"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"


class JobQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def visible_to(self, membership: Membership) -> Self:
        """The jobs of the membership's trial that were asked for within its scope."""
        own = self.filter(trial_id=membership.trial_id)
        return own if membership.site_id is None else own.filter(requested_by__site_id=membership.site_id)


class ExportJob(models.Model):
    """One request for datasets, worked off by the queue; the ZIP is kept until it expires."""

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="exports")
    requested_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="exports")
    requested_at = models.DateTimeField(auto_now_add=True)
    specification = models.JSONField(help_text="datasets, variant (statistical or spreadsheet)")
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.WAITING)
    progress_percent = models.PositiveSmallIntegerField(default=0)
    file_name = models.TextField(blank=True)
    size_bytes = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    row_counts = models.JSONField(default=dict)
    failure = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="done") | ~Q(sha256="") & Q(size_bytes__isnull=False),
                name="exchange_exportjob_done_has_file",
            )
        ]

    def __str__(self) -> str:
        return f"{self.trial} export {self.key}"


class ImportJob(models.Model):
    """One uploaded file: what a dry run found in it, and (once confirmed) what was written, in one transaction."""

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="imports")
    requested_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="imports")
    requested_at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=20)
    file_name = models.TextField()
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField(help_text="the file as it was uploaded: what is confirmed is what was read")
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.WAITING)
    report = models.JSONField(default=dict, help_text="counts of new, changed, same and rejected rows; rejections")
    finished_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.trial} import {self.file_name}"
