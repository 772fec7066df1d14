"""Analysis sets by the value of an item."""

from __future__ import annotations

import pytest

from analysis.domain.analysis_sets import Person, members
from trials.domain.definition import AnalysisSet, Free, GroupKind


def person(number: str, value: str | None) -> Person:
    values = {} if value is None else {"XS.GRADE": value}
    return Person(int(number), number, "arm", GroupKind.ARM, True, False, None, None, values)


@pytest.mark.parametrize(
    ("parameters", "numbers"),
    [
        ({"equals": 2}, ["1"]),
        ({"in": (3, 4)}, ["2", "3"]),
        ({"at_least": 3}, ["2", "3"]),
        ({"at_least": 2, "at_most": 3}, ["1", "2"]),
    ],
)
def test_with_value_leaves_out_the_missing(parameters: dict[str, Free], numbers: list[str]) -> None:
    people = [person("1", "2"), person("2", "3"), person("3", "4"), person("4", None)]
    graded = AnalysisSet(id="graded", label="", method="with_value", parameters={"item": "XS.GRADE", **parameters})
    assert [one.number for one in members([graded], "graded", people)] == numbers
