"""The course that a stored proposal speaks of, as it was proposed: later levels and doses change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from dosing.domain.figures.pk_curve import Area, Dose, Sample
from dosing.domain.level_guided import NOT_DETECTED, TAIL_DAYS, LevelSample
from dosing.domain.model_files import to_model
from dosing.domain.pharmacokinetics import Infusion, Parameters, exposure, simulate
from dosing.models import DoseWorksheet, DosingModel

#: Days between two points of the curve, until the end of the steep part and from then on.
STEP_DAY, FINE_UNTIL_DAY, LATER_STEP_DAY = 0.125, 3, 1.0


@dataclass(frozen=True)
class ProposedCourse:
    """Given and proposed infusions, the levels, and the concentration that the estimate from them leads to.

    Days count from the graft; areas are those of the proposed dose, in the unit of the target.
    """

    set_name: str
    set_status: str
    unit: str
    area_unit: str
    days: tuple[float, ...]
    central: tuple[float, ...]
    doses: tuple[Dose, ...]
    samples: tuple[Sample, ...]
    areas: tuple[Area, ...]
    graft_at: datetime
    graft_has_time: bool


def proposed_course(worksheet: DoseWorksheet) -> ProposedCourse | None:
    """The course of a proposal that rests on a parameter set; None for any other worksheet."""
    guide = worksheet.inputs.get("guide") or {}
    proposal = (worksheet.result.get("guided") or {}).get("proposal")
    if not proposal or not proposal["parameters"]:
        return None
    row = DosingModel.objects.get(
        trial=worksheet.participant.trial_id, code=guide["model"]["code"], version=guide["model"]["version"]
    )
    model = to_model(row.content, str(row))
    graft_at = datetime.fromisoformat(guide["graft_at"])
    doses = _doses(guide, graft_at, float(proposal["mg_each"]))
    infusions = [Infusion(one.start_day, one.end_day - one.start_day, one.mg * model.amount_per_mg) for one in doses]
    parameters = Parameters(**proposal["parameters"])
    until = doses[-1].start_day + TAIL_DAYS
    grid = np.unique(
        np.concatenate(
            [
                np.arange(np.floor(doses[0].start_day), FINE_UNTIL_DAY, STEP_DAY),
                np.arange(FINE_UNTIL_DAY, until, LATER_STEP_DAY),
                [edge for one in doses for edge in (one.start_day, one.end_day)],
            ]
        )
    )
    areas = exposure(parameters, infusions, graft_day=0.0, until_day=until)
    return ProposedCourse(
        set_name=model.name,
        set_status=model.population.status,
        unit=model.level_unit,
        area_unit=proposal["target"]["unit"],
        days=tuple(grid.tolist()),
        central=tuple(simulate(parameters, infusions, grid)[0].tolist()),
        doses=doses,
        samples=_samples(worksheet, graft_at),
        areas=tuple(
            _area(window, float(np.ravel(getattr(areas, window))[0]), proposal) for window in ("pre", "post", "total")
        ),
        graft_at=graft_at,
        graft_has_time=guide["graft_has_time"],
    )


def _days(moment: datetime, graft_at: datetime) -> float:
    return (moment - graft_at) / timedelta(days=1)


def _doses(guide: dict, graft_at: datetime, mg_each: float) -> tuple[Dose, ...]:
    """The infusions that were given, and the proposed ones at the hour and over the time of the last of them."""
    given = [
        Dose(
            _days(datetime.fromisoformat(one["started_at"]), graft_at),
            _days(datetime.fromisoformat(one["stopped_at"]), graft_at),
            float(one["mg"]),
            is_given=True,
        )
        for one in guide["infusions"]
    ]
    last, last_day = given[-1], guide["infusions"][-1]["day"]
    later = [
        Dose(last.start_day + day - last_day, last.end_day + day - last_day, mg_each, is_given=False)
        for day in guide["open_days"]
    ]
    return (*given, *later)


def _samples(worksheet: DoseWorksheet, graft_at: datetime) -> tuple[Sample, ...]:
    """The levels as the worksheet keeps them; one below the limit of quantification stands at the limit."""
    readings = [one for one in worksheet.inputs["covariates"] if one["id"].startswith("level_")]
    found = []
    for reading, kept in zip(readings, worksheet.inputs["guide"]["levels"], strict=True):
        taken_at = datetime.fromisoformat(reading["observed_at"])
        limit = kept.get("lower_limit")
        level = LevelSample(
            value=Decimal(0) if reading["qualifier"] == NOT_DETECTED else Decimal(reading["value"]),
            unit=reading["unit"],
            assay=kept["assay"],
            taken_at=taken_at,
            qualifier=reading["qualifier"],
            lower_limit=Decimal(limit) if limit is not None else None,
        )
        shown = level.limit if level.is_below_limit and level.limit is not None else level.value
        found.append(Sample(_days(taken_at, graft_at), float(shown), level.words(), level.is_below_limit))
    return tuple(found)


def _area(window: str, value: float, proposal: dict) -> Area:
    """One exposure; the window of the target has the target, and the interval that was proposed with it."""
    target = proposal["target"]
    if window != target["window"]:
        return Area(window, value, None, None)
    low, high = proposal["interval"] or (None, None)
    return Area(window, value, low, high, (float(target["low"]), float(target["high"])))
