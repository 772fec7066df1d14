"""The dose worksheet: from what is known of a participant to mg on each day, or to every reason why not.

All arithmetic is exact (:class:`decimal.Decimal`). A missing, stale or implausible value is a refusal with its way out,
never a guess; what is merely remarkable is a warning that the releasing person answers with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from trials.domain.answers import Answer
from trials.domain.definition import Covariate, DosingSpec, Rounding, Target
from trials.domain.partial_dates import PartialDate, completed_years
from trials.domain.schedule import date_of_day, study_day

from .applicability import Applied, check_of_product, is_warning_only, stops
from .level_guided import Algorithm, GivenInfusion, Guided, LevelModel, LevelQuestion, LevelSample, fixed_mg, propose
from .nomogram import Band, Cell, Found, Table, look_up, plain
from .refusals import Refusal, Stop

WEIGHT, ALC, GRAFT = "weight_kg", "alc_1e9_per_l", "graft"
UNITS: Mapping[str, str] = {WEIGHT: "kg", ALC: "10^9/L", GRAFT: ""}

#: Above these a value is taken for one in another unit: 800 cells/µL for 0.8 ×10^9/L, grams for kilograms.
HIGHEST_ALC_1E9_PER_L = Decimal(20)
HIGHEST_WEIGHT_KG = Decimal(250)
REMARKABLE_ALC_1E9_PER_L = Decimal(10)
REMARKABLE_WEIGHT_CHANGE = Decimal("0.10")
REMARKABLE_ALC_FACTOR = Decimal(3)
ALC_COMPARED_WITHIN = timedelta(days=7)
#: What the rounded plan may differ from the exact one where the protocol sets no bounds of its own.
ROUNDED_LOW, ROUNDED_HIGH = Decimal("0.90"), Decimal("1.10")
MG_WITHOUT_CONCENTRATION = Decimal("0.01")

#: What stands for the value of a level at which the assay found nothing.
NOTHING_FOUND = "not detected"

Moment = datetime | date


@dataclass(frozen=True)
class Reading:
    """One covariate as the casebook knows it, in the site's time; ``value`` None where it is not known.

    ``unit`` is the canonical unit of its item. ``is_after_first_dose``: there is a value, but only one taken later.
    ``earlier`` is the value before it; ``text`` says a code in words.
    """

    id: str
    label: str
    value: Decimal | str | None
    unit: str = ""
    qualifier: str = ""
    observed_at: Moment | None = None
    source: str = ""
    earlier: tuple[Decimal, Moment] | None = None
    is_after_first_dose: bool = False
    text: str = ""

    def words(self) -> str:
        if self.value is None:
            return "not known"
        if self.text:
            return self.text
        number = plain(self.value) if isinstance(self.value, Decimal) else self.value
        return f"{self.qualifier}{number}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True)
class LevelFacts:
    """What a level-guided dose rests on besides the covariates; ``levels`` are those that may guide the open days.

    ``algorithm`` is None where none is in force; ``refusal`` says why one that is there cannot be used.
    """

    algorithm: Algorithm | None = None
    model: LevelModel | None = None
    refusal: Refusal | None = None
    target: Target | None = None
    levels: tuple[LevelSample, ...] = ()
    infusions: tuple[GivenInfusion, ...] = ()
    graft_at: datetime | None = None
    graft_has_time: bool = False
    may_use_unverified: bool = False

    @property
    def guides(self) -> bool:
        """Whether there are as many levels as the algorithm asks for: before that the fixed dose is the plan."""
        return self.algorithm is not None and len(self.levels) >= self.algorithm.at_least_levels


@dataclass(frozen=True)
class Question:
    """Everything that a dose may rest on. Moments are in the site's own time."""

    spec: DosingSpec
    readings: Mapping[str, Reading]
    anchor_date: date | None
    first_day: int
    anchor_label: str = "graft infusion"
    first_dose_at: datetime | None = None
    birth: PartialDate | None = None
    table: Table | None = None
    table_name: str = ""
    table_refusal: Refusal | None = None
    conditions: Mapping[str, Reading] = field(default_factory=dict)
    protocol_checks: tuple[Applied, ...] = ()
    level_facts: LevelFacts = field(default_factory=LevelFacts)


@dataclass(frozen=True)
class Warned:
    """Something remarkable that is no stop: whoever releases the dose answers it with a reason."""

    code: str
    sentence: str


@dataclass(frozen=True)
class DoseDay:
    """One infusion of the plan. Volume, vials and waste are None where the protocol states no concentration."""

    day: int
    on: date
    mg: Decimal
    ml: Decimal | None = None
    vials: int | None = None
    waste_mg: Decimal | None = None


@dataclass(frozen=True)
class Worksheet:
    """The answer: days and totals, or refusals; with the look-up step by step."""

    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Warned, ...] = ()
    trace: tuple[tuple[str, str], ...] = ()
    total_mg_per_kg: Decimal | None = None
    planned_mg: Decimal | None = None
    days: tuple[DoseDay, ...] = ()
    cell: Cell | None = None
    applicability: tuple[Applied, ...] = ()
    guided: Guided | None = None

    @property
    def is_refused(self) -> bool:
        return bool(self.refusals)

    @property
    def total_mg(self) -> Decimal | None:
        """The rounded plan, in mg: the sum of its days."""
        return sum((day.mg for day in self.days), Decimal(0)) if self.days else None


def as_source_says(covariate: Mapping[str, object]) -> str:
    """A stored covariate as its source document writes it, such as ``<0.5``: what the second person types."""
    value = covariate["value"]
    return str(value) if value == NOTHING_FOUND else f"{covariate.get('qualifier') or ''}{value}"


# --- The methods --------------------------------------------------------------------------------------------------


def nomogram(question: Question) -> Worksheet:
    """The dose of the table's cell at weight and lymphocyte count, for the table of the graft."""
    refusals: list[Refusal] = []
    first = _first_dose(question, question.spec.start_day, refusals)
    weight = _number(question, WEIGHT, first, refusals)
    alc = _number(question, ALC, first, refusals)
    table_source = _table_source(question, refusals)
    table = _usable_table(question, first, refusals)
    if refusals or table is None or weight is None or alc is None or table_source is None or first is None:
        return Worksheet(tuple(refusals))
    answer = look_up(table, table_source, weight, alc, alc_is_below=question.readings[ALC].qualifier == "<")
    if isinstance(answer, Refusal):
        return Worksheet((answer,))
    cell = answer.cell
    outside = _out_of_bounds(question.spec, cell.total_mg_per_kg, cell.n_days)
    if cell.start_day != question.spec.start_day:
        sentence = f"The table starts on day {cell.start_day}, the protocol on day {question.spec.start_day}."
        outside = Refusal(Stop.BOUNDS, sentence, "Have the table corrected and approved again.")
    if outside is not None:
        return Worksheet((outside,))
    start = first.on
    days = [start + timedelta(days=count) for count in range(cell.n_days)]
    looked = (
        ("Table", f"{question.table_name}, {table_source}"),
        ("Cell", f"{_cell_words(table, cell)}: {plain(cell.total_mg_per_kg)} mg/kg over {_days(cell.n_days)}"),
    )
    warnings = [*_remarks(question, first), *_neighbours(answer)]
    return _course(question, weight, cell.total_mg_per_kg, days, looked, warnings, cell)


def fixed_per_kg(question: Question) -> Worksheet:
    """The protocol's mg/kg, the same for everybody, on the protocol's days."""
    refusals: list[Refusal] = []
    spec = question.spec
    total, each = _parameter(spec, "total_mg_per_kg"), _parameter(spec, "dose_mg_per_kg")
    if not spec.days or (total is None) == (each is None):
        sentence = "The protocol does not say on which days which dose per kg is given."
        refusals.append(Refusal(Stop.DEFINITION, sentence, "Give `days` and `total_mg_per_kg` in the definition."))
    first = _first_dose(question, spec.days[0] if spec.days else spec.start_day, refusals)
    weight = _number(question, WEIGHT, first, refusals)
    if refusals or weight is None or first is None or question.anchor_date is None:
        return Worksheet(tuple(refusals))
    mg_per_kg = total if total is not None else (each or Decimal(0)) * len(spec.days)
    outside = _out_of_bounds(spec, mg_per_kg, len(spec.days))
    if outside is not None:
        return Worksheet((outside,))
    days = [date_of_day(day, question.anchor_date, question.first_day) for day in spec.days]
    looked = (("Dose", f"{plain(mg_per_kg)} mg/kg over {_days(len(days))}, fixed by the protocol"),)
    return _course(question, weight, mg_per_kg, days, looked, _remarks(question, first), None)


def level_guided(question: Question) -> Worksheet:
    """The fixed dose first; once the levels are there, the open days as the approved algorithm proposes them.

    What speaks against a proposal leaves the fixed dose on the open days, with each reason as a warning: who releases
    it signs the fallback with a reason. Without an algorithm in force nothing is computed.
    """
    facts, spec = question.level_facts, question.spec
    algorithm = facts.algorithm
    if facts.refusal is not None:
        return Worksheet((facts.refusal,))
    if algorithm is None:
        named = spec.parameters.get("algorithm") or "named by the protocol"
        sentence = f"The dose follows the drug levels by the algorithm “{named}”, which is not approved here."
        way_out = "Record the levels and the doses that the physician orders; nothing is proposed."
        return Worksheet((Refusal(Stop.NO_ALGORITHM, sentence, way_out),))
    refusals: list[Refusal] = []
    measured, opened = listed_days(spec, "measure_on"), listed_days(spec, "adjust_on")
    if not measured or not opened or set(measured) & set(opened) or facts.target is None:
        sentence = "The protocol does not say on which days levels are taken, which doses they adjust, or the target."
        refusals.append(Refusal(Stop.DEFINITION, sentence, "Give `measure_on`, `adjust_on` and `target`."))
    if algorithm.product != spec.product:
        sentence = f"{algorithm.name} is for {algorithm.product}, the protocol gives {spec.product}."
        refusals.append(Refusal(Stop.PRODUCT, sentence, "Approve an algorithm for the protocol's product."))
    if not (algorithm.is_verified and not algorithm.is_synthetic) and not facts.may_use_unverified:
        sentence = f"{algorithm.name} is not verified for patients, so nothing is proposed from it."
        refusals.append(Refusal(Stop.UNVERIFIED, sentence, "Approve a verified one."))
    first = _first_dose(question, measured[0] if measured else spec.start_day, refusals)
    weight = _number(question, WEIGHT, first, refusals)
    covariates = {}
    for name in facts.model.population.covariates if facts.model is not None else ():
        value = weight if name == WEIGHT else _number(question, name, first, refusals)
        if value is not None:
            covariates[name] = float(value)
    if refusals or weight is None or first is None or question.anchor_date is None or facts.target is None:
        return Worksheet(tuple(refusals))
    fixed = fixed_mg(algorithm, weight)
    guided, warnings = None, _remarks(question, first)
    if facts.guides:
        guided = _guided(question, algorithm, weight, covariates, measured, opened)
        warnings += _guided_remarks(guided, fixed)
    else:
        sentence = (
            f"The doses of day {' and '.join(str(day) for day in opened)} are the fixed ones: {len(facts.levels)} of "
            f"{algorithm.at_least_levels} levels are there, and with all of them a dose is proposed."
        )
        warnings.append(Warned("awaits_levels", sentence))
    proposed = guided.proposal.mg_each if guided is not None and guided.proposal is not None else fixed
    amounts = [(day, fixed if day in measured else proposed) for day in sorted((*measured, *opened))]
    total = sum((mg for _, mg in amounts), Decimal(0))
    mg_per_kg = (total / weight).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    outside = _out_of_bounds(spec, mg_per_kg, len(amounts))
    if outside is not None:
        return Worksheet((outside,))
    anchor, first_day = question.anchor_date, question.first_day
    steps = [
        *[(reading.label, _reading_words(reading)) for reading in question.readings.values()],
        ("Algorithm", algorithm.name),
        *([("Parameter set", facts.model.name)] if facts.model is not None else []),
        ("Fixed dose", f"{plain(weight)} kg × {plain(algorithm.fixed_mg_per_kg)} mg/kg a day = {plain(fixed)} mg"),
        *[("Level", one.words()) for one in (facts.levels if facts.guides else ())],
        ("Rounding", f"steps of {plain(algorithm.round_to_mg)} mg, half up, never over a limit"),
        ("Below the limit", "levels below the limit of quantification are excluded, never taken as 0"),
    ]
    return Worksheet(
        warnings=tuple(warnings),
        trace=tuple(steps),
        total_mg_per_kg=mg_per_kg,
        planned_mg=total,
        days=tuple(
            _infusion(date_of_day(day, anchor, first_day), mg, spec.rounding, anchor, first_day) for day, mg in amounts
        ),
        guided=guided,
    )


def _guided(
    question: Question,
    algorithm: Algorithm,
    weight_kg: Decimal,
    covariates: Mapping[str, float],
    measured: tuple[int, ...],
    opened: tuple[int, ...],
) -> Guided:
    facts = question.level_facts
    assert facts.target is not None
    if facts.graft_at is None or (facts.target.window != "total" and not facts.graft_has_time):
        sentence = "The time of the graft is not known, and the target's window depends on it."
        return Guided(refusals=(Refusal(Stop.NO_DATE, sentence, "Record the date and time of the graft."),))
    return propose(
        LevelQuestion(
            algorithm=algorithm,
            model=facts.model,
            target=facts.target,
            product=question.spec.product,
            weight_kg=weight_kg,
            covariates=covariates,
            levels=facts.levels,
            infusions=facts.infusions,
            measured_days=measured,
            open_days=opened,
            graft_at=facts.graft_at,
            may_use_unverified=facts.may_use_unverified,
        )
    )


def _guided_remarks(guided: Guided, fixed_mg_each: Decimal) -> list[Warned]:
    """What whoever releases the dose answers with a reason: no proposal, a limit, an estimate that says little."""
    proposal = guided.proposal
    if proposal is None:
        sentence = f"Nothing is proposed: the fixed dose of {plain(fixed_mg_each)} mg stands on the open days."
        return [Warned("fallback", sentence), *(Warned(f"no_{one.code.value}", str(one)) for one in guided.refusals)]
    found = [
        Warned("at_limit", f"The proposed dose stands at a limit of the algorithm: {limit}.")
        for limit in proposal.limits
    ]
    if proposal.mainly_population:
        said = ", ".join(proposal.mainly_population)
        sentence = f"The levels say little about {said} (shrinkage above 30 %): there the estimate is mainly the "
        found.append(Warned("shrinkage", f"{sentence}population's value."))
    if proposal.is_inside is False:
        found.append(Warned("outside_target", "The exposure expected at the proposed dose lies outside the target."))
    if proposal.levels_excluded:
        sentence = f"Below the limit of quantification and excluded: {proposal.levels_excluded} of the levels."
        found.append(Warned("below_limit", sentence))
    return found


def listed_days(spec: DosingSpec, name: str) -> tuple[int, ...]:
    """Study days that a parameter of the method lists, such as ``measure_on``."""
    listed = spec.parameters.get(name)
    return tuple(sorted(int(str(one)) for one in listed)) if isinstance(listed, tuple | list) else ()


#: Method of a definition → its function.
METHODS: Mapping[str, Callable[[Question], Worksheet]] = {
    "nomogram": nomogram,
    "fixed_per_kg": fixed_per_kg,
    "level_guided": level_guided,
}
#: Raised by one whenever a method gives another answer to the same question.
METHOD_VERSIONS: Mapping[str, str] = {"nomogram": "1", "fixed_per_kg": "1", "level_guided": "2"}


def compute(question: Question) -> Worksheet:
    """The worksheet by the method that the definition names."""
    method = METHODS.get(question.spec.method)
    if method is None:
        sentence = f"This version of Canopy has no dosing method {question.spec.method}."
        return Worksheet((Refusal(Stop.DEFINITION, sentence, f"Known: {', '.join(METHODS)}."),))
    answer = replace(method(question), applicability=applicability(question))
    refused = stops(question.protocol_checks)
    if refused:
        return Worksheet((*answer.refusals, *refused), applicability=answer.applicability)
    if answer.is_refused:
        return answer
    warned = tuple(Warned("applicability", one.sentence) for one in question.protocol_checks if not one.is_met)
    return replace(answer, warnings=(*answer.warnings, *warned))


def applicability(question: Question) -> tuple[Applied, ...]:
    """Everything that is asked before the dose applies: product, the table's own limits, the protocol's checks."""
    spec, table = question.spec, question.table
    found: list[Applied] = []
    product = check_of_product(spec, table)
    if product is not None:
        found.append(product)
    if table is not None:
        band = table.applicability.age_years
        if band is not None:
            found.append(_age_check(question, table, band))
        for address, inside in table.applicability.items.items():
            reading = question.conditions.get(address)
            label = reading.label if reading else address
            known = reading is not None and reading.value is not None
            answer = Answer.UNKNOWN if not known else Answer.of(reading is not None and str(reading.value) in inside)
            said = f"{label} is {reading.words() if reading else 'not known'}."
            otherwise = "warning" if is_warning_only(address, spec) else "stop"
            text = f"{label}: {' or '.join(inside)}"
            found.append(Applied(f"table.{address}", text, answer, said, table.source_citation, otherwise))
    return (*found, *question.protocol_checks)


def _age_check(question: Question, table: Table, band: Band) -> Applied:
    text = f"Age at the first dose {band.words()} years"
    first = _first_dose(question, question.spec.start_day, [])
    possible = question.birth.interval() if question.birth is not None else None
    if possible is None or possible.low is None or possible.high is None or first is None:
        missing = "The day of the first dose" if first is None else "The date of birth"
        return Applied("age", text, Answer.UNKNOWN, f"{missing} is not known.", table.source_citation)
    ages = sorted({completed_years(possible.high, first.on), completed_years(possible.low, first.on)})
    inside = {band.holds(Decimal(age)) for age in ages}
    answer = Answer.UNKNOWN if len(inside) > 1 else Answer.of(inside.pop())
    said = f"{' or '.join(str(age) for age in ages)} completed years."
    return Applied("age", text, answer, said, table.source_citation)


def spec_for(spec: DosingSpec, group: str) -> DosingSpec | None:
    """The specification that holds for a group: its own clauses, and those of the trial where it has none."""
    if spec.method != "by_group":
        return spec
    own = spec.by_group.get(group)
    if own is None:
        return None
    return DosingSpec(
        method=own.method,
        product=own.product or spec.product,
        covariates=own.covariates or spec.covariates,
        start_day=own.start_day if own.start_day is not None else spec.start_day,
        days=own.days or spec.days,
        deviation=own.deviation or spec.deviation,
        bounds=own.bounds or spec.bounds,
        rounding=own.rounding or spec.rounding,
        applicability=own.applicability or spec.applicability,
        disagreements=own.disagreements or spec.disagreements,
        assumed_parameters=own.assumed_parameters,
        parameters=own.parameters,
        source=own.source or spec.source,
        assumed=own.assumed,
        note=own.note,
    )


# --- What the dose rests on ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _FirstDose:
    """The first infusion: its day, the moment that ages are counted to, and whether that moment took place."""

    on: date
    at: datetime
    has_begun: bool


def _first_dose(question: Question, day: int | None, refusals: list[Refusal]) -> _FirstDose | None:
    """Planned from the anchor. Ages count to the first moment of that day, or to the infusion once it has begun:
    what is too old then is too old at any hour of the day."""
    if day is None:
        sentence = "The protocol does not say on which day the first dose is given."
        refusals.append(Refusal(Stop.DEFINITION, sentence, "Give `start_day` in the definition."))
        return None
    if question.anchor_date is None:
        sentence = f"The date of the {question.anchor_label} is not known, so no date can be given for day {day}."
        refusals.append(Refusal(Stop.NO_DATE, sentence, f"Record the planned date of the {question.anchor_label}."))
        return None
    on = date_of_day(day, question.anchor_date, question.first_day)
    begun = question.first_dose_at
    return _FirstDose(on, begun or datetime.combine(on, time.min), begun is not None)


def _number(question: Question, name: str, first: _FirstDose | None, refusals: list[Refusal]) -> Decimal | None:
    """A covariate that is a number, current and in its unit; what speaks against it goes to ``refusals``."""
    spec = next((one for one in question.spec.covariates if one.id == name), None)
    reading = question.readings.get(name)
    if spec is None or reading is None:
        sentence = f"The method needs {name}, and the protocol does not say where it is recorded."
        refusals.append(Refusal(Stop.DEFINITION, sentence, "Name it among the covariates of the definition."))
        return None
    problem = _value_problem(reading) or _time_problem(reading, spec, first)
    if problem is not None:
        refusals.append(problem)
        return None
    assert isinstance(reading.value, Decimal)
    return reading.value


def _value_problem(reading: Reading) -> Refusal | None:
    label, unit = reading.label, UNITS[reading.id]
    if reading.value is None:
        if reading.is_after_first_dose:
            sentence = f"{label} was taken after the first dose only; the baseline is needed."
            return Refusal(Stop.AFTER_FIRST_DOSE, sentence, "Record the value from before the first dose.")
        return Refusal(Stop.MISSING, f"{label} is not recorded.", f"Record {label.lower()} with its date.")
    if not isinstance(reading.value, Decimal) or not reading.value.is_finite():
        return Refusal(Stop.NOT_A_NUMBER, f"{label} is “{reading.value}”, which is no number.", "Correct the value.")
    if reading.unit != unit:
        said = reading.unit or "no unit"
        return Refusal(Stop.UNIT, f"{label} is given in {said}; the dose needs {unit}.", "Correct the unit.")
    if reading.qualifier and (reading.id, reading.qualifier) != (ALC, "<"):
        sentence = f"{label} is reported as {reading.words()}: the number itself is not known."
        return Refusal(Stop.AMBIGUOUS, sentence, "Have it measured again, or ask the laboratory for the number.")
    if reading.value < 0 or (reading.id == WEIGHT and reading.value == 0):
        return Refusal(Stop.MAGNITUDE, f"{label} is {reading.words()}, which cannot be.", "Correct the value.")
    if reading.id == ALC and reading.value > HIGHEST_ALC_1E9_PER_L:
        sentence = (
            f"{label} is {reading.words()}; above {plain(HIGHEST_ALC_1E9_PER_L)} it is taken for cells/µL "
            f"(= {plain(reading.value / 1000)} ×10^9/L)."
        )
        return Refusal(Stop.MAGNITUDE, sentence, "Check the unit on the laboratory's report and correct the result.")
    if reading.id == WEIGHT and reading.value > HIGHEST_WEIGHT_KG:
        sentence = f"{label} is {reading.words()}; above {plain(HIGHEST_WEIGHT_KG)} it is taken for grams or pounds."
        return Refusal(Stop.MAGNITUDE, sentence, "Check the unit and correct the weight.")
    return None


def _time_problem(reading: Reading, spec: Covariate, first: _FirstDose | None) -> Refusal | None:
    if first is None or (spec.max_age_hours is None and not spec.before_first_dose):
        return None
    seen = reading.observed_at
    if seen is None:
        sentence = f"{reading.label} is {reading.words()}, and when it was taken is not recorded."
        return Refusal(Stop.STALE, sentence, "Record its date.")
    if spec.before_first_dose and _is_after(seen, first):
        sentence = f"{reading.label} of {moment_words(seen)} was taken after the first dose ({_start_words(first)})."
        return Refusal(Stop.AFTER_FIRST_DOSE, sentence, "Record the value from before the first dose.")
    if spec.max_age_hours is not None:
        oldest = first.at - timedelta(hours=spec.max_age_hours)
        # A value known by its day is as old as its day says, no older.
        is_stale = seen < oldest if isinstance(seen, datetime) else seen < oldest.date()
        if is_stale:
            sentence = (
                f"{reading.label} of {moment_words(seen)} is older than {spec.max_age_hours} h at the first dose "
                f"({_start_words(first)})."
            )
            return Refusal(Stop.STALE, sentence, f"Take it again, not before {moment_words(oldest)}.")
    return None


def _is_after(seen: Moment, first: _FirstDose) -> bool:
    if first.has_begun and isinstance(seen, datetime):
        return seen >= first.at
    return (seen.date() if isinstance(seen, datetime) else seen) > first.at.date()


def _table_source(question: Question, refusals: list[Refusal]) -> str | None:
    """Which of the table's parts the graft leads to; the protocol maps every graft source expressly."""
    mapped = question.spec.parameters.get("graft_tables")
    reading = question.readings.get(GRAFT)
    if not isinstance(mapped, Mapping) or reading is None:
        sentence = "The protocol does not map graft sources to tables."
        refusals.append(Refusal(Stop.DEFINITION, sentence, "Give `graft_tables` and the covariate `graft`."))
        return None
    if reading.value is None:
        refusals.append(Refusal(Stop.GRAFT, "The graft source is not known.", "Record the stem-cell source."))
        return None
    source = mapped.get(str(reading.value))
    if source is None:
        known = ", ".join(mapped)
        sentence = f"No table is meant for the graft source {reading.value}. Known: {known}."
        refusals.append(Refusal(Stop.GRAFT, sentence, "Correct the graft source."))
        return None
    return str(source)


def _usable_table(question: Question, first: _FirstDose | None, refusals: list[Refusal]) -> Table | None:
    """The table, where it is of this product and meant for this participant."""
    if question.table_refusal is not None:
        refusals.append(question.table_refusal)
        return None
    table = question.table
    if table is None:
        sentence = "No approved dosing table is active in this trial."
        refusals.append(Refusal(Stop.NO_TABLE, sentence, "Enter, verify and approve the protocol's table."))
        return None
    if table.product != question.spec.product:
        sentence = f"The table is for {table.product}, the protocol gives {question.spec.product}; they never convert."
        refusals.append(Refusal(Stop.PRODUCT, sentence, "Approve the table of the protocol's product."))
    age = _age_problem(question, table, first)
    if age is not None:
        refusals.append(age)
    refusals += _inapplicable(question, table, is_warning=False)
    return table


def _inapplicable(question: Question, table: Table, *, is_warning: bool) -> list[Refusal]:
    """What the table's own conditions refuse, or only warn of."""
    found = []
    for address, inside in table.applicability.items.items():
        if is_warning_only(address, question.spec) is not is_warning:
            continue
        reading = question.conditions.get(address)
        label = reading.label if reading else address
        allowed = " or ".join(inside)
        if reading is None or reading.value is None:
            sentence = f"{label} is not known; the table is for {allowed} only."
            found.append(Refusal(Stop.NOT_APPLICABLE, sentence, f"Record {label.lower()}."))
        elif str(reading.value) not in inside:
            sentence = f"{label} is {reading.value}; the table is for {allowed} only."
            found.append(Refusal(Stop.NOT_APPLICABLE, sentence, "The physician doses by local practice."))
    return found


def _age_problem(question: Question, table: Table, first: _FirstDose | None) -> Refusal | None:
    band = table.applicability.age_years
    if band is None or first is None:
        return None
    allowed = f"{plain(band.low)} to below {plain(band.high)} years"
    possible = question.birth.interval() if question.birth is not None else None
    if possible is None or possible.low is None or possible.high is None:
        sentence = f"The age is not known; the table is for {allowed}."
        return Refusal(Stop.NOT_APPLICABLE, sentence, "Record the date of birth.")
    ages = {completed_years(possible.high, first.on), completed_years(possible.low, first.on)}
    if all(band.holds(Decimal(age)) for age in ages):
        return None
    said = " or ".join(str(age) for age in sorted(ages))
    sentence = f"The age at the first dose is {said} years; the table is for {allowed}."
    return Refusal(Stop.NOT_APPLICABLE, sentence, "The physician doses by local practice.")


def _parameter(spec: DosingSpec, name: str) -> Decimal | None:
    value = spec.parameters.get(name)
    return Decimal(str(value)) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None


def _out_of_bounds(spec: DosingSpec, total_mg_per_kg: Decimal, n_days: int) -> Refusal | None:
    bounds = spec.bounds
    if bounds is None:
        return None
    low, high = bounds.total_low, bounds.total_high
    if (low is not None and total_mg_per_kg < low) or (high is not None and total_mg_per_kg > high):
        sentence = f"{plain(total_mg_per_kg)} mg/kg lies outside the protocol's {low} to {high} mg/kg."
        return Refusal(Stop.BOUNDS, sentence, "Have the table or the definition corrected.")
    fewest, most = bounds.days_low, bounds.days_high
    if (fewest is not None and n_days < fewest) or (most is not None and n_days > most):
        sentence = f"{_days(n_days)} lie outside the protocol's {fewest} to {most} days."
        return Refusal(Stop.BOUNDS, sentence, "Have the table or the definition corrected.")
    return None


# --- Remarks ------------------------------------------------------------------------------------------------------


def _remarks(question: Question, first: _FirstDose) -> list[Warned]:
    found = []
    weight, alc = question.readings.get(WEIGHT), question.readings.get(ALC)
    if weight is not None and weight.earlier is not None and isinstance(weight.value, Decimal):
        before, at = weight.earlier
        if before and abs(weight.value - before) > REMARKABLE_WEIGHT_CHANGE * before:
            change = (100 * (weight.value - before) / before).quantize(Decimal(1), ROUND_HALF_UP)
            sentence = f"The weight changed by {change} % since {moment_words(at)} ({plain(before)} kg)."
            found.append(Warned("weight_change", sentence))
    if alc is not None and isinstance(alc.value, Decimal):
        if alc.value > REMARKABLE_ALC_1E9_PER_L:
            found.append(Warned("alc_high", f"ALC is {alc.words()}: confirm the unit with the laboratory."))
        if alc.earlier is not None and alc.observed_at is not None:
            before, at = alc.earlier
            low, high = sorted((alc.value, before))
            is_recent = _day(alc.observed_at) - _day(at) <= ALC_COMPARED_WITHIN
            if is_recent and high > REMARKABLE_ALC_FACTOR * low:
                sentence = f"ALC was {plain(before)} ×10^9/L on {moment_words(at)}: more than threefold different."
                found.append(Warned("alc_change", sentence))
    if first.has_begun and first.at.date() != first.on:
        sentence = f"The first infusion was on {_date_words(first.at.date())}, planned for {_date_words(first.on)}."
        found.append(Warned("first_dose_day", sentence))
    if question.table is not None:
        inapplicable = _inapplicable(question, question.table, is_warning=True)
        found += [Warned("applicability", one.sentence) for one in inapplicable]
    return found


def _neighbours(found: Found) -> list[Warned]:
    return [
        Warned(
            f"near_{near.axis.lower()}",
            f"{near.axis.capitalize() if near.axis.islower() else near.axis} lies within 2 % of the boundary "
            f"{plain(near.boundary)}: the cell beside it gives {plain(near.cell.total_mg_per_kg)} mg/kg over "
            f"{_days(near.cell.n_days)}.",
        )
        for near in found.near
    ]


# --- From mg/kg to infusions --------------------------------------------------------------------------------------


def _course(
    question: Question,
    weight_kg: Decimal,
    total_mg_per_kg: Decimal,
    dates: list[date],
    looked: tuple[tuple[str, str], ...],
    warnings: list[Warned],
    cell: Cell | None,
) -> Worksheet:
    assert question.anchor_date is not None
    planned = weight_kg * total_mg_per_kg
    amounts = rounded_amounts(planned, len(dates), question.spec.rounding)
    rounding = question.spec.rounding
    rounded = sum(amounts, Decimal(0))
    low = question.spec.deviation.low if question.spec.deviation else ROUNDED_LOW
    high = question.spec.deviation.high if question.spec.deviation else ROUNDED_HIGH
    if min(amounts) <= 0 or not low * planned <= rounded <= high * planned:
        sentence = f"Rounding makes {plain(rounded)} mg of {plain(planned)} mg, outside the allowed bounds."
        return Worksheet((Refusal(Stop.ROUNDING, sentence, "Use a smaller volume step or another vial."),))
    days = tuple(
        _infusion(on, mg, rounding, question.anchor_date, question.first_day)
        for on, mg in zip(dates, amounts, strict=True)
    )
    steps = [
        *[(reading.label, _reading_words(reading)) for reading in question.readings.values()],
        *looked,
        ("Total", f"{plain(weight_kg)} kg × {plain(total_mg_per_kg)} mg/kg = {plain(planned)} mg"),
        ("Rounding", rounding_words(rounding, rounded)),
        ("First day", f"day {days[0].day}, {_date_words(days[0].on)}"),
    ]
    return Worksheet(
        warnings=tuple(warnings),
        trace=tuple(steps),
        total_mg_per_kg=total_mg_per_kg,
        planned_mg=planned,
        days=days,
        cell=cell,
    )


def rounded_amounts(planned_mg: Decimal, n_days: int, rounding: Rounding | None) -> tuple[Decimal, ...]:
    """The course in equal infusions, each in whole steps of volume; the remainder goes to the last day.

    Steps are rounded half up. Without a stated concentration, amounts are rounded to 0.01 mg.

    >>> step = Rounding(concentration=Decimal(5), volume_step=Decimal("0.1"), vial=Decimal(25))
    >>> [str(mg) for mg in rounded_amounts(Decimal("163.8"), 3, step)]       # 32.8 mL as 10.9 + 10.9 + 11.0 mL
    ['54.5', '54.5', '55.0']
    """
    step = _step_mg(rounding)
    total = _steps(planned_mg, step)
    each = _steps(planned_mg / n_days, step)
    return (*(each * step for _ in range(n_days - 1)), (total - each * (n_days - 1)) * step)


def rounding_words(rounding: Rounding | None, rounded_mg: Decimal) -> str:
    if rounding is None:
        return f"the protocol states no concentration: to 0.01 mg, remainder on the last day = {plain(rounded_mg)} mg"
    step = _step_mg(rounding)
    volume = f"{plain(step / rounding.concentration)} {rounding.volume_unit}"
    kind = "whole vials" if rounding.whole_vials else f"steps of {volume} = {plain(step)} mg"
    at = f"{plain(rounding.concentration)} {rounding.concentration_unit}"
    return f"{kind} at {at}, half up, remainder on the last day = {plain(rounded_mg)} mg"


def _step_mg(rounding: Rounding | None) -> Decimal:
    if rounding is None:
        return MG_WITHOUT_CONCENTRATION
    if rounding.whole_vials and rounding.vial is not None:
        return rounding.vial
    return rounding.volume_step * rounding.concentration


def _steps(mg: Decimal, step: Decimal) -> Decimal:
    return (mg / step).quantize(Decimal(1), ROUND_HALF_UP)


def _infusion(on: date, mg: Decimal, rounding: Rounding | None, anchor: date, first_day: int) -> DoseDay:
    day = study_day(on, anchor, first_day)
    if rounding is None:
        return DoseDay(day, on, mg)
    ml = mg / rounding.concentration
    if rounding.vial is None:
        return DoseDay(day, on, mg, ml)
    vials = (mg / rounding.vial).to_integral_value(ROUND_CEILING)
    return DoseDay(day, on, mg, ml, int(vials), vials * rounding.vial - mg)


# --- Words --------------------------------------------------------------------------------------------------------


def moment_words(moment: Moment) -> str:
    if isinstance(moment, datetime):
        return f"{_date_words(moment.date())} {moment:%H:%M}"
    return _date_words(moment)


def stored_moment_words(text: str | None) -> str:
    """A moment or a day as it is stored, in words; empty where there is none."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text)
    return moment_words(moment if "T" in text else moment.date())


def _date_words(day: date) -> str:
    return PartialDate.from_date(day).display()


def _start_words(first: _FirstDose) -> str:
    return moment_words(first.at) if first.has_begun else f"planned for {_date_words(first.on)}"


def _reading_words(reading: Reading) -> str:
    at = f", {moment_words(reading.observed_at)}" if reading.observed_at is not None else ""
    return f"{reading.words()}{at}"


def _cell_words(table: Table, cell: Cell) -> str:
    weight_end = "]" if cell.weight_hi == table.applicability.weight_kg.high else ")"
    alc_end = "]" if cell.alc_hi == table.applicability.alc_1e9_per_l.high else ")"
    return (
        f"weight [{plain(cell.weight_lo)}, {plain(cell.weight_hi)}{weight_end} kg, "
        f"ALC [{plain(cell.alc_lo)}, {plain(cell.alc_hi)}{alc_end} ×10^9/L"
    )


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"


def _day(moment: Moment) -> date:
    return moment.date() if isinstance(moment, datetime) else moment
