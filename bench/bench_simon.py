"""Times two-stage designs, exact tables and boundaries against their bars and, where there is one, a peer.

Installs nothing. With R on the PATH, its fisher.test and, if installed, clinfun's ph2simon run side by side; without,
the rows say so (Debian: ``apt-get install r-base-core``; then ``install.packages("clinfun")`` in R).
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scipy import stats

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis.domain.group_sequential import boundaries
from analysis.domain.proportions import fisher_exact
from analysis.domain.sample_size import one_proportion
from analysis.domain.simon import TwoStage, inference, search

DIAGNOSES = [[43, 20], [24, 8], [7, 18], [26, 12]]
FOUR_BY_FOUR = [[20, 6, 8, 9], [9, 15, 10, 9], [8, 9, 16, 10], [11, 9, 8, 15]]


def milliseconds(work: Callable[[], object], *, times: int = 15) -> float:
    """Median over ``times`` runs, after one to warm up."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def r_milliseconds(expression: str, *, needs: str | None = None, times: int = 15) -> float | str:
    """Median in R of ``expression``, or why there is none."""
    if shutil.which("Rscript") is None:
        return "R is not on the PATH"
    if needs is not None:
        expression = f"{needs}::{expression}"
    script = f"""
        work <- function() {expression}
        invisible(work())
        taken <- replicate({times}, {{ s <- Sys.time(); work(); as.numeric(Sys.time() - s, units = "secs") }})
        cat(1000 * median(taken))
    """
    done = subprocess.run(["Rscript", "--vanilla", "-e", script], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return next((line.strip() for line in done.stderr.splitlines() if "rror" in line), "R failed")
    return float(done.stdout)


def r_matrix(table: list[list[int]]) -> str:
    cells = ", ".join(str(x) for row in table for x in row)
    return f"matrix(c({cells}), nrow = {len(table)}, byrow = TRUE)"


def row(name: str, ours: float, *, bar: float | None = None, peer: str = "", theirs: float | str | None = None) -> None:
    """One line: our median, the bar it must stay under, and how many times faster than the peer."""
    held = "" if bar is None else f"bar {bar:g} ms {'held' if ours <= bar else 'MISSED'}"
    if isinstance(theirs, float):
        against = f"{peer} {theirs:.2f} ms, ratio {theirs / ours:.1f}x"
    else:
        against = f"{peer}: {theirs}" if peer else ""
    print(f"{name:<44} {ours:9.2f} ms  {held:<20} {against}".rstrip())


def main() -> None:
    ph2simon = "ph2simon(0.6, 0.8, 0.05, 0.1, nmax = 100)"
    row(
        "Simon search .6 .8 .05 .1, global",
        milliseconds(lambda: search(0.6, 0.8, alpha=0.05, beta=0.1)),
        bar=25,
        peer="clinfun ph2simon, nmax 100",
        theirs=r_milliseconds(ph2simon, needs="clinfun"),
    )
    row("Simon search .4 .5 .05 .1, global", milliseconds(lambda: search(0.4, 0.5, alpha=0.05, beta=0.1), times=5))
    design = TwoStage(r1=12, n1=19, r=37, n=53)
    row(
        "Inference after 41 of 51, 15 of 19 in stage one",
        milliseconds(lambda: inference(design, p0=0.6, responses=41, stage1_responses=15, n=51)),
    )
    row(
        "Fisher 2 x 2",
        milliseconds(lambda: fisher_exact([[41, 10], [52, 48]])),
        peer="scipy (p value only)",
        theirs=milliseconds(lambda: stats.fisher_exact([[41, 10], [52, 48]])),
    )
    for name, table, options, times in (
        ("Fisher 4 x 2, n 158", DIAGNOSES, "", 15),
        ("Fisher 4 x 4, n 172", FOUR_BY_FOUR, ", workspace = 2e8", 3),
    ):
        row(
            name,
            milliseconds(lambda table=table: fisher_exact(table), times=times),
            peer="R fisher.test",
            theirs=r_milliseconds(f"fisher.test({r_matrix(table)}{options})", times=times),
        )
    looks = [0.25, 0.5, 0.75, 1.0]
    row("O'Brien-Fleming, 4 looks", milliseconds(lambda: boundaries("OF", alpha=0.025, information=looks)))
    row("Alpha spending, 4 looks", milliseconds(lambda: boundaries("asOF", alpha=0.025, information=looks)))
    row(
        "Exact size of one proportion, .39 .49",
        milliseconds(lambda: one_proportion(0.39, 0.49, alpha=0.05, power=0.8, sides=1, method="exact")),
    )


if __name__ == "__main__":
    main()
