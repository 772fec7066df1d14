"""Times an enrolment with its whole schedule and its dose, on a PostgreSQL of its own: server time, commit included.

The trial is PARACHUTE with the synthetic table; each child is assessed on the facts of the casebook, enrolled, gets
every visit of the schedule, and a dose worksheet by the task's own function; the queue takes its messages. Needs
nothing running; leaves nothing behind.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
BAR_MS = 60
CHILDREN = 40
SCREENED, GRAFT = date(2025, 3, 3), date(2025, 3, 24)

FORMS: dict[str, dict[str, str]] = {
    "DX": {"GROUP": "metabolic_benign_haem", "DIAGNOSIS": "fictitious", "REMISSION": "NA"},
    "QS": {"SCALE": "lansky", "PERFORMANCE": "90"},
    "EC": {"DATE": SCREENED.isoformat(), "LVEF": "62"},
    "RP": {"POSTPUBERTAL": "N", "MENARCHE": "N"},
    "SH": {"GIVEN": "N"},
    "TX": {
        "PLANNED_DATE": GRAFT.isoformat(),
        "TRANSPLANT_NUMBER": "1",
        "DONOR_RELATION": "unrelated",
        "SOURCE": "bone_marrow",
        "TCELL_MANIPULATION": "none",
    },
    "CO": {"ATG_PLANNED": "Y", "REGIMEN": "fludarabine, busulfan", "INTENSITY": "MAC"},
}


def main() -> None:
    from config.embedded.postgres import OWNER, Postgres
    from config.embedded.valkey import Valkey

    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's own user has to pass through when root runs this
        server, queue = Postgres(Path(folder)), Valkey(Path(folder))
        server.start()
        queue.start()
        try:
            os.environ |= {
                "CANOPY_TESTING": "1",
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": server.url(OWNER),
                "BROKER_URL": queue.url,
            }
            import django

            django.setup()
            measure()
        finally:
            from django.db import connections

            connections.close_all()
            queue.stop()
            server.stop()


def measure() -> None:
    from django.core.management import call_command

    from casebook import actions as casebook
    from dosing import actions as dosing
    from trials.models import Participant

    call_command("migrate", verbosity=0)
    members = the_trial()
    taken: dict[str, list[float]] = {"assessment": [], "enrolment": [], "dose": []}
    totals = []
    for number in range(CHILDREN + 1):
        child = eligible_child(members)
        facts = {"participant": child, "by": members["coordinator"]}
        assessed = milliseconds(partial(casebook.check_eligibility, **facts))
        enrolled = milliseconds(partial(casebook.enrol_participant, enrolled_on=date(2025, 3, 10), **facts))
        child = Participant.objects.select_related("site", "trial", "protocol_version__trial", "enrolment").get(
            pk=child.pk
        )
        dosed = milliseconds(partial(dosing.bring_up_to_date, participant=child))
        if number == 0:  # reads the definition and fills caches
            visits = child.visits.count()
            continue
        worksheet = child.worksheets.get()
        assert not worksheet.is_refused, worksheet.result["refusals"]
        taken["assessment"].append(assessed)
        taken["enrolment"].append(enrolled - assessed)
        taken["dose"].append(dosed)
        totals.append(enrolled + dosed)
    total = statistics.median(totals)
    print(f"enrolment with {visits} visits and a dose, {CHILDREN} children: median {total:.1f} ms")
    slow = statistics.quantiles(totals, n=10)[-1]
    print(f"  90th percentile {slow:.1f} ms; bar {BAR_MS} ms: the median is {total / BAR_MS:.2f} of it")
    for name, values in taken.items():
        middle = statistics.median(values)
        print(f"  {name:<11}{middle:7.1f} ms {100 * middle / total:5.0f} %")
    print("  (enrolment: number, place, schedule, audit trail and commit; the assessment is timed by itself before)")


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def the_trial():  # type: ignore[no-untyped-def]
    """PARACHUTE for practice at its first site, with people and the synthetic table."""
    from accounts.models import User
    from dosing import actions as dosing
    from trials import actions as trials

    file = ROOT / "trials" / "definitions" / "parachute" / "v1.yaml"
    since = date(2015, 7, 1)
    version = trials.publish_protocol(text=file.read_text(), file=str(file), kind="practice", by=None, reason="bench")
    site = version.trial.sites.order_by("pk").first()
    trials.record_site_approval(site=site, version=version, approved_on=since, by=None)
    tables = ROOT / "dosing" / "tables"
    cells = (tables / "demo_not_for_clinical_use.csv").read_text()
    described = (tables / "demo_not_for_clinical_use.yaml").read_text()
    table = dosing.enter_table(trial=version.trial, description=described, cells=cells, code="parachute", by=None)
    table = dosing.verify_table(table=table, cells=cells, by=None)
    dosing.approve_table(table=table, by=None, reason="bench")
    return {
        role: trials.grant_membership(
            user=User.objects.create_user(username=role, email=f"{role}@bench.test", password=None, display_name=role),
            trial=version.trial,
            role=role,
            site=site,
            valid_from=since,
            by=None,
            reason="bench",
        )
        for role in ("coordinator", "investigator")
    }


def eligible_child(members):  # type: ignore[no-untyped-def]
    """A child with every fact that the criteria and the dose ask for."""
    from casebook import actions as casebook
    from casebook.domain.results import Written
    from trials import actions as trials
    from trials.models import Participant, Trial

    by = members["coordinator"]
    # Places are not what is measured: the trial would be full after nineteen.
    trial = Trial.objects.get(pk=by.trial_id)
    trial.counter.__class__.objects.filter(trial=trial).update(stage=3)
    child = trials.register_participant(
        trial=trial, site=by.site, birth_date="2015-06-01", sex="female", screened_on=SCREENED, by=by
    )
    trials.record_consent(participant=child, version="1.0", signed_on=SCREENED, signatory=["parent"], by=by)
    child = Participant.objects.select_related("site", "trial", "protocol_version__trial").get(pk=child.pk)
    screening = child.visits.get(code="SCR")
    for form, answers in FORMS.items():
        visit = None if child.protocol.form(form).per_participant else screening
        casebook.save_entry(participant=child, form=form, answers=answers, visit=visit, by=by)
    baseline = trials.record_visit(visit=child.visits.get(code="BL"), done_on=GRAFT - timedelta(days=10), by=by)
    casebook.save_entry(participant=child, form="VS", answers={"WEIGHT": "23.4"}, visit=baseline, by=by)
    casebook.record_draw(
        participant=child,
        sampled_at=datetime(2025, 3, 14, 8),  # noqa: DTZ001  (the site's time)
        values={"LB.ALC": Written("0.8", "10^9/L")},
        laboratory="A",
        by=by,
    )
    assessment = casebook.check_eligibility(participant=child, by=by)
    asked = [row["id"] for row in assessment.criteria if row["needs_human"] and row["result"] == "unknown"]
    casebook.answer_criteria(participant=child, answers=dict.fromkeys(asked, ("no", "")), by=members["investigator"])
    return child


if __name__ == "__main__":
    main()
