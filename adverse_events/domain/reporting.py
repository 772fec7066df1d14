"""An adverse event against the protocol's collection policy and the dictionary: what keeps it out, and its heading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from adverse_events.domain.dictionary import Dictionary, Term, normalised
from trials.domain.answers import Answer
from trials.domain.definition import AdverseEvents
from trials.domain.partial_dates import PartialDate

SERIOUS_CRITERIA = {
    "death": "results in death",
    "life_threatening": "is life-threatening",
    "hospitalisation": "needs hospitalisation or prolongs it",
    "disability": "results in disability",
    "congenital_anomaly": "is a congenital anomaly",
    "medically_important": "is medically important",
}
OUTCOME_WORDS = {
    "recovered": "recovered",
    "recovering": "recovering",
    "not_recovered": "not recovered",
    "sequelae": "recovered with sequelae",
    "fatal": "fatal",
    "unknown": "not known",
}
OUTCOMES = tuple(OUTCOME_WORDS)
RELATIONS = {
    "definite": "definite",
    "probable": "probable",
    "possible": "possible",
    "unlikely": "unlikely",
    "not_related": "not related",
    "unknown": "not known",
}

#: Field of an event -> the words it has on a page.
FIELD_WORDS = {
    "verbatim": "Event as reported",
    "term": "Term",
    "other_specify": "What happened",
    "category": "Report heading",
    "grade": "Grade",
    "started": "Start",
    "ended": "End",
    "is_ongoing": "Goes on",
    "is_serious": "Serious",
    "serious_criteria": "Criteria of seriousness",
    "relations": "Relation",
    "outcome": "Outcome",
    "organism": "Organism",
    "suspect_product": "Suspect product",
    "is_void": "Recorded in error",
}


@dataclass(frozen=True)
class Problem:
    """One reason to refuse: the field, and a sentence with the rule and the way out."""

    field: str
    sentence: str


@dataclass(frozen=True)
class Report:
    """An adverse event as it was entered or imported. ``is_serious`` None: not known."""

    verbatim: str
    term: str
    grade: int
    started: str
    outcome: str
    ended: str = ""
    is_ongoing: bool = False
    other_specify: str = ""
    is_serious: bool | None = None
    serious_criteria: tuple[str, ...] = ()
    relations: Mapping[str, str] = field(default_factory=dict)
    organism: str = ""
    suspect_product: str = ""
    note: str = ""


def problems(
    report: Report, policy: AdverseEvents, dictionary: Dictionary, *, today: date | None = None
) -> list[Problem]:
    """Everything that keeps ``report`` out; an empty list lets it in. ``today``: the day at the participant's site."""
    found: list[Problem] = []
    if not report.verbatim.strip():
        found.append(Problem("verbatim", "The event as reported is missing; it is always kept beside the term."))
    term = dictionary.find(report.term)
    if term is None:
        near = ", ".join(t.name for t in dictionary.search(report.term, limit=3))
        found.append(
            Problem("term", f"{report.term!r} is no term of {dictionary.name}." + (f" Near: {near}." if near else ""))
        )
    else:
        found += _grade_problems(report, policy, term, dictionary)
        if term.is_other and not report.other_specify.strip():
            found.append(Problem("other_specify", f"“{term.name}” needs the words of what happened."))
    found += _date_problems(report, today)
    if report.outcome not in OUTCOMES:
        found.append(Problem("outcome", f"{report.outcome!r} is no outcome; they are {', '.join(OUTCOMES)}."))
    elif (report.grade == 5) != (report.outcome == "fatal"):
        found.append(Problem("outcome", "Grade 5 and the outcome “fatal” go together; correct one of the two."))
    unknown = [one for one in report.serious_criteria if one not in SERIOUS_CRITERIA]
    if unknown:
        found.append(
            Problem("serious_criteria", f"{unknown[0]!r} is no criterion; they are {', '.join(SERIOUS_CRITERIA)}.")
        )
    if report.is_serious is False and report.serious_criteria:
        found.append(
            Problem("is_serious", "A criterion of seriousness is ticked and the event is said not to be serious.")
        )
    for product, relation in report.relations.items():
        if product not in policy.products:
            asked = ", ".join(policy.products) or "no product"
            found.append(Problem("relations", f"{product!r}: the protocol asks for the relation to {asked}."))
        elif relation not in RELATIONS:
            found.append(Problem("relations", f"{relation!r} is no relation; they are {', '.join(RELATIONS)}."))
    if report.is_serious is False and report.grade == 5:
        found.append(Problem("is_serious", "An event that results in death is serious."))
    return found


def _grade_problems(report: Report, policy: AdverseEvents, term: Term, dictionary: Dictionary) -> list[Problem]:
    if report.grade not in range(1, 6):
        return [Problem("grade", f"Grade {report.grade} does not exist; a grade is 1 to 5.")]
    if report.grade not in term.grades:
        has = ", ".join(str(grade) for grade in sorted(term.grades))
        return [Problem("grade", f"{term.name} has no grade {report.grade} in {dictionary.name}; it has {has}.")]
    if report.grade < policy.minimum_grade:
        return [
            Problem(
                "grade",
                f"This trial collects grade {policy.minimum_grade} and above; grade {report.grade} is not recorded as "
                "an adverse event. If it worsens, enter it then.",
            )
        ]
    return []


def _date_problems(report: Report, today: date | None) -> list[Problem]:
    found: list[Problem] = []
    started = ended = None
    for name, text in (("started", report.started), ("ended", report.ended)):
        if not text:
            continue
        try:
            partial = PartialDate.from_iso(text)
        except ValueError:
            found.append(
                Problem(name, f"{text!r} is no date; write 2017-03-05, or 2017-03 where the day is not known.")
            )
            continue
        started, ended = (partial, ended) if name == "started" else (started, partial)
        if today is not None and partial.earliest > today:
            found.append(
                Problem(name, f"{partial.display()} lies in the future; an event is recorded once it is there.")
            )
    if not report.started:
        found.append(Problem("started", "The start is missing; a month or a year is enough where no more is known."))
    if report.is_ongoing and report.ended:
        found.append(Problem("ended", "An event that goes on has no end; clear one of the two."))
    if started and ended and ended.before(started) is Answer.YES:
        found.append(Problem("ended", f"The end {report.ended} is before the start {report.started}."))
    return found


def category_of(policy: AdverseEvents, *, verbatim: str, term: Term) -> str:
    """The report heading of an event: of the reported term, else of the dictionary term, else of its class.

    A class for which the definition has no heading is reported under its own name.
    """
    for reported in policy.report_terms:
        if normalised(reported.reported) == normalised(verbatim) and reported.term == term.name:
            return reported.category
    for override in policy.overrides:
        if override.term == term.name:
            return override.category
    for category in policy.categories:
        if term.soc in category.socs:
            return category.id
    return term.soc


@dataclass(frozen=True)
class GradeChoice:
    """One grade as it is offered: with its wording, or with the reason why it is not."""

    grade: int
    wording: str = ""
    refusal: str = ""


def grade_choices(
    term: Term | None, policy: AdverseEvents, wording: Mapping[int, str] | None = None
) -> tuple[GradeChoice, ...]:
    """The five grades of a term; without a term, what the protocol collects. ``wording``: the official texts."""
    texts = dict(wording or {})
    if term is None or term.is_other:  # the protocol's own words for what no term fits
        texts |= {int(grade): str(text) for grade, text in policy.no_fitting_term.items()}
    choices = []
    for grade in range(1, 6):
        refusal = ""
        if term is not None and grade not in term.grades:
            refusal = f"{term.name} has no grade {grade}"
        elif grade < policy.minimum_grade:
            refusal = f"this trial collects grade {policy.minimum_grade} and above"
        choices.append(GradeChoice(grade, texts.get(grade, ""), refusal))
    return tuple(choices)


def row_label(policy: AdverseEvents, *, verbatim: str, term: str, other_specify: str = "") -> str:
    """The row of the trial's table an event is counted in: the reported term of the definition, else the dictionary's.

    An event without a fitting term stands under the words of what happened.
    """
    for reported in policy.report_terms:
        if reported.term == term and normalised(reported.reported) == normalised(verbatim):
            return reported.reported
    return other_specify.strip() or term


def category_words(policy: AdverseEvents, category: str) -> str:
    """The heading of a report category; a class without one is its own heading."""
    return next((one.label for one in policy.categories if one.id == category), category)
