"""A published definition that was changed behind the application's back, or that it cannot read, stops the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections

from trials.domain import language
from trials.domain.lifecycle import VersionState
from trials.models import ProtocolVersion


@register(Tags.database)
def published_definitions_hold(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Read each active definition and compare it with the hash it was published under."""
    messages: list[CheckMessage] = []
    for alias in databases or []:
        try:
            if ProtocolVersion._meta.db_table not in connections[alias].introspection.table_names():
                continue  # not migrated yet
            versions = list(
                ProtocolVersion.objects.using(alias).filter(status=VersionState.ACTIVE).select_related("trial")
            )
        except DatabaseError:
            continue
        for version in versions:
            try:
                # Read from the row itself: `protocol` may remember the text that the hash belongs to.
                intact = language.sha256(language.from_data(version.definition)) == version.sha256
            except language.DefinitionErrors as errors:
                messages.append(
                    Error(
                        f"The definition of {version} cannot be read: {errors.errors[0]}",
                        hint="Run the version of Canopy that it was published with.",
                        id="trials.E002",
                    )
                )
                continue
            if not intact:
                messages.append(
                    Error(
                        f"The definition of {version} is not the one that was published: its hash differs.",
                        hint="Run `manage.py verify_audit`, then restore the row from a backup.",
                        id="trials.E001",
                    )
                )
    return messages
