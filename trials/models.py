"""The protocol and the people in it.

Rows here are written by ``trials.actions`` only. Every table is under audit; what was decided on given facts (an
eligibility assessment, a waiver, an enrolment, an anchor date) is a row that stays as it was.
"""

from __future__ import annotations

from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from accounts.roles import ROLES
from trials.domain import language, lifecycle
from trials.domain.definition import Protocol

if TYPE_CHECKING:
    from accounts.roles import Permission


class Trial(models.Model):
    """A trial: its protocol is a series of :class:`ProtocolVersion`, of which one is active."""

    class Kind(models.TextChoices):
        CONDUCT = "conduct", "in conduct"
        PRACTICE = "practice", "practice, fictitious participants"
        RECONSTRUCTION = "reconstruction", "reconstruction of a published trial, no real participants"

    code = models.SlugField(max_length=40, unique=True)
    title = models.TextField()
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.CONDUCT)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["conduct", "practice", "reconstruction"]), name="trials_trial_kind_known"
            )
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def fictitious(self) -> bool:
        """Whether no participant of this trial is a real person: only then may a synthetic table compute a dose."""
        return self.kind != self.Kind.CONDUCT

    @cached_property
    def active_version(self) -> ProtocolVersion:
        """The protocol version that new participants consent to."""
        return self.versions.select_related("trial").get(status=lifecycle.VersionState.ACTIVE)

    @property
    def protocol(self) -> Protocol:
        return self.active_version.protocol


class ProtocolVersion(models.Model):
    """One published text of a trial's definition. Its content never changes; an amendment is another version."""

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="versions")
    version = models.CharField(max_length=20)
    status = models.CharField(max_length=12, choices=[(s.value, s.value.lower()) for s in lifecycle.VersionState])
    source_text = models.TextField()
    definition = models.JSONField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    activated_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["trial", "version"], name="trials_protocolversion_unique"),
            models.UniqueConstraint(
                fields=["trial"], condition=Q(status="ACTIVE"), name="trials_protocolversion_one_active"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in lifecycle.VersionState]),
                name="trials_protocolversion_status_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.trial_code} {self.version}"

    @property
    def trial_code(self) -> str:
        return self.trial.code

    @property
    def protocol(self) -> Protocol:
        """The definition as the domain knows it; read once a process, since its content never changes."""
        known = _PROTOCOLS.get(self.sha256)
        if known is None:
            known = _PROTOCOLS[self.sha256] = language.from_data(self.definition)
        return known


#: Published definitions by their hash.
_PROTOCOLS: dict[str, Protocol] = {}


class Site(models.Model):
    """A hospital that takes part in a trial."""

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="sites")
    code = models.CharField(max_length=20)
    name = models.TextField()
    time_zone = models.CharField(max_length=60, default="UTC")
    is_open = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trial", "code"], name="trials_site_unique")]

    def __str__(self) -> str:
        return self.code


class SiteApproval(models.Model):
    """From when a site may use a protocol version: its ethics committee's approval."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="approvals")
    protocol_version = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="site_approvals")
    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="+")
    approved_on = models.DateField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "protocol_version"], name="trials_siteapproval_unique")]

    def __str__(self) -> str:
        return f"{self.site} {self.protocol_version} {self.approved_on}"


class MembershipQuerySet(models.QuerySet["Membership"]):
    def active_on(self, day: date) -> Self:
        return self.filter(valid_from__lte=day).filter(Q(valid_until__isnull=True) | Q(valid_until__gte=day))


class Membership(models.Model):
    """One user in one role in one trial, at one site or (no site) at all of them, for a time. Ended, never deleted."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="memberships")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="memberships")
    role = models.CharField(max_length=30, choices=[(key, role.display_name) for key, role in ROLES.items()])
    valid_from = models.DateField()
    valid_until = models.DateField(null=True, blank=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "trial", "site", "role"],
                condition=Q(valid_until__isnull=True),
                nulls_distinct=False,
                name="trials_membership_one_open",
            ),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gte=F("valid_from")),
                name="trials_membership_dates_in_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.role} {self.trial}{f' {self.site}' if self.site else ''}"

    def may(self, permission: Permission) -> bool:
        """Whether the role holds ``permission``. Where and when it holds is asked by the apps' permissions."""
        return permission in ROLES[self.role].permissions

    def covers(self, site_id: int) -> bool:
        """Whether the membership reaches the site."""
        return self.site_id is None or self.site_id == site_id

    @property
    def audit_identity(self) -> dict[str, object]:
        return {
            "user_id": self.user_id,
            "user_name": str(self.user),
            "role": self.role,
            "site": self.site.code if self.site else "",
        }


class ParticipantQuerySet(models.QuerySet["Participant"]):
    def visible_to(self, membership: Membership) -> Self:
        """The participants of the membership's trial at the sites that it reaches."""
        own = self.filter(trial_id=membership.trial_id)
        return own if membership.site_id is None else own.filter(site_id=membership.site_id)

    def enrolled(self) -> Self:
        return self.filter(enrolment__isnull=False)


class Participant(models.Model):
    """A person assessed for a trial. Known by codes only: Canopy holds no name and no address."""

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="participants")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="participants")
    protocol_version = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="participants")
    screening_number = models.CharField(max_length=20)
    number = models.CharField(
        max_length=20, blank=True, help_text="given at enrolment; an external control keeps its own"
    )
    group = models.CharField(max_length=40, blank=True, help_text="group id of the definition, from enrolment on")
    status = models.CharField(max_length=20, choices=[(s.value, s.value) for s in lifecycle.ParticipantState])
    screened_on = models.DateField()
    birth_date = models.CharField(max_length=10, blank=True, help_text="ISO 8601, partial where only that is known")
    sex = models.CharField(max_length=7, choices=[("male", "male"), ("female", "female"), ("unknown", "not known")])
    is_external = models.BooleanField(
        default=False, help_text="a control of an external group: never in the trial's flow"
    )
    failure_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ParticipantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["trial", "screening_number"], name="trials_participant_screening_unique"),
            models.UniqueConstraint(
                fields=["trial", "number"], condition=~Q(number=""), name="trials_participant_number_unique"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in lifecycle.ParticipantState]),
                name="trials_participant_status_known",
            ),
        ]

    def __str__(self) -> str:
        return self.number or self.screening_number

    @property
    def protocol(self) -> Protocol:
        """The definition of the version that this participant is bound to."""
        return self.protocol_version.protocol

    @property
    def anchor_date(self) -> date | None:
        """The day the schedule counts from (graft infusion, first dose), planned or actual; None while unknown."""
        anchor = self.current_anchor
        return anchor.day if anchor else None

    @property
    def current_anchor(self) -> Anchor | None:
        anchors = list(self.anchors.all())  # prefetchable
        return max(anchors, key=lambda anchor: anchor.revision, default=None)


class Consent(models.Model):
    """Which version of the consent form was signed, when and by whom; a withdrawal ends it."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="consents")
    version = models.CharField(max_length=20)
    signed_on = models.DateField()
    signatory = models.CharField(max_length=200, help_text="who signed; several are separated by commas")
    withdrawn_on = models.DateField(null=True, blank=True)
    withdrawal_reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "version", "signed_on"], name="trials_consent_unique"),
            models.CheckConstraint(
                condition=Q(withdrawn_on__isnull=True) | Q(withdrawn_on__gte=F("signed_on")),
                name="trials_consent_withdrawn_after_signed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.participant} consent {self.version} {self.signed_on}"


class CriterionAnswer(models.Model):
    """A human's answer to a criterion that needs one. The latest row of a criterion counts; earlier ones stay."""

    class Answer(models.TextChoices):
        YES = "yes", "yes"
        NO = "no", "no"
        UNKNOWN = "unknown", "not known"

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="criterion_answers")
    criterion = models.CharField(max_length=20)
    answer = models.CharField(max_length=7, choices=Answer.choices)
    comment = models.TextField(blank=True)
    answered_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    answered_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.participant} {self.criterion}: {self.answer}"


class Waiver(models.Model):
    """A criterion set aside for one participant, by a role that the protocol lets do so, with a reason."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="waivers")
    criterion = models.CharField(max_length=20)
    reason = models.TextField()
    waived_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    waived_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "criterion"], name="trials_waiver_unique"),
            models.CheckConstraint(condition=~Q(reason=""), name="trials_waiver_has_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.participant} {self.criterion} waived"


class EligibilityAssessment(models.Model):
    """What the criteria said of the facts at one moment. Frozen: new facts make a new assessment."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="assessments")
    protocol_version = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="+")
    outcome = models.CharField(
        max_length=12,
        choices=[("eligible", "eligible"), ("not_eligible", "not eligible"), ("unknown", "not known yet")],
    )
    criteria = models.JSONField(help_text="one object a criterion: result, deciding item, value, source, sentence")
    input_sha256 = models.CharField(max_length=64)
    assessed_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    assessed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["participant", "-id"], name="trials_assessment_latest")]

    def __str__(self) -> str:
        return f"{self.participant}: {self.outcome}"


class Enrolment(models.Model):
    """The moment a participant became one of the trial. One a participant, on one assessment."""

    participant = models.OneToOneField(Participant, on_delete=models.PROTECT, related_name="enrolment")
    assessment = models.ForeignKey(EligibilityAssessment, on_delete=models.PROTECT, null=True, related_name="+")
    enrolled_on = models.DateField()
    enrolled_by = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+")
    source = models.CharField(max_length=12, choices=[("user", "enrolled here"), ("import", "imported")])
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(source="import") | Q(assessment__isnull=False, enrolled_by__isnull=False),
                name="trials_enrolment_rests_on_assessment",
            )
        ]

    def __str__(self) -> str:
        return f"{self.participant} enrolled {self.enrolled_on}"


class EnrolmentCounter(models.Model):
    """The row that enrolment locks: two coordinators never get the same number, nor one place too many."""

    trial = models.OneToOneField(Trial, on_delete=models.PROTECT, related_name="counter")
    last_screening_number = models.PositiveIntegerField(default=0)
    last_participant_number = models.PositiveIntegerField(default=0)
    held_because = models.TextField(blank=True, help_text="enrolment waits, for instance for a stage gate")
    stage = models.PositiveSmallIntegerField(
        default=1, help_text="stage of the design whose places are open; a decided gate opens the next one"
    )
    closed_on = models.DateField(null=True, blank=True, help_text="accrual has ended: nobody is enrolled any more")

    def __str__(self) -> str:
        return f"{self.trial}: {self.last_participant_number}"


class AllocationList(models.Model):
    """The secret that a trial's allocation list follows from. Never shown; the audit trail holds its digest only."""

    trial = models.OneToOneField(Trial, on_delete=models.PROTECT, related_name="allocation_list")
    seed = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.trial} allocation list"


class Allocation(models.Model):
    """The entry of the allocation list that a participant drew at enrolment. Frozen."""

    participant = models.OneToOneField(Participant, on_delete=models.PROTECT, related_name="allocation")
    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="+")
    group = models.CharField(max_length=40)
    method = models.CharField(max_length=40)
    position = models.PositiveIntegerField()
    block = models.PositiveIntegerField()
    position_in_block = models.PositiveIntegerField()
    allocated_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trial", "position"], name="trials_allocation_position_unique")]

    def __str__(self) -> str:
        return f"{self.participant} allocation {self.position}"


class Replacement(models.Model):
    """A place opened again because a participant cannot be evaluated for the primary endpoint."""

    participant = models.OneToOneField(Participant, on_delete=models.PROTECT, related_name="replacement")
    reason = models.TextField()
    is_open = models.BooleanField(default=True, help_text="closed again when the participant turns out to be evaluable")
    opened_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.participant} is replaced: {self.reason}"


class Anchor(models.Model):
    """The day the schedule counts from. A planned graft date, then the actual one; every revision stays."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="anchors")
    revision = models.PositiveIntegerField()
    day = models.DateField()
    at = models.DateTimeField(null=True, blank=True, help_text="the moment, where it is known")
    is_actual = models.BooleanField(default=False)
    reason = models.TextField(blank=True)
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "revision"], name="trials_anchor_revision_unique"),
            models.CheckConstraint(condition=Q(revision=1) | ~Q(reason=""), name="trials_anchor_move_has_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.participant} day 0 {self.day}"


class Visit(models.Model):
    """One visit of one participant: planned from the anchor, with its window, and done or missed."""

    class Status(models.TextChoices):
        PLANNED = "planned", "planned"
        DONE = "done", "done"
        MISSED = "missed", "missed"

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="visits")
    code = models.CharField(max_length=40)
    label = models.TextField()
    day = models.IntegerField(null=True, help_text="study day of the protocol")
    planned_date = models.DateField(null=True, help_text="unknown while the anchor is unknown")
    earliest_date = models.DateField(null=True)
    latest_date = models.DateField(null=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PLANNED)
    done_on = models.DateField(null=True, blank=True)
    missed_reason = models.TextField(blank=True)
    anchor_revision = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "code"], name="trials_visit_unique"),
            models.CheckConstraint(
                condition=Q(status="done", done_on__isnull=False) | (~Q(status="done") & Q(done_on__isnull=True)),
                name="trials_visit_done_has_date",
            ),
        ]
        indexes = [models.Index(fields=["planned_date"], name="trials_visit_planned")]

    def __str__(self) -> str:
        return f"{self.participant} {self.code}"


class Deviation(models.Model):
    """A departure from the protocol; a major one may take the participant out of efficacy sets, never out of safety."""

    class Source(models.TextChoices):
        USER = "user", "recorded by a person"
        CALCULATION = "calculation", "found by computation"
        IMPORT = "import", "imported"

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="deviations")
    rule = models.CharField(max_length=20, blank=True, help_text="removal rule of the definition, such as D1")
    occurred_on = models.DateField(null=True, blank=True)
    description = models.TextField()
    is_major = models.BooleanField()
    removes_from_efficacy = models.BooleanField(default=False)
    is_confirmed = models.BooleanField(
        null=True, help_text="a human's yes or no where the rule wants one; empty: not asked yet"
    )
    is_void = models.BooleanField(default=False, help_text="found by computation and no longer so")
    source = models.CharField(max_length=12, choices=Source.choices)
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "rule"],
                condition=~Q(rule="") & Q(is_void=False),
                name="trials_deviation_one_a_rule",
            ),
            models.CheckConstraint(
                condition=Q(removes_from_efficacy=False) | Q(is_major=True), name="trials_deviation_removal_is_major"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.participant}: {self.description}"


# --- Signatures ---------------------------------------------------------------------------------------------------


class Signature(models.Model):
    """What one person signed: name, role, time, meaning, and the hash of exactly that (21 CFR 11.50, 11.70). Frozen.

    The name is printed as it was at signing; the account and the membership are kept, so that it stays one person's.
    """

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="signatures")
    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, null=True, related_name="signatures")
    by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="signatures")
    signed_name = models.CharField(max_length=150)
    meaning = models.CharField(max_length=80)
    subject = models.CharField(max_length=200, help_text="what was signed, in words")
    sha256 = models.CharField(max_length=64, help_text="of exactly what was signed")
    components = models.CharField(max_length=60, help_text="by what the signer showed who they are")
    signed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(signed_name="") & ~Q(meaning="") & ~Q(subject="") & ~Q(sha256="") & ~Q(components=""),
                name="trials_signature_whole",
            )
        ]

    def __str__(self) -> str:
        return f"{self.signed_name}: {self.meaning}, {self.subject}"


class FailedSignature(models.Model):
    """A signature that was asked for and not given, because the signer did not show who they are. Frozen."""

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    meaning = models.CharField(max_length=80)
    why = models.CharField(max_length=60)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(meaning="") & ~Q(why=""), name="trials_failedsignature_says_why")
        ]

    def __str__(self) -> str:
        return f"{self.by}: {self.meaning}, {self.why}"
