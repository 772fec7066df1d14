"""The reference page of the definition language, rendered from the dataclasses and tables that define it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

from . import conditions, nodes, units
from .definition import Clause, Protocol
from .derived import FUNCTIONS
from .reading import FieldRule, field_rules

_WORDS: Mapping[Any, str] = {str: "text", int: "whole number", Decimal: "number", bool: "true or false", date: "date"}

_INTRODUCTION = """\
# The definition language

This page is generated from the code that reads definition files: `trials/domain/definition.py`.

A trial is one YAML file per version: `trials/definitions/<trial>/v1.yaml`. It says *what* the protocol says; a method
is named and its code is tested elsewhere. `manage.py publish_protocol FILE` reads the file, refuses it whole with every
error in it (line, rule, way out), shows what changes against the active version, and stores it unchangeably.

An item is addressed as `FORM.ITEM`. An analyte is addressed as `LB.CD4`, and the limits of normal of the laboratory on
the day of the sample as `LB.CD4_LLN` and `LB.CD4_ULN`.

The file holds at most {size} MiB, {depth} levels and {nodes:,} values. Anchors (`&`), aliases (`*`), tags, a second
document and a key written twice are refused. Words such as `no` and `Y` stay words.
"""

_CONDITIONS = """\
## Conditions

Criteria, edit checks, visibility and removal rules share one closed grammar. A condition is one of:

| form | meaning |
|---|---|
| `{all: [...]}` | every one holds |
| `{any: [...]}` | at least one holds |
| `{not: ...}` | does not hold |
| `{item: DM.AGE, lt: 18}` | an item against a value |
| `{item: LB.ALT, le: 2.5, of: LB.ALT_ULN}` | an item against a multiple of another |
| `{item: LB.CREA, le: {item: LB.CREA_ULN}}` | an item against another |
| `{item: CM.STOP, gt: {item: TX.PLANNED_DATE, minus: {months: 3}}}` | a date against another with a calendar distance |

A distance is `plus` or `minus` with `days`, `weeks`, `months` or `years`; the 31st of a month less one month is the
last day of the month before.

The answer is yes, no or not known. Missing data are *not known*, never *no*: `all` is no as soon as one part is no,
`any` is yes as soon as one part is yes, and otherwise a part that is not known leaves the whole not known. A partial
date stands for every day it may mean and a result such as `<0.01` for every number below it. Only `present` looks at
the record itself and is always yes or no.

| operator | meaning |
|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    limits = {"size": nodes.MAX_BYTES // 1024 // 1024, "depth": nodes.MAX_DEPTH, "nodes": nodes.MAX_NODES}
    operators = "".join(f"| `{op}` | {words[0]} |\n" for op, words in conditions.OPERATORS.items())
    functions = "".join(f"| `{name}` | {words} |\n" for name, words in FUNCTIONS.items())
    families = "".join(
        f"| {family} | {', '.join(f'`{unit}`' for unit in members)} |\n" for family, members in units.FAMILIES.items()
    )
    substances = "".join(
        f"| {name} | 1 `{left}` = {factor} `{right}` |\n" for name, (left, right, factor) in units.SUBSTANCES.items()
    )
    return "\n".join(
        [
            _INTRODUCTION.format(**limits),
            _CONDITIONS + operators,
            "## Functions of derived items\n\n| function | result |\n|---|---|\n" + functions,
            "## Clauses\n\n" + _common(),
            *(_section(clause) for clause in clauses()),
            "## Units\n\nUnits of one row are converted into each other by exact factors; units of different rows "
            "are not, except for the substances below.\n\n| kind | units |\n|---|---|\n" + families,
            "| substance | factor |\n|---|---|\n" + substances,
        ]
    )


def clauses() -> tuple[type, ...]:
    """Every clause of the language, each after the clause that holds it."""
    found: dict[type, None] = {Protocol: None}
    waiting: list[type] = [Protocol]
    while waiting:
        clause = waiting.pop(0)
        for rule in field_rules(clause):
            for inner in _clauses_in(rule.type):
                if inner not in found:
                    found[inner] = None
                    waiting.append(inner)
    return tuple(found)


def _clauses_in(kind: Any) -> list[type]:
    if isinstance(kind, type) and is_dataclass(kind):
        return [] if kind in get_args(conditions.Condition) else [kind]
    return [clause for inner in get_args(kind) for clause in _clauses_in(inner)]


def _common() -> str:
    lines = [
        "Every clause but `Every` and `ConditionExample` may also hold:",
        "",
        "| key | type | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{rule.key}` | {_type(rule.type)} | {rule.help} |" for rule in field_rules(Clause)]
    return "\n".join(lines) + "\n"


def _section(clause: type) -> str:
    common = {rule.name for rule in field_rules(Clause)}
    rules = [rule for rule in field_rules(clause) if rule.name not in common]
    lines = [f"### {clause.__name__}", "", (clause.__doc__ or "").strip(), ""]
    lines += ["| key | type | needed | meaning |", "|---|---|---|---|"]
    lines += [_row(rule) for rule in rules]
    return "\n".join(lines) + "\n"


def _row(rule: FieldRule) -> str:
    if rule.rest:
        return f"| any other key | any value |  | {rule.help} |"
    return f"| `{rule.key}` | {_type(rule.type)} | {'yes' if rule.required else ''} | {rule.help} |"


def _type(kind: Any) -> str:
    """The type of a field in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is conditions.Condition:
        return "condition"
    if origin in (Union, types.UnionType):
        options = [option for option in inner if option is not type(None)]
        if set(options) == set(get_args(conditions.Condition)):
            return "condition"
        return _type(options[0]) if len(options) == 1 else "any value"
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if origin is not None:
        return f"mapping to {_type(inner[1])}"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " / ".join(f"`{option.value}`" for option in kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return _WORDS[kind]
