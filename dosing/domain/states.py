"""The states of a dosing table, which are those of a parameter set and an algorithm too, and of a dose worksheet."""

from collections.abc import Mapping
from enum import StrEnum


class TableStatus(StrEnum):
    DRAFT = "DRAFT"
    VERIFIED = "VERIFIED"
    ACTIVE = "ACTIVE"
    SUPERSEDED = "SUPERSEDED"
    RETIRED = "RETIRED"


class TableEvent(StrEnum):
    VERIFY = "verify"
    APPROVE = "approve"
    REPLACE = "replace"
    RETIRE = "retire"


#: State x event -> state; what is not listed cannot happen. A table is replaced by the approval of its successor, and
#: retired where nothing takes its place. Neither comes back: its content is entered anew.
TABLE: Mapping[tuple[TableStatus, TableEvent], TableStatus] = {
    (TableStatus.DRAFT, TableEvent.VERIFY): TableStatus.VERIFIED,
    (TableStatus.VERIFIED, TableEvent.APPROVE): TableStatus.ACTIVE,
    (TableStatus.ACTIVE, TableEvent.REPLACE): TableStatus.SUPERSEDED,
    (TableStatus.DRAFT, TableEvent.RETIRE): TableStatus.RETIRED,
    (TableStatus.VERIFIED, TableEvent.RETIRE): TableStatus.RETIRED,
    (TableStatus.ACTIVE, TableEvent.RETIRE): TableStatus.RETIRED,
}
#: Whose content may be entered again as a new version.
GONE = frozenset({TableStatus.SUPERSEDED, TableStatus.RETIRED})


def can(status: str, event: TableEvent) -> bool:
    """Whether ``event`` can happen to a table of ``status``.

    >>> can("DRAFT", TableEvent.APPROVE)
    False
    """
    return (TableStatus(status), event) in TABLE


class WorksheetStatus(StrEnum):
    """What can still be done with a worksheet. It is not stored: it follows from the rows that nobody can change."""

    REFUSED = "refused"
    PROPOSED = "proposed"
    VERIFIED = "verified"
    RELEASED = "released"
    UNDER_WAY = "under_way"
    IMPORTED = "imported"
    SUPERSEDED = "superseded"


class WorksheetEvent(StrEnum):
    DIFFER = "second entry differs"
    VERIFY = "second entry agrees"
    RELEASE = "release"
    BEGIN = "infusion begins"
    GUIDE = "levels guide open days"
    REPLACE = "facts change"


_SHEET, _HAPPENS = WorksheetStatus, WorksheetEvent
#: State x event -> state; what is not listed cannot happen, or changes nothing. From the first infusion on the plan
#: stands, until levels guide the days that are still open; the proposal that they lead to is a new worksheet.
WORKSHEET: Mapping[tuple[WorksheetStatus, WorksheetEvent], WorksheetStatus] = {
    (_SHEET.REFUSED, _HAPPENS.REPLACE): _SHEET.SUPERSEDED,
    (_SHEET.PROPOSED, _HAPPENS.DIFFER): _SHEET.PROPOSED,
    (_SHEET.PROPOSED, _HAPPENS.VERIFY): _SHEET.VERIFIED,
    (_SHEET.PROPOSED, _HAPPENS.BEGIN): _SHEET.UNDER_WAY,
    (_SHEET.PROPOSED, _HAPPENS.GUIDE): _SHEET.SUPERSEDED,
    (_SHEET.PROPOSED, _HAPPENS.REPLACE): _SHEET.SUPERSEDED,
    (_SHEET.VERIFIED, _HAPPENS.RELEASE): _SHEET.RELEASED,
    (_SHEET.VERIFIED, _HAPPENS.BEGIN): _SHEET.UNDER_WAY,
    (_SHEET.VERIFIED, _HAPPENS.GUIDE): _SHEET.SUPERSEDED,
    (_SHEET.VERIFIED, _HAPPENS.REPLACE): _SHEET.SUPERSEDED,
    (_SHEET.RELEASED, _HAPPENS.BEGIN): _SHEET.UNDER_WAY,
    (_SHEET.RELEASED, _HAPPENS.GUIDE): _SHEET.SUPERSEDED,
    (_SHEET.RELEASED, _HAPPENS.REPLACE): _SHEET.SUPERSEDED,
    (_SHEET.UNDER_WAY, _HAPPENS.GUIDE): _SHEET.SUPERSEDED,
    (_SHEET.IMPORTED, _HAPPENS.REPLACE): _SHEET.SUPERSEDED,
}


def worksheet_status(
    *, is_current: bool, is_imported: bool, is_refused: bool, is_verified: bool, is_released: bool, has_begun: bool
) -> WorksheetStatus:
    """The state of a worksheet; ``has_begun`` is of the infusions that it still plans.

    >>> worksheet_status(
    ...     is_current=True, is_imported=False, is_refused=False, is_verified=True, is_released=False, has_begun=False
    ... ).value
    'verified'
    """
    if not is_current:
        return WorksheetStatus.SUPERSEDED
    if is_imported:
        return WorksheetStatus.IMPORTED
    if is_refused:
        return WorksheetStatus.REFUSED
    if has_begun:
        return WorksheetStatus.UNDER_WAY
    if is_released:
        return WorksheetStatus.RELEASED
    return WorksheetStatus.VERIFIED if is_verified else WorksheetStatus.PROPOSED
