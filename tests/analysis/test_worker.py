"""A worker that is killed while it adjudicates: the next one ends with every participant decided exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from analysis import tasks
from analysis.models import Adjudication, AdjudicationNeed
from audit.context import Source
from casebook import actions as casebook
from casebook.actions.laboratory import DrawRow
from casebook.domain.results import Written
from config.celery import app
from config.embedded.processes import wait_until
from tests.conftest import database_url
from tests.world import ENROLLED_ON, GRAFT_ON, SCREENED_ON, World
from trials import actions as trials
from trials.models import Participant

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

Start = Callable[..., subprocess.Popen[bytes]]
PEOPLE, AT_ONCE = 300, 50


def imported(world: World, n: int) -> list[int]:
    """Participants as a file brings them, with their counts; every second one reaches the endpoint."""
    people = []
    for number in range(n):
        participant = trials.import_participant(
            trial=world.trial,
            site=world.site_a if number % 2 else world.site_b,
            screened_on=SCREENED_ON,
            number=f"Z{number:04}",
            by=None,
        )
        trials.import_enrolment(participant=participant, enrolled_on=ENROLLED_ON, by=None)
        trials.set_anchor(participant=participant, day=GRAFT_ON, is_actual=True, by=None, source=Source.IMPORT)
        people.append(participant)
    rows = [
        DrawRow(participant, GRAFT_ON + timedelta(days=day), {"LB.CD4": Written(value, "10^9/L")})
        for place, participant in enumerate(people)
        for day, value in ((28, "0.02"), (42, "0.07"), (56, "0.08" if place % 2 else "0.01"), (98, "0.03"))
    ]
    casebook.import_draws(rows=rows, by=None)
    return [participant.pk for participant in people]


def kill(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and its children as a power cut would."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)


@pytest.mark.requirement("END2")
def test_killed_in_the_middle_and_started_again_everybody_is_decided_once(
    world: World, broker: str, celery_worker_process: Start
) -> None:
    ids = imported(world, PEOPLE)
    app.control.purge()  # the messages of the import are lost; the notes in the database are not
    assert AdjudicationNeed.objects.count() == PEOPLE
    batches = [ids[at : at + AT_ONCE] for at in range(0, PEOPLE, AT_ONCE)]
    for batch in batches:
        tasks.adjudicate_participants.delay(batch)
    held = batches[3][AT_ONCE // 2]
    with psycopg.connect(database_url()) as other:
        # The worker comes to the fourth batch and waits in the middle of its transaction for this participant.
        other.execute("SELECT FROM trials_participant WHERE id = %s FOR UPDATE", [held])

        def is_waiting() -> bool:
            return other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,)

        first = celery_worker_process()
        assert wait_until(is_waiting, seconds=60, step=0.1), first.log_path.read_text()  # type: ignore[attr-defined]
        assert Adjudication.objects.count() == 3 * AT_ONCE
        kill(first)
    assert Adjudication.objects.count() == 3 * AT_ONCE
    assert AdjudicationNeed.objects.count() == PEOPLE - 3 * AT_ONCE

    second = celery_worker_process()
    tasks.sweep.delay()  # as the scheduler does every minute
    assert wait_until(lambda: not AdjudicationNeed.objects.exists(), seconds=60, step=0.2), second.log_path.read_text()  # type: ignore[attr-defined]
    for batch in batches:  # the message that the killed worker held comes back, late; and so do all others
        tasks.adjudicate_participants(batch)
    assert Adjudication.objects.count() == PEOPLE
    current = Adjudication.objects.current()
    assert sorted(current.values_list("participant", flat=True)) == sorted(ids)
    assert current.filter(status="reached").count() == PEOPLE // 2
    assert not AdjudicationNeed.objects.exists()


@pytest.mark.requirement("END2")
def test_a_lost_queue_loses_no_result(world: World) -> None:
    """No broker answers: what was recorded is kept, and the sweep decides it."""
    (pk,) = imported(world, 1)
    assert AdjudicationNeed.objects.filter(participant=pk).exists()
    tasks.sweep()
    assert Adjudication.objects.current().get(participant=Participant.objects.get(pk=pk)).status == "not_reached"
