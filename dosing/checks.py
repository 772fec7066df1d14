"""Every published definition names only dosing methods that this floor knows; its tables may still be missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError, connections

from dosing import selectors
from dosing.domain.states import TableStatus
from dosing.domain.worksheet import METHODS
from dosing.models import DosingTable
from trials.domain.definition import Capture
from trials.models import ProtocolVersion


@register(Tags.database)
def definitions_can_be_dosed(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """An unknown method stops the start; a table that nobody entered yet is a warning: doses are refused until then."""
    messages: list[CheckMessage] = []
    for alias in databases or []:
        try:
            tables = connections[alias].introspection.table_names()
            if not {ProtocolVersion._meta.db_table, DosingTable._meta.db_table} <= set(tables):
                continue  # not migrated yet
            versions = list(ProtocolVersion.objects.using(alias).filter(status="ACTIVE").select_related("trial"))
            active = set(
                DosingTable.objects.using(alias).filter(status=TableStatus.ACTIVE).values_list("trial_id", "code")
            )
        except DatabaseError:
            continue
        for version in versions:
            spec = version.protocol.dosing
            if spec is None:
                continue
            named = [(f"dosing of {group}", one) for group, one in spec.by_group.items()] or [("dosing", spec)]
            messages += [
                Error(
                    f"{version}: {place} names the method {one.method!r}, which is not known.",
                    hint=f"Known methods: {', '.join(METHODS)}. Run the version of Canopy it was published with.",
                    id="dosing.E001",
                )
                for place, one in named
                if one.method not in METHODS
            ]
            if version.protocol.capture is Capture.RETROSPECTIVE:
                continue
            messages += [
                CheckWarning(
                    f"{version}: the dosing table “{code}” is not active; no dose is computed.",
                    hint="Enter, verify and approve it under dosing tables.",
                    id="dosing.W001",
                )
                for code in sorted({str(one.parameters["table"]) for one in selectors.table_specs(version.trial)})
                if (version.trial_id, code) not in active
            ]
    return messages
