"""Dates as people type them, partial dates as they are compared, stored and shown."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.domain.answers import Answer
from trials.domain.partial_dates import (
    DateEntryError,
    PartialDate,
    Precision,
    add_months,
    completed_years,
    enter_date,
    enter_datetime,
)

TODAY = date(2026, 11, 20)
VISIT = date(2026, 11, 18)
ANCHOR = date(2026, 10, 22)

exact_dates = st.dates(date(1900, 1, 1), date(2099, 12, 31)).map(PartialDate.from_date)
partial_dates = st.one_of(
    exact_dates,
    exact_dates.map(lambda day: PartialDate(day.year, day.month)),
    exact_dates.map(lambda day: PartialDate(day.year)),
)


def entered(text: str, **given: object) -> str:
    return enter_date(text, today=TODAY, visit_date=VISIT, anchor_date=ANCHOR, **given).iso()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("12nov26", "2026-11-12"),
        ("12 Nov 2026", "2026-11-12"),
        ("12-NOV-2026", "2026-11-12"),
        ("12 november 2026", "2026-11-12"),
        ("1 mrt 2026", "2026-03-01"),
        ("12.11.2026", "2026-11-12"),
        ("12.11.26", "2026-11-12"),
        ("2026-11-12", "2026-11-12"),
        ("2026-11", "2026-11"),
        ("nov 2026", "2026-11"),
        ("nov26", "2026-11"),
        ("UN-NOV-2026", "2026-11"),
        ("UN-UNK-2026", "2026"),
        ("2026", "2026"),
        ("t", "2026-11-20"),
        ("y", "2026-11-19"),
        ("v", "2026-11-18"),
        ("d+21", "2026-11-12"),
        ("d-9", "2026-10-13"),
        ("d+0", "2026-10-22"),
        (" D+21 ", "2026-11-12"),
        ("13/04/2026", "2026-04-13"),
        ("04/13/2026", "2026-04-13"),
        ("04/04/2026", "2026-04-04"),
        ("29.02.2024", "2024-02-29"),
        ("13apr58", "1958-04-13"),
        ("13apr31", "2031-04-13"),
    ],
)
def test_accepted(text: str, iso: str) -> None:
    assert entered(text) == iso


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "No date"),
        ("soon", "is not a date"),
        ("31.02.2026", "not a day of the calendar"),
        ("2026-13-01", "not a day of the calendar"),
        ("32nov26", "not a day of the calendar"),
        ("31/31/2026", "not a day of the calendar"),
        ("12 nox 2026", "is not a month"),
        ("12 unk 2026", "a day without a month"),
        ("12112026", "is not a date"),
    ],
)
def test_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(DateEntryError, match=says) as caught:
        entered(text)
    assert caught.value.readings == ()


def test_ambiguous_date_is_refused_with_both_readings() -> None:
    with pytest.raises(DateEntryError, match="two ways: 03-Apr-2026 or 04-Mar-2026") as caught:
        entered("03/04/2026")
    assert [reading.iso() for reading in caught.value.readings] == ["2026-04-03", "2026-03-04"]


def test_shortcuts_need_what_they_count_from() -> None:
    with pytest.raises(DateEntryError, match="anchor"):
        enter_date("d+21", today=TODAY)
    with pytest.raises(DateEntryError, match="visit"):
        enter_date("v", today=TODAY)


def test_study_days_without_a_day_zero() -> None:
    """RELAX: day 28 is the first dose and 27 days."""
    assert enter_date("d+1", today=TODAY, anchor_date=ANCHOR, first_day=1).exact == ANCHOR
    assert enter_date("d+28", today=TODAY, anchor_date=ANCHOR, first_day=1).exact == ANCHOR + timedelta(days=27)
    assert enter_date("d-1", today=TODAY, anchor_date=ANCHOR, first_day=1).exact == ANCHOR - timedelta(days=1)
    with pytest.raises(DateEntryError, match="no day 0"):
        enter_date("d+0", today=TODAY, anchor_date=ANCHOR, first_day=1)


def test_time_of_day() -> None:
    assert enter_datetime("12nov26 14:05", today=TODAY) == datetime.fromisoformat("2026-11-12T14:05")
    assert enter_datetime("2026-11-12T14:05", today=TODAY) == datetime.fromisoformat("2026-11-12T14:05")
    with pytest.raises(DateEntryError, match="no time of day"):
        enter_datetime("12nov26", today=TODAY)
    with pytest.raises(DateEntryError, match="has no day"):
        enter_datetime("nov26 14:05", today=TODAY)


@pytest.mark.parametrize(
    ("text", "precision", "earliest", "latest", "shown"),
    [
        ("2017", Precision.YEAR, date(2017, 1, 1), date(2017, 12, 31), "UN-UNK-2017"),
        ("2016-02", Precision.MONTH, date(2016, 2, 1), date(2016, 2, 29), "UN-FEB-2016"),
        ("2017-03-05", Precision.DAY, date(2017, 3, 5), date(2017, 3, 5), "05-Mar-2017"),
    ],
)
def test_precision(text: str, precision: Precision, earliest: date, latest: date, shown: str) -> None:
    partial = PartialDate.from_iso(text)
    found = (partial.precision, partial.earliest, partial.latest, partial.display())
    assert found == (precision, earliest, latest, shown)


@pytest.mark.parametrize(
    "text", ["17", "2017-3", "2017-00", "2017-02-30", "2017-02-00", "2017-03-05T10", "0000", "2017-03-"]
)
def test_iso_is_strict(text: str) -> None:
    with pytest.raises(ValueError):
        PartialDate.from_iso(text)


@given(partial_dates)
def test_round_trips(partial: PartialDate) -> None:
    assert PartialDate.from_iso(partial.iso()) == partial
    assert enter_date(partial.display(), today=TODAY) == partial
    assert enter_date(partial.iso(), today=TODAY) == partial


@given(partial_dates, partial_dates, st.data())
def test_comparison_agrees_with_every_day_the_dates_may_mean(
    left: PartialDate, right: PartialDate, data: st.DataObject
) -> None:
    answer = left.before(right)
    one = data.draw(st.dates(left.earliest, left.latest))
    other = data.draw(st.dates(right.earliest, right.latest))
    if answer is not Answer.UNKNOWN:
        assert Answer.of(one < other) is answer
    if left.exact and right.exact:
        assert answer is not Answer.UNKNOWN


@given(st.dates(date(1950, 1, 1), date(2050, 1, 1)), st.integers(-500, 500))
def test_months_later_is_the_same_or_the_last_day(day: date, months: int) -> None:
    moved = add_months(day, months)
    assert (moved.year * 12 + moved.month) - (day.year * 12 + day.month) == months
    assert moved.day == day.day or (moved + timedelta(days=1)).day == 1


@given(st.dates(date(1950, 1, 1), date(2020, 1, 1)), st.integers(0, 20_000))
def test_completed_years_count_birthdays(birth: date, days: int) -> None:
    on = birth + timedelta(days=days)
    years = completed_years(birth, on)

    def birthday(year: int) -> date:
        try:
            return birth.replace(year=birth.year + year)
        except ValueError:  # 29 February: the year is complete on 1 March
            return date(birth.year + year, 3, 1)

    assert birthday(years) <= on < birthday(years + 1)
