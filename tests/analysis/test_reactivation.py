"""Viral reactivation: episodes, their ends, and the first of them as an endpoint."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.domain.consecutive_threshold import CompetingEvent, Status
from analysis.domain.reactivation import (
    Disease,
    Records,
    Rule,
    Treatment,
    ViralLoad,
    adjudicate,
    episodes,
)

RULE = Rule(threshold=Decimal(1000))


def loads(*pairs: tuple[int, str], assay: str = "") -> tuple[ViralLoad, ...]:
    return tuple(ViralLoad(day, Decimal(v.lstrip("<>")), v[: v[0] in "<>"], assay, row=day) for day, v in pairs)


def found(rule: Rule, *pairs: tuple[int, str]) -> list[tuple[int, int | None]]:
    return [(e.start_day, e.end_day) for e in episodes(rule, Records(loads(*pairs)), as_of_day=365)]


EPISODES = [
    # rule changes, loads, episodes
    ({}, [(17, "500"), (24, "1200"), (31, "<137"), (38, "0"), (45, "900"), (52, "1500")], [(24, 31), (52, None)]),
    ({}, [(24, "1000")], [(24, None)]),
    ({}, [(24, "999")], []),
    ({}, [(24, "1200"), (31, "10"), (38, "1100"), (45, "10"), (52, "10")], [(24, 45)]),
    ({}, [(24, "1200"), (31, "10"), (35, "10")], [(24, None)]),  # only 4 days apart
    ({}, [(24, "1200"), (31, "10"), (35, "10"), (38, "10")], [(24, 31)]),  # a run that spans 7 days
    ({"resolve_values": 1, "resolve_days": 0}, [(24, "1200"), (31, "10"), (38, "1200")], [(24, 31), (38, None)]),
    ({"confirm": 2}, [(24, "1200"), (31, "10"), (38, "1200"), (45, "2000")], [(38, None)]),
    ({}, [(24, "1200"), (24, "10"), (31, "10"), (38, "10")], [(24, 31)]),  # the highest of a day
    ({}, [(24, "1200"), (31, "<2000"), (38, "10"), (45, "10")], [(24, 38)]),  # does not tell: passed over
    ({}, [(24, ">500")], []),
    ({}, [(24, ">1000")], [(24, None)]),
]


@pytest.mark.parametrize("rule, series, expected", EPISODES)
def test_episodes(rule, series, expected) -> None:  # type: ignore[no-untyped-def]
    assert found(Rule(**{"threshold": Decimal(1000), **rule}), *series) == expected


def test_what_an_episode_records() -> None:
    records = Records(
        loads((24, "1200"), (31, "5000"), (38, "10"), (45, "10"), (80, "1500")),
        (Disease(33, "colon", row=901),),
        (Treatment(26, row=902), Treatment(32), Treatment(90)),
    )
    first, second = episodes(RULE, records, as_of_day=365)
    assert (first.start_day, first.end_day, first.duration_days) == (24, 38, 14)
    assert (first.peak, first.treatment_day, first.organs) == (5000, 26, ("colon",))
    assert first.rows == (24, 31, 901, 902)
    assert (second.duration_days, second.peak, second.treatment_day) == (None, 1500, 90)
    assert first.is_clinically_significant and second.is_clinically_significant


def test_disease_begins_an_episode_of_its_own_and_prolongs_one() -> None:
    alone = Records(loads((20, "10"), (27, "10"), (34, "10"), (41, "10")), (Disease(27, "retina"),))
    assert [(e.start_day, e.end_day) for e in episodes(RULE, alone, as_of_day=365)] == [(27, 34)]
    within = Records(loads((24, "1200"), (31, "10"), (38, "10"), (45, "10")), (Disease(33, "lung"),))
    assert [(e.start_day, e.end_day) for e in episodes(RULE, within, as_of_day=365)] == [(24, 38)]


FIRST = [
    # rule changes, loads, competing, today, status, day
    ({}, [(17, "500"), (24, "1200")], [], 60, "reached", 24),
    ({}, [(17, "500")], [], 60, "pending", None),
    ({"horizon_day": 100}, [(17, "500"), (90, "10")], [], 120, "not_reached", None),
    ({"horizon_day": 100}, [(17, "500"), (60, "10")], [], 120, "insufficient_data", None),
    ({"horizon_day": 100}, [(17, "500"), (101, "1200")], [], 120, "not_reached", None),
    ({"horizon_day": 100}, [(100, "1200")], [], 120, "reached", 100),
    ({}, [(17, "500")], [("death", 30, 30)], 60, "competing", None),
    ({}, [(17, "1500")], [("death", 30, 30)], 60, "reached", 17),
    ({}, [(30, "1500")], [("death", 30, 30)], 60, "reached", 30),
    ({"tie": "competing"}, [(30, "1500")], [("death", 30, 30)], 60, "competing", None),
    ({}, [(17, "1500")], [("relapse", 10, 40)], 60, "insufficient_data", None),
    ({}, [(0, "1500"), (7, "1500")], [], 60, "pending", None),  # open on day 0: no event
    ({}, [(0, "1500"), (7, "10"), (14, "10"), (21, "1500")], [], 60, "reached", 21),
    ({"exclude_baseline": False}, [(0, "1500"), (7, "1500")], [], 60, "reached", 7),
    ({}, [(10, "<2000"), (17, "1500")], [], 60, "insufficient_data", None),
    ({}, [(10, "<2000"), (17, "10")], [], 60, "insufficient_data", None),
    ({}, [(17, "1500"), (24, "<2000")], [], 60, "reached", 17),
    ({}, [(10, "<1000"), (17, "10")], [], 60, "pending", None),  # below 1000 for certain
    ({}, [], [], None, "pending", None),
]


@pytest.mark.parametrize("rule, series, competing, today, status, day", FIRST)
def test_the_first_episode(rule, series, competing, today, status, day) -> None:  # type: ignore[no-untyped-def]
    given_rule = Rule(**{"threshold": Decimal(1000), **rule})
    events = [CompetingEvent(*each) for each in competing]
    outcome = adjudicate(given_rule, Records(loads(*series)), events, as_of_day=today).outcome
    assert (outcome.status, outcome.event_day) == (status, day), outcome.sentence


def test_baseline_viraemia_gaps_and_missing_values_are_flagged() -> None:
    series = (*loads((-3, "1500"), (7, "10"), (40, "10")), ViralLoad(14, None))
    flags = adjudicate(RULE, Records(series), as_of_day=60).outcome.flags
    assert flags == (
        "viraemia at or before day 0, from day -3: no event",
        "day 14: no value",
        "33 days without a test, day 7 to 40",
    )


def test_numbers_of_different_assays_are_never_compared() -> None:
    two = Records((*loads((17, "1200"), assay="A"), *loads((24, "5000"), assay="B")))
    mixed = adjudicate(RULE, two, as_of_day=60)
    assert (mixed.outcome.status, mixed.episodes) == (Status.INSUFFICIENT_DATA, ())
    assert "A, B" in mixed.outcome.sentence
    named = adjudicate(Rule(Decimal(1000), assay="B"), two, as_of_day=60)
    assert named.outcome.event_day == 24
    assert "1 results of other assays" in named.outcome.flags[-1]


def test_clinical_significance_is_told() -> None:
    treated = Records(loads((24, "1200")), (), (Treatment(26),))
    assert adjudicate(RULE, treated, as_of_day=60).outcome.classification == "clinically significant"
    assert adjudicate(RULE, Records(loads((24, "1200"))), as_of_day=60).outcome.classification == ""


@pytest.mark.parametrize(
    "parameters, complaint",
    [
        ({}, "threshold is missing"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 1000, "confirm": 0}, "confirm"),
        ({"threshold": 1000, "resolve_days": 7.5}, "resolve_days is 7.5; it must be a whole number"),
        ({"threshold": 1000, "exclude_baseline": 2}, "exclude_baseline"),
        ({"threshold": 1000, "window": 3}, "window is no parameter of viral_reactivation"),
    ],
)
def test_parameters_that_do_not_fit_are_named(parameters: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rule.from_parameters(parameters)


def test_the_parameters_of_the_reference_trials_are_read() -> None:
    given_parameters = {
        "threshold": 1000,
        "confirm": 1,
        "resolve_values": 2,
        "resolve_days": 7,
        "exclude_baseline": True,
        "horizon_day": 180,
    }
    assert Rule.from_parameters(given_parameters) == Rule(Decimal(1000), horizon_day=180)


series_of_loads = st.lists(
    st.tuples(st.integers(1, 120), st.sampled_from(["0", "<137", "999", "1000", "4000"])),
    max_size=20,
    unique_by=lambda load: load[0],
)


@given(series_of_loads)
def test_episodes_are_apart_and_begin_and_end_on_results(pairs: list[tuple[int, str]]) -> None:
    by_day = {day: Decimal(value.lstrip("<")) if "<" not in value else Decimal(0) for day, value in pairs}
    all_found = found(RULE, *pairs)
    for start, end in all_found:
        assert by_day[start] >= 1000
        assert end is None or (end > start and by_day[end] < 1000)
    for (_, end), (start, _) in zip(all_found, all_found[1:], strict=False):
        assert end is not None and start > end
    outside = [d for d, v in by_day.items() if not any(s <= d and (e is None or d < e) for s, e in all_found)]
    assert all(by_day[day] < 1000 for day in outside)


@given(series_of_loads, st.randoms())
def test_the_order_of_rows_is_irrelevant(pairs: list[tuple[int, str]], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert found(RULE, *shuffled) == found(RULE, *pairs)


@settings(max_examples=60, deadline=None)
@given(series_of_loads, st.integers(1, 120))
def test_a_lower_threshold_never_makes_the_first_episode_later(pairs: list[tuple[int, str]], today: int) -> None:
    days = [
        adjudicate(Rule(Decimal(threshold)), Records(loads(*pairs)), as_of_day=today).outcome.event_day
        for threshold in (500, 1000)
    ]
    assert days[1] is None or (days[0] is not None and days[0] <= days[1])
