"""Whether a participant may take part: every inclusion met, no exclusion met, nothing open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from .answers import Answer, conjunction
from .conditions import MISSING, Observed, Values, evaluate, items_of
from .definition import CheckBy, Criterion, Protocol
from .observations import labels


class Outcome(StrEnum):
    ELIGIBLE = "eligible"
    NOT_ELIGIBLE = "not_eligible"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    INCLUDE = "include"
    EXCLUDE = "exclude"


class Result(StrEnum):
    MET = "met"
    NOT_MET = "not_met"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"
    WAIVED = "waived"


@dataclass(frozen=True)
class HumanAnswer:
    """What a person answered to a criterion: yes means that the criterion, as worded, is met."""

    answer: Answer
    by: str
    comment: str = ""
    answered_on: date | datetime | None = None


@dataclass(frozen=True)
class Waiver:
    """A signed decision to enrol although one criterion stands in the way."""

    by: str
    role: str
    reason: str


@dataclass(frozen=True)
class CriterionVerdict:
    """The state of one criterion and the sentence that explains it."""

    id: str
    kind: Kind
    text: str
    result: Result
    stands_in_the_way: bool
    value: Observed
    source: str
    sentence: str
    needs_human: bool


@dataclass(frozen=True)
class Assessment:
    """The outcome and the verdict of every criterion, in the order of the protocol."""

    outcome: Outcome
    criteria: tuple[CriterionVerdict, ...]

    @property
    def obstacles(self) -> tuple[CriterionVerdict, ...]:
        """The criteria that decide against the participant."""
        return tuple(verdict for verdict in self.criteria if verdict.stands_in_the_way)

    @property
    def open(self) -> tuple[CriterionVerdict, ...]:
        """The criteria that are not known yet."""
        return tuple(verdict for verdict in self.criteria if verdict.result is Result.UNKNOWN)


class NotWaivable(ValueError):
    """The protocol does not let this role waive this criterion."""


def assess(
    protocol: Protocol,
    values: Values,
    answers: Mapping[str, HumanAnswer] | None = None,
    waivers: Mapping[str, Waiver] | None = None,
    *,
    on: date | None = None,
) -> Assessment:
    """The verdict of each criterion and the outcome.

    An inclusion must be met and an exclusion must not; a criterion that is not known leaves the outcome open unless
    another one already decides. ``on`` is the date of sign-off, from which the age of a value is counted for criteria
    with ``max_age_days``; a value older than that counts as not known. Raises NotWaivable for a waiver by a role that
    the criterion does not name.
    """
    answers, waivers = answers or {}, waivers or {}
    words = labels(protocol)
    verdicts = []
    for kind, criteria in ((Kind.INCLUDE, protocol.eligibility.include), (Kind.EXCLUDE, protocol.eligibility.exclude)):
        for criterion in criteria:
            waiver = waivers.get(criterion.id)
            if waiver is not None and waiver.role not in criterion.waivable_by:
                allowed = ", ".join(criterion.waivable_by) or "nobody"
                raise NotWaivable(
                    f"Criterion {criterion.id} cannot be waived by a {waiver.role}; it may be waived by {allowed}."
                )
            verdict = judged(criterion, kind, values, answers.get(criterion.id), on=on, words=words)
            verdicts.append(_waived(verdict, waiver) if waiver and verdict.stands_in_the_way else verdict)
    return Assessment(_outcome(verdicts), tuple(verdicts))


def judged(
    criterion: Criterion,
    kind: Kind,
    values: Values,
    human: HumanAnswer | None,
    *,
    on: date | None = None,
    words: Mapping[str, str] | None = None,
) -> CriterionVerdict:
    """The verdict of one criterion."""
    value, source, sentences = MISSING, "", []
    answers = []
    if criterion.applies_when is not None:
        scope = evaluate(criterion.applies_when, values, labels=words)
        if scope.answer is Answer.NO:
            return CriterionVerdict(
                criterion.id,
                kind,
                criterion.text,
                Result.NOT_APPLICABLE,
                False,
                scope.value,
                scope.source,
                f"Not applicable: {scope.sentence}",
                False,
            )
        if scope.answer is Answer.UNKNOWN:
            return CriterionVerdict(
                criterion.id,
                kind,
                criterion.text,
                Result.UNKNOWN,
                False,
                scope.value,
                scope.source,
                f"Not known whether this applies: {scope.sentence}",
                False,
            )
    if criterion.when is not None and criterion.check is not CheckBy.HUMAN:
        current, stale = _current(criterion, values, on)
        verdict = evaluate(criterion.when, current, labels=words)
        value, source = verdict.value, verdict.source
        answers.append(verdict.answer)
        sentences += [verdict.sentence, *stale]
    needs_human = criterion.check is not CheckBy.AUTO and human is None
    if criterion.check is not CheckBy.AUTO:
        answers.append(Answer.UNKNOWN if human is None else human.answer)
        sentences.append(_human_words(criterion, human))
    met = _agreed(answers, kind)
    result = {Answer.YES: Result.MET, Answer.NO: Result.NOT_MET, Answer.UNKNOWN: Result.UNKNOWN}[met]
    against = met is (Answer.NO if kind is Kind.INCLUDE else Answer.YES)
    return CriterionVerdict(
        criterion.id, kind, criterion.text, result, against, value, source, " ".join(sentences), needs_human
    )


def _agreed(answers: list[Answer], kind: Kind) -> Answer:
    """Item and human together: the cautious one of the two decides, and an open one leaves it open."""
    if kind is Kind.INCLUDE:
        return conjunction(answers)
    if Answer.YES in answers:
        return Answer.YES
    return Answer.UNKNOWN if Answer.UNKNOWN in answers else Answer.NO


def _current(criterion: Criterion, values: Values, on: date | None) -> tuple[Values, list[str]]:
    """The values without those that are too old for this criterion, and a sentence for each one left out."""
    if criterion.max_age_days is None or on is None or criterion.when is None:
        return values, []
    kept, said = dict(values), []
    for address in items_of(criterion.when):
        seen = values.get(address, MISSING)
        when = seen.observed_on.date() if isinstance(seen.observed_on, datetime) else seen.observed_on
        if seen.value is not None and when is not None and (on - when).days > criterion.max_age_days:
            kept[address] = MISSING
            said.append(f"{address} is {(on - when).days} days old; at most {criterion.max_age_days} count.")
    return kept, said


def _human_words(criterion: Criterion, human: HumanAnswer | None) -> str:
    if human is None:
        return f"To be answered by: {', '.join(criterion.answered_by)}."
    words = {Answer.YES: "is met", Answer.NO: "is not met", Answer.UNKNOWN: "is not known"}[human.answer]
    comment = f": {human.comment}" if human.comment else ""
    return f"{human.by} answered that it {words}{comment}."


def _waived(verdict: CriterionVerdict, waiver: Waiver) -> CriterionVerdict:
    sentence = f"{verdict.sentence} Waived by {waiver.by} ({waiver.role}): {waiver.reason}."
    return CriterionVerdict(
        verdict.id, verdict.kind, verdict.text, Result.WAIVED, False, verdict.value, verdict.source, sentence, False
    )


def _outcome(verdicts: list[CriterionVerdict]) -> Outcome:
    if any(verdict.stands_in_the_way for verdict in verdicts):
        return Outcome.NOT_ELIGIBLE
    if any(verdict.result is Result.UNKNOWN for verdict in verdicts):
        return Outcome.UNKNOWN
    return Outcome.ELIGIBLE
