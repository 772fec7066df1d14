"""Conversion of units by exact factors, and the refusals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.domain.units import FAMILIES, SUBSTANCES, UnitError, canonical, convert, normalised


@pytest.mark.parametrize(
    ("value", "unit", "to", "analyte", "result"),
    [
        # PARACHUTE, Introduction and Outcomes: 50/µL is 0.05 x 10^9/L.
        ("50", "cells/µL", "10^9/L", "CD4", "0.05"),
        ("50", "/mm3", "10^9/L", "CD4", "0.05"),
        ("50", "10^6/L", "10^9/L", "CD4", "0.05"),
        ("0.012", "10^9/L", "cells/µL", "CD4", "12"),
        # Sorror 2005, renal item: creatinine 2 mg/dL is 176.8 µmol/L.
        ("2", "mg/dL", "µmol/L", "CREA", "176.8"),
        ("176.8", "µmol/L", "mg/dL", "CREA", "2"),
        # MAGIC liver stage 1 starts at bilirubin 2 mg/dL.
        ("34.2", "µmol/L", "mg/dL", "BILI", "2"),
        ("10", "g/dL", "g/L", "HGB", "100"),
        ("0.8", "g/dL", "g/L", "ALB", "8"),
        ("4.5", "mEq/L", "mmol/L", "K", "4.5"),
        # PARACHUTE, Procedures: busulfan AUC; 1 mg·h/L of 246.3 g/mol is 243.6 µmol·min/L.
        ("1", "mg·h/L", "µmol·min/L", "BUSULFAN_AUC", "243.6"),
        ("2500", "g", "kg", "", "2.5"),
    ],
)
def test_conversion(value: str, unit: str, to: str, analyte: str, result: str) -> None:
    assert convert(Decimal(value), unit=unit, to=to, analyte=analyte) == Decimal(result)


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("cells/uL", "cells/µL"),
        ("x10^9/L", "10^9/L"),
        ("10E9/L", "10^9/L"),
        ("10*9/L", "10^9/L"),
        ("cells/mm3", "/mm3"),
        ("mm³", "mm³".replace("³", "3")),
        ("umol/l", "µmol/L"),
        ("mg/dl", "mg/dL"),
        ("KG", "kg"),
        ("μg/L", "µg/L"),
    ],
)
def test_spellings(written: str, unit: str) -> None:
    assert normalised(written) == unit


@pytest.mark.parametrize(
    ("unit", "to", "analyte"),
    [
        ("copies/mL", "IU/mL", "CMV"),
        ("AU·day/mL", "UE·day/mL", "ATG_ACTIVE"),
        ("mg/dL", "µmol/L", ""),
        ("kg", "cm", ""),
        ("stone", "kg", ""),
        ("mEq/L", "mmol/L", "CA"),
    ],
)
def test_no_factor_no_conversion(unit: str, to: str, analyte: str) -> None:
    with pytest.raises(UnitError):
        convert(Decimal(1), unit=unit, to=to, analyte=analyte)


def test_unit_outside_the_list_is_refused_with_the_list() -> None:
    with pytest.raises(UnitError, match=r"Use 10\^9/L, cells/µL"):
        canonical(Decimal(1), unit="10^6/L", canonical_unit="10^9/L", accepted=["cells/µL"])


families = st.sampled_from(sorted(FAMILIES)).flatmap(
    lambda name: st.tuples(st.sampled_from(sorted(FAMILIES[name])), st.sampled_from(sorted(FAMILIES[name])))
)


@given(families, st.decimals("-1000", "1000", places=3))
def test_there_and_back_is_the_same_value(pair: tuple[str, str], value: Decimal) -> None:
    unit, other = pair
    there = convert(value, unit=unit, to=other)
    assert abs(convert(there, unit=other, to=unit) - value) <= abs(value) * Decimal("1e-24")


@pytest.mark.parametrize("analyte", sorted(SUBSTANCES))
def test_substances_go_there_and_back(analyte: str) -> None:
    left, right, _ = SUBSTANCES[analyte]
    back = convert(convert(Decimal(7), unit=left, to=right, analyte=analyte), unit=right, to=left, analyte=analyte)
    assert abs(back - 7) < Decimal("1e-20")
