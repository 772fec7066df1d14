"""Doses: the tables they are looked up in, the worksheets that were computed, what was given.

A worksheet is a frozen row: inputs, their hash, method and versions, result or refusal. New inputs make a new row.
"""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q

from dosing.domain.administered import END_CAUSE_WORDS, EndCause
from dosing.domain.states import TableStatus
from trials.models import Membership, Participant, ProtocolVersion, Site, Trial

TABLE_STATUSES = [(one.value, one.value.lower()) for one in TableStatus]


class OfParticipantQuerySet(models.QuerySet):
    def visible_to(self, membership: Membership) -> Self:
        own = self.filter(participant__trial_id=membership.trial_id)
        return own if membership.site_id is None else own.filter(participant__site_id=membership.site_id)


class DosingTableQuerySet(models.QuerySet["DosingTable"]):
    def visible_to(self, membership: Membership) -> Self:
        """The tables of the membership's trial: they belong to no site."""
        return self.filter(trial_id=membership.trial_id)


class DosingTable(models.Model):
    """One version of a dosing table: its cells, where they come from, who entered, verified and approved them."""

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="dosing_tables")
    code = models.SlugField(max_length=60)
    version = models.PositiveIntegerField()
    title = models.TextField()
    status = models.CharField(max_length=12, choices=TABLE_STATUSES)
    product = models.CharField(max_length=40)
    is_synthetic = models.BooleanField(default=False)
    source_citation = models.TextField()
    licence_note = models.TextField(blank=True)
    content = models.JSONField(help_text="cells, axes and applicability, in canonical form")
    sha256 = models.CharField(max_length=64)
    entered_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    verified_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    verified_at = models.DateTimeField(null=True)
    approved_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    approved_at = models.DateTimeField(null=True)
    effective_from = models.DateField(null=True)
    retired_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    retired_at = models.DateTimeField(null=True)
    retired_because = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DosingTableQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["trial", "code", "version"], name="dosing_dosingtable_unique"),
            models.UniqueConstraint(
                fields=["trial", "code"], condition=Q(status="ACTIVE"), name="dosing_dosingtable_one_active"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in TableStatus]), name="dosing_dosingtable_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="ACTIVE") | Q(approved_at__isnull=False, effective_from__isnull=False),
                name="dosing_dosingtable_active_is_approved",
            ),
            models.CheckConstraint(
                condition=Q(status="RETIRED", retired_by__isnull=False, retired_at__isnull=False)
                & ~Q(retired_because="")
                | ~Q(status="RETIRED") & Q(retired_by__isnull=True, retired_at__isnull=True, retired_because=""),
                name="dosing_dosingtable_retired_says_who_when_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.version}"


class DosingModelQuerySet(models.QuerySet["DosingModel"]):
    def visible_to(self, membership: Membership) -> Self:
        """The models of the membership's trial: they belong to no site."""
        return self.filter(trial_id=membership.trial_id)


class DosingModel(models.Model):
    """One version of a parameter set or a level-guided algorithm: its content, its source, and its three people."""

    class Kind(models.TextChoices):
        PARAMETERS = "parameters", "parameter set"
        MAP = "map", "algorithm by estimate"
        TABLE = "table", "algorithm by table"

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="dosing_models")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    code = models.SlugField(max_length=60)
    version = models.PositiveIntegerField()
    title = models.TextField()
    status = models.CharField(max_length=12, choices=TABLE_STATUSES)
    product = models.CharField(max_length=40)
    is_synthetic = models.BooleanField(default=False)
    source_citation = models.TextField()
    licence_note = models.TextField(blank=True)
    content = models.JSONField(help_text="the whole file in canonical form")
    sha256 = models.CharField(max_length=64)
    entered_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    verified_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    verified_at = models.DateTimeField(null=True)
    approved_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    approved_at = models.DateTimeField(null=True)
    effective_from = models.DateField(null=True)
    retired_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    retired_at = models.DateTimeField(null=True)
    retired_because = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DosingModelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["trial", "code", "version"], name="dosing_dosingmodel_unique"),
            models.UniqueConstraint(
                fields=["trial", "code"], condition=Q(status="ACTIVE"), name="dosing_dosingmodel_one_active"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in TableStatus]), name="dosing_dosingmodel_status_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["parameters", "map", "table"]), name="dosing_dosingmodel_kind_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="ACTIVE") | Q(approved_at__isnull=False, effective_from__isnull=False),
                name="dosing_dosingmodel_active_is_approved",
            ),
            models.CheckConstraint(
                condition=Q(status="RETIRED", retired_by__isnull=False, retired_at__isnull=False)
                & ~Q(retired_because="")
                | ~Q(status="RETIRED") & Q(retired_by__isnull=True, retired_at__isnull=True, retired_because=""),
                name="dosing_dosingmodel_retired_says_who_when_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.version}"


class TableAtSite(models.Model):
    """From when an approved table holds at one site. A table with no such row holds at every site. Frozen."""

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="+")
    table = models.ForeignKey(DosingTable, on_delete=models.PROTECT, related_name="at_sites")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    effective_from = models.DateField()
    reason = models.TextField(help_text="what the signature means")
    approved_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    approved_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["table", "site"], name="dosing_tableatsite_unique"),
            models.CheckConstraint(condition=~Q(reason=""), name="dosing_tableatsite_has_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.table} at {self.site}"


class DoseWorksheet(models.Model):
    """One computed (or imported) dose plan, or the refusal to compute one. Frozen."""

    class Source(models.TextChoices):
        CALCULATION = "calculation", "computed here"
        IMPORT = "import", "imported plan of record"

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="worksheets")
    source = models.CharField(max_length=12, choices=Source.choices)
    is_plan_of_record = models.BooleanField(help_text="the plan that what was given is compared with")
    is_current = models.BooleanField(
        default=True, help_text="no later worksheet of the same source stands in its place"
    )
    is_refused = models.BooleanField(default=False)
    is_synthetic = models.BooleanField(default=False, help_text="computed from a table that is not for clinical use")
    method = models.CharField(max_length=30)
    method_version = models.CharField(max_length=20)
    protocol_version = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="+")
    code_version = models.CharField(max_length=40)
    table = models.ForeignKey(DosingTable, on_delete=models.PROTECT, null=True, related_name="worksheets")
    inputs = models.JSONField(help_text="each covariate with value, unit, moment and source")
    input_sha256 = models.CharField(max_length=64)
    total_mg_per_kg = models.DecimalField(max_digits=8, decimal_places=4, null=True)
    planned_mg = models.DecimalField(
        max_digits=12,
        decimal_places=6,
        null=True,
        help_text="weight times mg/kg, before rounding",
    )
    total_mg = models.DecimalField(
        max_digits=10, decimal_places=4, null=True, help_text="rounded plan, sum of the days"
    )
    graft_source = models.CharField(max_length=40, blank=True, help_text="stem-cell source that the plan rests on")
    n_days = models.PositiveSmallIntegerField(null=True)
    first_day_on = models.DateField(null=True)
    last_day_on = models.DateField(null=True)
    result = models.JSONField(help_text="days with date, mg and mL; look-up trace; warnings; or the refusals")
    reason = models.TextField(blank=True)
    proposed_by = models.ForeignKey(
        Membership, on_delete=models.PROTECT, null=True, related_name="+", help_text="who computed it, or enrolled"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfParticipantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "source"], condition=Q(is_current=True), name="dosing_worksheet_one_current"
            ),
            models.UniqueConstraint(
                fields=["participant"],
                condition=Q(is_current=True, is_plan_of_record=True),
                name="dosing_worksheet_one_plan_of_record",
            ),
            models.CheckConstraint(
                condition=Q(is_refused=True, total_mg__isnull=True) | Q(is_refused=False, total_mg__isnull=False),
                name="dosing_worksheet_dose_or_refusal",
            ),
            models.CheckConstraint(
                condition=Q(is_refused=True)
                | Q(planned_mg__gt=0, total_mg__gt=0, n_days__gt=0, first_day_on__lte=F("last_day_on")),
                name="dosing_worksheet_dose_is_whole",
            ),
            models.CheckConstraint(
                condition=~Q(is_refused=True, is_plan_of_record=True), name="dosing_worksheet_refusal_is_no_plan"
            ),
        ]
        indexes = [models.Index(fields=["last_day_on"], name="dosing_worksheet_last_day")]

    def __str__(self) -> str:
        return f"{self.participant}: {'refused' if self.is_refused else f'{self.total_mg} mg'}"


class DoseVerification(models.Model):
    """One independent check of a worksheet: what the second person typed, blind, and whether it agrees. Frozen."""

    worksheet = models.ForeignKey(DoseWorksheet, on_delete=models.PROTECT, related_name="verifications")
    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="+")
    typed = models.JSONField(help_text="each covariate as the second person typed it")
    differences = models.JSONField(default=list, help_text="one sentence a difference")
    agrees = models.BooleanField()
    verified_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    verified_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["worksheet"], condition=Q(agrees=True), name="dosing_verification_one_agreement"
            )
        ]

    def __str__(self) -> str:
        return f"{self.worksheet}: {'agrees' if self.agrees else 'differs'}"


class DoseRelease(models.Model):
    """The signature that lets a dose be given: one a worksheet, by who verified it. Frozen."""

    worksheet = models.OneToOneField(DoseWorksheet, on_delete=models.PROTECT, related_name="release")
    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="+")
    verification = models.OneToOneField(DoseVerification, on_delete=models.PROTECT, related_name="release")
    meaning = models.TextField()
    reason = models.TextField(blank=True, help_text="why the dose is right although there are warnings")
    released_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    released_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.worksheet} released"


class CardCopy(models.Model):
    """One time that somebody took the dose card as a file. Frozen."""

    worksheet = models.ForeignKey(DoseWorksheet, on_delete=models.PROTECT, related_name="copies")
    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="+")
    sha256 = models.CharField(max_length=64, help_text="of the file that was given out")
    by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=~Q(sha256=""), name="dosing_cardcopy_has_sha256")]

    def __str__(self) -> str:
        return f"{self.worksheet} taken by {self.by}"


class Administration(models.Model):
    """One infusion as it was given."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="administrations")
    infusion = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    stopped_at = models.DateTimeField()
    dose_mg = models.DecimalField(max_digits=10, decimal_places=3)
    volume_ml = models.DecimalField(max_digits=8, decimal_places=2, null=True, blank=True)
    was_stopped_early = models.BooleanField(default=False)
    product = models.CharField(max_length=40)
    batch = models.CharField(max_length=40, blank=True)
    comment = models.TextField(blank=True)
    source = models.CharField(max_length=8, choices=[("user", "recorded here"), ("import", "imported")], default="user")
    is_void = models.BooleanField(default=False, help_text="recorded in error; kept, and not counted")
    revision = models.PositiveIntegerField(default=1)
    recorded_at = models.DateTimeField(auto_now_add=True)

    objects = OfParticipantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "infusion"], condition=Q(is_void=False), name="dosing_administration_unique"
            ),
            models.CheckConstraint(
                condition=Q(stopped_at__gt=F("started_at")), name="dosing_administration_times_in_order"
            ),
            models.CheckConstraint(condition=Q(dose_mg__gt=0), name="dosing_administration_dose_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.participant} infusion {self.infusion}: {self.dose_mg} mg"


class CourseEnd(models.Model):
    """The course was declared ended: no further dose is given, whatever was planned. ``reason`` is in free words."""

    participant = models.OneToOneField(Participant, on_delete=models.PROTECT, related_name="course_end")
    ended_on = models.DateField()
    cause = models.CharField(max_length=24, choices=[(one.value, END_CAUSE_WORDS[one]) for one in EndCause])
    reason = models.TextField(blank=True)
    is_void = models.BooleanField(default=False, help_text="declared in error; the course goes on")
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(cause__in=[one.value for one in EndCause]), name="dosing_courseend_cause_known"
            ),
            models.CheckConstraint(
                condition=~Q(cause="other") | ~Q(reason=""), name="dosing_courseend_other_has_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.participant}: course ended {self.ended_on}"

    @property
    def cause_words(self) -> str:
        """The cause as it is told: its own words, and the free ones where there are any."""
        if self.cause == EndCause.OTHER:
            return self.reason
        return f"{self.get_cause_display()} ({self.reason})" if self.reason else self.get_cause_display()


class DoseNeed(models.Model):
    """A participant whose inputs are newer than what was computed on them, or whose course is judged on a day to come.

    Written in the transaction that records the observation, so that losing the broker loses no dose.
    """

    participant = models.OneToOneField(Participant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    since = models.DateTimeField()
    due_on = models.DateField(help_text="not before this day: the day after the last planned dose, or today")

    audit_exempt = "a mark for the queue; what it leads to is audited"

    def __str__(self) -> str:
        return f"{self.participant} since {self.since}"
