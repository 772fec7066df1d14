"""A real worker: the dose is there moments after the enrolment, and losing the queue loses no dose."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import date

import pytest
from django.utils import timezone

from config.embedded.processes import wait_until
from dosing import selectors, tasks
from dosing.models import DoseWorksheet
from tests.dosing.dose_world import count, graft, weigh, with_table
from tests.world import ENROLLED_ON, GRAFT_ON, World
from trials import actions as trials

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_a_worker_computes_the_dose_on_enrolment_and_again_when_a_weight_changes(
    world: World, celery_worker_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with_table(world)
    participant, assessment = world.eligible()
    trials.set_anchor(participant=participant, day=GRAFT_ON, by=world.bob)
    graft(world, participant)
    weigh(world, participant, "23.4")
    count(world, participant, "0.8")
    assert not DoseWorksheet.objects.exists()
    celery_worker_process()
    trials.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)
    assert wait_until(lambda: DoseWorksheet.objects.filter(total_mg=164).exists(), seconds=10)
    weigh(world, participant, "25", on=date(2025, 3, 14))
    assert wait_until(lambda: DoseWorksheet.objects.filter(total_mg=175, is_current=True).exists(), seconds=10)


def test_without_a_queue_the_enrolment_stands_and_the_sweep_computes(world: World) -> None:
    """The tests' queue address leads nowhere: every message of this test is lost."""
    with_table(world)
    participant = world.enrolled()
    graft(world, participant)
    weigh(world, participant, "23.4")
    count(world, participant, "0.8")
    assert not DoseWorksheet.objects.exists()
    tasks.sweep()
    worksheet = selectors.current_worksheet(participant)
    assert worksheet is not None and worksheet.total_mg == 164
    assert selectors.needing_work(timezone.localdate()) == []
