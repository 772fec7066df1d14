"""Where a fact of a form is kept: most answers in the form's entry, some in a table of their own.

The form ids below are reserved by the language: what they ask is kept in typed tables, because doses, adverse events
and endpoints are computed from it.
"""

from __future__ import annotations

from collections.abc import Mapping

from trials.domain.definition import Form, Item, Protocol

#: Form id: where its facts are entered instead.
KEPT_ELSEWHERE: Mapping[str, str] = {
    "CE": "clinical events are entered in the list of events.",
    "AE": "adverse events are entered in the adverse-event log.",
    "EX": "given doses are entered on the dose card.",
    "EX_PLAN": "the plan is computed on the dose card.",
    "DV": "deviations are entered on the participant's page.",
}

#: Address: the fact that registration and consent already hold. Shown in the form, changed where it is kept.
GIVEN: Mapping[str, str] = {
    "DM.BIRTH_DATE": "birth date",
    "DM.SEX": "sex",
    "DM.SCREENED_ON": "date of screening",
    "IC.DATE": "date of consent",
    "IC.VERSION": "consent version",
    "IC.SIGNATORY": "signatory",
}


def is_typed(form: Form, item: Item) -> bool:
    """Whether the item is answered in the form: neither computed nor kept by registration or consent."""
    return not item.computed and f"{form.id}.{item.id}" not in GIVEN


def typed_items(form: Form) -> tuple[Item, ...]:
    return tuple(item for item in form.items if is_typed(form, item))


def entry_forms(protocol: Protocol) -> tuple[Form, ...]:
    """The forms that are filled in: with at least one typed item, and not kept in a table of their own."""
    return tuple(form for form in protocol.forms if form.id not in KEPT_ELSEWHERE and typed_items(form))


def sex_code(item: Item, sex: str) -> str | None:
    """The item's code for ``male`` or ``female`` as registration holds it; None where it is not known.

    >>> from trials.domain.definition import Code, ItemType
    >>> codes = (Code(value="M", label="male"), Code(value="F", label="female"))
    >>> sex_code(Item(id="SEX", label="Sex", type=ItemType.CODE, codes=codes), "female")
    'F'
    """
    for code in item.codes:
        if sex in ("male", "female") and {code.value.lower(), code.label.lower()} & {sex, sex[0]}:
            return code.value
    return None


def planned_anchor_item(protocol: Protocol) -> str:
    """The address that holds the planned date of the anchor's event, on the form of the actual one; '' without one."""
    form_id = protocol.anchor.item.partition(".")[0]
    address = f"{form_id}.PLANNED_DATE"
    return address if form_id and address in set(protocol.addresses()) else ""
