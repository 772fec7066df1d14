"""What endpoints, sets and figures are computed from: plain rows in bulk, one query a subject, never one a person."""

from analysis.datasets.outcomes import answered, dataset, outcomes_of, subjects
from analysis.datasets.people import (
    DatedValue,
    Evidence,
    adjudications,
    anchor_day_of,
    date_of,
    persons,
    removal_rules,
    removals,
    today_at,
    values_by_day,
    with_anchor,
)
from analysis.datasets.recorded import records_of

__all__ = [
    "DatedValue",
    "Evidence",
    "adjudications",
    "anchor_day_of",
    "answered",
    "dataset",
    "date_of",
    "outcomes_of",
    "persons",
    "records_of",
    "removal_rules",
    "removals",
    "subjects",
    "today_at",
    "values_by_day",
    "with_anchor",
]
