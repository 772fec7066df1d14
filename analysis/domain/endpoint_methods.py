"""The methods that a definition may name for an endpoint, with the parameters each one reads.

How a method answers is in :mod:`analysis.domain.endpoint_answers`. A method of ``OF_THE_TRIAL`` gives one number for
the trial and none for a participant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from analysis.domain import consecutive_threshold, engraftment, reactivation, response
from analysis.domain.endpoint_answers import ANSWERS
from trials.domain.language import MethodSpec


def _takes(rule: type, *places: str, required: tuple[str, ...] = ()) -> MethodSpec:
    """The fields of a rule, and the names of where an endpoint reads."""
    known = {field.name for field in fields(rule)} | set(places)
    return MethodSpec(required=frozenset(required), optional=frozenset(known) - set(required))


_RESPONSE = ("stages", "treatments", "recorded_as")

PARAMETERS: Mapping[str, MethodSpec] = {
    "consecutive_threshold": _takes(consecutive_threshold.Rule, required=("threshold",)),
    "first_event": MethodSpec(
        required=frozenset({"events"}), optional=frozenset({"horizon_day", "malignancy_only", "partial_dates"})
    ),
    "first_grade": MethodSpec(
        required=frozenset({"event", "at_least", "system"}), optional=frozenset({"horizon_day", "tie", "max_gap_days"})
    ),
    "engraftment": _takes(engraftment.NeutrophilRule),
    "graft_failure": _takes(engraftment.GraftFailureRule),
    "viral_reactivation": _takes(reactivation.Rule, "assays", required=("threshold",)),
    "response_on_day": _takes(response.DayRule, *_RESPONSE, required=("day", "stages")),
    "best_response": _takes(response.Rule, *_RESPONSE, required=("stages",)),
    "any_row": MethodSpec(required=frozenset({"form", "date"}), optional=frozenset({"by"})),
    "relative_reduction": MethodSpec(
        required=frozenset({"day", "at_least"}), optional=frozenset({"date", "report_days"})
    ),
    "value_in_target": MethodSpec(required=frozenset({"target"})),
}

#: One number of the trial, from the endpoint named by ``response``.
OF_THE_TRIAL: Mapping[str, MethodSpec] = {
    "cost_per_responder": MethodSpec(required=frozenset({"response", "form"})),
}

ENDPOINT_METHODS: Mapping[str, MethodSpec] = {**PARAMETERS, **OF_THE_TRIAL}
#: The methods that answer for a participant.
COMPUTED = frozenset(ANSWERS)
