"""The states of a participant and of a protocol version, as plain tables: state and event give the next state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar, overload


class IllegalTransition(ValueError):
    """The event cannot happen in this state; the message says what can."""


class VersionState(StrEnum):
    DRAFT = "DRAFT"
    APPROVED = "APPROVED"
    ACTIVE = "ACTIVE"
    SUPERSEDED = "SUPERSEDED"


class VersionEvent(StrEnum):
    APPROVE = "approve"
    RETURN_TO_DRAFT = "return to draft"
    ACTIVATE = "activate"
    SUPERSEDE = "supersede"


class ParticipantState(StrEnum):
    SCREENING = "screening"
    ELIGIBLE = "eligible"
    SCREEN_FAILED = "screen_failed"
    ENROLLED = "enrolled"
    COMPLETED = "completed"
    WITHDRAWN = "withdrawn"
    LOST = "lost"
    DIED = "died"
    EXTERNAL = "external"


class ParticipantEvent(StrEnum):
    FIND_ELIGIBLE = "find eligible"
    RETURN_TO_SCREENING = "return to screening"
    FAIL_SCREENING = "fail screening"
    ENROL = "enrol"
    COMPLETE = "complete"
    WITHDRAW = "withdraw"
    LOSE = "lose to follow-up"
    DIE = "record death"
    RESUME = "resume follow-up"


VersionTable = Mapping[tuple[VersionState, VersionEvent], VersionState]
ParticipantTable = Mapping[tuple[ParticipantState, ParticipantEvent], ParticipantState]

VERSION: VersionTable = {
    (VersionState.DRAFT, VersionEvent.APPROVE): VersionState.APPROVED,
    (VersionState.APPROVED, VersionEvent.RETURN_TO_DRAFT): VersionState.DRAFT,
    (VersionState.APPROVED, VersionEvent.ACTIVATE): VersionState.ACTIVE,
    (VersionState.ACTIVE, VersionEvent.SUPERSEDE): VersionState.SUPERSEDED,
}

# A screening that failed may be reopened, and an end of follow-up be corrected, because both may have been entered in
# error; what was entered first stays in the audit trail. An external control is a record, never screened or enrolled.
PARTICIPANT: ParticipantTable = {
    (ParticipantState.SCREENING, ParticipantEvent.FIND_ELIGIBLE): ParticipantState.ELIGIBLE,
    (ParticipantState.SCREENING, ParticipantEvent.FAIL_SCREENING): ParticipantState.SCREEN_FAILED,
    (ParticipantState.ELIGIBLE, ParticipantEvent.RETURN_TO_SCREENING): ParticipantState.SCREENING,
    (ParticipantState.ELIGIBLE, ParticipantEvent.FAIL_SCREENING): ParticipantState.SCREEN_FAILED,
    (ParticipantState.ELIGIBLE, ParticipantEvent.ENROL): ParticipantState.ENROLLED,
    (ParticipantState.SCREEN_FAILED, ParticipantEvent.RETURN_TO_SCREENING): ParticipantState.SCREENING,
    (ParticipantState.ENROLLED, ParticipantEvent.COMPLETE): ParticipantState.COMPLETED,
    (ParticipantState.ENROLLED, ParticipantEvent.WITHDRAW): ParticipantState.WITHDRAWN,
    (ParticipantState.ENROLLED, ParticipantEvent.LOSE): ParticipantState.LOST,
    (ParticipantState.ENROLLED, ParticipantEvent.DIE): ParticipantState.DIED,
    (ParticipantState.COMPLETED, ParticipantEvent.DIE): ParticipantState.DIED,
    (ParticipantState.LOST, ParticipantEvent.DIE): ParticipantState.DIED,
    (ParticipantState.LOST, ParticipantEvent.WITHDRAW): ParticipantState.WITHDRAWN,
    (ParticipantState.COMPLETED, ParticipantEvent.RESUME): ParticipantState.ENROLLED,
    (ParticipantState.WITHDRAWN, ParticipantEvent.RESUME): ParticipantState.ENROLLED,
    (ParticipantState.LOST, ParticipantEvent.RESUME): ParticipantState.ENROLLED,
    (ParticipantState.DIED, ParticipantEvent.RESUME): ParticipantState.ENROLLED,
}

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


@overload
def after(state: VersionState, event: VersionEvent) -> VersionState: ...
@overload
def after(state: ParticipantState, event: ParticipantEvent) -> ParticipantState: ...
def after(state: StrEnum, event: StrEnum) -> StrEnum:
    """The state that follows; raises IllegalTransition, saying what is possible instead.

    >>> str(after(ParticipantState.ELIGIBLE, ParticipantEvent.ENROL))
    'enrolled'
    """
    if isinstance(state, VersionState) and isinstance(event, VersionEvent):
        return _after(VERSION, state, event, "protocol version")
    if isinstance(state, ParticipantState) and isinstance(event, ParticipantEvent):
        return _after(PARTICIPANT, state, event, "participant")
    raise TypeError(f"{event!r} is no event of {type(state).__name__}")


def possible(state: VersionState | ParticipantState) -> tuple[StrEnum, ...]:
    """The events that can happen in ``state``, in the order of the table."""
    moves: list[tuple[StrEnum, StrEnum]] = [*VERSION, *PARTICIPANT]
    return tuple(event for (origin, event) in moves if origin is state)


def _after(table: Mapping[tuple[State, Event], State], state: State, event: Event, subject: str) -> State:
    if (state, event) in table:
        return table[state, event]
    events = [str(other) for (origin, other) in table if origin == state]
    way_out = f"possible now: {', '.join(events)}" if events else "this state is final"
    words = state.value.lower().replace("_", " ")
    raise IllegalTransition(f"Cannot {event} a {subject} that is {words}; {way_out}.")


def mermaid(table: Mapping[tuple[State, Event], State], *, initial: State, also: Iterable[State] = ()) -> str:
    """The table as a Mermaid state diagram, from which the page in the documentation is made.

    ``also`` are other states that something begins in.
    """
    lines = ["stateDiagram-v2", *(f"    [*] --> {state.value}" for state in (initial, *also))]
    lines += [f"    {origin.value} --> {target.value}: {event.value}" for (origin, event), target in table.items()]
    return "\n".join(lines) + "\n"
