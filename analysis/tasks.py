"""Endpoints and gates in the background. A task that runs twice, late or after a crash gives one result.

What must be done is a row in the database (``AdjudicationNeed``); sending a task is only the fast way to it. The sweep
finds what a lost message or a killed worker left.
"""

from __future__ import annotations

from celery import shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError
from structlog import get_logger

from analysis import actions, selectors
from analysis.actions import runs
from analysis.models import Run
from analysis.selectors.runs import unfinished_runs
from trials.models import Participant, Trial

log = get_logger(__name__)


@shared_task
def adjudicate_participants(participants: list[int]) -> None:
    actions.adjudicate(participants=participants)
    for trial in Trial.objects.filter(participants__in=participants).distinct():
        actions.refresh_gates(trial=trial)


@shared_task
def adjudicate_noted(participants: list[int]) -> None:
    """Decide those whose note still stands: a hundred forms saved together ask often, and are answered once."""
    standing = selectors.noted(participants)
    if standing:
        adjudicate_participants(standing)


@shared_task
def sweep() -> None:
    """Decide what was missed or has become due by the days that passed; then look at every gate that waits.

    A worker that was killed between the endpoints and the gate left no note of the gate: this looks at it again.
    """
    actions.adjudicate(participants=selectors.needing_adjudication(now=timezone.now()))
    for trial in Trial.objects.filter(versions__status="ACTIVE").distinct():
        actions.refresh_gates(trial=trial)


# Longer than the queue waits for an answer: a message that comes again meanwhile finds the run's lock taken.
@shared_task(time_limit=1800)
def compute_run(run: int) -> None:
    runs.compute_run(run=run)


@shared_task
def sweep_runs() -> None:
    """Begin the runs that a lost message or a dead worker left."""
    for run in unfinished_runs():
        compute_run.delay(run)


def on_run_requested(sender: object, run: Run, **kwargs: object) -> None:
    transaction.on_commit(lambda: _send_run(run.pk), robust=True)


def _send_run(run: int) -> None:
    try:
        compute_run.delay(run)
    except OperationalError:
        log.warning("queue unreachable; the sweep will begin the run", run=run)


def ask_for_adjudication(*, participant_ids: tuple[int, ...]) -> None:
    """Note what is needed in this transaction, and send the task once it is committed."""
    actions.need_adjudication(participants=participant_ids)
    transaction.on_commit(lambda: _send(list(participant_ids)), robust=True)


def _send(participants: list[int]) -> None:
    for at in range(0, len(participants), actions.BATCH):
        try:
            adjudicate_noted.delay(participants[at : at + actions.BATCH])
        except OperationalError:
            log.warning("queue unreachable; the sweep will adjudicate", participants=len(participants))
            return


def on_observation(sender: object, participant_ids: tuple[int, ...], **kwargs: object) -> None:
    ask_for_adjudication(participant_ids=participant_ids)


def on_participant(sender: object, participant: Participant, **kwargs: object) -> None:
    ask_for_adjudication(participant_ids=(participant.pk,))
