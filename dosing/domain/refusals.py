"""Why no dose is shown: a code for the machine, a sentence for the reader, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stop(StrEnum):
    """The kinds of hard stop."""

    NO_DATE = "no_date"
    MISSING = "missing"
    NOT_A_NUMBER = "not_a_number"
    UNIT = "unit"
    MAGNITUDE = "magnitude"
    STALE = "stale"
    AFTER_FIRST_DOSE = "after_first_dose"
    AMBIGUOUS = "ambiguous"
    OUT_OF_TABLE = "out_of_table"
    GRAFT = "graft"
    NO_TABLE = "no_table"
    TABLE_CHANGED = "table_changed"
    SYNTHETIC = "synthetic"
    PRODUCT = "product"
    NOT_APPLICABLE = "not_applicable"
    BOUNDS = "bounds"
    ROUNDING = "rounding"
    NO_ALGORITHM = "no_algorithm"
    ALGORITHM_CHANGED = "algorithm_changed"
    UNVERIFIED = "unverified"
    TARGET = "target"
    ASSAY = "assay"
    LEVEL_TIME = "level_time"
    NO_STOP_TIME = "no_stop_time"
    DUPLICATE = "duplicate"
    BELOW_LIMIT = "below_limit"
    TOO_FEW_LEVELS = "too_few_levels"
    LATE = "late"
    NO_ESTIMATE = "no_estimate"
    DEFINITION = "definition"


@dataclass(frozen=True)
class Refusal:
    """One reason why no dose is computed."""

    code: Stop
    sentence: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.sentence} {self.way_out}"
