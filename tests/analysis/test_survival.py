"""Kaplan-Meier, log-rank, Cox and the test of proportional hazards, against R, lifelines and plain loops.

Golden values: tests/golden/synth_hct.json, synth_cr2000.json, survival_r.json; their provenance is in the README there.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from analysis.domain.survival import cox, kaplan_meier, log_rank, proportional_hazards_test

GOLDEN = Path(__file__).parents[1] / "golden"
HCT = json.loads((GOLDEN / "synth_hct.json").read_text())
CR2000 = json.loads((GOLDEN / "synth_cr2000.json").read_text())
FROM_R = json.loads((GOLDEN / "survival_r.json").read_text())["sets"]
CONF = ["plain", "log", "log-log", "arcsin", "logit"]
TRANSFORMS = ["km", "rank", "identity", "log"]


def table(name):
    with (GOLDEN / name).open() as file:
        rows = list(csv.reader(file))
    return {column: np.array([row[j] for row in rows[1:]], dtype=float) for j, column in enumerate(rows[0])}


hct = table("synth_hct.csv")
cr2000 = table("synth_cr2000.csv")
HCT_X = np.column_stack([hct[name] for name in ("arm", "age", "malig", "cord", "mm")])
CR_X = np.column_stack([cr2000[name] for name in ("x1", "x2", "x3", "x4", "x5")])


def same(actual, expected, rtol=1e-10):
    """Equal to R; R prints NA where a value is not defined."""
    known = np.array([np.nan if value is None else value for value in expected], dtype=float)
    assert_allclose(np.asarray(actual, dtype=float), known, rtol=rtol, atol=1e-14)


# Kaplan-Meier ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("STA1")
@pytest.mark.parametrize("conf", CONF)
@pytest.mark.parametrize("arm", ["0", "1"])
@pytest.mark.parametrize("endpoint", ["os", "efs"])
def test_kaplan_meier_equals_r(endpoint, arm, conf):
    golden = HCT[f"km_{endpoint}"]
    expected = golden["curves"][arm]
    rows = hct["arm"] == int(arm)
    fit = kaplan_meier(hct[f"{endpoint}_time"][rows], hct[endpoint][rows], conf=conf)
    at = fit.at(golden["times"])
    same(at.estimate, expected["surv"])
    same(at.std_error, expected["std_err_S"])
    same(at.n_risk, expected["n_risk"])
    same(at.lower, expected["ci"][conf]["lower"])
    same(at.upper, expected["ci"][conf]["upper"])
    quartiles = fit.quantile([0.25, 0.5, 0.75])
    same(quartiles.estimate, expected["quartiles"][conf]["q"])
    same(quartiles.lower, expected["quartiles"][conf]["lower"])
    same(quartiles.upper, expected["quartiles"][conf]["upper"])
    rmst = fit.rmst(golden["rmst"]["tau"])
    same([rmst.estimate, rmst.std_error], [golden["rmst"]["rmean"][int(arm)], golden["rmst"]["se"][int(arm)]])


@pytest.mark.parametrize("endpoint", ["os", "efs"])
def test_median_follow_up_by_reverse_kaplan_meier_equals_r(endpoint):
    expected = HCT[f"km_{endpoint}"]["median_followup_reverse_km"]
    median = kaplan_meier(hct[f"{endpoint}_time"], 1 - hct[endpoint]).quantile(0.5)
    same([median.estimate, median.lower, median.upper], [expected["q"], expected["lower"], expected["upper"]])


@pytest.mark.parametrize("conf", CONF)
@pytest.mark.parametrize("case", FROM_R)
def test_kaplan_meier_counts_and_limits_equal_r_where_ties_are_many(case, conf):
    data, expected = case["data"], case["expected"]
    fit = kaplan_meier(data["time"], np.array(data["cause"]) == 1, conf=conf)
    at = fit.at([0, 1, 3.3, 5, 8, 200])
    for field, name in [
        ("estimate", "est"),
        ("std_error", "se"),
        ("n_event", "ne"),
        ("n_censor", "nc"),
        ("n_risk", "nr"),
    ]:
        same(getattr(at, field), expected[f"km_{name}_{conf}"])
    # R gives no limits after a first loss without an event on three of the scales; ours are then 1 and 1.
    after_an_event = at.estimate < 1
    for field, name in [("lower", "lo"), ("upper", "up")]:
        of_r = np.array(expected[f"km_{name}_{conf}"], dtype=object)
        same(getattr(at, field)[after_an_event], of_r[after_an_event])
        assert (getattr(at, field)[~after_an_event] == 1).all()
    quantile = fit.quantile([0.1, 0.2, 0.25, 0.5, 0.6, 0.75, 0.9])
    same(quantile.estimate, expected[f"q_{conf}"])
    same(quantile.lower, expected[f"ql_{conf}"])
    same(quantile.upper, expected[f"qu_{conf}"])
    rmst = fit.rmst(7.5)
    same([rmst.estimate, rmst.std_error], expected["rmst"])


def kaplan_meier_by_hand(time, event, at):
    """S(t) and Greenwood's sum, one time after the other."""
    survival, greenwood = 1.0, 0.0
    for t in sorted(set(time)):
        if t > at:
            break
        n = sum(u >= t for u in time)
        d = sum(u == t and e for u, e in zip(time, event, strict=True))
        survival *= 1 - d / n
        greenwood += d / (n * (n - d)) if n > d else np.nan
    return survival, survival * greenwood**0.5


samples = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=1, max_size=25)


@given(samples, st.integers(0, 13))
@settings(max_examples=100, deadline=None)
def test_kaplan_meier_equals_the_definition(sample, at):
    time, event = zip(*sample, strict=True)
    fit = kaplan_meier(time, event).at(at)
    survival, std_error = kaplan_meier_by_hand(time, event, at)
    assert fit.estimate == pytest.approx(survival, abs=1e-12)
    assert_allclose(fit.std_error, std_error, atol=1e-12)


@given(samples, st.sampled_from(CONF), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_laws_of_a_survival_curve(sample, conf, random):
    time, event = zip(*sample, strict=True)
    fit = kaplan_meier(time, event, conf=conf)
    assert (np.diff(fit.estimate) <= 0).all()
    defined = fit.estimate > 0
    assert (fit.lower[defined] <= fit.estimate[defined] + 1e-12).all()
    assert (fit.upper[defined] >= fit.estimate[defined] - 1e-12).all()
    assert ((fit.lower[defined] >= 0) & (fit.upper[defined] <= 1)).all()
    assert fit.n_event.sum() + fit.n_censor.sum() == len(sample)
    shuffled = list(sample)
    random.shuffle(shuffled)
    again = kaplan_meier(*zip(*shuffled, strict=True), conf=conf)
    assert_allclose(again.estimate, fit.estimate, rtol=0)
    assert_allclose(again.upper, fit.upper, rtol=0)


def test_kaplan_meier_agrees_with_lifelines():
    from lifelines import KaplanMeierFitter

    theirs = KaplanMeierFitter().fit(cr2000["week"], cr2000["status"] == 1).survival_function_at_times([10, 50]).values
    assert_allclose(kaplan_meier(cr2000["week"], cr2000["status"] == 1).at([10, 50]).estimate, theirs, rtol=1e-12)


def test_a_curve_without_events_stays_at_one():
    fit = kaplan_meier([1, 2, 3], [0, 0, 0], conf="log-log")
    assert fit.estimate.tolist() == fit.lower.tolist() == fit.upper.tolist() == [1, 1, 1]
    assert np.isnan(fit.quantile(0.5).estimate)
    assert fit.rmst(2).estimate == 2


def test_when_all_have_died_the_limits_are_not_defined():
    fit = kaplan_meier([1, 2], [1, 1])
    assert fit.estimate.tolist() == [0.5, 0]
    assert np.isnan([fit.std_error[1], fit.lower[1], fit.upper[1]]).all()


def test_times_that_differ_by_rounding_are_one_time():
    fit = kaplan_meier([0.3, 0.1 + 0.2, 0.5], [1, 1, 0])
    assert fit.n_event.tolist() == [2, 0]
    assert fit.at(0.3).estimate == pytest.approx(1 / 3)


# Log-rank -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["os", "efs"])
@pytest.mark.parametrize("rho", [0, 1])
def test_log_rank_equals_r(endpoint, rho):
    expected = HCT[f"km_{endpoint}"][f"logrank_rho{rho}"]
    test = log_rank(hct[f"{endpoint}_time"], hct[endpoint], hct["arm"], rho=rho)
    same([test.statistic, test.df, test.p_value], [expected["chisq"], expected["df"], expected["p"]])
    same(test.observed, expected["obs"])
    same(test.expected, expected["exp"])


def test_stratified_log_rank_equals_r():
    expected = HCT["km_os"]["logrank_stratified"]  # strata: stem-cell source
    test = log_rank(hct["os_time"], hct["os"], hct["arm"], strata=hct["cord"])
    same([test.statistic, test.df, test.p_value], [expected["chisq"], expected["df"], expected["p"]])


@pytest.mark.parametrize("stratified", [0, 1])
@pytest.mark.parametrize("rho", ["0", "0.5", "1"])
@pytest.mark.parametrize("case", FROM_R)
def test_g_rho_of_several_groups_equals_r(case, rho, stratified):
    data = case["data"]
    strata = [f"centre {s}" for s in data["stratum"]] if stratified else None
    test = log_rank(data["time"], np.array(data["cause"]) == 1, data["group"], rho=float(rho), strata=strata)
    same([test.statistic, *test.expected], case["expected"][f"lr_{rho}_{stratified}"])


def log_rank_by_hand(time, event, group):
    """Two groups: one 2 x 2 table an event time."""
    difference = variance = 0.0
    for t in sorted({u for u, e in zip(time, event, strict=True) if e}):
        at_risk = [g for u, g in zip(time, group, strict=True) if u >= t]
        dying = [g for u, e, g in zip(time, event, group, strict=True) if u == t and e]
        n, n1, d = len(at_risk), sum(at_risk), len(dying)
        difference += sum(dying) - d * n1 / n
        if n > 1:
            variance += d * (n1 / n) * (1 - n1 / n) * (n - d) / (n - 1)
    return difference**2 / variance


def test_log_rank_equals_the_sum_over_two_by_two_tables():
    rng = np.random.default_rng(1)
    for _ in range(20):
        time, event, group = rng.integers(0, 10, 30), rng.integers(0, 2, 30), rng.integers(0, 2, 30)
        by_hand = log_rank_by_hand(time.tolist(), event.tolist(), group.tolist())
        assert log_rank(time, event, np.array(["A", "B"])[group]).statistic == pytest.approx(by_hand, rel=1e-10)


def test_a_stratum_without_events_changes_nothing():
    time, event, group = [1, 2, 3, 4], [1, 1, 0, 1], ["A", "B", "A", "B"]
    alone = log_rank(time, event, group)
    with_more = log_rank(time + [5, 6], event + [0, 0], group + ["A", "B"], strata=[1] * 4 + [2] * 2)
    assert with_more.statistic == pytest.approx(alone.statistic)
    assert alone.groups == ("A", "B")


# Cox ------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("STA1")
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize(
    "time, event, x, expected",
    [
        (hct["os_time"], hct["os"], HCT_X, HCT["cox_os"]),
        (cr2000["time"], cr2000["status"] == 1, CR_X, CR2000["cox"]),
        (cr2000["week"], cr2000["status"] == 1, CR_X, CR2000["cox_week"]),
    ],
    ids=["hct", "cr2000", "cr2000 in weeks"],
)
def test_cox_equals_r(time, event, x, expected, ties):
    fit = cox(time, event, x, ties=ties)
    same(fit.coef, expected[ties]["coef"], rtol=1e-8)
    same(fit.std_error, expected[ties]["se"], rtol=1e-8)
    same(fit.loglik, expected[ties]["loglik"])
    if "hr" in expected[ties]:
        ratio = fit.hazard_ratio(0.95)
        same(ratio.estimate, expected[ties]["hr"], rtol=1e-8)
        same(ratio.lower, expected[ties]["lower"], rtol=1e-8)
        same(ratio.upper, expected[ties]["upper"], rtol=1e-8)
        same(fit.p_value, expected[ties]["p"], rtol=1e-7)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(
    "time, event, x, expected",
    [
        (hct["os_time"], hct["os"], HCT_X, HCT["cox_os"]),
        (cr2000["time"], cr2000["status"] == 1, CR_X, CR2000["cox"]),
    ],
    ids=["hct", "cr2000"],
)
def test_proportional_hazards_test_equals_r(time, event, x, expected, transform):
    test = proportional_hazards_test(cox(time, event, x), transform=transform)
    golden = expected["zph"][transform]
    same([*test.statistic, test.global_statistic], golden["chisq"], rtol=1e-8)
    same([*test.p_value, test.global_p_value], golden["p"], rtol=1e-8)
    assert [*test.df, test.global_df] == golden["df"]


def test_a_covariate_that_changes_with_time_equals_r():
    """Immune reconstitution, 0 before it and 1 after it; each interval is a row."""
    rows = []
    for i in range(len(hct["os"])):
        end, dies, fixed = hct["os_time"][i], hct["os"][i], (hct["arm"][i], hct["age"][i])
        change = hct["ir_time"][i]
        if hct["ir_cause"][i] == 1 and change < end:
            rows += [(0, change, 0, 0, *fixed), (change, end, dies, 1, *fixed)]
        else:
            rows.append((0, end, dies, 0, *fixed))
    start, stop, event, *x = np.array(rows).T
    expected = HCT["cox_td"]
    assert len(rows) == expected["n_rows"]
    fit = cox(stop, event, np.column_stack(x), start=start)
    same(fit.coef, expected["coef"], rtol=1e-8)
    same(fit.std_error, expected["se"], rtol=1e-8)
    same(fit.loglik, expected["loglik"])


@pytest.mark.parametrize("late_entry", [0, 1])
@pytest.mark.parametrize("stratified", [0, 1])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("case", FROM_R)
def test_strata_and_late_entry_equal_r(case, ties, stratified, late_entry):
    data, key = case["data"], f"cox_{ties}_{stratified}_{late_entry}"
    fit = cox(
        data["time"],
        np.array(data["cause"]) == 1,
        data["x"],
        ties=ties,
        strata=data["stratum"] if stratified else None,
        start=data["start"] if late_entry else None,
    )
    same(fit.coef, case["expected"][f"{key}_coef"], rtol=1e-8)
    same(fit.std_error, case["expected"][f"{key}_se"], rtol=1e-8)
    same(fit.loglik, case["expected"][f"{key}_ll"])
    for transform in TRANSFORMS:
        test = proportional_hazards_test(fit, transform=transform)
        same([*test.statistic, test.global_statistic], case["expected"][f"{key}_zph_{transform}"], rtol=1e-8)


def efron_by_hand(beta, time, event, x):
    """Efron's log partial likelihood, one event after the other."""
    hazard = np.exp(x @ beta)
    loglik = 0.0
    for t in sorted(set(time[event])):
        tied = np.flatnonzero((time == t) & event)
        for left_out, row in enumerate(tied):
            risk = hazard[time >= t].sum() - left_out / len(tied) * hazard[tied].sum()
            loglik += x[row] @ beta - np.log(risk)
    return loglik


def test_cox_maximises_the_likelihood_written_out():
    rng = np.random.default_rng(2)
    time, event, x = rng.integers(1, 9, 60), rng.random(60) < 0.6, rng.normal(size=(60, 2))
    fit = cox(time, event, x)
    best = minimize(lambda beta: -efron_by_hand(beta, time, event, x), np.zeros(2), tol=1e-10)
    assert_allclose(fit.coef, best.x, atol=1e-5)
    assert fit.loglik[0] == pytest.approx(efron_by_hand(np.zeros(2), time, event, x))
    assert fit.loglik[1] == pytest.approx(-best.fun)


def test_cox_agrees_with_lifelines():
    import pandas as pd
    from lifelines import CoxPHFitter

    frame = pd.DataFrame(HCT_X).assign(time=hct["os_time"], event=hct["os"])
    theirs = CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-10})
    fit = cox(hct["os_time"], hct["os"], HCT_X)
    assert_allclose(fit.coef, theirs.params_.values, atol=1e-6)
    assert_allclose(fit.std_error, theirs.standard_errors_.values, atol=1e-6)


def test_cox_depends_neither_on_the_order_of_rows_nor_on_the_origin_and_unit_of_a_covariate():
    fit = cox(hct["os_time"], hct["os"], HCT_X)
    order = np.random.default_rng(3).permutation(len(hct["os"]))
    again = cox(hct["os_time"][order], hct["os"][order], HCT_X[order] * 1000 + 2_000_000)
    assert_allclose(again.coef * 1000, fit.coef, rtol=1e-7)
    assert_allclose(again.std_error * 1000, fit.std_error, rtol=1e-7)


def test_rows_split_in_time_are_the_same_model():
    time, event = hct["os_time"] + 1, hct["os"]
    middle = time / 2
    fit = cox(time, event, HCT_X)
    split = cox(
        np.concatenate((middle, time)),
        np.concatenate((np.zeros_like(event), event)),
        np.vstack((HCT_X, HCT_X)),
        start=np.concatenate((np.zeros_like(time), middle)),
    )
    assert_allclose(split.coef, fit.coef, rtol=1e-9)
    assert_allclose(split.std_error, fit.std_error, rtol=1e-9)


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "time, event, sentence",
    [
        ([], [], "time is empty"),
        ([[1, 2]], [1, 1], "time must have one dimension"),
        ([1, -2], [1, 1], r"time\[1\] is -2; a time must not be negative"),
        ([1, np.nan], [1, 1], r"time\[1\] is missing"),
        ([np.inf, 1], [1, 1], r"time\[0\] is inf"),
        ([1, None], [1, 1], r"time\[1\] is missing"),
        (["1", "x"], [1, 1], "time must hold numbers"),
        ([1, 2], [1], "event has 1 rows; 2 are expected"),
        ([1, 2], [1, 2], r"event\[1\] is 2; it must be 0 or 1"),
        ([1, 2], [np.nan, 1], r"event\[0\] is missing"),
    ],
)
def test_what_is_not_a_time_or_an_event_is_refused_by_argument_and_row(time, event, sentence):
    with pytest.raises(ValueError, match=sentence):
        kaplan_meier(time, event)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: kaplan_meier([1], [1], conf="exact"), "conf is 'exact'"),
        (lambda: kaplan_meier([1], [1], level=95), "level: 95"),
        (lambda: kaplan_meier([1], [1]).at(-1), r"t\[0\] is -1"),
        (lambda: kaplan_meier([1], [1]).quantile(50), "shares must lie between 0 and 1"),
        (lambda: kaplan_meier([1], [1]).rmst(0), "tau: 0"),
        (lambda: log_rank([1, 2], [1, 1], ["A", "A"]), "group holds one group only"),
        (lambda: log_rank([1, 2], [1, 1], ["A", None]), r"group\[1\] is missing"),
        (lambda: log_rank([1, 2], [0, 0], ["A", "B"]), "event holds no event"),
        (lambda: log_rank([1, 2], [1, 1], ["A", "B"], strata=[1, 2]), "the groups cannot be compared"),
        (lambda: cox([1, 2], [0, 0], [1, 2]), "event holds no event"),
        (lambda: cox([1, 2], [1, 1], [[1], [np.nan]]), r"x\[1, 0\] is missing"),
        (lambda: cox([1, 2], [1, 1], [[1, 2]]), "x has 1 rows; 2 are expected"),
        (lambda: cox([1, 2], [1, 1], [3, 3]), "x column 0 is constant"),
        (lambda: cox([1, 2], [1, 1], [3, 4], ties="exact"), "ties is 'exact'"),
        (lambda: cox([1, 2], [1, 1], [3, 4], start=[0, 2]), r"start\[1\] is 2; it must be before time\[1\]"),
        (lambda: cox([1, 2, 3, 4], [1, 1, 1, 1], [1, 1, 2, 2], strata=[1, 1, 2, 2]), "x column 0 does not vary"),
        (lambda: cox([1, 2, 3, 4], [1, 1, 0, 0], [1, 1, 0, 0]), "monotone likelihood.*x column 0"),
        (lambda: cox([1, 2, 3, 4], [1, 1, 1, 1], [[1, 2], [0, 0], [5, 10], [1, 2]]), "x column 1 is a combination"),
        (
            lambda: proportional_hazards_test(cox([1, 1, 1, 2], [1, 1, 0, 0], [1, 4, 2, 3])),
            "all events fall on one time",
        ),
        (
            lambda: proportional_hazards_test(cox([0, 1, 2, 3], [1, 1, 1, 1], [1, 0, 2, 1]), transform="log"),
            "event at time 0",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_no_small_sample_ever_gives_a_number_that_is_none():
    """Either finite coefficients, or a refusal: 300 samples of 3 to 12 rows, many of them separated."""
    rng = np.random.default_rng(4)
    fitted = 0
    for _ in range(300):
        n = int(rng.integers(3, 13))
        time, event, x = rng.integers(0, 6, n), rng.integers(0, 2, n), rng.integers(0, 3, (n, 2))
        try:
            fit = cox(time, event, x)
        except ValueError:
            continue
        fitted += 1
        assert np.isfinite(fit.coef).all()
        assert np.isfinite(fit.std_error).all()
    assert fitted > 50


def test_each_event_is_counted_once_where_times_lie_on_one_step() -> None:
    """Nothing happens between days 40 and 80: the counts of both together are those of the curve."""
    at = kaplan_meier([35, 35, 98], [1, 1, 0]).at([0, 20, 40, 60, 80, 100])
    assert at.n_event.tolist() == [0, 0, 2, 0, 0, 0]
    assert at.n_censor.tolist() == [0, 0, 0, 0, 0, 1]
    assert kaplan_meier([35, 35, 98], [1, 1, 0]).at([80, 40, 40]).n_event.tolist() == [0, 2, 2]
