"""A dose that follows drug levels: from levels, infusions and an approved algorithm to the doses of the open days.

Two kinds of algorithm, both data: ``map`` estimates the patient's own parameters with a named parameter set and finds
the doses that bring the exposure to the target; ``table`` reads the dose of the open days from bands of the last level.
Every level is used as it was measured: unit, assay and analyte must be those of the set, and nothing is converted. What
speaks against a level refuses the whole proposal, and the fixed dose stands. An answer is advice to a prescriber.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal

import numpy as np

from trials.domain.definition import Target

from .nomogram import plain
from .pharmacokinetics import Exposure, Infusion, Parameters, exposure
from .population import SHRINKAGE_LIMIT, Estimate, PopulationModel, map_estimate
from .refusals import Refusal, Stop
from .target_doses import doses_to_target

Moment = datetime | date

#: The interval is of this many draws from the estimate's covariance; the seed makes the same facts the same interval.
DRAWS, SEED = 400, 7648992
INTERVAL = (5.0, 95.0)
#: The exposure ends this many days after the last infusion (dosing model: until 0.1 % of the peak, or 60 days).
TAIL_DAYS = 60.0
#: A draw keeps its time and laboratory: what stands under the wrong ones is taken out by its result, never deleted.
ANEW = "Correct the result to NA, with the reason, and record"
#: The qualifier of a level at which the assay found nothing and gave no number.
NOT_DETECTED = "nd"
#: How the proposed doses are found; whoever reads the numbers should know that they rest on few levels.
ADVICE = "An estimate from few levels is advice to the prescriber, never a precise value."


@dataclass(frozen=True)
class LevelSample:
    """One drug level as the laboratory wrote it, in the site's time; ``lower_limit`` is that of quantification.

    With the qualifier ``nd`` the assay found nothing: then the limit alone says how little that is.
    """

    value: Decimal
    unit: str
    assay: str
    taken_at: Moment
    qualifier: str = ""
    lower_limit: Decimal | None = None
    analyte: str = ""

    def words(self) -> str:
        at = f"{self.taken_at:%d-%b-%Y %H:%M}" if isinstance(self.taken_at, datetime) else f"{self.taken_at:%d-%b-%Y}"
        if self.qualifier == NOT_DETECTED:
            limit = f" (limit {plain(self.lower_limit)} {self.unit})" if self.lower_limit is not None else ""
            return f"“not detected”{limit} of {at}"
        # A number below the limit is told with it: as a number it says nothing.
        below = (
            f" (limit {plain(self.lower_limit)})"
            if self.lower_limit and not self.qualifier and self.is_below_limit
            else ""
        )
        return f"{self.qualifier}{plain(self.value)} {self.unit}{below} of {at}"

    @property
    def is_below_limit(self) -> bool:
        if self.qualifier in ("<", NOT_DETECTED):
            return self.limit is not None
        return self.limit is not None and self.value.is_finite() and self.value < self.limit

    @property
    def limit(self) -> Decimal | None:
        """Below which number the level lies when it is below the limit; None where no limit is known."""
        return self.value if self.qualifier == "<" else self.lower_limit


@dataclass(frozen=True)
class GivenInfusion:
    """One infusion as it was given, in the site's time, with its study day."""

    day: int
    started_at: datetime
    stopped_at: datetime | None
    mg: Decimal


@dataclass(frozen=True)
class LevelModel:
    """A parameter set that speaks of levels: ``amount_per_mg`` (level unit x L for each mg) holds for ``assay`` alone.

    Unit, assay and analyte are part of what the set is; ``is_verified`` is by the set's own status.
    """

    name: str
    sha256: str
    population: PopulationModel
    product: str
    analyte: str
    level_unit: str
    assay: str
    amount_per_mg: float
    is_verified: bool
    is_synthetic: bool


@dataclass(frozen=True)
class LevelBand:
    """One line of an algorithm of kind ``table``: levels from ``low`` to below ``high`` (None: no end)."""

    low: Decimal
    high: Decimal | None
    mg_per_kg: Decimal


@dataclass(frozen=True)
class Algorithm:
    """How levels lead to doses, as approved data; doses are mg/kg a day, ``highest_change`` is a share of the fixed."""

    name: str
    sha256: str
    kind: str
    product: str
    target: str
    fixed_mg_per_kg: Decimal
    lowest_mg_per_kg: Decimal
    highest_mg_per_kg: Decimal
    highest_change: Decimal
    round_to_mg: Decimal
    at_least_levels: int
    highest_level: Decimal
    level_unit: str
    assay: str
    is_verified: bool
    is_synthetic: bool
    parameter_set: str = ""
    bands: tuple[LevelBand, ...] = ()


@dataclass(frozen=True)
class LevelQuestion:
    """Everything that a proposal rests on. ``open_days`` are the study days to be found.

    ``graft_at`` is the planned or real graft; ``covariates`` are numbers by the names that the set knows.
    """

    algorithm: Algorithm
    model: LevelModel | None
    target: Target
    product: str
    weight_kg: Decimal
    covariates: Mapping[str, float]
    levels: tuple[LevelSample, ...]
    infusions: tuple[GivenInfusion, ...]
    measured_days: tuple[int, ...]
    open_days: tuple[int, ...]
    graft_at: datetime
    may_use_unverified: bool


@dataclass(frozen=True)
class Curve:
    """What is needed to draw the estimate: days are counted from the graft, amounts are in the set's own unit."""

    parameters: Parameters
    given: tuple[Infusion, ...]
    planned: tuple[Infusion, ...]
    proposed: tuple[Infusion, ...]
    sample_days: tuple[float, ...]
    sample_levels: tuple[float, ...]
    graft_day: float
    until_day: float


@dataclass(frozen=True)
class Proposal:
    """Doses of the open days in mg, equal on each, with what they are expected to reach.

    Exposures are in the target's unit and None for an algorithm of kind ``table``; ``interval`` is the middle 90 % of
    draws from the estimate's covariance, at the proposed dose. ``limits`` says which cap the dose stands at. ``steps``
    are the exposures that the given doses alone lead to, and then with each open dose after the other.
    """

    mg_each: Decimal
    fixed_mg_each: Decimal
    target: Target
    levels_used: int
    levels_excluded: int
    limits: tuple[str, ...] = ()
    to_date: float | None = None
    at_planned: float | None = None
    at_proposed: float | None = None
    interval: tuple[float, float] | None = None
    steps: tuple[float, ...] = ()
    shrinkage: Mapping[str, float] = field(default_factory=dict)
    etas: Mapping[str, float] = field(default_factory=dict)
    curve: Curve | None = None

    @property
    def mainly_population(self) -> tuple[str, ...]:
        return tuple(name for name, value in self.shrinkage.items() if value > SHRINKAGE_LIMIT)

    @property
    def is_inside(self) -> bool | None:
        """Whether the exposure expected at the proposed dose lies inside the target, both ends included."""
        if self.at_proposed is None or self.target.low is None or self.target.high is None:
            return None
        return float(self.target.low) <= self.at_proposed <= float(self.target.high)


@dataclass(frozen=True)
class Guided:
    """A proposal, or every reason why there is none."""

    proposal: Proposal | None = None
    refusals: tuple[Refusal, ...] = ()


def levels_for(
    samples: Sequence[LevelSample], *, first_at: datetime | None, open_on: date, open_at: datetime | None
) -> tuple[LevelSample, ...]:
    """The levels that may guide the open days, by time: taken before the first of them begins.

    One taken before the first dose is kept, so that it is refused by name. ``open_at`` is the start of the first open
    infusion once it has begun.
    """
    end = open_at or datetime.combine(open_on, datetime.max.time())
    inside = [
        one
        for one in samples
        if (one.taken_at <= end if isinstance(one.taken_at, datetime) else one.taken_at <= end.date())
    ]
    return tuple(sorted(inside, key=_order))


def propose(question: LevelQuestion) -> Guided:
    """The doses of the open days; what speaks against any of it is told whole, and then nothing is proposed."""
    question = replace(
        question,
        levels=tuple(sorted(question.levels, key=_order)),
        infusions=tuple(sorted(question.infusions, key=lambda one: one.started_at)),
    )
    refusals = [*_identity_problems(question), *_infusion_problems(question), *_level_problems(question)]
    usable = [one for one in question.levels if not one.is_below_limit]
    if not refusals and len(usable) < question.algorithm.at_least_levels:
        wanted, excluded = question.algorithm.at_least_levels, len(question.levels) - len(usable)
        said = ", ".join(one.words() for one in question.levels if one.is_below_limit)
        below = f"; below the limit of quantification, and excluded: {said}" if excluded else ""
        sentence = f"{len(usable)} of {wanted} levels can be used{below}."
        code = Stop.BELOW_LIMIT if excluded else Stop.TOO_FEW_LEVELS
        refusals.append(Refusal(code, sentence, "Record the levels that are missing; until then the fixed dose holds."))
    if refusals:
        return Guided(refusals=tuple(refusals))
    return _by_table(question, usable) if question.algorithm.kind == "table" else _by_estimate(question, usable)


# --- What speaks against it ---------------------------------------------------------------------------------------


def _identity_problems(question: LevelQuestion) -> list[Refusal]:
    """Algorithm, set, target and product must speak of the same thing."""
    found, algorithm, model, target = [], question.algorithm, question.model, question.target
    if algorithm.product != question.product:
        sentence = f"{algorithm.name} is for {algorithm.product}, the protocol gives {question.product}."
        found.append(Refusal(Stop.PRODUCT, sentence, "Approve an algorithm for the protocol's product."))
    if algorithm.target != target.id:
        sentence = f"{algorithm.name} aims at {algorithm.target}, the protocol at {target.id}."
        found.append(Refusal(Stop.TARGET, sentence, "Approve an algorithm for the protocol's target."))
    if target.low is None or target.high is None or target.window not in ("pre", "post", "total"):
        sentence = f"The target {target.id} has no window of exposure with two ends."
        found.append(Refusal(Stop.TARGET, sentence, "Correct the target in the definition."))
    for one, is_verified, is_synthetic in (
        (algorithm.name, algorithm.is_verified, algorithm.is_synthetic),
        *([(model.name, model.is_verified, model.is_synthetic)] if model is not None else []),
    ):
        if not (is_verified and not is_synthetic) and not question.may_use_unverified:
            sentence = f"{one} is not verified for patients, so nothing is proposed from it."
            found.append(Refusal(Stop.UNVERIFIED, sentence, "Approve a verified one; until then the fixed dose holds."))
    if algorithm.kind == "map":
        if model is None:
            sentence = f"The parameter set “{algorithm.parameter_set}” of {algorithm.name} is not approved here."
            return [*found, Refusal(Stop.NO_ALGORITHM, sentence, "Enter, verify and approve it under dosing models.")]
        found += _set_problems(question, model)
    return found


def _set_problems(question: LevelQuestion, model: LevelModel) -> list[Refusal]:
    found, target = [], question.target
    if model.product != question.product:
        sentence = f"{model.name} is for {model.product}, the protocol gives {question.product}."
        found.append(Refusal(Stop.PRODUCT, sentence, "Approve a set for the protocol's product."))
    if target.unit != f"{_numerator(model.level_unit)}·day/{_denominator(model.level_unit)}":
        sentence = f"{model.name} speaks of {model.level_unit}, the target of {target.unit}; they are never converted."
        found.append(Refusal(Stop.UNIT, sentence, "Approve a set of the target's unit."))
    if target.assay and model.assay != target.assay:
        sentence = f"{model.name} holds for the assay {model.assay}, the target for {target.assay}."
        found.append(Refusal(Stop.ASSAY, sentence, "Approve a set of the target's assay."))
    missing = [name for name in model.population.covariates if question.covariates.get(name) is None]
    for name in missing:
        sentence = f"{model.name} needs {name}, which is not known."
        found.append(Refusal(Stop.MISSING, sentence, f"Record {name} with its date."))
    for name in set(model.population.covariates) - set(missing):
        if not question.covariates[name] > 0:
            sentence = f"{name} is {question.covariates[name]:g}; {model.name} knows values above 0 only."
            found.append(Refusal(Stop.MAGNITUDE, sentence, "Check the value."))
    return found


def _numerator(unit: str) -> str:
    return unit.partition("/")[0]


def _denominator(unit: str) -> str:
    return unit.partition("/")[2]


def _infusion_problems(question: LevelQuestion) -> list[Refusal]:
    """Each measured day's dose has a start and a stop, and none of the open ones has begun."""
    found = []
    for day in question.measured_days:
        of_day = [one for one in question.infusions if one.day == day]
        if not of_day or any(one.stopped_at is None for one in of_day):
            sentence = f"The dose of day {day} has no recorded start and stop, so its level means nothing yet."
            found.append(Refusal(Stop.NO_STOP_TIME, sentence, "Record the infusion with its exact times."))
    for one in question.infusions:
        if one.stopped_at is not None and one.stopped_at <= one.started_at:
            sentence = f"The infusion of day {one.day} stops before it starts."
            found.append(Refusal(Stop.LEVEL_TIME, sentence, "Correct its times."))
        if one.mg <= 0:
            found.append(Refusal(Stop.MAGNITUDE, f"The dose of day {one.day} is {one.mg} mg.", "Correct the dose."))
    begun = [one for one in question.infusions if one.day in question.open_days]
    if begun:
        sentence = f"The infusion of day {begun[0].day} has begun; a level that comes after that guides no dose."
        found.append(Refusal(Stop.LATE, sentence, "The fixed dose stands; sign it with the reason."))
    return found


def _level_problems(question: LevelQuestion) -> list[Refusal]:
    found: list[Refusal] = []
    if not question.levels:
        sentence = "No level is recorded."
        return [Refusal(Stop.TOO_FEW_LEVELS, sentence, "Record the levels; until then the fixed dose holds.")]
    seen: set[Moment] = set()
    for one in question.levels:
        found += _problems_of(one, question)
        if one.taken_at in seen:
            sentence = f"Two levels were recorded for one moment: {one.words()}."
            found.append(Refusal(Stop.DUPLICATE, sentence, "Correct the one that is wrong to NA, with the reason."))
        seen.add(one.taken_at)
    return found


def _problems_of(level: LevelSample, question: LevelQuestion) -> list[Refusal]:
    found, algorithm = [], question.algorithm
    said = f"The level {level.words()}"
    if level.unit != algorithm.level_unit:
        sentence = f"{said} is not in {algorithm.level_unit}; units of different assays are never converted."
        found.append(Refusal(Stop.UNIT, sentence, "Correct the unit, or have it measured by the right assay."))
    if level.assay != algorithm.assay:
        sentence = f"{said} is of the assay “{level.assay or 'not named'}”, {algorithm.name} of “{algorithm.assay}”."
        found.append(Refusal(Stop.ASSAY, sentence, f"{ANEW} the level of the right assay."))
    if not level.value.is_finite():
        found.append(Refusal(Stop.NOT_A_NUMBER, f"{said} is no number.", "Correct the value."))
    elif level.value < 0 or level.value > algorithm.highest_level or (level.value == 0 and not level.qualifier):
        highest = f"{plain(algorithm.highest_level)} {algorithm.level_unit}"
        sentence = f"{said} cannot be: {algorithm.name} knows levels above 0 up to {highest}."
        found.append(Refusal(Stop.MAGNITUDE, sentence, "Check value and unit; below the limit is written with “<”."))
    if level.qualifier == NOT_DETECTED and level.limit is None:
        sentence = f"{said} has no limit of quantification, so it does not say how little was there."
        found.append(Refusal(Stop.AMBIGUOUS, sentence, "Record the limit of the assay beside the level."))
    elif level.qualifier not in ("", "<", NOT_DETECTED):
        sentence = f"{said} is no exact number."
        found.append(Refusal(Stop.AMBIGUOUS, sentence, "Ask the laboratory for the number, or have it diluted."))
    if not isinstance(level.taken_at, datetime):
        sentence = f"{said} has a day and no time; a level means something with its exact time only."
        return [*found, Refusal(Stop.LEVEL_TIME, sentence, f"{ANEW} it with its time.")]
    begun = [one for one in question.infusions if one.started_at <= level.taken_at]
    if question.infusions and not begun:
        first = question.infusions[0].started_at
        sentence = f"{said} was taken before the first dose ({first:%d-%b-%Y %H:%M})."
        found.append(Refusal(Stop.LEVEL_TIME, sentence, f"{ANEW} it at its right time."))
    for one in begun:
        # The very start and the very end of an infusion are no time inside it.
        if one.stopped_at is not None and one.started_at < level.taken_at < one.stopped_at:
            sentence = f"{said} was taken during the infusion of day {one.day}."
            found.append(Refusal(Stop.LEVEL_TIME, sentence, f"{ANEW} it at its right time, or take another."))
    return found


# --- The two kinds ------------------------------------------------------------------------------------------------


def _by_table(question: LevelQuestion, usable: Sequence[LevelSample]) -> Guided:
    last = usable[-1]
    band = next(
        (
            one
            for one in question.algorithm.bands
            if one.low <= last.value and (one.high is None or last.value < one.high)
        ),
        None,
    )
    if band is None:
        sentence = f"The level {last.words()} lies in no band of {question.algorithm.name}; nothing is extrapolated."
        return Guided(refusals=(Refusal(Stop.OUT_OF_TABLE, sentence, "The fixed dose holds."),))
    mg, limits = _within_limits(question, band.mg_per_kg * question.weight_kg)
    return Guided(
        Proposal(
            mg_each=mg,
            fixed_mg_each=fixed_mg(question.algorithm, question.weight_kg),
            target=question.target,
            levels_used=1,
            levels_excluded=len(question.levels) - len(usable),
            limits=limits,
        )
    )


def _by_estimate(question: LevelQuestion, usable: Sequence[LevelSample]) -> Guided:
    model, target = question.model, question.target
    assert model is not None and target.low is not None and target.high is not None
    given = [
        Infusion(
            _days(one.started_at, question.graft_at),
            _days(one.stopped_at, one.started_at),
            float(one.mg) * model.amount_per_mg,
        )
        for one in question.infusions
        if one.stopped_at is not None
    ]
    samples = [_days(one.taken_at, question.graft_at) for one in usable if isinstance(one.taken_at, datetime)]
    levels = [float(one.value) for one in usable]
    last = question.infusions[-1]
    duration = given[-1].duration_day
    open_starts = [given[-1].start_day + (day - last.day) for day in question.open_days]
    until = max(open_starts) + TAIL_DAYS
    try:
        estimate = map_estimate(
            model.population,
            covariates=question.covariates,
            infusions=given,
            times_day=samples,
            concentrations=levels,
        )
        wanted = doses_to_target(
            estimate.parameters,
            given=given,
            open_days=open_starts,
            duration_day=duration,
            graft_day=0.0,
            until_day=until,
            kind=target.window,
            low=float(target.low),
            high=float(target.high),
        )
    except ValueError as problem:
        sentence = f"No estimate can be made: {problem}."
        return Guided(refusals=(Refusal(Stop.NO_ESTIMATE, sentence, "Check levels, times and doses."),))
    sought = Decimal(repr(float(wanted.amounts[0]) / model.amount_per_mg))
    mg, limits = _within_limits(question, sought)
    fixed = fixed_mg(question.algorithm, question.weight_kg)

    def course(mg_each: Decimal) -> tuple[Infusion, ...]:
        return tuple(Infusion(day, duration, float(mg_each) * model.amount_per_mg) for day in open_starts)

    def reached(parameters: Parameters, open_infusions: Sequence[Infusion]) -> Exposure:
        return exposure(parameters, [*given, *open_infusions], graft_day=0.0, until_day=until)

    at_proposed = reached(estimate.parameters, course(mg))
    partly = [reached(estimate.parameters, course(mg)[:count]) for count in range(len(open_starts))]
    draws = getattr(reached(_draws(model.population, question.covariates, estimate), course(mg)), target.window)
    low, high = np.percentile(draws, INTERVAL)
    # "To date" is what the given doses alone have led to when the first open infusion begins.
    now = min(open_starts)
    before = exposure(estimate.parameters, given, graft_day=now, until_day=now).total
    return Guided(
        Proposal(
            mg_each=mg,
            fixed_mg_each=fixed,
            target=target,
            levels_used=len(usable),
            levels_excluded=len(question.levels) - len(usable),
            limits=limits,
            to_date=_one(before),
            at_planned=_one(getattr(reached(estimate.parameters, course(fixed)), target.window)),
            at_proposed=_one(getattr(at_proposed, target.window)),
            interval=(float(low), float(high)),
            steps=tuple(_one(getattr(part, target.window)) for part in (*partly, at_proposed)),
            shrinkage=dict(estimate.shrinkage),
            etas=dict(estimate.etas),
            curve=Curve(
                parameters=estimate.parameters,
                given=tuple(given),
                planned=course(fixed),
                proposed=course(mg),
                sample_days=tuple(samples),
                sample_levels=tuple(levels),
                graft_day=0.0,
                until_day=until,
            ),
        )
    )


def fixed_mg(algorithm: Algorithm, weight_kg: Decimal) -> Decimal:
    """The fixed dose of one day, in the algorithm's steps."""
    return _rounded(algorithm.fixed_mg_per_kg * weight_kg, algorithm.round_to_mg)


def _within_limits(question: LevelQuestion, sought_mg: Decimal) -> tuple[Decimal, tuple[str, ...]]:
    """The dose in its steps and inside every cap; what held it is said. Rounding never leads over a cap."""
    algorithm, weight = question.algorithm, question.weight_kg
    fixed = fixed_mg(algorithm, weight)
    lows = {
        f"lowest {plain(algorithm.lowest_mg_per_kg)} mg/kg a day": algorithm.lowest_mg_per_kg * weight,
        f"largest change {plain(100 * algorithm.highest_change)} %": fixed * (1 - algorithm.highest_change),
    }
    highs = {
        f"highest {plain(algorithm.highest_mg_per_kg)} mg/kg a day": algorithm.highest_mg_per_kg * weight,
        f"largest change {plain(100 * algorithm.highest_change)} %": fixed * (1 + algorithm.highest_change),
    }
    low_name, low = max(lows.items(), key=lambda pair: pair[1])
    high_name, high = min(highs.items(), key=lambda pair: pair[1])
    step = algorithm.round_to_mg
    if sought_mg <= low:
        return -_floor(-low, step), (low_name,)
    if sought_mg >= high:
        return _floor(high, step), (high_name,)
    return min(max(_rounded(sought_mg, step), -_floor(-low, step)), _floor(high, step)), ()


def _rounded(mg: Decimal, step: Decimal) -> Decimal:
    return (mg / step).quantize(Decimal(1), ROUND_HALF_UP) * step


def _floor(mg: Decimal, step: Decimal) -> Decimal:
    return (mg / step).to_integral_value(ROUND_FLOOR) * step


def _draws(model: PopulationModel, covariates: Mapping[str, float], estimate: Estimate) -> Parameters:
    chance = np.random.default_rng(SEED)
    etas = chance.multivariate_normal(list(estimate.etas.values()), estimate.covariance, size=DRAWS, method="eigh")
    return model.individual(
        {name: covariates[name] for name in model.covariates}, dict(zip(estimate.etas, etas.T, strict=True))
    )


def _one(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(np.ravel(values)[0])


def _days(later: Moment | None, earlier: datetime) -> float:
    assert isinstance(later, datetime)
    return (later - earlier) / timedelta(days=1)


def _order(level: LevelSample) -> tuple[str, str]:
    return level.taken_at.isoformat(), str(level.value)
