"""Values of a form that follow from its other items, by calculations that the floors above know by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .conditions import MISSING, Observed, Value, Values
from .definition import Form
from .language import MethodSpec


@dataclass(frozen=True)
class Calculated:
    """A result, None while it is not known, and the sentence that says what it rests on."""

    value: Value
    says: str = ""


@dataclass(frozen=True)
class Calculation:
    """A named calculation: its arguments, each an item of the same form, and the function of their values.

    A value that is not known comes as None: the function says whether the result is known all the same.
    """

    words: str
    arguments: MethodSpec
    compute: Callable[[Mapping[str, Value]], Calculated]


def calculate(form: Form, seen: Values, calculations: Mapping[str, Calculation]) -> dict[str, Observed]:
    """The calculated items of one filled-in form, from what was answered in it (address → value).

    Items that other parts of the product compute (a dose, the validity of the consent) are not among them. What an
    argument may not be, such as a stage 7, leaves the result not known, with the sentence that says so.
    """
    found = {}
    for item in form.items:
        calculation = calculations.get(item.computed)
        if calculation is None:
            continue
        given = {name: seen.get(f"{form.id}.{source}", MISSING) for name, source in item.computed_from.items()}
        try:
            result = calculation.compute({name: one.value for name, one in given.items()})
        except ValueError as refused:
            result = Calculated(None, str(refused))
        days = [one.observed_on for one in given.values() if one.observed_on is not None]
        found[f"{form.id}.{item.id}"] = Observed(result.value, result.says, days[0] if days else None, unit=item.unit)
    return found
