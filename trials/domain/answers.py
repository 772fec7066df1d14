"""Three answers, because missing is not false: yes, no, not known (Kleene's strong logic)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, truth: bool) -> Answer:
        """Yes for True, no for False."""
        return cls.YES if truth else cls.NO


def negation(answer: Answer) -> Answer:
    """No for yes, yes for no; what is not known stays not known."""
    return {Answer.YES: Answer.NO, Answer.NO: Answer.YES, Answer.UNKNOWN: Answer.UNKNOWN}[answer]


def conjunction(answers: Iterable[Answer]) -> Answer:
    """Yes when all are yes, no as soon as one is no, otherwise not known.

    >>> str(conjunction([Answer.UNKNOWN, Answer.NO]))
    'no'
    """
    given = set(answers)
    if Answer.NO in given:
        return Answer.NO
    return Answer.UNKNOWN if Answer.UNKNOWN in given else Answer.YES


def disjunction(answers: Iterable[Answer]) -> Answer:
    """Yes as soon as one is yes, no when all are no, otherwise not known.

    >>> str(disjunction([Answer.UNKNOWN, Answer.NO]))
    'unknown'
    """
    given = set(answers)
    if Answer.YES in given:
        return Answer.YES
    return Answer.UNKNOWN if Answer.UNKNOWN in given else Answer.NO
