"""The monitored targets of a participant's protocol and the results that belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from casebook import selectors as casebook
from dosing.domain.monitoring import Classed, Level, Place, classify, counts
from trials.domain.definition import Protocol, Target
from trials.domain.schedule import study_day
from trials.models import Participant


@dataclass(frozen=True)
class Monitored:
    """One target with the results of its analyte, each with the key of its row."""

    target: Target
    label: str
    results: tuple[tuple[int, Classed], ...]

    @property
    def classed(self) -> tuple[Classed, ...]:
        return tuple(one for _, one in self.results)

    @property
    def compared(self) -> int:
        return len([one for one in self.classed if one.place is not Place.NOT_COMPARABLE])

    @property
    def inside(self) -> int:
        return counts(self.classed)[Place.IN]


def monitored(participant: Participant) -> tuple[Monitored, ...]:
    """Every target of the protocol, the results in the order of sampling."""
    protocol = participant.protocol
    anchor, zone = participant.anchor_date, ZoneInfo(participant.site.time_zone)
    found = []
    for target in protocol.targets:
        results = []
        for point in casebook.lab_series(participant.trial, target.analyte, participants=[participant.pk]):
            level = Level(
                analyte=point.address,
                value=point.value,
                unit=point.unit,
                assay=point.laboratory,
                qualifier=point.qualifier,
                taken_at=point.sampled_at.astimezone(zone) if point.has_time else point.sampled_on,
                day=study_day(point.sampled_on, anchor, protocol.anchor.first_day) if anchor else None,
            )
            results.append((point.result_id, classify(target, level)))
        found.append(Monitored(target, label_of(protocol, target), tuple(results)))
    return tuple(found)


def label_of(protocol: Protocol, target: Target) -> str:
    try:
        return protocol.analyte(target.analyte).label
    except KeyError:
        return target.id
