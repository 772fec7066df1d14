"""A table that should be under audit and is not stops the start, whoever dropped its trigger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

AUDITED_APPS = ("accounts", "trials", "casebook", "dosing", "adverse_events", "analysis", "exchange")


def audited_tables() -> set[str]:
    """Every table of the clinical apps and of accounts, but for those whose model says why not (``audit_exempt``)."""
    return {
        model._meta.db_table
        for label in AUDITED_APPS
        if apps.is_installed(label)
        for model in apps.get_app_config(label).get_models(include_auto_created=False)
        if model._meta.managed and not hasattr(model, "audit_exempt")
    }


@register(Tags.database)
def every_table_is_audited(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Name each table whose audit trigger is missing or does not fire always."""
    messages: list[CheckMessage] = []
    for alias in databases or []:
        with connections[alias].cursor() as cursor:
            tables = set(connections[alias].introspection.table_names(cursor))
            if "audit_trail" not in tables:
                continue  # not migrated yet
            cursor.execute(
                "SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
                " WHERE t.tgname = 'audit_' || c.relname AND t.tgenabled = 'A'"
            )
            guarded = {name for (name,) in cursor.fetchall()}
        messages += [
            Error(
                f"{table} is not under audit.",
                hint=f"Add audit.triggers.AuditTable({table!r}, ...) to a migration; if the trigger was dropped by "
                "hand, restore it and run `manage.py verify_audit`.",
                id="audit.E001",
            )
            for table in sorted((audited_tables() & tables) - guarded)
        ]
    return messages
