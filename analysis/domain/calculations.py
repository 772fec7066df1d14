"""Items that are computed from what stands beside them in a form: grades, risk and severity from organ stages."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from analysis.domain.acute_gvhd import SYSTEMS, GradingSystem, OrganStages, grade
from analysis.domain.bounds import Bounds, higher, stage
from analysis.domain.chronic_gvhd import ORGANS, SEVERITIES, OrganScores, severity
from analysis.domain.minnesota_risk import risk
from trials.domain.calculations import Calculated, Calculation
from trials.domain.conditions import Value
from trials.domain.language import MethodSpec
from trials.domain.observations import NO, YES

_STAGES = ("skin", "liver", "upper_gi", "lower_gi")
Arguments = Mapping[str, Value]


def _whole(given: Arguments, name: str) -> int | None:
    value = given.get(name)
    return None if value is None else int(Decimal(str(value)))


def _stages(given: Arguments) -> OrganStages:
    return OrganStages.of(*(_whole(given, organ) for organ in _STAGES))


def _graded(system: GradingSystem, given: Arguments) -> Calculated:
    histology = {YES: True, NO: False}.get(str(given.get("histology")))
    found = grade(system, _stages(given), histology=histology)
    return Calculated(Decimal(found.limits.low) if found.limits.is_known else None, found.sentence)


def agvhd_magic(given: Arguments) -> Calculated:
    """The MAGIC grade, 0 to 4.

    >>> agvhd_magic({"skin": 2, "liver": 0, "upper_gi": 0, "lower_gi": 2}).value
    Decimal('3')
    """
    return _graded(SYSTEMS["magic"], given)


def agvhd_glucksberg_1994(given: Arguments) -> Calculated:
    """The consensus grade of 1994, 0 to 4; ``histology`` says whether the gut was confirmed by biopsy."""
    return _graded(SYSTEMS["glucksberg_1994"], given)


def agvhd_gut(given: Arguments) -> Calculated:
    """Whether the gut is involved, upper or lower; one stage above 0 is enough to know it.

    >>> agvhd_gut({"upper_gi": 1, "lower_gi": None}).value, agvhd_gut({"upper_gi": 0, "lower_gi": None}).value
    ('Y', None)
    """
    stages = _stages(given)
    gut: Bounds = higher(stages.upper_gi, stages.lower_gi)
    if gut.low > 0:
        return Calculated(YES, "A gut stage above 0.")
    return Calculated(NO, "Both gut stages 0.") if gut.high == 0 else Calculated(None, "A gut stage is not known.")


def minnesota_refined(given: Arguments) -> Calculated:
    """The refined Minnesota risk: none, standard or high.

    >>> minnesota_refined({"skin": 1, "liver": 1, "upper_gi": 0, "lower_gi": 1}).value
    'high'
    """
    found = risk(_stages(given))
    return Calculated(found.risk.value if found.risk is not None else None, found.sentence)


def cgvhd_nih_2014(given: Arguments) -> Calculated:
    """The NIH severity of 2014: none, mild, moderate or severe; an organ that was not scored is not a 0.

    >>> cgvhd_nih_2014({"lungs": 2}).value
    'severe'
    """
    found = severity(OrganScores({organ: stage(organ, _whole(given, organ), 3) for organ in ORGANS}))
    return Calculated(SEVERITIES[found.limits.low] if found.limits.is_known else None, found.sentence)


_ALL_STAGES = MethodSpec(required=frozenset(_STAGES))
CALCULATIONS: Mapping[str, Calculation] = {
    "agvhd_magic": Calculation("grade of acute GVHD (MAGIC) from the organ stages", _ALL_STAGES, agvhd_magic),
    "agvhd_glucksberg_1994": Calculation(
        "grade of acute GVHD (modified Glucksberg, 1994) from the organ stages",
        MethodSpec(required=frozenset(_STAGES), optional=frozenset({"histology"})),
        agvhd_glucksberg_1994,
    ),
    "agvhd_gut": Calculation(
        "whether acute GVHD involves the gut", MethodSpec(required=frozenset({"upper_gi", "lower_gi"})), agvhd_gut
    ),
    "minnesota_refined": Calculation(
        "refined Minnesota risk of acute GVHD from the organ stages", _ALL_STAGES, minnesota_refined
    ),
    "cgvhd_nih_2014": Calculation(
        "severity of chronic GVHD (NIH 2014) from the organ scores",
        MethodSpec(required=frozenset(ORGANS) - {"genital"}, optional=frozenset({"genital"})),
        cgvhd_nih_2014,
    ),
}
