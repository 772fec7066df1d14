"""Stage gates: who is counted, what the boundary is, and what the design proposes. A person decides.

Simon R (1989) Control Clin Trials 10: 1-10 for the design; for a second stage that ends at another size than planned,
the boundary that keeps the conditional error left after stage one (:func:`analysis.domain.simon.critical_total`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from analysis.domain.consecutive_threshold import Status
from analysis.domain.simon import TwoStage, critical_total

METHOD_VERSION = "1"


class GateState(StrEnum):
    WAITING = "waiting"
    PROPOSED = "proposed"
    DECIDED = "decided"


class GateEvent(StrEnum):
    PROPOSE = "propose"
    RENEW = "renew"
    DECIDE = "decide"


# state x event -> state; what is not listed cannot happen. A decided gate stays decided.
TRANSITIONS: Mapping[tuple[GateState, GateEvent], GateState] = {
    (GateState.WAITING, GateEvent.PROPOSE): GateState.PROPOSED,
    (GateState.PROPOSED, GateEvent.RENEW): GateState.WAITING,
    (GateState.PROPOSED, GateEvent.DECIDE): GateState.DECIDED,
}


def after(state: GateState, event: GateEvent) -> GateState:
    """The state that ``event`` leads to; ValueError with a sentence where it cannot happen."""
    try:
        return TRANSITIONS[GateState(state), GateEvent(event)]
    except KeyError:
        raise ValueError(f"A gate that is {state} cannot {event}.") from None


def decisions(stage: int, stages: int) -> tuple[str, ...]:
    """What a person may decide of ``stage``: the last one succeeds or stops, an earlier one may go on.

    >>> decisions(1, 2), decisions(2, 2)
    (('continue', 'modify', 'stop'), ('success', 'stop'))
    """
    return ("success", "stop") if stage >= stages else ("continue", "modify", "stop")


@dataclass(frozen=True)
class Stage:
    """One stage of the design: cumulative number of evaluable participants, and the responders it asks for."""

    n: int
    at_least: int


@dataclass(frozen=True)
class Seat:
    """One participant as the gate sees them: in the order of transplant, evaluable or not, with the outcome."""

    participant: int
    number: str
    anchor_day: date | None
    status: Status
    evaluable: bool | None


@dataclass(frozen=True)
class Count:
    """What a stage counts at one moment. ``boundary`` and ``proposal`` are given once it is complete."""

    is_complete: bool
    sentence: str
    seats: tuple[Seat, ...] = ()
    responders: int = 0
    boundary: int | None = None
    proposal: str = ""
    unresolved: tuple[Seat, ...] = ()

    @property
    def evaluable(self) -> int:
        return len(self.seats)


def simon_two_stage(
    stages: Sequence[Stage],
    null: Decimal,
    *,
    stage: int,
    seats: Sequence[Seat],
    accrual_closed: bool,
    stage1_responders: int | None = None,
) -> Count:
    """Count ``stage`` (1 or 2) of a Simon design among the first evaluable participants by date of the anchor.

    A participant whose evaluability or outcome is still open holds the stage back only where it could be among those
    counted. The last stage is complete at its planned number, or, once accrual has closed, at the number there is.
    """
    planned = stages[stage - 1]
    counted: list[Seat] = []
    waiting_for: list[Seat] = []
    for seat in sorted(seats, key=lambda s: (s.anchor_day is None, s.anchor_day or date.max, s.number)):
        if len(counted) + len(waiting_for) == planned.n:
            break
        if seat.evaluable is False:
            continue
        if seat.evaluable is None or not seat.status.is_final:
            waiting_for.append(seat)
        else:
            counted.append(seat)
    responders = sum(seat.status is Status.REACHED for seat in counted)
    is_last = stage == len(stages)
    if waiting_for:
        sentence = f"{len(counted)} of {planned.n} are decided; {len(waiting_for)} more are being followed."
        return Count(False, sentence, tuple(counted), responders)
    if len(counted) < planned.n and not (is_last and accrual_closed):
        return Count(False, f"{len(counted)} of {planned.n} evaluable participants so far.", tuple(counted), responders)

    boundary = planned.at_least
    adjusted = ""
    if is_last and len(counted) != planned.n:
        if stage1_responders is None or len(counted) <= stages[0].n:
            sentence = f"Accrual closed with {len(counted)} evaluable participants; stage 1 has not been decided."
            return Count(False, sentence, tuple(counted), responders)
        design = TwoStage(r1=stages[0].at_least - 1, n1=stages[0].n, r=planned.at_least - 1, n=planned.n)
        boundary = critical_total(design, p0=float(null), stage1_responses=stage1_responders, n=len(counted))
        adjusted = f" (the design's {planned.at_least} of {planned.n}, for {len(counted)})"
    enough = responders >= boundary
    proposal = ("success" if enough else "stop") if is_last else ("continue" if enough else "stop")
    unresolved = tuple(seat for seat in counted if seat.status is Status.INSUFFICIENT_DATA)
    sentence = (
        f"{responders} of {len(counted)} evaluable participants reached the endpoint; "
        f"{'success' if is_last else 'going on'} needs at least {boundary}{adjusted}."
    )
    if unresolved:
        sentence += f" Counted as not reached for want of data: {', '.join(seat.number for seat in unresolved)}."
    return Count(True, sentence, tuple(counted), responders, boundary, proposal, unresolved)


#: The designs that have gates, by the name the definition gives them.
GATED_DESIGNS: Mapping[str, Callable[..., Count]] = {"simon_two_stage": simon_two_stage}
