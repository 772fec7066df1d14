"""Times and accuracy of the pharmacokinetic functions beside scipy's solve_ivp, patient by patient, in one run.

Run from the root of the repository: ``python -m bench.bench_pharmacokinetics``. Medians of five runs; the errors are
those against the reference values in ``tests/golden``.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import yaml
from scipy.integrate import solve_ivp

from dosing.domain.exposure_tables import ExposureTarget, Plane, derive_table
from dosing.domain.pharmacokinetics import Infusion, Parameters, exposure, simulate
from dosing.domain.population import PopulationModel, doses_to_target, map_estimate

ROOT = Path(__file__).parents[1]
TIMES = [0.35, 1, 1.35, 2, 2.35, 3, 3.35, 4, 5, 6, 7, 9, 12, 15, 20, 25, 30, 40, 50, 60]
DAYS = [0, 1, 2, 3]
NAMES = ("cl", "v1", "q", "v2", "vmax", "km")


def seconds(work: Callable[[], object], runs: int = 5) -> float:
    """Median time of a call after one to warm up."""
    work()
    times = []
    for _ in range(runs):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)


def virtual_patients(model: PopulationModel, n: int) -> tuple[Parameters, list[Infusion]]:
    """Children and adults of 5 to 70 kg with random effects of the model, 10 mg/kg over four days."""
    draw = np.random.default_rng(20_250_101)
    weight, alc = draw.uniform(5, 70, n), np.exp(draw.normal(0.0, 0.8, n))
    effects = {name: draw.normal(0.0, np.sqrt(omega2), n) for name, omega2 in model.random_effects.items()}
    reference = model.individual({"weight_kg": 20, "alc_1e9_per_l": 1.2}, effects)
    allometric = {"cl": 0.75, "v1": 1.0, "q": 0.75, "v2": 1.0, "vmax": 0.75, "km": 0.0}
    scaled = {name: getattr(reference, name) * (weight / 20) ** allometric[name] for name in NAMES}
    scaled["vmax"] *= (alc / 1.2) ** 0.4
    return Parameters(**scaled), [Infusion(day, 1 / 3, 2.5 * weight) for day in DAYS]


def one_by_one(values: np.ndarray, amount: float, method: str) -> np.ndarray:
    """Concentrations and the area of one patient by scipy, restarted at every edge; rtol 1e-8."""
    cl, v1, q, v2, vmax, km = values
    edges = [0, 1 / 3, 1, 4 / 3, 2, 7 / 3, 3, 10 / 3, 9, 60]
    state, found, times = np.zeros(3), [], np.array(TIMES)
    for row, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        rate = 3 * amount if row < 8 and row % 2 == 0 else 0.0

        def flow(_: float, y: np.ndarray, rate: float = rate) -> list[float]:
            c1, c2 = y[0], y[1]
            exchange = q * (c1 - c2)
            return [(rate - cl * c1 - vmax * c1 / (km + c1) - exchange) / v1, exchange / v2, c1]

        inside = times[(times > start) & (times <= end)]
        days = np.unique(np.append(inside, end))
        path = solve_ivp(flow, (start, end), state, method, t_eval=days, rtol=1e-8, atol=1e-11)
        found.append(path.y[0, : inside.size])
        state = path.y[:, -1]
    return np.append(np.concatenate(found), state[2])


def row(what: str, value: str) -> None:
    print(f"{what:<68}{value:>16}")


def main() -> None:
    model = PopulationModel.from_dict(
        yaml.safe_load((ROOT / "dosing" / "parameter_sets" / "illustrative-1.yaml").read_text())
    )
    golden = json.loads((ROOT / "tests" / "golden" / "pk_2cmt_mm.json").read_text())
    columns = np.array(golden["params"]).T
    known, course = Parameters(*columns[:6]), [Infusion(day, 1 / 3, columns[6] / 4) for day in DAYS]
    area = exposure(known, course, graft_day=9, until_day=60)
    c_error = np.abs(simulate(known, course, TIMES) / np.array(golden["conc"]) - 1).max()
    auc_error = max(np.abs(area.pre / golden["auc_pre"] - 1).max(), np.abs(area.post / golden["auc_post"] - 1).max())
    row("largest relative error of a concentration", f"{c_error:.1e}")
    row("largest relative error of an AUC", f"{auc_error:.1e}")

    n = 100_000
    parameters, infusions = virtual_patients(model, n)
    simulated = seconds(lambda: simulate(parameters, infusions, TIMES))
    exposed = seconds(lambda: exposure(parameters, infusions, graft_day=9, until_day=60))
    row(f"simulate, {n:,} patients, 20 times", f"{simulated:.2f} s")
    row(f"exposure, {n:,} patients", f"{exposed:.2f} s")
    values = np.array([np.broadcast_to(getattr(parameters, name), (n,)) for name in NAMES]).T
    few = 60
    for method in ("DOP853", "LSODA"):
        alone = seconds(
            lambda method=method: [one_by_one(values[i], infusions[0].amount[i], method) for i in range(few)], runs=3
        )
        row(f"scipy solve_ivp {method}, one by one, patients a second", f"{few / alone:,.0f}")
        row(f"simulate, patients a second: times {method}", f"{n / simulated / (few / alone):,.0f}")

    patients = json.loads((ROOT / "tests" / "golden" / "pk_map.json").read_text())["patients"]
    estimates, proposals, eta_error = [], [], 0.0
    for patient in patients:
        given = [Infusion(day, 1 / 3, patient["total_dose"] / 4) for day in DAYS]
        arguments = {
            "covariates": {"weight_kg": patient["wt"], "alc_1e9_per_l": patient["alc"]},
            "infusions": given,
            "times_day": patient["obs_times"],
            "concentrations": patient["dv"],
        }
        estimate = map_estimate(model, **arguments)
        eta_error = max(eta_error, np.abs(np.array(list(estimate.etas.values())) - patient["eta_map"]).max())
        estimates.append(seconds(lambda arguments=arguments: map_estimate(model, **arguments)))
        window = {"duration_day": 1 / 3, "graft_day": 9, "until_day": 60, "kind": "total", "low": 100.0, "high": 148.5}
        proposals.append(
            seconds(
                lambda own=estimate.parameters, given=given, window=window: doses_to_target(
                    own, given=given[:2], open_days=[2, 3], **window
                )
            )
        )
    row("map_estimate, 4 random effects, 8 samples: median of 10 patients", f"{median(estimates) * 1e3:.0f} ms")
    row("map_estimate: slowest of 10 patients", f"{max(estimates) * 1e3:.0f} ms")
    row("map_estimate: largest distance of an eta from the reference", f"{eta_error:.1e}")
    row("doses_to_target, 2 open days: median of 10 patients", f"{median(proposals) * 1e3:.0f} ms")

    target = ExposureTarget("total", 100.0, 148.5, "mg·day/L", "illustrative")
    plane = Plane(
        weight_edges=tuple(map(Decimal, (3, 20, 45, 120))),
        alc_edges=(Decimal(0), Decimal("0.5"), Decimal("1.5"), Decimal(20)),
        doses_mg_per_kg=tuple(Decimal(dose) / 2 for dose in range(4, 21)),
        days=(3, 4),
        start_day=-9,
    )
    wanted = {"targets": {"bm_pbsc": [target]}, "plane": plane, "product": "atg", "code": "bench", "seed": 1}
    derived = seconds(lambda: derive_table(model, draws=100, **wanted), runs=3)
    row("derive_table, 9 cells, 34 doses and days, 100 draws", f"{derived:.2f} s")


if __name__ == "__main__":
    main()
