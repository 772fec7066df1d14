"""Questions to the worksheet's pure functions: a complete one, from which each test takes something away."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from dosing.domain.table_files import parse_table
from dosing.domain.worksheet import ALC, GRAFT, WEIGHT, Question, Reading
from tests.dosing.dose_world import CELLS, DESCRIPTION
from tests.world import definition
from trials.domain import language
from trials.domain.definition import DosingSpec
from trials.domain.partial_dates import PartialDate

DEMO = parse_table(DESCRIPTION, cells=CELLS)
LARCH = language.parse(definition(), file="larch.yaml")
assert LARCH.dosing is not None
SPEC: DosingSpec = LARCH.dosing


def at(day: int, hour: int = 0, minute: int = 0, month: int = 3) -> datetime:
    """A moment of March 2025 at the site."""
    return datetime(2025, month, day, hour, minute)  # noqa: DTZ001


WHOLE = Question(
    spec=SPEC,
    readings={
        WEIGHT: Reading(WEIGHT, "Weight", Decimal("23.4"), "kg", observed_at=date(2025, 3, 13)),
        ALC: Reading(ALC, "ALC", Decimal("0.8"), "10^9/L", observed_at=at(14, 8)),
        GRAFT: Reading(GRAFT, "Graft", "bone_marrow"),
    },
    anchor_date=date(2025, 3, 24),  # so that day -9 is 15 March
    first_day=0,
    birth=PartialDate.from_iso("2015-06-01"),
    table=DEMO,
    table_name="larch v1",
)


def asked(*, weight: Any = None, alc: Any = None, graft: Any = None, **changes: Any) -> Question:
    """The complete question with some fields of its readings, or of itself, changed."""
    readings = dict(WHOLE.readings)
    for name, fields in ((WEIGHT, weight), (ALC, alc), (GRAFT, graft)):
        if fields is not None:
            readings[name] = replace(readings[name], **fields)
    return replace(WHOLE, readings=readings, **changes)
