"""Published numbers beside those computed from the data, each by a named method; no difference is hidden.

The published numbers of a trial are data (``analysis/published/<trial>.yaml``): id, quantity, the number as it is
printed, the method with its parameters, and, where the two differ, the explanation and where it lies. The functions
here are pure and print their result in the form of the publication, so that "agrees" is plain equality of text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.domain.reconciliation import cohort, endpoints, trial
from analysis.domain.reconciliation.frame import AdverseEventCell, Because, Case, Facts, Reconciled

__all__ = ["METHODS", "AdverseEventCell", "Because", "Case", "Facts", "Reconciled", "reconcile"]

METHODS: Mapping[str, Callable[[Facts, Mapping[str, Any]], str]] = {
    **trial.METHODS,
    **cohort.METHODS,
    **endpoints.METHODS,
}


def reconcile(rows: Sequence[Mapping[str, Any]], facts: Facts) -> tuple[Reconciled, ...]:
    """Every published row beside its computed number; KeyError names a method or a reason that does not exist."""
    reconciled = []
    for row in rows:
        name = row["method"]
        if name not in METHODS:
            raise KeyError(f"{row['id']}: there is no method {name!r}; known are {', '.join(METHODS)}")
        try:
            computed = METHODS[name](facts, row.get("with", {}))
        except ValueError as error:  # nobody in a set, no event: the row says so instead of a number
            computed = f"not computable: {error}"
        except ZeroDivisionError:
            computed = "not computable: nobody is in the set"
        reconciled.append(
            Reconciled(
                id=row["id"],
                quantity=row["quantity"],
                published=str(row["published"]),
                computed=computed,
                method=row.get("how", name.replace("_", " ")),
                explanation=row.get("explanation", ""),
                because=Because[row["because"].upper()] if "because" in row else None,
            )
        )
    return tuple(reconciled)
