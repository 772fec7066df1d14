"""Times the pages of doses and exposure, and the research page, through Django's whole stack in this process.

A child of the practice trial with the invented table, on a PostgreSQL of its own that is ended afterwards. Medians of
nine warm requests; the first request of each page, with empty caches, stands beside them.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_adjudication import scratch_database

BARS_MS = {"dose card": 300.0, "exposure": 300.0, "research": 2000.0}


def main() -> bool:
    from django.core.cache import cache
    from django.test import Client
    from django.urls import reverse

    from config.warmup import start_renderer
    from dosing import actions
    from dosing.models import DosingTable
    from tests.dosing.dose_world import ready, with_table
    from tests.world import build_world

    world = build_world()
    with_table(world)
    participant = ready(world)
    actions.compute_worksheet(participant=participant)
    client = Client()
    client.force_login(world.peter.user, backend="django.contrib.auth.backends.ModelBackend")
    own = {"trial": world.trial.code, "participant": participant.pk}
    asked = (
        f"?table={DosingTable.objects.get(status='ACTIVE').pk}&pre_low=40&post_high=50&cord_post_high=20&dose_low=2"
        "&dose_high=10&dose_step=0.5&weight_median=20&alc_median=0.8&people=2000&seed=1"
    )
    pages = {
        "dose card": reverse("dosing:panel", kwargs=own) + "?show=1",
        "exposure": reverse("dosing:exposure", kwargs=own) + "?show=1",
        "research": reverse("dosing:research", kwargs={"trial": world.trial.code}) + asked,
    }
    start_renderer()

    def milliseconds(page: str) -> float:
        start = time.perf_counter()
        answer = client.get(page)
        taken = 1000 * (time.perf_counter() - start)
        assert answer.status_code == 200, answer.status_code
        return taken

    met = True
    for name, page in pages.items():
        milliseconds(page)
        cache.clear()
        cold = milliseconds(page)
        warm = statistics.median(milliseconds(page) for _ in range(9 if name != "research" else 3))
        is_met = warm <= BARS_MS[name]
        met = met and is_met
        word = "met" if is_met else "MISSED"
        print(f"{name:<10} {warm:6.0f} ms   bar {BARS_MS[name]:.0f} ms {word}; with empty caches {cold:.0f} ms")
    return met


if __name__ == "__main__":
    with scratch_database():
        is_met = main()
    sys.exit(0 if is_met else 1)
