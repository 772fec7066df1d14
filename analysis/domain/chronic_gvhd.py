"""Chronic graft-versus-host disease: the severity of the NIH consensus of 2014, and the first date at a severity.

Eight organs are scored 0 to 3 (Jagasia MH et al. (2015) Biol Blood Marrow Transplant 21: 389-401; EBMT Handbook, 8th
ed. (2024), chapter 44). The rule that makes one severity of them is not confirmed against the paper, since the
handbook's table is misprinted: results carry ``verified = False``. An organ that was not scored is not a 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from analysis.domain import first_grade
from analysis.domain.bounds import Bounds, higher, stage
from analysis.domain.consecutive_threshold import CompetingEvent
from analysis.domain.endpoint_outcomes import Outcome
from analysis.domain.first_grade import Graded
from analysis.domain.rule_parameters import check_at_least, check_choice, read

METHOD_VERSION = "1"
VERIFIED = False
SYSTEM = "nih_2014"

ORGANS = ("skin", "mouth", "eyes", "gi", "liver", "lungs", "joints_fascia", "genital")
SEVERITIES = ("none", "mild", "moderate", "severe")


@dataclass(frozen=True)
class OrganScores:
    """The scores of the organs, each exactly or between limits; those explained otherwise are not scored."""

    scores: Mapping[str, Bounds]
    explained: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *, explained: Iterable[str] = (), **scores: int | None) -> OrganScores:
        """Recorded scores by organ; an organ that is not named was not scored.

        ``explained`` names organs whose abnormality another documented cause explains wholly. One that has several
        causes is scored as it is. ValueError names an organ or a score that does not exist.

        >>> OrganScores.of(skin=1, mouth=0).missing
        ('eyes', 'gi', 'liver', 'lungs', 'joints_fascia', 'genital')
        """
        elsewhere = frozenset(explained)
        for organ in (*scores, *sorted(elsewhere)):
            if organ not in ORGANS:
                raise ValueError(f"{organ} is no organ of the NIH score; they are {', '.join(ORGANS)}.")
        return cls({organ: stage(organ, scores.get(organ), 3) for organ in ORGANS}, elsewhere)

    def scored(self) -> dict[str, Bounds]:
        """The limits of every organ; 0 for one that is explained otherwise."""
        return {
            organ: Bounds.exactly(0) if organ in self.explained else self.scores.get(organ, Bounds(0, 3))
            for organ in ORGANS
        }

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(organ for organ, bounds in self.scored().items() if not bounds.is_known)


def skin_score(extent: int | None, features: int | None) -> Bounds:
    """The higher of the score of the extent and the score of the features (sclerosis); not confirmed.

    >>> skin_score(1, 2).known
    2
    """
    return higher(stage("extent", extent, 3), stage("features", features, 3))


def lung_score(fev1_percent: Decimal | None, *, symptoms: int | None = None) -> Bounds:
    """The lung score from FEV1 (% predicted); the score of the symptoms only where there is no FEV1. Not confirmed.

    Raises ValueError for a negative FEV1.

    >>> [lung_score(Decimal(value)).low for value in ("80", "79.9", "60", "59.5", "40", "39.9")]
    [0, 1, 1, 2, 2, 3]
    """
    if fev1_percent is None:
        return stage("symptoms", symptoms, 3)
    check_at_least("fev1_percent", fev1_percent, 0)
    return Bounds.exactly(sum(fev1_percent < limit for limit in (80, 60, 40)))


def severity_of(scores: Mapping[str, int]) -> int:
    """The severity (0 none, 1 mild, 2 moderate, 3 severe) of known scores; the highest is asked for first.

    >>> SEVERITIES[severity_of({"mouth": 1, "lungs": 1})]
    'moderate'
    """
    lungs = scores.get("lungs", 0)
    highest = max(scores.values(), default=0)
    if highest == 3 or lungs >= 2:
        return 3
    if highest == 2 or lungs == 1 or sum(score >= 1 for score in scores.values()) >= 3:
        return 2
    return highest


@dataclass(frozen=True)
class Severity:
    """The severity of one assessment: its limits, the organs that were not scored, and a sentence."""

    limits: Bounds
    missing: tuple[str, ...]
    sentence: str
    verified: bool = VERIFIED

    @property
    def is_incomplete(self) -> bool:
        return bool(self.missing)

    @property
    def name(self) -> str:
        name = SEVERITIES[self.limits.low]
        return name if self.limits.is_known else f"at least {name}, incomplete"


def severity(scores: OrganScores) -> Severity:
    """The NIH severity; limits follow from the limits of the scores, since no higher score lowers a severity.

    >>> severity(OrganScores.of(eyes=2, mouth=1)).name
    'at least moderate, incomplete'
    """
    scored = scores.scored()
    limits = Bounds(
        severity_of({organ: bounds.low for organ, bounds in scored.items()}),
        severity_of({organ: bounds.high for organ, bounds in scored.items()}),
    )
    if not scores.missing:
        return Severity(limits, (), f"NIH 2014: {SEVERITIES[limits.low]}.")
    highest = "" if limits.is_known else f" and at most {SEVERITIES[limits.high]}"
    organs = ", ".join(organ.replace("_", " and ") for organ in scores.missing)
    sentence = f"NIH 2014: at least {SEVERITIES[limits.low]}{highest}; not scored: {organs}."
    return Severity(limits, scores.missing, sentence)


@dataclass(frozen=True)
class Assessment:
    """The scores on one day, or on one of the days of a partial date."""

    earliest_day: int
    latest_day: int
    scores: OrganScores
    row: int | None = None

    @classmethod
    def on(cls, day: int, scores: OrganScores, *, row: int | None = None) -> Assessment:
        return cls(day, day, scores, row)


@dataclass(frozen=True)
class Rule:
    """The first date of a severity: ``at_least`` 1 mild, 2 moderate (PARACHUTE), 3 severe.

    ``horizon_day`` empty: without end. ``tie`` as in the other endpoints; gaps above ``max_gap_days`` are flagged.
    """

    at_least: int
    system: str = SYSTEM
    event: str = "chronic_gvhd"
    horizon_day: int | None = None
    tie: str = "reached"
    max_gap_days: int = 200

    def __post_init__(self) -> None:
        if not 1 <= self.at_least <= 3:
            raise ValueError(f"at_least is {self.at_least}; it may be 1 to 3.")
        check_choice("system", self.system, (SYSTEM,))
        check_choice("event", self.event, ("chronic_gvhd",))
        check_choice("tie", self.tie, ("reached", "competing"))
        check_at_least("horizon_day", self.horizon_day, 1)
        check_at_least("max_gap_days", self.max_gap_days, 0)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Rule:
        """Read the parameters of an endpoint of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="first_grade")


def adjudicate(
    rule: Rule,
    assessments: Iterable[Assessment],
    competing: Iterable[CompetingEvent] = (),
    *,
    as_of_day: int | None,
    last_assessment_day: int | None = None,
) -> Outcome:
    """Decide when one participant first reached the severity.

    Parameters
    ----------
    assessments : organ scores by study day, in any order; those before the anchor never count
    competing : death, and relapse where the definition names it
    as_of_day : the study day on which the question is asked; None while the anchor is unknown
    last_assessment_day : a later day on which chronic GVHD was asked for and absent

    >>> scores = Assessment.on(120, OrganScores.of(eyes=2, mouth=1))
    >>> adjudicate(Rule(at_least=2), [scores], as_of_day=400).event_day
    120
    """
    graded = []
    for each in assessments:
        found = severity(each.scores)
        graded.append(Graded(each.earliest_day, each.latest_day, found.limits, each.row, found.sentence))
    label = SEVERITIES[rule.at_least] + ("" if rule.at_least == 3 else " or more")
    question = first_grade.Question(
        rule.at_least, label, lambda s: f"{SEVERITIES[s]} chronic GVHD", rule.horizon_day, rule.tie, rule.max_gap_days,
        VERIFIED,
    )  # fmt: skip
    return first_grade.adjudicate(
        question, graded, list(competing), as_of_day=as_of_day, last_assessment_day=last_assessment_day
    )
