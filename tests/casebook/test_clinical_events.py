"""Clinical events: read, ordered, corrected, taken back."""

from __future__ import annotations

from datetime import date

import pytest

from casebook import actions, selectors
from casebook.domain.answers import Moment
from casebook.domain.clinical_events import EventKind, read_event
from casebook.models import ClinicalEvent
from tests.world import World

TODAY = Moment(today=date(2026, 11, 20), anchor_date=date(2026, 3, 1))
DEATH = {"cause": "infection", "relapse_related": "no"}


@pytest.mark.parametrize(
    "kind, occurred, grade, detail, problem",
    [
        ("relapse", "12nov26", "", {}, None),
        ("relapse", "nov 2026", "", {}, None),
        ("relapse", "2026", "", {"method": "molecular"}, None),
        ("relapse", "d+21", "", {}, None),
        ("relapse", "", "", {}, ("occurred", "No date was typed")),
        ("relapse", "03/04/2026", "", {}, ("occurred", "two ways")),
        ("relapse", "1jan2027", "", {}, ("occurred", "still to come")),
        ("relapse", "12nov26", "II", {}, ("grade", "has no grade")),
        ("relapse", "12nov26", "", {"colour": "red"}, ("colour", "records no")),
        ("relapse", "12nov26", "", {"method": "guess"}, ("method", "not one of its answers")),
        ("acute_gvhd", "12nov26", "2", {"skin": "3"}, None),
        ("acute_gvhd", "12nov26", "iv", {}, None),
        ("acute_gvhd", "12nov26", "", {}, ("grade", "choose one of I, II, III, IV")),
        ("acute_gvhd", "12nov26", "5", {}, ("grade", "none of")),
        ("acute_gvhd", "12nov26", "II", {"upper_gut": "2"}, ("upper_gut", "Choose 0, 1")),
        ("chronic_gvhd", "12nov26", "Moderate", {}, None),
        ("death", "12nov26", "", DEATH, None),
        ("death", "12nov26", "", {"cause": "infection"}, ("relapse_related", "is needed")),
        ("viral_reactivation", "12nov26", "", {}, ("virus", "is needed")),
        ("graft_failure", "12nov26", "", {"type": "rejection"}, None),
        ("last_contact", "12nov26", "", {}, None),
    ],
)
def test_events_as_they_are_typed(
    kind: str, occurred: str, grade: str, detail: dict[str, str], problem: tuple[str, str] | None
) -> None:
    reading = read_event(EventKind(kind), occurred, grade=grade, detail=detail, moment=TODAY)
    if problem is None:
        assert reading.problems == () and reading.event is not None
    else:
        assert [p.item for p in reading.problems] == [problem[0]]
        assert problem[1] in reading.problems[0].sentence


@pytest.mark.django_db
class TestRecorded:
    def record(self, world: World, participant, kind: str, occurred: str, **kwargs) -> ClinicalEvent:
        return actions.record_event(participant=participant, kind=kind, occurred=occurred, by=world.bob, **kwargs)

    def test_the_same_event_again_is_the_same_event(self, world: World) -> None:
        participant = world.enrolled()
        first = self.record(world, participant, "relapse", "2025-05")
        assert self.record(world, participant, "relapse", "may 2025").pk == first.pk

    def test_death_ends_follow_up_and_nothing_happens_after_it(self, world: World) -> None:
        participant = world.enrolled()
        self.record(world, participant, "relapse", "2025-05-10")
        with pytest.raises(actions.Refused, match="lies before relapse"):
            self.record(world, participant, "death", "2025-05-01", detail=DEATH)
        death = self.record(world, participant, "death", "2025-06-01", detail=DEATH)
        participant.refresh_from_db()
        assert participant.status == "died" and selectors.has_died(participant)
        with pytest.raises(actions.Refused, match="recorded already"):
            self.record(world, participant, "death", "2025-06-02", detail=DEATH)
        with pytest.raises(actions.Refused, match="lies after the death"):
            self.record(world, participant, "last_contact", "2025-06-02")
        self.record(world, participant, "last_contact", "2025-06-01")
        actions.void_event(event=death, by=world.bob, reason="another participant")
        participant.refresh_from_db()
        assert participant.status == "enrolled"
        kinds = [event.kind for event in selectors.events_of_trial(world.trial)]
        assert kinds == ["relapse", "last_contact"]

    def test_a_correction_needs_a_reason_and_the_version_that_was_read(self, world: World) -> None:
        participant = world.enrolled()
        event = self.record(world, participant, "relapse", "2025-05")
        correct = {"event": event, "occurred": "2025-05-10", "by": world.bob}
        with pytest.raises(actions.Refused, match="Say why"):
            actions.correct_event(**correct, reason="", revision=1)
        assert actions.correct_event(**correct, reason="letter found", revision=1).revision == 2
        with pytest.raises(actions.Conflict, match="changed meanwhile"):
            actions.correct_event(event=event, occurred="2025-05-11", by=world.bob, reason="again", revision=1)

    def test_events_of_a_file_are_written_whole(self, world: World) -> None:
        participant = world.enrolled()
        from casebook.actions.events import EventRow

        good = [EventRow(participant, "relapse", "2025-05-10"), EventRow(participant, "last_contact", "2025-06-01")]
        assert actions.import_events(rows=good, by=None) == 2
        assert actions.import_events(rows=good, by=None) == 0
        with pytest.raises(actions.Refused, match="death 2025-05-01"):
            rows = [EventRow(participant, "acute_gvhd", "2025-04-10", "2")]
            actions.import_events(rows=[*rows, EventRow(participant, "death", "2025-05-01", "", DEATH)], by=None)
        assert ClinicalEvent.objects.count() == 2
