"""How the parameters that a definition gives an endpoint become the frozen rule of its method."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar, get_type_hints

R = TypeVar("R")


def read(rule: type[R], parameters: Mapping[str, object], *, method: str) -> R:
    """Build ``rule``, a dataclass, from ``parameters``; ValueError names the parameter that does not fit.

    Fields may be text, whole numbers, decimals, yes/no, lists of text, or one of these and empty.
    """
    known = {f.name: f for f in fields(rule)}  # type: ignore[arg-type]
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]} is no parameter of {method}; they are {', '.join(known)}.")
    for name, field in known.items():
        if name not in parameters and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{name} is missing: {method} has no default for it.")
    types = get_type_hints(rule)
    return rule(**{name: _value(name, value, types[name]) for name, value in parameters.items()})


def _value(name: str, value: object, wanted: Any) -> object:
    for reader, types in _READERS:
        if wanted in types:
            return None if value is None and type(None) in getattr(wanted, "__args__", ()) else reader(name, value)
    raise TypeError(f"{name}: no reader for {wanted}")


def _whole_number(name: str, value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]+", str(value)):
        raise ValueError(f"{name} is {value!r}; it must be a whole number.")
    return int(str(value))


def _decimal(name: str, value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{name} is {value!r}; it must be a number.") from None
    if not number.is_finite():
        raise ValueError(f"{name} is {value!r}; it must be a number.")
    return number


def _yes_or_no(name: str, value: object) -> bool:
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise ValueError(f"{name} is {value!r}; it must be true or false.")
    return found


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{name} is {value!r}; it must be a list.")
    return tuple(str(one) for one in value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}; it must be text.")
    return str(value)


_READERS: tuple[tuple[Callable[[str, object], object], tuple[Any, ...]], ...] = (
    (_whole_number, (int, int | None)),
    (_decimal, (Decimal, Decimal | None)),
    (_yes_or_no, (bool,)),
    (_texts, (tuple[str, ...],)),
    (_text, (str,)),
)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it may be {' or '.join(choices)}.")


def check_at_least(name: str, value: int | Decimal | None, low: int) -> None:
    """ValueError where ``value`` lies below ``low``; an empty one is no limit and passes."""
    if value is not None and value < low:
        raise ValueError(f"{name} is {value}; it must be at least {low}.")
