"""Survival, competing risks and matching: our times beside those of R and of lifelines, in one run.

    python bench/bench_survival.py          # about a minute with R, crr up to n = 5000
    python bench/bench_survival.py --long   # crr at n = 10000 too, two minutes more

R is timed where ``Rscript`` is present; nothing is installed. On a busy machine all times grow, the ratios hardly.
"""

import argparse
import csv
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis.domain.competing_risks import cumulative_incidence, fine_gray, gray_test
from analysis.domain.matching import nearest_match, propensity_score
from analysis.domain.survival import cox, kaplan_meier, log_rank, proportional_hazards_test

R_PACKAGES = "r-base-core r-cran-survival r-cran-cmprsk"
REGISTRY_SIZE = 124_348

R_SCRIPT = """
suppressMessages({library(survival); library(cmprsk)})
arguments <- commandArgs(trailingOnly = TRUE)
crr_sizes <- as.integer(strsplit(arguments[2], ",")[[1]])
d <- read.csv(arguments[1]); Z <- as.matrix(d[, c("x1", "x2", "x3", "x4", "x5")])
report <- function(name, times, task) {
  seconds <- sapply(seq_len(times), function(i) system.time(task())[["elapsed"]])
  cat(name, median(seconds), "\\n")
}
report("km", 7, function() survfit(Surv(time, cause == 1) ~ 1, d))
report("logrank", 7, function() survdiff(Surv(time, cause == 1) ~ group, d))
report("cuminc", 7, function() cuminc(d$time, d$cause, d$group))
report("cox", 7, function() cox.zph(coxph(Surv(time, cause == 1) ~ x1 + x2 + x3 + x4 + x5, d)))
for (n in crr_sizes) {
  few <- seq_len(n)
  report(paste0("crr", n), if (n > 2000) 1 else 5, function() crr(d$time[few], d$cause[few], Z[few, ]))
}
"""


def patients(n: int, *, seed: int = 1) -> dict[str, np.ndarray]:
    """Simulated patients with five covariates, three groups, two causes and 40 % censoring."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).round(4)
    time_years = np.ceil(rng.exponential(1, n) * np.exp(-0.3 * x[:, 0]) * 1e6) / 1e6
    return {
        "time": time_years,
        "cause": rng.choice([0, 1, 2], n, p=[0.4, 0.35, 0.25]),
        "group": rng.integers(0, 3, n),
        "x": x,
    }


def seconds(task: Callable[[], object], times: int = 7) -> float:
    """The median duration of ``task``, after one run that is not counted."""
    task()
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        task()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def seconds_in_r(data: dict[str, np.ndarray], crr_sizes: list[int]) -> dict[str, float]:
    """Medians of R's tasks by name; empty without R."""
    if shutil.which("Rscript") is None:
        print(f"R is not here; it would be timed with the distribution's packages {R_PACKAGES}\n")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        table, script = Path(folder, "patients.csv"), Path(folder, "times.R")
        script.write_text(R_SCRIPT)
        with table.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["time", "cause", "group", "x1", "x2", "x3", "x4", "x5"])
            rows.writerows(
                [t, c, g, *x]
                for t, c, g, x in zip(*(data[k].tolist() for k in ("time", "cause", "group", "x")), strict=True)
            )
        sizes = ",".join(map(str, crr_sizes))
        run = subprocess.run(
            ["Rscript", str(script), str(table), sizes], capture_output=True, text=True, check=False, timeout=1800
        )
    if run.returncode != 0:
        print(f"R could not be timed (it needs {R_PACKAGES}): {run.stderr.strip().splitlines()[-1:]}\n")
    return {name: float(value) for name, value in (line.split() for line in run.stdout.splitlines())}


def seconds_in_lifelines(data: dict[str, np.ndarray]) -> dict[str, float]:
    """Medians of lifelines' tasks by name; empty without lifelines."""
    try:
        import pandas as pd
        from lifelines import CoxPHFitter, KaplanMeierFitter
        from lifelines.statistics import multivariate_logrank_test, proportional_hazard_test
    except ImportError:
        return {}
    event = data["cause"] == 1
    frame = pd.DataFrame(data["x"], columns=list("abcde")).assign(time=data["time"], event=event)

    def cox_and_test() -> object:
        fit = CoxPHFitter().fit(frame, "time", "event")
        return proportional_hazard_test(fit, frame, time_transform="km")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "km": seconds(lambda: KaplanMeierFitter().fit(data["time"], event), 3),
            "logrank": seconds(lambda: multivariate_logrank_test(data["time"], data["group"], event), 3),
            "cox": seconds(cox_and_test, 3),
            "cox alone": seconds(lambda: CoxPHFitter().fit(frame, "time", "event"), 3),
        }


def row(what: str, ours: float, peer: str = "", theirs: float | None = None, bar: str = "") -> None:
    """One line: what, our milliseconds, the peer's and how many times faster we are, and the bar that was set."""
    beside = "" if theirs is None else f"{peer:>10} {1e3 * theirs:12.1f} ms {theirs / ours:10.1f}x"
    print(f"{what:<44}{1e3 * ours:10.2f} ms {beside:<36} {bar}")


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--long", action="store_true", help="time crr at n = 10000 too")
    crr_sizes = [1_000, 5_000, 10_000] if options.parse_args().long else [1_000, 5_000]

    data = patients(10_000)
    t, cause, group, x = data["time"], data["cause"], data["group"], data["x"]
    event = cause == 1
    r, lifelines = seconds_in_r(data, crr_sizes), seconds_in_lifelines(data)
    print("medians; 'x' is how many times faster ours is\n")

    def beside(what: str, name: str, ours: float, bar: str = "") -> None:
        row(what, ours, "R", r.get(name), bar)
        if name in lifelines:
            row("", ours, "lifelines", lifelines[name])

    beside("Kaplan-Meier, n = 1e4", "km", seconds(lambda: kaplan_meier(t, event)))
    beside("log-rank, 3 groups, n = 1e4", "logrank", seconds(lambda: log_rank(t, event, group)))

    def incidence_and_test() -> None:
        for of in (1, 2):
            for g in range(3):
                cumulative_incidence(t[group == g], cause[group == g], of=of)
            gray_test(t, cause, group, of=of)

    beside("6 CIFs + 2 Gray tests, n = 1e4", "cuminc", seconds(incidence_and_test), "not below 0.33x")
    beside(
        "Cox + PH test, 5 covariates, n = 1e4",
        "cox",
        seconds(lambda: proportional_hazards_test(cox(t, event, x))),
        "1x of R, 5x of lifelines",
    )
    if "cox alone" in lifelines:
        row("Cox alone", seconds(lambda: cox(t, event, x)), "lifelines", lifelines["cox alone"], "5x")
    bars = {1_000: "30x", 5_000: "500x", 10_000: "2000x"}
    for n in (1_000, 5_000, 10_000):
        ours = seconds(lambda n=n: fine_gray(t[:n], cause[:n], x[:n]))
        row(f"Fine-Gray with sandwich, n = {n}", ours, "crr", r.get(f"crr{n}"), bars[n])
    registry = patients(REGISTRY_SIZE)
    ours = seconds(lambda: fine_gray(registry["time"], registry["cause"], registry["x"]), 3)
    row(f"Fine-Gray with sandwich, n = {REGISTRY_SIZE}", ours, bar="1500 ms")

    print()
    for n in (10_000, 100_000, 1_000_000):
        many = patients(n)
        one = seconds(lambda many=many: cumulative_incidence(many["time"], many["cause"]), 3)
        two = seconds(lambda many=many: gray_test(many["time"], many["cause"], many["group"]), 3)
        row(f"CIF + Gray's test, n = {n}", one + two, bar=f"{1e6 * (one + two) / n / np.log2(n):.4f} us / (n log n)")

    print()
    rng = np.random.default_rng(2)
    covariates = np.column_stack((rng.integers(1, 60, 1181), rng.integers(0, 2, (1181, 3))))
    treated = (rng.random(1181) < 1 / (1 + np.exp(2.5 - 0.02 * covariates[:, 0]))).astype(int)
    score = propensity_score(treated, covariates)
    row("propensity score, 1181 rows", seconds(lambda: propensity_score(treated, covariates)))
    for ratio in (1, 5):
        ours = seconds(lambda ratio=ratio: nearest_match(score, treated, x=covariates, ratio=ratio, caliper=0.2))
        row(f"matching 1:{ratio} with balance, 1181 rows", ours, bar="5 ms")


if __name__ == "__main__":
    main()
