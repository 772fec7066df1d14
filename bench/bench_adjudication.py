"""Times the adjudication of 10,000 participants, beside a plain loop that asks the database for each of them.

Starts a private PostgreSQL of its own in a temporary folder and ends it. The inputs (80,000 results, 1,000 events) are
put in bulk with the audit triggers of the input tables off; the adjudications themselves are audited as always.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

PARTICIPANTS, IN_THE_LOOP, BAR_S = 10_000, 500, 20.0
DAYS = (14, 28, 42, 56, 63, 77, 91, 98)
GRAFT_ON = date(2025, 3, 3)
INPUT_TABLES = (
    "trials_participant",
    "trials_enrolment",
    "trials_anchor",
    "casebook_labdraw",
    "casebook_labresult",
    "casebook_clinicalevent",
)


@contextmanager
def scratch_database() -> Iterator[None]:
    """Django over a database that is gone afterwards."""
    from config.embedded.postgres import FOR_TESTS, OWNER, Postgres

    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's own user has to pass through when root measures
        server = Postgres(Path(folder), options=FOR_TESTS)
        server.start()
        try:
            os.environ |= {
                "DATABASE_URL": server.url(OWNER),
                "BROKER_URL": "redis+socket:///nothing-is-sent",
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "CANOPY_TESTING": "1",
            }
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            yield
        finally:
            from django.db import connections

            connections.close_all()
            server.stop()


def published_trial() -> Any:
    """PARACHUTE's definition, published."""
    from trials import actions as trials

    text = (ROOT / "trials/definitions/parachute/v1.yaml").read_text()
    version = trials.publish_protocol(
        text=text, file="parachute/v1.yaml", kind="practice", by=None, reason="measurement"
    )
    return version.trial


def fill(trial: Any, n: int, *, group: str = "individualised", first: int = 0, external: bool = False) -> list[int]:
    """``n`` participants with eight CD4 counts each, one in ten with a death or relapse; returns their ids."""
    from django.db import connection, transaction

    from casebook.models import ClinicalEvent, LabDraw, LabResult
    from trials.models import Anchor, Enrolment, Participant

    rng = random.Random(first + n)
    sites = list(trial.sites.order_by("pk"))
    with connection.cursor() as cursor:
        for table in INPUT_TABLES:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    with transaction.atomic():
        people = Participant.objects.bulk_create(
            Participant(
                trial=trial,
                site=sites[number % len(sites)],
                protocol_version=trial.active_version,
                screening_number=f"S{number:05}",
                number=f"{'H' if external else 'P'}{number:05}",
                group=group,
                status="external" if external else "enrolled",
                screened_on=GRAFT_ON - timedelta(days=30),
                sex="unknown",
                is_external=external,
            )
            for number in range(first, first + n)
        )
        if not external:
            Enrolment.objects.bulk_create(
                Enrolment(participant=one, enrolled_on=GRAFT_ON - timedelta(days=14), source="import") for one in people
            )
        Anchor.objects.bulk_create(Anchor(participant=one, revision=1, day=GRAFT_ON, is_actual=True) for one in people)
        draws = [
            LabDraw(
                participant=one,
                sampled_at=datetime(2025, 3, 3, 9, tzinfo=UTC) + timedelta(days=day),
                sampled_on=GRAFT_ON + timedelta(days=day),
                has_time=True,
                specimen="blood",
            )
            for one in people
            for day in DAYS
        ]
        LabDraw.objects.bulk_create(draws, batch_size=5000)
        values = [Decimal(rng.randint(5, 110)) / 1000 for _ in draws]
        LabResult.objects.bulk_create(
            (
                LabResult(
                    draw=draw,
                    analyte="LB.CD4",
                    value_as_written=str(value),
                    unit_as_written="10^9/L",
                    value=value,
                    unit="10^9/L",
                )
                for draw, value in zip(draws, values, strict=True)
            ),
            batch_size=5000,
        )
        ClinicalEvent.objects.bulk_create(
            ClinicalEvent(
                participant=one,
                kind=rng.choice(["death", "relapse"]),
                occurred=(GRAFT_ON + timedelta(days=rng.randint(10, 150))).isoformat(),
                detail={},
            )
            for one in rng.sample(people, n // 10)
        )
    with connection.cursor() as cursor:
        for table in INPUT_TABLES:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER audit_{table}")
        cursor.execute("ANALYZE")
    return [one.pk for one in people]


def plain_loop(trial: Any, participants: list[int]) -> int:
    """What a loop over participants does: ask for the counts and events of each, decide, and write one row."""
    from django.db import transaction

    from analysis.domain.consecutive_threshold import CompetingEvent, Measurement, Rule, adjudicate
    from analysis.models import Adjudication
    from audit import context
    from casebook.models import ClinicalEvent, LabResult
    from trials.models import Participant

    endpoint = trial.protocol.endpoint("cd4_reconstitution")
    rule = Rule.from_parameters(endpoint.parameters)
    reached = 0
    with transaction.atomic():
        with context.context(by=None, reason="measurement"):
            for pk in participants:
                one = Participant.objects.get(pk=pk)
                results = LabResult.objects.filter(draw__participant=one, analyte=endpoint.item).select_related("draw")
                counts = [Measurement((r.draw.sampled_on - GRAFT_ON).days, r.value, r.qualifier, r.pk) for r in results]
                days = [
                    (event.kind, (date.fromisoformat(event.occurred) - GRAFT_ON).days, event.pk)
                    for event in ClinicalEvent.objects.filter(participant=one, kind__in=endpoint.competing)
                ]
                outcome = adjudicate(
                    rule, counts, [CompetingEvent(kind, day, day, row) for kind, day, row in days], as_of_day=500
                )
                reached += outcome.status == "reached"
                Adjudication.objects.create(
                    participant=one,
                    endpoint=endpoint.id,
                    status=outcome.status,
                    event_day=outcome.event_day,
                    is_evaluable=outcome.evaluable,
                    evidence={"sentence": outcome.sentence},
                    parameters={},
                    method=endpoint.method,
                    method_version="loop",
                    protocol_version=trial.active_version,
                    code_version="loop",
                    input_sha256="",
                )
        transaction.set_rollback(True)
    return reached


def main() -> bool:
    from analysis import actions
    from analysis.models import Adjudication

    trial = published_trial()
    start = time.perf_counter()
    ids = fill(trial, PARTICIPANTS)
    print(f"{PARTICIPANTS} participants, {PARTICIPANTS * len(DAYS)} results ({time.perf_counter() - start:.0f} s)")

    start = time.perf_counter()
    plain_loop(trial, ids[:IN_THE_LOOP])
    each_in_loop = (time.perf_counter() - start) / IN_THE_LOOP

    start = time.perf_counter()
    written = actions.adjudicate(participants=ids)
    first_s = time.perf_counter() - start
    start = time.perf_counter()
    again = actions.adjudicate(participants=ids)
    again_s = time.perf_counter() - start
    assert (written, again) == (PARTICIPANTS, 0)
    assert Adjudication.objects.current().count() == PARTICIPANTS

    ratio = each_in_loop * PARTICIPANTS / first_s
    verdict = "met" if first_s <= BAR_S else "MISSED"
    print(f"adjudicated          {first_s:6.1f} s   bar {BAR_S:.0f} s {verdict}")
    print(f"again, nothing new   {again_s:6.1f} s")
    print(f"a plain loop         {each_in_loop * PARTICIPANTS:6.1f} s   from {IN_THE_LOOP}; {ratio:.1f} times as long")
    return first_s <= BAR_S


if __name__ == "__main__":
    with scratch_database():
        is_met = main()
    sys.exit(0 if is_met else 1)
