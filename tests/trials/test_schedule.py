"""Study days, visits and windows, with and without a day 0."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.domain import language
from trials.domain.definition import Protocol
from trials.domain.schedule import PlannedVisit, WindowStatus, date_of_day, planned_visits, study_day, window_status

DEFINITIONS = Path(__file__).parents[2] / "trials" / "definitions"
GRAFT = date(2016, 3, 1)


def protocol(name: str) -> Protocol:
    file = DEFINITIONS / name / "v1.yaml"
    return language.parse(file.read_text(), file=str(file))


def visits(name: str, anchor: date | None, **given: str) -> dict[str, PlannedVisit]:
    return {visit.code: visit for visit in planned_visits(protocol(name), anchor, **given)}  # type: ignore[arg-type]


@given(st.dates(date(2000, 1, 1), date(2040, 1, 1)), st.integers(-800, 800), st.sampled_from([0, 1]))
def test_day_and_date_are_inverse(anchor: date, days: int, first_day: int) -> None:
    on = anchor + timedelta(days=days)
    day = study_day(on, anchor, first_day)
    assert date_of_day(day, anchor, first_day) == on
    assert (day == 0) <= (first_day == 0)


@pytest.mark.parametrize(
    ("on", "first_day", "day"),
    [
        (date(2016, 2, 29), 0, -1),
        (date(2016, 3, 1), 0, 0),
        (date(2016, 3, 2), 0, 1),
        (date(2016, 2, 29), 1, -1),
        (date(2016, 3, 1), 1, 1),
        (date(2016, 3, 28), 1, 28),
    ],
)
def test_study_day(on: date, first_day: int, day: int) -> None:
    assert study_day(on, GRAFT, first_day) == day


def test_day_zero_does_not_exist_when_the_first_day_is_one() -> None:
    with pytest.raises(ValueError, match="no day 0"):
        date_of_day(0, GRAFT, 1)


def test_parachute_visits() -> None:
    """PARACHUTE: weekly for three months, three-weekly to six months, every 13 weeks to two years (Procedures)."""
    found = visits("parachute", GRAFT)
    days = {code: visit.day for code, visit in found.items()}
    assert [days[f"ATG{n}"] for n in (1, 2, 3, 4)] == [-9, -8, -7, -6]
    assert [days[f"W{n}"] for n in (1, 2, 13)] == [7, 14, 91]
    assert [code for code in days if code.startswith("V")] == ["V112", "V133", "V154", "V175"]
    months = {code: day for code, day in days.items() if code.startswith("M")}
    assert months == {"M9": 273, "M12": 364, "M15": 455, "M18": 546, "M21": 637, "M24": 728}
    day_100 = found["D100"]
    assert (day_100.date, day_100.earliest, day_100.latest) == (date(2016, 6, 9), date(2016, 6, 6), date(2016, 6, 12))
    assert (found["SCR"].earliest, found["SCR"].latest) == (date(2016, 1, 31), date(2016, 2, 20))
    assert "LB.CD4" in found["W1"].analytes
    assert len(found) == len(planned_visits(protocol("parachute"), GRAFT))


def test_relax_has_no_day_zero() -> None:
    """RELAX, Methods: doses on days 1, 4 and 8, then weekly; day 28 is the first dose and 27 days."""
    found = visits("relax", GRAFT)
    assert [found[code].date for code in ("D1", "D4", "D8")] == [GRAFT, date(2016, 3, 4), date(2016, 3, 8)]
    assert found["A28"].date == GRAFT + timedelta(days=27)
    assert (found["PRE"].earliest, found["PRE"].latest) == (date(2016, 2, 23), date(2016, 2, 29))
    assert [found[f"FU{n}"].day for n in (3, 6, 9, 24)] == [91, 183, 274, 731]
    assert all(visit.day != 0 for visit in found.values())


def test_only_the_individualised_arm_has_the_dose_proposal() -> None:
    assert "CALC" in visits("nct07648992", GRAFT, group="individualised")
    assert "CALC" not in visits("nct07648992", GRAFT, group="fixed")


def test_before_the_anchor_days_are_known_and_dates_are_not() -> None:
    week_1 = visits("parachute", None)["W1"]
    assert (week_1.day, week_1.earliest_day, week_1.latest_day) == (7, 4, 10)
    assert (week_1.date, week_1.earliest, week_1.latest) == (None, None, None)
    assert window_status(week_1, GRAFT) is WindowStatus.NO_DATE


@pytest.mark.parametrize(
    ("today", "done_on", "status"),
    [
        (4, None, WindowStatus.NOT_YET),
        (5, None, WindowStatus.OPEN),
        (11, None, WindowStatus.OPEN),
        (12, None, WindowStatus.OVERDUE),
        (20, 5, WindowStatus.DONE),
        (20, 11, WindowStatus.DONE),
        (20, 4, WindowStatus.EARLY),
        (20, 12, WindowStatus.LATE),
    ],
)
def test_window_of_week_1(today: int, done_on: int | None, status: WindowStatus) -> None:
    week_1 = visits("parachute", GRAFT)["W1"]  # 8 March, 5 to 11 March
    done = None if done_on is None else date(2016, 3, done_on)
    assert window_status(week_1, date(2016, 3, today), done) is status


def test_unscheduled_visit_is_never_overdue() -> None:
    unscheduled = visits("parachute", GRAFT)["UNS"]
    assert window_status(unscheduled, date(2030, 1, 1)) is WindowStatus.OPEN
    assert planned_visits(protocol("parachute"), GRAFT)[-1].code == "UNS"
