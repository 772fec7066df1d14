"""From a tree to the dataclasses of a definition, collecting every error on the way.

The classes of :mod:`trials.domain.definition` are the grammar: a key is a field, a value is read as its type. A value
that cannot be read is reported and stands in as an empty one, so that the rest of the file is still checked.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from . import conditions
from .conditions import All, Offset, Operator, Reference, Test
from .definition import Free, Key, Rest
from .nodes import Leaf, Listing, Node, Table

Path = tuple[str | int, ...]

_OPERATOR_SYMBOLS = {
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
    "==": "eq",
    "=": "eq",
    "!=": "ne",
    "lte": "le",
    "gte": "ge",
}
_COMBINATIONS = ("all", "any", "not")


@dataclass(frozen=True)
class DefinitionError:
    """One thing wrong in a definition file: where, which rule, and the way out."""

    file: str
    line: int
    path: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path or 'file'}: {self.rule}. {self.remedy}"


def path_words(path: Path) -> str:
    """``("eligibility", "include", 0)`` as ``eligibility.include[0]``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def suggestion(word: str, known: Iterable[str]) -> str:
    """The nearest known word as a sentence, else the list of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean `{near[0]}`?"
    shown = ", ".join(f"`{name}`" for name in names[:24])
    return f"Known here: {shown}{', ...' if len(names) > 24 else ''}." if names else "There is none to refer to."


@dataclass(frozen=True)
class FieldRule:
    """How one field of a dataclass is written in the file."""

    name: str
    key: str
    type: Any
    help: str
    required: bool
    rest: bool


@cache
def field_rules(clause: Any) -> tuple[FieldRule, ...]:
    """The fields of a clause in order: its own first, what every clause may say last."""
    hints = get_type_hints(clause, include_extras=True)
    rules = []
    for spec in fields(clause):
        hint = hints[spec.name]
        notes: tuple[Any, ...] = ()
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            notes = tuple(extras)
        key = next((note.name for note in notes if isinstance(note, Key)), spec.name)
        help_text = next((note for note in notes if isinstance(note, str)), "")
        required = spec.default is NO_DEFAULT and spec.default_factory is NO_DEFAULT
        rest = any(isinstance(note, Rest) for note in notes)
        rules.append(FieldRule(spec.name, key, hint, help_text, required, rest))
    common = ("source", "assumed", "note")
    return tuple(sorted(rules, key=lambda rule: rule.name in common))


class Reader:
    """Reads one tree; ``errors`` and the line of every path remain afterwards."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[DefinitionError] = []
        self.lines: dict[Path, int] = {}
        self.faulty: set[Path] = set()
        self.tests: dict[Path, Test] = {}

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest clause around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def is_faulty(self, path: Path) -> bool:
        """Whether something at this path, or around it, could not be read."""
        return any(path[:end] in self.faulty for end in range(len(path) + 1))

    def is_faulty_within(self, path: Path) -> bool:
        """Whether something at, around or inside this path could not be read."""
        return self.is_faulty(path) or any(fault[: len(path)] == path for fault in self.faulty)

    def report(self, path: Path, rule: str, remedy: str, *, line: int | None = None) -> None:
        self.errors.append(DefinitionError(self.file, line or self.line(path), path_words(path), rule, remedy))
        self.faulty.add(path)

    def clause(self, node: Node, kind: type, path: Path) -> Any:
        """A dataclass from a mapping."""
        self.lines.setdefault(path, node.line)
        if not isinstance(node, Table):
            self.report(
                path, f"expected a mapping of {kind.__name__}", "Write `key: value` lines; see the reference page."
            )
            return _stand_in(kind)
        for key, line in node.duplicates:
            self.report((*path, key), f"the key `{key}` is written twice", "Keep one of the two.", line=line)
        rules = field_rules(kind)
        rest = next((rule for rule in rules if rule.rest), None)
        by_key = {rule.key: rule for rule in rules if not rule.rest}
        values: dict[str, Any] = {}
        extra: dict[str, Free] = {}
        for key, child in node.entries.items():
            at = (*path, key)
            self.lines[at] = node.line_of(key)
            if rule := by_key.get(key):
                if isinstance(child, Leaf) and child.is_null and not rule.required:
                    continue
                values[rule.name] = self.value(child, rule.type, at)
            elif rest:
                extra[key] = self.free(child, at)
            else:
                self.report(at, f"unknown key `{key}`", suggestion(key, by_key))
        if rest:
            values[rest.name] = extra
        for rule in rules:
            if rule.required and rule.name not in values:
                self.report(
                    (*path, rule.key), f"`{rule.key}` is missing", f"Add `{rule.key}`: {rule.help}", line=node.line
                )
                values[rule.name] = _stand_in(rule.type)
        return kind(**values)

    def value(self, node: Node, kind: Any, path: Path) -> Any:
        """A value of any type a field may have."""
        self.lines.setdefault(path, node.line)
        if kind is conditions.Condition:
            return self.condition(node, path)
        origin, inner = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            options = [option for option in inner if option is not type(None)]
            if set(options) == set(get_args(conditions.Condition)):
                return self.condition(node, path)
            # The one union that is wider than "a value or nothing" is Free.
            return self.value(node, options[0], path) if len(options) == 1 else self.free(node, path)
        if origin is tuple:
            if not isinstance(node, Listing):
                self.report(path, "expected a list", "Write `- ` entries or `[a, b]`.")
                return ()
            return tuple(self.value(entry, inner[0], (*path, index)) for index, entry in enumerate(node.entries))
        if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
            return self.mapping(node, inner[1], path)
        if is_dataclass(kind) and isinstance(kind, type):
            return self.clause(node, kind, path)
        return self.scalar(node, kind, path)

    def mapping(self, node: Node, kind: Any, path: Path) -> dict[str, Any]:
        if not isinstance(node, Table):
            self.report(path, "expected a mapping", "Write `key: value` lines.")
            return {}
        for key, line in node.duplicates:
            self.report((*path, key), f"the key `{key}` is written twice", "Keep one of the two.", line=line)
        return {key: self.value(child, kind, (*path, key)) for key, child in node.entries.items()}

    def scalar(self, node: Node, kind: Any, path: Path) -> Any:
        if not isinstance(node, Leaf) or node.is_null:
            self.report(path, f"expected {_WORDS.get(kind, 'a value')}", "Write one value.")
            return _stand_in(kind)
        try:
            return _scalar(node, kind)
        except ValueError:
            if isinstance(kind, type) and issubclass(kind, StrEnum):
                options = [option.value for option in kind]
                self.report(path, f"`{node.text}` is not one of {', '.join(options)}", suggestion(node.text, options))
            else:
                self.report(path, f"`{node.text}` is not {_WORDS[kind]}", f"Write {_WORDS[kind]}.")
            return _stand_in(kind)

    def free(self, node: Node, path: Path) -> Free:
        """A value whose type is its own: the parameters of a method."""
        self.lines.setdefault(path, node.line)
        if isinstance(node, Listing):
            return tuple(self.free(entry, (*path, index)) for index, entry in enumerate(node.entries))
        if isinstance(node, Table):
            return self.mapping(node, Free, path)
        if node.is_null:
            return None
        number = node.number()
        if number is not None:
            return number
        return node.text == "true" if not node.quoted and node.text in ("true", "false") else node.text

    def condition(self, node: Node, path: Path) -> conditions.Condition:
        """A condition in the closed grammar."""
        self.lines.setdefault(path, node.line)
        if not isinstance(node, Table):
            self.report(path, "expected a condition", "Write {item: FORM.ITEM, lt: 18} or all, any, not.")
            return All(())
        for key, line in node.duplicates:
            self.report((*path, key), f"the key `{key}` is written twice", "Combine the two with `all`.", line=line)
        for key in node.entries:
            self.lines[(*path, key)] = node.line_of(key)
        combined = [key for key in _COMBINATIONS if key in node.entries]
        if combined and len(node.entries) > 1:
            others = ", ".join(f"`{key}`" for key in node.entries if key != combined[0])
            self.report(path, f"`{combined[0]}` stands beside {others}", "Put one inside the other.")
            return All(())
        if combined:
            return self._combination(combined[0], node.entries[combined[0]], path)
        return self._test(node, path)

    def _combination(self, word: str, node: Node, path: Path) -> conditions.Condition:
        at = (*path, word)
        if word == "not":
            return conditions.Not(self.condition(node, at))
        if not isinstance(node, Listing) or not node.entries:
            self.report(at, f"`{word}` needs a list of conditions", f"Write {word}: [{{item: ..., eq: ...}}, ...].")
            return All(())
        parts = tuple(self.condition(entry, (*at, index)) for index, entry in enumerate(node.entries))
        return All(parts) if word == "all" else conditions.Any(parts)

    def _test(self, node: Table, path: Path) -> conditions.Condition:
        operators = [key for key in node.entries if key in set(Operator)]
        for key in node.entries:
            if key not in ("item", "of") and key not in operators:
                known = [str(operator) for operator in Operator]
                hint = (
                    f"Did you mean `{_OPERATOR_SYMBOLS[key]}`?" if key in _OPERATOR_SYMBOLS else suggestion(key, known)
                )
                self.report((*path, key), f"unknown operator `{key}`", hint)
        item = self.value(node.entries["item"], str, (*path, "item")) if "item" in node.entries else None
        if item is None:
            known = ["item", *_COMBINATIONS]
            self.report(
                path,
                "a condition names an `item`, or is `all`, `any` or `not`",
                f"Start with one of {', '.join(known)}.",
            )
        if len(operators) != 1:
            if not self.is_faulty(path) and not any((*path, key) in self.faulty for key in node.entries):
                rule = "a condition needs exactly one operator" + (f", not {len(operators)}" if operators else "")
                self.report(path, rule, f"Use one of {', '.join(Operator)}; combine two with `all`.")
            return All(())
        op = Operator(operators[0])
        of = self.value(node.entries["of"], str, (*path, "of")) if "of" in node.entries else None
        value = self._operand(node.entries[op], op, (*path, str(op)))
        if of is not None and (isinstance(value, tuple | Reference | str | bool) or op is Operator.PRESENT):
            self.report((*path, "of"), "`of` multiplies a number", "Write {item: A, le: 2.5, of: B}.")
        if item is None or value is None:
            return All(())
        self.tests[path] = Test(item, op, value, of)
        return self.tests[path]

    def _operand(self, node: Node, op: Operator, path: Path) -> Any:
        if isinstance(node, Table):
            if op in (Operator.IN, Operator.NOT_IN, Operator.PRESENT):
                self.report(path, f"`{op}` cannot compare with another item", "Use eq, ne, lt, le, gt or ge.")
                return None
            return self._reference(node, path)
        value = self.free(node, path)
        if op in (Operator.IN, Operator.NOT_IN):
            if isinstance(value, tuple) and value and all(isinstance(one, str | int | Decimal) for one in value):
                return value
            self.report(path, f"`{op}` needs a list of values", f"Write {op}: [a, b].")
            return None
        if op is Operator.PRESENT:
            if isinstance(value, bool):
                return value
            self.report(path, "`present` is true or false", "Write present: true.")
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            self.report(path, f"`{op}` needs one value", 'Write a number or a code; answers are "Y" and "N".')
            return None
        return value

    def _reference(self, node: Table, path: Path) -> Reference | None:
        unknown = [key for key in node.entries if key not in ("item", "plus", "minus")]
        for key in unknown:
            self.report((*path, key), f"unknown key `{key}`", suggestion(key, ("item", "plus", "minus")))
        if "item" not in node.entries:
            self.report(path, "a comparison with another item names it", "Write {item: FORM.ITEM, minus: {months: 3}}.")
            return None
        item = self.value(node.entries["item"], str, (*path, "item"))
        parts = dict.fromkeys(("days", "weeks", "months", "years"), 0)
        for word, sign in (("plus", 1), ("minus", -1)):
            if word not in node.entries:
                continue
            for unit, count in self.mapping(node.entries[word], int, (*path, word)).items():
                if unit not in parts:
                    self.report((*path, word, unit), f"unknown distance `{unit}`", suggestion(unit, parts))
                else:
                    parts[unit] += sign * count
        return Reference(item, Offset(**parts))


_WORDS: Mapping[Any, str] = {
    str: "a word or a text",
    int: "a whole number",
    Decimal: "a number",
    bool: "true or false",
    date: "a date such as 2016-03-01",
}


def _scalar(leaf: Leaf, kind: Any) -> Any:
    """The value of a leaf as the field wants it; ValueError where it is none."""
    text = leaf.text
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}[text] if text in ("true", "false") else _refuse()
    if kind is int:
        return int(text) if re.fullmatch(r"[-+]?\d{1,9}", text) else _refuse()
    if kind is Decimal:
        return Decimal(text) if re.fullmatch(r"[-+]?\d{1,15}(\.\d{1,15})?", text) else _refuse()
    return date.fromisoformat(text) if kind is date else kind(text)


def _refuse() -> Any:
    raise ValueError


def _stand_in(kind: Any) -> Any:
    """An empty value of the type, so that the rest of the file can still be checked; the error is already noted."""
    if kind is conditions.Condition:
        return All(())
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if type(None) in inner else _stand_in(inner[0])
    if origin is tuple:
        return ()
    if origin is not None:
        return {}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return next(iter(kind))
    if is_dataclass(kind) and isinstance(kind, type):
        return kind(**{rule.name: _stand_in(rule.type) for rule in field_rules(kind) if rule.required})
    return date.min if kind is date else kind()
