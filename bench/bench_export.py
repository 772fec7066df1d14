"""Times the export of a trial of the demonstration's size, beside a plain dump of the same cells through a list.

Starts a private PostgreSQL of its own in a temporary folder, makes 164 participants with 16,400 laboratory results by
the product's actions (so that the audit trail is real), exports everything as an inspector would, and ends the server.
"""

from __future__ import annotations

import csv
import io
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

PARTICIPANTS, DRAWS, BAR_S = 164, 20, 5.0


def seconds(work: Callable[[], object], *, times: int = 5) -> float:
    """Median over ``times`` runs, after one to warm up."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def make_trial():  # type: ignore[no-untyped-def]
    """A published trial with its participants and results; returns the trial and an inspector's membership."""
    from accounts.models import User
    from casebook import actions as casebook
    from casebook.actions.laboratory import DrawRow
    from casebook.domain.results import Written
    from trials import actions as trials

    text = (ROOT / "trials/definitions/parachute/v1.yaml").read_text()
    version = trials.publish_protocol(
        text=text, file="parachute/v1.yaml", kind="practice", by=None, reason="measurement"
    )
    trial, site = version.trial, version.trial.sites.order_by("pk").first()
    trials.record_site_approval(site=site, version=version, approved_on=date(2015, 1, 1), by=None)
    inspector = trials.grant_membership(
        user=User.objects.create_user(username="inspector", email="inspector@bench.test"),
        trial=trial,
        role="inspector",
        valid_from=date(2015, 1, 1),
        by=None,
        reason="measurement",
    )
    count = {"LB.WBC": "5.1", "LB.ANC": "3.25", "LB.ALC": "0.815", "LB.PLT": "212", "LB.HGB": "118"}
    values = {
        address: Written(text, version.protocol.analyte(address).canonical_unit) for address, text in count.items()
    }
    people = [
        trials.import_participant(
            trial=trial,
            site=site,
            screened_on=date(2016, 1, 1) + timedelta(days=number),
            screening_number=f"S{number:03}",
            birth_date="2010-05-05",
            sex="female",
            by=None,
            reason="measurement",
        )
        for number in range(1, PARTICIPANTS + 1)
    ]
    casebook.import_draws(
        rows=[
            DrawRow(
                participant=person,
                sampled_at=datetime(2016, 3, 1, 8) + timedelta(days=7 * week),  # noqa: DTZ001  the site's clock
                values=values,
                laboratory="Central",
            )
            for person in people
            for week in range(DRAWS)
        ],
        by=None,
        reason="measurement",
    )
    return trial, inspector


def main() -> int:
    os.environ.update(CANOPY_TESTING="1", DJANGO_SETTINGS_MODULE="config.settings", SECRET_KEY="only-for-measuring")
    from config.embedded.postgres import FOR_TESTS, Postgres

    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as folder:
        Path(folder).chmod(0o711)
        server = Postgres(Path(folder), options=FOR_TESTS)
        server.start()
        try:
            os.environ.update(DATABASE_URL=server.url(), EXPORT_DIR=f"{folder}/exports")
            return measure()
        finally:
            server.stop()


def measure() -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    from exchange import actions, selectors
    from exchange.actions.exports import file_of
    from exchange.announcements import export_requested
    from exchange.models import ExportJob
    from exchange.tasks import on_request

    call_command("migrate", verbosity=0, skip_checks=True)
    trial, inspector = make_trial()
    # No queue here: the work is called by its name, as the task does.
    export_requested.disconnect(on_request, dispatch_uid="exchange.request")
    datasets = [one.id for one in selectors.datasets_for(inspector)]
    made: list[ExportJob] = []

    def export() -> None:
        job = actions.request_export(trial=trial, datasets=datasets, variant="statistical", by=inspector)
        actions.run_export(job=job.pk)
        made.append(job)

    whole = seconds(export)
    tracemalloc.start()
    export()
    _, heap = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for job in made:
        job.refresh_from_db()
    last = made[-1]

    tables: dict[str, list[list[str]]] = {}
    with zipfile.ZipFile(file_of(last)) as file:
        for name in file.namelist():
            if name.endswith(".csv"):
                tables[name] = list(csv.reader(io.StringIO(file.read(name).decode(), newline="")))

    def dump() -> None:
        with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
            for name, rows in tables.items():
                text = io.StringIO()
                csv.writer(text).writerows(rows)
                file.writestr(name, text.getvalue())

    plain = seconds(dump)
    rows = sum(last.row_counts.values())
    print(f"rows                     {rows:>10,}  of which {last.row_counts['audit_trail']:,} of the audit trail")
    hashes = len({job.sha256 for job in made})
    print(f"archive                  {last.size_bytes / 1e6:>10.2f} MB, {hashes} hash of {len(made)} exports")
    print(f"export, job and all      {whole:>10.2f} s   bar {BAR_S:.0f} s: {'met' if whole <= BAR_S else 'MISSED'}")
    print(f"plain dump of the cells  {plain:>10.2f} s   from a list in memory, no database; ratio {whole / plain:.1f}")
    print(f"memory of one export     {heap / 1e6:>10.2f} MB at the most")
    connections.close_all()
    return 0 if whole <= BAR_S and hashes == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
