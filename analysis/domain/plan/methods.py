"""The methods of an analysis by the name that a definition gives them, and the run of a whole plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from analysis.domain.plan import (
    cost,
    courses,
    description,
    kinds,
    matched,
    regression,
    responders,
    shares,
    times,
)
from analysis.domain.plan.material import CannotCompute, Material
from analysis.domain.plan.results import DRAWN, Result
from trials.domain.definition import AnalysisSpec
from trials.domain.language import MethodSpec

#: Changed when any method answers otherwise on the same data. 2: at an earlier cut, who is evaluable is what was
#: recorded by then. 3: curves of survival keep where follow-up ends; figures of people.
METHOD_VERSION = "3"

#: The figures that an analysis may ask for.
FIGURES: Mapping[str, MethodSpec] = {"curves": MethodSpec(), "forest": MethodSpec(), "balance": MethodSpec()} | {
    name: MethodSpec() for name in DRAWN
}


@dataclass(frozen=True)
class Method:
    """A function of the plan, what the definition tells it, and the choices of each parameter (empty: any value)."""

    compute: Callable[[Material, AnalysisSpec], Result]
    words: str
    needs: frozenset[str]
    choices: Mapping[str, tuple[str, ...]]
    required: frozenset[str] = frozenset()

    @property
    def spec(self) -> MethodSpec:
        return MethodSpec(self.required, frozenset(self.choices) - self.required, self.needs)


def _needs(*names: str) -> frozenset[str]:
    return frozenset({"analysis_sets", *names})


#: How those count whose endpoint was not observed enough to be known.
_INSUFFICIENT = ("not_counted", "not_reached")
_CONF = ("plain", "log", "log-log", "arcsin", "logit")

METHODS: Mapping[str, Method] = {
    "proportion": Method(
        shares.proportion, "Share that reached each endpoint, with an interval.", _needs("endpoints"),
        {"interval": tuple(shares.INTERVALS), "insufficient": _INSUFFICIENT},
    ),
    "two_stage": Method(
        shares.two_stage, "Inference after a two-stage design at the number really evaluated.", _needs("endpoints"),
        {"stage_set": (), "inference": ("stagewise_exact", "koyama_chen"), "insufficient": _INSUFFICIENT},
        frozenset({"stage_set"}),
    ),
    "compare_proportions": Method(
        shares.compare_proportions, "Shares of groups side by side, with a test.", _needs("endpoints", "by"),
        {"interval": tuple(shares.INTERVALS), "test": shares.TESTS, "insufficient": _INSUFFICIENT},
    ),
    "survival": Method(
        times.survival, "Kaplan-Meier curves with numbers at risk; log-rank test.", _needs("endpoints"), {"conf": _CONF}
    ),
    "cumulative_incidence": Method(
        times.incidence, "Aalen-Johansen curves with numbers at risk; Gray's test.", _needs("endpoints"),
        {"variance": ("gray", "greenwood"), "conf": ("plain", "log", "log-log", "cloglog")},
    ),
    "regression": Method(
        regression.regression, "Univariable and multivariable table of Cox, Fine-Gray or logistic models.",
        _needs("endpoints"), {"model": tuple(regression.METHOD_WORDS)}, frozenset({"model"}),
    ),
    "responder_effect": Method(
        responders.responder_effect,
        "The first endpoint as predictor of the others: time-dependent covariate, landmark, and naive beside them.",
        _needs("endpoints"), {"landmark_day": ()}, frozenset({"landmark_day"}),
    ),
    "propensity_matching": Method(
        matched.matching,
        "Nearest-neighbour matching on the propensity score, balance, and the endpoints among the matched.",
        _needs("by", "predictors"),
        {
            "ratio": (), "caliper": (), "caliper_unit": ("sd", "score"), "order": ("largest", "smallest", "data"),
            "outcome": matched.OUTCOMES, "test": shares.TESTS, "insufficient": _INSUFFICIENT,
        },
    ),
    "baseline_table": Method(
        description.baseline_table, "Table 1: who the people of each group are.", _needs("predictors"),
        {
            "summary": description.SUMMARIES, "continuous": description.CONTINUOUS_TESTS,
            "categorical": description.CATEGORICAL_TESTS,
        },
    ),
    "follow_up": Method(
        times.follow_up, "How long people were followed: plain median and reverse Kaplan-Meier.", _needs("endpoints"),
        {},
    ),
    courses.RESPONSES: Method(
        courses.response_course,
        "Everybody's response on each day, the dead and those not assessed among them; the days stand in `days`.",
        _needs("endpoints"), {},
    ),
    courses.VALUES: Method(
        courses.values_by_day,
        "The values of an endpoint's item by day, in quartiles, and how they changed until the endpoint's day.",
        _needs("endpoints"), {},
    ),
    "kinds": Method(
        kinds.kinds, "How many had each kind of what an endpoint counts by rows, any, and more than one.",
        _needs("endpoints"), {"test": shares.TESTS},
    ),
    "cost_per_responder": Method(
        cost.cost_per_responder, "Price times median number of doses of the responders, over the share that responded.",
        _needs("endpoints"), {"price": (), "doses": ()}, frozenset({"price", "doses"}),
    ),
    "adverse_events": Method(
        description.adverse_event_table, "Adverse events by heading and term, in events and in participants.",
        _needs(), {},
    ),
}  # fmt: skip


def known() -> dict[str, MethodSpec]:
    """The methods as the reader of definitions checks them."""
    return {name: method.spec for name, method in METHODS.items()}


def compute(material: Material, spec: AnalysisSpec) -> Result:
    """The result of one analysis. What the data do not allow is a result that says why, never an error."""
    method = METHODS[spec.method]
    for name, choices in method.choices.items():
        if choices and name in spec.parameters and str(spec.parameters[name]) not in choices:
            return Result(
                spec.id, spec.label, method.words,
                refused=f"{name}: {spec.parameters[name]} is not known; the choices are {', '.join(choices)}.",
            )  # fmt: skip
    try:
        return method.compute(material, spec)
    except CannotCompute as refused:
        return Result(spec.id, spec.label, method.words, refused=str(refused))
    except ValueError as refused:
        return Result(spec.id, spec.label, method.words, refused=f"The method refuses these data: {refused}.")


def compute_plan(material: Material) -> tuple[Result, ...]:
    """Every analysis of the definition, in its order; a law that does not hold is a warning of its result."""
    found = []
    for spec in material.protocol.analyses:
        result = compute(material, spec)
        if broken := result.broken_laws:
            said = tuple(f"Does not hold: {law.name} ({law.detail})." for law in broken)
            result = replace(result, warnings=(*result.warnings, *said))
        found.append(result)
    return tuple(found)
