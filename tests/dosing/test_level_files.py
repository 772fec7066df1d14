"""Drug levels by file: from the laboratory's CSV to the level of the participant, or refused whole."""

from __future__ import annotations

from decimal import Decimal

import pytest

from casebook import actions as casebook
from casebook import selectors
from casebook.models import LabResult
from tests.world import World
from trials.permissions import NotPossible

HEAD = "participant,sampled_at,analyte,value,unit,laboratory"
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
