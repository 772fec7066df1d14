"""Visits follow the anchor: planned from it, moved with it, and never losing what was recorded or where they stood."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from audit.models import FieldChange
from tests.world import GRAFT_ON, World, build_world
from trials import actions, selectors
from trials.announcements import anchor_moved
from trials.models import Participant, Visit
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db


def dates(participant: Participant) -> dict[str, tuple[date | None, date | None, date | None]]:
    rows = participant.visits.values_list("code", "planned_date", "earliest_date", "latest_date")
    return {code: (planned, earliest, latest) for code, planned, earliest, latest in rows}


def test_without_an_anchor_the_visits_are_there_and_have_no_date(world: World) -> None:
    participant = world.enrolled(graft_on=None)
    assert set(dates(participant)) == {"SCR", "BL", "TX", "W1", "W2", "W3", "W4", "W5", "W6", "D100"}
    assert set(dates(participant).values()) == {(None, None, None)}
    assert participant.visits.get(code="W1").day == 7
    assert not selectors.due_visits(world.bob, timezone.localdate())


def test_the_anchor_plans_every_visit_with_its_window(world: World) -> None:
    planned = dates(world.enrolled())
    assert planned["TX"] == (GRAFT_ON, GRAFT_ON, GRAFT_ON)
    assert planned["W1"] == (date(2025, 3, 31), date(2025, 3, 28), date(2025, 4, 3))
    assert planned["D100"] == (date(2025, 7, 2), date(2025, 6, 29), date(2025, 7, 5))
    assert planned["SCR"] == (None, date(2025, 2, 22), date(2025, 3, 14))


def test_moving_the_anchor_moves_the_visits_in_their_rows_and_keeps_what_was_recorded(world: World) -> None:
    participant = world.enrolled()
    before = {visit.code: visit.pk for visit in participant.visits.all()}
    actions.record_visit(visit=participant.visits.get(code="W1"), done_on=date(2025, 3, 31), by=world.bob)
    heard: list[object] = []
    anchor_moved.connect(listener := lambda participant, anchor, **_: heard.append(anchor.revision), weak=False)
    try:
        moved = actions.set_anchor(participant=participant, day=date(2025, 3, 31), reason="donor ill", by=world.bob)
    finally:
        anchor_moved.disconnect(listener)
    assert heard == [2]
    assert {visit.code: visit.pk for visit in participant.visits.all()} == before
    first = participant.visits.get(code="W1")
    assert (first.planned_date, first.done_on, first.anchor_revision) == (date(2025, 4, 7), date(2025, 3, 31), 2)
    assert selectors.window_status(first, timezone.localdate()) == "early"
    assert [anchor.day for anchor in participant.anchors.order_by("revision")] == [GRAFT_ON, date(2025, 3, 31)]
    assert moved.reason == "donor ill"


@pytest.mark.django_db(transaction=True)
def test_the_trail_keeps_the_dates_that_a_visit_had_and_why_they_moved() -> None:
    world = build_world()
    participant = world.enrolled()
    visit = participant.visits.get(code="D100")
    actions.set_anchor(participant=participant, day=date(2025, 3, 31), reason="donor ill", by=world.bob)
    moved = FieldChange.objects.filter(table_name="trials_visit", row_id=str(visit.pk), field="planned_date")
    steps = [(row.old_value, row.new_value, row.reason, row.user_name) for row in moved.order_by("trail_id")]
    assert steps[-1] == ("2025-07-02", "2025-07-09", "donor ill", "Bob")
    assert len(steps) >= 2


def test_a_move_needs_a_reason_and_the_graft_itself_is_one(world: World) -> None:
    participant = world.enrolled()
    with pytest.raises(ValidationError, match="Say why the date of the graft infusion moves"):
        actions.set_anchor(participant=participant, day=date(2025, 3, 25), by=world.bob)
    assert actions.set_anchor(participant=participant, day=GRAFT_ON, by=world.bob).revision == 1  # nothing has moved
    took_place = actions.set_anchor(
        participant=participant,
        day=date(2025, 3, 25),
        at=datetime(2025, 3, 25, 14, tzinfo=UTC),
        is_actual=True,
        by=world.bob,
    )
    assert (took_place.revision, took_place.reason) == (
        2,
        "The graft infusion took place; it was planned for 24-Mar-2025.",
    )
    with pytest.raises(NotPossible, match="cannot become a plan again"):
        actions.set_anchor(participant=participant, day=date(2025, 3, 26), reason="x", by=world.bob)
    with pytest.raises(ValidationError, match="Say why"):
        actions.set_anchor(participant=participant, day=date(2025, 3, 26), is_actual=True, by=world.bob)


def test_a_graft_to_come_cannot_have_taken_place(world: World) -> None:
    participant = world.enrolled(graft_on=None)
    tomorrow = timezone.localdate() + timedelta(days=1)
    with pytest.raises(ValidationError, match="cannot have taken place on a day to come"):
        actions.set_anchor(participant=participant, day=tomorrow, is_actual=True, by=world.bob)
    assert actions.set_anchor(participant=participant, day=tomorrow, by=world.bob).day == tomorrow


@pytest.mark.parametrize(
    ("done_on", "window"),
    [
        (date(2025, 3, 27), "early"),
        (date(2025, 3, 28), "done"),
        (date(2025, 4, 3), "done"),
        (date(2025, 4, 4), "late"),
    ],
)
def test_both_ends_of_a_window_belong_to_it(world: World, done_on: date, window: str) -> None:
    visit = world.enrolled().visits.get(code="W1")
    visit = actions.record_visit(visit=visit, done_on=done_on, by=world.bob)
    assert selectors.window_status(visit, timezone.localdate()) == window


def test_a_visit_is_corrected_with_a_reason_only(world: World) -> None:
    visit = world.enrolled().visits.get(code="W1")
    actions.record_visit(visit=visit, done_on=date(2025, 3, 31), by=world.bob)
    actions.record_visit(visit=visit, done_on=date(2025, 3, 31), by=world.bob)  # said twice
    with pytest.raises(ValidationError, match="recorded as done already"):
        actions.record_visit(visit=visit, done_on=date(2025, 4, 1), by=world.bob)
    with pytest.raises(ValidationError, match="Say why"):
        actions.miss_visit(visit=visit, reason=" ", by=world.bob)
    missed = actions.miss_visit(visit=visit, reason="typed at the wrong participant", by=world.bob)
    assert (missed.status, missed.done_on) == ("missed", None)
    done = actions.record_visit(visit=missed, done_on=date(2025, 4, 1), reason="found the letter", by=world.bob)
    assert (done.status, done.missed_reason) == ("done", "")
    with pytest.raises(ValidationError, match="still to come"):
        actions.record_visit(visit=done, done_on=timezone.localdate() + timedelta(days=1), reason="x", by=world.bob)


def test_unscheduled_visits_are_numbered(world: World) -> None:
    participant = world.enrolled()
    codes = [
        actions.add_unscheduled_visit(participant=participant, on=date(2025, 4, 2), by=world.bob).code for _ in range(2)
    ]
    assert codes == ["UNS1", "UNS2"]
    actions.set_anchor(participant=participant, day=date(2025, 3, 31), reason="donor ill", by=world.bob)
    assert Visit.objects.get(participant=participant, code="UNS1").done_on == date(2025, 4, 2)


def test_what_a_move_would_change_is_told_before(world: World) -> None:
    participant = world.enrolled()
    moves = {move.code: (move.old, move.new) for move in selectors.moves_of(participant, date(2025, 3, 31))}
    assert moves["W1"] == (date(2025, 3, 31), date(2025, 4, 7))
    assert len(moves) == 10
    assert not selectors.moves_of(participant, GRAFT_ON)


def test_due_visits_end_where_the_site_and_the_follow_up_end(world: World) -> None:
    at_a, at_b = world.enrolled(by=world.bob), world.enrolled(by=world.carol)
    today = date(2025, 4, 1)
    assert {visit.participant for visit in selectors.due_visits(world.bob, today)} == {at_a}
    assert {visit.participant for visit in selectors.due_visits(world.dora, today)} == {at_a, at_b}
    actions.withdraw_participant(participant=at_a, on=date(2025, 4, 1), reason="moved", by=world.alice)
    assert not selectors.due_visits(world.bob, today)
