"""Times the first byte of the dashboard, warm, beside the same page with empty caches.

The page of a statistician who sees 64 participants and 100 external controls, through Django's whole stack in this
process (a network adds its own time). A private PostgreSQL is started in a temporary folder and ended.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import date
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_adjudication import fill, published_trial, scratch_database

OWN, CONTROLS, BAR_MS = 64, 100, 300.0


def main() -> bool:
    import gzip

    from django.core.cache import cache
    from django.test import Client
    from django.urls import reverse

    from accounts.models import User
    from analysis import actions
    from config.warmup import start_renderer
    from trials import actions as trials

    trial = published_trial()
    ids = fill(trial, OWN) + fill(trial, CONTROLS, group="historical", first=1000, external=True)
    actions.adjudicate(participants=ids)
    actions.refresh_gates(trial=trial)
    user = User.objects.create_user(username="rita", email="rita@bench.test")
    trials.grant_membership(
        user=user, trial=trial, role="statistician", valid_from=date(2015, 1, 1), by=None, reason="measurement"
    )
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    page = reverse("analysis:dashboard", kwargs={"trial": trial.code})
    start_renderer()

    def milliseconds(*, cold: bool) -> float:
        if cold:
            cache.clear()
        start = time.perf_counter()
        answer = client.get(page)
        taken = 1000 * (time.perf_counter() - start)
        assert answer.status_code == 200
        return taken

    milliseconds(cold=True)
    # In turn, so that a busy moment of the machine falls on both.
    taken = [(milliseconds(cold=True), milliseconds(cold=False)) for _ in range(9)]
    cold, warm = (statistics.median(times) for times in zip(*taken, strict=True))
    body = client.get(page).content
    size = f"{len(body) // 1000} kB, {len(gzip.compress(body)) // 1000} kB compressed"
    print(f"{OWN} participants and {CONTROLS} controls, {size}")
    print(f"first byte, warm     {warm:6.0f} ms   bar {BAR_MS:.0f} ms {'met' if warm <= BAR_MS else 'MISSED'}")
    print(f"with empty caches    {cold:6.0f} ms   {cold / warm:.1f} times as long")
    return warm <= BAR_MS


if __name__ == "__main__":
    with scratch_database():
        is_met = main()
    sys.exit(0 if is_met else 1)
