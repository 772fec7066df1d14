"""Methods of a trial with a two-stage design: flow, endpoint, survival, doses, adverse events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from analysis.domain.competing_risks import cumulative_incidence, gray_test
from analysis.domain.proportions import fisher_exact, proportion_ci
from analysis.domain.reconciliation.frame import Case, Facts, half_up, percent, two_digits, where
from analysis.domain.simon import inference, operating_characteristics
from analysis.domain.survival import kaplan_meier, log_rank


def _size(facts: Facts, given: Mapping[str, Any]) -> str:
    return str(len(facts.of(given["set"])))


def _failures(facts: Facts, given: Mapping[str, Any]) -> str:
    words = given["containing"].lower()
    return str(sum(words in case.failure_reason.lower() for case in facts.cases if case.failure_reason))


def _removed(facts: Facts, given: Mapping[str, Any]) -> str:
    return str(sum(case.removed_by == given["rule"] for case in facts.cases))


def _events_before(facts: Facts, given: Mapping[str, Any]) -> str:
    """Members whose first competing event is of the kind and before the day."""
    day = given["day"]
    firsts = []
    for case in facts.of(given["set"]):
        early = {kind: at for kind, at in case.events.items() if kind in given["competing"] and at < day}
        if early:
            firsts.append(min(early, key=lambda kind: early[kind]))
    return str(Counter(firsts)[given["kind"]])


def _of_gate(facts: Facts, given: Mapping[str, Any]) -> str:
    responders, evaluable = facts.gates.get(given["stage"], (0, 0))
    return f"{responders} of {evaluable}"


def _reached(facts: Facts, given: Mapping[str, Any]) -> str:
    members = where(facts.of(given["set"]), given)
    return f"{sum(case.status == 'reached' for case in members)} of {len(members)}"


def _met_rule(facts: Facts, given: Mapping[str, Any]) -> str:
    """Who meets the measurements' rule, whatever else happened before."""
    members = facts.of(given["set"])
    return f"{sum(case.met_rule for case in members)} of {len(members)}"


def _reached_interval(facts: Facts, given: Mapping[str, Any]) -> str:
    members = facts.of(given["set"])
    reached = sum(case.status == "reached" for case in members)
    lower, upper = proportion_ci(reached, len(members), method=given.get("interval", "clopper_pearson"))
    decimals = given.get("decimals", 1)
    return f"{half_up(100 * lower, decimals)}-{half_up(100 * upper, decimals)}"


def _competing_times(cases: Sequence[Case], last_day: int) -> tuple[list[float], list[int]]:
    """Days and causes: 1 the endpoint, 2 a competing event, 0 neither by the last day or the last measurement."""
    times: list[float] = []
    causes: list[int] = []
    for case in cases:
        if case.status == "reached" and case.event_day is not None:
            times.append(case.event_day)
            causes.append(1)
        elif case.status == "competing" and case.competing_day is not None:
            times.append(case.competing_day)
            causes.append(2)
        else:
            times.append(min(case.censored_day if case.censored_day is not None else last_day, last_day))
            causes.append(0)
    return times, causes


def _incidence(facts: Facts, given: Mapping[str, Any]) -> str:
    """Cumulative incidence of the endpoint at the last day: Aalen-Johansen, Gray's variance, log(-log F) limits."""
    times, causes = _competing_times(where(facts.of(given["set"]), given), facts.last_day)
    at = cumulative_incidence(times, causes, conf="log-log").at(facts.last_day)
    return percent(float(at.estimate), float(at.lower), float(at.upper))


def _one_minus_km(facts: Facts, given: Mapping[str, Any]) -> str:
    """1 - Kaplan-Meier with the limits of the log scale: only where the set has no competing event by definition."""
    times, causes = _competing_times(where(facts.of(given["set"]), given), facts.last_day)
    at = kaplan_meier(times, [int(cause == 1) for cause in causes], conf="log").at(facts.last_day)
    return percent(1 - float(at.estimate), 1 - float(at.upper), 1 - float(at.lower))


def _gray(facts: Facts, given: Mapping[str, Any]) -> str:
    times: list[float] = []
    causes: list[int] = []
    groups: list[str] = []
    for name in given["sets"]:
        t, c = _competing_times(facts.of(name), facts.last_day)
        times, causes, groups = times + t, causes + c, groups + [name] * len(t)
    return two_digits(gray_test(times, causes, groups).p_value)


def _median_day(facts: Facts, given: Mapping[str, Any]) -> str:
    times, causes = _competing_times(facts.of(given["set"]), facts.last_day)
    median = kaplan_meier(times, [int(cause == 1) for cause in causes]).quantile(0.5).estimate.item()
    return "not reached" if np.isnan(median) else half_up(median)


def _survival_times(cases: Sequence[Case], kinds: Sequence[str]) -> tuple[list[float], list[int]]:
    times: list[float] = []
    happened: list[int] = []
    for case in cases:
        days = [case.events[kind] for kind in kinds if kind in case.events]
        if days:
            times.append(min(days))
            happened.append(1)
        elif case.followed_to_day is not None:
            times.append(case.followed_to_day)
            happened.append(0)
    return times, happened


def _survival(facts: Facts, given: Mapping[str, Any]) -> str:
    times, happened = _survival_times(where(facts.of(given["set"]), given), given["kinds"])
    at = kaplan_meier(times, happened, conf="log").at(given["years"] * 365.25)
    return percent(float(at.estimate), float(at.lower), float(at.upper))


def _survival_p(facts: Facts, given: Mapping[str, Any]) -> str:
    times: list[float] = []
    happened: list[int] = []
    groups: list[str] = []
    for name in given["sets"]:
        t, h = _survival_times(where(facts.of(name), given), given["kinds"])
        times, happened, groups = times + t, happened + h, groups + [name] * len(t)
    return two_digits(log_rank(times, happened, groups).p_value)


def _with_event(facts: Facts, given: Mapping[str, Any]) -> str:
    members = facts.of(given["set"])
    return f"{sum(given['kind'] in case.events for case in members)} of {len(members)}"


def _with_value(facts: Facts, given: Mapping[str, Any]) -> str:
    members = facts.of(given["set"])
    n = len(where(members, given))
    return f"{n} ({half_up(100 * n / len(members))}%)" if members else "0"


def _value_p(facts: Facts, given: Mapping[str, Any]) -> str:
    """Fisher's exact test of one item between two sets; answers that are not known are left out."""
    item, unknown = given["item"], given.get("unknown", ["unknown", ""])
    columns = [Counter(case.values.get(item, "") for case in facts.of(name)) for name in given["sets"]]
    values = sorted({value for column in columns for value in column if value not in unknown})
    return two_digits(fisher_exact([[column[value] for column in columns] for value in values]).p_value)


def _dose(facts: Facts, given: Mapping[str, Any]) -> str:
    """Median (quartiles, R's type 7) of the cumulative dose given, mg/kg."""
    doses = [float(c.given_mg_per_kg) for c in where(facts.of(given["set"]), given) if c.given_mg_per_kg is not None]
    if not doses:
        raise ValueError("no dose is recorded")
    q1, median, q3 = np.quantile(doses, [0.25, 0.5, 0.75])
    return f"{half_up(median, 1)} ({half_up(q1, 1)}-{half_up(q3, 1)})"


def _dose_range(facts: Facts, given: Mapping[str, Any]) -> str:
    doses = [float(c.given_mg_per_kg) for c in facts.of(given["set"]) if c.given_mg_per_kg is not None]
    if not doses:
        raise ValueError("no dose is recorded")
    return f"{half_up(min(doses), 1)}-{half_up(max(doses), 1)}"


def _outside_plan(facts: Facts, given: Mapping[str, Any]) -> str:
    ratios = [case.given_over_planned for case in facts.of(given["set"]) if case.given_over_planned is not None]
    return str(sum(not Decimal("0.90") <= ratio <= Decimal("1.10") for ratio in ratios))


def _adverse_events(facts: Facts, given: Mapping[str, Any]) -> str:
    """Events of grade 3, 4 and 5: of one reported term in one category, of a category, or of all."""
    counted = Counter(
        event.grade
        for event in facts.adverse_events
        if event.category == given.get("category", event.category)
        and event.reported == given.get("reported", event.reported)
    )
    return "/".join(str(counted[grade]) for grade in (3, 4, 5))


def _adverse_event_total(facts: Facts, given: Mapping[str, Any]) -> str:
    grades = given.get("grades", [3, 4, 5])
    category = given.get("category")
    return str(
        sum(event.grade in grades and event.category == (category or event.category) for event in facts.adverse_events)
    )


def _design(facts: Facts, given: Mapping[str, Any]) -> str:
    """Early termination and rejection under the null, and rejection under the alternative, in percent."""
    if facts.design is None or facts.null is None or facts.alternative is None:
        return "no two-stage design"
    null = operating_characteristics(facts.design, facts.null)
    alternative = operating_characteristics(facts.design, facts.alternative)
    return " / ".join(
        half_up(100 * value, 1) + "%" for value in (null.rejection, alternative.rejection, null.early_termination)
    )


def _design_based(facts: Facts, given: Mapping[str, Any]) -> str:
    if facts.design is None or facts.null is None or 1 not in facts.gates:
        return "no two-stage design"
    members = facts.of(given["set"])
    reached = sum(case.status == "reached" for case in members)
    found = inference(
        facts.design, p0=facts.null, responses=reached, stage1_responses=facts.gates[1][0], n=len(members)
    )
    return f"{half_up(100 * found.umvue, 1)}% ({half_up(100 * found.lower, 1)}-{half_up(100 * found.upper, 1)})"


METHODS: Mapping[str, Callable[[Facts, Mapping[str, Any]], str]] = {
    "size": _size,
    "screening_failures": _failures,
    "removed": _removed,
    "events_before": _events_before,
    "gate": _of_gate,
    "reached": _reached,
    "met_rule": _met_rule,
    "reached_interval": _reached_interval,
    "incidence": _incidence,
    "one_minus_kaplan_meier": _one_minus_km,
    "gray_test": _gray,
    "median_day": _median_day,
    "survival": _survival,
    "survival_p": _survival_p,
    "with_event": _with_event,
    "with_value": _with_value,
    "value_p": _value_p,
    "dose": _dose,
    "dose_range": _dose_range,
    "outside_plan": _outside_plan,
    "adverse_events": _adverse_events,
    "adverse_event_total": _adverse_event_total,
    "design": _design,
    "design_based": _design_based,
}
