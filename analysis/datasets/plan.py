"""What the statistical plan of a protocol version is computed from, and the name of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date

from django.db.models import Max

from adverse_events import selectors as adverse_events
from analysis.datasets.outcomes import dataset
from analysis.domain.fingerprints import fingerprint
from analysis.domain.plan.material import Material
from audit.models import TrailRow
from trials.domain import language
from trials.domain.partial_dates import PartialDate
from trials.models import ProtocolVersion, Trial

#: What follows from the data, speaks of them, or takes them out: no number of a run rests on it. A reader's vote
#: stands beside the rule's answer and never replaces it.
_FOLLOWS = (
    "analysis_run",
    "analysis_gate",
    "analysis_adjudication",
    "analysis_reading",
    "analysis_packetcopy",
    "dosing_cardcopy",
    "exchange_exportjob",
    "exchange_download",
)


def material(version: ProtocolVersion, *, as_of: date) -> Material:
    """Everybody with sets, values and outcomes on the data until ``as_of``, and the adverse events until then."""
    protocol = version.protocol
    asked = {one.item for one in protocol.predictors} | {
        address for one in protocol.analyses for address in (one.by, *one.strata) if "." in address
    }
    events = tuple(
        event
        for started, event in adverse_events.counted_events(version.trial)
        if not started or PartialDate.from_iso(started).earliest <= as_of
    )
    return Material(protocol, dataset(version.trial, as_of=as_of, items=asked), events)


def fingerprint_of(read: Material) -> str:
    """The hash of everything that the plan was given: people, sets, values, outcomes, adverse events, the plan."""
    people = [
        {
            **{name: getattr(one, name) for name in ("participant", "number", "site", "group", "anchor_day")},
            "sets": sorted(one.sets),
            "values": dict(one.values),
            "outcomes": {
                name: [o.status, o.event_day, o.competing_kind, o.competing_day, o.censored_day]
                for name, o in one.outcomes.items()
            },
        }
        for one in read.dataset.subjects
    ]
    plan = language.to_data(read.protocol)
    return fingerprint(
        {
            "as_of": read.dataset.as_of,
            "people": people,
            "adverse_events": [list(asdict(one).values()) for one in read.adverse_events],
            "plan": [plan["analyses"], plan["predictors"], plan["analysis_sets"], plan["endpoints"], plan["design"]],
        }
    )


def last_change(trial: Trial) -> int:
    """The number of the last change in the trial's trail that concerns data."""
    rows = TrailRow.objects.filter(chain=f"trial:{trial.pk}").exclude(table_name__in=_FOLLOWS)
    last: int | None = rows.aggregate(last=Max("seq"))["last"]
    return last or 0
