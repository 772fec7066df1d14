"""The state of a form entry."""

from enum import StrEnum


class EntryStatus(StrEnum):
    """How far an entry has come. Verification, signatures and locks will rest on ``complete``."""

    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"
