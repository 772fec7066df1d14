"""A proposal from levels while its facts change: two real connections, one transaction held open under the other.

Whatever is written first, the other waits for it; a dose is never released on facts that are no longer current.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from django.db import connection, transaction

from casebook import actions as casebook
from casebook.actions.laboratory import DrawRow
from casebook.domain.results import Written
from casebook.models import LabResult
from dosing import actions, selectors
from dosing.models import Administration, DoseRelease, DoseVerification, DoseWorksheet
from tests.dosing.dose_world import fresh
from tests.dosing.levels import ALGORITHM_TEXT, ASSAY, SET_TEXT, at
from tests.dosing.test_levels import RIGHT, build_guided, infuse, level, proposed
from tests.dosing.test_races import at_once
from tests.world import World
from trials import actions as trials
from trials.models import Participant
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db(transaction=True)

Act = Callable[[], object]
WHY = "Checked against the source."


@pytest.fixture
def guided() -> World:
    return build_guided()


@dataclass
class Outcome:
    """What came of an act, and whether it had to wait for the transaction that was held open."""

    result: object
    waited: bool


def during(first: Act, second: Act) -> Outcome:
    """Do ``first`` in a transaction that stays open until ``second``, on another connection, waits or is done."""
    written, go_on, done = threading.Event(), threading.Event(), threading.Event()
    broken: list[BaseException] = []
    found: list[object] = []

    def hold() -> None:
        try:
            with transaction.atomic():
                first()
                written.set()
                go_on.wait(20)
        except Exception as error:  # noqa: BLE001  (told by the test's own thread)
            broken.append(error)
        finally:
            written.set()
            connection.close()

    def follow() -> None:
        written.wait(20)
        try:
            found.append(second())
        except Exception as error:  # noqa: BLE001  (the refusal is the result)
            found.append(error)
        finally:
            done.set()
            connection.close()

    threads = [threading.Thread(target=hold), threading.Thread(target=follow)]
    for thread in threads:
        thread.start()
    written.wait(20)
    waited, until = False, time.monotonic() + 15
    while not done.is_set() and not waited and time.monotonic() < until:
        waited = _somebody_waits()
        time.sleep(0.005)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert not broken, broken
    assert found, "the second act hangs"
    return Outcome(found[0], waited)


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


# --- What may change under a proposal -----------------------------------------------------------------------------


@dataclass
class Scene:
    """One participant with a proposal, and what can happen to its facts."""

    world: World
    participant: Participant
    count: int = 0

    def verified(self) -> DoseWorksheet:
        """The proposal as it is now, verified by Peter."""
        worksheet = actions.bring_up_to_date(participant=fresh(self.participant))
        assert worksheet is not None and not worksheet.is_refused
        typed = {one["id"]: one["value"] for one in worksheet.inputs["covariates"]}
        actions.verify_worksheet(worksheet=worksheet, typed=typed, by=self.world.peter)
        return worksheet

    def release(self, worksheet: DoseWorksheet) -> DoseRelease:
        return actions.release_worksheet(worksheet=worksheet, by=self.world.peter, reason=WHY)

    def next(self) -> int:
        """Another number each time, so that every change is one."""
        self.count += 1
        return self.count

    def weight_corrected(self) -> object:
        entry = self.participant.entries.get(form="VS")
        return casebook.save_entry(
            participant=self.participant,
            form="VS",
            visit=entry.visit,
            answers={"WEIGHT": f"60.{self.next()}"},
            revision=entry.revision,
            by=self.world.bob,
            reason=WHY,
        )

    def weighing_on_another_day(self) -> object:
        visit = self.participant.entries.get(form="VS").visit
        assert visit is not None
        return trials.record_visit(visit=visit, done_on=date(2025, 3, self.next()), by=self.world.bob, reason=WHY)

    def level_corrected(self) -> object:
        result = LabResult.objects.filter(draw__participant=self.participant).latest("pk")
        return casebook.correct_result(
            result=result,
            text=f"6.3{self.next()}",
            unit="UE/mL",
            revision=result.revision,
            by=self.world.bob,
            reason=WHY,
        )

    def level_added(self) -> object:
        return level(self.world, self.participant, "6.0", at(21, 8, self.next()))

    def levels_imported(self) -> object:
        values = {"PC.ATG_ACTIVE": Written("6.2", "UE/mL")}
        row = DrawRow(self.participant, at(21, 8, self.next()), values, laboratory=ASSAY)
        return casebook.import_draws(rows=[row], by=None)

    def level_file_written(self) -> object:
        rows = [
            "participant,sampled_at,analyte,value,unit,laboratory",
            f"{self.participant.number},2025-03-21 08:{self.next():02},ATG_ACTIVE,6.1,UE/mL,{ASSAY}",
        ]
        file = casebook.check_lab_file(content="\n".join(rows).encode(), file_name="levels.csv", by=self.world.bob)
        return casebook.write_lab_import(lab_import=file, by=self.world.bob, shown=file.plan_sha256)

    def infusion_corrected(self) -> object:
        given = self.participant.administrations.get(infusion=2, is_void=False)
        return actions.correct_administration(
            administration=given,
            started_at=at(20, 10),
            stopped_at=at(20, 16, self.next()),
            dose_mg=given.dose_mg,
            by=self.world.bob,
            revision=given.revision,
            reason=WHY,
            comment=WHY,
        )

    def infusions_imported(self) -> object:
        row = actions.InfusionRow(self.participant, 7, at(20, 20), at(20, 21), Decimal(self.next()), "rabbit_atg")
        return actions.import_administrations(rows=[row], by=None)

    def infusion_voided(self) -> object:
        given = self.participant.administrations.get(infusion=7, is_void=False)
        return actions.void_administration(administration=given, by=self.world.bob, reason=WHY)

    def graft_moved(self) -> object:
        moved = self.participant.anchors.count() % 2
        day = date(2025, 3, 24 + moved)
        return trials.set_anchor(participant=self.participant, day=day, by=self.world.bob, reason=WHY)

    def set_approved(self) -> object:
        return self._approved(SET_TEXT.replace("typical: 0.48", f"typical: 0.5{self.next()}"))

    def algorithm_approved(self) -> object:
        return self._approved(ALGORITHM_TEXT.replace("highest_level: ", f"highest_level: {self.next()}"))

    def _approved(self, text: str) -> object:
        row = actions.enter_model(trial=self.world.trial, content=text, by=self.world.peter)
        row = actions.verify_model(model=row, content=text, by=self.world.paula)
        return actions.approve_model(model=row, by=self.world.alice, reason=WHY)


#: Every writer of a fact that a level-guided dose rests on.
CHANGES = (
    *("weight_corrected", "weighing_on_another_day", "graft_moved"),
    *("level_corrected", "level_added", "levels_imported", "level_file_written"),
    *("infusion_corrected", "infusions_imported", "infusion_voided"),
    *("set_approved", "algorithm_approved"),
)


@pytest.mark.requirement("DOS14")
def test_a_fact_that_is_being_changed_is_waited_for_and_then_refuses_the_release(guided: World) -> None:
    scene = Scene(guided, proposed(guided).participant)
    for change in CHANGES:
        worksheet = scene.verified()
        outcome = during(getattr(scene, change), lambda old=worksheet: scene.release(old))
        assert outcome.waited, f"{change}: the release did not wait for it"
        assert isinstance(outcome.result, NotPossible), f"{change}: {outcome.result}"
        assert not DoseRelease.objects.filter(worksheet=worksheet).exists(), change
        current = selectors.current_worksheet(scene.participant)
        assert current is not None and current.pk != worksheet.pk, f"{change}: nothing was computed anew"
        with pytest.raises(NotPossible, match="was not verified yet"):
            scene.release(current)


@pytest.mark.requirement("DOS14")
def test_a_fact_that_changes_during_the_release_waits_until_it_is_signed(guided: World) -> None:
    """The release stands on what was true when it was signed; what follows has no release."""
    scene = Scene(guided, proposed(guided).participant)
    for change in CHANGES:
        worksheet = scene.verified()
        outcome = during(lambda old=worksheet: scene.release(old), getattr(scene, change))
        assert not isinstance(outcome.result, Exception), f"{change}: {outcome.result}"
        assert outcome.waited, f"{change} was committed under the release"
        assert DoseRelease.objects.filter(worksheet=worksheet).exists(), change
        actions.bring_up_to_date(participant=fresh(scene.participant))
        current = selectors.plan_of_record(scene.participant)
        assert current is not None and current.pk != worksheet.pk, f"{change}: nothing was computed anew"
        assert selectors.release_of(current) is None, change


def test_a_fact_that_is_being_changed_while_the_worker_computes_is_not_missed(guided: World) -> None:
    """The worker neither computes on what was true before nor takes the mark of the change away."""
    scene = Scene(guided, proposed(guided).participant)
    for change in ("weighing_on_another_day", "levels_imported", "infusions_imported", "set_approved"):
        outcome = during(getattr(scene, change), lambda: actions.bring_up_to_date(participant=fresh(scene.participant)))
        assert outcome.waited and isinstance(outcome.result, DoseWorksheet), f"{change}: {outcome.result}"
        assert outcome.result.input_sha256 == selectors.ask(fresh(scene.participant)).sha256, change


@pytest.mark.requirement("DOS14")
def test_two_pharmacists_verify_and_release_a_proposal_at_once(guided: World) -> None:
    worksheet = proposed(guided)
    results = at_once(
        *[
            lambda by=by: actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=by)
            for by in (guided.peter, guided.paula) * 2
        ]
    )
    (verified,) = DoseVerification.objects.filter(worksheet=worksheet)
    assert sum(isinstance(one, actions.Conflict) for one in results) == 3
    results = at_once(
        *[
            lambda by=by: actions.release_worksheet(worksheet=worksheet, by=by, reason=WHY)
            for by in (guided.peter, guided.paula) * 2
        ]
    )
    (release,) = DoseRelease.objects.filter(worksheet=worksheet)
    assert release.released_by == verified.verified_by
    assert sum(isinstance(one, Exception) for one in results) == 3


def test_an_open_dose_given_during_its_release_ends_the_proposal(guided: World) -> None:
    worksheet = proposed(guided)
    actions.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=guided.peter)
    outcome = during(
        lambda: infuse(guided, worksheet.participant, 3, 21, comment="Given before the release."),
        lambda: actions.release_worksheet(worksheet=worksheet, by=guided.peter, reason=WHY),
    )
    assert outcome.waited and isinstance(outcome.result, NotPossible)
    assert not DoseRelease.objects.filter(worksheet=worksheet).exists()
    assert Administration.objects.filter(participant=worksheet.participant, is_void=False).count() == 3
