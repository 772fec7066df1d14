"""Adverse events, coded to the dictionary that the participant's protocol version names."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q

from adverse_events.domain.reporting import OUTCOME_WORDS
from trials.models import Membership, Participant


class TermWording(models.Model):
    """The official wording of one term, loaded by the user from the publisher's own file; Canopy ships facts only."""

    dictionary = models.CharField(max_length=20, help_text="such as CTCAE 4.03")
    soc = models.TextField()
    term = models.TextField()
    definition = models.TextField(blank=True)
    grades = models.JSONField(help_text='{"3": "..."}: wording by grade')

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dictionary", "term"], name="adverse_events_termwording_unique")]

    def __str__(self) -> str:
        return f"{self.dictionary}: {self.term}"


class OfParticipantQuerySet(models.QuerySet["AdverseEvent"]):
    def visible_to(self, membership: Membership) -> Self:
        own = self.filter(participant__trial_id=membership.trial_id)
        return own if membership.site_id is None else own.filter(participant__site_id=membership.site_id)


class AdverseEvent(models.Model):
    """One continuous episode, at its worst grade."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="adverse_events")
    number = models.PositiveIntegerField(help_text="running number within the participant")
    external_id = models.CharField(max_length=40, blank=True, help_text="the number it had where it was imported from")
    verbatim = models.TextField()
    dictionary = models.CharField(max_length=20)
    term = models.TextField()
    soc = models.TextField()
    other_specify = models.TextField(blank=True)
    category = models.TextField(help_text="report category of the definition, or the class itself where it has none")
    grade = models.PositiveSmallIntegerField()
    started = models.CharField(max_length=10, help_text="ISO 8601, partial where only that is known")
    ended = models.CharField(max_length=10, blank=True)
    is_ongoing = models.BooleanField(default=False)
    is_serious = models.BooleanField(null=True, help_text="empty: not known")
    serious_criteria = models.JSONField(default=list, blank=True)
    relations = models.JSONField(default=dict, blank=True, help_text="product → related, not related, not known")
    outcome = models.CharField(
        max_length=20,
        choices=list(OUTCOME_WORDS.items()),
    )
    organism = models.TextField(blank=True)
    suspect_product = models.TextField(blank=True)
    note = models.TextField(blank=True, help_text="what the coded fields cannot hold, in the reporter's words")
    is_void = models.BooleanField(default=False, help_text="recorded in error; kept, and not counted")
    revision = models.PositiveIntegerField(default=1)
    recorded_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    objects = OfParticipantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "number"], name="adverse_events_adverseevent_number"),
            models.UniqueConstraint(
                fields=["participant", "external_id"],
                condition=~Q(external_id=""),
                name="adverse_events_adverseevent_external",
            ),
            models.CheckConstraint(condition=Q(grade__range=(1, 5)), name="adverse_events_adverseevent_grade_1_to_5"),
            models.CheckConstraint(
                condition=Q(started__regex=r"^\d{4}(-\d{2}(-\d{2})?)?$")
                & (Q(ended="") | Q(ended__regex=r"^\d{4}(-\d{2}(-\d{2})?)?$")),
                name="adverse_events_adverseevent_dates_iso",
            ),
            models.CheckConstraint(
                condition=Q(is_ongoing=False) | Q(ended=""), name="adverse_events_adverseevent_ongoing_has_no_end"
            ),
            models.CheckConstraint(
                condition=Q(grade=5, outcome="fatal") | ~Q(grade=5) & ~Q(outcome="fatal"),
                name="adverse_events_adverseevent_grade_5_is_fatal",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.participant} AE {self.number}: {self.term} grade {self.grade}"
