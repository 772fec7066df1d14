"""Doses in the background. A task that runs twice, late or after a crash gives one result.

What must be done is a row in the database (``DoseNeed``, or an enrolled participant without a worksheet); sending a
task is only the fast way to it. The sweep finds what a lost message or a killed worker left.
"""

from __future__ import annotations

from celery import shared_task
from django.db import DatabaseError, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError
from structlog import get_logger

from dosing import actions, selectors
from trials.models import Participant

log = get_logger(__name__)


@shared_task
def compute_dose(participant: int) -> None:
    actions.bring_up_to_date(
        participant=Participant.objects.select_related("site", "trial", "protocol_version__trial", "enrolment").get(
            pk=participant
        )
    )


@shared_task
def compute_noted_dose(participant: int) -> None:
    """Compute the dose if its mark still stands: several facts recorded together ask several times."""
    if selectors.is_marked(participant, timezone.localdate()):
        compute_dose(participant)


@shared_task
def sweep() -> None:
    for participant in selectors.needing_work(timezone.localdate()):
        try:
            compute_dose(participant)
        except (DatabaseError, ArithmeticError, ValueError, LookupError):
            # One participant's trouble keeps nobody else's dose back; the mark stays for the next sweep.
            log.exception("dose not computed", participant=participant)


def ask_for_doses(participant_ids: tuple[int, ...]) -> None:
    """Mark in this transaction what is needed, and send the tasks once it is committed."""
    marked = actions.need(participant_ids)
    if marked:
        transaction.on_commit(lambda: _send(marked), robust=True)


def _send(participants: list[int]) -> None:
    for participant in participants:
        try:
            compute_noted_dose.delay(participant)
        except OperationalError:
            log.warning("queue unreachable; the sweep will compute", participants=len(participants))
            return


def on_observation(sender: object, participant_ids: tuple[int, ...], **kwargs: object) -> None:
    ask_for_doses(participant_ids)


def on_participant(sender: object, participant: Participant, **kwargs: object) -> None:
    ask_for_doses((participant.pk,))
