"""The states of a stage gate."""

from enum import StrEnum


class GateState(StrEnum):
    WAITING = "waiting"
    PROPOSED = "proposed"
    DECIDED = "decided"
