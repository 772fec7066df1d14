"""Adverse events: what the collection policy keeps out, what the dictionary does not have, what is never lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from adverse_events import actions, selectors
from adverse_events.domain.reporting import Report
from adverse_events.models import AdverseEvent
from audit.context import Source
from audit.models import FieldChange
from tests.world import PEOPLE, World
from trials import actions as trials
from trials.permissions import NotPossible

SEPSIS = Report(verbatim="Sepsis, Candida", term="Sepsis", grade=4, started="2025-04-02", outcome="recovered")


@pytest.mark.requirement("AE1")
@pytest.mark.parametrize(
    "changes, field, sentence",
    [
        ({"grade": 3}, "grade", "Sepsis has no grade 3 in CTCAE 4.03; it has 4, 5."),
        ({"grade": 0}, "grade", "does not exist"),
        ({"term": "Febrile neutropenia", "grade": 6}, "grade", "does not exist"),
        ({"term": "Vomiting", "grade": 2}, "grade", "collects grade 3 and above"),
        ({"term": "Spesis"}, "term", "is no term of CTCAE 4.03"),
        ({"verbatim": " "}, "verbatim", "always kept"),
        ({"started": ""}, "started", "start is missing"),
        ({"started": "02-04-2025"}, "started", "is no date"),
        ({"started": "2025-02-30"}, "started", "is no date"),
        ({"ended": "2025-04-01"}, "ended", "before the start"),
        ({"ended": "2025-03"}, "ended", "before the start"),
        ({"is_ongoing": True, "ended": "2025-04-09"}, "ended", "goes on has no end"),
        ({"outcome": "fatal"}, "outcome", "go together"),
        ({"grade": 5}, "outcome", "go together"),
        ({"outcome": "better"}, "outcome", "is no outcome"),
        ({"term": "Infections and infestations - Other, specify"}, "other_specify", "needs the words"),
        ({"serious_criteria": ("expensive",)}, "serious_criteria", "is no criterion"),
        ({"is_serious": False, "serious_criteria": ("death",)}, "is_serious", "said not to be"),
        ({"grade": 5, "outcome": "fatal", "is_serious": False}, "is_serious", "results in death"),
        ({"relations": {"aspirin": "related"}}, "relations", "the protocol asks"),
    ],
)
def test_what_is_refused_names_field_and_rule(
    world: World, changes: dict[str, object], field: str, sentence: str
) -> None:
    participant = world.enrolled()
    with pytest.raises(ValidationError) as refused:
        actions.record_adverse_event(participant=participant, report=replace(SEPSIS, **changes), by=world.bob)
    assert any(sentence in text for text in refused.value.message_dict[field])
    assert not AdverseEvent.objects.exists()


def test_every_reason_is_told_at_once(world: World) -> None:
    nothing_right = Report(verbatim="", term="x", grade=9, started="", outcome="")
    with pytest.raises(ValidationError) as refused:
        actions.record_adverse_event(participant=world.enrolled(), report=nothing_right, by=world.bob)
    assert set(refused.value.message_dict) >= {"verbatim", "term", "started", "outcome"}


@pytest.mark.parametrize("started, ended", [("2025-04", "2025-04-02"), ("2025", "2025-01"), ("2025-04-02", "2025")])
def test_a_partial_date_that_may_hold_is_kept_as_it_is(world: World, started: str, ended: str) -> None:
    event = actions.record_adverse_event(
        participant=world.enrolled(), report=replace(SEPSIS, started=started, ended=ended), by=world.bob
    )
    assert (event.started, event.ended) == (started, ended)


def test_seriousness_that_is_not_known_stays_not_known(world: World) -> None:
    event = actions.record_adverse_event(participant=world.enrolled(), report=SEPSIS, by=world.bob)
    assert event.is_serious is None


def test_a_participant_removed_from_the_efficacy_sets_still_reports(world: World) -> None:
    participant = world.enrolled()
    trials.record_deviation(
        participant=participant, description="graft changed", is_major=True, removes_from_efficacy=True, by=world.alice
    )
    assert actions.record_adverse_event(participant=participant, report=SEPSIS, by=world.bob).pk


def test_a_class_without_a_heading_is_its_own_whatever_its_length(world: World) -> None:
    longest = max(selectors.dictionary("CTCAE 4.03").terms, key=lambda term: len(term.soc))
    report = replace(SEPSIS, term=longest.name, grade=4, other_specify="as reported")
    event = actions.record_adverse_event(participant=world.enrolled(), report=report, by=world.bob)
    assert event.category == longest.soc


def test_an_import_needs_no_person_and_revives_nothing(world: World) -> None:
    participant = world.enrolled()
    with pytest.raises(PermissionDenied):
        actions.record_adverse_event(participant=participant, report=SEPSIS, by=None)
    event = actions.record_adverse_event(
        participant=participant, report=SEPSIS, by=None, source=Source.IMPORT, external_id="7"
    )
    changed = replace(SEPSIS, organism="Candida")
    again = actions.record_adverse_event(
        participant=participant, report=changed, by=None, source=Source.IMPORT, external_id="7"
    )
    assert (again.pk, again.organism, again.revision) == (event.pk, "Candida", 2)
    actions.void_adverse_event(event=again, reason="other patient", by=world.bob)
    after = actions.record_adverse_event(
        participant=participant, report=SEPSIS, by=None, source=Source.IMPORT, external_id="7"
    )
    assert (after.is_void, after.organism) == (True, "Candida")


def test_an_event_of_tomorrow_is_refused(world: World) -> None:
    with pytest.raises(ValidationError, match="lies in the future"):
        actions.record_adverse_event(participant=world.enrolled(), report=replace(SEPSIS, started="2999"), by=world.bob)


def test_before_enrolment_nothing_is_collected(world: World) -> None:
    with pytest.raises(NotPossible, match="not enrolled"):
        actions.record_adverse_event(participant=world.screened(), report=SEPSIS, by=world.bob)


def test_the_same_import_twice_is_one_event(world: World) -> None:
    participant = world.enrolled()
    for _ in range(2):
        actions.record_adverse_event(participant=participant, report=SEPSIS, external_id="AE-001", by=world.bob)
    assert AdverseEvent.objects.count() == 1


def test_a_name_that_is_too_long_is_refused_not_cut(world: World) -> None:
    with pytest.raises(ValidationError, match="at most 40 characters"):
        actions.record_adverse_event(participant=world.enrolled(), report=SEPSIS, by=world.bob, external_id="x" * 41)


def test_numbers_run_within_the_participant(world: World) -> None:
    participant, other = world.enrolled(), world.enrolled()
    events = [
        actions.record_adverse_event(participant=p, report=SEPSIS, by=world.bob)
        for p in (participant, other, participant)
    ]
    assert [event.number for event in events] == [1, 1, 2]


@pytest.mark.django_db(transaction=True)
def test_a_correction_needs_a_reason_and_keeps_the_old_value(world: World) -> None:
    event = actions.record_adverse_event(participant=world.enrolled(), report=SEPSIS, by=world.bob)
    worse = replace(SEPSIS, grade=5, outcome="fatal")
    with pytest.raises(ValidationError, match="reason"):
        actions.correct_adverse_event(event=event, report=worse, revision=1, reason=" ", by=world.bob)
    corrected = actions.correct_adverse_event(event=event, report=worse, revision=1, reason="autopsy", by=world.bob)
    assert (corrected.grade, corrected.revision) == (5, 2)
    change = FieldChange.objects.get(
        table_name="adverse_events_adverseevent", row_id=str(event.pk), operation="UPDATE", field="grade"
    )
    assert (change.old_value, change.new_value, change.reason) == (4, 5, "autopsy")


def test_a_correction_of_what_somebody_else_changed_is_refused(world: World) -> None:
    event = actions.record_adverse_event(participant=world.enrolled(), report=SEPSIS, by=world.bob)
    report = replace(SEPSIS, organism="Candida albicans")
    actions.correct_adverse_event(event=event, report=report, revision=1, reason="culture", by=world.alice)
    with pytest.raises(actions.Conflict, match="changed by somebody else"):
        actions.correct_adverse_event(event=event, report=SEPSIS, revision=1, reason="typo", by=world.bob)


def test_an_event_recorded_in_error_is_kept_and_not_counted(world: World) -> None:
    event = actions.record_adverse_event(participant=world.enrolled(), report=SEPSIS, by=world.bob)
    actions.void_adverse_event(event=event, reason="other patient", by=world.bob)
    assert AdverseEvent.objects.count() == 1
    assert list(selectors.events_of_trial(world.trial)) == []


@pytest.mark.parametrize("name", list(PEOPLE))
def test_who_may_record(world: World, name: str) -> None:
    participant = world.enrolled()
    may = name in {"alice", "bob"}  # of site A; nobody on the sponsor's side enters what a site observes
    if may:
        actions.record_adverse_event(participant=participant, report=SEPSIS, by=world.members[name])
    else:
        with pytest.raises(PermissionDenied):
            actions.record_adverse_event(participant=participant, report=SEPSIS, by=world.members[name])


def test_another_site_sees_nothing(world: World) -> None:
    actions.record_adverse_event(participant=world.enrolled(), report=SEPSIS, by=world.bob)
    assert selectors.adverse_events(world.bob).count() == 1
    assert selectors.adverse_events(world.carol).count() == 0
