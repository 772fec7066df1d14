"""Endpoints decided on what is recorded, once, whatever comes twice, late, or at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from analysis import actions, selectors, tasks
from analysis.models import Adjudication, AdjudicationNeed
from casebook import actions as casebook
from casebook.actions.laboratory import DrawRow
from casebook.domain.results import Written
from tests.world import GRAFT_ON, World
from trials import actions as trials
from trials.models import Participant, Replacement

ENDPOINT = "cd4_reconstitution"
AFTER_ALL = GRAFT_ON + timedelta(days=200)


def on_day(day: int) -> date:
    return GRAFT_ON + timedelta(days=day)


def measured(world: World, participant: Participant, *series: tuple[int, str]) -> None:
    """CD4 counts in 10^9/L by study day, entered by the coordinator of the site."""
    by = world.bob if participant.site.code == "A" else world.carol
    for day, value in series:
        casebook.record_draw(
            participant=participant, sampled_at=on_day(day), values={"LB.CD4": Written(value, "10^9/L")}, by=by
        )


#: What else the protocol asks of an event.
DETAILS = {
    "death": {"cause": "infection", "relapse_related": "N"},
    "graft_failure": {"type": "rejection"},
}


def happened(world: World, participant: Participant, kind: str, occurred: str) -> Any:
    return casebook.record_event(
        participant=participant, kind=kind, occurred=occurred, by=world.bob, detail=DETAILS.get(kind)
    )


def result(participant: Participant) -> Adjudication:
    return Adjudication.objects.current().get(participant=participant, endpoint=ENDPOINT)


REACHED = ((28, "0.05"), (35, "0.06"))
NOT_REACHED = ((40, "0.06"), (54, "0.04"), (98, "0.06"))


# --- What is decided ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_two_values_at_the_threshold_are_the_endpoint_with_its_evidence(world: World) -> None:
    participant = world.enrolled()
    measured(world, participant, (20, "0.03"), *REACHED)
    assert actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL) == 1
    found = result(participant)
    assert (found.status, found.event_day, found.event_date) == ("reached", 35, on_day(35))
    assert found.is_evaluable is True
    assert (found.evidence["days"], found.evidence["values"]) == ([28, 35], ["0.05", "0.06"])
    assert found.evidence["sentence"] == "0.05 on day 28 and 0.06 on day 35: 2 in a row >= 0.05."
    assert len(found.evidence["rows"]) == 2
    assert found.protocol_version == world.version


@pytest.mark.django_db
@pytest.mark.parametrize(
    "kind, day, status, evaluable, because",
    [
        ("death", 60, "reached", False, "Death on day 60, before day 100."),  # the endpoint came first
        ("relapse", 20, "competing", False, "Relapse on day 20, before day 100."),
        ("relapse", 35, "reached", False, "Relapse on day 35, before day 100."),  # the tie is the endpoint's
        ("graft_failure", 100, "reached", True, "No competing event before day 100, and not removed."),
    ],
)
def test_evaluability_is_stored_beside_the_endpoint_and_independently_of_it(
    world: World, kind: str, day: int, status: str, evaluable: bool, because: str
) -> None:
    participant = world.enrolled()
    measured(world, participant, *REACHED)
    happened(world, participant, kind, on_day(day).isoformat())
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    found = result(participant)
    assert (found.status, found.is_evaluable, found.evidence["evaluability"]) == (status, evaluable, because)


@pytest.mark.django_db
def test_a_death_known_to_the_month_decides_nothing_that_depends_on_the_day(world: World) -> None:
    participant = world.enrolled()
    measured(world, participant, (28, "0.05"), (50, "0.06"))
    happened(world, participant, "death", "2025-05")  # days 38 to 68
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    found = result(participant)
    assert (found.status, found.is_evaluable) == ("insufficient_data", False)
    assert "known in part only" in found.evidence["sentence"]


@pytest.mark.django_db
def test_without_the_day_of_the_graft_nothing_is_counted(world: World) -> None:
    participant = world.enrolled(graft_on=None)
    measured(world, participant, *REACHED)
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    assert (result(participant).status, result(participant).is_evaluable) == ("pending", None)


@pytest.mark.django_db
def test_the_day_of_the_graft_moves_and_the_endpoint_with_it(world: World) -> None:
    participant = world.enrolled()
    measured(world, participant, *REACHED)
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    trials.set_anchor(participant=participant, day=on_day(3), by=world.bob, is_actual=True, reason="postponed")
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    assert result(participant).event_day == 32


@pytest.mark.requirement("CK1")
@pytest.mark.django_db
def test_a_sample_of_this_morning_in_shanghai_counts_although_it_is_yesterday_in_utc(world: World) -> None:
    participant = world.enrolled(by=world.carol)
    measured(world, participant, (28, "0.05"))
    with time_machine.travel(datetime(2025, 4, 27, 23, 30, tzinfo=UTC), tick=False):  # 07:30 of day 35 at site B
        casebook.record_draw(
            participant=participant,
            sampled_at=datetime(2025, 4, 28, 7, 0),  # noqa: DTZ001  (a time without a zone is the site's)
            values={"LB.CD4": Written("0.06", "10^9/L")},
            by=world.carol,
        )
        tasks.adjudicate_participants([participant.pk])
    assert result(participant).event_day == 35


# --- Twice, late, after a crash -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_deciding_again_on_the_same_data_writes_nothing(world: World) -> None:
    participant = world.enrolled()
    measured(world, participant, *REACHED)
    assert actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL) == 1
    assert actions.adjudicate(participants=[participant.pk, participant.pk], as_of=AFTER_ALL) == 0
    assert actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL + timedelta(days=9)) == 0
    assert Adjudication.objects.count() == 1


@pytest.mark.django_db
def test_a_corrected_value_makes_a_new_result_and_keeps_the_old_one(world: World) -> None:
    participant = world.enrolled()
    measured(world, participant, *REACHED)
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    draw = participant.draws.order_by("sampled_at").last()
    value = draw.results.get()
    casebook.correct_result(
        result=value, text="0.04", unit="10^9/L", by=world.bob, reason="misread", revision=value.revision
    )
    assert AdjudicationNeed.objects.filter(participant=participant).exists()
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    assert list(Adjudication.objects.order_by("pk").values_list("status", "is_current")) == [
        ("reached", False),
        ("insufficient_data", True),
    ]


@pytest.mark.django_db
def test_every_change_that_matters_leaves_a_note_until_it_is_decided(world: World) -> None:
    participant = world.enrolled()
    actions.adjudicate(participants=[participant.pk])
    changes: list[Callable[[], object]] = [
        lambda: measured(world, participant, (28, "0.05")),
        lambda: happened(world, participant, "relapse", "2025-06-01"),
        lambda: trials.set_anchor(participant=participant, day=on_day(1), by=world.bob, reason="postponed"),
        lambda: trials.record_deviation(
            participant=participant,
            rule="D3",
            description="wrong product",
            is_major=True,
            removes_from_efficacy=True,
            by=world.alice,
        ),
    ]
    for change in changes:
        assert selectors.needing_adjudication(now=timezone.now()) == []
        change()
        assert selectors.needing_adjudication(now=timezone.now()) == [participant.pk]
        tasks.sweep()


@pytest.mark.django_db
def test_what_is_recorded_in_screening_waits_for_the_enrolment(world: World) -> None:
    participant = world.screened()
    casebook.record_draw(
        participant=participant, sampled_at=date(2025, 3, 4), values={"LB.CD4": Written("0.4", "10^9/L")}, by=world.bob
    )
    assert selectors.needing_adjudication(now=timezone.now()) == []
    assert actions.adjudicate(participants=[participant.pk]) == 0


@pytest.mark.django_db
def test_the_sweep_finds_who_was_never_decided_and_who_was_decided_by_another_method(world: World) -> None:
    participant = world.enrolled()
    AdjudicationNeed.objects.all().delete()  # as if the note had been lost
    tasks.sweep()
    assert result(participant).status == "insufficient_data"
    fields = {f.name: getattr(result(participant), f.name) for f in Adjudication._meta.fields if f.name != "id"}
    Adjudication.objects.current().update(is_current=False)
    Adjudication.objects.create(**{**fields, "method_version": "0"})
    tasks.sweep()
    assert result(participant).method_version == "1"


@pytest.mark.django_db
def test_days_that_pass_turn_a_pending_endpoint_without_anybody_recording_anything(world: World) -> None:
    participant = world.enrolled()
    with time_machine.travel(datetime.combine(on_day(98), datetime.min.time(), UTC) + timedelta(hours=12)) as clock:
        measured(world, participant, *NOT_REACHED)
        tasks.sweep()
        assert (result(participant).status, result(participant).is_evaluable) == ("pending", None)
        seen = []
        for day in range(99, 106):
            clock.move_to(datetime.combine(on_day(day), datetime.min.time(), UTC) + timedelta(hours=12))
            tasks.sweep()
            found = result(participant)
            seen.append((day, found.status, found.is_evaluable))
            assert selectors.needing_adjudication(now=timezone.now()) == []
    assert seen == [
        (99, "pending", None),
        (100, "pending", True),
        (101, "pending", True),
        (102, "pending", True),
        (103, "pending", True),
        (104, "not_reached", True),
        (105, "not_reached", True),
    ]
    assert Adjudication.objects.count() == 3


# --- Who is replaced ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_place_opens_for_who_cannot_be_evaluated_and_closes_when_they_can(world: World) -> None:
    participant = world.enrolled()
    died = happened(world, participant, "death", "2025-05-01")
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    place = Replacement.objects.get(participant=participant)
    assert (place.is_open, place.reason) == (True, "Death on day 38, before day 100.")
    casebook.void_event(event=died, by=world.bob, reason="another patient")
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    place.refresh_from_db()
    assert not place.is_open


@pytest.mark.django_db
def test_a_major_deviation_removes_once_a_person_has_confirmed_it(world: World) -> None:
    participant = world.enrolled()
    measured(world, participant, *REACHED)
    deviation = trials.record_deviation(
        participant=participant,
        rule="D3",
        description="wrong product",
        is_major=True,
        removes_from_efficacy=True,
        by=world.alice,
    )
    seen = []
    for answer in (None, True, False):
        if answer is not None:
            trials.confirm_deviation(deviation=deviation, is_confirmed=answer, by=world.alice, reason="looked again")
        actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
        seen.append((result(participant).status, result(participant).is_evaluable))
    assert seen == [("reached", None), ("reached", False), ("reached", True)]
    assert not Replacement.objects.filter(is_open=True).exists()


@pytest.mark.django_db
def test_a_computed_deviation_removes_at_once_and_no_longer_when_it_is_void(world: World) -> None:
    participant = world.enrolled()
    measured(world, participant, *REACHED)
    deviation = trials.record_deviation(
        participant=participant,
        rule="D1",
        description="given 80 % of the plan",
        is_major=True,
        removes_from_efficacy=True,
        by=None,
        source="calculation",
    )
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    assert result(participant).is_evaluable is False
    trials.void_deviation(deviation=deviation, by=None, reason="the dose was corrected")
    actions.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    assert result(participant).is_evaluable is True


# --- At the same time ---------------------------------------------------------------------------------------------


def at_once(*deeds: Callable[[], object]) -> None:
    """Run the deeds in threads of their own, each with its own connection; their errors are ours."""
    errors: list[BaseException] = []

    def run(deed: Callable[[], object]) -> None:
        try:
            deed()
        except BaseException as error:  # noqa: BLE001  (raised again below)
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads), "two transactions wait for each other"
    if errors:
        raise errors[0]


@pytest.mark.requirement("END2")
@pytest.mark.django_db(transaction=True)
def test_two_adjudications_at_once_leave_one_result_each(world: World) -> None:
    people = [world.enrolled(), world.enrolled(by=world.carol), world.enrolled()]
    for participant in people:
        measured(world, participant, *REACHED)
    ids = [participant.pk for participant in people]
    at_once(*[lambda: actions.adjudicate(participants=ids)] * 4)
    assert [Adjudication.objects.filter(participant=pk).count() for pk in ids] == [1, 1, 1]
    assert not AdjudicationNeed.objects.exists()


@pytest.mark.requirement("END2")
@pytest.mark.django_db(transaction=True)
def test_no_observation_falls_between_its_own_transaction_and_an_adjudication(world: World) -> None:
    """The observation is written before the adjudication reads and committed after it began: it is never lost.

    The import locks no participant, so that only the note stands between the two.
    """
    participant = world.enrolled()
    measured(world, participant, (28, "0.05"))
    written, go_on = threading.Event(), threading.Event()

    def observe() -> None:
        with transaction.atomic():
            row = DrawRow(participant, on_day(35), {"LB.CD4": Written("0.06", "10^9/L")})
            casebook.import_draws(rows=[row], by=None)
            written.set()
            go_on.wait(10)

    def decide() -> None:
        written.wait(10)
        threading.Timer(0.3, go_on.set).start()
        actions.adjudicate(participants=[participant.pk])

    at_once(observe, decide)
    tasks.sweep()
    assert result(participant).status == "reached"
    assert not AdjudicationNeed.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_observers_and_adjudications_in_any_order_end_with_the_last_word(world: World) -> None:
    people = [world.enrolled(), world.enrolled(), world.enrolled(by=world.carol)]
    ids = [participant.pk for participant in people]

    def observe() -> None:
        for day in range(20, 34, 2):
            for participant in people:
                measured(world, participant, (day, "0.06"))

    def decide() -> None:
        for _ in range(12):
            actions.adjudicate(participants=ids)

    at_once(observe, decide, lambda: [tasks.sweep() for _ in range(6)])
    tasks.sweep()
    assert [(result(p).status, result(p).event_day) for p in people] == [("reached", 22)] * 3
    assert not AdjudicationNeed.objects.exists()
    current = Adjudication.objects.current().values_list("participant", flat=True)
    assert sorted(current) == sorted(ids)
