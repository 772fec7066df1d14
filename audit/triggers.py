"""Migration operations that put a table under audit, or freeze it."""

from __future__ import annotations

from django.db.migrations.operations import RunSQL


class AuditTable(RunSQL):
    """Record every insert, update and delete of ``table`` in the trail, whoever makes it and by whatever way.

    ``trial`` says how the row finds its trial, hence its chain: ``"column"`` (it has ``trial_id``), ``"participant"``
    (through ``participant_id``), ``"self"`` (the participant's own row), ``"via:COLUMN:TABLE"`` (through a parent row
    that has ``trial_id`` or ``participant_id``), or ``"system"`` (it belongs to no trial). The columns named ``secret``
    (a password's hash) are recorded as a digest.
    """

    def __init__(self, table: str, *, trial: str, secret: tuple[str, ...] = ()) -> None:
        self.table, self.trial, self.secret = table, trial, secret
        super().__init__(
            sql=f"""
                CREATE CONSTRAINT TRIGGER audit_{table} AFTER INSERT OR UPDATE OR DELETE ON {table}
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                    EXECUTE FUNCTION audit_record('{trial}', '{",".join(secret)}');
                ALTER TABLE {table} ENABLE ALWAYS TRIGGER audit_{table};
            """,
            reverse_sql=f"DROP TRIGGER audit_{table} ON {table}",
        )

    def deconstruct(self) -> tuple[str, list[str], dict[str, object]]:
        return (self.__class__.__qualname__, [self.table], {"trial": self.trial, "secret": self.secret})


class FreezeTable(RunSQL):
    """Refuse deletes of ``table``'s rows, and updates of any column but those named ``free``; only ``when`` that holds.

    ``when`` is a condition on the row as it was, such as ``"OLD.state = 'decided'"``.
    """

    def __init__(self, table: str, *, free: tuple[str, ...] = (), when: str = "") -> None:
        self.table, self.free, self.when = table, free, when
        columns = ", ".join(f"'{column}'" for column in free)
        super().__init__(
            sql=f"""
                CREATE TRIGGER freeze_{table} BEFORE UPDATE OR DELETE ON {table}
                    FOR EACH ROW {f"WHEN ({when})" if when else ""} EXECUTE FUNCTION audit_freeze({columns});
                ALTER TABLE {table} ENABLE ALWAYS TRIGGER freeze_{table};
            """,
            reverse_sql=f"DROP TRIGGER freeze_{table} ON {table}",
        )

    def deconstruct(self) -> tuple[str, list[str], dict[str, object]]:
        return (self.__class__.__qualname__, [self.table], {"free": self.free, "when": self.when})
