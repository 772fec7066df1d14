"""What was observed: answers of forms, laboratory draws with their results, clinical events.

A data point is named by its address (participant, event, form, repeat, item), whichever table it lives in.
Dates that may be known in part are ISO 8601 text ("2017-03"); see ``trials.domain.partial_dates``.
"""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from casebook.domain.clinical_events import EventKind
from casebook.domain.entries import EntryStatus
from casebook.domain.numbers import plain
from trials.models import Membership, Participant, Trial, Visit


class OfParticipantQuerySet(models.QuerySet):
    """Rows that belong to a participant, seen by a membership as far as it sees the participant."""

    def visible_to(self, membership: Membership) -> Self:
        own = self.filter(participant__trial_id=membership.trial_id)
        return own if membership.site_id is None else own.filter(participant__site_id=membership.site_id)


class LabImportQuerySet(models.QuerySet):
    def visible_to(self, membership: Membership) -> Self:
        """The imports of the membership's trial that were uploaded within its scope."""
        own = self.filter(trial_id=membership.trial_id)
        return own if membership.site_id is None else own.filter(uploaded_by__site_id=membership.site_id)


class FormEntry(models.Model):
    """One form of one participant at one event: every answer in one row, under one revision.

    ``answers`` maps an item id to ``{"value": ..., "unit"?: ..., "qualifier"?: ..., "missing_reason"?: ...}``.
    """

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="entries")
    visit = models.ForeignKey(Visit, on_delete=models.PROTECT, null=True, blank=True, related_name="entries")
    form = models.CharField(max_length=20)
    repeat = models.PositiveIntegerField(default=1)
    answers = models.JSONField(default=dict)
    revision = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=12, choices=[(s.value, s.value) for s in EntryStatus])
    observed_on = models.DateField(null=True, blank=True)
    completed_at = models.DateTimeField(
        null=True, blank=True, help_text="first completion: from then on a change needs a reason"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    objects = OfParticipantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "visit", "form", "repeat"],
                nulls_distinct=False,
                name="casebook_formentry_one_a_place",
            ),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in EntryStatus]), name="casebook_formentry_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="complete") | Q(completed_at__isnull=False),
                name="casebook_formentry_complete_has_time",
            ),
        ]
        indexes = [GinIndex(fields=["answers"], name="casebook_formentry_answers")]

    def __str__(self) -> str:
        place = f" {self.visit.code}" if self.visit else ""
        return f"{self.participant}{place} {self.form}{f' {self.repeat}' if self.repeat > 1 else ''}"


class LabDraw(models.Model):
    """One sampling of one participant: the moment, the laboratory and what was sampled."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="draws")
    visit = models.ForeignKey(Visit, on_delete=models.PROTECT, null=True, blank=True, related_name="draws")
    sampled_at = models.DateTimeField()
    sampled_on = models.DateField(help_text="calendar date at the site: what study days are counted with")
    has_time = models.BooleanField(
        default=True, help_text="false where only the day is known; sampled_at is then the day's first moment"
    )
    laboratory = models.CharField(max_length=40, blank=True)
    specimen = models.CharField(max_length=40, default="blood")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfParticipantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "sampled_at", "laboratory", "specimen"], name="casebook_labdraw_unique"
            )
        ]
        indexes = [models.Index(fields=["participant", "sampled_on"], name="casebook_labdraw_day")]

    def __str__(self) -> str:
        return f"{self.participant} {self.sampled_at:%Y-%m-%d %H:%M}"


class LabResult(models.Model):
    """One value of a draw: as it was written, and in the unit that computations use.

    The row holds the value that counts now; what it was before is in the audit trail. ``missing_reason`` stands where
    the laboratory gave no value; the qualifier "nd" where the assay found nothing and gave no number.
    """

    draw = models.ForeignKey(LabDraw, on_delete=models.PROTECT, related_name="results")
    analyte = models.CharField(max_length=20, help_text="address of the definition, such as LB.CD4")
    value_as_written = models.CharField(max_length=40, blank=True)
    qualifier = models.CharField(
        max_length=2,
        blank=True,
        choices=[("<", "<"), (">", ">"), ("<=", "≤"), (">=", "≥"), ("nd", "not detected")],
    )
    unit_as_written = models.CharField(max_length=20, blank=True)
    value = models.DecimalField(max_digits=20, decimal_places=8, null=True, help_text="in the canonical unit")
    unit = models.CharField(max_length=20, blank=True, help_text="canonical unit")
    lower_limit = models.DecimalField(max_digits=20, decimal_places=8, null=True, help_text="LLN, canonical unit")
    upper_limit = models.DecimalField(max_digits=20, decimal_places=8, null=True, help_text="ULN, canonical unit")
    lloq = models.DecimalField(
        max_digits=20, decimal_places=8, null=True, help_text="lower limit of quantification, canonical unit"
    )
    lloq_as_written = models.CharField(max_length=40, blank=True, help_text="in the unit as written")
    missing_reason = models.CharField(max_length=5, blank=True)
    revision = models.PositiveIntegerField(default=1)
    recorded_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(lloq__isnull=True, lloq_as_written="") | (Q(lloq__gt=0) & ~Q(lloq_as_written="")),
                name="casebook_labresult_lloq_pair",
            ),
            models.UniqueConstraint(fields=["draw", "analyte"], name="casebook_labresult_unique"),
            models.CheckConstraint(
                condition=(Q(value__isnull=False) & ~Q(unit="") & Q(missing_reason=""))
                | (Q(value__isnull=True) & ~Q(missing_reason=""))
                | Q(value__isnull=True, qualifier="nd", missing_reason=""),
                name="casebook_labresult_value_or_reason",
            ),
        ]
        indexes = [models.Index(fields=["analyte", "draw"], name="casebook_labresult_analyte")]

    def __str__(self) -> str:
        return f"{self.analyte} {self.value_as_written or self.missing_reason} {self.unit_as_written}".strip()

    @property
    def in_computations(self) -> str:
        """The canonical value as it is shown; empty without one."""
        return f"{self.qualifier}{plain(self.value)} {self.unit}" if self.value is not None else ""

    @property
    def quantified_from(self) -> str:
        """The limit of quantification in the canonical unit; empty where the laboratory gave none."""
        return f"{plain(self.lloq)} {self.unit}".strip() if self.lloq is not None else ""

    @property
    def limits(self) -> str:
        """The limits of normal in the canonical unit; empty where none is known."""
        if self.lower_limit is None and self.upper_limit is None:
            return ""
        return f"{plain(self.lower_limit) or '–'} to {plain(self.upper_limit) or '–'} {self.unit}"


class ClinicalEvent(models.Model):
    """Something that happened to a participant and that endpoints stand on: death, relapse, graft failure, GVHD ..."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="clinical_events")
    kind = models.CharField(max_length=30, choices=[(k.value, k.label) for k in EventKind])
    occurred = models.CharField(max_length=10, help_text="ISO 8601 date, partial where only that is known")
    grade = models.CharField(max_length=10, blank=True)
    detail = models.JSONField(default=dict, blank=True, help_text="organ stages, cause, severity, method ...")
    note = models.TextField(blank=True)
    is_void = models.BooleanField(default=False, help_text="recorded in error; kept, and not counted")
    revision = models.PositiveIntegerField(default=1)
    recorded_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    objects = OfParticipantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=[k.value for k in EventKind]), name="casebook_clinicalevent_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(occurred__regex=r"^\d{4}(-\d{2}(-\d{2})?)?$"), name="casebook_clinicalevent_date_iso"
            ),
            models.UniqueConstraint(
                fields=["participant"],
                condition=Q(kind="death", is_void=False),
                name="casebook_clinicalevent_one_death",
            ),
        ]
        indexes = [models.Index(fields=["participant", "kind"], name="casebook_clinicalevent_kind")]

    def __str__(self) -> str:
        return f"{self.participant} {self.kind} {self.occurred}"


class LabImport(models.Model):
    """One uploaded laboratory file: what the dry run found in it and, once confirmed, that it was written.

    The file is kept as it was uploaded, so that what is confirmed is what was read; the dry run is worked out again
    from it whenever it is shown, against the results of that moment.
    """

    class State(models.TextChoices):
        CHECKED = "checked", "checked, not written"
        WRITTEN = "written", "written"
        DISCARDED = "discarded", "discarded"

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="lab_imports")
    uploaded_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="lab_imports")
    uploaded_at = models.DateTimeField(auto_now_add=True)
    file_name = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()
    laboratory = models.CharField(max_length=40, blank=True, help_text="for rows that name none")
    state = models.CharField(max_length=10, choices=State.choices, default=State.CHECKED)
    report = models.JSONField(default=dict, help_text="counts of new, changed, same and rejected rows; rejections")
    plan_sha256 = models.CharField(max_length=64, blank=True, help_text="of what was shown for confirmation")
    reason = models.TextField(blank=True, help_text="why values that were there change")
    written_at = models.DateTimeField(null=True, blank=True)

    objects = LabImportQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="written", written_at__isnull=False)
                | (~Q(state="written") & Q(written_at__isnull=True)),
                name="casebook_labimport_written_has_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["checked", "written", "discarded"]), name="casebook_labimport_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.trial} {self.file_name}"
