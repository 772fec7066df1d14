"""The haematopoietic cell transplantation comorbidity index, HCT-CI.

Sorror ML et al. (2005) Blood 106: 2912-2919, as printed in the EBMT Handbook, 8th ed. (2024), chapter 11, table 11.5,
whose misprints are corrected. Obesity in children, the severe pulmonary and the severe hepatic tier are not confirmed
against the paper and are named in the result where they decide points. What was not recorded leaves the score between
limits; it is not 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from analysis.domain.bounds import Bounds
from analysis.domain.rule_parameters import check_at_least, check_choice, read

METHOD_VERSION = "1"

#: Item: points. Hepatic and pulmonary comorbidity have tiers, of which the highest counts.
YES_NO_ITEMS: Mapping[str, int] = {
    "arrhythmia": 1,
    "cardiac": 1,
    "inflammatory_bowel_disease": 1,
    "diabetes": 1,
    "cerebrovascular": 1,
    "psychiatric": 1,
    "obesity": 1,
    "infection": 1,
    "rheumatological": 2,
    "peptic_ulcer": 2,
    "renal": 2,
    "prior_tumour": 3,
    "heart_valve": 3,
}
HEPATIC_POINTS = {"none": 0, "mild": 1, "severe": 3}
PULMONARY_POINTS = {"none": 0, "moderate": 2, "severe": 3}
TIERED_ITEMS: Mapping[str, Mapping[str, int]] = {"hepatic": HEPATIC_POINTS, "pulmonary": PULMONARY_POINTS}
UNCONFIRMED_TIERS = frozenset({("hepatic", "severe"), ("pulmonary", "severe")})

CREATININE_LIMIT_UMOL_PER_L = Decimal("176.8")
ADULT_FROM_YEARS = 18
AGE_POINT_FROM_YEARS = 40


class RiskGroup(StrEnum):
    LOW = "low"
    INTERMEDIATE = "intermediate"
    HIGH = "high"


def risk_group(score: int) -> RiskGroup:
    """0 low, 1-2 intermediate, 3 and above high (Sorror 2005). ValueError below 0.

    >>> [risk_group(score).value for score in (0, 2, 3)]
    ['low', 'intermediate', 'high']
    """
    check_at_least("score", score, 0)
    if score == 0:
        return RiskGroup.LOW
    return RiskGroup.INTERMEDIATE if score <= 2 else RiskGroup.HIGH


# Items from what was measured -----------------------------------------------------------------------------------------


def any_of(*answers: bool | None) -> bool | None:
    """Yes as soon as one is yes; otherwise not known while one is not known.

    >>> any_of(False, None), any_of(None, True)
    (None, True)
    """
    if any(answer is True for answer in answers):
        return True
    return None if any(answer is None for answer in answers) else False


def cardiac(
    *,
    coronary_disease: bool | None,
    heart_failure: bool | None,
    infarction: bool | None,
    ejection_fraction_percent: Decimal | None,
) -> bool | None:
    """Coronary disease, heart failure, infarction, or an ejection fraction of 50 % or less."""
    low = None if ejection_fraction_percent is None else ejection_fraction_percent <= 50
    return any_of(coronary_disease, heart_failure, infarction, low)


def renal(
    *, creatinine_umol_per_l: Decimal | None, dialysis: bool | None, renal_transplant: bool | None
) -> bool | None:
    """Persistent creatinine above 2 mg/dL (176.8 umol/L), dialysis, or a renal transplant."""
    high = None if creatinine_umol_per_l is None else creatinine_umol_per_l > CREATININE_LIMIT_UMOL_PER_L
    return any_of(high, dialysis, renal_transplant)


def obesity(*, age_years: int | None, bmi_kg_per_m2: Decimal | None, bmi_centile: Decimal | None) -> bool | None:
    """A BMI above 35; under 18 years (assumed) a BMI at or above the 95th centile, which is not confirmed."""
    if age_years is None:
        return None
    if age_years >= ADULT_FROM_YEARS:
        return None if bmi_kg_per_m2 is None else bmi_kg_per_m2 > 35
    return None if bmi_centile is None else bmi_centile >= 95


def hepatic_tiers(
    *,
    chronic_hepatitis: bool | None,
    cirrhosis: bool | None,
    bilirubin_over_uln: Decimal | None,
    ast_over_uln: Decimal | None,
    alt_over_uln: Decimal | None,
) -> frozenset[str]:
    """The hepatic tiers that the findings allow; values as multiples of the upper limit of normal.

    Mild: chronic hepatitis, bilirubin above 1 to 1.5, AST or ALT above 1 to 2.5. Severe: cirrhosis, or above these.

    >>> known = {"chronic_hepatitis": False, "cirrhosis": False, "bilirubin_over_uln": Decimal("1.5")}
    >>> sorted(hepatic_tiers(**known, ast_over_uln=Decimal(1), alt_over_uln=Decimal("2.5")))
    ['mild']
    """
    limits = ((bilirubin_over_uln, Decimal("1.5")), (ast_over_uln, Decimal("2.5")), (alt_over_uln, Decimal("2.5")))
    severe = any_of(cirrhosis, *(None if value is None else value > limit for value, limit in limits))
    mild = any_of(chronic_hepatitis, *(None if value is None else value > 1 for value, _ in limits))
    return _tiers(severe, mild, "mild")


def pulmonary_tiers(*, dlco_percent: Decimal | None, fev1_percent: Decimal | None) -> frozenset[str]:
    """The pulmonary tiers that DLCO and FEV1 (% predicted) allow: 65 or less severe, up to 80 moderate.

    >>> sorted(pulmonary_tiers(dlco_percent=Decimal("65.5"), fev1_percent=Decimal(81)))
    ['moderate']
    >>> sorted(pulmonary_tiers(dlco_percent=Decimal(70), fev1_percent=None))
    ['moderate', 'severe']
    """
    values = (dlco_percent, fev1_percent)
    severe = any_of(*(None if value is None else value <= 65 for value in values))
    moderate = any_of(*(None if value is None else value <= 80 for value in values))
    return _tiers(severe, moderate, "moderate")


def _tiers(severe: bool | None, lesser: bool | None, name: str) -> frozenset[str]:
    if severe:
        return frozenset({"severe"})
    tiers = {name} if lesser else {"none"} if lesser is False else {"none", name}
    return frozenset(tiers | ({"severe"} if severe is None else set()))


# The score ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comorbidities:
    """The items of one participant: yes, no or not known (None), and for tiers those that are possible."""

    answers: Mapping[str, bool | None]
    hepatic: frozenset[str] = frozenset(HEPATIC_POINTS)
    pulmonary: frozenset[str] = frozenset(PULMONARY_POINTS)
    age_years: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.answers) - set(YES_NO_ITEMS))
        if unknown:
            raise ValueError(f"{unknown[0]} is no item of the HCT-CI; they are {', '.join(YES_NO_ITEMS)}.")
        for item, tiers in (("hepatic", self.hepatic), ("pulmonary", self.pulmonary)):
            if not tiers or not tiers <= set(TIERED_ITEMS[item]):
                raise ValueError(f"{item} is {sorted(tiers)}; it may hold {', '.join(TIERED_ITEMS[item])}.")


@dataclass(frozen=True)
class Rule:
    """The variant: "hct_ci" (2005), or "hct_ci_age" (2014) with one point more from 40 years of age.

    The cut-offs of the second differ between publications, so that it has a score and no risk group.
    """

    variant: str = "hct_ci"

    def __post_init__(self) -> None:
        check_choice("variant", self.variant, ("hct_ci", "hct_ci_age"))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Rule:
        """Read the parameters of the definition; ValueError names the one that does not fit."""
        return read(cls, parameters, method="comorbidity_index")


@dataclass(frozen=True)
class ComorbidityIndex:
    """The score's limits and possible risk groups, its points by item, and what is missing or not confirmed."""

    variant: str
    score: Bounds
    risks: frozenset[RiskGroup]
    points: Mapping[str, int]
    missing: tuple[str, ...]
    unconfirmed: tuple[str, ...]
    sentence: str

    @property
    def risk(self) -> RiskGroup | None:
        """The risk group where it is known."""
        return next(iter(self.risks)) if len(self.risks) == 1 else None

    @property
    def is_incomplete(self) -> bool:
        return bool(self.missing)

    @property
    def verified(self) -> bool:
        return not self.unconfirmed


def comorbidity_index(rule: Rule, found: Comorbidities) -> ComorbidityIndex:
    """The index of one participant.

    >>> answers = {**dict.fromkeys(YES_NO_ITEMS, False), "diabetes": True, "renal": True}
    >>> none = frozenset({"none"})
    >>> index = comorbidity_index(Rule(), Comorbidities(answers, hepatic=none, pulmonary=none))
    >>> index.score.known, index.risk.value
    (3, 'high')
    """
    possible: dict[str, tuple[int, ...]] = {
        item: _possible(found.answers.get(item), points) for item, points in YES_NO_ITEMS.items()
    }
    possible["hepatic"] = tuple(sorted(HEPATIC_POINTS[tier] for tier in found.hepatic))
    possible["pulmonary"] = tuple(sorted(PULMONARY_POINTS[tier] for tier in found.pulmonary))
    if rule.variant == "hct_ci_age":
        is_older = None if found.age_years is None else found.age_years >= AGE_POINT_FROM_YEARS
        possible["age"] = _possible(is_older, 1)
    score = Bounds(sum(min(points) for points in possible.values()), sum(max(points) for points in possible.values()))
    risks = frozenset(risk_group(total) for total in _totals(possible.values())) if rule.variant == "hct_ci" else None
    missing = tuple(item for item, points in possible.items() if len(points) > 1)
    unconfirmed = [item for item, tier in sorted(UNCONFIRMED_TIERS) if tier in getattr(found, item)]
    if found.answers.get("obesity") and (found.age_years is None or found.age_years < ADULT_FROM_YEARS):
        unconfirmed.append("obesity")
    return ComorbidityIndex(
        rule.variant,
        score,
        risks or frozenset(),
        {item: points[0] for item, points in possible.items() if len(points) == 1 and points[0]},
        missing,
        tuple(unconfirmed),
        _sentence(score, risks, missing),
    )


def _possible(answer: bool | None, points: int) -> tuple[int, ...]:
    if answer is None:
        return (0, points)
    return (points,) if answer else (0,)


def _totals(items: Iterable[tuple[int, ...]]) -> set[int]:
    totals = {0}
    for points in items:
        totals = {total + each for total in totals for each in points}
    return totals


def _sentence(score: Bounds, risks: frozenset[RiskGroup] | None, missing: tuple[str, ...]) -> str:
    number = str(score.low) if score.is_known else f"{score.low} to {score.high}"
    group = "" if not risks else f", risk {' or '.join(risk.value for risk in RiskGroup if risk in risks)}"
    unknown = f"; not known: {', '.join(item.replace('_', ' ') for item in missing)}" if missing else ""
    return f"HCT-CI {number}{group}{unknown}."
