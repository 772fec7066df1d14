"""The refined Minnesota risk of acute GVHD (MacMillan ML et al. (2015) Biol Blood Marrow Transplant 21: 761-767).

The rule is not confirmed against the paper: results carry ``verified = False``. The point in time that a risk was
assessed at is part of its value, so that risks of different points are not compared by mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from analysis.domain.acute_gvhd import Assessment, OrganStages
from analysis.domain.consecutive_threshold import Status
from analysis.domain.endpoint_outcomes import Evidence, Outcome
from analysis.domain.rule_parameters import check_at_least, check_choice, read

METHOD_VERSION = "1"
VERIFIED = False


class Risk(StrEnum):
    NONE = "none"
    STANDARD = "standard"
    HIGH = "high"


class TimePoint(StrEnum):
    """When the risk is assessed; the paper's is the start of steroids."""

    STEROID_START = "steroid_start"
    SECOND_LINE_START = "second_line_start"
    STUDY_TREATMENT_START = "study_treatment_start"


def risk_of(skin: int, liver: int, upper_gi: int, lower_gi: int) -> Risk:
    """The risk of known stages (MAGIC).

    >>> risk_of(3, 0, 1, 0), risk_of(0, 1, 0, 0)
    (<Risk.STANDARD: 'standard'>, <Risk.HIGH: 'high'>)
    """
    gut = max(upper_gi, lower_gi)
    if skin == liver == gut == 0:
        return Risk.NONE
    if skin == 4 or gut >= 3:
        return Risk.HIGH
    gut_alone = skin == 0 and liver == 0 and gut in (1, 2)
    skin_without_gut = skin >= 1 and gut == 0
    skin_and_mild_gut = skin >= 1 and gut == 1 and liver == 0
    return Risk.STANDARD if gut_alone or skin_without_gut or skin_and_mild_gut else Risk.HIGH


@dataclass(frozen=True)
class MinnesotaRisk:
    """The risks that the known stages allow; ``risk`` where there is only one."""

    possible: frozenset[Risk]
    missing: tuple[str, ...]
    sentence: str
    verified: bool = VERIFIED

    @property
    def risk(self) -> Risk | None:
        return next(iter(self.possible)) if len(self.possible) == 1 else None


def risk(stages: OrganStages) -> MinnesotaRisk:
    """The refined Minnesota risk. A higher stage may lower it, so every stage that a missing one may be is tried.

    >>> risk(OrganStages.of(4, None, 0, 0)).risk
    <Risk.HIGH: 'high'>
    """
    possible = frozenset(
        risk_of(*known) for known in product(*(bounds.values() for bounds in stages.organs().values()))
    )
    names = " or ".join(each.value for each in Risk if each in possible)
    missing = stages.missing
    unknown = f"; not known: {', '.join(organ.replace('_gi', ' gut') for organ in missing)}" if missing else ""
    return MinnesotaRisk(possible, missing, f"Refined Minnesota risk: {names}{unknown}.")


@dataclass(frozen=True)
class Rule:
    """The risk at ``time_point``: of the last assessment in the ``within_days`` days up to it (an assumption)."""

    time_point: str = TimePoint.STEROID_START.value
    within_days: int = 7

    def __post_init__(self) -> None:
        check_choice("time_point", self.time_point, tuple(TimePoint))
        check_at_least("within_days", self.within_days, 0)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Rule:
        """Read the parameters of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="minnesota_risk")


def adjudicate(rule: Rule, assessments: Iterable[Assessment], *, at_day: int | None) -> Outcome:
    """The risk of one participant on the study day of the time point (``at_day``; None while it is not known).

    ``classification`` is the risk and the status *reached* where it is known. Nothing competes with it.

    >>> before = Assessment.on(-1, OrganStages.of(2, 0, 0, 1))
    >>> adjudicate(Rule(), [before], at_day=1).classification
    'standard'
    """
    point = rule.time_point.replace("_", " ")
    if at_day is None:
        return Outcome(Status.PENDING, f"The day of the {point} is not known yet.", verified=VERIFIED)
    first_day = at_day - rule.within_days
    near = [each for each in assessments if each.latest_day >= first_day and each.earliest_day <= at_day]
    certain = [each.earliest_day for each in near if first_day <= each.earliest_day and each.latest_day <= at_day]
    if not certain:
        perhaps = " certainly, since dates are known in part only" if near else ""
        return Outcome(
            Status.INSUFFICIENT_DATA,
            f"No assessment lies{perhaps} in the {rule.within_days} days up to the {point} on day {at_day}.",
            verified=VERIFIED,
        )
    # Every assessment that may be the last one before the point; those of one day are read as its highest stages.
    candidates = [each for each in near if each.latest_day >= max(certain)]
    exact = [each for each in candidates if each.earliest_day == each.latest_day]
    readings = [each.stages for each in candidates if each.earliest_day != each.latest_day]
    if exact:
        stages = exact[0].stages
        for other in exact[1:]:
            stages = stages.highest_with(other.stages)
        readings.append(stages)
    found = [risk(stages) for stages in readings]
    possible: frozenset[Risk] = frozenset().union(*(each.possible for each in found))
    evidence = tuple(Evidence(each.earliest_day, risk(each.stages).sentence, each.row) for each in candidates)
    if len(possible) == 1:
        name = next(iter(possible)).value
        return Outcome(
            Status.REACHED,
            f"{name.capitalize()} at the {point}.",
            event_day=at_day,
            evidence=evidence,
            classification=name,
            verified=VERIFIED,
        )
    names = " or ".join(each.value for each in Risk if each in possible)
    return Outcome(
        Status.INSUFFICIENT_DATA,
        f"At the {point} the risk is {names}: " + " ".join(each.sentence for each in found),
        evidence=evidence,
        verified=VERIFIED,
    )
