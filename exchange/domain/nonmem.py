"""Doses, levels and covariates as the numeric file that NONMEM and its kin read: one record a dose or a sample.

One file holds one analyte, unit, assay and product; a mixture is refused. TIME is counted in hours from the start of a
participant's first infusion, from exact moments only: what has no time of day is counted, never placed. A dot is null.
Records are in the order of ID, TIME, and doses before samples of the same moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from trials.domain.partial_dates import completed_years
from trials.domain.schedule import study_day

from .codebook import Cell, Column, ColumnType, Row

NULL = "."
#: An uninterrupted piece of an infusion is a record; both go into and come from the central compartment.
CENTRAL = 1
HOURS = Decimal("0.0001")


class Mixed(ValueError):
    """More than one analyte, unit, assay or product for one file; the message names them."""


@dataclass(frozen=True)
class Dose:
    """One uninterrupted infusion; an interrupted one is several."""

    started_at: datetime
    stopped_at: datetime
    mg: Decimal
    product: str


@dataclass(frozen=True)
class Sample:
    """One level; ``qualifier`` ``<`` makes ``value`` the limit of quantification, ``>`` the upper limit.

    With ``nd`` the assay found nothing: then ``lloq`` is the limit. A number below ``lloq`` lies below the limit.
    """

    taken_at: datetime
    value: Decimal
    unit: str
    analyte: str
    assay: str
    qualifier: str = ""
    lloq: Decimal | None = None


@dataclass(frozen=True)
class Covariate:
    """A covariate's value from a date on."""

    on: date
    value: Decimal


@dataclass(frozen=True)
class Person:
    """What the file says of one participant; codes are numbers of the code lists of the file."""

    id: int
    doses: Sequence[Dose]
    samples: Sequence[Sample]
    weight_kg: Sequence[Covariate] = ()
    alc_1e9_per_l: Sequence[Covariate] = ()
    birth: date | None = None
    sex: int | None = None
    graft: int | None = None
    conditioning: int | None = None
    graft_at: datetime | None = None
    anchor: date | None = None
    first_day: int = 0
    estimates: Mapping[str, Decimal] = field(default_factory=dict)


def number(label: str, unit: str = "", **more: object) -> dict[str, object]:
    return {"label": label, "type": ColumnType.NUMBER, "unit": unit, **more}


#: Name of each column: what the data dictionary says of it.
COLUMNS: Mapping[str, dict[str, object]] = {
    "ID": number("Number within the file; the file nonmem.csv says whose"),
    "TIME": number("Since the start of the first infusion", "h"),
    "AMT": number("Dose of the record; null for a sample", "mg"),
    "RATE": number("Dose over the actual duration", "mg/h"),
    "EVID": number("1 dose, 0 sample"),
    "MDV": number("1 where DV is null: doses, and levels reported as a limit"),
    "CMT": number("Compartment, always 1: the central one"),
    "DV": number("Level, in the unit that the label of the file names"),
    "LLOQ": number("Limit of quantification, unit of DV; null where the laboratory gave none"),
    "BLQ": number("1 below the limit of quantification, 2 above the upper limit (then LLOQ is null), 0 otherwise"),
    "OCC": number("Number of the latest dose record, 0 before the first"),
    "TAD": number("Since the start of the latest dose record", "h"),
    "DAY": number("Study day at the site, day 0 the graft; a date known, not a clock"),
    "TGRAFT": number("Time of the graft infusion on the clock of TIME; null where only its day is known", "h"),
    "WT": number("Body weight at the record: the latest one up to its date", "kg"),
    "WTLOCF": number("1 where the weight is of an earlier date, 0 of the same; null without one"),
    "ALC": number("Absolute lymphocyte count at the record: the latest one up to its date", "10^9/L"),
    "ALCLOCF": number("1 where the count is of an earlier date, 0 of the same; null without one"),
    "AGE": number("Completed years at the record", "years"),
    "SEX": number("Sex"),
    "GRAFT": number("Graft source"),
    "COND": number("Intensity of the conditioning"),
    "PROD": number("Product: always 1, the file holds one"),
    "ASSAY": number("Assay: always 1, the file holds one"),
}


#: Parameters of the model with two compartments: name in it, label, unit; ``amount`` is that of DV x L.
PARAMETERS: Sequence[tuple[str, str, str]] = (
    ("cl", "linear clearance", "L/day"),
    ("v1", "central volume", "L"),
    ("q", "intercompartmental clearance", "L/day"),
    ("v2", "peripheral volume", "L"),
    ("vmax", "largest rate of saturable elimination", "amount/day"),
    ("km", "concentration of half that rate", "unit of DV"),
)
#: What a file with estimates has besides: of one participant the same on each record, null where there is no estimate.
ESTIMATES: Mapping[str, dict[str, object]] = {
    **{f"I{name.upper()}": number(f"Individual estimate: {label}", unit) for name, label, unit in PARAMETERS},
    **{f"ETA{name.upper()}": number(f"Random effect on {label}, log scale") for name, label, _ in PARAMETERS},
    **{
        f"SHR{name.upper()}": number(f"Shrinkage of {label}: posterior variance over that between patients")
        for name, label, _ in PARAMETERS
    },
    "AUCPRE": number(
        "Exposure of the infusions given, from the first to the graft, by the estimate", "unit of DV x day"
    ),
    "AUCPOST": number("Exposure of the infusions given, from the graft to day 60, by the estimate", "unit of DV x day"),
    "AUCTOT": number("Exposure of the infusions given, in total, by the estimate", "unit of DV x day"),
    "UPERMG": number("Amount of the model for each mg of AMT: multiply AMT and RATE by it"),
    "NLEVELS": number("Levels that the estimate rests on"),
    "MODELV": number("Version of the parameter set; its name and hash stand in nonmem_map.csv"),
}


def columns(*, with_estimates: bool = False) -> tuple[Column, ...]:
    """The columns in order."""
    facts = {**COLUMNS, **(ESTIMATES if with_estimates else {})}
    return tuple(Column(name, **one) for name, one in facts.items())  # type: ignore[arg-type]


def significant(value: float) -> Decimal:
    """A computed number with eight digits: the same on every machine, and more than an estimate knows."""
    return Decimal(f"{value:.7e}")


def records(people: Iterable[Person], *, with_estimates: bool = False) -> Iterator[Row]:
    """The rows of one file, by ID, TIME, doses first. Who has no dose has no clock, and so no record.

    Raises Mixed where levels or doses do not belong together.
    """
    people = sorted(people, key=lambda one: one.id)
    _check_one(people)
    for person in people:
        if person.doses:
            yield from _of(person, tuple(ESTIMATES) if with_estimates else ())


def _check_one(people: Sequence[Person]) -> None:
    levels = {(s.analyte, s.unit, s.assay) for person in people for s in person.samples}
    products = {dose.product for person in people for dose in person.doses}
    if len(levels) > 1:
        said = "; ".join(f"{analyte} in {unit} by {assay or 'an unnamed assay'}" for analyte, unit, assay in levels)
        raise Mixed(f"One file holds one analyte, unit and assay; these are {len(levels)}: {said}.")
    if len(products) > 1:
        raise Mixed(f"One file holds one product; these are {len(products)}: {', '.join(sorted(products))}.")


def _of(person: Person, estimates: Sequence[str]) -> Iterator[Row]:
    doses = sorted(person.doses, key=lambda one: (one.started_at.astimezone(UTC), one.stopped_at.astimezone(UTC)))
    first = doses[0].started_at
    graft = _hours(first, person.graft_at) if person.graft_at is not None else NULL
    records = [(dose.started_at, 0, dose) for dose in doses]
    records += [(sample.taken_at, 1, sample) for sample in person.samples]  # type: ignore[misc]
    occasion, latest = 0, None
    for at, kind, what in sorted(records, key=lambda one: (one[0].astimezone(UTC), one[1])):
        if kind == 0:
            occasion, latest = occasion + 1, at
        own = _dose(what) if isinstance(what, Dose) else _sample(what)
        amount, rate, evid, mdv, dv, lloq, blq = own
        on = at.date()
        weight, alc = _latest(person.weight_kg, on), _latest(person.alc_1e9_per_l, on)
        yield (
            person.id,
            _hours(first, at),
            amount,
            rate,
            evid,
            mdv,
            CENTRAL,
            dv,
            lloq,
            blq,
            occasion,
            _hours(latest, at) if latest is not None else NULL,
            study_day(on, person.anchor, person.first_day) if person.anchor is not None else NULL,
            graft,
            *weight,
            *alc,
            completed_years(person.birth, on) if person.birth is not None else NULL,
            *(NULL if code is None else code for code in (person.sex, person.graft, person.conditioning)),
            1,
            1,
            *(person.estimates.get(name, NULL) for name in estimates),
        )


def _dose(dose: Dose) -> tuple[Cell, ...]:
    duration = _seconds(dose.started_at, dose.stopped_at) / 3600
    if duration <= 0:
        raise ValueError(f"An infusion that stops at {dose.stopped_at:%Y-%m-%d %H:%M} does not start after that.")
    return dose.mg, (dose.mg / duration).quantize(HOURS), 1, 1, NULL, NULL, 0


def _sample(sample: Sample) -> tuple[Cell, ...]:
    known = sample.lloq if sample.lloq is not None else NULL
    if sample.qualifier == "<":
        return NULL, NULL, 0, 1, NULL, sample.value, 1
    if sample.qualifier == "nd" or (not sample.qualifier and sample.lloq is not None and sample.value < sample.lloq):
        return NULL, NULL, 0, 1, NULL, known, 1
    if sample.qualifier == ">":
        return NULL, NULL, 0, 1, NULL, NULL, 2
    return NULL, NULL, 0, 0, sample.value, known, 0


def _latest(series: Sequence[Covariate], on: date) -> tuple[Cell, Cell]:
    """The value of that day or the latest one before it, and whether it is carried forward; never one of later."""
    past = [one for one in series if one.on <= on]
    if not past:
        return NULL, NULL
    last = max(past, key=lambda one: one.on)
    return last.value, int(last.on < on)


def _hours(since: datetime, at: datetime) -> Decimal:
    return (_seconds(since, at) / 3600).quantize(HOURS)


def _seconds(since: datetime, at: datetime) -> Decimal:
    # In UTC: two moments of one zone are subtracted by their clocks, which jump in spring and autumn.
    return Decimal((at.astimezone(UTC) - since.astimezone(UTC)) // timedelta(seconds=1))
