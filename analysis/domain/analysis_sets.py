"""Who is counted in which analysis set, by the methods that a definition may name.

PARACHUTE: assessed 68, safety 64, full 58, evaluable 51 (Lancet Haematol 2022; 9: e111-20, Figure 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from trials.domain.definition import AnalysisSet, Free, GroupKind
from trials.domain.language import MethodSpec


@dataclass(frozen=True, slots=True)
class Person:
    """One participant, as far as the sets ask. ``removed`` and ``evaluable`` may be not known (None).

    ``status`` is the state of follow-up (:class:`trials.domain.lifecycle.ParticipantState`).
    """

    participant: int
    number: str
    group: str
    kind: GroupKind | None
    is_enrolled: bool
    removed: bool | None
    evaluable: bool | None
    anchor_day: date | None
    values: Mapping[str, str] = field(default_factory=dict)
    status: str = ""
    failure_reason: str = ""
    site: str = ""


def _screened(persons: Sequence[Person], parameters: Mapping[str, Free]) -> list[Person]:
    return list(persons)


def _enrolled(persons: Sequence[Person], parameters: Mapping[str, Free]) -> list[Person]:
    return [person for person in persons if person.is_enrolled]


def _not_removed(persons: Sequence[Person], parameters: Mapping[str, Free]) -> list[Person]:
    return [person for person in persons if person.removed is False]


def _evaluable(persons: Sequence[Person], parameters: Mapping[str, Free]) -> list[Person]:
    return [person for person in persons if person.evaluable is True]


def _first_evaluable(persons: Sequence[Person], parameters: Mapping[str, Free]) -> list[Person]:
    """The first ``n`` of them by the day of the anchor."""
    in_order = sorted(
        (person for person in persons if person.evaluable is True and person.anchor_day is not None),
        key=lambda person: (person.anchor_day or date.max, person.number),
    )
    return in_order[: int(str(parameters["n"]))]


def _with_value(persons: Sequence[Person], parameters: Mapping[str, Free]) -> list[Person]:
    """Those whose value is one of the values named, or a number inside the bounds; a missing value is outside."""
    item = str(parameters["item"])
    return [person for person in persons if _is_wanted(person.values.get(item), parameters)]


def _is_wanted(value: str | None, parameters: Mapping[str, Free]) -> bool:
    if value is None:
        return False
    named = parameters.get("in", (parameters["equals"],) if "equals" in parameters else None)
    if isinstance(named, tuple) and value not in {str(one) for one in named}:
        return False
    low, high = parameters.get("at_least"), parameters.get("at_most")
    return (low is None or Decimal(value) >= Decimal(str(low))) and (
        high is None or Decimal(value) <= Decimal(str(high))
    )


@dataclass(frozen=True)
class SetMethod:
    """How a set is found, and the parameters that a definition gives it."""

    select: Callable[[Sequence[Person], Mapping[str, Free]], list[Person]]
    parameters: MethodSpec = MethodSpec()


#: The methods of an analysis set, by the name the definition gives them.
METHODS: Mapping[str, SetMethod] = {
    "screened": SetMethod(_screened),
    "enrolled": SetMethod(_enrolled),
    "not_removed": SetMethod(_not_removed),
    "no_event_before": SetMethod(_evaluable, MethodSpec(optional=frozenset({"events", "before_day"}))),
    "first_evaluable": SetMethod(
        _first_evaluable, MethodSpec(required=frozenset({"n"}), optional=frozenset({"order_by"}))
    ),
    "with_value": SetMethod(
        _with_value,
        MethodSpec(required=frozenset({"item"}), optional=frozenset({"equals", "in", "at_least", "at_most"})),
    ),
    "external": SetMethod(_screened),
}


def members(sets: Sequence[AnalysisSet], of: str, persons: Sequence[Person]) -> list[Person]:
    """The members of the set ``of``, narrowed from set to set as the definition nests them.

    Without ``groups`` a set holds everybody but the external controls, which never mix into the trial's own flow.
    Raises KeyError for a set that the definition does not have, or a method that is not known.
    """
    by_id = {each.id: each for each in sets}
    if of not in by_id:
        raise KeyError(f"no analysis set {of!r}; there are {', '.join(by_id)}")
    wanted = by_id[of]
    base = members(sets, wanted.base, persons) if wanted.base else list(persons)
    if wanted.groups:
        base = [person for person in base if person.group in wanted.groups]
    else:
        base = [person for person in base if person.kind is not GroupKind.EXTERNAL]
    return METHODS[wanted.method].select(base, wanted.parameters)


def lineage(sets: Sequence[AnalysisSet], of: str) -> list[AnalysisSet]:
    """The sets from the widest one to ``of``, each narrowing the one before.

    Raises KeyError for a set that the definition does not have.
    """
    by_id = {each.id: each for each in sets}
    chain = [by_id[of]]
    while chain[0].base:
        chain.insert(0, by_id[chain[0].base])
    return chain


def items_read(sets: Sequence[AnalysisSet]) -> frozenset[str]:
    """The addresses whose values the sets ask for."""
    return frozenset(str(each.parameters["item"]) for each in sets if each.method == "with_value")
