"""Dates that may lack the day or the month: how they are typed, compared, stored and shown.

Stored as ISO 8601 (``2017``, ``2017-03``, ``2017-03-05``). A partial date is never completed: it stands for every
day it may mean, and a comparison that depends on the missing part is *not known*.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from .answers import Answer
from .intervals import Interval

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Dutch abbreviations that differ from the English ones, because hospitals in Utrecht type them.
_DUTCH = {"mrt": 3, "maa": 3, "mei": 5, "okt": 10}
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(MONTHS, start=1)} | _DUTCH

# A two-digit year up to this many years ahead of today belongs to this century, a later one to the last.
_YEARS_AHEAD = 5


class Precision(StrEnum):
    YEAR = "year"
    MONTH = "month"
    DAY = "day"


class DateEntryError(ValueError):
    """A date that cannot be read; ``readings`` holds the choices where there is more than one."""

    def __init__(self, message: str, readings: tuple[PartialDate, ...] = ()) -> None:
        super().__init__(message)
        self.readings = readings


@dataclass(frozen=True, slots=True)
class PartialDate:
    """A year, a month of a year, or a day."""

    year: int
    month: int | None = None
    day: int | None = None

    def __post_init__(self) -> None:
        if self.month is None and self.day is not None:
            raise ValueError("a day without its month is no date")
        date(self.year, 1 if self.month is None else self.month, 1 if self.day is None else self.day)

    @classmethod
    def from_iso(cls, text: str) -> PartialDate:
        """Read ``2017``, ``2017-03`` or ``2017-03-05``.

        >>> PartialDate.from_iso("2017-03").latest
        datetime.date(2017, 3, 31)
        """
        match = re.fullmatch(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?", text)
        if not match:
            raise ValueError(f"{text!r} is not an ISO date; write 2017, 2017-03 or 2017-03-05")
        year, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None
        return cls(year, month, day)

    @classmethod
    def from_date(cls, day: date) -> PartialDate:
        return cls(day.year, day.month, day.day)

    @property
    def precision(self) -> Precision:
        if self.month is None:
            return Precision.YEAR
        return Precision.MONTH if self.day is None else Precision.DAY

    @property
    def earliest(self) -> date:
        return date(self.year, self.month or 1, self.day or 1)

    @property
    def latest(self) -> date:
        month = self.month or 12
        return date(self.year, month, self.day or calendar.monthrange(self.year, month)[1])

    @property
    def exact(self) -> date | None:
        """The day, where it is known."""
        return self.earliest if self.precision is Precision.DAY else None

    def interval(self) -> Interval[date]:
        return Interval(self.earliest, self.latest)

    def iso(self) -> str:
        if self.month is None:
            return f"{self.year:04d}"
        if self.day is None:
            return f"{self.year:04d}-{self.month:02d}"
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"

    def display(self) -> str:
        """As it is shown: ``12-Nov-2026``, ``UN-NOV-2026``, ``UN-UNK-2026``.

        >>> PartialDate(2026, 11).display()
        'UN-NOV-2026'
        """
        if self.month is None:
            return f"UN-UNK-{self.year:04d}"
        if self.day is None:
            return f"UN-{MONTHS[self.month - 1].upper()}-{self.year:04d}"
        return f"{self.day:02d}-{MONTHS[self.month - 1]}-{self.year:04d}"

    def before(self, other: PartialDate) -> Answer:
        """Whether every day this may mean comes before every day ``other`` may mean."""
        return self.interval().less(other.interval())

    def same_day(self, other: PartialDate) -> Answer:
        return self.interval().equal(other.interval())


def add_months(day: date, months: int) -> date:
    """The same day of the month ``months`` later, or the last day of a shorter month.

    >>> add_months(date(2016, 5, 31), -3)
    datetime.date(2016, 2, 29)
    """
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def completed_years(birth: date, on: date) -> int:
    """Age in completed calendar years; someone born on 29 February completes a year on 1 March of a common year.

    >>> completed_years(date(1998, 3, 15), date(2016, 3, 14))
    17
    """
    return on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))


def enter_date(
    text: str,
    *,
    today: date,
    visit_date: date | None = None,
    anchor_date: date | None = None,
    first_day: int = 0,
) -> PartialDate:
    """Read a date as people type it.

    Accepted: ``12nov26``, ``12.11.2026``, ``2026-11-12``, ``nov 2026``, ``UN-NOV-2026``, ``2026``, ``t`` (today),
    ``y`` (yesterday), ``v`` (visit date), ``d+21`` and ``d-9`` (study days).
    ``03/04/2026`` is refused with both readings.

    Raises DateEntryError with a sentence for the person who typed it.

    >>> enter_date("12nov26", today=date(2026, 11, 20)).iso()
    '2026-11-12'
    """
    typed = text.strip().lower()
    if not typed:
        raise DateEntryError("No date was typed.")
    shortcut = _shortcut(typed, today, visit_date, anchor_date, first_day)
    if shortcut is not None:
        return PartialDate.from_date(shortcut)
    if re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", typed):
        year, *rest = (int(part) for part in typed.split("-"))
        return _valid(text, year, *rest)
    if match := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})", typed):
        return _valid(text, _year(match[3], today), int(match[2]), int(match[1]))
    if match := re.fullmatch(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4}|\d{2})", typed):
        return _two_orders(text, int(match[1]), int(match[2]), _year(match[3], today))
    if match := re.fullmatch(r"(?:(\d{1,2}|un)[\s.\-/]*)?([a-z]{3,9})\.?[\s.\-/,]*(\d{4}|\d{2})", typed):
        return _with_month_name(text, match[1], match[2], _year(match[3], today))
    raise DateEntryError(f"“{text.strip()}” is not a date. Type 12nov26, 12.11.2026, 2026-11-12, nov 2026 or 2026.")


def enter_datetime(
    text: str, *, today: date, visit_date: date | None = None, anchor_date: date | None = None
) -> datetime:
    """Read a date as ``enter_date`` does, followed by a time of day ``14:05``; the day must be complete.

    >>> enter_datetime("12nov26 14:05", today=date(2026, 11, 20)).isoformat()
    '2026-11-12T14:05:00'
    """
    match = re.fullmatch(r"(.+?)[\sT]+([01]?\d|2[0-3])[:.]([0-5]\d)", text.strip())
    if not match:
        raise DateEntryError(f"“{text.strip()}” has no time of day. Type the date and the time, such as 12nov26 14:05.")
    day = enter_date(match[1], today=today, visit_date=visit_date, anchor_date=anchor_date).exact
    if day is None:
        raise DateEntryError(f"“{text.strip()}” has no day; a time of day needs one.")
    # A wall-clock time at the site; whoever knows the site adds its zone.
    return datetime(day.year, day.month, day.day, int(match[2]), int(match[3]))  # noqa: DTZ001


def _shortcut(
    typed: str, today: date, visit_date: date | None, anchor_date: date | None, first_day: int
) -> date | None:
    if typed == "t":
        return today
    if typed == "y":
        return today - timedelta(days=1)
    if typed == "v":
        if visit_date is None:
            raise DateEntryError("“v” means the date of the visit, and this visit has no date yet. Type the date.")
        return visit_date
    if match := re.fullmatch(r"d\s*([+-])\s*(\d{1,5})", typed):
        if anchor_date is None:
            raise DateEntryError(
                f"“{typed}” counts from the anchor of the study days, which has no date yet. Type the date."
            )
        day = int(match[1] + match[2])
        if day == 0 and first_day == 1:
            raise DateEntryError("There is no day 0 in this trial: the first day is d+1 and the day before it d-1.")
        return anchor_date + timedelta(days=day - first_day if day > 0 else day)
    return None


def _year(digits: str, today: date) -> int:
    """A year of two digits is read as the one nearest to now that is not far ahead."""
    if len(digits) == 4:
        return int(digits)
    year = today.year // 100 * 100 + int(digits)
    return year - 100 if year > today.year + _YEARS_AHEAD else year


def _valid(text: str, year: int, month: int | None = None, day: int | None = None) -> PartialDate:
    try:
        return PartialDate(year, month, day)
    except ValueError:
        raise DateEntryError(f"“{text.strip()}” is not a day of the calendar. Correct the date.") from None


def _two_orders(text: str, first: int, second: int, year: int) -> PartialDate:
    """``03/04/2026`` may be 3 April or 4 March: refused, unless only one of the two is a date."""
    readings = []
    for day, month in ((first, second), (second, first)):
        try:
            reading = PartialDate(year, month, day)
        except ValueError:
            continue
        if reading not in readings:
            readings.append(reading)
    if not readings:
        raise DateEntryError(f"“{text.strip()}” is not a day of the calendar. Correct the date.")
    if len(readings) > 1:
        choices = " or ".join(reading.display() for reading in readings)
        raise DateEntryError(f"“{text.strip()}” can be read in two ways: {choices}. Choose one.", tuple(readings))
    return readings[0]


def _with_month_name(text: str, day: str | None, name: str, year: int) -> PartialDate:
    if name == "unk":
        if day not in (None, "un"):
            raise DateEntryError(f"“{text.strip()}” has a day without a month. Type the month, or UN-UNK-{year}.")
        return _valid(text, year)
    month = _MONTH_NUMBERS.get(name[:3])
    full = [calendar.month_name[month].lower()] if month else []
    if month is None or not (len(name) == 3 or any(word.startswith(name) for word in full)):
        raise DateEntryError(f"“{name}” is not a month. Type its first three letters, such as nov.")
    return _valid(text, year, month, None if day in (None, "un") else int(day))
