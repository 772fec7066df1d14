"""The numeric file of doses and levels: a golden one with its arithmetic, and the exposure that it gives back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from casebook import actions as casebook
from casebook.domain.results import Written
from dosing import actions as dosing
from dosing.domain.pharmacokinetics import Infusion, Parameters, exposure, simulate
from exchange.domain.delimited import line
from exchange.domain.nonmem import COLUMNS, Covariate, Dose, Mixed, Person, Sample, columns, records
from tests.exchange.conftest import export
from tests.world import World

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
database = pytest.mark.django_db(transaction=True)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2025, 3, day, hour, minute, tzinfo=AMSTERDAM)


def sample(moment: datetime, value: str, **changes: str) -> Sample:
    facts = {"unit": "AU/mL", "analyte": "PC.ATG_ACTIVE", "assay": "A", **changes}
    return Sample(moment, Decimal(value), **facts)  # type: ignore[arg-type]


CHILD = Person(
    id=1,
    doses=[
        Dose(at(15, 10), at(15, 14), Decimal("50"), "thymoglobulin"),
        # The second day was interrupted from 12:00 to 13:00: two records.
        Dose(at(16, 10), at(16, 12), Decimal("30"), "thymoglobulin"),
        Dose(at(16, 13), at(16, 14, 30), Decimal("24"), "thymoglobulin"),
    ],
    samples=[
        sample(at(15, 9, 30), "0.1", qualifier="<"),  # before the first dose, below the limit
        sample(at(15, 14), "12.5"),  # at the end of the infusion
        sample(at(16, 10), "6.25"),  # at the start of the next: the dose stands first
        sample(at(30, 15), "0.4"),  # after the clocks went forward on 30 March: one hour less than they say
    ],
    weight_kg=[Covariate(date(2025, 3, 13), Decimal("23.4")), Covariate(date(2025, 3, 16), Decimal("23.9"))],
    alc_1e9_per_l=[Covariate(date(2025, 3, 15), Decimal("0.8"))],
    birth=date(2015, 3, 16),  # turns ten on the second day
    sex=2,
    graft=1,
    conditioning=None,
    graft_at=at(24, 12),
    anchor=date(2025, 3, 24),
)

# Written by hand. TIME: hours since 15-Mar 10:00 (09:30 is half an hour before it; 16-Mar 13:00 is 27 h after it;
# 30-Mar 15:00 summer time is 15 days and 5 h on the clock, less the hour that was left out: 364 h).
# RATE: 50 mg / 4 h = 12.5, 30 / 2 = 15, 24 / 1.5 = 16 mg/h. TAD: since the start of the latest record, 364 - 27 = 337.
# OCC counts the records. DAY: 15-Mar is nine days before 24-Mar. TGRAFT: 24-Mar 12:00 is 9 days and 2 h = 218 h.
# WT: of 13-Mar carried forward to 15-Mar, of 16-Mar on 16-Mar. AGE: nine completed years until 15-Mar, ten from 16-Mar.
GOLDEN = """
ID,TIME,AMT,RATE,EVID,MDV,CMT,DV,LLOQ,BLQ,OCC,TAD,DAY,TGRAFT,WT,WTLOCF,ALC,ALCLOCF,AGE,SEX,GRAFT,COND,PROD,ASSAY
1,-0.5,.,.,0,1,1,.,0.1,1,0,.,-9,218,23.4,1,0.8,0,9,2,1,.,1,1
1,0,50,12.5,1,1,1,.,.,0,1,0,-9,218,23.4,1,0.8,0,9,2,1,.,1,1
1,4,.,.,0,0,1,12.5,.,0,1,4,-9,218,23.4,1,0.8,0,9,2,1,.,1,1
1,24,30,15,1,1,1,.,.,0,2,0,-8,218,23.9,0,0.8,1,10,2,1,.,1,1
1,24,.,.,0,0,1,6.25,.,0,2,0,-8,218,23.9,0,0.8,1,10,2,1,.,1,1
1,27,24,16,1,1,1,.,.,0,3,0,-8,218,23.9,0,0.8,1,10,2,1,.,1,1
1,364,.,.,0,0,1,0.4,.,0,3,337,6,218,23.9,1,0.8,1,10,2,1,.,1,1
""".strip()


def text(*people: Person) -> str:
    header = ",".join(column.name for column in columns())
    return "\n".join([header, *(",".join(line(row)) for row in records(people))])


@pytest.mark.requirement("DOS13")
def test_the_golden_file() -> None:
    assert text(CHILD) == GOLDEN
    assert (
        text(replace(CHILD, doses=CHILD.doses[::-1], samples=CHILD.samples[::-1])) == GOLDEN
    )  # order of entry is none


def test_what_lies_below_its_limit_is_no_number() -> None:
    half = Decimal("0.5")
    levels = [
        replace(sample(at(15, 15), "0.3"), lloq=half),
        replace(sample(at(15, 16), "0", qualifier="nd"), lloq=half),
        replace(sample(at(15, 17), "0.5"), lloq=half),
    ]
    rows = [row for row in records([replace(CHILD, samples=levels)]) if row[4] == 0]
    names = list(COLUMNS)
    found = [[row[names.index(name)] for name in ("DV", "MDV", "LLOQ", "BLQ")] for row in rows]
    assert found == [[".", 1, half, 1], [".", 1, half, 1], [half, 0, half, 0]]


def test_every_cell_is_a_number_or_a_dot() -> None:
    for row in records([CHILD]):
        assert len(row) == len(COLUMNS)
        for cell in line(row):
            assert cell == "." or Decimal(cell).is_finite()


@pytest.mark.requirement("DOS13")
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"unit": "UE/mL"}, "UE/mL"),
        ({"assay": "B"}, "by B"),
        ({"analyte": "PC.ATG_TOTAL"}, "PC.ATG_TOTAL"),
    ],
)
def test_a_file_of_two_analytes_units_or_assays_is_refused(changes: dict[str, str], named: str) -> None:
    other = replace(CHILD, id=2, samples=[sample(at(17, 8), "3", **changes)])
    with pytest.raises(Mixed, match=named):
        list(records([CHILD, other]))


def test_a_file_of_two_products_is_refused() -> None:
    other = replace(CHILD, id=2, doses=[replace(CHILD.doses[0], product="grafalon")])
    with pytest.raises(Mixed, match="grafalon, thymoglobulin"):
        list(records([CHILD, other]))


def test_a_covariate_of_a_later_day_is_never_carried_back() -> None:
    late = replace(CHILD, weight_kg=[Covariate(date(2025, 3, 16), Decimal("23.9"))])
    weights = [(row[14], row[15]) for row in records([late])]
    assert weights[0] == (".", ".") and weights[-1] == (Decimal("23.9"), 1)


def test_estimates_stand_beside_the_records_of_their_person() -> None:
    known = replace(CHILD, estimates={"CL": Decimal("0.51"), "AUC_TOTAL": Decimal("121.5")})
    rows = list(records([known, replace(CHILD, id=2)], estimates=("CL", "AUC_TOTAL")))
    assert {row[-2:] for row in rows if row[0] == 1} == {(Decimal("0.51"), Decimal("121.5"))}
    assert {row[-2:] for row in rows if row[0] == 2} == {(".", ".")}


@pytest.mark.requirement("DOS13")
def test_the_trapezoid_over_the_file_is_the_exposure_of_the_model() -> None:
    child = Parameters(cl=0.5, v1=4.0, q=0.9, v2=8.0, vmax=2.0, km=1.0)
    start = datetime(2025, 3, 15, 10, tzinfo=UTC)
    course = [Infusion(start_day=day, duration_day=0.25, amount=55.0) for day in (0.0, 1.0, 2.0)]
    days = np.arange(0, 30 * 96 + 1) / 96  # every quarter of an hour, ends of the infusions among them
    levels = simulate(child, course, days)
    dense = Person(
        id=1,
        doses=[
            Dose(start + timedelta(days=one.start_day), start + timedelta(days=one.end_day), Decimal("55"), "p")
            for one in course
        ],
        samples=[
            Sample(start + timedelta(days=float(day)), Decimal(repr(float(level))), "mg/L", "PC.DRUG", "A")
            for day, level in zip(days, np.ravel(levels), strict=True)
        ],
    )
    rows = [row for row in records([dense]) if row[4] == 0]
    hours = np.array([float(str(row[1])) for row in rows])
    found = np.trapezoid([float(str(row[7])) for row in rows], hours / 24)
    expected = exposure(child, course, graft_day=9.0, until_day=30.0).total
    assert found == pytest.approx(float(np.ravel(expected)[0]), rel=2e-5)


# --- In an export -------------------------------------------------------------------------------------------------


@database
def test_an_export_holds_a_numeric_file_for_each_assay_and_says_whose_it_is(world: World) -> None:
    participant = world.enrolled()
    for number in (1, 2):
        dosing.record_administration(
            participant=participant,
            infusion=number,
            started_at=datetime(2025, 3, 14 + number, 10),  # noqa: DTZ001  (the site's time)
            stopped_at=datetime(2025, 3, 14 + number, 14),  # noqa: DTZ001
            dose_mg=Decimal("50"),
            product="thymoglobulin",
            comment="given without a release",
            by=world.bob,
        )
    for day, laboratory, value, lloq in (
        (15, "A", "3.5", "0.2"),
        (16, "B", "2.5", ""),
        (17, "A", "<0.5", ""),
        (19, "A", "not detected", ""),
    ):
        casebook.record_draw(
            participant=participant,
            sampled_at=datetime(2025, 3, day, 18),  # noqa: DTZ001
            laboratory=laboratory,
            values={"PC.ATG_ACTIVE": Written(value, "AU/mL", lloq=lloq)},
            by=world.bob,
        )
    casebook.record_draw(
        participant=participant,
        sampled_at=date(2025, 3, 18),
        laboratory="A",
        values={"PC.ATG_ACTIVE": Written("1.5", "AU/mL")},
        by=world.bob,
    )
    archive = export(world, world.dora, "nonmem")
    (whose,) = archive.rows("nonmem.csv")
    assert (whose["ID"], whose["subject"], whose["levels_without_time"]) == ("1", participant.number, "1")
    assert whose["levels_without_limit"] == "1"
    assert whose["files"] == "nonmem_1.csv;nonmem_2.csv"
    first, second = archive.rows("nonmem_1.csv"), archive.rows("nonmem_2.csv")
    assert [(row["TIME"], row["EVID"], row["DV"], row["BLQ"], row["LLOQ"]) for row in first] == [
        ("0", "1", ".", "0", "."),
        ("8", "0", "3.5", "0", "0.2"),
        ("24", "1", ".", "0", "."),
        ("56", "0", ".", "1", "0.5"),
    ]
    assert [row["DV"] for row in second if row["EVID"] == "0"] == ["2.5"]
    readme = archive.text("README.txt")
    assert "IGNORE=@" in readme and "assay B" in readme
    assert participant.number not in archive.text("nonmem_1.csv")
    assert archive.files == export(world, world.dora, "nonmem").files
