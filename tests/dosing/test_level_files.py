"""Drug levels by file: from the laboratory's CSV to the level of the participant, or refused whole."""

from __future__ import annotations

from decimal import Decimal

import pytest

from casebook import actions as casebook
from casebook import selectors
from casebook.formats import plan_of
from casebook.models import LabResult
from tests.world import World
from trials.permissions import NotPossible

HEAD = "participant,sampled_at,analyte,value,unit,laboratory"
WITH_LIMIT = f"{HEAD},lloq"
pytestmark = pytest.mark.django_db


def checked(world: World, *rows: str, head: str = HEAD):
    content = "\n".join([head, *rows]).encode()
    return casebook.check_lab_file(content=content, file_name="levels.csv", by=world.bob)


def test_a_file_of_levels_becomes_levels_with_unit_assay_limit_and_exact_times(world: World) -> None:
    participant = world.enrolled()
    number = participant.number
    found = checked(
        world,
        f"{number},2025-03-15 14:05,ATG_ACTIVE,12.5,AU/mL,Assay A",
        f"{number},2025-03-16 09:55,ATG_ACTIVE,<0.5,AU/mL,Assay A",
    )
    assert found.report["new"] == 2 and not LabResult.objects.exists()
    casebook.write_lab_import(lab_import=found, by=world.bob, shown=found.plan_sha256)
    first, second = selectors.lab_series(world.trial, "PC.ATG_ACTIVE", participants=[participant.pk])
    assert (first.value, first.unit, first.laboratory, first.has_time) == (Decimal("12.5"), "AU/mL", "Assay A", True)
    assert first.sampled_at.isoformat() == "2025-03-15T13:05:00+00:00"  # 14:05 in Amsterdam
    assert (second.qualifier, second.value) == ("<", Decimal("0.5"))


@pytest.mark.requirement("DOS16")
def test_the_limit_of_quantification_comes_with_each_level_and_a_changed_one_is_told(world: World) -> None:
    number = world.enrolled().number
    rows = [
        f"{number},2025-03-15 14:05,ATG_ACTIVE,12.5,AU/mL,Assay A,0.5",
        f"{number},2025-03-16 09:55,ATG_ACTIVE,<0.5,AU/mL,Assay A,",
        f"{number},2025-03-17 09:55,ATG_ACTIVE,not detected,AU/mL,Assay A,0.5",
    ]
    found = checked(world, *rows, head=WITH_LIMIT)
    casebook.write_lab_import(lab_import=found, by=world.bob, shown=found.plan_sha256)
    kept = LabResult.objects.order_by("draw__sampled_at").values_list("value", "qualifier", "lloq")
    half = Decimal("0.5")
    assert list(kept) == [(Decimal("12.5"), "", half), (half, "<", None), (None, "nd", half)]
    assert checked(world, *rows, head=WITH_LIMIT).report["same"] == 3
    # Without the column the limits stay; another limit is a change that is shown with its reason.
    assert checked(world, *(row.rpartition(",")[0] for row in rows)).report["same"] == 3
    other = checked(world, rows[0].removesuffix("0.5") + "0.8", head=WITH_LIMIT)
    (change,) = plan_of(bytes(other.content), laboratory="", membership=world.bob).changed
    assert (change.old, change.new) == ("12.5 AU/mL (LLOQ 0.5)", "12.5 AU/mL (LLOQ 0.8)")
    casebook.write_lab_import(lab_import=other, by=world.bob, shown=other.plan_sha256, reason="as on the report")
    result = LabResult.objects.order_by("draw__sampled_at").first()
    assert result is not None and result.lloq == Decimal("0.8")
    assert ("Limit of quantification", "0.5", "0.8") in [
        (row.label, row.old, row.new) for row in selectors.result_history(result)
    ]


def test_the_template_is_a_file_that_is_read_and_whose_examples_are_nobody(world: World) -> None:
    text = selectors.lab_template(world.trial)
    found = casebook.check_lab_file(content=text.encode(), file_name="laboratory-template.csv", by=world.bob)
    assert [(row, column) for row, column, _ in found.report["rejections"]] == [(2, "participant"), (3, "participant")]
    number = world.enrolled().number
    filled = text.replace("EXAMPLE-1", number).replace("2026-11-1", "2025-03-1")
    found = casebook.check_lab_file(content=filled.encode(), file_name="filled.csv", by=world.bob)
    assert (found.report["new"], found.report["rejected"]) == (2, 0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{n},2025-03-16 09:55,ATG_ACTIVE,3,AU/mL,Assay A,none", "not a number"),
        ("{n},2025-03-16 09:55,ATG_ACTIVE,3,AU/mL,Assay A,0", "no number above 0"),
        ("{n},2025-03-16 09:55,ATG_ACTIVE,<0.5,AU/mL,Assay A,0.4", "name two limits"),
    ],
)
def test_a_limit_that_is_none_is_named_at_its_row_and_column(world: World, row: str, said: str) -> None:
    found = checked(world, row.format(n=world.enrolled().number), head=WITH_LIMIT)
    ((at, named, reason),) = found.report["rejections"]
    assert (at, named) == (2, "lloq") and said in reason


@pytest.mark.parametrize(
    ("row", "column", "said"),
    [
        ("{n},2025-03-16 09:55,ATG_ACTIVE,3,UE/mL,Assay A", "unit", "UE/mL"),
        ("{n},2025-03-16 09:55,ATG_ACTIVE,3,mg/L,Assay A", "unit", "mg/L"),
        ("{n},2025-03-16 09:55,ATG_ACTIVE,3,AU/mL,", "laboratory", "belongs to an assay"),
        ("{n},2025-03-16 09:55,ATG_ACTIVE,-3,AU/mL,Assay A", "value", ""),
        ("{n},2025-03-16 09:55,ATG_ACTIVE,three,AU/mL,Assay A", "value", ""),
        ("{n},2025-03-16 29:55,ATG_ACTIVE,3,AU/mL,Assay A", "sampled_at", ""),
        ("{n},2099-03-16 09:55,ATG_ACTIVE,3,AU/mL,Assay A", "sampled_at", "future"),
        ("{n},2025-03-16 09:55,ATG_TOTAL,3,AU/mL,Assay A", "analyte", "no analyte"),
        ("P999,2025-03-16 09:55,ATG_ACTIVE,3,AU/mL,Assay A", "participant", "no participant"),
        ("{n},2025-03-15 14:05,ATG_ACTIVE,13,AU/mL,Assay A", "analyte", "row 2 already"),
    ],
)
def test_one_bad_level_keeps_the_whole_file_out(world: World, row: str, column: str, said: str) -> None:
    number = world.enrolled().number
    good = f"{number},2025-03-15 14:05,ATG_ACTIVE,12.5,AU/mL,Assay A"
    found = checked(world, good, row.format(n=number))
    ((at, named, reason),) = found.report["rejections"]
    assert (at, named) == (3, column) and said in reason
    with pytest.raises(NotPossible, match="nothing was written"):
        casebook.write_lab_import(lab_import=found, by=world.bob, shown=found.plan_sha256)
    assert not LabResult.objects.exists()
