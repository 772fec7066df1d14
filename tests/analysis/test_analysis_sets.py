"""Analysis sets by the value of an item."""

from __future__ import annotations

import pytest

from analysis.domain.analysis_sets import Person, items_read, lineage, members
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


FULL = AnalysisSet(id="full", label="", method="enrolled")
GRADED = AnalysisSet(id="graded", label="", method="with_value", base="full", parameters={"item": "XS.GRADE"})
FIRST = AnalysisSet(id="first", label="", method="first_evaluable", base="graded", parameters={"n": 2})


def test_a_set_knows_the_wider_ones_and_what_they_read() -> None:
    assert [one.id for one in lineage([FULL, GRADED, FIRST], "first")] == ["full", "graded", "first"]
    assert items_read([FULL, GRADED, FIRST]) == {"XS.GRADE"}
    with pytest.raises(KeyError):
        lineage([FULL], "nonsense")
