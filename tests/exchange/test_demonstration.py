"""The demonstration itself: where it may be made, when, and what is alive in it."""

from __future__ import annotations

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import override_settings

from dosing.models import DoseWorksheet
from exchange.actions import demonstration
from trials.models import Trial


@pytest.mark.django_db
def test_outside_a_demonstration_nothing_is_seeded() -> None:
    # The mark also has the database made for this file, whose other tests share one world of their own.
    with override_settings(DEMO=False), pytest.raises(CommandError, match="no demonstration"):
        call_command("seed_demo")
    assert not Trial.objects.exists()


@pytest.fixture
def practice() -> list[demonstration.DemoTrial]:
    return [demo for demo in demonstration.TRIALS if demo.code == "parachute-practice"]


@pytest.mark.django_db
@pytest.mark.parametrize("hour", ["2026-11-28T22:59:30Z", "2026-11-29T00:20:00Z", "2026-11-29T05:00:00Z"])
def test_the_practice_trial_is_alive_at_any_hour(hour: str, practice: list[demonstration.DemoTrial]) -> None:
    """Soon after midnight in Amsterdam this morning's draw has not been taken yet: its hour is that of the making."""
    with override_settings(DEMO=True, ALLOW_SYNTHETIC_DOSING=True), time_machine.travel(hour):
        demonstration.seed_demonstration(tell=lambda line: None, demos=practice)
    made = Trial.objects.get(code="parachute-practice")
    statuses = sorted(made.participants.values_list("status", flat=True))
    assert statuses == ["eligible", "enrolled", "enrolled", "enrolled", "enrolled", "enrolled", "screening"]
    worksheets = DoseWorksheet.objects.filter(participant__trial=made, is_current=True)
    assert worksheets.count() == 5
    assert all(w.is_synthetic and not w.is_refused for w in worksheets)
