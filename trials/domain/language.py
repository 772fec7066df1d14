"""The definition language: a YAML text in, a :class:`Protocol` out; and the stored form of a protocol, and back.

``parse`` refuses a file whole, with every error it can find. What the file means is in
:mod:`trials.domain.definition`, how it is read in :mod:`trials.domain.reading`, what it must satisfy in
:mod:`trials.domain.rules`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from . import conditions, nodes
from .definition import AnalysisSpec, Clause, DosingSpec, EndpointRole, EndpointSpec, Free, Protocol
from .nodes import MAX_BYTES
from .reading import DefinitionError, Path, Reader, field_rules, path_words
from .rules import ExampleCheck, KnownMethods, MethodSpec, Rules

__all__ = [
    "MAX_BYTES",
    "Assumption",
    "Change",
    "DefinitionError",
    "DefinitionErrors",
    "ExampleCheck",
    "KnownMethods",
    "MethodSpec",
    "assumptions",
    "canonical_json",
    "diff",
    "from_data",
    "parse",
    "sha256",
    "to_data",
]

#: By which field the entries of a list are recognised when two versions are compared.
_NAMES = ("id", "code", "value", "reported", "term", "version")


class DefinitionErrors(Exception):
    """Everything that is wrong in a definition file, in the order of its lines."""

    def __init__(self, errors: list[DefinitionError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: error.line))
        super().__init__("\n".join(str(error) for error in self.errors))


@dataclass(frozen=True)
class Change:
    """One difference between two versions; None where the clause was not there."""

    path: str
    old: object
    new: object


@dataclass(frozen=True)
class Assumption:
    """A value the protocol is silent on, which somebody must sign; ``primary`` when a primary endpoint rests on it."""

    path: str
    value: object
    primary: bool = False


def parse(
    text: str,
    *,
    file: str,
    known_methods: KnownMethods | None = None,
    check_examples: Mapping[str, ExampleCheck] | None = None,
) -> Protocol:
    """The protocol of a definition file, or DefinitionErrors with every error in it.

    ``known_methods`` names, per kind, the methods that exist and their parameters; ``check_examples`` runs the examples
    of an endpoint by its method. Both come from the floors that hold the methods; what is not given is not checked.
    """
    reader = Reader(file)
    try:
        tree = nodes.from_text(text)
    except nodes.Refused as refused:
        raise DefinitionErrors([DefinitionError(file, refused.line, "", refused.rule, refused.remedy)]) from None
    protocol: Protocol = reader.clause(tree, Protocol, ())
    if () not in reader.faulty:
        Rules(protocol, reader, known_methods or {}, check_examples or {}).check()
    if reader.errors:
        raise DefinitionErrors(reader.errors)
    return protocol


def to_data(protocol: Protocol) -> dict[str, Any]:
    """The protocol as JSON data, in the keys of the file; ``from_data`` gives the same protocol back.

    Every value is written out, defaults too, so that a stored version keeps its meaning when a default changes.
    """
    data = _data(protocol)
    assert isinstance(data, dict)
    return data


def from_data(data: Mapping[str, Any]) -> Protocol:
    """The protocol of stored data; raises DefinitionErrors for data that no version of the language wrote."""
    reader = Reader("stored definition")
    protocol: Protocol = reader.clause(nodes.from_data(data), Protocol, ())
    if reader.errors:
        raise DefinitionErrors(reader.errors)
    return protocol


def canonical_json(protocol: Protocol) -> str:
    """One text per protocol: sorted keys, no spaces; what is hashed and compared."""
    return json.dumps(to_data(protocol), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(protocol: Protocol) -> str:
    """The hash of the canonical text, as hexadecimal digits."""
    return hashlib.sha256(canonical_json(protocol).encode()).hexdigest()


def diff(old: Protocol, new: Protocol) -> tuple[Change, ...]:
    """Every difference, entries of lists recognised by their id: ``eligibility.include[I1].when.lt``."""
    return tuple(_changes(to_data(old), to_data(new), ""))


def assumptions(protocol: Protocol) -> tuple[Assumption, ...]:
    """Every clause and parameter marked as assumed, in the order of the file."""
    return tuple(_assumed(protocol, ()))


def _assumed(value: object, path: Path) -> Iterator[Assumption]:
    if isinstance(value, tuple):
        for index, entry in enumerate(value):
            name = next((getattr(entry, key) for key in _NAMES if hasattr(entry, key)), index)
            yield from _assumed(entry, (*path, name) if isinstance(name, int) else (*path[:-1], f"{path[-1]}[{name}]"))
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _assumed(entry, (*path, str(key)))
    elif isinstance(value, Clause):
        primary = isinstance(value, EndpointSpec) and value.role is EndpointRole.PRIMARY
        if value.assumed:
            yield Assumption(path_words(path), _data(value), primary)
        if isinstance(value, EndpointSpec | DosingSpec | AnalysisSpec):
            for name in value.assumed_parameters:
                yield Assumption(path_words((*path, name)), _free(value.parameters[name]), primary)
        kind: Any = type(value)
        for rule in field_rules(kind):
            yield from _assumed(getattr(value, rule.name), (*path, rule.key))


def _data(value: object) -> Any:
    """JSON data of a clause, a condition or a value."""
    if isinstance(value, conditions.Test | conditions.All | conditions.Any | conditions.Not):
        return _condition(value)
    if is_dataclass(value) and not isinstance(value, type):
        data: dict[str, Any] = {}
        for rule in field_rules(type(value)):
            held = getattr(value, rule.name)
            if rule.rest:
                data |= {key: _free(entry) for key, entry in held.items()}
            elif held is not None:
                # A typed number is written as text: its field says that it is a number.
                data[rule.key] = str(held) if isinstance(held, Decimal) else _data(held)
        return data
    if isinstance(value, tuple):
        return [_data(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: _data(entry) for key, entry in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, StrEnum) else _free(value)


def _free(value: object) -> Any:
    """JSON data of a value whose type nothing else tells: a decimal says that it is one."""
    if isinstance(value, Decimal):
        return {nodes.DECIMAL_KEY: str(value)}
    if isinstance(value, tuple):
        return [_free(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: _free(entry) for key, entry in value.items()}
    return value


def _condition(condition: conditions.Condition) -> dict[str, Any]:
    if isinstance(condition, conditions.Not):
        return {"not": _condition(condition.of)}
    if isinstance(condition, conditions.All | conditions.Any):
        word = "all" if isinstance(condition, conditions.All) else "any"
        return {word: [_condition(part) for part in condition.of]}
    data: dict[str, Any] = {"item": condition.item, str(condition.op): _operand(condition.value)}
    return data if condition.of is None else {**data, "of": condition.of}


def _operand(value: Free | conditions.Reference) -> Any:
    if not isinstance(value, conditions.Reference):
        return _free(value)
    offset = value.offset
    parts = {name: getattr(offset, name) for name in ("years", "months", "weeks", "days") if getattr(offset, name)}
    return {"item": value.item, **({"plus": parts} if parts else {})}


def _changes(old: Any, new: Any, path: str) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict) and nodes.DECIMAL_KEY not in {*old, *new}:
        for key in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list) and (names := _named(old, new)):
        before, after = names
        for name in dict.fromkeys([*before, *after]):
            yield from _changes(before.get(name), after.get(name), f"{path}[{name}]")
    elif old != new:
        yield Change(path, old, new)


def _named(old: list[Any], new: list[Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Both lists by the name of their entries, where every entry has one and none comes twice."""
    for key in _NAMES:
        if all(isinstance(entry, dict) and key in entry for entry in [*old, *new]):
            before, after = ({str(entry[key]): entry for entry in entries} for entries in (old, new))
            if len(before) == len(old) and len(after) == len(new):
                return before, after
    return None
