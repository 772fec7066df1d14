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
from dosing.domain.population import map_estimate
from exchange.domain.delimited import line
from exchange.domain.nonmem import COLUMNS, Covariate, Dose, Mixed, Person, Sample, columns, records
from tests.dosing.dose_world import fresh, weigh
from tests.dosing.levels import MODEL
from tests.dosing.levels import at as in_march
from tests.dosing.test_levels import RIGHT, guided, infuse, level, proposed
from tests.exchange.conftest import export
from tests.world import World

__all__ = ["guided"]

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


@pytest.mark.requirement("DOS16")
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
    known = replace(CHILD, estimates={"ICL": Decimal("0.51"), "AUCTOT": Decimal("121.5")})
    rows = list(records([known, replace(CHILD, id=2)], with_estimates=True))
    names = [column.name for column in columns(with_estimates=True)]
    assert all(len(row) == len(names) for row in rows)
    found = {(row[0], row[names.index("ICL")], row[names.index("AUCTOT")], row[names.index("IV1")]) for row in rows}
    assert found == {(1, Decimal("0.51"), Decimal("121.5"), "."), (2, ".", ".", ".")}


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


@database
@pytest.mark.requirement("DOS15")
def test_the_file_with_estimates_gives_back_the_estimate_and_its_exposure(guided: World) -> None:
    """Read back as a stranger would: the rows alone lead to the estimate, the levels predicted and the exposure."""
    worksheet = proposed(guided)
    participant = worksheet.participant
    dosing.verify_worksheet(worksheet=worksheet, typed=RIGHT, by=guided.peter)
    dosing.release_worksheet(worksheet=worksheet, by=guided.peter, reason="Few levels; the trend is clear.")
    level(guided, participant, "5", in_march(20, 12))  # during an infusion: in the file, not in the estimate
    level(guided, participant, "<0.5", in_march(21, 9), lloq="0.5")
    level(guided, participant, "7", in_march(21, 8), assay="Dutch assay")
    other = guided.enrolled()  # has doses and a level, and no dose plan whose weight the model could take
    weigh(guided, other, "60")
    infuse(guided, fresh(other), 1, 19, comment="given without a release")
    level(guided, other, "not detected", in_march(20, 8), lloq="0.5")
    archive = export(guided, guided.dora, "nonmem", "nonmem_map")

    whose = {row["subject"]: row for row in archive.rows("nonmem_map.csv")}
    mine, theirs = whose[participant.number], whose[other.number]
    assert (mine["parameter_set"], mine["area_unit"], mine["levels_used"]) == ("practice_atg v1", "UE·day/mL", "2")
    assert "taken during an infusion" in mine["levels_not_used"] and "below the limit" in mine["levels_not_used"]
    proposal = worksheet.result["guided"]["proposal"]
    assert float(mine["proposal_exposure"]) == pytest.approx(proposal["at_proposed"], rel=1e-6)
    assert mine["proposal_id"] == str(worksheet.pk) and mine["proposal_released_at"]
    assert theirs["no_estimate"] and not theirs["proposal_id"]

    described = {(row["dataset"], row["variable"]) for row in archive.rows("codebook.csv")}
    assert {("nonmem_map_1", column.name) for column in columns(with_estimates=True)} <= described
    rows = archive.rows("nonmem_map_1.csv")
    # The columns that both have are the same; the file of the other assay has no estimate in it.
    assert [{name: row[name] for name in COLUMNS} for row in rows] == archive.rows("nonmem_1.csv")
    assert {row["ICL"] for row in archive.rows("nonmem_map_2.csv")} == {"."}
    own = [row for row in rows if row["ID"] == mine["ID"]]
    assert {row["ICL"] for row in rows if row["ID"] == theirs["ID"]} == {"."}
    assert [row["BLQ"] for row in rows if row["ID"] == theirs["ID"]] == ["0", "1"]

    # On the clock of the file, hours from the first infusion; the graft where the page takes it, at noon.
    scale, graft = float(own[0]["UPERMG"]), 24 * 5 + 2
    course = [
        Infusion(float(row["TIME"]) / 24, float(row["AMT"]) / float(row["RATE"]) / 24, float(row["AMT"]) * scale)
        for row in own
        if row["EVID"] == "1"
    ]
    used = [row for row in own if row["EVID"] == "0" and row["MDV"] == "0" and row["TIME"] in ("22", "46")]
    estimate = map_estimate(
        MODEL.population,
        covariates={"weight_kg": float(own[0]["WT"])},
        infusions=course,
        times_day=[float(row["TIME"]) / 24 for row in used],
        concentrations=[float(row["DV"]) for row in used],
    )
    for name, eta in estimate.etas.items():
        assert float(own[0][f"ETA{name.upper()}"]) == pytest.approx(eta, abs=1e-5)
    assert own[0]["ETAKM"] == "." and own[0]["NLEVELS"] == "2" and own[0]["MODELV"] == "1"
    names = ("cl", "v1", "q", "v2", "vmax", "km")
    individual = Parameters(**{name: float(own[0][f"I{name.upper()}"]) for name in names})
    areas = exposure(individual, course, graft_day=graft / 24, until_day=graft / 24 + 60)
    for column, area in (("AUCPRE", areas.pre), ("AUCPOST", areas.post), ("AUCTOT", areas.total)):
        assert float(own[0][column]) == pytest.approx(float(np.ravel(area)[0]), rel=1e-5)
    assert archive.files == export(guided, guided.dora, "nonmem", "nonmem_map").files


@database
def test_without_a_set_the_file_with_estimates_says_why_there_is_none(guided: World) -> None:
    participant = guided.enrolled()
    infuse(guided, participant, 1, 19, comment="given without a release")
    level(guided, participant, "3.4", in_march(20, 8))
    archive = export(guided, guided.dora, "nonmem_map")
    (whose,) = archive.rows("nonmem_map.csv")
    assert "no parameter set" in whose["no_estimate"] and whose["levels_used"] == "0"
    assert {row["ICL"] for row in archive.rows("nonmem_map_1.csv")} == {"."}
