"""Acute graft-versus-host disease: organ stages, overall grades in their systems, and the first date at a grade.

Organ stages and the MAGIC grade: Harris AC et al. (2016) Biol Blood Marrow Transplant 22: 4-10, as printed in the EBMT
Handbook, 8th ed. (2024), chapter 43, table 43.4; adult and child values, volumes and pain: NCI PDQ. The cut-offs below
close the gaps that the printed tables leave (between 3 and 3.1 mg/dL, 999 and 1000 mL). The consensus grade of 1994:
Przepiorka D et al. (1995) Bone Marrow Transplant 15: 825-828; its rule is not confirmed against the paper.

An organ that was not staged may have any stage: it leaves a lower and an upper limit of the grade, never 0. Grades of
different systems are never compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from analysis.domain import first_grade
from analysis.domain.bounds import Bounds, higher, stage
from analysis.domain.consecutive_threshold import CompetingEvent
from analysis.domain.endpoint_outcomes import Outcome
from analysis.domain.first_grade import Graded
from analysis.domain.rule_parameters import check_at_least, check_choice, read

METHOD_VERSION = "1"

UMOL_PER_L_IN_ONE_MG_PER_DL = Decimal("17.1")
ADULT_ABOVE_KG = Decimal(50)
GRADE_NAMES = ("0", "I", "II", "III", "IV")
HIGHEST: Mapping[str, int] = {"skin": 4, "liver": 4, "upper_gi": 1, "lower_gi": 4}


@dataclass(frozen=True)
class OrganStages:
    """The stages of the four organs, each exactly or between limits."""

    skin: Bounds
    liver: Bounds
    upper_gi: Bounds
    lower_gi: Bounds

    @classmethod
    def of(cls, skin: int | None, liver: int | None, upper_gi: int | None, lower_gi: int | None) -> OrganStages:
        """Recorded stages; None was not recorded. ValueError names a stage that does not exist.

        >>> OrganStages.of(2, 0, None, 3).missing
        ('upper_gi',)
        """
        given = {"skin": skin, "liver": liver, "upper_gi": upper_gi, "lower_gi": lower_gi}
        return cls(**{organ: stage(organ, value, HIGHEST[organ]) for organ, value in given.items()})

    def organs(self) -> Mapping[str, Bounds]:
        return {"skin": self.skin, "liver": self.liver, "upper_gi": self.upper_gi, "lower_gi": self.lower_gi}

    @property
    def missing(self) -> tuple[str, ...]:
        """The organs whose stage is not known exactly."""
        return tuple(organ for organ, bounds in self.organs().items() if not bounds.is_known)

    def highest_with(self, other: OrganStages) -> OrganStages:
        """The higher stage of each organ in two assessments."""
        theirs = other.organs()
        return OrganStages(**{organ: higher(bounds, theirs[organ]) for organ, bounds in self.organs().items()})


@dataclass(frozen=True)
class Assessment:
    """The stages on one day, or on one of the days of a partial date; ``histology``: gut GVHD was seen in a biopsy."""

    earliest_day: int
    latest_day: int
    stages: OrganStages
    histology: bool | None = None
    row: int | None = None

    @classmethod
    def on(cls, day: int, stages: OrganStages, *, histology: bool | None = None, row: int | None = None) -> Assessment:
        return cls(day, day, stages, histology, row)


# Organ stages from what was measured ----------------------------------------------------------------------------------


def skin_stage(bsa_percent: Decimal | None, *, bullae: bool | None, desquamation_over_5_percent: bool | None) -> Bounds:
    """The skin stage, from the share of the body surface with active erythema (percent).

    Stage 4 is generalised erythroderma (above 50 %) with bullae *and* desquamation of more than 5 %. Raises ValueError
    for a share outside 0-100. EBMT Handbook 2024, table 43.4.

    >>> skin_stage(Decimal(60), bullae=True, desquamation_over_5_percent=False)
    Bounds(low=3, high=3)
    """
    if bsa_percent is None:
        return Bounds(0, 4)
    if not 0 <= bsa_percent <= 100:
        raise ValueError(f"bsa_percent is {bsa_percent}; it must lie between 0 and 100.")
    if bsa_percent == 0:
        return Bounds.exactly(0)
    if bsa_percent < 25:
        return Bounds.exactly(1)
    if bsa_percent <= 50:
        return Bounds.exactly(2)
    if bullae is False or desquamation_over_5_percent is False:
        return Bounds.exactly(3)
    return Bounds.exactly(4) if bullae and desquamation_over_5_percent else Bounds(3, 4)


def liver_stage(bilirubin: Decimal | None, *, unit: str = "mg/dL") -> Bounds:
    """The liver stage, from total bilirubin in mg/dL or umol/L; another cause of jaundice does not lower it.

    Raises ValueError for a negative value or another unit. EBMT Handbook 2024, table 43.4.

    >>> [liver_stage(Decimal(value)).low for value in ("1.9", "2", "3", "3.05", "6", "15", "15.1")]
    [0, 1, 1, 2, 2, 3, 4]
    """
    if unit not in ("mg/dL", "umol/L"):
        raise ValueError(f"unit is {unit!r}; it may be mg/dL or umol/L.")
    if bilirubin is None:
        return Bounds(0, 4)
    if bilirubin < 0:
        raise ValueError(f"bilirubin is {bilirubin}; it must not be negative.")
    mg_per_dl = bilirubin if unit == "mg/dL" else bilirubin / UMOL_PER_L_IN_ONE_MG_PER_DL
    if mg_per_dl < 2:
        return Bounds.exactly(0)
    return Bounds.exactly(1 + sum(mg_per_dl > limit for limit in (3, 6, 15)))


def upper_gi_stage(persistent_symptoms: bool | None) -> Bounds:
    """Stage 1 is *persistent* nausea, vomiting or anorexia; none or intermittent is 0. EBMT Handbook 2024, 43.4."""
    return Bounds(0, 1) if persistent_symptoms is None else Bounds.exactly(int(persistent_symptoms))


@dataclass(frozen=True)
class DayOfStool:
    """The volume of one day in mL; of stool mixed with urine one half is stool (NCI PDQ)."""

    volume_ml: Decimal | None
    mixed_with_urine: bool | None


def three_day_mean_ml(days: Sequence[DayOfStool]) -> Decimal | None:
    """The mean stool volume of three days in mL/day; None unless all three are known.

    >>> three_day_mean_ml([DayOfStool(Decimal(600), False)] * 2 + [DayOfStool(Decimal(600), True)])
    Decimal('500')
    """
    if len(days) != 3:
        return None
    total = Decimal(0)
    for day in days:
        if day.volume_ml is None or day.mixed_with_urine is None:
            return None
        total += day.volume_ml / 2 if day.mixed_with_urine else day.volume_ml
    return total / 3


@dataclass(frozen=True)
class LowerGut:
    """What the lower gut's stage rests on. ``severe_pain``: new or more opioids *and* an impact on performance."""

    volume_ml_per_day: Decimal | None = None
    episodes_per_day: int | None = None
    severe_pain: bool | None = None
    grossly_bloody: bool | None = None


# Upper limits of stages 0-2: the number itself still belongs to the stage where the second entry is true.
_VOLUME_ADULT = ((Decimal(500), False), (Decimal(1000), False), (Decimal(1500), True))
_VOLUME_CHILD = ((Decimal(10), False), (Decimal(20), False), (Decimal(30), True))
_EPISODES_ADULT = ((Decimal(2), True), (Decimal(4), True), (Decimal(7), True))
_EPISODES_CHILD = ((Decimal(3), True), (Decimal(6), True), (Decimal(10), True))


def _above(value: Decimal, limits: Sequence[tuple[Decimal, bool]]) -> int:
    return sum(value > limit or (value == limit and not included) for limit, included in limits)


def lower_gi_stage(gut: LowerGut, *, weight_kg: Decimal | None, gi_basis: str = "volume") -> Bounds:
    """The stage of the lower gut; adult values above 50 kg, otherwise the child's per kg.

    Severe pain (with or without ileus) or grossly bloody stool is stage 4 at any volume; a positive biopsy with less
    than 500 mL (10 mL/kg) stays 0. ``gi_basis`` says which of volume and episodes counts when both were measured; the
    other one serves where it is missing. Raises ValueError for another basis or a number below 0.
    EBMT Handbook 2024, table 43.4; NCI PDQ.

    >>> no_pain = {"severe_pain": False, "grossly_bloody": False}
    >>> [lower_gi_stage(LowerGut(Decimal(ml), **no_pain), weight_kg=Decimal(70)).low for ml in (499, 500, 1000, 1501)]
    [0, 1, 2, 3]
    """
    check_choice("gi_basis", gi_basis, ("volume", "episodes"))
    check_at_least("volume_ml_per_day", gut.volume_ml_per_day, 0)
    check_at_least("episodes_per_day", gut.episodes_per_day, 0)
    if weight_kg is not None and weight_kg <= 0:
        raise ValueError(f"weight_kg is {weight_kg}; it must be positive.")
    if gut.severe_pain or gut.grossly_bloody:
        return Bounds.exactly(4)
    amount = _by_amount(gut, weight_kg, gi_basis)
    excluded = gut.severe_pain is False and gut.grossly_bloody is False
    return amount if excluded else Bounds(amount.low, 4)


def _by_amount(gut: LowerGut, weight_kg: Decimal | None, gi_basis: str) -> Bounds:
    by_volume = None if gut.volume_ml_per_day is None else _by_volume(gut.volume_ml_per_day, weight_kg)
    by_episodes = None if gut.episodes_per_day is None else _by_episodes(gut.episodes_per_day, weight_kg)
    preferred, other = (by_volume, by_episodes) if gi_basis == "volume" else (by_episodes, by_volume)
    return preferred or other or Bounds(0, 3)


def _by_volume(ml_per_day: Decimal, weight_kg: Decimal | None) -> Bounds:
    adult = _above(ml_per_day, _VOLUME_ADULT)
    if weight_kg is None:
        # A child of unknown weight, 50 kg at most: from the amount at 50 kg upwards.
        return Bounds(min(adult, _above(ml_per_day / ADULT_ABOVE_KG, _VOLUME_CHILD)), 0 if ml_per_day == 0 else 3)
    if weight_kg > ADULT_ABOVE_KG:
        return Bounds.exactly(adult)
    return Bounds.exactly(_above(ml_per_day / weight_kg, _VOLUME_CHILD))


def _by_episodes(episodes: int, weight_kg: Decimal | None) -> Bounds:
    adult, child = (_above(Decimal(episodes), limits) for limits in (_EPISODES_ADULT, _EPISODES_CHILD))
    if weight_kg is None:
        return Bounds(min(adult, child), max(adult, child))
    return Bounds.exactly(adult if weight_kg > ADULT_ABOVE_KG else child)


# Overall grade --------------------------------------------------------------------------------------------------------


def magic_grade(skin: int, liver: int, upper_gi: int, lower_gi: int) -> int:
    """The overall MAGIC grade (0 to 4) of known stages. The highest grade is asked for first.

    EBMT Handbook 2024, chapter 43.

    >>> GRADE_NAMES[magic_grade(3, 4, 0, 0)]
    'IV'
    """
    if 4 in (skin, liver, lower_gi):
        return 4
    if liver >= 2 or lower_gi >= 2:
        return 3
    if skin == 3 or liver == 1 or upper_gi == 1 or lower_gi == 1:
        return 2
    return 1 if skin >= 1 else 0


def glucksberg_grade(skin: int, liver: int, gut: int, *, gut_4_is_iv: bool = False) -> int:
    """The modified Glucksberg (consensus 1994) grade (0 to 4) of known stages; not confirmed against the paper.

    Gut stage 4 with skin and liver below 4 is III; ``gut_4_is_iv`` is the variant of some published tables.
    """
    if skin == 4 or liver == 4 or (gut_4_is_iv and gut == 4):
        return 4
    if liver >= 2 or gut >= 2:
        return 3
    if skin == 3 or liver == 1 or gut == 1:
        return 2
    return 1 if skin >= 1 else 0


def glucksberg_gut(stages: OrganStages, histology: bool | None) -> Bounds:
    """The one gut stage of 1994: persistent nausea (upper gut 1) counts as stage 1 with histology only."""
    upper = stages.upper_gi
    if histology is False:
        upper = Bounds.exactly(0)
    elif histology is None:
        upper = Bounds(0, upper.high)
    return higher(stages.lower_gi, upper)


def _magic(stages: OrganStages, histology: bool | None) -> Bounds:
    low, high = ({organ: getattr(b, end) for organ, b in stages.organs().items()} for end in ("low", "high"))
    return Bounds(magic_grade(**low), magic_grade(**high))


def _glucksberg(gut_4_is_iv: bool) -> Callable[[OrganStages, bool | None], Bounds]:
    def grade(stages: OrganStages, histology: bool | None) -> Bounds:
        gut = glucksberg_gut(stages, histology)
        return Bounds(
            glucksberg_grade(stages.skin.low, stages.liver.low, gut.low, gut_4_is_iv=gut_4_is_iv),
            glucksberg_grade(stages.skin.high, stages.liver.high, gut.high, gut_4_is_iv=gut_4_is_iv),
        )

    return grade


@dataclass(frozen=True)
class GradingSystem:
    """One way of grading; its limits follow from the limits of the stages, since no stage lowers a grade."""

    id: str
    title: str
    source: str
    verified: bool
    limits: Callable[[OrganStages, bool | None], Bounds] = field(repr=False, compare=False)


SYSTEMS: Mapping[str, GradingSystem] = {
    system.id: system
    for system in (
        GradingSystem("magic", "MAGIC 2016", "EBMT Handbook, 8th ed. (2024), ch. 43", True, _magic),
        GradingSystem(
            "glucksberg_1994",
            "Modified Glucksberg, consensus 1994",
            "Przepiorka 1995, not confirmed against the paper",
            False,
            _glucksberg(gut_4_is_iv=False),
        ),
        GradingSystem(
            "glucksberg_1994_gi4_iv",
            "Modified Glucksberg, gut stage 4 as grade IV",
            "variant of some published tables, not confirmed",
            False,
            _glucksberg(gut_4_is_iv=True),
        ),
    )
}


@dataclass(frozen=True)
class Grade:
    """An overall grade in one system: its limits, the organs that leave them apart or were missing, and a sentence."""

    system: GradingSystem
    limits: Bounds
    missing: tuple[str, ...]
    sentence: str

    @property
    def is_incomplete(self) -> bool:
        return bool(self.missing)

    @property
    def name(self) -> str:
        """The grade as it is read; of an incomplete one the lower limit, marked."""
        name = GRADE_NAMES[self.limits.low]
        return name if self.limits.is_known else f"at least {name}, incomplete"


def grade(system: GradingSystem, stages: OrganStages, *, histology: bool | None = None) -> Grade:
    """The overall grade of one assessment.

    >>> grade(SYSTEMS["magic"], OrganStages.of(3, None, 0, 0)).name
    'at least II, incomplete'
    """
    limits = system.limits(stages, histology)
    missing = stages.missing
    if system.id != "magic" and histology is None and stages.upper_gi.high == 1 and not limits.is_known:
        missing = (*missing, "histology of the gut")
    if not missing:
        sentence = f"{system.title}: grade {GRADE_NAMES[limits.low]}."
    else:
        organs = ", ".join(organ.replace("_gi", " gut") for organ in missing)
        highest = "" if limits.is_known else f" and at most {GRADE_NAMES[limits.high]}"
        sentence = f"{system.title}: grade at least {GRADE_NAMES[limits.low]}{highest}; not known: {organs}."
    return Grade(system, limits, missing, sentence)


def maximum_grade(grades: Sequence[Grade]) -> Bounds:
    """The limits of the highest grade over an episode, within one system; ValueError for none or a mixture."""
    if not grades:
        raise ValueError("grades is empty; at least one is needed.")
    systems = sorted({each.system.id for each in grades})
    if len(systems) > 1:
        raise ValueError(f"grades are of {' and '.join(systems)}; grades of different systems are never compared.")
    return higher(*(each.limits for each in grades))


# The endpoint ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """The first date at grade ``at_least`` in ``system`` by ``horizon_day`` (an assumption; empty: without end).

    ``tie`` "reached" or "competing" says what counts when a competing event falls on the day of the grade; a last
    assessment up to ``max_gap_days`` before the horizon counts as followed to it.
    """

    at_least: int
    system: str
    event: str = "acute_gvhd"
    horizon_day: int | None = 100
    tie: str = "reached"
    max_gap_days: int = 14

    def __post_init__(self) -> None:
        if not 1 <= self.at_least <= 4:
            raise ValueError(f"at_least is {self.at_least}; it may be 1 to 4.")
        check_choice("system", self.system, tuple(SYSTEMS))
        check_choice("event", self.event, ("acute_gvhd",))
        check_choice("tie", self.tie, ("reached", "competing"))
        check_at_least("horizon_day", self.horizon_day, 1)
        check_at_least("max_gap_days", self.max_gap_days, 0)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Rule:
        """Read the parameters of an endpoint of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="first_grade")

    @property
    def verified(self) -> bool:
        return SYSTEMS[self.system].verified


def adjudicate(
    rule: Rule,
    assessments: Iterable[Assessment],
    competing: Iterable[CompetingEvent] = (),
    *,
    as_of_day: int | None,
    last_assessment_day: int | None = None,
) -> Outcome:
    """Decide when one participant first reached the grade.

    Parameters
    ----------
    assessments : organ stages by study day, in any order; those before the anchor never count
    competing : death, and relapse or graft failure where the definition names them
    as_of_day : the study day on which the question is asked; None while the anchor is unknown
    last_assessment_day : a later day on which acute GVHD was asked for and absent

    >>> stages = [Assessment.on(21, OrganStages.of(2, 0, 0, 0)), Assessment.on(28, OrganStages.of(2, 0, 1, 0))]
    >>> adjudicate(Rule(at_least=2, system="magic"), stages, as_of_day=200).event_day
    28
    """
    system = SYSTEMS[rule.system]
    graded = []
    for each in assessments:
        found = grade(system, each.stages, histology=each.histology)
        graded.append(Graded(each.earliest_day, each.latest_day, found.limits, each.row, found.sentence))
    label = f"grade {GRADE_NAMES[rule.at_least]}" + ("" if rule.at_least == 4 else " or more")
    question = first_grade.Question(
        rule.at_least, label, lambda g: f"grade {GRADE_NAMES[g]}", rule.horizon_day, rule.tie, rule.max_gap_days,
        system.verified,
    )  # fmt: skip
    return first_grade.adjudicate(
        question, graded, list(competing), as_of_day=as_of_day, last_assessment_day=last_assessment_day
    )
