"""Units and their conversion, by exact decimal factors; the only place where a unit is converted.

Laboratory grades are read in the unit the laboratory reported, before any conversion: the printed limits of the two
systems are rounded apart. Viral loads in copies/mL and IU/mL, and active ATG in AU and UE, belong to different assays
and have no factor between them on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache


class UnitError(ValueError):
    """A unit that is not known here, or cannot be converted; the message lists those that can."""


_D = Decimal
#: Units of one kind, and how many of the first unit one of each is.
FAMILIES: dict[str, dict[str, Decimal]] = {
    "cell count": {
        "10^9/L": _D(1),
        "10^6/L": _D("0.001"),
        "cells/µL": _D("0.001"),
        "/mm3": _D("0.001"),
        "10^3/µL": _D(1),
    },
    "mass concentration": {
        "g/L": _D(1),
        "g/dL": _D(10),
        "mg/dL": _D("0.01"),
        "mg/L": _D("0.001"),
        "mg/mL": _D(1),
        "µg/mL": _D("0.001"),
        "µg/L": _D("0.000001"),
        "ng/mL": _D("0.000001"),
    },
    "substance concentration": {"mmol/L": _D(1), "µmol/L": _D("0.001")},
    "enzyme activity": {"U/L": _D(1), "IU/L": _D(1), "µkat/L": _D(60)},
    "mass": {"mg": _D(1), "g": _D(1000), "µg": _D("0.001"), "kg": _D(1_000_000)},
    "body mass dose": {"mg/kg": _D(1), "µg/kg": _D("0.001")},
    "daily dose": {"mg/day": _D(1), "g/day": _D(1000)},
    "daily body mass dose": {"mg/kg/day": _D(1)},
    "surface dose": {"mg/m2": _D(1)},
    "length": {"cm": _D(1), "m": _D(100), "mm": _D("0.1")},
    "volume": {"mL": _D(1), "L": _D(1000)},
    "daily volume": {"mL/day": _D(1), "L/day": _D(1000)},
    "daily volume per body mass": {"mL/kg/day": _D(1)},
    "frequency": {"episodes/day": _D(1)},
    "temperature": {"°C": _D(1)},
    "pressure": {"mmHg": _D(1)},
    "radiation dose": {"Gy": _D(1), "cGy": _D("0.01")},
    "fraction": {"%": _D(1)},
    "ratio": {"ratio": _D(1)},
    "index": {"index": _D(1)},
    "time": {"days": _D(1), "weeks": _D(7)},
    "age": {"years": _D(1)},
    "clotting time": {"s": _D(1)},
    "graft cells": {"10^8/kg": _D(1), "10^6/kg": _D("0.01")},
    "viral load in copies": {"copies/mL": _D(1)},
    "viral load in international units": {"IU/mL": _D(1)},
    "active ATG, Dutch assay": {"AU/mL": _D(1)},
    "active ATG exposure, Dutch assay": {"AU·day/mL": _D(1)},
    "active ATG, Chinese assay": {"UE/mL": _D(1)},
    "active ATG exposure, Chinese assay": {"UE·day/mL": _D(1)},
    "mass exposure": {"mg·h/L": _D(1)},
    "substance exposure": {"µmol·min/L": _D(1)},
    "money": {"RMB": _D(1)},
}

#: Analyte: units of two families that one amount of it joins. One of the left is ``factor`` of the right.
SUBSTANCES: dict[str, tuple[str, str, Decimal]] = {
    "BILI": ("mg/dL", "µmol/L", _D("17.1")),
    "CREA": ("mg/dL", "µmol/L", _D("88.4")),
    "HGB": ("g/dL", "mmol/L", _D("0.6206")),
    "GLUC": ("mmol/L", "mg/dL", _D("18.016")),
    "CA": ("mmol/L", "mg/dL", _D("4.008")),
    "CA_ION": ("mmol/L", "mg/dL", _D("4.008")),
    "MG": ("mmol/L", "mg/dL", _D("2.4305")),
    "PHOS": ("mmol/L", "mg/dL", _D("3.0974")),
    "TRIG": ("g/L", "mmol/L", _D("1.129")),
    "CHOL": ("g/L", "mmol/L", _D("2.586")),
    # 1 mg·h/L of busulfan (246.3 g/mol) is 243.6 µmol·min/L.
    "BUSULFAN_AUC": ("mg·h/L", "µmol·min/L", _D("243.6")),
}
#: An ion of one charge: a milliequivalent is a millimole.
MONOVALENT = ("K", "NA", "CL")

_FAMILY_OF = {unit: family for family, units in FAMILIES.items() for unit in units}


@lru_cache(maxsize=4096)
def normalised(unit: str) -> str:
    """One spelling per unit: ``x10E9/l``, ``10*9/L`` and ``10^9/L`` are the same.

    >>> normalised("cells/uL"), normalised("x10E9/l")
    ('cells/µL', '10^9/L')
    """
    text = unit.strip().replace("μ", "µ").replace("²", "2").replace("³", "3")
    text = re.sub("^(?:x|\N{MULTIPLICATION SIGN})\\s*", "", text)
    text = re.sub(r"10(?:\^|\*\*|\*|[eE])\s*([0-9]+)", r"10^\1", text)
    text = re.sub(r"\bu(?=(?:L|l|g|mol|kat)\b)", "µ", text)
    text = re.sub(r"(?<=[/µdm])l\b", "L", text)
    text = {"cells/mm3": "/mm3", "/µL": "cells/µL", "10^3/mm3": "10^3/µL", "mm^3": "/mm3"}.get(text, text)
    lowered = {known.lower(): known for known in _FAMILY_OF}
    return text if text in _FAMILY_OF or text == "mEq/L" else lowered.get(text.lower(), text)


def is_known(unit: str) -> bool:
    return normalised(unit) in _FAMILY_OF or normalised(unit) == "mEq/L"


def convert(value: Decimal, *, unit: str, to: str, analyte: str = "") -> Decimal:
    """``value`` of ``unit`` expressed in ``to``; a mass becomes an amount of substance only for a named ``analyte``.

    Raises UnitError where there is no factor.

    >>> convert(Decimal(50), unit="cells/µL", to="10^9/L")           # PARACHUTE, Introduction: 50/µL is 0.05
    Decimal('0.050')
    >>> convert(Decimal(2), unit="mg/dL", to="µmol/L", analyte="CREA")
    Decimal('176.8')
    """
    source, target = normalised(unit), normalised(to)
    if analyte in MONOVALENT:
        source = "mmol/L" if source == "mEq/L" else source
        target = "mmol/L" if target == "mEq/L" else target
    if source == target and source in _FAMILY_OF:
        return value
    for known in (source, target):
        if known not in _FAMILY_OF:
            raise UnitError(f"Unit “{known}” is not known.")
    if _FAMILY_OF[source] == _FAMILY_OF[target]:
        return _within_family(value, source, target)
    if analyte in SUBSTANCES:
        left, right, factor = SUBSTANCES[analyte]
        families = (_FAMILY_OF[source], _FAMILY_OF[target])
        if families == (_FAMILY_OF[left], _FAMILY_OF[right]):
            return _within_family(_within_family(value, source, left) * factor, right, target)
        if families == (_FAMILY_OF[right], _FAMILY_OF[left]):
            return _within_family(_within_family(value, source, right) / factor, left, target)
    what = f" of {analyte}" if analyte else ""
    raise UnitError(
        f"“{source}” ({_FAMILY_OF[source]}){what} cannot be converted to “{target}” ({_FAMILY_OF[target]})."
    )


def _within_family(value: Decimal, source: str, target: str) -> Decimal:
    factors = FAMILIES[_FAMILY_OF[source]]
    return value * factors[source] / factors[target] if source != target else value


def canonical(
    value: Decimal, *, unit: str, canonical_unit: str, accepted: Sequence[str] = (), analyte: str = ""
) -> Decimal:
    """``value`` in the canonical unit of an item; a unit outside its list is refused with the list.

    >>> canonical(Decimal(12), unit="cells/uL", canonical_unit="10^9/L", accepted=["cells/µL"])
    Decimal('0.012')
    """
    allowed = [canonical_unit, *(other for other in accepted if other != canonical_unit)]
    if normalised(unit) not in {normalised(one) for one in allowed}:
        raise UnitError(f"Unit “{unit}” is not accepted here. Use {', '.join(allowed)}.")
    return convert(value, unit=unit, to=canonical_unit, analyte=analyte)
