"""How the questions of a definition are shown as fields, and what comes back from them.

The fields are made from the definition, so that a trial needs no template and no form class of its own. What was typed
is read by ``casebook.domain`` inside the action; here texts are only carried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.http import QueryDict

from casebook import selectors
from casebook.domain.answers import (
    MISSING_REASONS,
    YES_NO_WORDS,
    FormAnswer,
    Problem,
    asked_words,
    is_asked,
    observed,
    range_words,
    read_form,
)
from casebook.domain.clinical_events import GRADES, EventKind, details_of
from casebook.domain.places import is_typed
from casebook.domain.results import flag
from casebook.models import ClinicalEvent, FormEntry, LabDraw, LabResult
from trials.domain import units
from trials.domain.answers import Answer as Truth
from trials.domain.calculations import calculate
from trials.domain.conditions import Observed, items_of
from trials.domain.definition import Analyte, Code, Form, Item, ItemType, Panel, Protocol
from trials.domain.observations import labels
from trials.domain.partial_dates import PartialDate
from trials.formats.definitions import CALCULATIONS
from trials.models import Participant, Visit

#: More answers than this stand in a list, fewer beside each other.
MOST_RADIOS = 5
_DATED = (ItemType.DATE, ItemType.PARTIAL_DATE, ItemType.DATETIME)
DATE_HINT = "Type 12nov26, 12.11.2026, t (today), y (yesterday), v (visit day) or d+21 (study day)."
PARTIAL_HINT = "May lack day or month: nov 2026, 2026."
TIME_HINT = "Date and time: 12nov26 14:05."


@dataclass(frozen=True)
class Choice:
    value: str
    label: str
    chosen: bool
    is_reason: bool = False


@dataclass(frozen=True)
class Field:
    """One question as the page shows it."""

    name: str
    label: str
    control: str
    value: str = ""
    unit: str = ""
    units: tuple[str, ...] = ()
    range: str = ""
    help: str = ""
    hint: str = ""
    depends: str = ""
    choices: tuple[Choice, ...] = ()
    is_required: bool = False
    is_shown: bool = True
    is_discarded: bool = False
    decides: bool = False
    is_dependent: bool = False
    error: str = ""
    readings: tuple[tuple[str, str], ...] = ()
    question: str = ""
    previous: str = ""
    numeric: bool = False
    has_history: bool = False
    reasons: str = ""

    @property
    def id(self) -> str:
        return f"f-{self.name}"

    @property
    def words(self) -> str:
        """The answer as it is read: the label of a code, the number with its unit."""
        if self.choices:
            return next((choice.label for choice in self.choices if choice.chosen), self.value)
        return f"{self.value} {self.unit}".strip() if self.value and self.numeric else self.value

    @property
    def state(self) -> str:
        """How the row is shown: the page sends it back, so that only rows that change are drawn again."""
        if not self.is_shown:
            return f"{self.name}:hidden"
        return f"{self.name}:{'discarded' if self.is_discarded else 'open' if self.depends else 'asked'}"

    @property
    def described_by(self) -> str:
        ids = [f"{self.id}-help" if self.help or self.hint else "", f"{self.id}-error" if self.error else ""]
        return " ".join(one for one in ids if one)


@dataclass(frozen=True)
class Typed:
    """What came back from the page."""

    answers: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def typed_answers(form: Form, posted: QueryDict) -> Typed:
    """The texts of the form's fields. Of a comparison after a conflict, ``theirs`` is left out and so stays."""
    answers, chosen = {}, {}
    for item in form.items:
        if posted.get(f"choose:{item.id}") == "theirs":
            continue
        if item.id in posted:
            answers[item.id] = posted.get(item.id, "")
            chosen[item.id] = posted.get(f"unit:{item.id}", "")
    return Typed(answers, chosen)


def entry_fields(
    participant: Participant,
    form: Form,
    *,
    entry: FormEntry | None,
    visit: Visit | None,
    typed: Typed | None = None,
    problems: Sequence[Problem] = (),
) -> list[Field]:
    """The fields of a form over what is stored, or over what was typed and refused."""
    protocol = participant.protocol
    stored = {name: FormAnswer.from_stored(one) for name, one in entry.answers.items()} if entry else {}
    others = selectors.values_beside(participant, form.id, entry.pk if entry else None)
    moment = selectors.moment_for(participant, visit)
    typed = typed or Typed()
    reading = read_form(
        protocol, form, typed.answers, stored=stored, others=others, moment=moment, units_chosen=typed.units
    )
    values = {**others}
    for item in form.items:
        if is_typed(form, item):
            values[f"{form.id}.{item.id}"] = observed(item, reading.answers.get(item.id))
    computed = calculate(form, values, CALCULATIONS)
    words = labels(protocol)
    refused = {problem.item: problem for problem in problems}
    questions: dict[str, str] = {}
    for question in reading.questions:
        questions[question.item] = " ".join(filter(None, (questions.get(question.item), question.sentence)))
    deciding = {
        address for item in form.items if item.visible_when is not None for address in items_of(item.visible_when)
    }
    fields = []
    for item in form.items:
        address = f"{form.id}.{item.id}"
        if not is_typed(form, item):
            fields.append(_given(item, computed.get(address) or others.get(address)))
            continue
        answer = stored.get(item.id)
        text = typed.answers.get(item.id, answer.as_typed if answer else "")
        asked = is_asked(form, item, values)
        earlier = others.get(address) if not form.repeating else None
        shown = asked is not Truth.NO or bool(text) or item.id in refused
        fields.append(
            item_field(
                item,
                text,
                unit=typed.units.get(item.id) or (answer.unit if answer else ""),
                problem=refused.get(item.id),
                question=questions.get(item.id, ""),
                shown=shown,
                discarded=asked is Truth.NO and shown,
                required=item.required and asked is Truth.YES,
                depends=asked_words(item, words) if asked is Truth.UNKNOWN else "",
                decides=address in deciding,
                previous=_previous(earlier),
                has_history=answer is not None,
            )
        )
    return fields


def item_field(
    item: Item,
    text: str,
    *,
    unit: str = "",
    problem: Problem | None = None,
    question: str = "",
    shown: bool = True,
    discarded: bool = False,
    required: bool | None = None,
    depends: str = "",
    decides: bool = False,
    previous: str = "",
    has_history: bool = False,
) -> Field:
    """One item as a field holding ``text``."""
    coded = item.type in (ItemType.CODE, ItemType.YES_NO_UNKNOWN)
    options = _choices(item, text) if coded else ()
    control = "text"
    if coded:
        control = "radio" if sum(not option.is_reason for option in options) <= MOST_RADIOS else "select"
    elif item.type is ItemType.TEXT and (item.max_length or 0) > 200:
        control = "textarea"
    hint = ""
    if item.type in _DATED:
        hint = TIME_HINT if item.type is ItemType.DATETIME else DATE_HINT
        if item.type is ItemType.PARTIAL_DATE:
            hint = f"{hint} {PARTIAL_HINT}"
    allowed = tuple(dict.fromkeys((item.unit, *item.accepted_units))) if item.unit else ()
    readings = tuple((one, PartialDate.from_iso(one).display()) for one in problem.choices) if problem else ()
    chosen = next((one for one in allowed if unit and units.normalised(one) == units.normalised(unit)), item.unit)
    return Field(
        name=item.id,
        label=item.label,
        control=control,
        value=text if coded or problem else _echo(item, text),
        unit=chosen,
        units=allowed if len(allowed) > 1 else (),
        range=range_words(item),
        help=item.help,
        hint=hint,
        depends=depends,
        choices=options,
        is_required=item.required if required is None else required,
        is_shown=shown,
        is_discarded=discarded,
        decides=decides,
        is_dependent=item.visible_when is not None,
        error=problem.sentence if problem else "",
        readings=readings,
        question="" if problem else question,
        previous=previous,
        numeric=item.type in (ItemType.NUMBER, ItemType.INTEGER),
        has_history=has_history,
        reasons=" ".join(f"{code} {MISSING_REASONS.get(code, '')}," for code in item.missing_reasons).rstrip(",")
        if not coded
        else "",
    )


def _choices(item: Item, text: str) -> tuple[Choice, ...]:
    if item.type is ItemType.YES_NO_UNKNOWN:
        codes = list(YES_NO_WORDS.items())
        # "Not known" is an answer of the question itself.
        reasons = [code for code in item.missing_reasons if code != "UNK"]
    else:
        codes = [(code.value, code.label) for code in item.codes]
        reasons = [code for code in item.missing_reasons if code not in {value for value, _ in codes}]
    options = [Choice(value, label, value == text) for value, label in codes]
    return (
        *options,
        *(Choice(code, MISSING_REASONS.get(code, code), code == text, is_reason=True) for code in reasons),
    )


def _echo(item: Item, text: str) -> str:
    """A stored date as people read it; everything else as it is."""
    if item.type not in _DATED or not text[:4].isdigit():
        return text
    try:
        day = PartialDate.from_iso(text[:10]).display()
    except ValueError:
        return text
    return f"{day} {text[11:16]}" if "T" in text else day


def _given(item: Item, seen: Observed | None) -> Field:
    """What is computed, or kept by registration and consent: shown, not typed."""
    known = seen is not None and seen.value is not None
    value = seen.words() if known and seen else ""
    if known and seen and item.codes:
        value = next((code.label for code in item.codes if code.value == seen.value), value)
    if known and seen and item.type is ItemType.YES_NO_UNKNOWN:
        value = YES_NO_WORDS.get(str(seen.value), value)
    return Field(item.id, item.label, "given", value=value, help=seen.source if seen and seen.source else item.help)


def _previous(seen: Observed | None) -> str:
    """What was answered elsewhere and last, where its day is known."""
    if seen is None or seen.value is None or seen.observed_on is None:
        return ""
    day = PartialDate.from_date(seen.observed_on).display()
    return f"{seen.words()} on {day}"


def event_fields(
    kind: EventKind,
    *,
    event: ClinicalEvent | None = None,
    typed: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
) -> list[Field]:
    """Date, grade and details of one kind of event, over an event that there is or what was typed."""
    refused = {problem.item: problem for problem in problems}
    known = {"occurred": event.occurred, "grade": event.grade, "note": event.note, **event.detail} if event else {}
    texts = {**known, **(typed or {})}
    day = Item(id="occurred", label="Date", type=ItemType.PARTIAL_DATE, required=True, missing_reasons=())
    items = [day]
    if kind in GRADES:
        items.append(_grade_item(kind))
    items += details_of(kind)
    items.append(Item(id="note", label="Note", type=ItemType.TEXT, max_length=1000, missing_reasons=()))
    return [item_field(item, texts.get(item.id, ""), problem=refused.get(item.id)) for item in items]


def _grade_item(kind: EventKind) -> Item:
    codes = tuple(Code(value=grade, label=grade) for grade in GRADES[kind])
    return Item(id="grade", label="Grade", type=ItemType.CODE, codes=codes, required=True, missing_reasons=())


def typed_event(kind: EventKind, posted: QueryDict) -> dict[str, str]:
    """Date, grade, note and details as they came."""
    names = ("occurred", "grade", "note", *(item.id for item in details_of(kind)))
    return {name: posted.get(name, "") for name in names if name in posted}


# --- The grid of results ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One result of an earlier draw."""

    result: LabResult | None
    text: str = ""
    flag: str = ""
    unit: str = ""


@dataclass(frozen=True)
class LabRow:
    """One analyte: its earlier results and the field of the new column."""

    address: str
    label: str
    unit: str
    units: tuple[str, ...]
    cells: tuple[Cell, ...]
    ghost: str
    value: str
    error: str
    takes_lloq: bool = False
    lloq: str = ""
    lloq_ghost: str = ""

    @property
    def id(self) -> str:
        return f"f-{self.address.replace('.', '-')}"


@dataclass(frozen=True)
class LabGrid:
    panel: Panel | None
    panels: tuple[Panel, ...]
    draws: tuple[LabDraw, ...]
    rows: tuple[LabRow, ...]

    @property
    def takes_lloq(self) -> bool:
        """Whether a limit of quantification can be typed: one analyte at least follows an assay."""
        return any(row.takes_lloq for row in self.rows)


EARLIER_DRAWS = 4


def lab_grid(
    participant: Participant,
    *,
    panel_id: str = "",
    typed: Mapping[str, str] | None = None,
    chosen_units: Mapping[str, str] | None = None,
    lloqs: Mapping[str, str] | None = None,
    problems: Iterable[Problem] = (),
) -> LabGrid:
    """The analytes of a panel (or all of them) by the last four draws that hold one of them."""
    protocol = participant.protocol
    panel = next((one for one in protocol.panels if one.id == panel_id), None)
    analytes = _analytes(protocol, panel)
    addresses = {f"{one.form}.{one.id}" for one in analytes}
    draws: list[LabDraw] = []
    last: dict[str, LabResult] = {}
    for draw in selectors.draws_of(participant)[:200]:
        own = [result for result in draw.results.all() if result.analyte in addresses]
        if own and len(draws) < EARLIER_DRAWS:
            draws.append(draw)
        for result in own:
            last.setdefault(result.analyte, result)
    draws.reverse()
    refused = {problem.item: problem.sentence for problem in problems}
    rows = [
        _lab_row(analyte, draws, last, typed or {}, chosen_units or {}, lloqs or {}, refused) for analyte in analytes
    ]
    return LabGrid(panel, protocol.panels, tuple(draws), tuple(rows))


def _analytes(protocol: Protocol, panel: Panel | None) -> list[Analyte]:
    known = {f"{one.form}.{one.id}": one for one in protocol.analytes}
    order = panel.analytes if panel else tuple(known)
    return [known[address] for address in order if address in known]


def _lab_row(
    analyte: Analyte,
    draws: Sequence[LabDraw],
    last: Mapping[str, LabResult],
    typed: Mapping[str, str],
    chosen: Mapping[str, str],
    lloqs: Mapping[str, str],
    refused: Mapping[str, str],
) -> LabRow:
    address = f"{analyte.form}.{analyte.id}"
    accepted = tuple(dict.fromkeys((analyte.canonical_unit, *analyte.accepted_units)))
    before = last.get(address)
    usual = before.unit_as_written if before else ""
    wanted = chosen.get(address) or usual
    unit = next((one for one in accepted if units.normalised(one) == units.normalised(wanted)), accepted[0])
    cells = []
    for draw in draws:
        result = next((one for one in draw.results.all() if one.analyte == address), None)
        cells.append(_cell(result, unit))
    ghost = before.value_as_written or before.missing_reason if before else ""
    return LabRow(
        address,
        analyte.label,
        unit,
        accepted,
        tuple(cells),
        ghost,
        typed.get(address, ""),
        refused.get(address, ""),
        takes_lloq=analyte.per_assay,
        lloq=lloqs.get(address, ""),
        lloq_ghost=before.lloq_as_written if before else "",
    )


def _cell(result: LabResult | None, row_unit: str) -> Cell:
    if result is None:
        return Cell(None)
    mark = flag(result.value, result.qualifier, result.lower_limit, result.upper_limit)
    other = result.unit_as_written if units.normalised(result.unit_as_written) != units.normalised(row_unit) else ""
    return Cell(result, result.value_as_written or result.missing_reason, mark, other)
