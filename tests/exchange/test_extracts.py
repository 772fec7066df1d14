"""An extract is translated by its mapping, or refused whole with file, row and column."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from exchange.domain.extract import Extract, ExtractRefused, translate

PEOPLE = [
    {"no": "S-1", "site": "A", "day": "2020-01-02", "sex": "F", "id": "P1", "out": "in"},
    {"no": "S-2", "site": "B", "day": "2020-01-09", "sex": "M", "id": "", "out": "no"},
]
LABS = [{"id": "P1", "at": "2020-02-03T08:15", "what": "CD4", "value": "<0.01", "unit": "10^9/L", "lab": "L"}]
MAPPING: dict[str, Any] = {
    "trial": "any",
    "accrual_closed_on": date(2021, 1, 1),
    "people": [
        {
            "file": "people.csv",
            "when": {"out": "in"},
            "subject": "id",
            "screening_number": "no",
            "site": "site",
            "screened_on": "day",
            "sex": {"column": "sex", "values": {"F": "female", "M": "male"}},
            "group": {"constant": "arm"},
            "enrolled_on": "day",
        }
    ],
    "results": [
        {
            "file": "labs.csv",
            "subject": "id",
            "sampled_at": "at",
            "laboratory": "lab",
            "analyte": {"column": "what", "values": {"CD4": "LB.CD4"}},
            "value": "value",
            "unit": "unit",
        }
    ],
}


def translated(mapping: dict[str, Any] = MAPPING, **tables: list[dict[str, str]]) -> Extract:
    return translate(mapping, {"people.csv": PEOPLE, "labs.csv": LABS, **{f"{k}.csv": v for k, v in tables.items()}})


def test_columns_become_typed_rows() -> None:
    extract = translated()
    (person,) = extract.people
    assert (person.subject, person.sex, person.group, person.enrolled_on) == ("P1", "female", "arm", date(2020, 1, 2))
    assert (extract.results[0].analyte, extract.results[0].value) == ("LB.CD4", "<0.01")
    assert extract.accrual_closed_on == date(2021, 1, 1)


@pytest.mark.parametrize(
    "table, row, complaint",
    [
        ("people", PEOPLE[0] | {"sex": "x"}, "people.csv, row 2, column sex: 'x' is not among the values"),
        ("people", PEOPLE[0] | {"day": "02/01/2020"}, "people.csv, row 2, column day: '02/01/2020' is no date"),
        ("people", {k: v for k, v in PEOPLE[0].items() if k != "site"}, "column site: the table has no such column"),
        ("labs", LABS[0] | {"at": "yesterday"}, "labs.csv, row 2, column at: 'yesterday' is no moment"),
        ("labs", LABS[0] | {"what": "CD5"}, "labs.csv, row 2, column what: 'CD5' is not among the values"),
        ("labs", LABS[0] | {"id": "P9"}, "'P9' is nobody of the people"),
    ],
)
def test_what_does_not_fit_is_named_by_file_row_and_column(table: str, row: dict[str, str], complaint: str) -> None:
    with pytest.raises(ExtractRefused) as refused:
        translated(**{table: [row]})
    assert complaint in str(refused.value)


def test_every_trouble_is_told_at_once() -> None:
    with pytest.raises(ExtractRefused) as refused:
        translated(people=[PEOPLE[0] | {"sex": "x", "day": "soon"}], labs=[LABS[0] | {"at": "later"}])
    assert len(refused.value.troubles) == 4  # day is read twice


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"persons": []}, "no such section"),
        ({"results": [{**MAPPING["results"][0], "colour": "what"}]}, "no such field"),
        ({"results": [{**MAPPING["results"][0], "file": "absent.csv"}]}, "it is not there"),
    ],
)
def test_a_mapping_that_does_not_hold_is_named(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ExtractRefused, match=complaint):
        translated({**MAPPING, **change})


# --- Several tables about one person ------------------------------------------------------------------------------

DOSES = [
    {"who": "P1", "no": "1", "day": "2020-02-01", "role": "drug"},
    {"who": "P1", "no": "2", "day": "2020-02-04", "role": "drug"},
    {"who": "P1", "no": "", "day": "2020-02-05", "role": "other"},
]


def with_entries(*entries: dict[str, Any], **tables: list[dict[str, str]]) -> Extract:
    clauses = [{"form": {"constant": "F"}, "visit": {"constant": ""}, **entry} for entry in entries]
    return translated({**MAPPING, "entries": clauses}, doses=DOSES, **tables)


def answers(extract: Extract) -> list[tuple[int, dict[str, str]]]:
    return [(entry.repeat, dict(entry.answers)) for entry in extract.entries]


def test_rows_are_numbered_counted_and_left_out() -> None:
    extract = with_entries(
        {
            "file": "doses.csv",
            "when": {"role": {"not": "other"}},
            "subject": "who",
            "repeat": {"constant": 0},
            "answers": {"DAY": "day"},
        },
        {
            "file": "people.csv",
            "when": {"out": "in"},
            "subject": "id",
            "form": {"constant": "G"},
            "answers": {"N": {"count_of": "doses.csv", "by": {"id": "who"}, "when": {"role": "drug"}}},
        },
    )
    assert answers(extract) == [(1, {"DAY": "2020-02-01"}), (2, {"DAY": "2020-02-04"}), (1, {"N": "2"})]


def test_a_date_moves_by_the_days_of_another_column_and_ends_at_the_cut() -> None:
    people = [PEOPLE[0] | {"days": "30", "end": "2022-05-01"}]
    spec = {"A": {"column": "day", "days_from": "days"}, "B": {"column": "end", "not_after": date(2021, 12, 31)}}
    extract = with_entries({"file": "people.csv", "subject": "id", "answers": spec}, people=people)
    assert answers(extract) == [(1, {"A": "2020-02-01", "B": "2021-12-31"})]


def test_two_tables_make_one_form() -> None:
    clause = {"file": "people.csv", "when": {"out": "in"}, "subject": "id"}
    joined = {
        "file": "doses.csv",
        "when": {"no": "1", "sex": "F"},
        "join": {"file": "people.csv", "by": {"who": "id"}},
        "subject": "who",
    }
    extract = with_entries({**clause, "answers": {"SEX": "sex"}}, {**joined, "answers": {"FIRST": "day"}})
    assert answers(extract) == [(1, {"SEX": "F", "FIRST": "2020-02-01"})]
    with pytest.raises(ExtractRefused, match="P1 has two answers, 'F' and 'A'"):
        with_entries({**clause, "answers": {"SEX": "sex"}}, {**joined, "answers": {"SEX": "site"}})


@pytest.mark.parametrize(
    "entry, tables, complaint",
    [
        ({"join": {"file": "none.csv", "by": "who"}}, {}, "none.csv, row 0, column -: the mapping's entries need"),
        ({"join": {"file": "people.csv", "by": {"who": "no"}}}, {}, "column who: people.csv has no row for it"),
        ({"answers": {"A": {"column": "day", "days_from": "role"}}}, {}, "'drug' is no whole number of days"),
    ],
)
def test_what_cannot_be_joined_is_named(entry: dict[str, Any], tables: dict[str, Any], complaint: str) -> None:
    clause = {"file": "doses.csv", "subject": "who", "answers": {"D": "day"}, "repeat": {"constant": 0}}
    with pytest.raises(ExtractRefused, match=complaint):
        with_entries({**clause, **entry}, **tables)
