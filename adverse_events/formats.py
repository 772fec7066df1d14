"""Files and dates as people bring them: a publisher's table, a date as it is typed and echoed."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from adverse_events.domain.reporting import (
    FIELD_WORDS,
    OUTCOME_WORDS,
    RELATIONS,
    SERIOUS_CRITERIA,
    Report,
    category_words,
)
from adverse_events.models import AdverseEvent
from trials.domain.partial_dates import DateEntryError, PartialDate, enter_date
from trials.domain.schedule import study_day
from trials.models import Participant


class UnreadableFile(Exception):
    """The file is no table that can be read; the message says what to do."""


def rows_of(path: Path) -> list[list[str]]:
    """The cells of a CSV file, or of the first sheet of an XLSX file, as text."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}.") from None
    if content.startswith(b"PK"):
        return _sheet(path, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile(f"{path} is neither an XLSX workbook nor UTF-8 text. Save it as CSV UTF-8.") from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UnreadableFile(f"{path} is no CSV table: {error}.") from None


def _sheet(path: Path, content: bytes) -> list[list[str]]:
    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        rows = book.worksheets[0].iter_rows(values_only=True)
        return [["" if cell is None else str(cell) for cell in row] for row in rows]
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, IndexError) as error:
        raise UnreadableFile(f"{path} is no XLSX workbook that can be read ({error}).") from None


def site_today(participant: Participant) -> date:
    """The day it is where the participant is looked after."""
    return timezone.now().astimezone(ZoneInfo(participant.site.time_zone)).date()


def typed_date(participant: Participant, text: str) -> PartialDate:
    """A date of an event as it is typed, study days of the participant included. Raises DateEntryError."""
    return enter_date(
        text,
        today=site_today(participant),
        anchor_date=participant.anchor_date,
        first_day=participant.protocol.anchor.first_day,
    )


@dataclass(frozen=True)
class DateEcho:
    """How a typed date was understood: in words, or why it was not, with the readings to choose from."""

    text: str = ""
    problem: str = ""
    readings: tuple[str, ...] = ()


def echo_date(participant: Participant, text: str) -> DateEcho:
    """``d+21`` is echoed as ``14-Apr-2025, day 21``."""
    if not text.strip():
        return DateEcho()
    try:
        return DateEcho(shown_date(participant, typed_date(participant, text)))
    except DateEntryError as error:
        return DateEcho(problem=str(error), readings=tuple(reading.display() for reading in error.readings))


def shown_date(participant: Participant, partial: PartialDate) -> str:
    """The date with its study day, where both the day and the anchor are known."""
    anchor = participant.anchor_date
    if partial.exact is None or anchor is None:
        return partial.display()
    return f"{partial.display()}, day {study_day(partial.exact, anchor, participant.protocol.anchor.first_day)}"


def value_words(participant: Participant, name: str, value: Any) -> str:
    """A stored value of an event in the words of its page."""
    if name in ("started", "ended"):
        return shown_date(participant, PartialDate.from_iso(value)) if value else ""
    if name == "is_serious":
        return "not known" if value is None else "yes" if value else "no"
    if name == "serious_criteria":
        return ", ".join(SERIOUS_CRITERIA.get(one, one) for one in value or ())
    if name == "relations":
        return ", ".join(
            f"{product.replace('_', ' ')}: {RELATIONS.get(one, one)}" for product, one in (value or {}).items()
        )
    if name == "outcome":
        return OUTCOME_WORDS.get(value, value)
    if name == "category":
        return category_words(participant.protocol.adverse_events, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def facts_of(event: AdverseEvent) -> list[tuple[str, str]]:
    """Everything that is recorded of an event, in words; what does not apply is left out."""
    shown = [
        (words, value_words(event.participant, name, getattr(event, name)))
        for name, words in FIELD_WORDS.items()
        if name != "is_void"
    ]
    always = {FIELD_WORDS["ended"], FIELD_WORDS["is_serious"]}
    return [(words, value) for words, value in shown if value or words in always]


def differences_of(typed: Report, event: AdverseEvent) -> list[tuple[str, str, str]]:
    """Field, what was typed, what stands now: where the two differ."""
    mine = {**vars(typed), "serious_criteria": list(typed.serious_criteria), "relations": dict(typed.relations)}
    person = event.participant
    return [
        (words, value_words(person, name, mine[name]), value_words(person, name, getattr(event, name)))
        for name, words in FIELD_WORDS.items()
        if name in mine and mine[name] != getattr(event, name)
    ]
