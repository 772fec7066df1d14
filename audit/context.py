"""Who changes data, in which role, and why: told to the database once, recorded by its triggers.

    with audit.context(by=membership, reason="transcription error"):
        ...

The triggers are deferred to the end of the transaction, so that the trail's chain is locked only for a moment. Where a
second context opens in the same transaction (an import that acts for several people), what was written under the first
one is recorded before the second takes its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from django.db import connection


class Source(StrEnum):
    """Where a change came from."""

    USER = "user"
    IMPORT = "import"
    CALCULATION = "calculation"
    API = "api"
    SYSTEM = "system"


class Actor(Protocol):
    """Whoever acts: a membership, which knows its user, role and site."""

    @property
    def audit_identity(self) -> dict[str, object]:
        """``user_id``, ``user_name``, ``role`` and ``site``, as they stand at the time of the act."""
        ...


@contextmanager
def context(*, by: Actor | None, reason: str = "", source: Source = Source.USER) -> Iterator[None]:
    """Attribute every change inside the block to ``by`` (None: the system itself). Needs an open transaction."""
    if not connection.in_atomic_block:
        raise RuntimeError("audit.context needs a transaction: put @transaction.atomic on the action.")
    identity = by.audit_identity if by is not None else {"user_name": "Canopy", "role": "system"}
    acting = json.dumps({**identity, "reason": reason, "source": str(source)}, sort_keys=True)
    outer = _enter(acting)
    yield
    # Not in a finally: after an error the transaction is rolled back, and its settings with it.
    if outer and outer != acting:
        _enter(outer)


def _enter(acting: str) -> str:
    """Make ``acting`` the transaction's context and return the one it replaces ('' where there was none)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_enter(%s)", [acting])
        return cursor.fetchone()[0]
