"""The states of a dosing table."""

from collections.abc import Mapping
from enum import StrEnum


class TableStatus(StrEnum):
    DRAFT = "DRAFT"
    VERIFIED = "VERIFIED"
    ACTIVE = "ACTIVE"
    SUPERSEDED = "SUPERSEDED"


class TableEvent(StrEnum):
    VERIFY = "verify"
    APPROVE = "approve"
    REPLACE = "replace"


#: State x event -> state; what is not listed cannot happen. A table is replaced by the approval of its successor.
TABLE: Mapping[tuple[TableStatus, TableEvent], TableStatus] = {
    (TableStatus.DRAFT, TableEvent.VERIFY): TableStatus.VERIFIED,
    (TableStatus.VERIFIED, TableEvent.APPROVE): TableStatus.ACTIVE,
    (TableStatus.ACTIVE, TableEvent.REPLACE): TableStatus.SUPERSEDED,
}


def can(status: str, event: TableEvent) -> bool:
    """Whether ``event`` can happen to a table of ``status``.

    >>> can("DRAFT", TableEvent.APPROVE)
    False
    """
    return (TableStatus(status), event) in TABLE
