"""Every role against every verb of dosing: what the role table says, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from accounts.roles import ROLES, Permission
from dosing import actions, selectors
from dosing.models import DoseWorksheet, DosingModel, DosingTable
from dosing.permissions import check_can_see_doses, check_can_see_tables
from tests.dosing.dose_world import CELLS, DESCRIPTION, WEIGHED_ON, ready, weigh, with_table
from tests.dosing.levels import ALGORITHM_TEXT, SET_TEXT
from tests.dosing.questions import at
from tests.dosing.test_states import course, tried
from tests.world import World
from trials.models import Membership
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db

RIGHT = {"weight_kg": "23.4", "alc_1e9_per_l": "0.8", "graft": "bone_marrow"}


class Scene:
    """A computed dose and a draft of the next table, entered by nobody whose role is tried."""

    def __init__(self, world: World) -> None:
        self.world = world
        with_table(world)
        self.participant = ready(world)
        self.worksheet: DoseWorksheet = actions.compute_worksheet(participant=self.participant)
        changed = CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,5,2,-9")
        self.cells = changed
        self.draft: DosingTable = actions.enter_table(
            trial=world.trial, description=DESCRIPTION, cells=changed, code="larch", by=world.paula, reason="second"
        )
        self.model: DosingModel = actions.enter_model(trial=world.trial, content=SET_TEXT, by=world.paula)

    def visible(self, by: Membership) -> DoseWorksheet:
        return selectors.worksheet_for(by, self.worksheet.pk)


def _give(scene: Scene, by: Membership) -> object:
    return actions.record_administration(
        participant=scene.participant,
        infusion=1,
        started_at=at(15, 10),
        stopped_at=at(15, 18),
        dose_mg=Decimal("54.5"),
        product="thymoglobulin",
        comment="before the release",
        by=by,
    )


VERBS: dict[str, tuple[Permission, Callable[[Scene, Membership], object]]] = {
    "see doses": (Permission.VIEW_DOSE, lambda s, by: check_can_see_doses(by, s.participant)),
    "see tables": (Permission.VIEW_DOSE, lambda s, by: check_can_see_tables(by, s.world.trial)),
    "compute": (
        Permission.COMPUTE_DOSE,
        lambda s, by: actions.compute_worksheet(participant=s.participant, by=by),
    ),
    "verify": (
        Permission.CONFIRM_DOSE,
        lambda s, by: actions.verify_worksheet(worksheet=s.worksheet, typed=RIGHT, by=by),
    ),
    "release": (
        Permission.CONFIRM_DOSE,
        lambda s, by: actions.release_worksheet(worksheet=s.worksheet, by=by),
    ),
    "record": (Permission.RECORD_ADMINISTRATION, _give),
    "end the course": (
        Permission.RECORD_ADMINISTRATION,
        lambda s, by: actions.end_course(participant=s.participant, ended_on=WEIGHED_ON, cause="toxicity", by=by),
    ),
    "import a plan": (
        Permission.IMPORT_DATA,
        lambda s, by: actions.import_plan_of_record(
            participant=s.participant,
            total_mg_per_kg=Decimal(8),
            weight_kg=Decimal(20),
            graft_source="pbsc",
            start_day=-9,
            by=by,
        ),
    ),
    "enter a table": (
        Permission.ENTER_DOSING_TABLE,
        lambda s, by: actions.enter_table(
            trial=s.world.trial, description=DESCRIPTION, cells=CELLS, code="larch", by=by, reason="third"
        ),
    ),
    "verify a table": (
        Permission.VERIFY_DOSING_TABLE,
        lambda s, by: actions.verify_table(table=s.draft, cells=s.cells, by=by),
    ),
    "approve a table": (
        Permission.APPROVE_DOSING_TABLE,
        lambda s, by: actions.approve_table(table=s.draft, by=by, reason="I approve."),
    ),
    "take a table out of use": (
        Permission.APPROVE_DOSING_TABLE,
        lambda s, by: actions.retire_table(table=s.draft, by=by, reason="An error was found."),
    ),
    "enter a set": (
        Permission.ENTER_DOSING_TABLE,
        lambda s, by: actions.enter_model(trial=s.world.trial, content=ALGORITHM_TEXT, by=by),
    ),
    "verify a set": (
        Permission.VERIFY_DOSING_TABLE,
        lambda s, by: actions.verify_model(model=s.model, content=SET_TEXT, by=by),
    ),
    "approve a set": (
        Permission.APPROVE_DOSING_TABLE,
        lambda s, by: actions.approve_model(model=s.model, by=by, reason="I approve."),
    ),
    "take a set out of use": (
        Permission.APPROVE_DOSING_TABLE,
        lambda s, by: actions.retire_model(model=s.model, by=by, reason="An error was found."),
    ),
    "resume the course": (
        Permission.RECORD_ADMINISTRATION,
        lambda s, by: actions.resume_course(participant=s.participant, reason="It goes on.", by=by),
    ),
    "put a table into force": (
        Permission.APPROVE_DOSING_TABLE,
        lambda s, by: actions.put_into_force(
            table=s.draft, site=s.participant.site, by=by, reason="I approve it for the site."
        ),
    ),
}


#: Tables, sets and algorithms belong to the trial, not to a site.
OF_THE_TRIAL = ("tables", " a table", " a set", "out of use")


@pytest.mark.parametrize("verb", VERBS)
def test_each_role_may_what_its_table_says(world: World, verb: str) -> None:
    """The state may still refuse (NotPossible, ValidationError); only the role's own refusal is a PermissionDenied."""
    from django.db import transaction

    scene = Scene(world)
    permission, act = VERBS[verb]
    for name in (*world.members,):
        by = world.members[name]
        site_matters = verb == "put a table into force" or not verb.endswith(OF_THE_TRIAL)
        reaches = by.covers(scene.participant.site_id) or not site_matters
        allowed = reaches and permission in ROLES[by.role].permissions
        if name == "paula" and (" a table" in verb or " a set" in verb):
            continue  # she entered the drafts
        denied = False
        try:
            with transaction.atomic():
                with contextlib.suppress(NotPossible, ValidationError):
                    act(scene, by)
                raise _Undo
        except _Undo:
            pass
        except PermissionDenied as refused:
            denied = True
            assert str(refused).endswith(".")
        assert denied is not allowed, f"{name} ({by.role}) and “{verb}”"


class _Undo(Exception):
    """Takes one try back, so that the next role meets the same scene."""


def test_each_role_on_a_proposal_from_levels() -> None:
    made = course("proposal", None)
    worksheet = made.compute()
    world = made.world
    verbs: dict[str, tuple[Permission, Callable[[Membership], object]]] = {
        "compute": (Permission.COMPUTE_DOSE, lambda by: actions.bring_up_to_date(participant=made.participant, by=by)),
        "verify": (
            Permission.CONFIRM_DOSE,
            lambda by: actions.verify_worksheet(worksheet=worksheet, typed=made.typed(worksheet), by=by),
        ),
        "release": (
            Permission.CONFIRM_DOSE,
            lambda by: actions.release_worksheet(worksheet=worksheet, by=by, reason="The trend is clear."),
        ),
    }
    for verb, (permission, act) in verbs.items():
        for name, by in world.members.items():
            allowed = by.covers(worksheet.participant.site_id) and permission in ROLES[by.role].permissions
            allowed = allowed and (verb == "compute" or worksheet.proposed_by != by)
            denied = False
            with tried():
                try:
                    with contextlib.suppress(NotPossible, ValidationError):
                        act(by)
                except PermissionDenied as refused:
                    denied = True
                    assert str(refused).endswith(".")
            assert denied is not allowed, f"{name} ({by.role}) and “{verb}”"


def test_without_a_membership_nobody_acts(world: World) -> None:
    scene = Scene(world)
    with pytest.raises(PermissionDenied, match="without a membership"):
        actions.verify_worksheet(worksheet=scene.worksheet, typed=RIGHT, by=None)  # type: ignore[arg-type]
    with pytest.raises(PermissionDenied, match="without a membership"):
        _give(scene, None)  # type: ignore[arg-type]


def test_who_proposed_a_dose_does_not_verify_it(world: World) -> None:
    with_table(world)
    participant = ready(world)
    mine = actions.compute_worksheet(participant=participant, by=world.peter)
    with pytest.raises(PermissionDenied, match="You proposed this dose"):
        actions.verify_worksheet(worksheet=mine, typed=RIGHT, by=world.peter)
    assert actions.verify_worksheet(worksheet=mine, typed=RIGHT, by=world.paula).agrees


def test_who_enrolled_a_participant_does_not_verify_the_dose_that_followed(world: World) -> None:
    with_table(world)
    participant, assessment = world.eligible()
    from tests.dosing.dose_world import count, fresh, graft, weigh
    from tests.world import ENROLLED_ON, GRAFT_ON
    from trials import actions as trials

    trials.enrol(participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=world.alice)
    trials.set_anchor(participant=participant, day=GRAFT_ON, by=world.bob)
    graft(world, participant)
    weigh(world, participant, "23.4")
    count(world, participant, "0.8")
    worksheet = actions.compute_worksheet(participant=fresh(participant))
    assert worksheet.proposed_by == world.alice
    with pytest.raises(PermissionDenied, match="You proposed this dose"):
        actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=world.alice)


def test_only_the_verifier_releases_and_only_after_agreement(world: World) -> None:
    scene = Scene(world)
    with pytest.raises(NotPossible, match="was not verified yet"):
        actions.release_worksheet(worksheet=scene.worksheet, by=world.peter)
    differs = actions.verify_worksheet(worksheet=scene.worksheet, typed={**RIGHT, "weight_kg": "32.4"}, by=world.peter)
    assert not differs.agrees and "23.4" not in " ".join(differs.differences)
    with pytest.raises(NotPossible, match="was not verified yet"):
        actions.release_worksheet(worksheet=scene.worksheet, by=world.peter)
    assert actions.verify_worksheet(
        worksheet=scene.worksheet, typed={**RIGHT, "weight_kg": "23,40"}, by=world.peter
    ).agrees
    with pytest.raises(PermissionDenied, match="verified this dose and has to release it"):
        actions.release_worksheet(worksheet=scene.worksheet, by=world.paula)
    assert actions.release_worksheet(worksheet=scene.worksheet, by=world.peter).released_by == world.peter


@pytest.mark.parametrize(
    "typed, field",
    [
        ({**RIGHT, "weight_kg": ""}, "weight_kg"),
        ({**RIGHT, "weight_kg": "heavy"}, "weight_kg"),
        ({**RIGHT, "weight_kg": "1e400"}, "weight_kg"),
        ({**RIGHT, "alc_1e9_per_l": "NaN"}, "alc_1e9_per_l"),
        ({"weight_kg": "23.4", "alc_1e9_per_l": "0.8"}, "graft"),
    ],
)
def test_an_incomplete_second_entry_is_refused_at_its_field(world: World, typed: dict[str, str], field: str) -> None:
    scene = Scene(world)
    with pytest.raises(ValidationError) as refused:
        actions.verify_worksheet(worksheet=scene.worksheet, typed=typed, by=world.peter)
    assert list(refused.value.message_dict) == [field]


def test_warnings_are_answered_before_the_release(world: World) -> None:
    with_table(world)
    worksheet = actions.compute_worksheet(participant=ready(world, kg="20.2"))
    actions.verify_worksheet(worksheet=worksheet, typed={**RIGHT, "weight_kg": "20.2"}, by=world.peter)
    with pytest.raises(ValidationError, match="There are warnings"):
        actions.release_worksheet(worksheet=worksheet, by=world.peter)
    released = actions.release_worksheet(worksheet=worksheet, by=world.peter, reason="weighed twice")
    assert released.reason == "weighed twice" and "may be given" in released.meaning


def test_participants_of_another_site_have_no_doses_here(world: World) -> None:
    scene = Scene(world)
    with pytest.raises(DoseWorksheet.DoesNotExist):
        scene.visible(world.carol)
    assert list(selectors.worksheets(world.carol)) == []


@pytest.mark.django_db(transaction=True)
def test_who_entered_a_value_of_the_dose_does_not_verify_it(world: World) -> None:
    with_table(world)
    participant = ready(world, kg=None)
    weigh(world, participant, "23.4", by=world.alice)
    worksheet = actions.compute_worksheet(participant=participant)
    with pytest.raises(PermissionDenied, match="You entered a value that this dose rests on"):
        actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=world.alice)
    assert selectors.entered_by(participant, worksheet) == {world.user("alice").pk, world.user("bob").pk}
    assert not selectors.dose_card(participant, world.alice, date(2025, 3, 14)).may_verify
    assert selectors.dose_card(participant, world.peter, date(2025, 3, 14)).may_verify
    assert actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=world.peter).agrees
