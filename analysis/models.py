"""What was decided of the data: adjudicated endpoints and stage gates. Frozen rows; new data make new ones."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q

from analysis.domain.gates import GateState
from analysis.domain.readings import ANSWERS as READING_ANSWERS
from trials.models import Membership, Participant, ProtocolVersion, Signature, Trial


class AdjudicationQuerySet(models.QuerySet["Adjudication"]):
    def visible_to(self, membership: Membership) -> Self:
        own = self.filter(participant__trial_id=membership.trial_id)
        return own if membership.site_id is None else own.filter(participant__site_id=membership.site_id)

    def current(self) -> Self:
        return self.filter(is_current=True)


class Adjudication(models.Model):
    """One endpoint of one participant, decided by its method on the data of one moment.

    ``is_evaluable`` is stored beside the endpoint and independently of it: a participant can reach the endpoint and not
    be evaluable, and "not evaluable" is never "not reached". None: not known yet.
    """

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="adjudications")
    endpoint = models.CharField(max_length=60)
    status = models.CharField(max_length=20, help_text="reached, not_reached, competing, pending, insufficient_data")
    event_day = models.IntegerField(null=True)
    event_date = models.DateField(null=True)
    competing_kind = models.CharField(max_length=30, blank=True)
    is_evaluable = models.BooleanField(null=True)
    evidence = models.JSONField(help_text="rows it rests on, flags, and the sentence that says why")
    parameters = models.JSONField()
    method = models.CharField(max_length=40)
    method_version = models.CharField(max_length=20)
    protocol_version = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="+")
    code_version = models.CharField(max_length=40)
    input_sha256 = models.CharField(max_length=64)
    is_current = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AdjudicationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "endpoint"],
                condition=Q(is_current=True),
                name="analysis_adjudication_one_current",
            )
        ]
        indexes = [models.Index(fields=["endpoint", "status"], name="analysis_adjudication_status")]

    def __str__(self) -> str:
        return f"{self.participant} {self.endpoint}: {self.status}"


class AdjudicationNeed(models.Model):
    """A participant whose data are newer than the endpoint decided on them: what the sweep works off.

    Written in the transaction that records the observation, so that losing the broker loses no result.
    """

    participant = models.OneToOneField(Participant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    since = models.DateTimeField()

    audit_exempt = "a mark for the queue; what it leads to is audited"

    def __str__(self) -> str:
        return f"{self.participant} since {self.since}"


class Gate(models.Model):
    """One stage of a trial: waiting for participants, then proposed on a frozen snapshot, then decided by a person."""

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="gates")
    stage = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=12, choices=[(s.value, s.value) for s in GateState])
    protocol_version = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="+")
    snapshot = models.JSONField(default=dict, help_text="participants in order, each with status, as they were counted")
    snapshot_sha256 = models.CharField(max_length=64, blank=True)
    responders = models.PositiveIntegerField(null=True)
    evaluable = models.PositiveIntegerField(null=True)
    boundary = models.PositiveIntegerField(null=True)
    proposal = models.CharField(
        max_length=10, blank=True, choices=[("continue", "continue"), ("stop", "stop"), ("success", "success")]
    )
    method_version = models.CharField(max_length=20, blank=True)
    code_version = models.CharField(max_length=40, blank=True)
    proposed_at = models.DateTimeField(null=True)
    safety_reviewed_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    safety_reviewed_at = models.DateTimeField(null=True)
    safety_review = models.TextField(blank=True)
    safety_signature = models.OneToOneField(Signature, on_delete=models.PROTECT, null=True, related_name="+")
    decision = models.CharField(
        max_length=10,
        blank=True,
        choices=[("continue", "continue"), ("stop", "stop"), ("modify", "modify"), ("success", "success")],
    )
    decided_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    decision_reason = models.TextField(blank=True)
    decision_signature = models.OneToOneField(Signature, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["trial", "stage"], name="analysis_gate_unique"),
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in GateState]), name="analysis_gate_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="waiting", snapshot_sha256="") | ~Q(state="waiting") & ~Q(snapshot_sha256=""),
                name="analysis_gate_proposed_on_snapshot",
            ),
            models.CheckConstraint(
                condition=Q(decision="", decided_by__isnull=True, decided_at__isnull=True)
                | ~Q(decision="") & Q(decided_by__isnull=False, decided_at__isnull=False) & ~Q(decision_reason=""),
                name="analysis_gate_decision_whole",
            ),
            models.CheckConstraint(
                condition=Q(state="decided") & ~Q(decision="") | ~Q(state="decided") & Q(decision=""),
                name="analysis_gate_decided_has_decision",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.trial} stage {self.stage}: {self.state}"


class PacketCopy(models.Model):
    """One time that somebody took a gate's packet as a file, with the snapshot and the data cut it shows. Frozen."""

    gate = models.ForeignKey(Gate, on_delete=models.PROTECT, related_name="copies")
    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="+")
    snapshot_sha256 = models.CharField(max_length=64)
    data_as_of = models.DateTimeField(help_text="the moment that the snapshot froze")
    has_closed_part = models.BooleanField(help_text="whether the participants one by one are in it")
    sha256 = models.CharField(max_length=64, help_text="of the file that was given out")
    by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(sha256="") & ~Q(snapshot_sha256=""), name="analysis_packetcopy_has_sha256"
            )
        ]

    def __str__(self) -> str:
        return f"{self.gate} taken by {self.by}"


class RunState(models.TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, membership: Membership) -> Self:
        """The runs of the membership's trial. They are of all sites: a membership of one site finds none."""
        own = self.filter(trial_id=membership.trial_id)
        return own if membership.site_id is None else own.none()


class Run(models.Model):
    """The statistical plan computed on the data of one cut. Frozen once it is done or failed.

    The same data, protocol version and code give the same ``result_sha256``; the report is made from ``result`` alone,
    so that later data never change it.
    """

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="runs")
    protocol_version = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="+")
    as_of = models.DateField(help_text="last day that counts")
    reason = models.TextField()
    requested_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    failure = models.TextField(blank=True)
    specification = models.JSONField(default=list, help_text="the analyses as the definition had them")
    seeds = models.JSONField(default=list, help_text="of methods that draw at random; empty: none does")
    method_version = models.CharField(max_length=20, blank=True)
    code_version = models.CharField(max_length=40, blank=True)
    data_seq = models.BigIntegerField(null=True, help_text="last change in the trail of the data that was read")
    input_sha256 = models.CharField(max_length=64, blank=True)
    result = models.JSONField(default=list)
    result_sha256 = models.CharField(max_length=64, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="analysis_run_state_known"),
            models.CheckConstraint(
                condition=~Q(state="done")
                | ~Q(result_sha256="") & ~Q(input_sha256="") & Q(finished_at__isnull=False) & ~Q(code_version=""),
                name="analysis_run_done_is_whole",
            ),
            models.CheckConstraint(condition=~Q(state="failed") | ~Q(failure=""), name="analysis_run_failed_says_why"),
            models.CheckConstraint(condition=~Q(reason=""), name="analysis_run_has_reason"),
        ]
        indexes = [models.Index(fields=["trial", "state"], name="analysis_run_open")]

    def __str__(self) -> str:
        return f"{self.trial} run {self.pk} as of {self.as_of}"

    @property
    def is_open(self) -> bool:
        """Whether somebody still waits for it."""
        return self.state in (RunState.QUEUED, RunState.RUNNING)


class Reading(models.Model):
    """One reader's own answer on one endpoint of one participant, with the data it was made on. Frozen.

    ``position`` 1 and 2 are the independent readers, 3 the one who settles a difference.
    """

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="readings")
    endpoint = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField()
    answer = models.CharField(max_length=20, choices=list(READING_ANSWERS.items()))
    comment = models.TextField(blank=True)
    evidence_sha256 = models.CharField(max_length=64, help_text="hash of the data that the reader was shown")
    reader = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="readings")
    signed_at = models.DateTimeField(auto_now_add=True)
    signature = models.OneToOneField(Signature, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "endpoint", "evidence_sha256", "position"],
                name="analysis_reading_one_a_position",
            ),
            models.UniqueConstraint(
                fields=["participant", "endpoint", "evidence_sha256", "reader"], name="analysis_reading_one_a_reader"
            ),
            models.CheckConstraint(condition=Q(position__in=[1, 2, 3]), name="analysis_reading_position_known"),
            models.CheckConstraint(condition=Q(answer__in=list(READING_ANSWERS)), name="analysis_reading_answer_known"),
            models.CheckConstraint(
                condition=~Q(position=3) | ~Q(comment=""), name="analysis_reading_settled_with_a_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.participant} {self.endpoint}: reading {self.position}"
