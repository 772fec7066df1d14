"""The two database roles: the owner migrates; the application's role owns nothing and cannot rewrite the trail."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

# Written by triggers that run as the owner, read by the viewer: the application's role never writes here.
READ_ONLY_TABLES = ("audit_trail", "django_migrations")

# Before PostgreSQL 17 nobody but its owner could have a table analysed.
FIRST_WITH_MAINTAIN = 170000


class RoleMissing(Exception):
    """The application's role does not exist in this database server."""


def grant_app_role(connection: BaseDatabaseWrapper, role: str) -> None:
    """Give ``role`` the rights the application needs on every table there is now, and not one more.

    No TRUNCATE, no ownership, no creation of objects; nothing but reading on the audit trail. Run as the owner, after
    each migration: a new table gives no rights to anybody.
    """
    name = sql.Identifier(role)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        if cursor.fetchone() is None:
            raise RoleMissing(
                f"The database has no role {role!r} for the application. Its administrator makes it with: "
                f"CREATE ROLE {role} LOGIN PASSWORD '...'"
            )
        for statement in (
            "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
            "GRANT USAGE ON SCHEMA public TO {role}",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
            "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
        ):
            cursor.execute(sql.SQL(statement).format(role=name).as_string(cursor.connection))
        if connection.connection.info.server_version >= FIRST_WITH_MAINTAIN:
            # For ANALYZE at the end of an import: what reads the rows next would be planned for empty tables.
            cursor.execute(
                sql.SQL("GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO {role}")
                .format(role=name)
                .as_string(cursor.connection)
            )
        # Views too are only read: writing through one would be done with its owner's rights.
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND (relkind IN ('v', 'm') OR relname = ANY(%s))",
            [list(READ_ONLY_TABLES)],
        )
        for (relation,) in cursor.fetchall():
            revoke = sql.SQL("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {relation} FROM {role}")
            cursor.execute(revoke.format(relation=sql.Identifier(relation), role=name).as_string(cursor.connection))
