"""What the statistical plan of a protocol version is computed from, and the name of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date

from django.db.models import Max

from adverse_events import selectors as adverse_events
from analysis.datasets.outcomes import AT_ONCE, dataset
from analysis.datasets.recorded import records_of
from analysis.domain.dataset import Dataset
from analysis.domain.fingerprints import fingerprint
from analysis.domain.plan import courses
from analysis.domain.plan.material import Course, Material
from audit.models import TrailRow
from trials.domain import language
from trials.domain.definition import Protocol
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
    "trials_signature",
    "trials_failedsignature",
)


def material(version: ProtocolVersion, *, as_of: date) -> Material:
    """Everybody with sets, values and outcomes on the data until ``as_of``, and the adverse events until then."""
    protocol = version.protocol
    asked = {one.item for one in protocol.predictors} | {
        address for one in protocol.analyses for address in (one.by, *one.strata) if "." in address
    }
    addresses = set(protocol.addresses())
    asked |= {str(told) for one in protocol.analyses for told in one.parameters.values() if str(told) in addresses}
    events = tuple(
        event
        for started, event in adverse_events.counted_events(version.trial)
        if not started or PartialDate.from_iso(started).earliest <= as_of
    )
    people = dataset(version.trial, as_of=as_of, items=asked)
    return Material(protocol, people, events, _courses(version.trial, protocol, people, as_of))


def _courses(trial: Trial, protocol: Protocol, people: Dataset, as_of: date) -> dict[int, Course]:
    """The courses of those whom a figure of the plan draws; none is read where no analysis asks for one."""
    sets = courses.sets_read(protocol)
    drawn = [subject.participant for subject in people.subjects if subject.sets & sets]
    read, found = courses.reader(protocol), {}
    for at in range(0, len(drawn), AT_ONCE):
        some = drawn[at : at + AT_ONCE]
        for records in records_of(trial, courses.reads(protocol), protocol.anchor.first_day, some, as_of=as_of):
            found[records.participant] = read(records)
    return found


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
    # A plan that draws nobody has the hash that it always had.
    drawn = {"courses": [[pk, asdict(one)] for pk, one in sorted(read.courses.items())]} if read.courses else {}
    return fingerprint(
        drawn
        | {
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
