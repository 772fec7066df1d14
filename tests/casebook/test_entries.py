"""Saving a form: whole or not at all, once, with what somebody else saved meanwhile kept."""

from __future__ import annotations

import threading
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection

from audit.models import FieldChange
from casebook import actions, selectors
from casebook.announcements import observation_recorded
from casebook.domain.entries import ENTRY, EntryEvent, EntryStatus, IllegalTransition, after
from casebook.models import FormEntry
from tests.world import World
from trials import actions as trials
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db


def vital_signs(world: World, participant, code: str = "BL", **kwargs):
    visit = participant.visits.get(code=code)
    return actions.save_entry(participant=participant, form="VS", visit=visit, by=world.bob, **kwargs)


@pytest.mark.parametrize("status", EntryStatus)
@pytest.mark.parametrize("event", EntryEvent)
def test_every_state_with_every_event(status: EntryStatus, event: EntryEvent) -> None:
    expected = {
        ("in_progress", "save"): "in_progress",
        ("in_progress", "complete"): "complete",
        ("complete", "save"): "complete",
        ("complete", "complete"): "complete",
        ("complete", "reopen"): "in_progress",
    }
    if (status.value, event.value) in expected:
        assert after(status, event) == expected[status.value, event.value]
    else:
        with pytest.raises(IllegalTransition, match="possible now"):
            after(status, event)
    assert len(ENTRY) == len(expected)


def test_a_form_is_saved_with_value_and_unit_as_typed(world: World) -> None:
    participant = world.enrolled()
    entry = vital_signs(world, participant, answers={"WEIGHT": "12500", "HEIGHT": "91,5"}, units={"WEIGHT": "g"})
    assert entry.answers == {"WEIGHT": {"value": "12500", "unit": "g"}, "HEIGHT": {"value": "91.5", "unit": "cm"}}
    assert entry.status == "in_progress" and entry.revision == 1
    weight = selectors.item_values(participant)["VS.WEIGHT"]
    assert (weight.value, weight.unit, weight.source) == (Decimal("12.5"), "kg", "Vital signs, BL")


@pytest.mark.requirement("RB1")
def test_one_wrong_answer_saves_none(world: World) -> None:
    participant = world.enrolled()
    with pytest.raises(actions.Refused) as refused:
        vital_signs(world, participant, answers={"WEIGHT": "12.5", "HEIGHT": "9150"})
    assert refused.value.message_dict == {
        "HEIGHT": ["Height: 9150 cm is above the allowed range, 40 to 220 cm. Check value and unit."]
    }
    assert not FormEntry.objects.exists()


def test_a_form_sent_twice_is_saved_once(world: World) -> None:
    participant = world.enrolled()
    first = vital_signs(world, participant, answers={"WEIGHT": "12.5"}, revision=0)
    again = vital_signs(world, participant, answers={"WEIGHT": "12.5"}, revision=0)
    assert (again.pk, again.revision) == (first.pk, 1)
    assert FormEntry.objects.count() == 1


def test_a_stale_save_gets_both_values_and_writes_none(world: World) -> None:
    participant = world.enrolled()
    vital_signs(world, participant, answers={"WEIGHT": "12.5"})
    vital_signs(world, participant, answers={"WEIGHT": "12.6"}, revision=1)
    with pytest.raises(actions.Conflict) as conflict:
        vital_signs(world, participant, answers={"WEIGHT": "12.9"}, revision=1)
    assert conflict.value.stored.answers["WEIGHT"]["value"] == "12.6"
    assert conflict.value.typed["WEIGHT"].value == "12.9"
    assert FormEntry.objects.get().answers["WEIGHT"]["value"] == "12.6"


def test_complete_needs_every_required_answer_or_a_reason_why_not(world: World) -> None:
    participant = world.enrolled()
    with pytest.raises(actions.Refused, match="Vital signs is not complete: Actual body weight"):
        vital_signs(world, participant, answers={"HEIGHT": "91"}, complete=True)
    entry = vital_signs(world, participant, answers={"HEIGHT": "91", "WEIGHT": "ND"}, complete=True)
    assert entry.status == "complete" and entry.completed_at is not None
    assert selectors.item_values(participant)["VS.WEIGHT"].value is None


@pytest.mark.requirement("AT9")
def test_after_completion_a_change_needs_a_reason_and_no_change_needs_none(world: World) -> None:
    participant = world.enrolled()
    vital_signs(world, participant, answers={"WEIGHT": "12.5"}, complete=True)
    assert vital_signs(world, participant, answers={"WEIGHT": "12.5"}, revision=1, complete=True).revision == 1
    with pytest.raises(actions.Refused, match="say why"):
        vital_signs(world, participant, answers={"WEIGHT": "12.6"}, revision=1)
    corrected = vital_signs(world, participant, answers={"WEIGHT": "12.6"}, revision=1, reason="transcription error")
    assert (corrected.status, corrected.revision) == ("complete", 2)
    with pytest.raises(actions.Refused, match="reopen it"):
        vital_signs(world, participant, answers={"WEIGHT": ""}, revision=2, reason="taken out")
    reopened = actions.reopen_entry(entry=corrected, by=world.bob, reason="weight of another child")
    assert reopened.status == "in_progress"
    emptied = vital_signs(world, participant, answers={"WEIGHT": ""}, revision=3, reason="weight of another child")
    assert emptied.answers == {}


def test_skip_logic_asks_before_an_answer_is_discarded(world: World) -> None:
    participant = world.screened()
    save = {"participant": participant, "form": "DX", "by": world.bob}
    actions.save_entry(**save, answers={"GROUP": "malignancy", "REMISSION": "Y"})
    with pytest.raises(actions.Refused, match="In remission is not asked here"):
        actions.save_entry(**save, answers={"GROUP": "benign"}, revision=1)
    entry = actions.save_entry(**save, answers={"GROUP": "benign", "REMISSION": ""}, revision=1)
    assert entry.answers == {"GROUP": {"value": "benign"}}


def test_what_registration_holds_is_not_typed_again(world: World) -> None:
    participant = world.screened()
    with pytest.raises(actions.Refused, match="kept on the participant's page"):
        actions.save_entry(participant=participant, form="DM", by=world.bob, answers={"SEX": "M"})
    with pytest.raises(NotPossible, match="clinical events are entered in the list"):
        actions.save_entry(participant=participant, form="CE", by=world.bob, answers={"KIND": "death"})
    values = selectors.item_values(participant)
    assert (values["DM.SEX"].value, values["DM.AGE"].value) == ("F", 9)


def test_the_graft_date_moves_the_schedule_in_the_same_transaction(world: World) -> None:
    participant = world.enrolled(graft_on=None)
    save = {"participant": participant, "form": "TX", "by": world.bob}
    actions.save_entry(**save, answers={"PLANNED_DATE": "2025-03-24", "SOURCE": "pbsc"})
    assert participant.visits.get(code="W1").planned_date == date(2025, 3, 31)
    actions.save_entry(**save, answers={"DATETIME": "2025-03-26 14:05"}, revision=1)
    anchor = participant.anchors.order_by("-revision").first()
    assert (anchor.day, anchor.is_actual, anchor.at.isoformat()) == (
        date(2025, 3, 26),
        True,
        "2025-03-26T13:05:00+00:00",
    )
    assert participant.visits.get(code="W1").planned_date == date(2025, 4, 2)


def test_the_latest_answer_counts_even_where_it_says_that_there_is_none(world: World) -> None:
    participant = world.enrolled()
    vital_signs(world, participant, answers={"WEIGHT": "12.5"})
    vital_signs(world, participant, code="W1", answers={"WEIGHT": "13"})
    assert selectors.item_values(participant)["VS.WEIGHT"].value == 13
    vital_signs(world, participant, code="W2", answers={"WEIGHT": "ND", "HEIGHT": "92"})
    assert selectors.item_values(participant)["VS.WEIGHT"].value is None
    assert [one.value for one in selectors.item_series(participant, "VS.WEIGHT")] == [12.5, 13, None]


def test_rows_of_a_repeating_form(world: World) -> None:
    participant = world.enrolled()
    for repeat, drug in ((1, "ciclosporin"), (2, "methotrexate")):
        actions.save_entry(
            participant=participant, form="CM", repeat=repeat, by=world.bob, answers={"DRUG": drug, "START": "mar 2025"}
        )
    assert [entry.answers["START"]["value"] for entry in selectors.repeats_of(participant, "CM", None)] == [
        "2025-03"
    ] * 2
    with pytest.raises(NotPossible, match="does not repeat"):
        actions.save_entry(participant=participant, form="QS", repeat=2, by=world.bob, answers={"PERFORMANCE": "90"})


def test_what_was_recorded_is_announced_once(world: World) -> None:
    participant = world.enrolled()
    heard: list[tuple[int, ...]] = []

    def listen(*, participant_ids: tuple[int, ...], **_: object) -> None:
        heard.append(participant_ids)

    observation_recorded.connect(listen)
    try:
        vital_signs(world, participant, answers={"WEIGHT": "12.5"})
        vital_signs(world, participant, answers={"WEIGHT": "12.5"})
    finally:
        observation_recorded.disconnect(listen)
    assert heard == [(participant.pk,)]


@pytest.mark.requirement("AT2")
@pytest.mark.django_db(transaction=True)
def test_the_trail_has_each_answer_with_who_and_why(world: World) -> None:
    participant = world.enrolled()
    entry = vital_signs(world, participant, answers={"WEIGHT": "12.5"}, complete=True)
    vital_signs(world, participant, answers={"WEIGHT": "12.6"}, revision=1, reason="transcription error")
    changes = FieldChange.objects.filter(
        table_name="casebook_formentry", row_id=str(entry.pk), field="answers.WEIGHT", operation="UPDATE"
    )
    assert [(c.old_value["value"], c.new_value["value"], c.user_name, c.reason) for c in changes] == [
        ("12.5", "12.6", str(world.bob.user), "transcription error")
    ]


@pytest.mark.django_db(transaction=True)
def test_of_eight_who_save_at_once_one_wins_and_seven_are_told(world: World) -> None:
    participant = world.enrolled()
    vital_signs(world, participant, answers={"WEIGHT": "12.5"})
    visit = participant.visits.get(code="BL")
    start, outcomes = threading.Barrier(8), []

    def save(weight: str) -> None:
        start.wait()
        try:
            actions.save_entry(
                participant=participant, form="VS", visit=visit, by=world.bob, answers={"WEIGHT": weight}, revision=1
            )
            outcomes.append(("saved", weight))
        except actions.Conflict:
            outcomes.append(("conflict", weight))
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=(str(20 + n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    saved = [weight for outcome, weight in outcomes if outcome == "saved"]
    assert len(outcomes) == 8 and len(saved) == 1
    entry = FormEntry.objects.get()
    assert (entry.revision, entry.answers["WEIGHT"]["value"]) == (2, saved[0])


def test_what_was_entered_before_its_visit_is_dated_by_it(world: World) -> None:
    """A weight typed before anybody said when the visit took place has no date until somebody does."""
    participant = world.enrolled()
    visit = participant.visits.get(code="BL")
    entry = actions.save_entry(
        participant=participant, form="VS", visit=visit, answers={"WEIGHT": "21.5"}, by=world.bob
    )
    assert entry.observed_on is None
    trials.record_visit(visit=visit, done_on=date(2025, 3, 14), by=world.bob)
    entry.refresh_from_db()
    assert entry.observed_on == date(2025, 3, 14)
