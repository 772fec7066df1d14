"""Time to the first of several events: overall, event-free and disease-free survival, mortality, relapse.

Each participant's dated events become a time in days and a cause, or a reason why there is none. OS, EFS, TRM: Lancet
Haematol 2022; 9: e111-20, Outcomes; OS, NRM, relapse: Mil Med Res 2025, doi 10.1186/s40779-025-00640-0. TRM and NRM
differ: who relapses and dies of an infection is a TRM by cause and no NRM.

Days are differences of calendar dates from the origin, day 0. A partial date is never completed: it decides what all of
its days decide. At one day events come before losses, and relapse before death.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Literal

import numpy as np

from analysis.domain.consecutive_threshold import Status
from analysis.domain.endpoint_outcomes import DEATH, ENDS, End, Evidence, Outcome, agreed
from analysis.domain.observations import Codes, Vector
from analysis.domain.rule_parameters import check_at_least, check_choice, read
from trials.domain.partial_dates import PartialDate

METHOD_VERSION = "1"

DAYS_PER_MONTH = Decimal("30.4375")
DAYS_PER_YEAR = Decimal("365.25")

RELAPSE = "relapse"
RELATED_DEATH, UNRELATED_DEATH = "death_relapse_related", "death_not_relapse_related"
NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Rule:
    """The kinds of event that count, those that compete, and how far.

    A death may also be named ``death_relapse_related`` or ``death_not_relapse_related``. ``malignancy_only``: who has
    no malignancy is outside of the denominator. ``partial_dates`` "undecided" leaves a time open that depends on a
    missing part; "earliest" and "latest" are the two sensitivity analyses.
    """

    events: tuple[str, ...]
    competing: tuple[str, ...] = ()
    horizon_day: int | None = None
    malignancy_only: bool = False
    partial_dates: str = "undecided"

    def __post_init__(self) -> None:
        if not self.events:
            raise ValueError("events is empty; name at least one kind of event.")
        both = sorted(set(self.events) & set(self.competing))
        if both:
            raise ValueError(f"competing holds {both[0]}, which is one of the events.")
        if DEATH in (*self.events, *self.competing) and {RELATED_DEATH, UNRELATED_DEATH} & {
            *self.events,
            *self.competing,
        }:
            raise ValueError("events and competing name death both whole and by its cause; choose one.")
        check_at_least("horizon_day", self.horizon_day, 1)
        check_choice("partial_dates", self.partial_dates, ("undecided", "earliest", "latest"))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object], *, competing: Sequence[str] = ()) -> Rule:
        """Read the parameters of an endpoint of the definition; ValueError names the one that does not fit.

        ``competing``: the competing events, which a definition names beside the parameters.
        """
        given = {"competing": tuple(competing), **parameters} if competing else dict(parameters)
        return read(cls, given, method="first_event")


@dataclass(frozen=True)
class Endpoint:
    """A named endpoint: its rule, where it is from, and whether that source was confirmed."""

    id: str
    title: str
    rule: Rule
    source: str
    verified: bool


ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.id: endpoint
    for endpoint in (
        Endpoint(
            "overall_survival",
            "Overall survival",
            Rule((DEATH,)),
            "Lancet Haematol 2022; 9: e111-20 and Mil Med Res 2025",
            True,
        ),
        Endpoint(
            "event_free_survival",
            "Event-free survival",
            Rule(("graft_failure", RELAPSE, DEATH)),
            "Lancet Haematol 2022; 9: e111-20, Outcomes",
            True,
        ),
        Endpoint(
            "disease_free_survival",
            "Disease-free survival",
            Rule((RELAPSE, DEATH)),
            "assumed; the definition of Mil Med Res 2025 stands in its supplement",
            False,
        ),
        Endpoint(
            "treatment_related_mortality",
            "Treatment-related mortality",
            Rule((UNRELATED_DEATH,), (RELATED_DEATH,)),
            "Lancet Haematol 2022; 9: e111-20, Outcomes",
            True,
        ),
        Endpoint(
            "non_relapse_mortality",
            "Non-relapse mortality",
            Rule((DEATH,), (RELAPSE,)),
            "the usual definition, not confirmed in Mil Med Res 2025",
            False,
        ),
        Endpoint(
            "relapse",
            "Relapse or progression",
            Rule((RELAPSE,), (DEATH,), malignancy_only=True),
            "Lancet Haematol 2022; 9: e111-20, Outcomes; the denominator is derived from its intervals",
            True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class DatedEvent:
    """Something that happened; of a death also whether relapse of the malignancy was its cause (None: not known)."""

    kind: str
    occurred: PartialDate
    row: int | None = None
    relapse_related: bool | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What is known of one participant: the origin of time, the events, the last contact, malignancy or not."""

    participant: int
    origin: date | None
    events: tuple[DatedEvent, ...] = ()
    last_contact: PartialDate | None = None
    is_malignant: bool | None = None


Role = Literal["event", "competing", ""]


@dataclass(frozen=True, slots=True)
class _Span:
    """An event in days from the origin, clipped to what can be; and the roles that it may have."""

    kind: str
    earliest: int
    latest: int
    roles: tuple[tuple[Role, str], ...]
    event: DatedEvent


@dataclass(frozen=True, slots=True)
class _Placed:
    day: int
    role: Role
    name: str
    kind: str
    event: DatedEvent


def adjudicate(
    rule: Rule, history: History, *, data_cutoff: date, first_day: int = 0, verified: bool = True
) -> Outcome:
    """The first event of one participant, in days from the origin.

    ``censored_day`` is the last day that the participant is known to have been followed: the last contact (of a partial
    date its first day, which is certain) or a later event, at most the cut-off and the horizon.

    Parameters
    ----------
    history : events in any order; what is dated after the cut-off never enters
    data_cutoff : the last day of the data
    first_day : what the answer calls the day of the origin: 1 in a schedule without a day 0
    verified : whether the endpoint's source was confirmed

    >>> relapse = DatedEvent("relapse", PartialDate(2024, 3, 1))
    >>> death = DatedEvent("death", PartialDate(2024, 6))
    >>> someone = History(1, date(2024, 1, 1), (relapse, death), is_malignant=True)
    >>> adjudicate(ENDPOINTS["disease_free_survival"].rule, someone, data_cutoff=date(2025, 1, 1)).event_day
    60
    """
    if history.origin is None:
        return Outcome(Status.PENDING, "The day that time counts from is not known yet.", verified=verified)
    query = _impossible(rule, history, history.origin)
    if query:
        return Outcome(Status.INSUFFICIENT_DATA, query, flags=("data query",), verified=verified)
    if rule.malignancy_only and history.is_malignant is not True:
        if history.is_malignant is None:
            unknown = "It is not known whether the disease is malignant."
            return Outcome(Status.INSUFFICIENT_DATA, unknown, verified=verified)
        outside = "The disease is not malignant: outside of the denominator."
        return Outcome(Status.NOT_REACHED, outside, classification=NOT_APPLICABLE, verified=verified)
    cutoff_day = (data_cutoff - history.origin).days
    if cutoff_day < 0:
        return Outcome(Status.PENDING, "The origin lies after the data cut-off.", verified=verified)
    spans = list(_spans(rule, history, history.origin))
    ends: tuple[End, ...] = ENDS if rule.partial_dates == "undecided" else (_end_of(rule.partial_dates),)
    readings = [
        _one_reading(rule, history, placed, cutoff_day, history.origin, first_day, verified)
        for end in ends
        for placed in _placements(spans, end)
    ]
    return agreed(readings, because=_open_because(spans))


def _end_of(name: str) -> End:
    return "earliest" if name == "earliest" else "latest"


def _impossible(rule: Rule, history: History, origin: date) -> str:
    """The sentence of the data query for an order that cannot be; '' where every order is possible."""
    named = {*rule.events, *rule.competing}
    deaths = [event for event in history.events if event.kind == DEATH]
    for event in history.events:
        if event.occurred.latest < origin and (event.kind in named or event.kind == DEATH):
            what = event.kind.replace("_", " ").capitalize()
            return f"{what} on {event.occurred.display()} lies before the origin on {origin:%d-%b-%Y}."
    for death in deaths:
        later = [e for e in history.events if e.occurred.earliest > death.occurred.latest]
        if later:
            what = later[0].kind.replace("_", " ").capitalize()
            return f"{what} on {later[0].occurred.display()} lies after the death on {death.occurred.display()}."
        if history.last_contact is not None and history.last_contact.earliest > death.occurred.latest:
            contact = history.last_contact.display()
            return f"The last contact on {contact} lies after the death on {death.occurred.display()}."
    if len(deaths) > 1:
        return "Death is recorded more than once."
    if history.is_malignant is False and any(event.kind == RELAPSE for event in history.events):
        return "A relapse is recorded, and the disease is not malignant."
    return ""


def _roles(rule: Rule, event: DatedEvent) -> tuple[tuple[Role, str], ...]:
    """What the event is to the endpoint, under every name that it may have."""
    if event.kind != DEATH:
        names: tuple[str, ...] = (event.kind,)
    elif DEATH in (*rule.events, *rule.competing):
        names = (DEATH,)
    elif event.relapse_related is None:
        names = (RELATED_DEATH, UNRELATED_DEATH)
    else:
        names = (RELATED_DEATH if event.relapse_related else UNRELATED_DEATH,)
    roles: list[tuple[Role, str]] = []
    for name in names:
        role: Role = "event" if name in rule.events else "competing" if name in rule.competing else ""
        roles.append((role, name))
    return tuple(roles)


def _spans(rule: Rule, history: History, origin: date) -> Iterator[_Span]:
    """Nothing happens before the origin or after death: that bounds a partial date without completing it."""
    death_latest = min((e.occurred.latest for e in history.events if e.kind == DEATH), default=None)
    known_alive = [e.occurred.earliest for e in history.events if e.kind != DEATH]
    if history.last_contact is not None:
        known_alive.append(history.last_contact.earliest)
    for event in history.events:
        earliest, latest = max(event.occurred.earliest, origin), event.occurred.latest
        if event.kind == DEATH:
            earliest = min(max([earliest, *known_alive]), latest)
        elif death_latest is not None:
            latest = min(latest, death_latest)
        yield _Span(event.kind, (earliest - origin).days, (latest - origin).days, _roles(rule, event), event)


def _placements(spans: Sequence[_Span], end: End) -> Iterator[list[_Placed]]:
    """The events on one end of their spans, once for every combination of the roles that they may have."""
    for roles in product(*(span.roles for span in spans)):
        yield [
            _Placed(span.earliest if end == "earliest" else span.latest, role, name, span.kind, span.event)
            for span, (role, name) in zip(spans, roles, strict=True)
        ]


def _one_reading(
    rule: Rule,
    history: History,
    placed: Sequence[_Placed],
    cutoff_day: int,
    origin: date,
    first_day: int,
    verified: bool,
) -> Outcome:
    until = cutoff_day if rule.horizon_day is None else min(cutoff_day, rule.horizon_day)
    counted = sorted(
        (each for each in placed if each.role and each.day <= until),
        key=lambda each: (each.day, each.kind == DEATH, each.role != "event", each.kind),
    )
    if counted:
        first = counted[0]
        what = first.name.replace("_", " ")
        is_event = first.role == "event"
        day = first.day + first_day
        return Outcome(
            Status.REACHED if is_event else Status.COMPETING,
            f"{what.capitalize()} on day {day}{'' if is_event else ' came first'}.",
            event_day=day if is_event else None,
            competing_kind="" if is_event else first.name,
            competing_day=None if is_event else day,
            evidence=(Evidence(day, what, first.event.row),),
            classification=first.name if is_event else "",
            verified=verified,
        )
    followed = [0, *(each.day for each in placed if each.day <= cutoff_day)]
    if history.last_contact is not None:
        followed.append((history.last_contact.earliest - origin).days)
    censored = max(0, min(max(followed), until))
    flags = () if max(followed) > 0 else ("no contact after the origin is recorded",)
    at_horizon = rule.horizon_day is not None and censored == rule.horizon_day
    return Outcome(
        Status.NOT_REACHED if at_horizon else Status.PENDING,
        f"None of {', '.join(name.replace('_', ' ') for name in rule.events)} by day {censored + first_day}.",
        censored_day=censored + first_day,
        flags=flags,
        verified=verified,
    )


def _open_because(spans: Sequence[_Span]) -> str:
    reasons = []
    partial = sorted({span.kind.replace("_", " ") for span in spans if span.earliest != span.latest})
    if partial:
        reasons.append(f"The date of {', '.join(partial)} is known in part only.")
    if any(len(span.roles) > 1 for span in spans):
        reasons.append("It is not known whether the death was related to relapse.")
    return " ".join(reasons)


# Many participants ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LeftOut:
    """A participant without a time, and why."""

    participant: int
    reason: str


@dataclass(frozen=True)
class TimesAndCauses:
    """What curves, tests and regressions read: ``time_days`` (n,) and ``cause`` (n,), 0 censored, 1 the event.

    Cause 2 and above are the competing events in the order of ``competing``.
    """

    participants: tuple[int, ...]
    time_days: Vector
    cause: Codes
    competing: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def event(self) -> Codes:
        """1 for the event, 0 for everything else: a competing event is then a loss."""
        return np.asarray(self.cause == 1, dtype=np.int64)


def times_and_causes(
    outcomes: Iterable[tuple[int, Outcome]], *, competing: Sequence[str], first_day: int = 0
) -> TimesAndCauses:
    """The arrays of any endpoint's outcomes, one participant a row; ``first_day`` is the study day of the origin.

    Raises ValueError for a competing event that ``competing`` does not name.

    >>> outcomes = [(1, Outcome(Status.REACHED, "", event_day=40)), (2, Outcome(Status.PENDING, "", censored_day=90))]
    >>> arrays = times_and_causes(outcomes, competing=["death"])
    >>> arrays.time_days.tolist(), arrays.cause.tolist()
    ([40.0, 90.0], [1, 0])
    """
    order = {kind: number for number, kind in enumerate(competing, start=2)}
    rows: list[tuple[int, int, int]] = []
    left_out = []
    for participant, outcome in outcomes:
        if outcome.status is Status.REACHED and outcome.event_day is not None:
            rows.append((participant, outcome.event_day, 1))
        elif outcome.status is Status.COMPETING and outcome.competing_day is not None:
            if outcome.competing_kind not in order:
                raise ValueError(f"competing does not name {outcome.competing_kind} (participant {participant}).")
            rows.append((participant, outcome.competing_day, order[outcome.competing_kind]))
        elif outcome.status not in (Status.REACHED, Status.COMPETING) and outcome.censored_day is not None:
            rows.append((participant, outcome.censored_day, 0))
        else:
            left_out.append(LeftOut(participant, outcome.sentence))
    return TimesAndCauses(
        tuple(participant for participant, _, _ in rows),
        np.array([max(day - first_day, 0) for _, day, _ in rows], dtype=np.float64),
        np.array([cause for _, _, cause in rows], dtype=np.int64),
        tuple(competing),
        tuple(left_out),
    )


def observe(endpoint: Endpoint, histories: Iterable[History], *, data_cutoff: date) -> TimesAndCauses:
    """The arrays of a named endpoint over ``histories`` up to the cut-off."""
    outcomes = (
        (each.participant, adjudicate(endpoint.rule, each, data_cutoff=data_cutoff, verified=endpoint.verified))
        for each in histories
    )
    return times_and_causes(outcomes, competing=endpoint.rule.competing)
