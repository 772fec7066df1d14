"""What an analysis answers: numbers with their methods, in tables, with the steps of its curves and what was checked.

One result is the source of the table, of the sentence and of the figure, so that they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

from analysis.domain.figures.boxes import Boxes
from analysis.domain.figures.swimmer import Swimmer
from analysis.domain.figures.transitions import Transitions
from analysis.domain.figures.waterfall import Waterfall

#: Digits that are stored of a number: more than anybody prints, fewer than two machines may differ in.
DIGITS = 10


@dataclass(frozen=True)
class Listing:
    """Whom a number counts: filters of the listing of endpoints. What is "" does not narrow it."""

    set_id: str = ""
    endpoint: str = ""
    status: str = ""
    group: str = ""
    item: str = ""
    value: str = ""


@dataclass(frozen=True)
class Number:
    """A number as it is printed in ``text``, with its value, its denominator, its method, and whom it counts."""

    text: str
    value: float | None = None
    method: str = ""
    n: int | None = None
    lower: float | None = None
    upper: float | None = None
    listing: Listing | None = None


@dataclass(frozen=True)
class Row:
    label: str
    cells: tuple[Number, ...]
    #: A line below the heading of several rows.
    indent: bool = False


@dataclass(frozen=True)
class ResultTable:
    """``columns`` are the heads after the first one, ``head``. ``by_group``: its numbers tell the trial's own groups
    apart."""

    caption: str
    head: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    by_group: bool = False


@dataclass(frozen=True)
class Line:
    """One curve as its steps: (days, estimate, lower, upper); and (days, at risk, events so far) for below it.

    ``lost``: of a curve of survival, where somebody's follow-up ends without the event: (days, height).
    """

    label: str
    steps: tuple[tuple[float, float, float, float], ...]
    counts: tuple[tuple[float, int, int], ...]
    n: int
    lost: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class CurveData:
    """The curves of one endpoint. ``falls``: of survival, from 1; else of incidence, from 0."""

    title: str
    origin: str
    falls: bool
    lines: tuple[Line, ...]
    method: str
    marks: tuple[int, ...] = ()
    by_group: bool = False


@dataclass(frozen=True)
class Effect:
    """One line of a forest plot."""

    label: str
    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class ForestData:
    """Ratios with their limits on a logarithmic axis; or, with ``axis`` "difference", on a plain one."""

    title: str
    quantity: str
    effects: tuple[Effect, ...]
    method: str
    by_group: bool = False


#: The figures of people, by the name that a definition asks for them with: each is a result object of its own.
Drawn = Boxes | Waterfall | Transitions | Swimmer
DRAWN: Mapping[str, type[Drawn]] = MappingProxyType(
    {"boxes": Boxes, "waterfall": Waterfall, "transitions": Transitions, "swimmer": Swimmer}
)


@dataclass(frozen=True)
class Drawing:
    """A figure of people rather than of an estimate. ``kind`` is its name in :data:`DRAWN`."""

    kind: str
    title: str
    method: str
    data: Drawn


@dataclass(frozen=True)
class Law:
    """Something that must hold of these numbers whatever the data, and whether it does."""

    name: str
    holds: bool
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """One analysis, computed; or ``refused``: the sentence that says why there is no number.

    ``by_group``: it tells the trial's own groups apart, so that only who may see them may read it.
    """

    id: str
    label: str
    method: str
    sentence: str = ""
    tables: tuple[ResultTable, ...] = ()
    curves: tuple[CurveData, ...] = ()
    forests: tuple[ForestData, ...] = ()
    laws: tuple[Law, ...] = ()
    warnings: tuple[str, ...] = ()
    refused: str = ""
    by_group: bool = False
    drawings: tuple[Drawing, ...] = ()

    @property
    def broken_laws(self) -> tuple[Law, ...]:
        return tuple(law for law in self.laws if not law.holds)


def as_plain(result: Result) -> dict[str, Any]:
    """The result as JSON holds it; numbers to :data:`DIGITS` significant digits.

    Raises ValueError for a number that is not finite: a result never holds one.
    """
    plain: dict[str, Any] = _plain(asdict(result), result.id)
    return plain


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: a result holds {value}, which is not a number")
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _plain(entry, where) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, where) for entry in value]
    return value


def from_plain(data: Mapping[str, Any]) -> Result:
    """The result that :func:`as_plain` wrote."""

    def number(cell: Mapping[str, Any]) -> Number:
        listing = cell["listing"]
        return Number(**{**cell, "listing": Listing(**listing) if listing else None})

    def table(one: Mapping[str, Any]) -> ResultTable:
        rows = tuple(Row(r["label"], tuple(map(number, r["cells"])), r["indent"]) for r in one["rows"])
        return ResultTable(**{**one, "columns": tuple(one["columns"]), "rows": rows, "notes": tuple(one["notes"])})

    def curve(one: Mapping[str, Any]) -> CurveData:
        lines = tuple(
            Line(
                line["label"],
                tuple(map(tuple, line["steps"])),
                tuple(map(tuple, line["counts"])),
                line["n"],
                tuple(map(tuple, line.get("lost", ()))),
            )
            for line in one["lines"]
        )
        return CurveData(**{**one, "lines": lines, "marks": tuple(one["marks"])})

    def forest(one: Mapping[str, Any]) -> ForestData:
        return ForestData(**{**one, "effects": tuple(Effect(**effect) for effect in one["effects"])})

    return Result(
        **{
            **data,
            "tables": tuple(map(table, data["tables"])),
            "curves": tuple(map(curve, data["curves"])),
            "forests": tuple(map(forest, data["forests"])),
            "laws": tuple(Law(**law) for law in data["laws"]),
            "warnings": tuple(data["warnings"]),
            # A run of before there were drawings has none.
            "drawings": tuple(map(_drawing, data.get("drawings", ()))),
        }
    )


def _drawing(one: Mapping[str, Any]) -> Drawing:
    return Drawing(**{**one, "data": _rebuilt(DRAWN[one["kind"]], one["data"])})


def _rebuilt(kind: Any, plain: Any) -> Any:
    """A value of the annotated ``kind`` from what JSON kept of it."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _rebuilt(hints[name], value) for name, value in plain.items()})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        return tuple(_rebuilt(get_args(kind)[0], value) for value in plain)
    return plain
