"""Conditional power against the plain enumeration of every way that the trial can still go."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.domain.conditional_power import conditional_power, outlook
from analysis.domain.simon import TwoStage, operating_characteristics

SMALL = TwoStage(r1=1, n1=4, r=4, n=9)
PARACHUTE = TwoStage(r1=12, n1=19, r=37, n=53)


def by_enumeration(design: TwoStage, responses: int, decided: int, p: float) -> float:
    """Every sequence of answers to come, its probability, and whether it passes both stages."""
    total = 0.0
    for to_come in product((0, 1), repeat=design.n - decided):
        in_stage_one = responses + sum(to_come[: max(design.n1 - decided, 0)])
        passes = decided > design.n1 or in_stage_one > design.r1
        if passes and responses + sum(to_come) > design.r:
            total += p ** sum(to_come) * (1 - p) ** (len(to_come) - sum(to_come))
    return total


@pytest.mark.parametrize("p", [0.0, 0.2, 0.55, 1.0])
@pytest.mark.parametrize(
    ("responses", "decided"), [(0, 0), (0, 3), (1, 3), (1, 4), (2, 4), (4, 4), (4, 8), (5, 8), (4, 9), (5, 9)]
)
def test_it_is_the_sum_over_everything_that_can_still_happen(responses: int, decided: int, p: float) -> None:
    exact = by_enumeration(SMALL, responses, decided, p)
    assert conditional_power(SMALL, responses=responses, decided=decided, p=p) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("p", [0.6, 0.8])
def test_before_anybody_is_decided_it_is_the_power_of_the_design(p: float) -> None:
    expected = operating_characteristics(PARACHUTE, p).rejection
    assert conditional_power(PARACHUTE, responses=0, decided=0, p=p) == pytest.approx(expected, rel=1e-10)


@given(st.integers(0, 53), st.data(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_and_one_more_response_never_make_success_less_likely(decided, data, one, other) -> None:
    responses = data.draw(st.integers(0, decided))
    low, high = sorted((one, other))
    at = {p: conditional_power(PARACHUTE, responses=responses, decided=decided, p=p) for p in (low, high)}
    assert at[low] <= at[high] + 1e-12
    if responses < decided and decided != PARACHUTE.n1:
        more = conditional_power(PARACHUTE, responses=responses + 1, decided=decided, p=low)
        assert at[low] <= more + 1e-12


def test_the_outlook_says_what_can_still_be() -> None:
    # 12 of 19 is no more than r1: the trial has stopped.
    assert not outlook(PARACHUTE, responses=12, decided=19, null=0.6, alternative=0.8).is_success_possible
    found = outlook(PARACHUTE, responses=15, decided=19, null=0.6, alternative=0.8)
    assert found.is_success_possible and not found.is_success_certain
    assert [name for name, _, _ in found.power] == ["null", "alternative", "observed"]
    assert outlook(PARACHUTE, responses=38, decided=45, null=0.6, alternative=0.8).is_success_certain
    assert not outlook(PARACHUTE, responses=3, decided=19, null=0.6, alternative=0.8).is_success_possible


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"responses": 5, "decided": 4, "p": 0.5}, "responses"),
        ({"responses": 5, "decided": 54, "p": 0.5}, "decided"),
        ({"responses": 5, "decided": 10, "p": 1.5}, "p"),
        ({"responses": -1, "decided": 10, "p": 0.5}, "responses"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(wrong: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        conditional_power(PARACHUTE, **wrong)
