"""What was typed into a form, read by the definition of its items; and what is stored, read back for the rules.

A value is kept as it was written (decimal mark apart), with the unit it was written in. What cannot be read, or lies
outside the range of its item, is refused with a sentence that names the item, the rule and what is allowed; what is
merely unusual is kept and questioned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from trials.domain import units
from trials.domain.answers import Answer as Truth
from trials.domain.conditions import MISSING, Observed, Values, evaluate, items_of
from trials.domain.definition import Form, Item, ItemType, Protocol, Severity
from trials.domain.observations import typed
from trials.domain.partial_dates import DateEntryError, PartialDate, enter_date, enter_datetime

from .numbers import NumberEntryError, enter_number, plain
from .places import is_typed

#: Why there is no value, in words.
MISSING_REASONS: Mapping[str, str] = {
    "ND": "not done",
    "NA": "not applicable",
    "UNK": "not known",
}

_YES_NO = {"y": "Y", "yes": "Y", "n": "N", "no": "N", "u": "U", "unk": "U", "unknown": "U", "not known": "U"}
YES_NO_WORDS: Mapping[str, str] = {"Y": "yes", "N": "no", "U": "not known"}
_NUMERIC = (ItemType.NUMBER, ItemType.INTEGER)
DEFAULT_MAX_LENGTH = 2000


@dataclass(frozen=True)
class FormAnswer:
    """One answer as it is stored: a value with its unit, or the reason why there is none."""

    value: str = ""
    unit: str = ""
    qualifier: str = ""
    missing_reason: str = ""

    def as_stored(self) -> dict[str, str]:
        """The keys that say something; ``value`` always."""
        parts = {"unit": self.unit, "qualifier": self.qualifier, "missing_reason": self.missing_reason}
        return {"value": self.value, **{key: text for key, text in parts.items() if text}}

    @classmethod
    def from_stored(cls, stored: Mapping[str, str]) -> FormAnswer:
        return cls(
            stored.get("value", ""),
            stored.get("unit", ""),
            stored.get("qualifier", ""),
            stored.get("missing_reason", ""),
        )

    @property
    def as_typed(self) -> str:
        """What a field shows: typing it again gives the same answer."""
        return self.missing_reason or f"{self.qualifier}{self.value}"


@dataclass(frozen=True)
class Moment:
    """The dates that a typed date may lean on: today, the visit's date (``v``), the anchor (``d+21``)."""

    today: date
    visit_date: date | None = None
    anchor_date: date | None = None
    first_day: int = 0


@dataclass(frozen=True)
class Problem:
    """Why an answer is refused; ``choices`` are texts to type instead, where there is more than one reading."""

    item: str
    sentence: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """An answer that is kept and asked about."""

    item: str
    sentence: str


@dataclass(frozen=True)
class FormReading:
    """A whole form as it was typed: kept only when there is no problem."""

    answers: Mapping[str, FormAnswer]
    problems: tuple[Problem, ...] = ()
    questions: tuple[Question, ...] = ()
    open_items: tuple[str, ...] = field(default=())

    @property
    def can_be_complete(self) -> bool:
        return not self.problems and not self.open_items


class AnswerRefused(ValueError):
    """A typed answer that its item does not take."""

    def __init__(self, sentence: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.choices = choices


def range_words(item: Item) -> str:
    """The allowed range as it is shown beside the field: ``2 to 200 kg``.

    >>> range_words(Item(id="W", label="Weight", type=ItemType.NUMBER, unit="kg", minimum=Decimal(2)))
    'at least 2 kg'
    """
    unit = f" {item.unit}" if item.unit else ""
    if item.minimum is not None and item.maximum is not None:
        return f"{plain(item.minimum)} to {plain(item.maximum)}{unit}"
    if item.minimum is not None:
        return f"at least {plain(item.minimum)}{unit}"
    return f"at most {plain(item.maximum)}{unit}" if item.maximum is not None else ""


def enter_answer(item: Item, text: str, *, moment: Moment, unit: str = "") -> FormAnswer | None:
    """Read one typed answer by the type of its item; None for an empty field.

    ``unit`` is the unit chosen beside a number; without it the item's own. A missing reason of the item (``ND``) stands
    in any field. Raises AnswerRefused with a sentence that begins with the item's label.

    >>> weight = Item(id="W", label="Weight", type=ItemType.NUMBER, unit="kg", maximum=Decimal(200), decimals=1)
    >>> enter_answer(weight, "12,5", moment=Moment(date(2026, 11, 20)))
    FormAnswer(value='12.5', unit='kg', qualifier='', missing_reason='')
    """
    entered = text.strip()
    if not entered:
        return None
    if "\x00" in entered:
        raise AnswerRefused(f"{item.label}: the text holds a character that cannot be stored. Type it again.")
    # In a free text the reasons are words of their own, so that only capitals mean them.
    code = entered if item.type is ItemType.TEXT else entered.upper()
    if code in item.missing_reasons:
        return FormAnswer(missing_reason=code)
    try:
        return _READERS[item.type](item, entered, moment, unit)
    except DateEntryError as error:
        choices = tuple(reading.iso() for reading in error.readings)
        raise AnswerRefused(f"{item.label}: {error}", choices) from None
    except (NumberEntryError, units.UnitError) as error:
        raise AnswerRefused(f"{item.label}: {error}") from None


def _text(item: Item, text: str, moment: Moment, unit: str) -> FormAnswer:
    limit = item.max_length or DEFAULT_MAX_LENGTH
    if len(text) > limit:
        raise AnswerRefused(f"{item.label}: {len(text)} characters were typed and {limit} fit. Shorten the text.")
    return FormAnswer(text)


def _number(item: Item, text: str, moment: Moment, unit: str) -> FormAnswer:
    chosen = unit.strip() or item.unit
    own_unit = not item.unit or units.normalised(chosen) == units.normalised(item.unit)
    decimals = 0 if item.type is ItemType.INTEGER else item.decimals
    number = enter_number(text, decimals=decimals if own_unit else None, unit=chosen)
    if number.qualifier and item.type is ItemType.INTEGER:
        raise AnswerRefused(f"{item.label}: “{text}” is not a count. Type a whole number.")
    if number.qualifier in ("<=", ">="):
        raise AnswerRefused(f"{item.label}: “{text}” is not accepted; an assay's limit is written with < or >.")
    value = number.value
    if item.unit:
        value = units.canonical(
            value, unit=chosen, canonical_unit=item.unit, accepted=item.accepted_units, analyte=item.id
        )
    too_low = item.minimum is not None and (value < item.minimum or (number.qualifier == "<" and value <= item.minimum))
    too_high = item.maximum is not None and (
        value > item.maximum or (number.qualifier == ">" and value >= item.maximum)
    )
    if too_low or too_high:
        shown = f"{number.qualifier}{number.text}{' ' + chosen if chosen else ''}"
        side = "below" if too_low else "above"
        raise AnswerRefused(
            f"{item.label}: {shown} is {side} the allowed range, {range_words(item)}. Check value and unit."
        )
    return FormAnswer(number.text, chosen, number.qualifier)


def _date(item: Item, text: str, moment: Moment, unit: str) -> FormAnswer:
    partial = _entered_date(text, moment)
    if partial.exact is None:
        raise AnswerRefused(f"{item.label}: “{text}” has no day. Type the whole date, such as 12nov2026.")
    return FormAnswer(partial.iso())


def _partial_date(item: Item, text: str, moment: Moment, unit: str) -> FormAnswer:
    return FormAnswer(_entered_date(text, moment).iso())


def _entered_date(text: str, moment: Moment) -> PartialDate:
    return enter_date(
        text,
        today=moment.today,
        visit_date=moment.visit_date,
        anchor_date=moment.anchor_date,
        first_day=moment.first_day,
    )


def _datetime(item: Item, text: str, moment: Moment, unit: str) -> FormAnswer:
    entered = enter_datetime(text, today=moment.today, visit_date=moment.visit_date, anchor_date=moment.anchor_date)
    return FormAnswer(entered.isoformat(timespec="minutes"))


def _code(item: Item, text: str, moment: Moment, unit: str) -> FormAnswer:
    for code in item.codes:
        if text in (code.value, code.label) or text.lower() in (code.value.lower(), code.label.lower()):
            return FormAnswer(code.value)
    offered = ", ".join(code.label for code in item.codes)
    raise AnswerRefused(f"{item.label}: “{text}” is not one of its answers. Choose {offered}.")


def _yes_no(item: Item, text: str, moment: Moment, unit: str) -> FormAnswer:
    answer = _YES_NO.get(text.lower())
    if answer is None:
        raise AnswerRefused(f"{item.label}: “{text}” is not an answer. Choose yes, no or not known.")
    return FormAnswer(answer)


_READERS = {
    ItemType.TEXT: _text,
    ItemType.NUMBER: _number,
    ItemType.INTEGER: _number,
    ItemType.DATE: _date,
    ItemType.PARTIAL_DATE: _partial_date,
    ItemType.DATETIME: _datetime,
    ItemType.CODE: _code,
    ItemType.YES_NO_UNKNOWN: _yes_no,
}


def observed(
    item: Item, answer: FormAnswer | None, *, source: str = "", observed_on: date | datetime | None = None
) -> Observed:
    """A stored answer as rules see it, numbers in the item's unit; a missing reason is a missing value."""
    if answer is None or answer.missing_reason or not answer.value:
        return Observed(None, source, observed_on)
    value = typed(item, answer.value)
    if isinstance(value, Decimal) and item.unit and answer.unit:
        value = units.canonical(
            value, unit=answer.unit, canonical_unit=item.unit, accepted=item.accepted_units, analyte=item.id
        )
    return Observed(value, source, observed_on, answer.qualifier, item.unit)


def question_on(item: Item, answer: FormAnswer) -> Question | None:
    """The question on a number inside the allowed range and outside the usual one."""
    if item.type not in _NUMERIC or not answer.value:
        return None
    value = observed(item, answer).value
    assert isinstance(value, Decimal)
    low, high = item.soft_minimum, item.soft_maximum
    if (low is not None and value < low) or (high is not None and value > high):
        if low is not None and high is not None:
            usual = f"between {plain(low)} and {plain(high)}"
        else:
            usual = f"at least {plain(low)}" if low is not None else f"at most {plain(high)}"
        unit = f" {item.unit}" if item.unit else ""
        return Question(
            item.id, f"{item.label}: {answer.as_typed} {answer.unit} is unusual; {usual}{unit} is expected."
        )
    return None


def is_asked(form: Form, item: Item, values: Values) -> Truth:
    """Whether the item is asked, given what is known: yes, no, or not known yet (then it is offered, not required)."""
    return Truth.YES if item.visible_when is None else evaluate(item.visible_when, values).answer


def asked_words(item: Item, labels: Mapping[str, str]) -> str:
    """On what it depends whether the item is asked, for the line under its label."""
    if item.visible_when is None:
        return ""
    return f"Depends on: {', '.join(labels.get(address, address) for address in items_of(item.visible_when))}."


def read_form(
    protocol: Protocol,
    form: Form,
    texts: Mapping[str, str],
    *,
    stored: Mapping[str, FormAnswer],
    others: Values,
    moment: Moment,
    units_chosen: Mapping[str, str] | None = None,
) -> FormReading:
    """Read what was typed into a form over what is stored of it.

    An item that is not in ``texts`` keeps its stored answer; an empty text clears it. ``others`` are the values of the
    participant's other forms, for skip logic and edit checks. An answer to an item that is not asked is a problem; it
    is never dropped without a word.
    """
    chosen = units_chosen or {}
    known = {item.id: item for item in form.items}
    problems = [Problem(name, f"The form {form.label} has no item “{name}”.") for name in texts if name not in known]
    answers = dict(stored)
    for name, item in known.items():
        if name not in texts:
            continue
        if item.computed and texts[name].strip():
            problems.append(Problem(name, f"{item.label} is computed and cannot be typed."))
            continue
        try:
            answer = enter_answer(item, texts[name], moment=moment, unit=chosen.get(name, ""))
        except AnswerRefused as refused:
            problems.append(Problem(name, str(refused), refused.choices))
            continue
        if answer is None:
            answers.pop(name, None)
        else:
            answers[name] = answer
    values = {**others, **{f"{form.id}.{item.id}": MISSING for item in form.items if is_typed(form, item)}}
    values |= {f"{form.id}.{name}": observed(known[name], answer) for name, answer in answers.items() if name in known}
    refused_items = {problem.item for problem in problems}
    open_items = []
    for item in form.items:
        asked = is_asked(form, item, values)
        if asked is Truth.NO and item.id in answers:
            verdict = evaluate(item.visible_when, values) if item.visible_when is not None else None
            why = f" ({verdict.sentence.rstrip('.')})" if verdict else ""
            problems.append(
                Problem(
                    item.id,
                    f"{item.label} is not asked here{why}. Clear this answer, or correct the one it depends on.",
                )
            )
        if (
            asked is Truth.YES
            and is_typed(form, item)
            and item.required
            and item.id not in answers
            and item.id not in refused_items
        ):
            open_items.append(item.id)
    questions = [question for name, answer in answers.items() if (question := question_on(known[name], answer))]
    for check in protocol.checks:
        if check.item.partition(".")[0] == form.id and evaluate(check.when, values).answer is Truth.YES:
            name = check.item.partition(".")[2]
            questions.append(Question(name, check.message))
            if check.severity is Severity.HARD:
                open_items.append(name)
    return FormReading(answers, tuple(problems), tuple(questions), tuple(dict.fromkeys(open_items)))


def incomplete_words(form: Form, open_items: tuple[str, ...]) -> str:
    """Why a form cannot be complete yet, and the way out."""
    labels = {item.id: item.label for item in form.items}
    reasons = sorted({reason for item in form.items if item.id in open_items for reason in item.missing_reasons})
    way_out = f" Answer it, or type why there is no answer: {', '.join(reasons)}." if reasons else ""
    return f"{form.label} is not complete: {', '.join(labels.get(name, name) for name in open_items)}.{way_out}"


def day_observed(form: Form, answers: Mapping[str, FormAnswer], visit_date: date | None) -> date | None:
    """The day the form's facts were observed: its own date item where it has one, else the day of the visit.

    The date item is the one that orders the form's rows, or is called ``DATE``. Not known from a partial date.
    """
    for name in (form.order_by, "DATE"):
        item = next((one for one in form.items if one.id == name), None)
        answer = answers.get(name)
        if item is None or item.type not in (ItemType.DATE, ItemType.DATETIME, ItemType.PARTIAL_DATE):
            continue
        if answer is None or not answer.value:
            return None
        return date.fromisoformat(answer.value[:10]) if len(answer.value) >= 10 else None
    return visit_date
