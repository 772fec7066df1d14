"""Draws, their correction, and files of results."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from audit.models import FieldChange
from casebook import actions, selectors
from casebook.domain.results import Written
from casebook.models import LabDraw, LabImport, LabResult
from tests.world import World
from trials.actions import set_anchor
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db

SAMPLED = datetime.fromisoformat("2025-03-31T08:30")
HEADER = "participant,sampled_at,analyte,value,unit\n"


def draw(world: World, participant, values: dict[str, Written] | None = None, **kwargs) -> LabDraw:
    return actions.record_draw(
        participant=participant,
        sampled_at=kwargs.pop("sampled_at", SAMPLED),
        values=values or {"LB.CD4": Written("52", "cells/µL")},
        by=world.bob,
        **kwargs,
    )


def check(world: World, rows: str, **kwargs) -> LabImport:
    return actions.check_lab_file(
        content=(HEADER + rows).encode(), file_name="labs.csv", by=kwargs.pop("by", world.bob), **kwargs
    )


def write(world: World, found: LabImport, **kwargs) -> LabImport:
    return actions.write_lab_import(lab_import=found, by=world.bob, shown=found.plan_sha256, **kwargs)


def test_a_result_keeps_what_was_written_beside_what_is_computed_with(world: World) -> None:
    participant = world.enrolled()
    result = draw(world, participant).results.get()
    assert (result.value_as_written, result.unit_as_written) == ("52", "cells/µL")
    assert (result.value, result.unit) == (Decimal("0.052"), "10^9/L")


def test_the_visit_of_a_draw_is_worked_out_and_follows_the_anchor(world: World) -> None:
    participant = world.enrolled()
    first = draw(world, participant)
    assert first.visit.code == "W1"
    assert first.sampled_at == datetime(2025, 3, 31, 6, 30, tzinfo=UTC)
    set_anchor(participant=participant, day=date(2025, 3, 17), by=world.bob, reason="donor was free earlier")
    first.refresh_from_db()
    assert first.visit.code == "W2"


def test_the_same_draw_again_changes_nothing_and_another_value_is_a_conflict(world: World) -> None:
    participant = world.enrolled()
    first = draw(world, participant)
    assert draw(world, participant).pk == first.pk
    draw(world, participant, {"LB.ALC": Written("0.4", "10^9/L")})
    assert first.results.count() == 2
    with pytest.raises(actions.Conflict, match="Correct the result instead"):
        draw(world, participant, {"LB.CD4": Written("53", "cells/µL")})


def test_one_impossible_value_saves_no_result_of_the_draw(world: World) -> None:
    participant = world.enrolled()
    with pytest.raises(actions.Refused) as refused:
        draw(world, participant, {"LB.CD4": Written("52", "cells/µL"), "LB.ALC": Written("800", "10^9/L")})
    assert refused.value.message_dict == {
        "LB.ALC": ["Lymphocytes: 800 10^9/L is not possible in this unit. Did the laboratory report it in cells/µL?"]
    }
    assert not LabDraw.objects.exists()


def test_a_day_without_a_time_stays_a_day(world: World) -> None:
    participant = world.enrolled()
    first = draw(world, participant, sampled_at=date(2025, 3, 31))
    assert not first.has_time
    assert selectors.item_values(participant)["LB.CD4"].observed_on == date(2025, 3, 31)
    noon = datetime(2025, 3, 31, 12, tzinfo=UTC)
    assert selectors.latest_result(participant, "LB.CD4", before=noon) is None
    assert selectors.latest_result(participant, "LB.CD4") is not None


@pytest.mark.requirement("AT9")
@pytest.mark.django_db(transaction=True)
def test_a_correction_needs_a_reason_and_keeps_what_was(world: World) -> None:
    participant = world.enrolled()
    result = draw(world, participant).results.get()
    correct = {"result": result, "unit": "cells/µL", "by": world.bob}
    with pytest.raises(actions.Refused, match="Say why"):
        actions.correct_result(**correct, text="25", reason=" ", revision=1)
    actions.correct_result(**correct, text="25", reason="transcription error", revision=1)
    with pytest.raises(actions.Conflict, match="changed to 25 cells/µL meanwhile"):
        actions.correct_result(**correct, text="26", reason="again", revision=1)
    changes = FieldChange.objects.filter(
        table_name="casebook_labresult", row_id=str(result.pk), field="value_as_written", operation="UPDATE"
    )
    assert [(c.old_value, c.new_value, c.reason) for c in changes] == [("52", "25", "transcription error")]
    assert [(row.old, row.new) for row in selectors.result_history(result) if row.label == "Value"] == [
        ("52", "25"),
        ("", "52"),
    ]


@pytest.mark.requirement("RB5")
def test_a_dry_run_writes_no_result_and_the_second_file_changes_none(world: World) -> None:
    participant = world.enrolled()
    rows = f"{participant},2025-03-31 08:30,CD4,0.052,10^9/L\n{participant},2025-03-31 08:30,ALT,31,U/L\n"
    found = check(world, rows)
    assert found.report == {"new": 2, "changed": 0, "same": 0, "rejected": 0, "rejections": []}
    assert not LabResult.objects.exists()
    assert write(world, found).state == "written"
    assert LabDraw.objects.get().results.count() == 2
    assert write(world, found).pk == found.pk
    again = check(world, rows)
    assert (again.report["new"], again.report["changed"], again.report["same"]) == (0, 0, 2)


def test_changed_values_need_one_reason_for_the_file(world: World) -> None:
    participant = world.enrolled()
    draw(world, participant, laboratory="LKCH")
    found = check(world, f"{participant},2025-03-31 08:30,CD4,55,cells/µL\n", laboratory="LKCH")
    assert found.report["changed"] == 1
    with pytest.raises(actions.Refused, match="say why, once for the file"):
        write(world, found)
    write(world, found, reason="corrected by the laboratory")
    assert LabResult.objects.get().value_as_written == "55"
    assert LabResult.objects.get().revision == 2


def test_what_changed_since_the_dry_run_is_not_written_over(world: World) -> None:
    participant = world.enrolled()
    found = check(world, f"{participant},2025-03-31 08:30,CD4,55,cells/µL\n")
    draw(world, participant)
    with pytest.raises(actions.Conflict, match="Look at the differences again"):
        write(world, found)
    assert LabResult.objects.get().value_as_written == "52"


@pytest.mark.requirement("RB5")
@pytest.mark.parametrize(
    "row, column, reason",
    [
        ("P999,2025-03-31,CD4,52,cells/µL", "participant", "no participant that you can see"),
        ("{b},2025-03-31,CD4,52,cells/µL", "participant", "no participant that you can see"),
        ("{a},2025-03-31,CD99,52,cells/µL", "analyte", "no analyte"),
        ("{a},31/31/2025,CD4,52,cells/µL", "sampled_at", "not a day of the calendar"),
        ("{a},03/04/2025,CD4,52,cells/µL", "sampled_at", "two ways"),
        ("{a},mar 2025,CD4,52,cells/µL", "sampled_at", "has no day"),
        ("{a},2099-01-01,CD4,52,cells/µL", "sampled_at", "in the future"),
        ("{a},2025-03-31,CD4,,cells/µL", "value", "empty"),
        ("{a},2025-03-31,CD4,52,", "unit", "has no unit"),
        ("{a},2025-03-31,CD4,52,mg/L", "unit", "not accepted here"),
        ("{a},2025-03-31,ALC,800,10^9/L", "unit", "not possible in this unit"),
        ("{a},2025-03-31,CD4,pos,cells/µL", "value", "not a number"),
        ('{a},2025-03-31,CD4,"1,234",cells/µL', "value", "read as 1.234 or as 1234"),
        ("{a},2025-03-31,CD4,0.05251,10^9/L", "value", "5 decimals"),
        ("{a},2025-03-31,CD4,-3,cells/µL", "value", "below zero"),
    ],
)
def test_a_bad_row_is_named_by_row_and_column_and_nothing_is_written(
    world: World, row: str, column: str, reason: str
) -> None:
    a, b = world.enrolled(), world.screened(by=world.carol)
    good = f"{a},2025-03-31 08:30,CD4,52,cells/µL\n"
    found = check(world, good + row.format(a=a, b=b) + "\n")
    assert [(r[0], r[1]) for r in found.report["rejections"]] == [(3, column)]
    assert reason in found.report["rejections"][0][2]
    with pytest.raises(NotPossible, match="rejected rows"):
        write(world, found)
    assert not LabResult.objects.exists()


def test_the_same_moment_written_in_two_ways_is_one_draw(world: World) -> None:
    participant = world.enrolled()
    found = check(
        world,
        f"{participant},2025-03-31 08:30,CD4,52,cells/µL\n{participant},31mar2025 08:30,LB.CD4,53,cells/µL\n",
    )
    assert "stands on row 2 already" in found.report["rejections"][0][2]


def test_a_written_file_cannot_be_written_or_set_aside_again(world: World) -> None:
    participant = world.enrolled()
    found = write(world, check(world, f"{participant},2025-03-31,CD4,52,cells/µL\n"))
    with pytest.raises(NotPossible, match="is written already"):
        actions.discard_lab_import(lab_import=found, by=world.bob)
    aside = check(world, f"{participant},2025-03-31,CD4,53,cells/µL\n")
    actions.discard_lab_import(lab_import=aside, by=world.bob)
    with pytest.raises(NotPossible, match="is discarded already"):
        write(world, aside, reason="no")


def test_import_in_bulk_is_read_as_if_typed(world: World) -> None:
    participant = world.enrolled()
    from casebook.actions.laboratory import DrawRow

    rows = [
        DrawRow(participant, datetime.fromisoformat("2025-03-31T08:30"), {"LB.CD4": Written("<0.01", "10^9/L")}),
        DrawRow(participant, datetime.fromisoformat("2025-04-07T08:30"), {"LB.CD4": Written("60", "cells/µL")}),
    ]
    assert actions.import_draws(rows=rows, by=None) == 2
    assert actions.import_draws(rows=rows, by=None) == 0
    series = list(selectors.lab_series(world.trial, "LB.CD4"))
    assert [(p.qualifier, p.value, p.sampled_on) for p in series] == [
        ("<", Decimal("0.01"), date(2025, 3, 31)),
        ("", Decimal("0.06"), date(2025, 4, 7)),
    ]
    assert [d.visit.code for d in LabDraw.objects.order_by("sampled_at")] == ["W1", "W2"]
    with pytest.raises(actions.Refused, match="not possible in this unit"):
        bad = DrawRow(participant, datetime.fromisoformat("2025-04-08T08:00"), {"LB.ALC": Written("800", "10^9/L")})
        actions.import_draws(rows=[bad], by=None)
