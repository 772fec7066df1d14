"""Real workers over a real queue: a task is done although the worker that had it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from audit import chain
from config.celery import app
from config.embedded.processes import wait_until
from tests.conftest import database_url
from trials.models import Trial

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

Start = Callable[..., subprocess.Popen[bytes]]
TASK = "audit.tasks.anchor_heads"


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    """The file the task writes to: its effect, seen from outside."""
    Trial.objects.create(code="larch", title="A trial")  # so that there is a chain to anchor
    return tmp_path / "anchors.jsonl"


def written_to(file: Path) -> bool:
    """Whether whole lines are there: a file is made a moment before it is written to."""
    return file.exists() and file.read_text().endswith("\n")


def children_of(pid: int) -> list[int]:
    listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(child) for child, parent in map(str.split, listing.splitlines()) if int(parent) == pid]


def test_a_task_sent_while_no_worker_lives_is_done_by_the_next(celery_worker_process: Start, anchors: Path) -> None:
    first = celery_worker_process(AUDIT_ANCHOR_FILE=str(anchors))
    first.kill()
    first.wait()
    app.send_task(TASK)
    assert not anchors.exists()
    celery_worker_process(AUDIT_ANCHOR_FILE=str(anchors))
    assert wait_until(lambda: written_to(anchors), seconds=20)
    assert [head.chain for head in chain.anchors(anchors)] == [head.chain for head in chain.heads()]


def test_a_task_whose_process_is_killed_in_the_middle_is_done_again(
    celery_worker_process: Start, anchors: Path
) -> None:
    worker = celery_worker_process(AUDIT_ANCHOR_FILE=str(anchors))
    with psycopg.connect(database_url()) as blocking:
        # The task waits in the middle of its work for as long as this lock is held.
        blocking.execute("LOCK TABLE audit_trail IN ACCESS EXCLUSIVE MODE")
        app.send_task(TASK)

        def is_waiting() -> bool:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit_trail'::regclass"
            return blocking.execute(waiting).fetchone() == (1,)

        assert wait_until(is_waiting, seconds=20, step=0.1)
        for child in children_of(worker.pid):
            os.kill(child, signal.SIGKILL)
        log: Path = worker.log_path  # type: ignore[attr-defined]
        assert wait_until(lambda: "WorkerLostError" in log.read_text(), seconds=20)
        assert not anchors.exists()
    assert wait_until(anchors.exists, seconds=20)
    assert worker.poll() is None


def test_a_task_is_never_given_to_a_second_worker_while_the_first_may_still_do_it() -> None:
    assert settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] > settings.CELERY_TASK_TIME_LIMIT
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.worker_prefetch_multiplier == 1


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    scheduled = {str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert scheduled
    assert scheduled <= set(app.tasks)
