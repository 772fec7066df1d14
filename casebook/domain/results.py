"""A laboratory value as it was written, and what it is in the unit that computations use.

The written text and unit are kept beside the canonical value: grades are read in the unit of the laboratory, endpoints
in the canonical one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

from trials.domain import units
from trials.domain.definition import Analyte

from .numbers import MAX_DECIMALS, NumberEntryError, enter_number, plain

#: Why the laboratory gave no value.
MISSING_REASONS = ("ND", "NA", "UNK")
#: How laboratories write that an assay found nothing: a result without a number, kept as it is written.
NOT_DETECTED = ("not detected", "undetectable", "negative", "neg", "neg.")
NOT_DETECTED_QUALIFIER = "nd"
MAX_TEXT = 40
MAX_UNIT = 20
#: How a laboratory writes that a result is below a limit, without the limit.
_BELOW_SOME_LIMIT = re.compile(r"[<≤]?\s*(b?ll?oq|blq|bql|bdl|l[dl]od|lod|below\b.*)", re.IGNORECASE)
_STEP = Decimal(1).scaleb(-MAX_DECIMALS)


@dataclass(frozen=True)
class Written:
    """A result as it stands on the laboratory's report, with the limits of normal printed beside it.

    ``lloq`` is the lower limit of quantification of the assay, in the unit of the result.
    """

    text: str
    unit: str = ""
    lower_limit: str = ""
    upper_limit: str = ""
    lloq: str = ""


@dataclass(frozen=True)
class ReadResult:
    """A result that can be kept; ``questions`` say what is unusual about it."""

    address: str
    value_as_written: str
    qualifier: str
    unit_as_written: str
    value: Decimal | None
    unit: str
    lower_limit: Decimal | None
    upper_limit: Decimal | None
    missing_reason: str
    lloq: Decimal | None = None
    lloq_as_written: str = ""
    questions: tuple[str, ...] = ()


class ResultRefused(ValueError):
    """A result that cannot be kept as it is written; ``column`` is the part that is wrong."""

    def __init__(self, sentence: str, *, column: str = "value") -> None:
        super().__init__(sentence)
        self.column = column


def read_result(analyte: Analyte, written: Written) -> ReadResult:
    """Read a written result: qualifier, exact canonical value and unit; ``ND`` and the like are a missing reason.

    A unit is never guessed. A value that its unit makes impossible is refused, asking the unit. The canonical value has
    8 decimals, rounded half to even where a factor does not divide; the written one keeps every digit. Raises
    ResultRefused.

    >>> cd4 = Analyte(id="CD4", label="CD4", canonical_unit="10^9/L", accepted_units=("cells/µL",))
    >>> read_result(cd4, Written("50", "cells/uL")).value       # PARACHUTE, Introduction: 50/µL is 0.05
    Decimal('0.05')
    """
    address = f"{analyte.form}.{analyte.id}"
    text, unit = written.text.strip(), written.unit.strip()
    if not text:
        raise ResultRefused(f"{analyte.label} has no value. Type it, or ND when it was not done.")
    if text.upper() in MISSING_REASONS:
        return ReadResult(address, "", "", "", None, "", None, None, text.upper())
    if analyte.per_assay and text.lower() in NOT_DETECTED:
        limit, limit_text = _lloq(analyte, written, unit, None, "")
        qualifier = NOT_DETECTED_QUALIFIER
        return ReadResult(address, text, qualifier, unit, None, "", None, None, "", limit, limit_text)
    if not unit:
        allowed = ", ".join(_units_of(analyte))
        raise ResultRefused(f"{analyte.label} {text} has no unit. Give one of {allowed}.", column="unit")
    if len(text) > MAX_TEXT:
        raise ResultRefused(f"{analyte.label}: “{text[:MAX_TEXT]}…” is too long to be a result.")
    own_unit = units.normalised(unit) == units.normalised(analyte.canonical_unit)
    try:
        number = enter_number(text, decimals=analyte.decimals if own_unit else None, unit=unit)
    except NumberEntryError as error:
        if analyte.per_assay and _BELOW_SOME_LIMIT.fullmatch(text):
            rule = f"{analyte.label}: “{text}” is below a limit and does not name it."
            raise ResultRefused(f"{rule} Write the limit of the assay, such as <0.5.") from None
        raise ResultRefused(f"{analyte.label}: {error}") from None
    value = _canonical(analyte, number.value, unit)
    if value < 0:
        raise ResultRefused(f"{analyte.label}: {text} is below zero. Check the value.")
    _check_unit(analyte, text, unit, value)
    lower = _limit(analyte, written.lower_limit, unit, "lower_limit")
    upper = _limit(analyte, written.upper_limit, unit, "upper_limit")
    if lower is not None and upper is not None and lower > upper:
        raise ResultRefused(
            f"{analyte.label}: the lower limit {written.lower_limit} is above the upper limit {written.upper_limit}.",
            column="lower_limit",
        )
    lloq, lloq_text = _lloq(analyte, written, unit, value, number.qualifier)
    return ReadResult(
        address=address,
        value_as_written=f"{number.qualifier}{number.text}",
        qualifier=number.qualifier,
        unit_as_written=unit,
        value=value,
        unit=analyte.canonical_unit,
        lower_limit=lower,
        upper_limit=upper,
        missing_reason="",
        lloq=lloq,
        lloq_as_written=lloq_text,
        questions=unusual(analyte, value, number.qualifier, lloq),
    )


def _units_of(analyte: Analyte) -> tuple[str, ...]:
    return tuple(dict.fromkeys((analyte.canonical_unit, *analyte.accepted_units)))


def _canonical(analyte: Analyte, value: Decimal, unit: str) -> Decimal:
    try:
        converted = units.canonical(
            value,
            unit=unit,
            canonical_unit=analyte.canonical_unit,
            accepted=analyte.accepted_units,
            analyte=analyte.id,
        )
    except units.UnitError as error:
        is_accepted = units.normalised(unit) in {units.normalised(one) for one in analyte.accepted_units}
        way_out = f" Have it reported in {analyte.canonical_unit}." if is_accepted else ""
        raise ResultRefused(f"{analyte.label}: {error}{way_out}", column="unit") from None
    if len(unit) > MAX_UNIT:
        raise ResultRefused(f"{analyte.label}: the unit “{unit[:MAX_UNIT]}…” is too long.", column="unit")
    rounded = converted.quantize(_STEP, rounding=ROUND_HALF_EVEN)
    if rounded == 0 and converted != 0:
        raise ResultRefused(
            f"{analyte.label}: {value} {unit} is smaller than {MAX_DECIMALS} decimals of {analyte.canonical_unit} hold."
        )
    return converted if converted == rounded else rounded


def _check_unit(analyte: Analyte, text: str, unit: str, value: Decimal) -> None:
    """A value a thousand times too high is a unit mixed up, not a finding."""
    if analyte.unit_check_above is None or value <= analyte.unit_check_above:
        return
    others = [other for other in _units_of(analyte) if units.normalised(other) != units.normalised(unit)]
    asked = f" Did the laboratory report it in {' or '.join(others)}?" if others else ""
    raise ResultRefused(f"{analyte.label}: {text} {unit} is not possible in this unit.{asked}", column="unit")


def _limit(analyte: Analyte, text: str, unit: str, column: str, name: str = "limit of normal") -> Decimal | None:
    if not text.strip():
        return None
    try:
        number = enter_number(text, unit=unit)
    except NumberEntryError as error:
        raise ResultRefused(f"{analyte.label}, {name}: {error}", column=column) from None
    if number.qualifier:
        raise ResultRefused(
            f"{analyte.label}, {name}: “{text.strip()}” is not a number. Type the limit alone.", column=column
        )
    return _canonical(analyte, number.value, unit)


def _lloq(
    analyte: Analyte, written: Written, unit: str, value: Decimal | None, qualifier: str
) -> tuple[Decimal | None, str]:
    """The limit of quantification in the canonical unit and as written; ``<`` beside it must name the same one."""
    text = written.lloq.strip()
    if not text:
        return None, ""
    name = "limit of quantification"
    if not unit:
        sentence = (
            f"{analyte.label}, {name} {text[:MAX_TEXT]} has no unit. Give one of {', '.join(_units_of(analyte))}."
        )
        raise ResultRefused(sentence, column="unit")
    limit = _limit(analyte, text, unit, "lloq", name)
    if limit is None or limit <= 0 or len(text) > MAX_TEXT:
        rule = f"{analyte.label}, {name}: {text[:MAX_TEXT]} is no number above 0. Check the limit."
        raise ResultRefused(rule, column="lloq")
    if qualifier == "<" and value != limit:
        raise ResultRefused(
            f"{analyte.label}: {written.text.strip()} and the {name} {text} name two limits. "
            "Write the same number twice, or leave the limit out.",
            column="lloq",
        )
    return limit, text


def unusual(analyte: Analyte, value: Decimal, qualifier: str, lloq: Decimal | None) -> tuple[str, ...]:
    """What is unusual about a value that is kept."""
    low, high = analyte.plausible_low, analyte.plausible_high
    shown = f"{qualifier}{plain(value)} {analyte.canonical_unit}"
    if lloq is not None and value < lloq and not qualifier:
        return (
            f"{analyte.label}: {shown} lies below its limit of quantification, {plain(lloq)}. It counts as below the "
            "limit, never as a number. Check both.",
        )
    if low is not None and value < low and qualifier != "<":
        return (f"{analyte.label}: {shown} is unusually low. Check the value and its unit.",)
    if high is not None and value > high and qualifier != ">":
        return (f"{analyte.label}: {shown} is unusually high. Check the value and its unit.",)
    return ()


def flag(value: Decimal | None, qualifier: str, lower: Decimal | None, upper: Decimal | None) -> str:
    """``L``, ``H`` or nothing against the limits of the laboratory; nothing where a limit or the side is not known.

    >>> flag(Decimal("0.3"), "", Decimal("1.2"), None)
    'L'
    """
    if value is None:
        return ""
    if lower is not None and (value < lower or (value == lower and qualifier == "<")) and qualifier not in (">", ">="):
        return "L"
    if upper is not None and (value > upper or (value == upper and qualifier == ">")) and qualifier not in ("<", "<="):
        return "H"
    return ""


@dataclass(frozen=True)
class VisitWindow:
    """A visit that a sample may belong to."""

    code: str
    earliest: date | None
    latest: date | None
    planned: date | None
    addresses: frozenset[str]


def visit_of_draw(sampled_on: date, addresses: Iterable[str], windows: Iterable[VisitWindow]) -> str | None:
    """The visit a draw belongs to: inside its window, sharing an analyte with it; the nearest planned day wins.

    Of two as near, the earlier. None for a sample between visits.
    """
    sampled = set(addresses)
    candidates = [
        (abs((sampled_on - (window.planned or window.earliest)).days), window.planned or window.earliest, window.code)
        for window in windows
        if window.earliest is not None
        and window.latest is not None
        and window.earliest <= sampled_on <= window.latest
        and sampled & window.addresses
    ]
    return min(candidates)[2] if candidates else None
