"""For whom a dose was made: each check with its answer, what was found, and where the rule comes from.

Three answers: met, not met, not known. What is not known is never taken for met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trials.domain.answers import Answer
from trials.domain.conditions import Values, evaluate, items_of
from trials.domain.definition import DosingSpec

from .nomogram import Table
from .refusals import Refusal, Stop

STOP, WARNING = "stop", "warning"


@dataclass(frozen=True)
class Applied:
    """One check and its answer; ``otherwise`` is what follows where it is not met: ``stop`` or ``warning``."""

    id: str
    text: str
    answer: Answer
    found: str
    source: str
    otherwise: str = STOP

    @property
    def is_met(self) -> bool:
        return self.answer is Answer.YES

    @property
    def sentence(self) -> str:
        said = "is not known" if self.answer is Answer.UNKNOWN else "does not hold"
        return f"“{self.text}” {said}: {self.found}"


def severity(otherwise: str, spec: DosingSpec) -> str:
    """``stop`` or ``warning``; a parameter that says ``block``, or nothing, stops.

    >>> severity("intensity_check", DosingSpec(method="nomogram", parameters={"intensity_check": "block"}))
    'stop'
    """
    said = otherwise if otherwise in (STOP, WARNING) else spec.parameters.get(otherwise)
    return WARNING if said == WARNING else STOP


def checks_of_protocol(spec: DosingSpec, values: Values, labels: Mapping[str, str]) -> tuple[Applied, ...]:
    """The definition's own checks, answered by the facts in ``values``; an address that is not there is not known."""
    found = []
    for check in spec.applicability:
        verdict = evaluate(check.when, values, labels=labels)
        source = check.source or "assumed, to be signed" if check.assumed else check.source or "protocol"
        found.append(
            Applied(check.id, check.text, verdict.answer, verdict.sentence, source, severity(check.otherwise, spec))
        )
    return tuple(found)


def is_warning_only(address: str, spec: DosingSpec) -> bool:
    """Whether the protocol lets a table's own condition on ``address`` be signed against: where it checks the same
    item, as that check says; where it does not, as ``intensity_check`` says."""
    own = [check for check in spec.applicability if address in items_of(check.when)]
    if own:
        return all(severity(check.otherwise, spec) == WARNING for check in own)
    return spec.parameters.get("intensity_check") == WARNING


def check_of_product(spec: DosingSpec, table: Table | None) -> Applied | None:
    """The product of the table against that of the protocol; None for a rule that looks up no table."""
    if "table" not in spec.parameters:
        return None
    text = f"The table is for {spec.product}"
    if table is None:
        return Applied("product", text, Answer.UNKNOWN, "no table is in force.", "protocol; products never convert")
    return Applied(
        "product",
        text,
        Answer.of(table.product == spec.product),
        f"{table.code} is for {table.product}.",
        table.source_citation,
    )


def stops(checks: tuple[Applied, ...]) -> tuple[Refusal, ...]:
    """The refusals that the protocol's checks lead to."""
    return tuple(
        Refusal(
            Stop.NOT_APPLICABLE,
            one.sentence,
            "Record what is not known." if one.answer is Answer.UNKNOWN else "The physician doses by local practice.",
        )
        for one in checks
        if not one.is_met and one.otherwise == STOP
    )
