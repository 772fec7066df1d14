"""A complete question to a level-guided dose, from which each test takes something away or adds to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from dosing.domain.level_guided import GivenInfusion, LevelQuestion, LevelSample
from dosing.domain.model_files import parse_model, to_algorithm, to_model
from trials.domain.definition import Target

D = Decimal
DOSING = Path(__file__).resolve().parents[2] / "dosing"
SET_TEXT = (DOSING / "parameter_sets" / "practice-atg.yaml").read_text()
ALGORITHM_TEXT = (DOSING / "algorithms" / "practice_sponsor.yaml").read_text()
MODEL = to_model(parse_model(SET_TEXT).content, "practice_atg v1")
ALGORITHM = to_algorithm(parse_model(ALGORITHM_TEXT).content, "sponsor v1")
ASSAY = "Chinese programme"
TARGET = Target(
    id="active_atg_total",
    analyte="PC.AUC_TOTAL",
    quantity="auc",
    window="total",
    low=D(100),
    high=D("148.5"),
    unit="UE·day/mL",
    assay=ASSAY,
)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A moment of March 2025; the graft is on the 24th at noon, so that day -5 is the 19th."""
    return datetime(2025, 3, day, hour, minute)  # noqa: DTZ001  (the site's time)


FIRST = LevelSample(D("3.4"), "UE/mL", ASSAY, at(20, 8))
SECOND = LevelSample(D("6.1"), "UE/mL", ASSAY, at(21, 8))
DOSES = (
    GivenInfusion(-5, at(19, 10), at(19, 16), D(150)),
    GivenInfusion(-4, at(20, 10), at(20, 16), D(150)),
)
WHOLE = LevelQuestion(
    algorithm=ALGORITHM,
    model=MODEL,
    target=TARGET,
    product="rabbit_atg",
    weight_kg=D(60),
    covariates={"weight_kg": 60.0},
    levels=(FIRST, SECOND),
    infusions=DOSES,
    measured_days=(-5, -4),
    open_days=(-3, -2),
    graft_at=at(24, 12),
    may_use_unverified=True,
)


def changed(**changes: Any) -> LevelQuestion:
    return replace(WHOLE, **changes)


def second(**changes: Any) -> LevelQuestion:
    """The question with the second level changed."""
    return replace(WHOLE, levels=(FIRST, replace(SECOND, **changes)))
