"""What no kernel computes with: each is refused by the name of its argument, whichever kernel is asked."""

from collections.abc import Callable

import numpy as np
import pytest

from analysis.domain.competing_risks import cumulative_incidence, fine_gray, gray_test
from analysis.domain.matching import nearest_match, propensity_score
from analysis.domain.simon import TwoStage, operating_characteristics
from analysis.domain.survival import cox, kaplan_meier, log_rank

N = 12
TIME = np.arange(1.0, N + 1)
EVENT = np.array([0, 1] * (N // 2))
CAUSE = np.array([0, 1, 2] * (N // 3))
GROUP = np.array(["a", "a", "b"] * (N // 3))
X = np.column_stack([np.sin(TIME), TIME % 4])
TREATED = np.array([1, 0, 0] * (N // 3))

KERNELS: dict[Callable[..., object], dict[str, object]] = {
    kaplan_meier: {"time": TIME, "event": EVENT},
    log_rank: {"time": TIME, "event": EVENT, "group": GROUP},
    cox: {"time": TIME, "event": EVENT, "x": X},
    cumulative_incidence: {"time": TIME, "cause": CAUSE},
    gray_test: {"time": TIME, "cause": CAUSE, "group": GROUP},
    fine_gray: {"time": TIME, "cause": CAUSE, "x": X},
    propensity_score: {"treated": TREATED, "x": X},
    nearest_match: {"score": np.linspace(0.1, 0.9, N), "treated": TREATED},
}
MALFORMED: dict[str, object] = {
    "nothing": None,
    "a word": "abc",
    "one number": 5,
    "no rows": [],
    "ragged rows": [[1], [1, 2]],
    "three dimensions": np.zeros((N, 2, 2)),
    "nothing in each row": [None] * N,
    "complex numbers": TIME + 1j,
    "an infinite number": np.where(TIME == 4, np.inf, TIME),
    "a missing number": np.where(TIME == 4, np.nan, TIME),
}
CASES = [(kernel, name) for kernel, arguments in KERNELS.items() for name in arguments]


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize(("kernel", "name"), CASES, ids=[f"{kernel.__name__}-{name}" for kernel, name in CASES])
def test_a_malformed_array_is_refused_by_its_name(kernel, name, what):
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        kernel(**{**KERNELS[kernel], name: MALFORMED[what]})


@pytest.mark.parametrize(("kernel", "name"), CASES, ids=[f"{kernel.__name__}-{name}" for kernel, name in CASES])
def test_a_row_too_few_is_refused(kernel, name):
    with pytest.raises(ValueError, match="rows"):
        kernel(**{**KERNELS[kernel], name: KERNELS[kernel][name][:-1]})  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("level", lambda: kaplan_meier(TIME, EVENT, level="95 %")),
        ("level", lambda: cumulative_incidence(TIME, CAUSE, level=None)),
        ("of", lambda: cumulative_incidence(TIME, CAUSE, of="death")),
        ("of", lambda: gray_test(TIME, CAUSE, GROUP, of=1.5)),
        ("rho", lambda: log_rank(TIME, EVENT, GROUP, rho="1")),
        ("rho", lambda: gray_test(TIME, CAUSE, GROUP, rho=float("inf"))),
        ("q", lambda: kaplan_meier(TIME, EVENT).quantile("median")),
        ("tau", lambda: kaplan_meier(TIME, EVENT).rmst(None)),
        ("tau", lambda: cumulative_incidence(TIME, CAUSE).rmst([])),
        ("ratio", lambda: nearest_match(TIME / 20, TREATED, ratio="two")),
        ("caliper", lambda: nearest_match(TIME / 20, TREATED, caliper="0.02")),
        ("p", lambda: operating_characteristics(TwoStage(12, 19, 37, 53), None)),
        ("cause", lambda: cumulative_incidence(TIME, CAUSE * 1e300)),
        ("x", lambda: cox(TIME, EVENT, X * 1e200)),
        ("strata", lambda: cox(TIME, EVENT, X, strata=[[1], [1, 2]])),
    ],
)
def test_a_malformed_option_is_refused_by_its_name(name, ask):
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        ask()
