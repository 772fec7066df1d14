"""Exports in the background. What has to be made is a row; a message is only the fast way to it."""

from __future__ import annotations

from celery import shared_task
from django.db import transaction
from kombu.exceptions import OperationalError
from structlog import get_logger

from exchange import actions, selectors
from exchange.models import ExportJob

log = get_logger(__name__)


# Longer than the queue waits for an answer: a message that comes again meanwhile finds the job's lock taken.
@shared_task(time_limit=1800)
def run_export(job: int) -> None:
    actions.run_export(job=job)


@shared_task
def sweep() -> None:
    """Begin what a lost message or a dead worker left, and remove the files whose time is over."""
    for job in selectors.unfinished():
        run_export.delay(job)
    actions.remove_expired_exports()


def on_request(sender: object, job: ExportJob, **kwargs: object) -> None:
    transaction.on_commit(lambda: _send(job.pk), robust=True)


def _send(job: int) -> None:
    try:
        run_export.delay(job)
    except OperationalError:
        log.warning("queue unreachable; the sweep will begin the export", job=job)
