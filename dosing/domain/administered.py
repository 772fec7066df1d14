"""What was given against what was planned: the cumulative ratio, exactly, with both bounds inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from enum import StrEnum


class Adherence(StrEnum):
    """Where the cumulative dose stands."""

    NOT_STARTED = "not started"
    UNDER_WAY = "under way"
    WITHIN = "within"
    BELOW = "below"
    ABOVE = "above"


class EndCause(StrEnum):
    """Why a course ends before its plan. A cause removes nobody from an analysis set: what was given does."""

    ALLERGIC_REACTION = "allergic_reaction"
    TOXICITY = "toxicity"
    PHYSICIAN_DECISION = "physician_decision"
    PARTICIPANT_WITHDRAWAL = "participant_withdrawal"
    OTHER = "other"


END_CAUSE_WORDS: Mapping[EndCause, str] = {
    EndCause.ALLERGIC_REACTION: "allergic reaction",
    EndCause.TOXICITY: "toxicity other than an allergic reaction",
    EndCause.PHYSICIAN_DECISION: "physician's decision",
    EndCause.PARTICIPANT_WITHDRAWAL: "participant's withdrawal from the treatment",
    EndCause.OTHER: "another cause",
}


@dataclass(frozen=True)
class Administered:
    """The cumulative dose against the plan; ``is_final`` once no further dose is due."""

    planned_mg: Decimal
    given_mg: Decimal
    ratio: Decimal
    low: Decimal
    high: Decimal
    is_final: bool
    adherence: Adherence

    @property
    def percent(self) -> Decimal:
        """For display, to 0.01 %; a ratio outside the bounds is never rounded onto them."""
        direction = ROUND_HALF_UP
        if self.given_mg > self.high * self.planned_mg:
            direction = ROUND_CEILING
        elif self.given_mg < self.low * self.planned_mg:
            direction = ROUND_FLOOR
        return (100 * self.ratio).quantize(Decimal("0.01"), direction)

    @property
    def is_deviation(self) -> bool:
        return self.is_final and self.adherence in (Adherence.BELOW, Adherence.ABOVE)


def administered(
    *,
    planned_mg: Decimal,
    given_mg: Iterable[Decimal],
    low: Decimal,
    high: Decimal,
    last_planned_day: date,
    today: date,
    is_ended: bool,
) -> Administered:
    """Compare the sum of what was given with the plan; ``low`` and ``high`` are no deviation themselves.

    The answer is provisional until the last planned day has passed or the course was declared ended; a sum above
    ``high`` is final at once, since nothing given can be taken back.

    >>> one = administered(planned_mg=Decimal(1000), given_mg=[Decimal(900)], low=Decimal("0.90"), high=Decimal("1.10"),
    ...                    last_planned_day=date(2025, 3, 18), today=date(2025, 3, 19), is_ended=False)
    >>> str(one.adherence), one.is_deviation
    ('within', False)
    """
    if planned_mg <= 0:
        raise ValueError(f"a plan of {planned_mg} mg has no ratio")
    amounts = tuple(given_mg)
    given = sum(amounts, Decimal(0))
    is_above = given > high * planned_mg
    is_final = is_above or is_ended or today > last_planned_day
    if is_above:
        adherence = Adherence.ABOVE
    elif not amounts and not is_ended:
        adherence = Adherence.NOT_STARTED
        is_final = False
    elif not is_final:
        adherence = Adherence.UNDER_WAY
    elif given < low * planned_mg:
        adherence = Adherence.BELOW
    else:
        adherence = Adherence.WITHIN
    return Administered(planned_mg, given, given / planned_mg, low, high, is_final, adherence)
