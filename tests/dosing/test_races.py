"""Two people at once: one release, one verification, one worksheet; and a value corrected under an open release."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection

from dosing import actions, selectors
from dosing.models import Administration, DoseRelease, DoseVerification, DoseWorksheet
from tests.dosing.dose_world import fresh, ready, weigh, with_table
from tests.dosing.questions import at
from tests.world import World
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db(transaction=True)

RIGHT = {"weight_kg": "23.4", "alc_1e9_per_l": "0.8", "graft": "bone_marrow"}


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run the acts in threads that start together; each gives its result or its refusal."""
    gate = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)

    def run(place: int) -> None:
        gate.wait(10)
        try:
            results[place] = acts[place]()
        except Exception as error:  # noqa: BLE001  (the refusal is the result)
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def computed(world: World) -> DoseWorksheet:
    with_table(world)
    return actions.compute_worksheet(participant=ready(world))


def test_two_releases_at_once_are_one(world: World) -> None:
    worksheet = computed(world)
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=world.peter)
    results = at_once(*[lambda: actions.release_worksheet(worksheet=worksheet, by=world.peter)] * 4)
    assert DoseRelease.objects.count() == 1
    refused = [one for one in results if isinstance(one, Exception)]
    assert len(refused) == 3
    assert all(isinstance(one, actions.Conflict) and "released this dose" in str(one) for one in refused)


def test_two_pharmacists_verify_at_once_and_one_of_them_has(world: World) -> None:
    worksheet = computed(world)
    results = at_once(
        *[
            lambda by=by: actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=by)
            for by in (world.peter, world.paula)
        ]
    )
    assert DoseVerification.objects.filter(agrees=True).count() == 1
    (refused,) = [one for one in results if isinstance(one, Exception)]
    assert isinstance(refused, actions.Conflict) and "verified this dose" in str(refused)


def test_many_tasks_at_once_make_one_worksheet(world: World) -> None:
    with_table(world)
    participant = ready(world)
    at_once(*[lambda: actions.bring_up_to_date(participant=fresh(participant))] * 6)
    assert DoseWorksheet.objects.count() == 1


def test_a_weight_corrected_while_the_release_is_open_stops_it(world: World) -> None:
    worksheet = computed(world)
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=world.peter)
    weigh(world, worksheet.participant, "32.4", on=date(2025, 3, 14))
    with pytest.raises(NotPossible, match="no longer current"):
        actions.release_worksheet(worksheet=worksheet, by=world.peter)
    assert not DoseRelease.objects.exists()
    current = selectors.current_worksheet(fresh(worksheet.participant))
    assert current is not None and current.planned_mg == Decimal("226.8")
    with pytest.raises(NotPossible, match="was not verified yet"):
        actions.release_worksheet(worksheet=current, by=world.peter)


def test_a_weight_corrected_before_the_verification_refuses_it(world: World) -> None:
    worksheet = computed(world)
    weigh(world, worksheet.participant, "32.4", on=date(2025, 3, 14))
    with pytest.raises(actions.Conflict, match="changed after it was computed"):
        actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=world.peter)


@pytest.mark.parametrize("attempt", range(4))
def test_correction_and_release_at_the_same_moment_never_release_the_old_weight(world: World, attempt: int) -> None:
    worksheet = computed(world)
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=world.peter)
    at_once(
        lambda: actions.release_worksheet(worksheet=worksheet, by=world.peter),
        lambda: weigh(world, worksheet.participant, "32.4", on=date(2025, 3, 14)),
    )
    actions.bring_up_to_date(participant=fresh(worksheet.participant))
    current = selectors.current_worksheet(fresh(worksheet.participant))
    assert current is not None and current.planned_mg == Decimal("226.8")
    assert selectors.release_of(current) is None  # whichever came first, the new weight has no release


def test_the_same_infusion_recorded_twice_at_once_is_one(world: World) -> None:
    worksheet = computed(world)
    facts = {
        "participant": worksheet.participant,
        "infusion": 1,
        "started_at": at(15, 10),
        "stopped_at": at(15, 18),
        "dose_mg": Decimal("54.5"),
        "product": "thymoglobulin",
        "comment": "before the release",
        "by": world.bob,
    }
    results = at_once(*[lambda: actions.record_administration(**facts)] * 3)  # type: ignore[arg-type]
    assert Administration.objects.count() == 1
    assert not [one for one in results if isinstance(one, Exception)]


def test_two_tables_approved_at_once_leave_one_in_force(world: World) -> None:
    from dosing.models import DosingTable
    from tests.dosing.dose_world import CELLS, DESCRIPTION

    with_table(world)
    tables = []
    for dose in ("5", "4"):
        cells = CELLS.replace("bm_pbsc,20,40,0,0.5,5,2,-9", f"bm_pbsc,20,40,0,0.5,{dose},2,-9").replace(
            "bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,5.5,3,-9"
        )
        table = actions.enter_table(
            trial=world.trial, description=DESCRIPTION, cells=cells, code="larch", by=world.peter, reason="edition"
        )
        tables.append(actions.verify_table(table=table, cells=cells, by=world.paula))
    at_once(*[lambda one=one: actions.approve_table(table=one, by=world.alice, reason="I approve.") for one in tables])
    assert DosingTable.objects.filter(status="ACTIVE").count() == 1
    assert DosingTable.objects.filter(status="SUPERSEDED").count() == 2
