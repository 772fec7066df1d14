"""Who may do what in the casebook: every role with every verb."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from django.core.exceptions import PermissionDenied

from audit.context import Source
from casebook import actions
from casebook.domain.results import Written
from casebook.models import ClinicalEvent, FormEntry, LabDraw, LabImport, LabResult
from tests.world import PEOPLE, World
from trials.models import EligibilityAssessment
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db

RECORDS = {"alice", "bob"}
VERBS: dict[str, set[str]] = {
    "save_entry": RECORDS,
    "reopen_entry": RECORDS,
    "record_draw": RECORDS,
    "correct_result": RECORDS,
    "record_event": RECORDS,
    "correct_event": RECORDS,
    "void_event": RECORDS,
    "check_eligibility": RECORDS,
    "answer_criteria": {"alice"},
    "waive_criterion": {"alice"},
    "enrol_participant": RECORDS,
    "check_lab_file": {"bob", "carol"},
    "write_lab_import": {"bob"},
    "discard_lab_import": {"bob", "carol"},
}


def verbs(world: World) -> dict[str, Callable[[str], object]]:
    """Each verb on participants of site A, as a sentence of one person."""
    participant, screened = world.enrolled(), world.screened()
    entry = actions.save_entry(
        participant=participant, form="CM", answers={"DRUG": "x", "START": "2025"}, by=world.bob, complete=True
    )
    draw = actions.record_draw(
        participant=participant, sampled_at=date(2025, 3, 31), values={"LB.ALT": Written("30", "U/L")}, by=world.bob
    )
    event = actions.record_event(participant=participant, kind="relapse", occurred="2025-05", by=world.bob)
    eligible, _ = world.eligible()
    actions.save_entry(participant=screened, form="QS", answers={"PERFORMANCE": "60"}, by=world.bob)
    actions.check_eligibility(participant=screened, by=world.bob)
    for form, answers in (("QS", {"PERFORMANCE": "90"}), ("DX", {"GROUP": "benign"})):
        actions.save_entry(participant=eligible, form=form, answers=answers, by=world.bob)
    content = f"participant,sampled_at,analyte,value,unit\n{participant},2025-04-02,ALT,31,U/L\n".encode()
    found = actions.check_lab_file(content=content, file_name="a.csv", by=world.bob)
    result = draw.results.get()

    def by(name: str):
        return world.members[name]

    return {
        "save_entry": lambda who: actions.save_entry(
            participant=participant, form="CM", repeat=2, answers={"DRUG": "y", "START": "2025"}, by=by(who)
        ),
        "reopen_entry": lambda who: actions.reopen_entry(entry=entry, by=by(who), reason="wrong row"),
        "record_draw": lambda who: actions.record_draw(
            participant=participant, sampled_at=date(2025, 4, 1), values={"LB.ALT": Written("30", "U/L")}, by=by(who)
        ),
        "correct_result": lambda who: actions.correct_result(
            result=result, text="32", unit="U/L", reason="typing", revision=1, by=by(who)
        ),
        "record_event": lambda who: actions.record_event(
            participant=participant, kind="last_contact", occurred="2025-06", by=by(who)
        ),
        "correct_event": lambda who: actions.correct_event(
            event=event, occurred="2025-05-02", reason="letter", revision=1, by=by(who)
        ),
        "void_event": lambda who: actions.void_event(event=event, by=by(who), reason="error"),
        "check_eligibility": lambda who: actions.check_eligibility(participant=screened, by=by(who)),
        "answer_criteria": lambda who: actions.answer_criteria(
            participant=screened, answers={"E1": ("no", "")}, by=by(who)
        ),
        "waive_criterion": lambda who: actions.waive_criterion(
            participant=screened, criterion="I2", reason="stable", by=by(who)
        ),
        "enrol_participant": lambda who: actions.enrol_participant(
            participant=eligible, enrolled_on=date(2025, 3, 10), by=by(who)
        ),
        "check_lab_file": lambda who: actions.check_lab_file(content=content, file_name="b.csv", by=by(who)),
        "write_lab_import": lambda who: actions.write_lab_import(lab_import=found, shown=found.plan_sha256, by=by(who)),
        "discard_lab_import": lambda who: actions.discard_lab_import(lab_import=found, by=by(who)),
    }


def counts() -> list[object]:
    tables = (FormEntry, LabDraw, LabResult, ClinicalEvent, LabImport, EligibilityAssessment)
    return [list(table.objects.order_by("pk").values()) for table in tables]


@pytest.mark.requirement("CD2")
@pytest.mark.parametrize("verb", VERBS)
def test_who_may(world: World, verb: str) -> None:
    """Those who may not change nothing; those who may are let through, the last one for good."""
    act = verbs(world)[verb]
    before = counts()
    for name in PEOPLE:
        if name not in VERBS[verb]:
            with pytest.raises((PermissionDenied, actions.Conflict)):
                act(name)
            assert counts() == before, f"{name} {verb}"
    for name in sorted(VERBS[verb])[:1]:
        act(name)


def test_the_command_line_imports_and_types_nothing(world: World) -> None:
    participant = world.enrolled()
    save = {"participant": participant, "form": "DX", "answers": {"GROUP": "benign"}, "by": None}
    with pytest.raises(PermissionDenied, match="done by a person"):
        actions.save_entry(**save)
    assert actions.save_entry(**save, source=Source.IMPORT).status == "in_progress"


def test_nothing_is_entered_for_somebody_who_failed_screening(world: World) -> None:
    from trials.actions import fail_screening

    participant = world.screened()
    fail_screening(participant=participant, reason="withdrew", by=world.bob)
    participant.refresh_from_db()
    with pytest.raises(NotPossible, match="Reopen the screening"):
        actions.record_event(participant=participant, kind="relapse", occurred="2025", by=world.bob)
