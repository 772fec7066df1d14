"""The demonstration itself: where it may be made, when, and what is alive in it."""

from __future__ import annotations

from decimal import Decimal

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import override_settings

from dosing.models import DoseRelease, DoseWorksheet
from exchange.actions import demonstration
from trials.models import Allocation, Trial


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


def ends(worksheet: DoseWorksheet) -> str:
    """How far a dose that follows levels has come."""
    guided = worksheet.result["guided"]
    if guided["proposal"] is None:
        return guided["refusals"][0]["code"]
    if DoseRelease.objects.filter(worksheet=worksheet).exists():
        return "released"
    return "verified" if worksheet.verifications.filter(agrees=True).exists() else "waits"


@pytest.mark.django_db
def test_doses_follow_levels_just_after_midnight_at_the_site() -> None:
    """In Shanghai a day begins that UTC does not know yet. The product draws the groups: each making differs."""
    demos = [demo for demo in demonstration.TRIALS if demo.code == "nct07648992"]
    with override_settings(DEMO=True, ALLOW_SYNTHETIC_DOSING=True), time_machine.travel("2026-11-28T16:00:30Z"):
        demonstration.seed_demonstration(tell=lambda line: None, demos=demos)
    made = Trial.objects.get(code="nct07648992")
    worksheets = list(DoseWorksheet.objects.filter(participant__trial=made, is_current=True).order_by("participant"))
    by_levels = [one for one in worksheets if one.method == "level_guided"]
    assert [ends(one) for one in by_levels] == ["released", "waits", "verified", "below_limit"]
    assert all(one.is_synthetic and not one.is_refused for one in by_levels)
    given = [
        list(one.participant.administrations.order_by("infusion").values_list("dose_mg", flat=True))
        for one in by_levels
    ]
    assert [len(doses) for doses in given] == [4, 2, 2, 2], "the open days of three are still to come"
    assert given[0][0] > given[0][2] == Decimal(by_levels[0].result["guided"]["proposal"]["mg_each"])
    assert not made.participants.filter(deviations__is_void=False).exists()
    drawn = set(Allocation.objects.filter(trial=made).values_list("participant", flat=True))
    assert drawn == {one.participant_id for one in worksheets}, "nobody was put into a group by hand"
    assert {one.participant.group for one in by_levels} == {"individualised"}
    assert made.participants.filter(status="screening").count() == 1
    with override_settings(DEMO=True, ALLOW_SYNTHETIC_DOSING=True), time_machine.travel("2026-11-28T16:01:00Z"):
        demonstration.seed_demonstration(tell=lambda line: None, demos=demos)
    assert made.participants.count() == len(worksheets) + 1, "a second call changes nothing"
