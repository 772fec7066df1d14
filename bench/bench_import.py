"""Times the import of the PARACHUTE reconstruction, beside writing the same rows without rules, actions or audit.

Starts a private PostgreSQL of its own in a temporary folder and ends it. The reference copies the extract's cells into
bare tables in the same server: what is left of the ratio is the price of reading each value as if it were typed, of
visits, deviations and endpoints that follow, and of the audit trail.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

BAR_S = 30.0


def main() -> int:
    os.environ.update(CANOPY_TESTING="1", DJANGO_SETTINGS_MODULE="config.settings", SECRET_KEY="only-for-measuring")
    from config.embedded.postgres import FOR_TESTS, Postgres

    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as folder:
        Path(folder).chmod(0o711)
        server = Postgres(Path(folder), options=FOR_TESTS)
        server.start()
        try:
            os.environ.update(DATABASE_URL=server.url(), BROKER_URL="memory://")
            return measure()
        finally:
            server.stop()


def measure() -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0, skip_checks=True)
    whole, audited = imported()
    bare = copied()
    rows = audited[0]
    print(f"import of 168 people with 16,258 results: {whole:.1f} s (bar {BAR_S:.0f} s), {rows:,} audit rows")
    print(f"the same cells copied into bare tables: {bare:.2f} s; ratio {whole / bare:.0f}")
    connections.close_all()
    return int(whole > BAR_S)


def imported() -> tuple[float, tuple[int]]:
    """Seconds for the import through the product, committed; and the audit rows that it left."""
    from django.db import connection

    from accounts.models import User
    from exchange.actions import demonstration
    from exchange.actions.extracts import import_extract
    from trials import actions as trials

    file = demonstration.DEFINITIONS / "parachute" / "v1.yaml"
    version = trials.publish_protocol(
        text=file.read_text(encoding="utf-8"), file=str(file), kind="reconstruction", by=None, reason="measurement"
    )
    for site in version.trial.sites.all():
        trials.record_site_approval(site=site, version=version, approved_on=demonstration.SINCE, by=None)
    by = trials.grant_membership(
        user=User.objects.create_user(username="importer", email="importer@bench.test"),
        trial=version.trial,
        role="coordinator",
        valid_from=demonstration.SINCE,
        by=None,
        reason="measurement",
    )
    start = time.perf_counter()
    extract = demonstration.read_extract(demonstration.RECONSTRUCTIONS / "parachute")
    import_extract(trial=version.trial, extract=extract, by=by, reason="measurement")
    taken = time.perf_counter() - start
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_trail")
        return taken, cursor.fetchone()


def copied() -> float:
    """Seconds for the same files copied into tables of text columns."""
    from django.db import connection

    from exchange.actions import demonstration

    start = time.perf_counter()
    with connection.cursor() as cursor:
        for file in sorted((demonstration.RECONSTRUCTIONS / "parachute").glob("*.csv")):
            header, *lines = file.read_text(encoding="utf-8").splitlines()
            columns = ", ".join(f'"{name}" text' for name in header.split(","))
            cursor.execute(f"CREATE TEMP TABLE bare_{file.stem} ({columns})")
            with cursor.copy(f"COPY bare_{file.stem} FROM STDIN (FORMAT csv)") as copy:
                copy.write("\n".join(lines))
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
