"""The analysis data set: one typed row a participant, with the answers of every endpoint; what analyses compute from.

Nothing in it is looked up later: whoever has a ``Dataset`` can compute, and whoever has its fingerprint can tell
whether the data changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from analysis.domain.consecutive_threshold import Status
from analysis.domain.endpoint_outcomes import Outcome
from trials.domain.definition import GroupKind

#: Causes as the kernels of survival and competing risks read them.
CENSORED, EVENT, COMPETING = 0, 1, 2

#: A value of the casebook: a code, text or date as text, or a number. What is not known is not in the mapping.
Value = str | float


@dataclass(frozen=True, slots=True)
class Time:
    """Days from the anchor to the event, the competing event, or the last day known to be free of both."""

    days: int
    cause: int


@dataclass(frozen=True, slots=True)
class Subject:
    """One participant or external control.

    ``sets``: the analysis sets they are in. ``values``: by address of the definition (``DX.GROUP``). ``outcomes``: by
    id of the endpoint; days in them are study days, counted from ``first_day`` on the day of the anchor.
    """

    participant: int
    number: str
    site: str
    group: str
    kind: GroupKind | None
    anchor_day: date | None
    sets: frozenset[str] = frozenset()
    values: Mapping[str, Value] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def is_external(self) -> bool:
        return self.kind is GroupKind.EXTERNAL

    def has_reached(self, endpoint: str) -> bool | None:
        """Whether the endpoint was reached; None while that is not known."""
        outcome = self.outcomes.get(endpoint)
        if outcome is None or outcome.status in (Status.PENDING, Status.INSUFFICIENT_DATA):
            return None
        return outcome.status is Status.REACHED

    def time_to(self, endpoint: str, *, first_day: int) -> Time | None:
        """Time and cause of ``endpoint`` for the survival kernels; None where no time is known."""
        outcome = self.outcomes.get(endpoint)
        return None if outcome is None else time_of(outcome, first_day=first_day)


def time_of(outcome: Outcome, *, first_day: int) -> Time | None:
    """Time and cause of an answer; None where no time is known."""
    day, cause = {
        Status.REACHED: (outcome.event_day, EVENT),
        Status.COMPETING: (outcome.competing_day, COMPETING),
    }.get(outcome.status, (outcome.censored_day, CENSORED))
    return None if day is None else Time(day - first_day, cause)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everybody of a trial on the data of one moment. ``as_of`` is the last day that counts."""

    trial: str
    protocol_version: str
    as_of: date
    first_day: int
    subjects: tuple[Subject, ...]

    def members(self, set_id: str) -> tuple[Subject, ...]:
        """The members of an analysis set, in the order of the data set."""
        return tuple(subject for subject in self.subjects if set_id in subject.sets)

    def of_groups(self, groups: Iterable[str]) -> tuple[Subject, ...]:
        wanted = frozenset(groups)
        return tuple(subject for subject in self.subjects if subject.group in wanted)
