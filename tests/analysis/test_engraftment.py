"""Engraftment, chimerism and graft failure: the situations of the definition, one by one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.domain.consecutive_threshold import CompetingEvent, Measurement, Status
from analysis.domain.engraftment import (
    Chimerism,
    ChimerismRule,
    GraftFailureRule,
    GraftRecords,
    GraftState,
    NeutrophilRule,
    PlateletRule,
    Transfusion,
    chimerism_class,
    graft_failure,
    neutrophil_engraftment,
    platelet_engraftment,
)


def counts(*pairs: tuple[int, str]) -> list[Measurement]:
    return [Measurement(day, Decimal(value.lstrip("<>")), value[: value[0] in "<>"], day) for day, value in pairs]


def daily(first: int, last: int, value: str) -> list[tuple[int, str]]:
    return [(day, value) for day in range(first, last + 1)]


def event(kind: str, earliest: int, latest: int | None = None) -> CompetingEvent:
    return CompetingEvent(kind, earliest, earliest if latest is None else latest)


LOW, HIGH = "0.1", "0.8"
NEUTROPHILS = [
    # rule changes, counts, competing, today, status, day
    ({}, [*daily(5, 13, LOW), *daily(14, 20, HIGH)], [], 100, "reached", 14),
    ({}, [*daily(5, 13, LOW), (14, "0.5"), (15, "0.5"), (16, "0.5")], [], 100, "reached", 14),
    ({"operator": ">"}, [(14, "0.5"), (15, "0.6"), (16, "0.6"), (17, "0.6")], [], 100, "reached", 15),
    ({}, [(14, HIGH), (15, HIGH), (16, LOW), (17, HIGH), (18, HIGH), (19, HIGH)], [], 100, "reached", 17),
    ({}, [(14, HIGH), (16, HIGH), (19, HIGH)], [], 100, "reached", 14),  # available counts, gaps of up to 3 days
    ({}, [(14, HIGH), (16, HIGH), (20, HIGH), (21, HIGH), (22, HIGH)], [], 100, "reached", 20),  # 4 days interrupt
    ({}, [(14, HIGH), (14, LOW), (15, HIGH), (16, HIGH), (17, HIGH)], [], 100, "reached", 15),  # lowest of a day
    ({}, [(14, HIGH), (15, "<0.6"), (16, HIGH), (17, HIGH)], [], 100, "reached", 14),  # does not tell: passed over
    ({}, [(-2, HIGH), (-1, HIGH), (0, HIGH), *daily(1, 39, LOW)], [], 100, "not_reached", None),
    ({}, daily(1, 42, LOW), [], 100, "not_reached", None),
    ({}, daily(1, 20, LOW), [], 100, "insufficient_data", None),
    ({}, [], [], 100, "insufficient_data", None),
    ({}, daily(1, 20, LOW), [], 30, "pending", None),
    ({}, [*daily(1, 38, LOW), *daily(39, 42, HIGH)], [], 100, "reached", 39),  # begun by day 40
    ({}, [*daily(1, 40, LOW), *daily(41, 44, HIGH)], [], 100, "not_reached", None),
    ({}, [*daily(1, 38, LOW), (39, HIGH), (40, HIGH)], [], 41, "pending", None),  # begun, and not complete
    ({}, daily(1, 12, LOW), [event("death", 13)], 100, "competing", None),
    ({}, [*daily(1, 12, LOW), (13, HIGH), (14, HIGH)], [event("death", 15)], 100, "competing", None),
    ({}, [*daily(1, 12, LOW), *daily(13, 15, HIGH)], [event("death", 15)], 100, "reached", 13),
    ({}, [*daily(1, 12, LOW), *daily(13, 20, HIGH)], [event("second_transplant", 14)], 100, "competing", None),
    ({}, [*daily(1, 12, LOW), *daily(13, 20, HIGH)], [event("death", 30, 60)], 100, "reached", 13),
    (
        {},
        [*daily(1, 12, LOW), *daily(13, 20, HIGH)],
        [event("second_transplant", 1, 30)],
        100,
        "insufficient_data",
        None,
    ),
    ({}, daily(1, 42, LOW), [event("death", 50)], 100, "not_reached", None),
    ({"nadir_required": True}, [*daily(1, 3, HIGH), *daily(4, 12, LOW), *daily(13, 15, HIGH)], [], 100, "reached", 13),
    ({}, [*daily(1, 3, HIGH), *daily(4, 12, LOW), *daily(13, 15, HIGH)], [], 100, "reached", 1),
]


@pytest.mark.parametrize("rule, series, competing, today, status, day", NEUTROPHILS)
def test_neutrophils(rule, series, competing, today, status, day) -> None:  # type: ignore[no-untyped-def]
    outcome = neutrophil_engraftment(NeutrophilRule(**rule), counts(*series), competing, as_of_day=today)
    assert (outcome.status, outcome.event_day) == (status, day), outcome.sentence


def test_a_run_without_a_nadir_and_a_count_that_does_not_tell_are_flagged() -> None:
    outcome = neutrophil_engraftment(
        NeutrophilRule(), counts((1, HIGH), (2, "<0.9"), (3, HIGH), (4, HIGH)), as_of_day=100
    )
    assert outcome.flags == (
        "day 2: the count does not tell",
        "no count below the threshold before the run: the nadir was not seen",
    )
    assert [each.row for each in outcome.evidence] == [1, 3, 4]


def test_the_last_count_censors_at_most_on_the_last_day() -> None:
    found = [
        neutrophil_engraftment(NeutrophilRule(), counts(*daily(1, last, LOW)), as_of_day=100).censored_day
        for last in (20, 42)
    ]
    assert found == [20, 40]


PLATELETS = [
    ({}, [(12, "25"), (16, "25"), (17, "25")], [10], "reached", 17),
    ({}, [(12, "25"), (17, "25")], [10, 15], "not_reached", None),
    ({}, [(12, "25"), (17, "25"), (22, "20")], [10, 15], "reached", 22),
    ({}, [(12, "19"), (20, "25")], [], "reached", 20),
    ({}, [(12, "25")], [12], "not_reached", None),
    ({}, [(12, "25"), (13, "25")], [14], "reached", 12),  # a later transfusion takes nothing back
    ({"consecutive": 3}, [(17, "25"), (18, "19"), (19, "25"), (20, "25"), (21, "25")], [10], "reached", 19),
    ({"untransfused_days": 3}, [(12, "25"), (13, "25")], [10], "reached", 13),
]


@pytest.mark.parametrize("rule, series, transfused, status, day", PLATELETS)
def test_platelets(rule, series, transfused, status, day) -> None:  # type: ignore[no-untyped-def]
    followed = [*series, (98, "10")]
    given_rule = PlateletRule(**rule)
    transfusions = [Transfusion(day, day) for day in transfused]
    outcome = platelet_engraftment(given_rule, counts(*followed), transfusions, as_of_day=120)
    assert (outcome.status, outcome.event_day) == (status, day), outcome.sentence


def test_platelets_whose_transfusions_are_not_known() -> None:
    series = counts((12, "25"), (20, "25"))
    assert platelet_engraftment(PlateletRule(), series, None, as_of_day=120).status is Status.INSUFFICIENT_DATA
    perhaps = platelet_engraftment(PlateletRule(), series, [Transfusion(4, 8)], as_of_day=120)
    assert (perhaps.status, perhaps.earliest_day, perhaps.latest_day) == (Status.INSUFFICIENT_DATA, 12, 20)
    before = platelet_engraftment(PlateletRule(), series, [Transfusion(1, 5)], as_of_day=120)
    assert before.event_day == 12


def test_death_competes_with_platelets() -> None:
    outcome = platelet_engraftment(PlateletRule(), counts((12, "10")), [], [event("death", 30)], as_of_day=120)
    assert (outcome.status, outcome.competing_day) == (Status.COMPETING, 30)


@pytest.mark.parametrize(
    "percent, operator, found",
    [
        ("100", ">", "full"),
        ("95.1", ">", "full"),
        ("95", ">", "mixed"),
        ("95", ">=", "full"),
        ("5", ">", "mixed"),
        ("4.9", ">", "absent"),
        ("0", ">", "absent"),
        (">95", ">", "full"),
        ("<5", ">", "absent"),
        ("<10", ">", None),
        (">90", ">", None),
    ],
)
def test_chimerism(percent: str, operator: str, found: str | None) -> None:
    (result,) = counts((30, percent))
    assert chimerism_class(ChimerismRule(full_operator=operator), result) == (found and Chimerism(found))


def test_more_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        chimerism_class(ChimerismRule(), Measurement(30, Decimal(101)))


RECOVERY = [*daily(5, 19, LOW), *daily(20, 25, HIGH)]
GRAFTS = [
    # counts, chimerism, other facts, competing, today, status, day, classification
    (RECOVERY, [(30, "99")], {}, [], 100, "pending", None, "engrafted"),
    ([*daily(5, 39, LOW), *daily(40, 45, HIGH)], [], {}, [], 100, "pending", None, "engrafted"),
    ([*daily(5, 40, LOW), *daily(41, 45, HIGH)], [], {}, [], 100, "insufficient_data", None, "adjudicate"),
    ([*daily(5, 59, LOW), *daily(60, 65, HIGH)], [], {}, [], 100, "insufficient_data", None, "adjudicate"),
    ([*daily(5, 60, LOW), *daily(61, 65, HIGH)], [], {}, [], 100, "reached", 60, "primary"),
    (daily(5, 60, LOW), [], {}, [], 100, "reached", 60, "primary"),
    (daily(5, 60, LOW), [], {}, [], 60, "pending", None, ""),
    (daily(5, 30, LOW), [], {"second_transplant": 35}, [], 100, "reached", 35, "primary"),
    (daily(5, 30, LOW), [], {"autologous_recovery": 32}, [], 100, "reached", 32, "primary"),
    (RECOVERY, [], {"autologous_recovery": 28}, [], 100, "reached", 28, "primary"),
    (daily(5, 30, LOW), [], {}, [event("death", 31)], 100, "competing", None, ""),
    (daily(5, 60, LOW), [], {}, [event("death", 60)], 100, "reached", 60, "primary"),
    (daily(5, 60, LOW), [], {}, [event("death", 61)], 100, "reached", 60, "primary"),
    (daily(5, 30, LOW), [], {}, [], 100, "insufficient_data", None, ""),
    ([], [], {}, [], 100, "insufficient_data", None, ""),
    (RECOVERY, [(30, "99"), (60, "50"), (90, "4")], {}, [], 100, "reached", 90, "rejection"),
    (RECOVERY, [(30, "99"), (60, "50"), (90, "5")], {}, [], 100, "pending", None, "engrafted"),
    (RECOVERY, [(10, "2"), (30, "99")], {}, [], 100, "pending", None, "engrafted"),  # before recovery: no rejection
    (RECOVERY, [(30, "99"), (90, "4")], {}, [event("death", 95)], 100, "reached", 90, "rejection"),
    (RECOVERY, [(30, "99")], {}, [event("relapse", 80)], 100, "competing", None, ""),
    (daily(5, 60, LOW), [], {"second_transplant": (20, 40)}, [], 100, "insufficient_data", None, ""),
    (RECOVERY, [(30, "99"), (90, "2")], {"second_transplant": 70}, [], 100, "pending", None, "engrafted"),
]
CLASSES = {"primary": "primary graft failure", "adjudicate": "late engraftment or graft failure"}


@pytest.mark.parametrize("series, chimerism, facts, competing, today, status, day, found", GRAFTS)
def test_grafts(series, chimerism, facts, competing, today, status, day, found) -> None:  # type: ignore[no-untyped-def]
    happened = {kind: event(kind, *(days if isinstance(days, tuple) else (days,))) for kind, days in facts.items()}
    records = GraftRecords(tuple(counts(*series)), tuple(counts(*chimerism)), **happened)
    outcome = graft_failure(GraftFailureRule(), records, competing, as_of_day=today)
    assert (outcome.status, outcome.event_day) == (status, day), outcome.sentence
    assert outcome.classification == CLASSES.get(found, found)


@pytest.mark.parametrize(
    "adjudicated, status, day", [(GraftState.ENGRAFTED, "pending", None), (GraftState.PRIMARY_FAILURE, "reached", 60)]
)
def test_a_late_recovery_is_what_a_person_decides(adjudicated: GraftState, status: str, day: int | None) -> None:
    late = tuple(counts(*daily(5, 44, LOW), *daily(45, 50, HIGH)))
    outcome = graft_failure(GraftFailureRule(), GraftRecords(late, adjudicated=adjudicated), as_of_day=100)
    assert (outcome.status, outcome.event_day) == (status, day)


def test_until_day_60_has_passed_graft_failure_is_open() -> None:
    never = GraftRecords(tuple(counts(*daily(5, 60, LOW))))
    on_the_day = graft_failure(GraftFailureRule(), never, as_of_day=60)
    assert (on_the_day.status, on_the_day.censored_day) == (Status.PENDING, 60)
    assert "day 60 has not passed" in on_the_day.sentence
    begun = GraftRecords(tuple(counts(*daily(5, 58, LOW), (59, HIGH), (60, HIGH))))
    outcome = graft_failure(GraftFailureRule(), begun, as_of_day=61)
    assert (outcome.status, outcome.sentence) == (Status.PENDING, "A run has begun and is not complete.")


def test_falling_chimerism_and_its_absence_are_flagged() -> None:
    records = GraftRecords(tuple(counts(*RECOVERY)), tuple(counts((30, "80"), (60, "40"))))
    outcome = graft_failure(GraftFailureRule(), records, as_of_day=100, last_contact_day=95)
    assert outcome.flags == (
        "mixed donor chimerism on day 30",
        "mixed and falling donor chimerism on day 60: to be adjudicated",
    )
    assert outcome.censored_day == 95
    without = graft_failure(GraftFailureRule(), GraftRecords(tuple(counts(*RECOVERY))), as_of_day=100)
    assert without.flags == ("no chimerism result after engraftment",)


def test_a_result_that_does_not_tell_leaves_rejection_open() -> None:
    records = GraftRecords(tuple(counts(*RECOVERY)), tuple(counts((60, "<10"))))
    outcome = graft_failure(GraftFailureRule(), records, as_of_day=100)
    assert outcome.status is Status.INSUFFICIENT_DATA
    later = GraftRecords(tuple(counts(*RECOVERY)), tuple(counts((60, "<10"), (90, "2"))))
    outcome = graft_failure(GraftFailureRule(), later, as_of_day=100)
    assert (outcome.status, outcome.earliest_day, outcome.latest_day) == (Status.INSUFFICIENT_DATA, 60, 90)


def test_without_an_anchor_nothing_is_asked() -> None:
    assert neutrophil_engraftment(NeutrophilRule(), [], as_of_day=None).status is Status.PENDING
    assert platelet_engraftment(PlateletRule(), [], [], as_of_day=None).status is Status.PENDING
    assert graft_failure(GraftFailureRule(), GraftRecords(), as_of_day=None).status is Status.PENDING


@pytest.mark.parametrize(
    "rule, parameters, complaint",
    [
        (NeutrophilRule, {"threshold": 0}, "threshold"),
        (NeutrophilRule, {"threshold": "half"}, "threshold is 'half'; it must be a number"),
        (NeutrophilRule, {"operator": "<"}, "operator"),
        (NeutrophilRule, {"consecutive_days": 0}, "consecutive_days"),
        (NeutrophilRule, {"first": 1}, "first is no parameter of engraftment"),
        (PlateletRule, {"untransfused_days": 0}, "untransfused_days"),
        (GraftFailureRule, {"engrafted_by_day": 61}, "engrafted_by_day"),
        (GraftFailureRule, {"rejection_below_percent": 96}, "rejection_below_percent"),
        (ChimerismRule, {"full_operator": "<"}, "full_operator"),
    ],
)
def test_parameters_that_do_not_fit_are_named(rule, parameters: dict[str, object], complaint: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=complaint):
        rule.from_parameters(parameters)


def test_the_parameters_of_the_reference_trial_are_read() -> None:
    shared = {"threshold": 0.5, "operator": ">", "consecutive_days": 3, "max_gap_days": 3}
    assert NeutrophilRule.from_parameters({**shared, "last_day": 40}) == NeutrophilRule(operator=">")
    given_parameters = {**shared, "engrafted_by_day": 40, "failed_by_day": 60}
    assert GraftFailureRule.from_parameters(given_parameters) == GraftFailureRule()


series_of_counts = st.lists(
    st.tuples(st.integers(-3, 60), st.sampled_from(["0.1", "0.49", "0.5", "0.9"])),
    max_size=30,
    unique_by=lambda c: c[0],
)


def obvious(pairs: list[tuple[int, str]]) -> int | None:
    """Every count with the two available ones after it, in order of days."""
    known = sorted((day, Decimal(value)) for day, value in pairs if day > 0)
    for three in zip(known, known[1:], known[2:], strict=False):
        days = [day for day, _ in three]
        if (
            all(value >= Decimal("0.5") for _, value in three)
            and days[1] - days[0] <= 3
            and days[2] - days[1] <= 3
            and days[0] <= 40
        ):
            return days[0]
    return None


@given(series_of_counts, st.randoms())
def test_it_agrees_with_the_obvious_implementation_in_any_order(pairs, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert neutrophil_engraftment(NeutrophilRule(), counts(*shuffled), as_of_day=200).event_day == obvious(pairs)


@settings(max_examples=60, deadline=None)
@given(series_of_counts, st.lists(st.integers(1, 60), max_size=4), st.integers(1, 60))
def test_a_transfusion_never_brings_engraftment_forward(
    pairs: list[tuple[int, str]], transfused: list[int], more: int
) -> None:
    rule = PlateletRule(threshold=Decimal("0.5"))
    days = [
        platelet_engraftment(rule, counts(*pairs), [Transfusion(d, d) for d in given_days], as_of_day=200).event_day
        for given_days in (transfused, [*transfused, more])
    ]
    assert days[1] is None or (days[0] is not None and days[0] <= days[1])
