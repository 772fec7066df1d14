"""Cumulative incidence, Gray's test and Fine-Gray regression, against R, lifelines and plain loops.

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

from analysis.domain.competing_risks import cumulative_incidence, fine_gray, gray_test
from analysis.domain.survival import cox, kaplan_meier

GOLDEN = Path(__file__).parents[1] / "golden"
HCT = json.loads((GOLDEN / "synth_hct.json").read_text())
CR2000 = json.loads((GOLDEN / "synth_cr2000.json").read_text())
FROM_R = json.loads((GOLDEN / "survival_r.json").read_text())["sets"]


def table(name):
    with (GOLDEN / name).open() as file:
        rows = list(csv.reader(file))
    return {column: np.array([row[j] for row in rows[1:]], dtype=float) for j, column in enumerate(rows[0])}


hct = table("synth_hct.csv")
cr2000 = table("synth_cr2000.csv")
HCT_X = np.column_stack([hct[name] for name in ("arm", "age", "malig", "cord", "mm")])
CR_X = np.column_stack([cr2000[name] for name in ("x1", "x2", "x3", "x4", "x5")])
# golden values, times, causes, groups
DATA_SETS = {
    "cif": (HCT["cif"], hct["cr_time"], hct["cr_cause"], hct["arm"]),
    "immune reconstitution": (HCT["cif_ir"], hct["ir_time"], hct["ir_cause"], hct["arm"]),
    "acute GVHD": (HCT["cif_agvhd"], hct["agvhd_time"], hct["agvhd_cause"], hct["arm"]),
    "cr2000": (CR2000["cif"], cr2000["time"], cr2000["status"], cr2000["group"]),
    "cr2000 in weeks": (CR2000["cif_week"], cr2000["week"], cr2000["status"], cr2000["group"]),
}
GROUPS_AND_CAUSES = [
    (name, group, int(cause.removeprefix("cause")))
    for name, (golden, *_) in DATA_SETS.items()
    for group, causes in golden["groups"].items()
    for cause in causes
]


def same(actual, expected, rtol=1e-10):
    """Equal to R, where R gives a value: cmprsk gives none after the last time, and no limits while the curve is 0."""
    known = np.array([np.nan if value is None else value for value in expected], dtype=float)
    given_by_r = ~np.isnan(known)
    assert_allclose(np.asarray(actual, dtype=float)[given_by_r], known[given_by_r], rtol=rtol, atol=1e-14)


def clipped(limits):
    return [None if value is None else min(max(value, 0), 1) for value in limits]


# Cumulative incidence -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("STA1")
@pytest.mark.parametrize("name, group, of", GROUPS_AND_CAUSES)
def test_cumulative_incidence_equals_r(name, group, of):
    golden, time, cause, groups = DATA_SETS[name]
    expected = golden["groups"][group][f"cause{of}"]
    rows = groups == float(group)

    def at(variance, conf):
        fit = cumulative_incidence(time[rows], cause[rows], of=of, variance=variance, conf=conf)
        assert (fit.variance, fit.conf) == (variance, conf)
        return fit.at(golden["times"])

    for conf, key in [("plain", "plain"), ("log-log", "loglog_F"), ("cloglog", "cloglog_1mF")]:
        gray = at("gray", conf)
        same(gray.estimate, expected["est"])
        same(gray.std_error**2, expected["gray_var"])
        same(gray.lower, clipped(expected["ci_gray"][key]["lower"]))
        same(gray.upper, clipped(expected["ci_gray"][key]["upper"]))
    survfit = expected["aj_survfit"]
    for conf in ("plain", "log", "log-log"):
        greenwood = at("greenwood", conf)
        same(greenwood.std_error, survfit["se_infinitesimal_jackknife_or_greenwood"])
        same(greenwood.lower, survfit[conf]["lower"])
        same(greenwood.upper, survfit[conf]["upper"])
    same(at("greenwood", "cloglog").lower, expected["etm"]["cloglog"]["lower"])
    same(at("greenwood", "cloglog").upper, expected["etm"]["cloglog"]["upper"])


def test_the_trial_of_one_arm_equals_r():
    golden = HCT["cif_ir_trial"]
    trial = hct["arm"] == 1
    expected = golden["groups"]["all"]["cause1"]
    at = cumulative_incidence(hct["ir_time"][trial], hct["ir_cause"][trial]).at(golden["times"])
    same(at.estimate, expected["est"])
    same(at.lower, expected["ci_gray"]["loglog_F"]["lower"])


@pytest.mark.parametrize("case", FROM_R)
def test_both_variances_equal_r_on_small_samples_with_ties(case):
    data, expected = case["data"], case["expected"]
    by_cause = [cumulative_incidence(data["time"], data["cause"], of=of).at([1, 3.3, 5, 8]) for of in (1, 2)]
    same(np.column_stack([at.estimate for at in by_cause]).ravel(), expected["cif"])
    same(np.column_stack([at.std_error**2 for at in by_cause]).ravel(), expected["cifv"])
    greenwood = cumulative_incidence(data["time"], data["cause"], variance="greenwood")
    same(greenwood.at([1, 3.3, 5, 8]).std_error, expected["ajse"])
    same([greenwood.rmst(7.5).estimate], expected["ajrm"])


def gray_variance_by_hand(time, cause, of, at):
    """The two martingale integrals, one event time after the other."""
    times = sorted({t for t, c in zip(time, cause, strict=True) if c and t <= at})
    survival, incidence, rows = 1.0, 0.0, []
    for t in times:
        n = sum(u >= t for u in time)
        own = sum(u == t and c == of for u, c in zip(time, cause, strict=True))
        other = sum(u == t and c not in (0, of) for u, c in zip(time, cause, strict=True))
        before = survival
        survival *= 1 - (own + other) / n
        incidence += before * own / n
        rows.append((n, own, other, before, survival, incidence))
    variance = 0.0
    for n, own, other, before, after, so_far in rows:
        lost = (incidence - so_far) / after if after else 0.0
        for d, effect in ((own, before * (1 - lost)), (other, before * lost)):
            tied = 1 - (d - 1) / (n - 1) if d > 1 else 1
            variance += effect**2 * d / n**2 * tied
    return incidence, variance


samples = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 3)), min_size=1, max_size=25)


@given(samples, st.integers(0, 11))
@settings(max_examples=150, deadline=None)
def test_gray_variance_equals_the_definition(sample, at):
    time, cause = zip(*sample, strict=True)
    incidence, variance = gray_variance_by_hand(time, cause, 1, at)
    fit = cumulative_incidence(time, cause).at(at)
    assert_allclose([fit.estimate, fit.std_error**2], [incidence, variance], atol=1e-12)


@given(samples, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_laws_of_cumulative_incidence(sample, random):
    time, cause = zip(*sample, strict=True)
    cause = np.array(cause)
    curves = [cumulative_incidence(time, cause, of=of) for of in (1, 2, 3)]
    free = kaplan_meier(time, cause > 0)
    assert_allclose(sum(curve.estimate for curve in curves) + free.estimate, 1, atol=1e-12)
    for of, curve in enumerate(curves, start=1):
        naive = kaplan_meier(time, cause == of)
        assert (curve.estimate <= 1 - naive.estimate + 1e-12).all()
        assert (np.diff(curve.estimate) >= 0).all()
        share = np.array([np.mean((np.array(time) <= t) & (cause == of)) for t in curve.time])
        assert (curve.estimate >= share - 1e-12).all()
        inside = curve.estimate < 1 - 1e-9
        assert (curve.lower[inside] <= curve.estimate[inside] + 1e-12).all()
        assert (curve.upper[inside] >= curve.estimate[inside] - 1e-12).all()
    shuffled = list(sample)
    random.shuffle(shuffled)
    again = cumulative_incidence(*zip(*shuffled, strict=True))
    assert_allclose(again.std_error, curves[0].std_error, rtol=0)


@pytest.mark.parametrize("variance", ["gray", "greenwood"])
def test_without_competing_events_it_is_one_minus_kaplan_meier(variance):
    event = cr2000["status"] == 1
    survival = kaplan_meier(cr2000["week"], event)
    incidence = cumulative_incidence(cr2000["week"], event, variance=variance)
    assert_allclose(incidence.estimate, 1 - survival.estimate, atol=1e-12)
    half = incidence.quantile([0.1, 0.2])
    assert_allclose(half.estimate, survival.quantile([0.1, 0.2]).estimate)
    assert incidence.rmst(50).estimate == pytest.approx(50 - survival.rmst(50).estimate)
    if variance == "greenwood":
        assert_allclose(incidence.std_error, survival.std_error, rtol=1e-10, atol=1e-14)
        assert incidence.rmst(50).std_error == pytest.approx(survival.rmst(50).std_error)


@pytest.mark.parametrize("variance", ["gray", "greenwood"])
def test_the_error_of_the_time_lost_is_that_of_repeated_samples(variance):
    rng = np.random.default_rng(5)
    fits = []
    for _ in range(400):
        time, cause = np.ceil(rng.exponential(10, 80)), rng.choice([0, 1, 2], 80, p=[0.2, 0.5, 0.3])
        fits.append(cumulative_incidence(time, cause, variance=variance).rmst(15))
    spread = np.std([fit.estimate for fit in fits])
    assert np.mean([fit.std_error for fit in fits]) == pytest.approx(spread, rel=0.08)


def test_cumulative_incidence_agrees_with_lifelines():
    from lifelines import AalenJohansenFitter

    _, single = np.unique(cr2000["time"], return_index=True)  # lifelines moves tied times at random
    time, cause = cr2000["time"][single], cr2000["status"][single]
    theirs = AalenJohansenFitter(calculate_variance=False).fit(time, cause, event_of_interest=1)
    assert_allclose(
        cumulative_incidence(time, cause).estimate, theirs.cumulative_density_.iloc[1:, 0].values, rtol=1e-9
    )


def test_a_cause_that_nobody_had_has_a_curve_at_zero():
    fit = cumulative_incidence([1, 2, 3], [0, 2, 0], of=1)
    assert fit.estimate.tolist() == fit.std_error.tolist() == fit.upper.tolist() == [0, 0, 0]
    assert np.isnan(fit.quantile(0.5).estimate)


# Gray's test ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("STA1")
@pytest.mark.parametrize("weights, rho", [("rho0", 0), ("rho1", 1)])
@pytest.mark.parametrize("name", DATA_SETS)
def test_gray_test_equals_r(name, weights, rho):
    golden, time, cause, groups = DATA_SETS[name]
    for of, expected in golden["gray_test"][weights].items():
        test = gray_test(time, cause, groups, of=int(of), rho=rho)
        same([test.statistic, test.p_value, test.df], [expected["stat"], expected["p"], expected["df"]])


def test_stratified_gray_test_equals_r():
    for of, expected in HCT["cif"]["gray_test"]["stratified"].items():  # strata: stem-cell source
        test = gray_test(hct["cr_time"], hct["cr_cause"], hct["arm"], of=int(of), strata=hct["cord"])
        same([test.statistic, test.p_value], [expected["stat"], expected["p"]])


@pytest.mark.parametrize("stratified", [0, 1])
@pytest.mark.parametrize("rho", ["0", "0.5", "1"])
@pytest.mark.parametrize("case", FROM_R)
def test_gray_test_equals_r_on_small_samples_with_ties(case, rho, stratified):
    data = case["data"]
    groups = [f"group {g}" for g in data["group"]]
    strata = data["stratum"] if stratified else None
    tests = [gray_test(data["time"], data["cause"], groups, of=of, rho=float(rho), strata=strata) for of in (1, 2)]
    same([test.statistic for test in tests], case["expected"][f"gray_{rho}_{stratified}"])


def gray_by_hand(time, cause, group):
    """Gray (1988) for two groups without ties: score and variance of group 0, one event time after the other."""
    state = {g: {"S": 1.0, "F": 0.0} for g in (0, 1)}
    free_0, score, moments = 1.0, 0.0, []
    for t in sorted(time[cause > 0]):
        who, what = int(group[time == t][0]), int(cause[time == t][0])
        y = {g: int(((time >= t) & (group == g)).sum()) for g in (0, 1)}
        h = {g: y[g] / state[g]["S"] if y[g] else 0.0 for g in (0, 1)}
        r = {g: h[g] * (1 - state[g]["F"]) for g in (0, 1)}
        before = state[who]["S"]
        d_f = d_gamma = 0.0
        if what == 1:
            score += (who == 0) - r[0] / (r[0] + r[1])
            state[who]["F"] += before / y[who]
            d_f = 1 / (h[0] + h[1])
            d_gamma = d_f / free_0
            free_0 -= d_f
        state[who]["S"] *= 1 - 1 / y[who]
        weight = h[0] * h[1] / (h[0] + h[1])
        moments.append((who, what, y, h, weight, d_f, d_gamma, free_0, before, {g: state[g]["S"] for g in (0, 1)}))
    variance = 0.0
    for i, (who, what, y, h, weight, d_f, _, free, before, s) in enumerate(moments):
        later = sum(moment[4] * moment[6] for moment in moments[i + 1 :])
        for g, sign in ((0, 1), (1, -1)):
            lost = free / s[g] * sign * later if s[g] > 0 else 0.0
            if what == 1 and h[g]:
                variance += (sign * weight + sign * later - lost) ** 2 * d_f / h[g]
            if what == 2 and g == who:
                variance += lost**2 * (before / y[who]) ** 2
    return score**2 / variance


def test_gray_test_equals_the_paper_written_out():
    rng = np.random.default_rng(6)
    for _ in range(20):
        time, cause, group = rng.permutation(30) + 1.0, rng.integers(0, 3, 30), rng.integers(0, 2, 30)
        assert gray_test(time, cause, group).statistic == pytest.approx(gray_by_hand(time, cause, group), rel=1e-9)


# Fine and Gray --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "time, cause, of, x, expected, rtol",
    [
        # cmprsk::crr stops at a change of 1e-6 in the likelihood: some of its coefficients are only that good.
        (hct["ir_time"], hct["ir_cause"], 1, HCT_X, HCT["crr_ir"], 1e-7),
        (hct["ir_time"], hct["ir_cause"], 1, HCT_X, HCT["finegray_ir"]["breslow"], 1e-10),
        (hct["cr_time"], hct["cr_cause"], 2, HCT_X, HCT["crr_trm"], 1e-7),
        (hct["agvhd_time"], hct["agvhd_cause"], 1, HCT_X, HCT["crr_agvhd"], 1e-10),
        (cr2000["time"], cr2000["status"], 1, CR_X, CR2000["crr"], 1e-7),
        (cr2000["week"], cr2000["status"], 1, CR_X, CR2000["crr_week"], 1e-10),
    ],
    ids=["immune reconstitution", "the same by finegray", "TRM", "acute GVHD", "cr2000", "cr2000 in weeks"],
)
def test_fine_gray_equals_r(time, cause, of, x, expected, rtol):
    fit = fine_gray(time, cause, x, of=of)
    same(fit.coef, expected["coef"], rtol)
    same(fit.std_error, expected["se_robust"], rtol)
    if "var" in expected:
        same(fit.covariance.ravel(), np.ravel(expected["var"]), rtol)
        same(fit.loglik, [expected["loglik_null"], expected["loglik"]])
        ratio = fit.hazard_ratio(0.95)
        same(ratio.lower, expected["lower"], rtol)
        same(ratio.upper, expected["upper"], rtol)


@pytest.mark.parametrize("of", [1, 2])
@pytest.mark.parametrize("case", FROM_R)
def test_fine_gray_equals_r_on_small_samples_with_ties(case, of):
    data, expected = case["data"], case["expected"]
    fit = fine_gray(data["time"], data["cause"], np.array(data["x"]) * [1, 1, 0.01], of=of)
    same(fit.coef, expected[f"crr{of}"], 1e-7)
    same(fit.std_error, expected[f"crrse{of}"], 1e-7)
    same(fit.loglik, expected[f"crrll{of}"])


def fine_gray_by_hand(beta, time, cause, x):
    """Score residuals eta + psi and the information, with every weight and every pair of times written out."""
    n, p = x.shape
    g_before = {}
    surviving = 1.0
    for t in sorted(set(time)):
        g_before[t] = surviving
        surviving *= 1 - ((time == t) & (cause == 0)).sum() / (time >= t).sum()

    def weight(i, t):
        if time[i] >= t:
            return 1.0
        return g_before[t] / g_before[time[i]] if cause[i] == 2 else 0.0

    hazard = np.exp(x @ beta)
    moments = []
    information = np.zeros((p, p))
    for t in sorted(set(time[cause == 1])):
        w = np.array([weight(i, t) for i in range(n)]) * hazard
        mean = w @ x / w.sum()
        d = ((time == t) & (cause == 1)).sum()
        information += d * ((x - mean).T * w) @ (x - mean) / w.sum()
        moments.append((t, mean, d / w.sum()))
    residuals = np.zeros((n, p))
    for i in range(n):
        for t, mean, increment in moments:
            if cause[i] == 1 and time[i] == t:
                residuals[i] += x[i] - mean
            residuals[i] -= (x[i] - mean) * weight(i, t) * hazard[i] * increment
    for u in sorted(set(time)):
        at_risk = time >= u
        q = np.zeros(p)
        for i in np.flatnonzero((cause == 2) & (time < u)):
            for t, mean, increment in moments:
                if t >= u:
                    q += (x[i] - mean) * weight(i, t) * hazard[i] * increment
        censored = (time == u) & (cause == 0)
        residuals[censored] += q / at_risk.sum()
        residuals[at_risk] -= q / at_risk.sum() * censored.sum() / at_risk.sum()
    return residuals, information


def test_fine_gray_equals_the_paper_written_out():
    rng = np.random.default_rng(7)
    time, cause, x = rng.integers(1, 12, 50).astype(float), rng.integers(0, 3, 50), rng.normal(size=(50, 2))
    fit = fine_gray(time, cause, x)
    residuals, information = fine_gray_by_hand(fit.coef, time, cause, x)
    assert_allclose(residuals.sum(axis=0), 0, atol=1e-9)  # the maximum
    inverse = np.linalg.inv(information)
    assert_allclose(fit.covariance, inverse @ residuals.T @ residuals @ inverse, rtol=1e-9)


def test_without_competing_events_fine_gray_is_cox_with_breslow_ties():
    event = (cr2000["status"] == 1).astype(int)
    fit, plain = fine_gray(cr2000["week"], event, CR_X), cox(cr2000["week"], event, CR_X, ties="breslow")
    assert_allclose(fit.coef, plain.coef, rtol=1e-10)
    assert_allclose(fit.loglik, plain.loglik, rtol=1e-12)


def test_fine_gray_depends_neither_on_the_order_of_rows_nor_on_the_origin_of_a_covariate():
    fit = fine_gray(hct["ir_time"], hct["ir_cause"], HCT_X)
    order = np.random.default_rng(8).permutation(len(HCT_X))
    again = fine_gray(hct["ir_time"][order], hct["ir_cause"][order], HCT_X[order] + 1_000_000)
    assert_allclose(again.coef, fit.coef, rtol=1e-7)
    assert_allclose(again.std_error, fit.std_error, rtol=1e-7)


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: cumulative_incidence([], []), "time is empty"),
        (lambda: cumulative_incidence([1, 2], [1]), "cause has 1 rows; 2 are expected"),
        (lambda: cumulative_incidence([1, 2], [1, -1]), r"cause\[1\] is -1"),
        (lambda: cumulative_incidence([1, 2], [1, 1.5]), r"cause\[1\] is 1.5"),
        (lambda: cumulative_incidence([1, 2], [1, np.nan]), r"cause\[1\] is missing"),
        (lambda: cumulative_incidence([-1, 2], [1, 1]), r"time\[0\] is -1"),
        (lambda: cumulative_incidence([1, 2], [1, 1], of=0), "of: 0"),
        (lambda: cumulative_incidence([1, 2], [1, 1], variance="aalen"), "variance is 'aalen'"),
        (lambda: cumulative_incidence([1, 2], [1, 1], conf="logit"), "conf is 'logit'"),
        (lambda: gray_test([1, 2], [1, 1], [1, 1]), "group holds one group only"),
        (lambda: gray_test([1, 2], [2, 2], [1, 2]), "cause holds no event of cause 1"),
        (lambda: gray_test([1, 2], [1, 1], ["A"]), "group has 1 rows"),
        (lambda: gray_test([1, 2], [1, 1], ["A", "B"], strata=["a", "b"]), "the groups cannot be compared"),
        (lambda: fine_gray([1, 2], [2, 0], [1, 2]), "cause holds no event of cause 1"),
        (lambda: fine_gray([1, 2], [1, 2], [1, 1]), "x column 0 is constant"),
        (lambda: fine_gray([1, 2, 3, 4], [1, 1, 2, 0], [1, 1, 0, 0]), "monotone likelihood"),
        (lambda: fine_gray([1, 2, 3], [1, 1, 2], [[1, 2], [2, 4], [0, 0]]), "x column 1 is a combination"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_relapse_that_only_malignant_disease_can_have_is_refused_as_monotone():
    with pytest.raises(ValueError, match="monotone likelihood.*x column 2"):
        fine_gray(hct["cr_time"], hct["cr_cause"], HCT_X, of=1)
