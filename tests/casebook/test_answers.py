"""What people type: the entry grammar as tables, and the law that nothing typed is changed in silence."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.domain.answers import AnswerRefused, FormAnswer, Moment, enter_answer, observed, range_words
from casebook.domain.numbers import MAX_DECIMALS, NumberEntryError, enter_number
from trials.domain.definition import Code, Item, ItemType

TODAY = Moment(today=date(2026, 11, 20), visit_date=date(2026, 11, 18), anchor_date=date(2026, 11, 1))


def item(kind: ItemType, **kwargs) -> Item:
    return Item(id="X", label="Question", type=kind, **kwargs)


WEIGHT = item(
    ItemType.NUMBER,
    unit="kg",
    accepted_units=("g",),
    minimum=Decimal("1.5"),
    maximum=Decimal(200),
    decimals=2,
)
COUNT = item(ItemType.INTEGER, minimum=Decimal(0), maximum=Decimal(10))
SOURCE = item(ItemType.CODE, codes=(Code(value="bm", label="bone marrow"), Code(value="cb", label="cord blood")))
DAY, MONTH, MOMENT = item(ItemType.DATE), item(ItemType.PARTIAL_DATE), item(ItemType.DATETIME)
WORD = item(ItemType.TEXT, max_length=10)
YES_NO = item(ItemType.YES_NO_UNKNOWN)


@pytest.mark.parametrize(
    "asked, text, unit, stored",
    [
        (WEIGHT, "12.5", "", ("12.5", "kg", "", "")),
        (WEIGHT, "12,5", "", ("12.5", "kg", "", "")),
        (WEIGHT, " 12.50 ", "", ("12.50", "kg", "", "")),
        (WEIGHT, "0012", "", ("0012", "kg", "", "")),
        (WEIGHT, "12500", "g", ("12500", "g", "", "")),
        (WEIGHT, "<20", "", ("20", "kg", "<", "")),
        (WEIGHT, "1.5", "", ("1.5", "kg", "", "")),
        (WEIGHT, "200", "", ("200", "kg", "", "")),
        (WEIGHT, "nd", "", ("", "", "", "ND")),
        (WEIGHT, "UNK", "", ("", "", "", "UNK")),
        (COUNT, "3", "", ("3", "", "", "")),
        (SOURCE, "cb", "", ("cb", "", "", "")),
        (SOURCE, "Cord Blood", "", ("cb", "", "", "")),
        (SOURCE, "NA", "", ("", "", "", "NA")),
        (YES_NO, "Y", "", ("Y", "", "", "")),
        (YES_NO, "no", "", ("N", "", "", "")),
        (YES_NO, "not known", "", ("U", "", "", "")),
        (DAY, "12nov26", "", ("2026-11-12", "", "", "")),
        (DAY, "12.11.2026", "", ("2026-11-12", "", "", "")),
        (DAY, "2026-11-12", "", ("2026-11-12", "", "", "")),
        (DAY, "12-Nov-2026", "", ("2026-11-12", "", "", "")),
        (DAY, "t", "", ("2026-11-20", "", "", "")),
        (DAY, "y", "", ("2026-11-19", "", "", "")),
        (DAY, "v", "", ("2026-11-18", "", "", "")),
        (DAY, "d+21", "", ("2026-11-22", "", "", "")),
        (MONTH, "nov 2026", "", ("2026-11", "", "", "")),
        (MONTH, "UN-NOV-2026", "", ("2026-11", "", "", "")),
        (MONTH, "2026", "", ("2026", "", "", "")),
        (MOMENT, "12nov26 14:05", "", ("2026-11-12T14:05", "", "", "")),
        (WORD, "sepsis", "", ("sepsis", "", "", "")),
        (WORD, "nd", "", ("nd", "", "", "")),
        (WORD, "ND", "", ("", "", "", "ND")),
        (WORD, "=1+1", "", ("=1+1", "", "", "")),
    ],
)
def test_what_is_accepted(asked: Item, text: str, unit: str, stored: tuple[str, str, str, str]) -> None:
    answer = enter_answer(asked, text, moment=TODAY, unit=unit)
    assert answer == FormAnswer(*stored)
    assert FormAnswer.from_stored(answer.as_stored()) == answer
    assert enter_answer(asked, answer.as_typed, moment=TODAY, unit=answer.unit) == answer


@pytest.mark.parametrize(
    "asked, text, said",
    [
        (WEIGHT, "1.234,5", "both a comma and a point"),
        (WEIGHT, "1,234.5", "both a comma and a point"),
        (WEIGHT, "1,234", "read as 1.234 or as 1234"),
        (WEIGHT, "1 234", "groups its digits"),
        (WEIGHT, "1.234.567", "groups its digits"),
        (WEIGHT, "12.345", "3 decimals; this takes at most 2"),
        (WEIGHT, "12 kg", "The unit (kg) stands beside the field"),
        (WEIGHT, "twelve", "not a number"),
        (WEIGHT, "1e3", "more than a number"),
        (WEIGHT, "NaN", "not a number"),
        (WEIGHT, "Infinity", "not a number"),
        (WEIGHT, "١٢", "not a number"),
        (WEIGHT, "<=5", "written with < or >"),
        (WEIGHT, "-3", "-3 kg is below the allowed range, 1.5 to 200 kg"),
        (WEIGHT, "1.49", "below the allowed range"),
        (WEIGHT, "200.01", "above the allowed range"),
        (WEIGHT, "<1.5", "below the allowed range"),
        (WEIGHT, "1" * 14, "more than 12 digits"),
        (COUNT, "1.0", "a whole number"),
        (COUNT, "<3", "not a count"),
        (COUNT, "11", "allowed range, 0 to 10"),
        (SOURCE, "marrow", "Choose bone marrow, cord blood"),
        (YES_NO, "1", "Choose yes, no or not known"),
        (DAY, "nov 2026", "has no day"),
        (DAY, "03/04/2026", "two ways"),
        (DAY, "30feb26", "not a day of the calendar"),
        (DAY, "yesterday", "not a date"),
        (MOMENT, "12nov26", "no time of day"),
        (MOMENT, "12nov26 25:00", "no time of day"),
        (WORD, "a long sentence", "15 characters were typed and 10 fit"),
        (WORD, "nul\x00", "cannot be stored"),
    ],
)
def test_what_is_refused_and_how_it_is_said(asked: Item, text: str, said: str) -> None:
    with pytest.raises(AnswerRefused) as refused:
        enter_answer(asked, text, moment=TODAY)
    assert str(refused.value).startswith("Question: ")
    assert said in str(refused.value)


def test_an_empty_field_is_no_answer() -> None:
    assert enter_answer(WEIGHT, "  ", moment=TODAY) is None


def test_an_ambiguous_date_comes_back_with_both_readings() -> None:
    with pytest.raises(AnswerRefused) as refused:
        enter_answer(DAY, "03/04/2026", moment=TODAY)
    assert refused.value.choices == ("2026-04-03", "2026-03-04")


def test_an_unaccepted_unit_is_refused_with_the_list() -> None:
    with pytest.raises(AnswerRefused, match="Use kg, g"):
        enter_answer(WEIGHT, "12", moment=TODAY, unit="lb")


def test_the_range_is_said_with_its_unit() -> None:
    assert range_words(WEIGHT) == "1.5 to 200 kg"


def test_a_missing_reason_is_a_missing_value() -> None:
    answer = enter_answer(WEIGHT, "ND", moment=TODAY)
    assert observed(WEIGHT, answer).value is None
    assert observed(WEIGHT, None).value is None


@pytest.mark.requirement("RB4")
@given(
    number=st.decimals(min_value=0, max_value=10**11, places=4, allow_nan=False),
    comma=st.booleans(),
)
def test_a_typed_number_is_kept_digit_by_digit(number: Decimal, comma: bool) -> None:
    text = f"{number:f}"
    typed = text.replace(".", ",") if comma else text
    assert enter_number(typed).text == text
    assert enter_number(typed).value == number


@pytest.mark.requirement("RB4")
@given(text=st.text(alphabet="0123456789.,<>- kg", max_size=14))
def test_a_number_is_read_exactly_or_refused(text: str) -> None:
    """Never another value than the digits say: what is read has the same digits in the same order."""
    try:
        number = enter_number(text)
    except NumberEntryError:
        return
    digits = "".join(character for character in text if character.isdigit())
    assert number.text.replace(".", "").replace("-", "") == digits
    assert number.decimals <= MAX_DECIMALS


@given(
    weight=st.decimals(min_value=Decimal("1.5"), max_value=200, places=2, allow_nan=False, allow_infinity=False),
)
def test_a_stored_weight_is_the_typed_weight(weight: Decimal) -> None:
    answer = enter_answer(WEIGHT, f"{weight:f}", moment=TODAY)
    assert answer is not None
    assert observed(WEIGHT, answer).value == weight
