"""What a participant's exposure rests on: infusions given and planned, levels, covariates, the parameters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import yaml

from dosing.domain.figures.pk_curve import Dose, Sample
from dosing.domain.level_guided import NOT_DETECTED, LevelSample
from dosing.domain.model_files import COVARIATES, to_model
from dosing.domain.nomogram import sha256
from dosing.domain.noncompartmental import MeasuredExposure, measured_exposure
from dosing.domain.pharmacokinetics import Infusion, exposure
from dosing.domain.population import Estimate, PopulationModel, map_estimate
from dosing.domain.predicted_exposure import Predicted, PredictedExposure, predicted_exposure
from dosing.models import DoseWorksheet, DosingModel
from dosing.permissions import synthetic_allowed
from dosing.selectors.questions import active_model, dosing_of, graft_moment, levels_of
from dosing.selectors.records import administrations_of, course_end, current_worksheet, input_of, plan_of_record
from trials.domain.definition import Target
from trials.models import Participant

PARAMETER_SETS = Path(__file__).resolve().parents[1] / "parameter_sets"
#: Where only the day is known: from this hour a planned infusion runs for so long.
PLANNED_AT, PLANNED_HOURS = time(10), 8
UNTIL_DAY = 60
#: Of the simulation behind an interval: the same facts give the same numbers.
SEED = 20_261_128
CURVE_STEP_DAY, FINE_UNTIL_DAY = 0.25, 3


@dataclass(frozen=True)
class ParameterSet:
    """A model with the hash of what it was read from, and the unit and assay that its areas are in.

    ``amount_per_mg`` brings a dose into the set's own amount; it is part of the set, for its assay alone.
    """

    model: PopulationModel
    sha256: str
    id: str
    level_unit: str
    assay: str = ""
    amount_per_mg: float = 1.0
    analyte: str = ""
    version: int = 0
    is_synthetic: bool = False

    @property
    def area_unit(self) -> str:
        """The unit of an area under levels: mg/L gives mg·day/L."""
        amount, _, volume = self.level_unit.partition("/")
        return f"{amount}·day/{volume}"


@cache
def _illustrative() -> ParameterSet:
    text = (PARAMETER_SETS / "illustrative-1.yaml").read_bytes()
    model = PopulationModel.from_dict(yaml.safe_load(text))
    return ParameterSet(
        model, hashlib.sha256(text).hexdigest(), str(model.descriptions["id"]), "mg/L", is_synthetic=True
    )


def illustrative_set() -> ParameterSet:
    """The set that is shipped: invented, for research pages and fictitious trials only."""
    return _illustrative()


def parameter_set_of(participant: Participant) -> ParameterSet | None:
    """The set in force that the participant's algorithm names; for a fictitious trial without one, the invented set."""
    return _in_force(participant) or (illustrative_set() if synthetic_allowed(participant.trial) else None)


def _in_force(participant: Participant) -> ParameterSet | None:
    spec = dosing_of(participant)
    code = spec.parameters.get("algorithm") if spec is not None else None
    algorithm = active_model(participant.trial, code) if isinstance(code, str) else None
    if algorithm is None or algorithm.kind == DosingModel.Kind.PARAMETERS:
        return None
    row = active_model(participant.trial, str(algorithm.content.get("parameter_set") or ""))
    if row is None or row.kind != DosingModel.Kind.PARAMETERS or sha256(row.content) != row.sha256:
        return None
    if row.is_synthetic and not synthetic_allowed(participant.trial):
        return None
    found = to_model(row.content, str(row))
    return ParameterSet(
        model=found.population,
        sha256=found.sha256,
        id=found.name,
        level_unit=found.level_unit,
        assay=found.assay,
        amount_per_mg=found.amount_per_mg,
        analyte=found.analyte,
        version=row.version,
        is_synthetic=row.is_synthetic,
    )


@dataclass(frozen=True)
class TargetLine:
    """A target of the protocol beside the exposure. ``why_not`` says why the two are not compared."""

    target: Target
    why_not: str
    share_inside: float | None
    is_inside: bool | None

    @property
    def share_percent(self) -> str:
        return "" if self.share_inside is None else f"{100 * self.share_inside:.0f}"


@dataclass(frozen=True, eq=False)
class MeasuredLevels:
    """The levels of the set's own unit and assay, days from the graft, and what they lead to.

    ``samples`` are all that are drawn; ``unused`` says of each level that the estimate leaves out why.
    ``measured`` is the exposure without a model.
    """

    samples: tuple[Sample, ...] = ()
    unused: tuple[str, ...] = ()
    estimate: Estimate | None = None
    measured: MeasuredExposure | None = None

    @property
    def used(self) -> int:
        return self.estimate.samples if self.estimate is not None else 0

    @property
    def extrapolated_percent(self) -> str:
        share = self.measured.extrapolated_share if self.measured is not None else None
        return "" if share is None else f"{100 * share:.0f}"


@dataclass(frozen=True, eq=False)
class ParticipantExposure:
    """The predicted exposure of one participant, or the sentences that say what is missing for one."""

    drug: str
    missing: tuple[str, ...]
    parameters: ParameterSet | None
    covariates: tuple[tuple[str, str], ...]
    doses: tuple[Dose, ...]
    predicted: PredictedExposure | None
    targets: tuple[TargetLine, ...]
    planned_words: str
    graft_on: date | None
    plan: DoseWorksheet | None
    levels: MeasuredLevels

    @property
    def predicted_parts(self) -> list[tuple[str, Predicted]]:
        """The three windows with their words."""
        if self.predicted is None:
            return []
        of = self.predicted
        return [("Before the graft", of.pre), ("After the graft", of.post), ("In total", of.total)]

    @property
    def covariate_words(self) -> list[tuple[str, str]]:
        """The covariates as the plan has them: label, value and unit."""
        stored = {one["id"]: one for one in self.plan.inputs["covariates"]} if self.plan is not None else {}
        return [(stored[name]["label"], f"{value} {stored[name]['unit']}".strip()) for name, value in self.covariates]

    @property
    def area_unit(self) -> str:
        return self.parameters.area_unit if self.parameters is not None else ""

    @property
    def tail_percent(self) -> str:
        return f"{100 * self.predicted.tail:.1f}" if self.predicted is not None else ""


def exposure_of(participant: Participant) -> ParticipantExposure:
    """The exposure from what was given and what is still planned; nothing is guessed where a fact is missing."""
    spec = dosing_of(participant)
    drug = spec.product if spec is not None else ""
    plan = plan_of_record(participant) or current_worksheet(participant)
    if plan is not None and plan.is_refused:
        plan = None
    graft_on = participant.anchor_date
    missing = []
    parameters = parameter_set_of(participant)
    if parameters is None:
        missing.append(
            "No parameter set is in force for this participant’s rule. The set that is shipped is invented, and "
            "computes nothing for a real person."
        )
    if graft_on is None:
        missing.append("The day of the graft is not known, so that exposure cannot be divided into before and after.")
    graft_at, graft_has_time = graft_moment(participant, participant.protocol, graft_on)
    zone = ZoneInfo(participant.site.time_zone)
    graft = graft_at.replace(tzinfo=zone).astimezone(UTC) if graft_at is not None else None
    infusions, doses = _course(participant, plan, graft) if graft is not None else ([], [])
    if graft_on is not None and not infusions:
        missing.append("No infusion is given or planned.")
    covariates: dict[str, str] = {}
    if parameters is not None:
        for name in parameters.model.covariates:
            value = input_of(plan, name) if plan is not None else ""
            if value:
                covariates[name] = value
            else:
                missing.append(f"The dose was planned without a {COVARIATES[name]}, which the model needs.")
    predicted, levels = None, MeasuredLevels()
    if not missing and parameters is not None and graft is not None:
        given = [
            replace(infusion, amount=infusion.amount * parameters.amount_per_mg)
            for infusion, dose in zip(infusions, doses, strict=True)
            if dose.is_given
        ]
        levels = _levels(participant, parameters, covariates, given, graft)
        predicted = _predicted(parameters, covariates, infusions, levels.estimate)
    return ParticipantExposure(
        drug=drug,
        missing=tuple(missing),
        parameters=parameters,
        covariates=tuple(covariates.items()),
        doses=tuple(doses),
        predicted=predicted,
        targets=tuple(_target_line(one, parameters, predicted) for one in _targets(participant)),
        planned_words=_planned_words(doses, graft_at if graft_has_time else None),
        graft_on=graft_on,
        plan=plan,
        levels=levels,
    )


@dataclass(frozen=True, eq=False)
class EstimatedFromLevels:
    """What all usable levels of a participant say, and the exposure that the given infusions lead to; or why nothing.

    ``standing`` is the plan of record where levels led to a proposal: what was released, or waits for it.
    """

    why_not: str
    parameters: ParameterSet | None = None
    estimate: Estimate | None = None
    pre: float | None = None
    post: float | None = None
    total: float | None = None
    unused: tuple[str, ...] = ()
    standing: DoseWorksheet | None = None

    @property
    def individual(self) -> dict[str, float]:
        """The parameters of this participant by name."""
        if self.estimate is None:
            return {}
        own = self.estimate.parameters
        return {one.name: float(np.ravel(getattr(own, one.name))[0]) for one in fields(own)}


def estimated_from_levels(participant: Participant) -> EstimatedFromLevels:
    """The estimate as on the page of the exposure, with the exposure of what was given alone: nothing planned."""
    record = plan_of_record(participant)
    guided = (record.result.get("guided") or {}) if record is not None else {}
    standing = record if guided.get("proposal") else None
    plan = record or current_worksheet(participant)
    parameters = parameter_set_of(participant)
    if parameters is None or not parameters.analyte:
        return EstimatedFromLevels("no parameter set of levels is in force", parameters, standing=standing)
    graft_at, _ = graft_moment(participant, participant.protocol, participant.anchor_date)
    if graft_at is None:
        return EstimatedFromLevels("the day of the graft is not known", parameters, standing=standing)
    graft = graft_at.replace(tzinfo=ZoneInfo(participant.site.time_zone)).astimezone(UTC)
    infusions, doses = _course(participant, None, graft)
    given = [
        replace(infusion, amount=dose.mg * parameters.amount_per_mg)
        for infusion, dose in zip(infusions, doses, strict=True)
    ]
    covariates = {name: input_of(plan, name) if plan is not None else "" for name in parameters.model.covariates}
    lacking = [name for name, value in covariates.items() if not value]
    if not given or lacking:
        why = f"the dose plan has no {', '.join(lacking)}" if given else "no infusion is recorded"
        return EstimatedFromLevels(why, parameters, standing=standing)
    levels = _levels(participant, parameters, covariates, given, graft)
    if levels.estimate is None:
        return EstimatedFromLevels("no level can be used", parameters, unused=levels.unused, standing=standing)
    areas = exposure(levels.estimate.parameters, given, graft_day=0.0, until_day=UNTIL_DAY)
    pre, post, total = (float(np.ravel(part)[0]) for part in (areas.pre, areas.post, areas.total))
    return EstimatedFromLevels("", parameters, levels.estimate, pre, post, total, levels.unused, standing)


def _course(participant: Participant, plan: DoseWorksheet | None, graft: datetime) -> tuple[list[Infusion], list[Dose]]:
    """Infusions on a clock whose 0 is the graft: those given at their exact times, and the planned that are open."""
    zone = ZoneInfo(participant.site.time_zone)

    def day(moment: datetime) -> float:
        return (moment.astimezone(UTC) - graft) / timedelta(days=1)

    given = list(administrations_of(participant).filter(is_void=False))
    doses = [Dose(day(one.started_at), day(one.stopped_at), float(one.dose_mg), is_given=True) for one in given]
    if plan is not None and course_end(participant) is None:
        done = {one.infusion for one in given}
        for number, planned in enumerate(plan.result["days"], start=1):
            if number not in done:
                start = datetime.combine(date.fromisoformat(planned["on"]), PLANNED_AT, tzinfo=zone)
                stop = start.astimezone(UTC) + timedelta(hours=PLANNED_HOURS)
                doses.append(Dose(day(start), day(stop), float(planned["mg"]), is_given=False))
    doses.sort(key=lambda dose: dose.start_day)
    return [Infusion(dose.start_day, dose.end_day - dose.start_day, dose.mg) for dose in doses], doses


def _planned_words(doses: list[Dose], graft_at: datetime | None) -> str:
    planned = sum(not dose.is_given for dose in doses)
    said = (
        f"The graft is at its recorded time, {graft_at:%H:%M} of day 0."
        if graft_at is not None
        else "The time of the graft is not recorded and taken as 12:00 of day 0."
    )
    if not planned:
        return said
    return f"{planned} planned infusions are taken to run from 10:00 for 8 hours. {said}"


def _levels(
    participant: Participant,
    parameters: ParameterSet,
    covariates: dict[str, str],
    given: list[Infusion],
    graft: datetime,
) -> MeasuredLevels:
    """The levels that are the set's own; the rest is named with the reason, and nothing is converted."""
    if not parameters.analyte:
        return MeasuredLevels()
    samples: list[Sample] = []
    unused: list[str] = []
    days: list[float] = []
    values: list[float] = []
    for level, point in levels_of(participant, parameters.analyte):
        day = (point.sampled_at - graft) / timedelta(days=1)
        why_never = _why_not_drawn(level, parameters)
        if why_never:
            unused.append(f"{level.words()}: {why_never}")
            continue
        below = level.is_below_limit
        shown = level.limit if below and level.limit is not None else level.value
        said = f"{level.words()}, below the limit of quantification" if below else level.words()
        samples.append(Sample(day, float(shown), said, below))
        why_not = _why_not_used(day, below, day in days, given)
        if why_not:
            unused.append(f"{level.words()}: {why_not}")
            continue
        days.append(day)
        values.append(float(level.value))
    estimate = None
    if days:
        try:
            estimate = map_estimate(
                parameters.model,
                covariates={name: float(value) for name, value in covariates.items()},
                infusions=given,
                times_day=days,
                concentrations=values,
            )
        except ValueError as problem:
            unused.append(f"No estimate can be made: {problem}.")
    measured = None
    if len(days) > 1:
        first = min(one.start_day for one in given)
        measured = measured_exposure(days, values, first_dose_day=first, graft_day=0.0)
    return MeasuredLevels(tuple(samples), tuple(unused), estimate, measured)


def _why_not_drawn(level: LevelSample, parameters: ParameterSet) -> str:
    """A level that does not belong on the set's axis."""
    if (level.unit, level.assay) != (parameters.level_unit, parameters.assay):
        return (
            f"measured by “{level.assay or 'an assay not named'}”, the set is of {parameters.level_unit} by "
            f"“{parameters.assay}”; two assays are never converted into each other."
        )
    if not isinstance(level.taken_at, datetime):
        return "it has a day and no time."
    if level.qualifier == NOT_DETECTED:
        return "" if level.limit is not None else "no limit of quantification says how little that is."
    if level.value <= 0:
        return "a level is above 0; below the limit it is written with “<”."
    return "it is no exact number." if level.qualifier not in ("", "<") else ""


def _why_not_used(day: float, is_below_limit: bool, is_second: bool, given: list[Infusion]) -> str:
    """A level that is drawn and says nothing that an estimate could use."""
    if is_below_limit:
        return "below the limit of quantification; drawn at the limit, never taken as 0."
    if is_second:
        return "a second level of the same moment."
    if not given or day <= min(one.start_day for one in given):
        return "taken before the first recorded infusion."
    # The very start and the very end of an infusion are no time inside it.
    if any(one.start_day < day < one.start_day + one.duration_day for one in given):
        return "taken during an infusion."
    return ""


def _predicted(
    parameters: ParameterSet, covariates: dict[str, str], infusions: list[Infusion], estimate: Estimate | None
) -> PredictedExposure:
    first = min(infusion.start_day for infusion in infusions)
    # Finely while the drug is given and passes the graft, by whole days on the long tail.
    grid = np.append(
        np.arange(np.floor(first), FINE_UNTIL_DAY, CURVE_STEP_DAY), np.arange(FINE_UNTIL_DAY, UNTIL_DAY + 1)
    )
    edges = [edge for infusion in infusions for edge in (infusion.start_day, infusion.end_day)]
    return predicted_exposure(
        parameters.model,
        covariates={name: float(value) for name, value in covariates.items()},
        infusions=[replace(one, amount=one.amount * parameters.amount_per_mg) for one in infusions],
        graft_day=0.0,
        until_day=UNTIL_DAY,
        times_day=np.unique(np.concatenate([grid, edges])),
        seed=SEED,
        estimate=estimate,
        draws=500,
    )


def _targets(participant: Participant) -> list[Target]:
    """The protocol's targets of exposure before, after and around the graft."""
    return [one for one in participant.protocol.targets if one.quantity == "auc" and one.window in _WINDOWS]


_WINDOWS = ("pre", "post", "total")


def _target_line(target: Target, parameters: ParameterSet | None, predicted: PredictedExposure | None) -> TargetLine:
    if parameters is None or predicted is None:
        return TargetLine(target, "There is no exposure to compare.", None, None)
    if (parameters.area_unit, parameters.assay) != (target.unit, target.assay):
        why = (
            f"The model’s areas are in {parameters.area_unit} (assay: {parameters.assay or 'none'}), the target in "
            f"{target.unit} (assay: {target.assay or 'none'}). Two assays are never converted into each other."
        )
        return TargetLine(target, why, None, None)
    low = float(target.low) if target.low is not None else None
    high = float(target.high) if target.high is not None else None
    value = getattr(predicted, target.window).value
    inside = (low is None or value >= low) and (high is None or value <= high)
    return TargetLine(target, "", predicted.share_inside(target.window, low, high), inside)
