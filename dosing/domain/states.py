"""The states of a dosing table."""

from enum import StrEnum


class TableStatus(StrEnum):
    DRAFT = "DRAFT"
    VERIFIED = "VERIFIED"
    ACTIVE = "ACTIVE"
    SUPERSEDED = "SUPERSEDED"
