"""Monitored targets: whether a result lies below, in or above a target, or cannot be compared with it at all.

Analyte, unit, assay and (by the analyte) quantity and window are part of what a target is. A result of another unit or
assay is not converted to it: active ATG in AU and in UE are results of different assays. Both ends of a target lie
inside it. A value outside a target prompts a note; it is no deviation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from trials.domain import figures
from trials.domain.definition import Target
from trials.domain.figures import BLUE, GREY, INK, ORANGE, PALE, Spec

from .nomogram import plain

#: An assay of this name is that of any laboratory of the site.
LOCAL = "local"


class Place(StrEnum):
    BELOW = "below"
    IN = "in"
    ABOVE = "above"
    NOT_KNOWN = "not known"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Level:
    """One result: ``qualifier`` ``<`` or ``>`` where the laboratory gave only a bound; ``assay`` is its laboratory."""

    analyte: str
    value: Decimal
    unit: str
    assay: str
    qualifier: str = ""
    taken_at: datetime | date | None = None
    day: int | None = None

    def words(self) -> str:
        return f"{self.qualifier}{plain(self.value)} {self.unit}"


@dataclass(frozen=True)
class Classed:
    """A level against a target, with the sentence that says why."""

    level: Level
    target: Target
    place: Place
    sentence: str

    @property
    def asks_for_note(self) -> bool:
        return self.place in (Place.BELOW, Place.ABOVE)


def classify(target: Target, level: Level) -> Classed:
    """Where ``level`` lies; a bound that does not settle it leaves it not known.

    >>> one = Target(id="ciclosporin", analyte="PC.CSA", quantity="trough", window="trough", low=Decimal(150),
    ...              high=Decimal(250), unit="µg/L")
    >>> [str(classify(one, Level("PC.CSA", Decimal(v), "µg/L", "A")).place) for v in (149, 150, 250, 251)]
    ['below', 'in', 'in', 'above']
    """
    different = _different(target, level)
    if different:
        return Classed(level, target, Place.NOT_COMPARABLE, f"Not comparable with the target: {different}")
    place = _place(target, level)
    ends = range_words(target)
    said = {
        Place.NOT_KNOWN: f"{level.words()} does not say whether it lies in {ends}.",
        Place.IN: f"{level.words()} lies in {ends}.",
    }
    return Classed(level, target, place, said.get(place, f"{level.words()} lies {place} {ends}."))


def range_words(target: Target) -> str:
    """The target as it is printed; both ends are inside."""
    low, high = target.low, target.high
    if low is not None and high is not None:
        return f"{plain(low)} to {plain(high)} {target.unit}"
    return (
        f"at least {plain(low)} {target.unit}"
        if low is not None
        else f"at most {plain(high or Decimal(0))} " + (target.unit)
    )


def _different(target: Target, level: Level) -> str:
    if level.analyte != target.analyte:
        return f"it is of {target.analyte}, the result of {level.analyte}."
    if level.unit != target.unit:
        return f"it is in {target.unit}, the result in {level.unit or 'no unit'}; the two are not converted."
    if target.assay and target.assay != LOCAL and target.assay != level.assay:
        return f"it belongs to the assay “{target.assay}”, the result to “{level.assay or 'not named'}”."
    return ""


def _place(target: Target, level: Level) -> Place:
    low, high, value = target.low, target.high, level.value
    if level.qualifier == "<":  # the value itself is smaller than the number
        if low is not None and value <= low:
            return Place.BELOW
        return Place.IN if low is None and high is not None and value <= high else Place.NOT_KNOWN
    if level.qualifier == ">":
        if high is not None and value >= high:
            return Place.ABOVE
        return Place.IN if high is None and low is not None and value >= low else Place.NOT_KNOWN
    if low is not None and value < low:
        return Place.BELOW
    return Place.ABOVE if high is not None and value > high else Place.IN


def counts(classed: Iterable[Classed]) -> Mapping[Place, int]:
    """How many results lie where."""
    places = [one.place for one in classed]
    return {place: places.count(place) for place in Place}


#: Shape, colour and word of each place: never colour alone.
MARKS: Mapping[Place, tuple[str, str]] = {
    Place.BELOW: ("triangle-down", ORANGE),
    Place.IN: ("circle", BLUE),
    Place.ABOVE: ("triangle-up", ORANGE),
    Place.NOT_KNOWN: ("diamond", GREY),
}


def picture(target: Target, classed: Iterable[Classed]) -> Spec:
    """The results over the study days, with the target as a band. What is not comparable is not drawn beside it."""
    shown = [one for one in classed if one.place is not Place.NOT_COMPARABLE and one.level.day is not None]
    rows = [
        {"day": one.level.day, "value": float(one.level.value), "place": str(one.place), "words": one.level.words()}
        for one in shown
    ]
    top = max([*(float(one.level.value) for one in shown), float(target.high or target.low or 0)]) * 1.1
    y: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": figures.unit_words(target.unit),
        "scale": {"domain": [0, top]},
    }
    band = [{"low": float(target.low or 0), "high": float(target.high) if target.high is not None else top}]
    places = list(MARKS)
    scale = {"domain": [str(place) for place in places]}
    place: Spec = {"field": "place", "type": "nominal"}
    return figures.framed(
        width=560,
        height=170,
        layer=[
            {
                "data": figures.inline(band),
                "mark": {"type": "rect", "color": PALE},
                "encoding": {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
            },
            {
                "data": figures.inline(rows),
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "x": {
                        "field": "day",
                        "type": "quantitative",
                        "title": "Study day",
                        "axis": {"tickMinStep": 1},
                        "scale": {"zero": False},
                    },
                    "y": y,
                    "shape": {**place, "scale": {**scale, "range": [MARKS[one][0] for one in places]}},
                    "color": {**place, "scale": {**scale, "range": [MARKS[one][1] for one in places]}},
                },
            },
            {
                "data": figures.inline([row for row in rows if row["place"] != str(Place.IN)]),
                "mark": {"type": "text", "align": "left", "dx": 8, "color": INK, "fontSize": figures.TEXT_SIZE},
                "encoding": {"x": {"field": "day", "type": "quantitative"}, "y": y, "text": {"field": "words"}},
            },
        ],
    )
