"""The table: golden look-ups, boundaries, the refusal beyond them, and the laws that hold at every point.

Golden values: the three look-ups that the description of the demonstration table states (Canopy, dosing/tables).
"""

from __future__ import annotations

import random
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosing.domain.heat_map import heat_map
from dosing.domain.nomogram import Found, from_data, look_up, sha256, to_data
from dosing.domain.refusals import Refusal, Stop
from dosing.domain.table_files import parse_table
from tests.dosing.dose_world import CELLS, DESCRIPTION

DEMO = parse_table(DESCRIPTION, cells=CELLS)
SOURCES = ("bm_pbsc", "cord_blood")


def found(source: str, weight: str, alc: str) -> Found:
    answer = look_up(DEMO, source, Decimal(weight), Decimal(alc))
    assert isinstance(answer, Found), answer
    return answer


@pytest.mark.requirement("DOS1")
@pytest.mark.parametrize(
    "source, weight, alc, mg_per_kg, days",
    [
        ("bm_pbsc", "20", "0.5", "7", 3),
        ("cord_blood", "19.9", "0.49", "5", 2),
        ("cord_blood", "40", "1.5", "6", 3),
        ("bm_pbsc", "3", "0", "6", 3),  # both lowest edges
        ("bm_pbsc", "120", "20", "7", 3),  # both last bands are closed
        ("cord_blood", "120", "0", "2", 1),  # one less than 3, and at least 2
        ("bm_pbsc", "19.999999", "1.499999", "8", 4),
    ],
)
def test_golden_look_ups(source: str, weight: str, alc: str, mg_per_kg: str, days: int) -> None:
    cell = found(source, weight, alc).cell
    assert (cell.total_mg_per_kg, cell.n_days, cell.start_day) == (Decimal(mg_per_kg), days, -9)


@pytest.mark.requirement("DOS1")
@pytest.mark.parametrize("weight, alc", [("2.99", "1"), ("120.01", "1"), ("20", "20.01"), ("0", "0"), ("-5", "1")])
def test_beyond_the_table_there_is_nothing_and_the_refusal_says_the_range(weight: str, alc: str) -> None:
    answer = look_up(DEMO, "bm_pbsc", Decimal(weight), Decimal(alc))
    assert isinstance(answer, Refusal) and answer.code is Stop.OUT_OF_TABLE
    assert "3 to 120 kg and 0 to 20 ×10^9/L" in answer.sentence and "never extrapolated" in answer.sentence


def test_a_graft_without_cells_is_refused() -> None:
    answer = look_up(DEMO, "haplo", Decimal(20), Decimal(1))
    assert isinstance(answer, Refusal) and answer.code is Stop.GRAFT and "bm_pbsc, cord_blood" in answer.sentence


weights = st.decimals("3", "120", places=2)
counts = st.decimals("0", "20", places=3)


def by_hand(source: str, weight: Decimal, alc: Decimal) -> tuple[Decimal, int]:
    """The demonstration table written as arithmetic, a second time and differently."""
    row = 0 if weight < 20 else 1 if weight < 40 else 2
    column = 0 if alc < Decimal("0.5") else 1 if alc < Decimal("1.5") else 2
    total = (6 + 2 * column, 5 + 2 * column, 3 + 2 * column)[row]
    total = max(total - 1, 2) if source == "cord_blood" else total
    return Decimal(total), 1 if total <= 2.5 else 2 if total <= 5 else 3 if total <= 7.5 else 4


@pytest.mark.requirement("DOS1")
def test_a_second_calculation_path_agrees_on_ten_thousand_points() -> None:
    dice = random.Random(1)
    for _ in range(10_000):
        weight, alc = Decimal(dice.randint(300, 12000)) / 100, Decimal(dice.randint(0, 20000)) / 1000
        source = dice.choice(SOURCES)
        cell = found(source, str(weight), str(alc)).cell
        assert (cell.total_mg_per_kg, cell.n_days) == by_hand(source, weight, alc)


@given(weights, counts, st.sampled_from(SOURCES))
def test_every_point_lies_in_exactly_one_cell(weight: Decimal, alc: Decimal, source: str) -> None:
    cell = found(source, str(weight), str(alc)).cell
    plane = DEMO.applicability

    def holds(low: Decimal, value: Decimal, high: Decimal, last: Decimal) -> bool:
        return low <= value < high or (value == high == last)

    inside = [
        one
        for one in DEMO.of(source)
        if holds(one.weight_lo, weight, one.weight_hi, plane.weight_kg.high)
        and holds(one.alc_lo, alc, one.alc_hi, plane.alc_1e9_per_l.high)
    ]
    assert inside == [cell]


@given(weights, weights, counts, counts, st.sampled_from(SOURCES))
def test_more_weight_never_means_more_and_more_lymphocytes_never_less(
    one: Decimal, two: Decimal, few: Decimal, many: Decimal, source: str
) -> None:
    light, heavy = sorted((one, two))
    low, high = sorted((few, many))
    assert found(source, str(heavy), str(low)).cell.total_mg_per_kg <= (
        found(source, str(light), str(low)).cell.total_mg_per_kg
    )
    assert found(source, str(light), str(high)).cell.total_mg_per_kg >= (
        found(source, str(light), str(low)).cell.total_mg_per_kg
    )


@pytest.mark.parametrize("source", SOURCES)
def test_every_inner_boundary_belongs_to_the_upper_band(source: str) -> None:
    for edge in ("20", "40"):
        assert found(source, edge, "1").cell.weight_lo == Decimal(edge)
    for edge in ("0.5", "1.5"):
        assert found(source, "30", edge).cell.alc_lo == Decimal(edge)


@pytest.mark.parametrize(
    "weight, alc, axes",
    [
        ("30", "1", []),
        ("20", "1", ["weight"]),
        ("20.4", "1", ["weight"]),  # 2 % of 20 is 0.4
        ("20.41", "1", []),
        ("19.6", "1", ["weight"]),
        ("19.59", "1", []),
        ("30", "0.51", ["ALC"]),
        ("30", "0.511", []),
        ("39.5", "1.49", ["weight", "ALC"]),
        ("3", "1", []),  # the outer edges have nothing beyond them
        ("120", "20", []),
    ],
)
def test_near_a_boundary_the_neighbour_is_named(weight: str, alc: str, axes: list[str]) -> None:
    assert [near.axis for near in found("bm_pbsc", weight, alc).near] == axes


def test_the_neighbour_is_the_cell_across_that_boundary() -> None:
    above, below = found("bm_pbsc", "20", "1").near[0].cell, found("bm_pbsc", "19.7", "1").near[0].cell
    assert (above.total_mg_per_kg, below.total_mg_per_kg) == (Decimal(8), Decimal(7))


@pytest.mark.parametrize(
    "limit, mg_per_kg",
    [
        ("0.5", "5"),  # every count below 0.5 lies in the first band
        ("0.1", "5"),  # so does every count below 0.1
        ("0.6", None),  # 0.55 would give another dose
        ("1.5", None),  # two whole bands are possible
        ("30", None),
    ],
)
def test_a_count_below_the_limit_of_the_assay_needs_one_cell(limit: str, mg_per_kg: str | None) -> None:
    answer = look_up(DEMO, "bm_pbsc", Decimal(30), Decimal(limit), alc_is_below=True)
    if mg_per_kg is None:
        assert isinstance(answer, Refusal) and answer.code is Stop.AMBIGUOUS
    else:
        assert isinstance(answer, Found) and answer.cell.total_mg_per_kg == Decimal(mg_per_kg)


def test_the_canonical_form_reads_back_and_ignores_order_and_trailing_zeros() -> None:
    head, *rows = [line for line in CELLS.splitlines() if not line.startswith("#")]
    shuffled = "\n".join([head, *reversed(rows)]).replace(",0.5,", ",0.50,").replace(",20,", ",20.0,")
    again = parse_table(DESCRIPTION, cells=shuffled)
    assert sha256(to_data(again)) == sha256(to_data(DEMO))
    assert from_data(to_data(DEMO)) == from_data(to_data(again))


def test_any_change_of_a_cell_changes_the_hash() -> None:
    known = {sha256(to_data(DEMO))}
    for line in CELLS.splitlines()[2:]:
        *front, start = line.split(",")
        moved = CELLS.replace(line, ",".join([*front, str(int(start) + 1)]))
        known.add(sha256(to_data(parse_table(DESCRIPTION, cells=moved))))
    assert len(known) == 19


def test_the_picture_shows_every_cell_once_and_rings_one() -> None:
    cell = found("bm_pbsc", "23.4", "0.8").cell
    picture = heat_map(DEMO, "bm_pbsc", ringed=cell)
    assert picture.columns == ("[0, 0.5)", "[0.5, 1.5)", "[1.5, 20]")
    assert [[one.mg_per_kg for one in row.cells] for row in picture.rows] == [
        ["6", "8", "10"],
        ["5", "7", "9"],
        ["3", "5", "7"],
    ]
    ringed = [one for row in picture.rows for one in row.cells if one.is_ringed]
    assert [one.mg_per_kg for one in ringed] == ["7"]
    for row in picture.rows:
        assert all(left.shade < right.shade for left, right in pairwise(row.cells))
