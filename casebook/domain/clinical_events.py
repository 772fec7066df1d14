"""The kinds of clinical event that endpoints stand on, what each one records, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from trials.domain.definition import Code, Item, ItemType
from trials.domain.partial_dates import DateEntryError, PartialDate, enter_date

from .answers import AnswerRefused, Moment, Problem, enter_answer


class EventKind(StrEnum):
    """What happened. The value is stored; :attr:`label` is read."""

    DEATH = "death"
    RELAPSE = "relapse"
    GRAFT_FAILURE = "graft_failure"
    NEUTROPHIL_ENGRAFTMENT = "neutrophil_engraftment"
    PLATELET_ENGRAFTMENT = "platelet_engraftment"
    ACUTE_GVHD = "acute_gvhd"
    CHRONIC_GVHD = "chronic_gvhd"
    VIRAL_REACTIVATION = "viral_reactivation"
    SECOND_TRANSPLANT = "second_transplant"
    LAST_CONTACT = "last_contact"

    @property
    def label(self) -> str:
        return {
            EventKind.ACUTE_GVHD: "acute GVHD",
            EventKind.CHRONIC_GVHD: "chronic GVHD",
        }.get(self, self.value.replace("_", " "))


_LABELS = {
    "ADV": "adenovirus",
    "gvhd": "GVHD",
    "glucksberg": "modified Glucksberg",
    "magic": "MAGIC",
    "non_engraftment": "non-engraftment",
    "rejection": "rejection, loss of donor chimerism",
    "unknown": "not known",
}


def _coded(name: str, label: str, *values: str, required: bool = False, help: str = "") -> Item:
    codes = tuple(
        Code(value=value, label=_LABELS.get(value, value.replace("_", " ")), unknown=value == "unknown")
        for value in values
    )
    return Item(id=name, label=label, type=ItemType.CODE, codes=codes, required=required, missing_reasons=(), help=help)


def _stage(name: str, label: str, highest: int) -> Item:
    return _coded(name, f"{label}, stage", *(str(stage) for stage in range(highest + 1)))


def _text(name: str, label: str) -> Item:
    return Item(id=name, label=label, type=ItemType.TEXT, max_length=200, missing_reasons=())


#: Kind: the grades it has, in rising order; a kind without grades is not in here.
GRADES: Mapping[EventKind, tuple[str, ...]] = {
    EventKind.ACUTE_GVHD: ("I", "II", "III", "IV"),
    EventKind.CHRONIC_GVHD: ("mild", "moderate", "severe"),
}
_GRADE_SYNONYMS = {"1": "I", "2": "II", "3": "III", "4": "IV"}

#: Kind: what is recorded of it beside date and grade; the ids are the keys of ``ClinicalEvent.detail``.
DETAILS: Mapping[EventKind, tuple[Item, ...]] = {
    EventKind.DEATH: (
        _coded(
            "cause",
            "Primary cause",
            "relapse",
            "infection",
            "gvhd",
            "graft_failure",
            "organ_toxicity",
            "haemorrhage",
            "second_malignancy",
            "other",
            "unknown",
            required=True,
        ),
        Item(
            id="relapse_related",
            label="Related to relapse of the malignancy",
            type=ItemType.YES_NO_UNKNOWN,
            required=True,
            missing_reasons=(),
            help="Decides between death from relapse and treatment-related mortality.",
        ),
        _text("cause_text", "Cause in words"),
    ),
    EventKind.RELAPSE: (
        _coded("method", "Found by", "morphology", "cytogenetics", "molecular", "flow_cytometry", "imaging", "unknown"),
    ),
    EventKind.GRAFT_FAILURE: (
        _coded(
            "type",
            "Type",
            "non_engraftment",
            "rejection",
            "autologous_reconstitution",
            "unknown",
            required=True,
            help="Non-engraftment: no neutrophil recovery. Rejection: loss of donor chimerism after recovery.",
        ),
    ),
    EventKind.ACUTE_GVHD: (
        _coded("system", "Graded by", "glucksberg", "magic"),
        _stage("skin", "Skin", 4),
        _stage("liver", "Liver", 4),
        _stage("upper_gut", "Upper gut", 1),
        _stage("lower_gut", "Lower gut", 4),
        Item(id="biopsy", label="Proven by biopsy", type=ItemType.YES_NO_UNKNOWN, missing_reasons=()),
    ),
    EventKind.CHRONIC_GVHD: (_text("organs", "Organs involved"),),
    EventKind.VIRAL_REACTIVATION: (
        _coded("virus", "Virus", "CMV", "EBV", "ADV", "HHV6", "BK", "other", required=True),
        _coded("specimen", "Specimen", "plasma", "whole_blood", "stool", "urine", "other", "unknown"),
        Item(id="disease", label="With organ disease", type=ItemType.YES_NO_UNKNOWN, missing_reasons=()),
    ),
    EventKind.SECOND_TRANSPLANT: (_text("donor", "Donor"),),
}


@dataclass(frozen=True)
class ReadEvent:
    """An event that can be kept."""

    occurred: PartialDate
    grade: str
    detail: Mapping[str, str]


@dataclass(frozen=True)
class EventReading:
    """An event as it was typed; ``event`` is None while there is a problem."""

    event: ReadEvent | None
    problems: tuple[Problem, ...] = field(default=())


def details_of(kind: EventKind) -> tuple[Item, ...]:
    return DETAILS.get(kind, ())


def read_event(
    kind: EventKind, occurred: str, *, grade: str = "", detail: Mapping[str, str] | None = None, moment: Moment
) -> EventReading:
    """Read a typed event: its date (in part where only that is known), grade and details.

    Problems are named ``occurred``, ``grade`` or after the detail. What happened lies in the past.
    """
    texts, problems = dict(detail or {}), []
    day: PartialDate | None = None
    try:
        day = enter_date(
            occurred,
            today=moment.today,
            visit_date=moment.visit_date,
            anchor_date=moment.anchor_date,
            first_day=moment.first_day,
        )
        if day.earliest > moment.today:
            problems.append(Problem("occurred", f"Date: {day.display()} is still to come; record it when it happened."))
    except DateEntryError as error:
        choices = tuple(reading.iso() for reading in error.readings)
        problems.append(Problem("occurred", f"Date: {error}", choices))
    read_grade = _grade(kind, grade, problems)
    items = {item.id: item for item in details_of(kind)}
    problems += [
        Problem(name, f"{kind.label.capitalize()} records no “{name}”.") for name in texts if name not in items
    ]
    answers: dict[str, str] = {}
    for name, item in items.items():
        try:
            answer = enter_answer(item, texts.get(name, ""), moment=moment)
        except AnswerRefused as refused:
            problems.append(Problem(name, str(refused), refused.choices))
            continue
        if answer is not None:
            answers[name] = answer.value
        elif item.required:
            problems.append(Problem(name, f"{item.label} is needed; choose “not known” where that is so."))
    if problems or day is None:
        return EventReading(None, tuple(problems))
    return EventReading(ReadEvent(day, read_grade, answers))


def _grade(kind: EventKind, text: str, problems: list[Problem]) -> str:
    grades, typed = GRADES.get(kind, ()), text.strip()
    if not grades:
        if typed:
            problems.append(Problem("grade", f"{kind.label.capitalize()} has no grade. Leave it empty."))
        return ""
    found = _GRADE_SYNONYMS.get(typed, typed) if kind is EventKind.ACUTE_GVHD else typed.lower()
    found = found.upper() if kind is EventKind.ACUTE_GVHD else found
    if found not in grades:
        problems.append(
            Problem(
                "grade",
                f"Grade: “{typed}” is none of {', '.join(grades)}."
                if typed
                else "Grade: choose one of " + ", ".join(grades) + ".",
            )
        )
    return found


@dataclass(frozen=True)
class KnownEvent:
    """An event that is recorded already, as far as the order of events asks."""

    kind: EventKind
    occurred: PartialDate


def out_of_order(kind: EventKind, occurred: PartialDate, known: tuple[KnownEvent, ...]) -> str:
    """The sentence that refuses an order that cannot be; empty when the order is possible.

    Nothing happens to a participant after death; a partial date is only refused where no reading of it fits.
    """
    for other in known:
        if other.kind is EventKind.DEATH and kind is not EventKind.DEATH and occurred.earliest > other.occurred.latest:
            return (
                f"{kind.label.capitalize()} on {occurred.display()} lies after the death on "
                f"{other.occurred.display()}. Correct the date that is wrong."
            )
        if kind is EventKind.DEATH and other.kind is not EventKind.DEATH and other.occurred.earliest > occurred.latest:
            return (
                f"Death on {occurred.display()} lies before {other.kind.label} on {other.occurred.display()}. "
                "Correct the date that is wrong."
            )
    return ""
