"""The methods that a definition may name for an endpoint and for a design, with the parameters each one reads.

A name in ``NOT_COMPUTED_YET`` may stand in a definition, so that a protocol can be written down whole; this version of
Canopy records what it rests on and says of the endpoint that it does not compute it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from analysis.domain.consecutive_threshold import Rule
from trials.domain.language import MethodSpec

_RULE = frozenset(field.name for field in fields(Rule))

COMPUTED: Mapping[str, MethodSpec] = {
    "consecutive_threshold": MethodSpec(required=frozenset({"threshold"}), optional=_RULE - {"threshold"}),
}


def _takes(*names: str) -> MethodSpec:
    return MethodSpec(optional=frozenset(names))


_EPISODE = ("threshold", "confirm", "resolve_values", "resolve_days", "exclude_baseline", "horizon_day")
_RESPONSE = (
    "responses",
    "persistence_days",
    "persistence_anchor",
    "baseline_days",
    "steroid_escalation_is_new_treatment",
    "max_gap_days",
)
_COUNTS = ("threshold", "operator", "consecutive_days", "max_gap_days", "event")

NOT_COMPUTED_YET: Mapping[str, MethodSpec] = {
    "first_event": _takes("events", "event", "horizon_day", "of"),
    "first_grade": _takes("event", "at_least", "system", "horizon_day", "of"),
    "graft_failure": _takes(*_COUNTS, "engrafted_by_day", "failed_by_day"),
    "engraftment": _takes(*_COUNTS, "last_day"),
    "viral_reactivation": _takes(*_EPISODE),
    "response_on_day": _takes(*_RESPONSE, "day", "window"),
    "best_response": _takes(*_RESPONSE),
    "any_row": _takes("form", "by"),
    "relative_reduction": _takes("day", "at_least", "report_days"),
    "value_in_target": _takes("target"),
    "cost_per_responder": _takes("response", "form"),
}

ENDPOINT_METHODS: Mapping[str, MethodSpec] = {**COMPUTED, **NOT_COMPUTED_YET}
