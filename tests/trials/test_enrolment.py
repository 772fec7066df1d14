"""Enrolment: on met criteria only, once, and never beyond the places, however many ask at the same moment."""

from __future__ import annotations

import threading
from datetime import date, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from tests.world import ENROLLED_ON, SINCE, World, build_world, definition, facts, person
from trials import actions, selectors
from trials.announcements import participant_enrolled
from trials.models import Allocation, EligibilityAssessment, Enrolment, EnrolmentCounter, Membership, Participant
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db


def test_an_eligible_participant_gets_a_number_a_group_and_visits(world: World) -> None:
    participant, assessment = world.eligible()
    enrolment = actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)
    enrolled = enrolment.participant
    assert (enrolled.number, enrolled.group, enrolled.status) == ("P001", "individualised", "enrolled")
    assert (enrolment.assessment, enrolment.enrolled_by, enrolment.source) == (assessment, world.bob, "user")
    assert enrolled.visits.count() == 10


def test_a_second_submit_gives_the_same_enrolment(world: World) -> None:
    participant, assessment = world.eligible()
    heard: list[Participant] = []
    participant_enrolled.connect(listener := lambda participant, **_: heard.append(participant), weak=False)
    try:
        both = [
            actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)
            for _ in range(2)
        ]
    finally:
        participant_enrolled.disconnect(listener)
    assert both[0] == both[1]
    assert len(heard) == 1
    assert EnrolmentCounter.objects.get().last_participant_number == 1


@pytest.mark.requirement("ELI2")
@pytest.mark.parametrize(
    ("performance", "outcome", "sentence"),
    [
        (60, "not_eligible", "I2: Performance is 60, below 70."),
        (None, "unknown", "I2: Performance is not known."),
    ],
)
def test_an_unmet_or_unknown_criterion_refuses_with_the_failing_leaf(
    world: World, performance: int | None, outcome: str, sentence: str
) -> None:
    participant = world.screened()
    assessment = world.assessed(participant, performance=performance)
    assert assessment.outcome == outcome
    with pytest.raises(NotPossible, match=sentence):
        actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)
    participant.refresh_from_db()
    assert (participant.number, participant.group, participant.status) == ("", "", "screening")
    assert not Enrolment.objects.exists()
    assert EnrolmentCounter.objects.get().last_participant_number == 0


def test_each_criterion_is_kept_with_the_value_and_the_source_that_decided_it(world: World) -> None:
    assessment = world.assessed(world.screened(), performance=60)
    rows = {row["id"]: row for row in assessment.criteria}
    assert list(rows) == ["CONSENT", "I1", "I2", "E1", "E2"]
    assert (rows["I2"]["result"], rows["I2"]["value"], rows["I2"]["source"]) == ("not_met", "60", "QS")
    assert rows["I2"]["observed_on"] == "2025-03-03"
    assert rows["E1"]["sentence"] == "Alice answered that it is not met."
    assert rows["E2"]["result"] == "not_applicable"


def test_a_recorded_waiver_by_a_named_role_lets_in_and_no_other(world: World) -> None:
    participant = world.screened()
    world.assessed(participant, performance=60)
    with pytest.raises(Exception, match="coordinator may not waive"):
        actions.waive_criterion(participant=participant, criterion="I2", reason="mild", by=world.bob)
    with pytest.raises(Exception, match="Criterion I1 may be waived by: nobody"):
        actions.waive_criterion(participant=participant, criterion="I1", reason="nearly", by=world.alice)
    with pytest.raises(ValidationError, match="needs its reason"):
        actions.waive_criterion(participant=participant, criterion="I2", reason=" ", by=world.alice)
    actions.waive_criterion(participant=participant, criterion="I2", reason="mild, improving", by=world.alice)
    assessment = world.assessed(participant, performance=60)
    assert assessment.outcome == "eligible"
    assert [row["result"] for row in assessment.criteria if row["id"] == "I2"] == ["waived"]
    enrolment = actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)
    assert enrolment.participant.number == "P001"


def test_the_same_facts_give_the_same_assessment_and_new_facts_a_new_one(world: World) -> None:
    participant = world.screened()
    first, again = world.assessed(participant), world.assessed(participant)
    changed = world.assessed(participant, performance=60)
    assert first == again
    assert changed.pk != first.pk
    assert EligibilityAssessment.objects.count() == 2
    participant.refresh_from_db()
    assert participant.status == "screening"  # eligible for a while, and no longer


def test_an_earlier_assessment_does_not_enrol_after_the_facts_have_changed(world: World) -> None:
    participant = world.screened()
    stale = world.assessed(participant)
    world.assessed(participant, performance=60)
    with pytest.raises(NotPossible, match="have changed since"):
        actions.enrol(participant=participant, assessment=stale, enrolled_on=ENROLLED_ON, by=world.bob)


def test_the_assessment_of_another_participant_enrols_nobody(world: World) -> None:
    _, of_another = world.eligible()
    participant, _ = world.eligible()
    with pytest.raises(NotPossible, match="have changed since"):
        actions.enrol(participant=participant, assessment=of_another, enrolled_on=ENROLLED_ON, by=world.bob)


def test_a_consent_withdrawn_before_enrolment_stops_it(world: World) -> None:
    participant, assessment = world.eligible()
    actions.withdraw_consent(
        consent=participant.consents.get(), withdrawn_on=ENROLLED_ON, reason="none given", by=world.bob
    )
    with pytest.raises(NotPossible, match="withdrawn consent"):
        actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)


@pytest.mark.parametrize(
    ("day", "said"),
    [(date(2025, 3, 2), "the enrolment follows it"), (date(2999, 1, 1), "on a day to come")],
)
def test_the_day_of_enrolment_must_be_possible(world: World, day: date, said: str) -> None:
    participant, assessment = world.eligible()
    with pytest.raises(ValidationError, match=said):
        actions.enrol(participant=participant, assessment=assessment, enrolled_on=day, by=world.bob)


def test_places_end_with_the_stage_and_a_replacement_opens_one(world: World) -> None:
    enrolled = [world.enrolled(graft_on=None) for _ in range(4)]
    participant, assessment = world.eligible()

    def try_it() -> Enrolment:
        return actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)

    with pytest.raises(NotPossible, match=r"All places are taken \(4 planned\)"):
        try_it()
    actions.open_replacement(participant=enrolled[0], reason="died before day 100")
    assert selectors.capacity(world.trial).free == 1
    actions.close_replacement(participant=enrolled[0])
    with pytest.raises(NotPossible, match="All places are taken"):
        try_it()
    actions.open_replacement(participant=enrolled[0], reason="died before day 100")
    assert try_it().participant.number == "P005"
    late, late_assessment = world.eligible()
    with pytest.raises(NotPossible, match="4 planned and 1 to be replaced"):
        actions.enrol(participant=late, assessment=late_assessment, enrolled_on=ENROLLED_ON, by=world.bob)
    actions.open_stage(trial=world.trial, stage=2, by=None)
    assert actions.enrol(participant=late, assessment=late_assessment, enrolled_on=ENROLLED_ON, by=world.bob)


@pytest.mark.parametrize("stop", ["hold", "close", "site"])
def test_a_held_or_ended_trial_and_a_closed_site_enrol_nobody(world: World, stop: str) -> None:
    participant, assessment = world.eligible()
    if stop == "hold":
        actions.hold_enrolment(trial=world.trial, because="the first stage matures", by=None)
        said = "the first stage matures"
    elif stop == "close":
        actions.close_accrual(trial=world.trial, on=ENROLLED_ON, by=None, reason="enough")
        said = "Accrual ended on 10-Mar-2025"
    else:
        actions.close_site(site=world.site_a, by=world.tessa, reason="audit")
        said = "Site A is closed"
    with pytest.raises(NotPossible, match=said):
        actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)
    if stop == "hold":
        actions.release_enrolment(trial=world.trial, by=None)
        actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob)


def test_an_import_steps_over_no_place_but_over_numbers(world: World) -> None:
    old = actions.import_participant(
        trial=world.trial, site=world.site_a, screened_on=SINCE, screening_number="S001", number="P001", by=None
    )
    again = actions.import_participant(
        trial=world.trial, site=world.site_a, screened_on=SINCE, screening_number="S001", by=None
    )
    assert old == again
    enrolment = actions.import_enrolment(participant=old, enrolled_on=SINCE, by=None)
    assert (enrolment.source, enrolment.enrolled_by, enrolment.participant.status) == ("import", None, "enrolled")
    new = world.enrolled()
    assert (new.screening_number, new.number) == ("S002", "P002")


def test_an_external_control_takes_no_place_and_is_never_enrolled(world: World) -> None:
    control = actions.import_participant(
        trial=world.trial,
        site=world.site_a,
        screened_on=SINCE,
        number="H1",
        group="historical",
        is_external=True,
        by=None,
    )
    assert (control.status, control.visits.count()) == ("external", 0)
    assert selectors.capacity(world.trial).enrolled == 0
    with pytest.raises(NotPossible, match="external control"):
        actions.import_enrolment(participant=control, enrolled_on=SINCE, by=None)


@pytest.mark.requirement("ENR1")
@pytest.mark.django_db(transaction=True)
def test_eight_at_once_for_the_last_place_let_one_in_and_share_no_number() -> None:
    world = build_world()
    for _ in range(3):
        world.enrolled(graft_on=None)
    candidates = [world.eligible(by=world.bob if n % 2 else world.carol) for n in range(8)]
    start = threading.Barrier(8)
    outcomes: list[str] = []

    def one(participant: Participant, assessment: EligibilityAssessment) -> None:
        try:
            start.wait(20)
            by = world.bob if participant.site == world.site_a else world.carol
            made = actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=by)
            outcomes.append(made.participant.number)
        except NotPossible as refused:
            outcomes.append(str(refused))
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=candidate) for candidate in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    refusals = [outcome for outcome in outcomes if outcome != "P004"]
    assert len(outcomes) == 8
    assert len(refusals) == 7
    assert all(refusal.startswith("All places are taken") for refusal in refusals)
    numbers = list(Participant.objects.exclude(number="").values_list("number", flat=True))
    assert sorted(numbers) == ["P001", "P002", "P003", "P004"]


@pytest.mark.django_db(transaction=True)
def test_the_same_participant_submitted_by_eight_is_enrolled_once() -> None:
    world = build_world()
    participant, assessment = world.eligible()
    start = threading.Barrier(8)
    made: list[int] = []

    def one() -> None:
        try:
            start.wait(20)
            fresh = Participant.objects.get(pk=participant.pk)
            made.append(
                actions.enrol(participant=fresh, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob).pk
            )
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 8
    assert len(set(made)) == 1
    assert Enrolment.objects.count() == 1


# --- Randomised ---------------------------------------------------------------------------------------------------

RANDOMISED = (
    definition()
    .replace("- {id: individualised, label: Individualised ATG, kind: arm, planned: 12}",
             "- {id: individualised, label: Individualised ATG, kind: arm, planned: 6}\n"
             "  - {id: fixed, label: Fixed dose, kind: arm, planned: 6}")
    .replace("{method: single_arm, to: individualised}", "{method: permuted_blocks, ratio: [1, 1], blocks: [4]}")
    .replace("  hold_enrolment: true\n", "")
    .replace('version: "1.0"\n', 'version: "1.0"\nblinded_roles: [monitor]\n', 1)
)  # fmt: skip


@pytest.mark.requirement("DR2")
def test_permuted_blocks_balance_keep_what_was_drawn_and_conceal_the_rest() -> None:
    world = build_world(text=RANDOMISED)
    enrolled = [world.enrolled(graft_on=None) for _ in range(8)]
    groups = [participant.group for participant in enrolled]
    assert sorted(groups[:4]) == sorted(groups[4:]) == ["fixed", "fixed", "individualised", "individualised"]
    assert [row.position for row in Allocation.objects.order_by("pk")] == list(range(1, 9))
    assert not selectors.may_see_group(world.dora, world.trial.protocol)
    assert not selectors.may_see_group(world.erin, world.trial.protocol)
    assert selectors.may_see_group(world.bob, world.trial.protocol)
    participant, assessment = world.eligible()
    with pytest.raises(ValidationError, match="nobody chooses it"):
        actions.enrol(
            participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.bob, group="fixed"
        )


# --- States -------------------------------------------------------------------------------------------------------

VERBS = {
    "fail": lambda world, one: actions.fail_screening(participant=one, reason="withdrew", by=world.bob),
    "reopen": lambda world, one: actions.reopen_screening(participant=one, reason="an error", by=world.bob),
    "complete": lambda world, one: actions.complete_participant(participant=one, by=world.bob),
    "withdraw": lambda world, one: actions.withdraw_participant(
        participant=one, on=ENROLLED_ON, reason="moved away", by=world.alice
    ),
    "lose": lambda world, one: actions.lose_participant(participant=one, reason="no answer", by=world.bob),
    "die": lambda world, one: actions.record_death(participant=one, on=ENROLLED_ON, by=world.bob),
    "resume": lambda world, one: actions.resume_follow_up(participant=one, reason="an error", by=world.bob),
}
#: From state: verb and the state it leads to; every pair that is not here is refused.
POSSIBLE = {
    "screening": {"fail": "screen_failed"},
    "eligible": {"fail": "screen_failed"},
    "screen_failed": {"reopen": "screening"},
    "enrolled": {"complete": "completed", "withdraw": "withdrawn", "lose": "lost", "die": "died"},
    "completed": {"die": "died", "resume": "enrolled"},
    "withdrawn": {"resume": "enrolled"},
    "lost": {"die": "died", "withdraw": "withdrawn", "resume": "enrolled"},
    "died": {"resume": "enrolled"},
}
WAY = {"screen_failed": "fail", "completed": "complete", "withdrawn": "withdraw", "lost": "lose", "died": "die"}


def in_state(world: World, state: str) -> Participant:
    if state in ("screening", "screen_failed"):
        participant = world.screened()
    elif state == "eligible":
        participant, _ = world.eligible()
    else:
        participant = world.enrolled(graft_on=None)
    if state in WAY:
        VERBS[WAY[state]](world, participant)
    return Participant.objects.get(pk=participant.pk)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", POSSIBLE)
def test_every_verb_in_every_state(world: World, state: str, verb: str) -> None:
    participant = in_state(world, state)
    assert participant.status == state
    if verb in POSSIBLE[state]:
        assert VERBS[verb](world, participant).status == POSSIBLE[state][verb]
    else:
        with pytest.raises(NotPossible, match=participant.screening_number if not participant.number else "P001"):
            VERBS[verb](world, participant)
        assert Participant.objects.get(pk=participant.pk).status == state


def test_eligibility_is_not_assessed_after_screening(world: World) -> None:
    participant = world.enrolled(graft_on=None)
    with pytest.raises(NotPossible, match="during screening; P001 is enrolled"):
        actions.assess_eligibility(participant=participant, values=facts(), by=world.bob)


def test_registration_refuses_what_cannot_be(world: World) -> None:
    def register(**changed: object) -> Participant:
        given = {
            "trial": world.trial,
            "site": world.site_a,
            "birth_date": "",
            "sex": "male",
            "screened_on": ENROLLED_ON,
        }
        return actions.register_participant(**{**given, **changed}, by=world.bob)  # type: ignore[arg-type]

    assert register().screening_number == "S001"
    for changed, said in [
        ({"birth_date": "12.05"}, "is no date"),
        ({"birth_date": "2025-04"}, "after the screening"),
        ({"screened_on": timezone.localdate() + timedelta(days=1)}, "a day to come"),
        ({"sex": "other"}, "male, female or unknown"),
        ({"screening_number": "S001"}, "is taken"),
    ]:
        with pytest.raises(ValidationError, match=said):
            register(**changed)
    with pytest.raises(NotPossible, match="No protocol version is approved at site A for 01-Jan-2023"):
        register(screened_on=date(2023, 1, 1))
    assert Participant.objects.count() == 1


def test_a_stranger_to_the_trial_enrols_nobody(world: World) -> None:
    other = build_world_beside(world)
    participant, assessment = world.eligible()
    with pytest.raises(Exception, match="of another trial"):
        actions.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=other)


def build_world_beside(world: World) -> Membership:
    """A coordinator of another trial on the same definition."""
    version = actions.publish_protocol(
        text=definition(), file="larch.yaml", code="alder", by=None, reason="second trial"
    )
    return actions.grant_membership(
        user=person("zoe"), trial=version.trial, role="coordinator", valid_from=SINCE, by=None, reason="start"
    )
