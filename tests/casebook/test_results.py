"""Laboratory values as they are written, and in the canonical unit."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.domain.results import ResultRefused, VisitWindow, Written, flag, read_result, visit_of_draw
from trials.domain.definition import Analyte

CD4 = Analyte(
    id="CD4", label="CD4", canonical_unit="10^9/L", accepted_units=("cells/µL", "10^6/L"), decimals=3,
    plausible_low=Decimal(0), plausible_high=Decimal(10),
)  # fmt: skip
ALC = Analyte(
    id="ALC", label="ALC", canonical_unit="10^9/L", accepted_units=("cells/µL",), decimals=3,
    plausible_high=Decimal(20), unit_check_above=Decimal(10),
)  # fmt: skip
CREA = Analyte(id="CREA", label="Creatinine", canonical_unit="µmol/L", accepted_units=("mg/dL",), decimals=0)
BILI = Analyte(id="BILI", label="Bilirubin", canonical_unit="mg/dL", accepted_units=("µmol/L",), decimals=2)
ATG = Analyte(id="ATG", form="PC", label="ATG", canonical_unit="UE/mL", per_assay=True)
CMV = Analyte(id="CMV", form="VL", label="CMV DNA", canonical_unit="copies/mL", accepted_units=("IU/mL",))


@pytest.mark.parametrize(
    "analyte, text, unit, value, qualifier",
    [
        # PARACHUTE, Introduction: 50 cells/µL is 0.05 × 10^9/L
        (CD4, "50", "cells/µL", "0.05", ""),
        (CD4, "50", "cells/uL", "0.05", ""),
        (CD4, "50", "10^6/L", "0.05", ""),
        (CD4, "0,050", "10^9/L", "0.05", ""),
        (CD4, "0.05", "x10E9/l", "0.05", ""),
        (CD4, "<10", "cells/µL", "0.01", "<"),
        (CD4, "≤10", "cells/µL", "0.01", "<="),
        (CD4, ">2000", "cells/µL", "2", ">"),
        (CD4, "0", "cells/µL", "0", ""),
        # definitions, common conventions: creatinine mg/dL × 88.4, bilirubin µmol/L ÷ 17.1
        (CREA, "2", "mg/dL", "176.8", ""),
        (BILI, "171", "µmol/L", "10", ""),
        (BILI, "20", "µmol/L", "1.16959064", ""),
    ],
)
def test_a_result_is_read_as_written_and_converted_exactly(
    analyte: Analyte, text: str, unit: str, value: str, qualifier: str
) -> None:
    read = read_result(analyte, Written(text, unit))
    assert (read.value, read.qualifier) == (Decimal(value), qualifier)
    assert read.unit_as_written == unit
    assert read.unit == analyte.canonical_unit


@pytest.mark.parametrize(
    "analyte, written, column, said",
    [
        (ALC, Written("800", "10^9/L"), "unit", "Did the laboratory report it in cells/µL?"),
        (CD4, Written("50"), "unit", "has no unit. Give one of 10^9/L, cells/µL, 10^6/L"),
        (CD4, Written("50", "mg/L"), "unit", "not accepted here"),
        (CMV, Written("500", "IU/mL"), "unit", "cannot be converted"),
        (CD4, Written("", "10^9/L"), "value", "has no value"),
        (CD4, Written("pos", "10^9/L"), "value", "not a number"),
        (CD4, Written("0.0505", "10^9/L"), "value", "4 decimals"),
        (CD4, Written("-1", "10^9/L"), "value", "below zero"),
        (CD4, Written("0.00000001", "cells/µL"), "value", "smaller than 8 decimals"),
        (CD4, Written("50", "cells/µL", "x"), "lower_limit", "not a number"),
        (CD4, Written("50", "cells/µL", "<5"), "lower_limit", "Type the limit alone"),
        (CD4, Written("50", "cells/µL", "900", "300"), "lower_limit", "above the upper limit"),
        (ATG, Written("6.1", "UE/mL", lloq="low"), "lloq", "not a number"),
        (ATG, Written("6.1", "UE/mL", lloq="<0.5"), "lloq", "Type the limit alone"),
        (ATG, Written("6.1", "UE/mL", lloq="0"), "lloq", "no number above 0"),
        (ATG, Written("6.1", "UE/mL", lloq="-0.5"), "lloq", "no number above 0"),
        (ATG, Written("<0.5", "UE/mL", lloq="0.4"), "lloq", "name two limits"),
        (ATG, Written("not detected", lloq="0.5"), "unit", "has no unit"),
    ],
)
def test_what_is_refused_names_the_part_that_is_wrong(
    analyte: Analyte, written: Written, column: str, said: str
) -> None:
    with pytest.raises(ResultRefused) as refused:
        read_result(analyte, written)
    assert refused.value.column == column
    assert said in str(refused.value)


@pytest.mark.requirement("DOS16")
@pytest.mark.parametrize(
    ("analyte", "written", "value", "qualifier", "lloq"),
    [
        (ATG, Written("6.1", "UE/mL", lloq="0.5"), "6.1", "", "0.5"),
        (ATG, Written("<0.5", "UE/mL", lloq="0,50"), "0.5", "<", "0.5"),
        (ATG, Written("<0.5", "UE/mL"), "0.5", "<", None),
        (ATG, Written("not detected", "UE/mL", lloq="0.5"), None, "nd", "0.5"),
        (CD4, Written("50", "cells/µL", lloq="10"), "0.05", "", "0.01"),
    ],
)
def test_the_limit_of_quantification_is_kept_in_the_unit_of_its_result(
    analyte: Analyte, written: Written, value: str | None, qualifier: str, lloq: str | None
) -> None:
    read = read_result(analyte, written)
    assert (read.value, read.qualifier) == (Decimal(value) if value else None, qualifier)
    assert (read.lloq, read.lloq_as_written) == (Decimal(lloq) if lloq else None, written.lloq)


def test_a_number_below_its_limit_of_quantification_is_kept_and_asked_about() -> None:
    read = read_result(ATG, Written("0.3", "UE/mL", lloq="0.5"))
    assert (read.value, read.qualifier, read.lloq) == (Decimal("0.3"), "", Decimal("0.5"))
    assert "below its limit of quantification, 0.5" in read.questions[0]


def test_no_result_is_a_reason_and_not_a_value() -> None:
    read = read_result(CD4, Written("nd"))
    assert (read.value, read.missing_reason) == (None, "ND")


def test_an_unusual_value_is_kept_and_asked_about() -> None:
    read = read_result(CD4, Written("11", "10^9/L"))
    assert read.value == 11
    assert read.questions == ("CD4: 11 10^9/L is unusually high. Check the value and its unit.",)


@pytest.mark.parametrize(
    "value, qualifier, lower, upper, expected",
    [
        ("0.3", "", "1.2", "5", "L"),
        ("1.2", "", "1.2", "5", ""),
        ("1.2", "<", "1.2", "5", "L"),
        ("5", "", "1.2", "5", ""),
        ("5", ">", "1.2", "5", "H"),
        ("5.1", "", "1.2", "5", "H"),
        ("0.3", "", None, None, ""),
        ("0.3", ">", "1.2", None, ""),
        (None, "", "1.2", "5", ""),
    ],
)
def test_flags(value: str | None, qualifier: str, lower: str | None, upper: str | None, expected: str) -> None:
    known = [None if text is None else Decimal(text) for text in (value, lower, upper)]
    assert flag(known[0], qualifier, known[1], known[2]) == expected


def window(code: str, first: int, last: int, planned: int | None, *addresses: str) -> VisitWindow:
    days = [date(2026, 3, 1).replace(day=day) if day else None for day in (first, last, planned or 0)]
    return VisitWindow(code, days[0], days[1], days[2], frozenset(addresses))


@pytest.mark.parametrize(
    "day, expected",
    [(7, "W1"), (4, "W1"), (10, "W1"), (11, "W2"), (3, None), (13, "W2"), (12, "W2")],
)
def test_the_visit_of_a_draw_is_the_nearest_whose_window_holds_it(day: int, expected: str | None) -> None:
    windows = [
        window("W1", 4, 10, 7, "LB.CD4"),
        window("W2", 11, 17, 14, "LB.CD4"),
        window("X", 1, 28, 12, "LB.ALT"),
        VisitWindow("OPEN", None, None, None, frozenset({"LB.CD4"})),
    ]
    assert visit_of_draw(date(2026, 3, day), ["LB.CD4"], windows) == expected


@given(cells=st.integers(min_value=0, max_value=100_000))
def test_cells_per_microlitre_and_billions_per_litre_are_one_value(cells: int) -> None:
    written = read_result(CD4, Written(str(cells), "cells/µL"))
    canonical = read_result(CD4, Written(f"{Decimal(cells) / 1000:f}", "10^9/L"))
    assert written.value == canonical.value == Decimal(cells) / 1000


@pytest.mark.parametrize("text", ["not detected", "Negative", "neg"])
def test_an_assay_that_found_nothing_gives_a_result_without_a_number(text: str) -> None:
    """A viral load "not detected" is neither zero nor missing: which number it lies below, only its assay knows."""
    virus = Analyte(id="CMV", form="VL", label="CMV DNA", canonical_unit="copies/mL", per_assay=True)
    read = read_result(virus, Written(text, "copies/mL"))
    assert (read.value_as_written, read.qualifier, read.value, read.missing_reason) == (text, "nd", None, "")
    cells = Analyte(id="CD4", label="CD4", canonical_unit="10^9/L")
    with pytest.raises(ResultRefused, match="not a number"):
        read_result(cells, Written(text, "10^9/L"))
