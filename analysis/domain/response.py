"""Response of acute GVHD to treatment: complete, partial, mixed, progression, stable; on a day, and at any time.

The classes follow the EBMT-NIH-CIBMTR task force and are not confirmed against its paper: results carry ``verified =
False``. That a response must last three weeks without other systemic treatment is RELAX's (Mil Med Res 2025, doi
10.1186/s40779-025-00640-0, Outcomes). Counted from the assessment it gives the paper's 111, 119, 131 and 142 of 172 on
day 28, 42, 56 and at any time.

An organ that was not staged leaves every class open that its stages allow. Days are study days; with a first day 1 the
day before it is day -1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from analysis.domain.acute_gvhd import OrganStages
from analysis.domain.bounds import Bounds
from analysis.domain.consecutive_threshold import CompetingEvent, Status
from analysis.domain.endpoint_outcomes import DEATH, Evidence, Outcome, no_anchor
from analysis.domain.rule_parameters import check_at_least, check_choice, read

METHOD_VERSION = "1"
VERIFIED = False


class ResponseClass(StrEnum):
    """The class of one assessment against the baseline."""

    CR = "CR"
    PR = "PR"
    MIXED = "mixed"
    PROGRESSION = "progression"
    STABLE = "stable"


RESPONSES = frozenset({ResponseClass.CR, ResponseClass.PR})

#: How the sentence of a response begins that has not lasted long enough yet.
PROVISIONAL = "Provisional: "


@dataclass(frozen=True)
class StagedDay:
    """The organ stages of one study day."""

    day: int
    stages: OrganStages
    row: int | None = None


@dataclass(frozen=True)
class NewTreatment:
    """The start of new systemic treatment, or (``is_steroid_escalation``) a higher dose of steroids."""

    earliest_day: int
    latest_day: int
    name: str = ""
    is_steroid_escalation: bool = False
    row: int | None = None


@dataclass(frozen=True)
class Rule:
    """What the responses on a day and at any time share.

    ``responses``: the classes that count; ``persistence_days`` after the ``persistence_anchor`` ("assessment", or
    "onset" of the spell of responses) without loss, new systemic treatment or death; the baseline is the highest stage
    of each organ in the ``baseline_days`` before the first day, that day included (before its dose). Assessments more
    than ``max_gap_days`` apart are flagged. Assumed: baseline, steroid escalation and gap.
    """

    responses: tuple[str, ...] = ("CR", "PR")
    persistence_days: int = 21
    persistence_anchor: str = "assessment"
    baseline_days: int = 7
    steroid_escalation_is_new_treatment: bool = False
    max_gap_days: int = 10

    def __post_init__(self) -> None:
        if not self.responses or not set(self.responses) <= {"CR", "PR"}:
            raise ValueError(f"responses is {list(self.responses)}; it may hold CR and PR.")
        check_at_least("persistence_days", self.persistence_days, 0)
        check_choice("persistence_anchor", self.persistence_anchor, ("assessment", "onset"))
        check_at_least("baseline_days", self.baseline_days, 0)
        check_at_least("max_gap_days", self.max_gap_days, 0)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Rule:
        """Read the parameters of a best response; ValueError names the one that does not fit."""
        return read(cls, parameters, method="best_response")


@dataclass(frozen=True)
class DayRule(Rule):
    """A response on study ``day``: of the assessment nearest to it, at most ``window`` days off (of two, the later)."""

    day: int = 28
    window: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("day", self.day, 1)
        check_at_least("window", self.window, 0)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> DayRule:
        """Read the parameters of a response on a day; ValueError names the one that does not fit."""
        return read(cls, parameters, method="response_on_day")


# The class of one assessment ------------------------------------------------------------------------------------------


def classify(baseline: OrganStages, stages: OrganStages) -> frozenset[ResponseClass]:
    """The classes that the stages allow; one where they are known.

    CR: every organ at stage 0. PR: an organ better and none worse. Mixed: better and worse. Progression: worse, none
    better. An organ newly involved is worse.

    >>> before, after = OrganStages.of(2, 0, 0, 3), OrganStages.of(2, 0, 0, 1)
    >>> {each.value for each in classify(before, after)}
    {'PR'}
    """
    now = stages.organs()
    changes = [_changes(bounds, now[organ]) for organ, bounds in baseline.organs().items()]
    return frozenset(_class_of(combination) for combination in product(*changes))


def _changes(before: Bounds, now: Bounds) -> set[tuple[int, bool]]:
    """Better (-1), alike (0) or worse (1), and whether the organ is free now, in every way the limits allow."""
    return {((b > a) - (b < a), b == 0) for a in before.values() for b in now.values()}


def _class_of(organs: Sequence[tuple[int, bool]]) -> ResponseClass:
    if all(is_free for _, is_free in organs):
        return ResponseClass.CR
    better = any(change < 0 for change, _ in organs)
    worse = any(change > 0 for change, _ in organs)
    if better:
        return ResponseClass.MIXED if worse else ResponseClass.PR
    return ResponseClass.PROGRESSION if worse else ResponseClass.STABLE


# One participant ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Course:
    """What is recorded of one participant: assessments, new systemic treatment, death, and how far it is known.

    ``first_day`` is the study day of the first dose (0 or 1).
    """

    assessments: tuple[StagedDay, ...]
    treatments: tuple[NewTreatment, ...] = ()
    death: CompetingEvent | None = None
    last_contact_day: int | None = None
    first_day: int = 1


class Persistence(StrEnum):
    """What became of the class of one assessment."""

    CONFIRMED = "confirmed"
    PROVISIONAL = "provisional"
    NON_RESPONSE = "non-response"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Assessed:
    """One assessment after the baseline: the classes it allows, what became of it, and why."""

    day: int
    classes: frozenset[ResponseClass]
    persistence: Persistence
    sentence: str
    row: int | None = None

    @property
    def name(self) -> str:
        return " or ".join(each.value for each in ResponseClass if each in self.classes)


def baseline(rule: Rule, course: Course) -> OrganStages | None:
    """The highest stage of each organ before treatment; None where there is no assessment in those days."""
    found: OrganStages | None = None
    for each in course.assessments:
        if -rule.baseline_days <= each.day <= course.first_day:
            found = each.stages if found is None else found.highest_with(each.stages)
    return found


def assess(rule: Rule, course: Course, *, as_of_day: int) -> list[Assessed]:
    """Every assessment after the first day with what became of it; none without a baseline.

    Assessments of one day are read as the highest stage of each organ.
    """
    before = baseline(rule, course)
    if before is None:
        return []
    by_day: dict[int, StagedDay] = {}
    for each in sorted(course.assessments, key=lambda a: a.day):
        if course.first_day < each.day <= as_of_day:
            standing = by_day.get(each.day)
            stages = each.stages if standing is None else standing.stages.highest_with(each.stages)
            by_day[each.day] = StagedDay(each.day, stages, each.row)
    days = list(by_day.values())
    classes = {each.day: classify(before, each.stages) for each in days}
    return [_assessed(rule, course, each, classes, as_of_day) for each in days]


def _assessed(
    rule: Rule,
    course: Course,
    each: StagedDay,
    classes: Mapping[int, frozenset[ResponseClass]],
    as_of_day: int,
) -> Assessed:
    own = classes[each.day]

    def answer(persistence: Persistence, sentence: str) -> Assessed:
        return Assessed(each.day, own, persistence, sentence, each.row)

    name = " or ".join(found.value for found in ResponseClass if found in own)
    if not own & RESPONSES:
        return answer(Persistence.NON_RESPONSE, f"{name} on day {each.day} is no response.")
    start = each.day if rule.persistence_anchor == "assessment" else _onset(classes, each.day)
    until = max(start + rule.persistence_days, each.day)
    open_questions = [] if own <= RESPONSES else [f"day {each.day} may be {name}"]
    for day, found in classes.items():
        if start < day <= until and not found <= RESPONSES and day != each.day:
            if not found & RESPONSES:
                return answer(Persistence.NON_RESPONSE, f"{name} on day {each.day} was lost on day {day}.")
            open_questions.append(f"the response may be lost on day {day}")
    for what, earliest, latest in _endings(rule, course, as_of_day):
        if latest <= until:
            return answer(Persistence.NON_RESPONSE, f"{what} on day {latest}, by day {until}.")
        if earliest <= until:
            open_questions.append(f"{what} on a day between {earliest} and {latest}")
    if open_questions:
        return answer(Persistence.UNDECIDED, f"{name} on day {each.day}: {'; '.join(open_questions)}.")
    last = as_of_day if course.last_contact_day is None else min(course.last_contact_day, as_of_day)
    # Somebody who was seen on the last day kept the response; today is not over yet.
    if last < until or as_of_day <= until:
        return answer(Persistence.PROVISIONAL, f"{name} on day {each.day}; day {until} has not passed.")
    return answer(Persistence.CONFIRMED, f"{name} on day {each.day}, kept to day {until}.")


def _onset(classes: Mapping[int, frozenset[ResponseClass]], day: int) -> int:
    """The first day of the spell of responses that ``day`` belongs to; a class that is open does not end it."""
    onset = day
    for earlier in sorted((d for d in classes if d < day), reverse=True):
        if not classes[earlier] & RESPONSES:
            break
        onset = earlier
    return onset


def _endings(rule: Rule, course: Course, as_of_day: int) -> list[tuple[str, int, int]]:
    """What ends a response for good, with the days it may be of: new systemic treatment and death."""
    found = [
        (f"new systemic treatment{' with ' + t.name if t.name else ''}", t.earliest_day, t.latest_day)
        for t in course.treatments
        if t.latest_day >= course.first_day
        and t.earliest_day <= as_of_day
        and (rule.steroid_escalation_is_new_treatment or not t.is_steroid_escalation)
    ]
    if course.death is not None and course.death.earliest_day <= as_of_day:
        found.append((DEATH, course.death.earliest_day, course.death.latest_day))
    return found


# The endpoints --------------------------------------------------------------------------------------------------------


def response_on_day(rule: DayRule, course: Course, *, as_of_day: int | None) -> Outcome:
    """Decide whether one participant responded on the day of the rule.

    The status is *reached* for a confirmed response, *pending* while it is provisional, *not reached* for everything
    that counts as non-response: another class, a loss, death, new treatment, no assessment in the window (flagged as a
    data query if alive). ``classification`` is the class. Everybody with a dose stays in the denominator.

    Parameters
    ----------
    course : what is recorded of the participant
    as_of_day : the study day on which the question is asked; None while the first day is unknown
    """
    if as_of_day is None:
        return no_anchor(verified=VERIFIED)
    last_day = rule.day + rule.window
    if baseline(rule, course) is None:
        return _insufficient(f"No assessment in the {rule.baseline_days} days before treatment to compare with.")
    found = assess(rule, course, as_of_day=as_of_day)
    inside = [each for each in found if abs(each.day - rule.day) <= rule.window]
    death = course.death
    if not inside:
        if death is not None and death.latest_day <= min(last_day, as_of_day):
            return _non_response(f"Death on day {death.latest_day}, before an assessment of day {rule.day}.", death)
        if as_of_day <= last_day:
            return Outcome(Status.PENDING, f"Day {last_day} has not passed.", verified=VERIFIED)
        flag = f"data query: no assessment on day {rule.day} within {rule.window} days"
        return _non_response(f"No assessment within {rule.window} days of day {rule.day}.", flags=(flag,))
    nearest = min(inside, key=lambda each: (abs(each.day - rule.day), -each.day))
    if as_of_day <= last_day and nearest.day != rule.day and (death is None or death.earliest_day > as_of_day):
        sentence = f"{nearest.name} on day {nearest.day}; day {last_day} has not passed and a nearer one may come."
        return Outcome(Status.PENDING, sentence, verified=VERIFIED)
    flags = _gap_flags(rule, [each.day for each in found], nearest.day)
    return _outcome(rule, nearest, flags)


def _outcome(rule: Rule, each: Assessed, flags: tuple[str, ...]) -> Outcome:
    evidence = (Evidence(each.day, each.name, each.row),)
    counted = frozenset(ResponseClass(name) for name in rule.responses)
    lost = each.persistence is Persistence.NON_RESPONSE
    if lost or not each.classes & counted:
        sentence = each.sentence if lost else f"{each.name} on day {each.day} is none of {', '.join(rule.responses)}."
        return Outcome(
            Status.NOT_REACHED, sentence, evidence=evidence, flags=flags, classification="non-response",
            verified=VERIFIED,
        )  # fmt: skip
    if each.persistence is Persistence.UNDECIDED or not each.classes <= counted:
        return Outcome(Status.INSUFFICIENT_DATA, each.sentence, evidence=evidence, flags=flags, verified=VERIFIED)
    provisional = each.persistence is Persistence.PROVISIONAL
    return Outcome(
        Status.PENDING if provisional else Status.REACHED,
        f"{PROVISIONAL}{each.sentence}" if provisional else each.sentence,
        event_day=None if provisional else each.day,
        evidence=evidence,
        flags=flags,
        classification=each.name,
        verified=VERIFIED,
    )


def best_response(rule: Rule, course: Course, *, as_of_day: int | None) -> Outcome:
    """Decide the best confirmed response of one participant over all assessments, scheduled or not.

    ``classification`` is the best class; the event day is that of the first confirmed response that counts. Death
    without one competes. The answer is final once death or new systemic treatment rules out a later response; before,
    it is *pending*.

    Parameters
    ----------
    course : what is recorded of the participant
    as_of_day : the study day on which the question is asked; None while the first day is unknown
    """
    if as_of_day is None:
        return no_anchor(verified=VERIFIED)
    if baseline(rule, course) is None:
        return _insufficient(f"No assessment in the {rule.baseline_days} days before treatment to compare with.")
    found = assess(rule, course, as_of_day=as_of_day)
    counted = frozenset(ResponseClass(name) for name in rule.responses)
    confirmed = [each for each in found if each.persistence is Persistence.CONFIRMED and each.classes <= counted]
    perhaps = [
        each
        for each in found
        if each.classes & counted
        and each.persistence is not Persistence.NON_RESPONSE
        and (each.persistence is Persistence.UNDECIDED or not each.classes <= counted)
    ]
    flags = tuple(f"not decided: {each.sentence}" for each in perhaps)
    if confirmed:
        return _best(confirmed, perhaps, flags)
    if perhaps:
        evidence = tuple(Evidence(each.day, each.name, each.row) for each in perhaps)
        return Outcome(Status.INSUFFICIENT_DATA, perhaps[0].sentence, evidence=evidence, flags=flags, verified=VERIFIED)
    return _no_best(rule, course, found, counted, as_of_day)


def _best(confirmed: Sequence[Assessed], perhaps: Sequence[Assessed], flags: tuple[str, ...]) -> Outcome:
    order = list(ResponseClass)
    best = min(confirmed, key=lambda each: max(order.index(found) for found in each.classes))
    first = confirmed[0]
    earlier = [each.day for each in perhaps if each.day < first.day]
    return Outcome(
        Status.REACHED,
        f"Best confirmed response: {best.sentence}",
        event_day=None if earlier else first.day,
        evidence=tuple(Evidence(each.day, each.name, each.row) for each in confirmed),
        flags=flags,
        classification=best.name,
        verified=VERIFIED,
        earliest_day=min(earlier) if earlier else None,
        latest_day=first.day if earlier else None,
    )


def _no_best(
    rule: Rule, course: Course, found: Sequence[Assessed], counted: frozenset[ResponseClass], as_of_day: int
) -> Outcome:
    last = max((each.day for each in found), default=None)
    evidence = tuple(Evidence(each.day, each.name, each.row) for each in found)
    provisional = [e for e in found if e.persistence is Persistence.PROVISIONAL and e.classes <= counted]
    if provisional:
        sentence = f"{PROVISIONAL}{provisional[0].sentence}"
        return Outcome(Status.PENDING, sentence, censored_day=last, evidence=evidence, verified=VERIFIED)
    death = course.death
    if death is not None and death.earliest_day <= as_of_day:
        day = death.earliest_day if death.earliest_day == death.latest_day else None
        return Outcome(
            Status.COMPETING if day is not None else Status.INSUFFICIENT_DATA,
            f"Death on day {day} without a confirmed response."
            if day is not None
            else "Death without a confirmed response, on a day that is known in part only.",
            competing_kind=DEATH if day is not None else "",
            competing_day=day,
            evidence=evidence,
            verified=VERIFIED,
        )
    ended = [ending for ending in _endings(rule, course, as_of_day) if ending[2] <= as_of_day]
    if ended:
        what, _, day = min(ended, key=lambda ending: ending[2])
        sentence = f"{what.capitalize()} on day {day} before a confirmed response."
        return Outcome(Status.NOT_REACHED, sentence, censored_day=last, evidence=evidence, verified=VERIFIED)
    return Outcome(
        Status.PENDING,
        "No assessment after treatment began." if last is None else f"No response by day {last}.",
        censored_day=last,
        evidence=evidence,
        verified=VERIFIED,
    )


def _insufficient(sentence: str) -> Outcome:
    return Outcome(Status.INSUFFICIENT_DATA, sentence, verified=VERIFIED)


def _non_response(sentence: str, death: CompetingEvent | None = None, flags: tuple[str, ...] = ()) -> Outcome:
    return Outcome(
        Status.NOT_REACHED,
        sentence,
        competing_kind=DEATH if death else "",
        competing_day=death.latest_day if death else None,
        flags=flags,
        classification="non-response",
        verified=VERIFIED,
    )


def _gap_flags(rule: Rule, days: Sequence[int], from_day: int) -> tuple[str, ...]:
    until = from_day + rule.persistence_days
    inside = [day for day in days if from_day <= day <= until]
    after = [day for day in days if day > until][:1]
    known = [*inside, *after]
    return tuple(
        f"{later - earlier} days without an assessment, day {earlier} to {later}"
        for earlier, later in zip(known, known[1:], strict=False)
        if later - earlier > rule.max_gap_days
    )
