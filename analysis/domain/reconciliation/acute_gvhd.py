"""Grade, risk and gut before treatment, and the grade at diagnosis, from the organ stages of the form GV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.domain.acute_gvhd import magic_grade
from analysis.domain.minnesota_risk import risk_of

STAGES = ("SKIN_STAGE", "LIVER_STAGE", "UPPER_GI_STAGE", "LOWER_GI_STAGE")


def described(rows: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, str]:
    """Values such as ``before.GRADE``; of a row whose stages are not all known, none."""
    values: dict[str, str] = {}
    for row in rows.get("GV", ()):
        if not all(row.get(name) for name in STAGES):
            continue
        skin, liver, upper, lower = (int(row[name]) for name in STAGES)
        match row.get("TIMEPOINT"):
            case "before_treatment":
                values["before.GRADE"] = str(magic_grade(skin, liver, upper, lower))
                values["before.MINNESOTA"] = risk_of(skin, liver, upper, lower).value
                values["before.GUT"] = "Y" if max(upper, lower) else "N"
                values["before.LOWER_GUT"] = "Y" if lower else "N"
            case "diagnosis":
                values["diagnosis.GRADE"] = str(magic_grade(skin, liver, upper, lower))
    return values
