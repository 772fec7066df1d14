"""Every state × every event, taken from the tables of states: what is listed happens, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from casebook import actions as casebook
from casebook.models import LabResult
from dosing import actions, selectors
from dosing.domain.states import (
    TABLE,
    WORKSHEET,
    TableEvent,
    TableStatus,
    WorksheetEvent,
    WorksheetStatus,
)
from dosing.models import DoseWorksheet, DosingModel, DosingTable
from tests.dosing.dose_world import CELLS, DESCRIPTION, fresh, member, ready, weigh, with_table
from tests.dosing.levels import ALGORITHM_TEXT, SET_TEXT
from tests.dosing.levels import at as moment
from tests.dosing.questions import at
from tests.dosing.test_levels import approved, build_guided, infuse, level
from tests.world import World
from trials.models import Participant
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db

WHY = "Checked against the source."


class _Undo(Exception):
    """Takes what was tried back, so that the next event meets the same scene."""


@contextmanager
def tried() -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
            raise _Undo
    except _Undo:
        pass


# --- Tables, parameter sets and algorithms ------------------------------------------------------------------------

Row = DosingTable | DosingModel


@dataclass
class Data:
    """One thing that three people bring into force, in versions that differ in one number."""

    world: World
    kind: str

    def content(self, version: int) -> str:
        if self.kind == "table":
            return CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", f"bm_pbsc,3,20,0,0.5,{6 - Decimal(version) / 10},3,-9")
        if self.kind == "parameter set":
            return SET_TEXT.replace("typical: 0.48", f"typical: 0.4{version}")
        return ALGORITHM_TEXT.replace("highest_level: 200", f"highest_level: 20{version}")

    def enter(self, version: int) -> Row:
        world, content = self.world, self.content(version)
        if self.kind == "table":
            return actions.enter_table(
                trial=world.trial, description=DESCRIPTION, cells=content, code="larch", by=world.peter, reason=WHY
            )
        return actions.enter_model(trial=world.trial, content=content, by=world.peter, reason=WHY)

    def verify(self, row: Row, version: int) -> Row:
        if isinstance(row, DosingTable):
            return actions.verify_table(table=row, cells=self.content(version), by=self.world.paula)
        return actions.verify_model(model=row, content=self.content(version), by=self.world.paula)

    def approve(self, row: Row) -> Row:
        if isinstance(row, DosingTable):
            return actions.approve_table(table=row, by=self.world.alice, reason=WHY)
        return actions.approve_model(model=row, by=self.world.alice, reason=WHY)

    def retire(self, row: Row) -> Row:
        if isinstance(row, DosingTable):
            return actions.retire_table(table=row, by=self.world.alice, reason=WHY)
        return actions.retire_model(model=row, by=self.world.alice, reason=WHY)

    def replace(self, version: int) -> None:
        self.approve(self.verify(self.enter(version), version))

    def brought_to(self, status: TableStatus) -> Row:
        row = self.enter(1)
        if status is TableStatus.DRAFT:
            return row
        if status is TableStatus.RETIRED:
            return self.retire(row)
        row = self.verify(row, 1)
        if status is TableStatus.VERIFIED:
            return row
        row = self.approve(row)
        if status is TableStatus.SUPERSEDED:
            self.replace(2)
        return row

    def act(self, event: TableEvent, row: Row) -> None:
        if event is TableEvent.VERIFY:
            self.verify(row, 1)
        elif event is TableEvent.APPROVE:
            self.approve(row)
        elif event is TableEvent.RETIRE:
            self.retire(row)
        else:
            self.replace(3)


def now(row: Row) -> TableStatus:
    return TableStatus(type(row).objects.get(pk=row.pk).status)


@pytest.mark.requirement("DOS2")
@pytest.mark.parametrize("kind", ["table", "parameter set", "algorithm"])
def test_what_three_people_bring_into_force_goes_the_listed_ways_only(world: World, kind: str) -> None:
    member(world, "paula", "pharmacist")
    data, asked = Data(world, kind), 0
    for status in TableStatus:
        with tried():
            row = data.brought_to(status)
            assert now(row) is status
            for event in TableEvent:
                with tried():
                    allowed = (status, event) in TABLE
                    if allowed or event is TableEvent.REPLACE:  # the approval of another happens, listed or not
                        data.act(event, row)
                    else:
                        with pytest.raises(NotPossible):
                            data.act(event, row)
                    assert now(row) is TABLE.get((status, event), status), f"{status} and {event}"
                    in_force = type(row).objects.filter(code=row.code, status=TableStatus.ACTIVE)
                    assert in_force.count() == (
                        event is TableEvent.REPLACE
                        or (status in (TableStatus.ACTIVE, TableStatus.SUPERSEDED))
                        - ((status, event) == (TableStatus.ACTIVE, TableEvent.RETIRE))
                        + ((status, event) == (TableStatus.VERIFIED, TableEvent.APPROVE))
                    ), f"{status} and {event}"
                    asked += 1
    assert asked == len(TableStatus) * len(TableEvent)


@pytest.mark.parametrize("kind", ["table", "parameter set", "algorithm"])
def test_what_is_out_of_use_says_who_when_and_why_and_is_entered_anew(world: World, kind: str) -> None:
    member(world, "paula", "pharmacist")
    data = Data(world, kind)
    row = data.brought_to(TableStatus.ACTIVE)
    retire = actions.retire_table if isinstance(row, DosingTable) else actions.retire_model
    with pytest.raises(ValidationError):
        retire(**{"table" if kind == "table" else "model": row}, by=world.alice, reason=" ")
    row = data.retire(row)
    assert (row.retired_by, row.retired_because) == (world.alice, WHY) and row.retired_at is not None
    anew = data.enter(1)
    assert (anew.version, anew.status) == (2, "DRAFT")
    with pytest.raises(DatabaseError), transaction.atomic():
        type(row).objects.filter(pk=row.pk).update(retired_because="")
    with pytest.raises(DatabaseError), transaction.atomic():
        type(row).objects.filter(pk=row.pk).update(title="another")


def test_a_dose_of_what_is_out_of_use_is_refused(world: World) -> None:
    table = with_table(world)
    participant = ready(world)
    released = actions.compute_worksheet(participant=participant)
    actions.retire_table(table=table, by=world.alice, reason="The publisher withdrew it.")
    typed = {one["id"]: one["value"] for one in released.inputs["covariates"]}
    with pytest.raises(NotPossible):
        actions.verify_worksheet(worksheet=released, typed=typed, by=world.peter)
    worksheet = actions.bring_up_to_date(participant=fresh(participant))
    assert worksheet is not None and worksheet.result["refusals"][0]["code"] == "no_table"


# --- Worksheets ---------------------------------------------------------------------------------------------------

Sheet, Happens = WorksheetStatus, WorksheetEvent


@dataclass
class Course:
    """A participant whose dose comes from a table, is fixed until levels come, or is proposed from levels."""

    world: World
    kind: str
    participant: Participant
    product: str

    def compute(self) -> DoseWorksheet:
        worksheet = actions.bring_up_to_date(participant=fresh(self.participant))
        assert worksheet is not None
        return worksheet

    def typed(self, worksheet: DoseWorksheet, **changes: str) -> dict[str, str]:
        return {one["id"]: one["value"] for one in worksheet.inputs["covariates"]} | changes

    def differ(self, worksheet: DoseWorksheet) -> None:
        typed = self.typed(worksheet, weight_kg="99")
        assert not actions.verify_worksheet(worksheet=worksheet, typed=typed, by=self.world.peter).agrees

    def verify(self, worksheet: DoseWorksheet) -> None:
        typed = self.typed(worksheet)
        assert actions.verify_worksheet(worksheet=worksheet, typed=typed, by=self.world.peter).agrees

    def release(self, worksheet: DoseWorksheet) -> None:
        actions.release_worksheet(worksheet=worksheet, by=self.world.peter, reason=WHY)

    def begin(self) -> None:
        number = self.participant.administrations.filter(is_void=False).count() + 1
        day = {"table": 14, "fixed dose": 18, "proposal": 18}[self.kind] + number
        actions.record_administration(
            participant=self.participant,
            infusion=number,
            started_at=at(day, 10),
            stopped_at=at(day, 16),
            dose_mg=Decimal(50),
            product=self.product,
            comment=WHY,
            by=self.world.bob,
        )

    def guide(self) -> None:
        """Two more levels, where there is anything that they can guide."""
        for hour in (6, 7):
            level(self.world, self.participant, f"6.{hour}", moment(21, hour), unit=self.unit)
        self.compute()

    @property
    def unit(self) -> str:
        return "AU/mL" if self.kind == "table" else "UE/mL"

    def replace(self, worksheet: DoseWorksheet) -> None:
        if worksheet.source == DoseWorksheet.Source.IMPORT:
            self.imported(9)
        else:
            weigh(self.world, self.participant, "23" if self.kind == "table" else "61")
            self.compute()

    def imported(self, mg_per_kg: int) -> DoseWorksheet:
        return actions.import_plan_of_record(
            participant=self.participant,
            total_mg_per_kg=Decimal(mg_per_kg),
            weight_kg=Decimal(20),
            graft_source="pbsc",
            start_day=-9,
            by=self.world.bob,
        )

    def brought_to(self, status: WorksheetStatus) -> DoseWorksheet:
        if status is Sheet.IMPORTED:
            return self.imported(8)
        if status is Sheet.REFUSED:  # nothing that the dose could come from is in force
            for table in DosingTable.objects.filter(status="ACTIVE"):
                actions.retire_table(table=table, by=self.world.alice, reason=WHY)
            for model in DosingModel.objects.filter(status="ACTIVE"):
                actions.retire_model(model=model, by=self.world.alice, reason=WHY)
        worksheet = self.compute()
        if status in (Sheet.VERIFIED, Sheet.RELEASED, Sheet.UNDER_WAY):
            self.verify(worksheet)
        if status in (Sheet.RELEASED, Sheet.UNDER_WAY):
            self.release(worksheet)
        if status is Sheet.UNDER_WAY:
            self.begin()
        if status is Sheet.SUPERSEDED:
            self.replace(worksheet)
        return worksheet

    def happens(self, event: WorksheetEvent, status: WorksheetStatus) -> bool:
        """Levels guide where the protocol says so, and as long as an open dose has not begun."""
        if event is not Happens.GUIDE:
            return True
        return self.kind == "fixed dose" or (self.kind == "proposal" and status is not Sheet.UNDER_WAY)

    def act(self, event: WorksheetEvent, worksheet: DoseWorksheet) -> None:
        acts: dict[WorksheetEvent, Callable[[], None]] = {
            Happens.DIFFER: lambda: self.differ(worksheet),
            Happens.VERIFY: lambda: self.verify(worksheet),
            Happens.RELEASE: lambda: self.release(worksheet),
            Happens.BEGIN: self.begin,
            Happens.GUIDE: self.guide,
            Happens.REPLACE: lambda: self.replace(worksheet),
        }
        acts[event]()


def course(kind: str, world: World | None) -> Course:
    if kind == "table":
        assert world is not None
        with_table(world)
        return Course(world, kind, ready(world), "thymoglobulin")
    world = build_guided()
    approved(world)
    participant = world.enrolled()
    weigh(world, participant, "60")
    made = Course(world, kind, fresh(participant), "rabbit_atg")
    if kind == "proposal":
        first = made.compute()
        made.verify(first)
        made.release(first)
        for number, day in ((1, 19), (2, 20)):
            infuse(world, participant, number, day)
        level(world, participant, "3.4", moment(20, 8))
        level(world, participant, "6.1", moment(21, 8))
        made.compute()
    return made


def state(worksheet: DoseWorksheet) -> WorksheetStatus:
    return selectors.status_of(selectors.worksheets_of(worksheet.participant).get(pk=worksheet.pk))


@pytest.mark.requirement("DOS14")
@pytest.mark.parametrize("kind", ["table", "fixed dose", "proposal"])
def test_a_worksheet_goes_the_listed_ways_only(request: pytest.FixtureRequest, kind: str) -> None:
    made = course(kind, request.getfixturevalue("world") if kind == "table" else None)
    asked = 0
    for status in WorksheetStatus:
        with tried():
            worksheet = made.brought_to(status)
            assert state(worksheet) is status
            for event in WorksheetEvent:
                with tried():
                    expected = WORKSHEET.get((status, event)) if made.happens(event, status) else None
                    if expected is None and event in (Happens.DIFFER, Happens.VERIFY, Happens.RELEASE):
                        with pytest.raises(NotPossible):
                            made.act(event, worksheet)
                    else:
                        made.act(event, worksheet)
                    assert state(worksheet) is (expected or status), f"{status} and {event}"
                    asked += 1
    assert asked == len(WorksheetStatus) * len(WorksheetEvent)


def test_an_infusion_taken_back_leaves_the_state_that_was(world: World) -> None:
    made = course("table", world)
    worksheet = made.brought_to(Sheet.UNDER_WAY)
    given = made.participant.administrations.get(infusion=1)
    actions.void_administration(administration=given, by=world.bob, reason="Another child's.")
    assert state(worksheet) is Sheet.RELEASED


def test_a_proposal_whose_level_is_withdrawn_is_the_fixed_dose_again_to_be_verified_and_released() -> None:
    made = course("proposal", None)
    proposal = made.compute()
    made.verify(proposal)
    result = LabResult.objects.filter(draw__participant=made.participant).latest("pk")
    casebook.correct_result(
        result=result, text="ND", unit="", revision=result.revision, by=made.world.bob, reason="Another sample's."
    )
    with pytest.raises(NotPossible, match="no longer current"):
        made.release(proposal)
    fixed = made.compute()
    assert fixed.pk != proposal.pk and {day["mg"] for day in fixed.result["days"]} == {"150"}
    assert state(fixed) is Sheet.PROPOSED
    made.verify(fixed)
    made.release(fixed)
    assert made.compute() == fixed and state(fixed) is Sheet.RELEASED


def test_an_open_proposal_is_refused_once_its_algorithm_is_out_of_use() -> None:
    made = course("proposal", None)
    proposal = made.compute()
    made.verify(proposal)
    for model in DosingModel.objects.filter(status="ACTIVE", kind="map"):
        actions.retire_model(model=model, by=made.world.alice, reason="An error was found in it.")
    with pytest.raises(NotPossible, match="no longer current"):
        made.release(proposal)
    now_is = made.compute()
    assert now_is.is_refused and now_is.result["refusals"][0]["code"] == "no_algorithm"
