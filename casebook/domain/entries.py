"""The states of a form entry, and what a place in the casebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class IllegalTransition(ValueError):
    """The event cannot happen in this state; the message says what can."""


class EntryStatus(StrEnum):
    """How far an entry has come. Verification, signatures and locks will rest on ``complete``."""

    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"


class EntryEvent(StrEnum):
    SAVE = "save"
    COMPLETE = "complete"
    REOPEN = "reopen"


ENTRY: Mapping[tuple[EntryStatus, EntryEvent], EntryStatus] = {
    (EntryStatus.IN_PROGRESS, EntryEvent.SAVE): EntryStatus.IN_PROGRESS,
    (EntryStatus.IN_PROGRESS, EntryEvent.COMPLETE): EntryStatus.COMPLETE,
    # A correction of a complete form leaves it complete; one that would not is refused until the form is reopened.
    (EntryStatus.COMPLETE, EntryEvent.SAVE): EntryStatus.COMPLETE,
    (EntryStatus.COMPLETE, EntryEvent.COMPLETE): EntryStatus.COMPLETE,
    (EntryStatus.COMPLETE, EntryEvent.REOPEN): EntryStatus.IN_PROGRESS,
}


def after(status: EntryStatus, event: EntryEvent) -> EntryStatus:
    """The status that follows; raises IllegalTransition.

    >>> str(after(EntryStatus.IN_PROGRESS, EntryEvent.COMPLETE))
    'complete'
    """
    if (status, event) not in ENTRY:
        events = ", ".join(other for (origin, other) in ENTRY if origin is status)
        raise IllegalTransition(f"Cannot {event} a form that is {status.replace('_', ' ')}; possible now: {events}.")
    return ENTRY[status, event]


def mermaid() -> str:
    """The table as a Mermaid state diagram, from which the page in the documentation is made."""
    lines = ["stateDiagram-v2", f"    [*] --> {EntryStatus.IN_PROGRESS.value}"]
    lines += [f"    {origin.value} --> {target.value}: {event.value}" for (origin, event), target in ENTRY.items()]
    return "\n".join(lines) + "\n"


class PlaceStatus(StrEnum):
    """What a place of the casebook grid shows, worst first: the order is the precedence of the roll-up."""

    OVERDUE = "overdue"
    IN_PROGRESS = "in-progress"
    DUE = "due"
    NOT_YET_DUE = "not-yet-due"
    COMPLETE = "complete"
    NOT_APPLICABLE = "not-applicable"


def place_status(entry: EntryStatus | None, *, is_due: bool, is_overdue: bool, is_missed: bool = False) -> PlaceStatus:
    """The status of one form at one visit: a form that was begun shows how far it has come, another one its date."""
    if entry is EntryStatus.COMPLETE:
        return PlaceStatus.COMPLETE
    if is_missed:
        return PlaceStatus.NOT_APPLICABLE if entry is None else PlaceStatus.IN_PROGRESS
    if is_overdue:
        return PlaceStatus.OVERDUE
    if entry is EntryStatus.IN_PROGRESS:
        return PlaceStatus.IN_PROGRESS
    return PlaceStatus.DUE if is_due else PlaceStatus.NOT_YET_DUE


def worst(statuses: Iterable[PlaceStatus]) -> PlaceStatus:
    """The roll-up of several places; of none, not applicable.

    >>> str(worst([PlaceStatus.COMPLETE, PlaceStatus.DUE]))
    'due'
    """
    order = list(PlaceStatus)
    return min(statuses, key=order.index, default=PlaceStatus.NOT_APPLICABLE)
