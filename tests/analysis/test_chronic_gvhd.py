"""Chronic GVHD: the NIH severity in its cases, and the first date at a severity."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.domain.bounds import Bounds
from analysis.domain.chronic_gvhd import (
    ORGANS,
    SEVERITIES,
    Assessment,
    OrganScores,
    Rule,
    adjudicate,
    lung_score,
    severity,
    severity_of,
    skin_score,
)
from analysis.domain.consecutive_threshold import CompetingEvent

ALL_0 = dict.fromkeys(ORGANS, 0)


@pytest.mark.parametrize(
    "scores, expected",
    [
        ({}, "none"),
        ({"mouth": 1}, "mild"),
        ({"mouth": 1, "eyes": 1}, "mild"),
        ({"mouth": 1, "eyes": 1, "skin": 1}, "moderate"),
        ({"lungs": 1}, "moderate"),
        ({"eyes": 2}, "moderate"),
        ({"lungs": 2}, "severe"),
        ({"genital": 3}, "severe"),
        ({"lungs": 3}, "severe"),
        (dict.fromkeys(ORGANS, 1), "moderate"),
        (dict.fromkeys((organ for organ in ORGANS if organ != "lungs"), 2), "moderate"),
    ],
)
def test_severity(scores: dict[str, int], expected: str) -> None:
    found = severity(OrganScores.of(**{**ALL_0, **scores}))
    assert (found.name, found.is_incomplete, found.verified) == (expected, False, False)


@pytest.mark.parametrize(
    "scores, limits",
    [
        ({"mouth": 1}, Bounds(1, 3)),
        ({}, Bounds(0, 3)),
        ({"eyes": 3}, Bounds(3, 3)),
        ({"lungs": 2}, Bounds(3, 3)),
    ],
)
def test_an_organ_that_was_not_scored_is_no_0(scores: dict[str, int], limits: Bounds) -> None:
    found = severity(OrganScores.of(**scores))
    assert (found.limits, found.is_incomplete) == (limits, True)


def test_an_organ_explained_otherwise_is_not_scored() -> None:
    assert severity(OrganScores.of(**{**ALL_0, "liver": 3})).name == "severe"
    found = severity(OrganScores.of(**{**ALL_0, "liver": 3}, explained=["liver"]))
    assert (found.name, found.is_incomplete) == ("none", False)


def test_every_table_of_eight_organs_follows_the_printed_rule() -> None:
    """The rule written out again, positively for each severity, over all scores of 0 to 2 and one 3."""
    for scores in product(range(3), repeat=len(ORGANS)):
        by_organ = dict(zip(ORGANS, scores, strict=True))
        lungs, involved, highest = by_organ["lungs"], sum(s > 0 for s in scores), max(scores)
        is_mild = involved in (1, 2) and highest == 1 and lungs == 0
        is_severe = lungs == 2
        is_moderate = not is_severe and (
            (involved >= 3 and highest == 1) or lungs == 1 or any(s == 2 for o, s in by_organ.items() if o != "lungs")
        )
        assert [involved == 0, is_mild, is_moderate, is_severe].index(True) == severity_of(by_organ)
        assert [involved == 0, is_mild, is_moderate, is_severe].count(True) == 1
    for organ in ORGANS:
        assert severity_of({**ALL_0, organ: 3}) == 3


@pytest.mark.parametrize("fev1, score", [("80", 0), ("79.9", 1), ("60", 1), ("59.9", 2), ("40", 2), ("39.9", 3)])
def test_lung_score(fev1: str, score: int) -> None:
    assert lung_score(Decimal(fev1), symptoms=0) == Bounds.exactly(score)


def test_lung_without_a_test_and_skin() -> None:
    assert lung_score(None, symptoms=2) == Bounds.exactly(2)
    assert lung_score(None) == Bounds(0, 3)
    assert skin_score(1, 3) == Bounds.exactly(3)
    assert skin_score(None, 2) == Bounds(2, 3)
    assert skin_score(3, None) == Bounds.exactly(3)


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="kidney is no organ"):
        OrganScores.of(kidney=1)
    with pytest.raises(ValueError, match="eyes is 4"):
        OrganScores.of(eyes=4)


MILD, MODERATE = OrganScores.of(**{**ALL_0, "mouth": 1}), OrganScores.of(**{**ALL_0, "eyes": 2})


@pytest.mark.parametrize(
    "at_least, days, death, status, day",
    [
        (2, [(150, MILD), (210, MODERATE)], None, "reached", 210),
        (1, [(150, MILD), (210, MODERATE)], None, "reached", 150),
        (3, [(150, MILD), (210, MODERATE)], None, "pending", None),
        (2, [(150, MILD)], 300, "competing", None),
        (2, [(150, OrganScores.of(mouth=1)), (210, MODERATE)], None, "insufficient_data", None),
        (1, [(150, OrganScores.of(mouth=1)), (210, MODERATE)], None, "reached", 150),
    ],
)
def test_the_first_date_at_a_severity(
    at_least: int, days: list[tuple[int, OrganScores]], death: int | None, status: str, day: int | None
) -> None:
    competing = [] if death is None else [CompetingEvent("death", death, death)]
    rule = Rule.from_parameters({"event": "chronic_gvhd", "at_least": at_least, "system": "nih_2014"})
    outcome = adjudicate(rule, [Assessment.on(d, s) for d, s in days], competing, as_of_day=400)
    assert (outcome.status, outcome.event_day, outcome.verified) == (status, day, False), outcome.sentence


def test_without_the_event_the_last_assessment_censors() -> None:
    outcome = adjudicate(Rule(at_least=2), [Assessment.on(150, MILD)], as_of_day=400, last_assessment_day=365)
    assert outcome.censored_day == 365


@pytest.mark.parametrize(
    "parameters, complaint",
    [({}, "at_least is missing"), ({"at_least": 4}, "at_least"), ({"at_least": 2, "system": "nih_2005"}, "system")],
)
def test_parameters_that_do_not_fit_are_named(parameters: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rule.from_parameters(parameters)


@given(st.fixed_dictionaries({organ: st.integers(0, 3) for organ in ORGANS}), st.sampled_from(ORGANS))
def test_raising_a_score_never_lowers_the_severity(scores: dict[str, int], organ: str) -> None:
    raised = {**scores, organ: min(scores[organ] + 1, 3)}
    assert severity_of(raised) >= severity_of(scores)
    assert 0 <= severity_of(scores) < len(SEVERITIES)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries({organ: st.integers(0, 3) for organ in ORGANS}),
    st.sets(st.sampled_from(ORGANS), min_size=1, max_size=3),
)
def test_the_limits_are_those_of_every_completion(scores: dict[str, int], missing: set[str]) -> None:
    names = sorted(missing)
    found = severity(OrganScores.of(**{organ: None if organ in missing else s for organ, s in scores.items()}))
    completions = [
        severity_of({**scores, **dict(zip(names, filled, strict=True))})
        for filled in product(range(4), repeat=len(names))
    ]
    assert found.limits == Bounds(min(completions), max(completions))
