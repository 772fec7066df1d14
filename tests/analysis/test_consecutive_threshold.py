"""CD4+ reconstitution: the cases of PARACHUTE's definition, and the laws behind them.

The table follows the edge cases that the protocol leaves to be read (exactly at the threshold, an interruption, day 98
and 103 or 104, two draws on one date, death after reconstitution, units); counts in cells/uL.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.domain.consecutive_threshold import (
    CompetingEvent,
    Measurement,
    Outcome,
    Rule,
    Status,
    adjudicate,
    example_fails,
)

CD4 = Rule(threshold=Decimal("0.05"))


def series(*pairs: tuple[int, float]) -> list[Measurement]:
    return [Measurement(day, Decimal(str(count)) / 1000) for day, count in pairs]


def events(**days: int) -> list[CompetingEvent]:
    return [CompetingEvent(kind, day, day) for kind, day in days.items()]


CASES = [
    # rule changes, CD4 (day, cells/uL), competing events, status, event day, evaluable
    ({}, [(28, 50), (35, 50), (100, 5)], {}, "reached", 35, True),
    ({"operator": ">"}, [(28, 50), (35, 50), (100, 5)], {}, "not_reached", None, True),
    ({}, [(28, 60), (35, 40), (42, 70), (49, 80)], {}, "reached", 49, True),
    ({}, [(40, 60), (54, 40), (70, 60)], {}, "not_reached", None, True),
    ({}, [(98, 60), (103, 50)], {}, "reached", 103, True),
    ({}, [(98, 60), (104, 50)], {}, "not_reached", None, True),
    ({}, [(101, 60), (103, 70)], {}, "reached", 103, True),
    ({"first_last_day": 100}, [(101, 60), (103, 70)], {}, "not_reached", None, True),
    ({}, [(30, 60), (37, 70)], {"death": 60}, "reached", 37, False),
    ({}, [(30, 60)], {"death": 40}, "competing", None, False),
    ({}, [(30, 60), (37, 70)], {"relapse": 37}, "reached", 37, False),
    ({"tie": "competing"}, [(30, 60), (37, 70)], {"relapse": 37}, "competing", None, False),
    ({}, [(30, 60), (37, 70)], {"relapse": 36}, "competing", None, False),
    ({}, [(20, 20), (60, 30), (95, 40)], {"death": 101}, "competing", None, True),
    ({}, [(30, 60), (37, 70)], {"relapse": 100}, "reached", 37, True),
    ({}, [(14, 10), (42, 30)], {}, "insufficient_data", None, True),
    ({}, [(20, 60), (20, 30), (27, 70), (34, 70)], {}, "reached", 34, True),
    ({"same_day": "last"}, [(20, 30), (20, 60), (27, 70)], {}, "reached", 27, True),
    ({}, [(-10, 400), (0, 200), (21, 60), (60, 55)], {}, "reached", 60, True),
    ({"event_day": "first"}, [(28, 50), (35, 50), (100, 5)], {}, "reached", 28, True),
    ({"consecutive": 3}, [(20, 60), (27, 60), (34, 60), (90, 1)], {}, "reached", 34, True),
    ({"consecutive": 1}, [(20, 40), (27, 60), (90, 1)], {}, "reached", 27, True),
]


@pytest.mark.requirement("END1")
@pytest.mark.parametrize("changes, counts, competing, status, event_day, evaluable", CASES)
def test_the_cases_of_the_definition(changes, counts, competing, status, event_day, evaluable) -> None:  # type: ignore[no-untyped-def]
    rule = Rule(**{"threshold": Decimal("0.05"), **changes})
    outcome = adjudicate(rule, series(*counts), events(**competing), as_of_day=150, last_contact_day=150)
    assert (outcome.status, outcome.event_day, outcome.evaluable) == (status, event_day, evaluable), outcome.sentence


def test_before_the_window_closes_nothing_is_final() -> None:
    outcome = adjudicate(CD4, series((40, 60)), as_of_day=50)
    assert (outcome.status, outcome.evaluable) == (Status.PENDING, None)
    assert not outcome.status.is_final


def test_on_day_103_itself_a_sample_may_still_come() -> None:
    assert adjudicate(CD4, series((98, 60)), as_of_day=103).status is Status.PENDING
    assert adjudicate(CD4, series((98, 60)), as_of_day=104).status is Status.NOT_REACHED


def test_without_an_anchor_nothing_is_asked() -> None:
    assert adjudicate(CD4, [], as_of_day=None).status is Status.PENDING


@pytest.mark.parametrize(
    "qualifier, value, status",
    [
        ("<", "0.01", "not_reached"),  # below the threshold for certain
        ("<", "0.05", "not_reached"),  # less than 0.05 is not at least 0.05
        ("<", "0.10", "not_reached"),  # may be either: confirms nothing, and there is nothing else
        (">", "0.05", "reached"),
        (">=", "0.05", "reached"),
        (">", "0.01", "not_reached"),
    ],
)
def test_a_qualifier_counts_only_where_it_decides(qualifier: str, value: str, status: str) -> None:
    values = [Measurement(day, Decimal(value), qualifier) for day in (30, 37, 90)]
    assert adjudicate(CD4, values, as_of_day=150).status == status


def test_an_unknown_between_two_values_breaks_nothing_and_is_told() -> None:
    values = [*series((30, 60)), Measurement(35, Decimal("0.2"), "<"), *series((40, 60))]
    outcome = adjudicate(CD4, values, as_of_day=150)
    assert outcome.event_day == 40
    assert any("day 35" in flag for flag in outcome.flags)


def test_a_gap_is_flagged_and_decides_nothing() -> None:
    outcome = adjudicate(CD4, series((21, 60), (60, 55)), as_of_day=150)
    assert outcome.status is Status.REACHED
    assert outcome.flags == ("39 days without a measurement, day 21 to 60",)


def test_a_lost_participant_is_not_one_who_did_not_reach_it() -> None:
    outcome = adjudicate(CD4, series((30, 10), (80, 20)), as_of_day=400, last_contact_day=85)
    assert (outcome.status, outcome.censored_day) == (Status.INSUFFICIENT_DATA, 80)


def test_a_removed_participant_keeps_the_endpoint_and_is_not_evaluable() -> None:
    outcome = adjudicate(CD4, series((30, 60), (37, 70)), as_of_day=150, removed=True)
    assert (outcome.status, outcome.evaluable) == (Status.REACHED, False)
    assert adjudicate(CD4, series((30, 60), (37, 70)), as_of_day=150, removed=None).evaluable is None


@pytest.mark.parametrize(
    "earliest, latest, status, evaluable",
    [
        (10, 35, "competing", False),  # every day of it comes first
        (30, 60, "insufficient_data", False),  # may come before or after day 37
        (120, 140, "reached", True),
        (90, 110, "reached", None),  # after reconstitution for certain, before day 100 perhaps
    ],
)
def test_a_partial_date_decides_only_what_all_its_days_decide(
    earliest: int, latest: int, status: str, evaluable: bool | None
) -> None:
    event = CompetingEvent("relapse", earliest, latest)
    outcome = adjudicate(CD4, series((30, 60), (37, 70)), [event], as_of_day=150)
    assert (outcome.status, outcome.evaluable) == (status, evaluable), outcome.sentence


@pytest.mark.parametrize(
    "parameters, complaint",
    [
        ({}, "threshold is missing"),
        ({"threshold": "0.05", "operator": "<"}, "operator"),
        ({"threshold": "0"}, "positive"),
        ({"threshold": "0.05", "consecutive": 0}, "consecutive"),
        ({"threshold": "0.05", "first_last_day": 104}, "first_last_day"),
        ({"threshold": "0.05", "windows": 3}, "windows is no parameter"),
        ({"threshold": "0.05", "horizon_day": "soon"}, "whole number"),
    ],
)
def test_parameters_that_do_not_fit_are_named(parameters: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rule.from_parameters(parameters)


def test_an_example_that_fails_says_what_it_gives() -> None:
    assert example_fails(CD4, [[20, 0.03], [40, 0.06], [54, 0.07]], "reached") == ""
    assert "gives not_reached, not reached" in example_fails(CD4, [[98, 0.06], [104, 0.05]], "reached")


def obvious(rule: Rule, measurements: list[Measurement]) -> int | None:
    """A slow second opinion: the lowest value a date, then every pair of neighbouring dates in order."""
    lowest: dict[int, Decimal] = {}
    for m in measurements:
        assert m.value is not None
        if m.day > 0:
            lowest[m.day] = min(m.value, lowest.get(m.day, m.value))
    days = sorted(lowest)
    for a, b in zip(days, days[1:], strict=False):
        if lowest[a] >= rule.threshold and lowest[b] >= rule.threshold and b <= rule.confirm_last_day:
            return b
    return None


values = st.lists(st.tuples(st.integers(-5, 130), st.sampled_from([10, 49, 50, 51, 80])), min_size=0, max_size=14)


@pytest.mark.requirement("END1")
@given(values)
def test_it_agrees_with_the_obvious_implementation(pairs: list[tuple[int, int]]) -> None:
    outcome = adjudicate(CD4, series(*pairs), as_of_day=200)
    assert outcome.event_day == obvious(CD4, series(*pairs))


@given(values, st.randoms())
def test_the_order_of_rows_is_irrelevant(pairs: list[tuple[int, int]], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(pairs)
    random.shuffle(shuffled)

    def decided(outcome: Outcome) -> tuple[object, ...]:
        return outcome.status, outcome.event_day, outcome.evaluable

    assert decided(adjudicate(CD4, series(*pairs), as_of_day=200)) == decided(
        adjudicate(CD4, series(*shuffled), as_of_day=200)
    )


@given(values, st.integers(1, 120), st.integers(105, 200))
def test_evaluability_does_not_depend_on_the_measurements(pairs: list[tuple[int, int]], day: int, today: int) -> None:
    death = events(death=day)
    assert (
        adjudicate(CD4, series(*pairs), death, as_of_day=max(today, day)).evaluable
        == adjudicate(CD4, [], death, as_of_day=max(today, day)).evaluable
    )
