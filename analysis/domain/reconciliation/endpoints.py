"""Methods on the endpoints of the definition: incidence and ratios by endpoint; quartiles and their tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from analysis.domain.competing_risks import cumulative_incidence, fine_gray, gray_test
from analysis.domain.proportions import fisher_exact
from analysis.domain.reconciliation.frame import Case, Facts, half_up, matches, two_digits, where
from analysis.domain.survival import cox, log_rank
from analysis.domain.time_to_event import DAYS_PER_MONTH, DAYS_PER_YEAR

Given = Mapping[str, Any]
Z = 1.959963984540054


def _members(facts: Facts, given: Given) -> list[Case]:
    """The members of one or several sets, narrowed by ``where``."""
    names = given["sets"] if "sets" in given else [given["set"]]
    return where([case for name in names for case in facts.of(name)], given)


def _timed(facts: Facts, given: Given) -> tuple[list[Case], list[float], list[int]]:
    """The members whose time to ``endpoint`` is known, with days and causes.

    ``to_last_contact``: who had neither the endpoint nor a competing event is free of it until the last contact, though
    the last sample was earlier.
    """
    known = [case for case in _members(facts, given) if given["endpoint"] in case.times]
    times = [case.times[given["endpoint"]] for case in known]
    if given.get("to_last_contact"):
        times = [
            (case.followed_to_day - facts.first_day, 0)
            if cause == 0 and case.followed_to_day is not None
            else (day, cause)
            for case, (day, cause) in zip(known, times, strict=True)
        ]
    return known, [float(day) for day, _ in times], [cause for _, cause in times]


def _short(value: float, decimals: int) -> str:
    """Without the decimals that are zero: 13.0 is printed as 13."""
    text = half_up(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _endpoint_incidence(facts: Facts, given: Given) -> str:
    """Cumulative incidence in percent after ``years``, or at the end of the curve; limits on the log(-log F) scale.

    ``decimals``, and ``limit_decimals`` where the limits are printed with others.
    """
    _, days, causes = _timed(facts, given)
    at = float(given["years"]) * float(DAYS_PER_YEAR) if "years" in given else max(days)
    found = cumulative_incidence(days, causes, conf="log-log").at(at)
    decimals = given.get("decimals", 0)
    limits = given.get("limit_decimals", decimals)
    lower, upper = (_short(100 * float(value), limits) for value in (found.lower, found.upper))
    return f"{_short(100 * float(found.estimate), decimals)}% ({lower}-{upper})"


def _endpoint_ratio(facts: Facts, given: Given) -> str:
    """Hazard ratio of one covariate: ``0.65 (0.36-1.15), p 0.14``.

    ``model`` "fine_gray" (subdistribution) or "cox" (cause-specific); ``p`` "wald", "log_rank" or none. The columns
    are whether a case is what each of ``covariates`` asks for; ``column`` is the one that is printed.
    """
    cases, days, causes = _timed(facts, given)
    column = given.get("column", 0)
    x = [[float(matches(case, spec)) for spec in given["covariates"]] for case in cases]
    reached = [int(cause == 1) for cause in causes]
    model: Any = fine_gray(days, causes, x) if given["model"] == "fine_gray" else cox(days, reached, x)
    b, se = float(model.coef[column]), float(model.std_error[column])
    ratio, lower, upper = (half_up(float(np.exp(value)), 2) for value in (b, b - Z * se, b + Z * se))
    text = f"{ratio} ({lower}-{upper})"
    match given.get("p", "wald"):
        case "wald":
            return f"{text}, p {two_digits(float(model.p_value[column]))}"
        case "log_rank":
            return f"{text}, p {two_digits(log_rank(days, reached, [row[column] for row in x]).p_value)}"
        case _:
            return text


def _endpoint_p(facts: Facts, given: Given) -> str:
    """Gray's test, or (``test: log_rank``) the log-rank test, between those who are and are not what ``by`` asks."""
    cases, days, causes = _timed(facts, given)
    labels = [str(matches(case, given["by"])) for case in cases]
    if given.get("test") == "log_rank":
        return two_digits(log_rank(days, [int(cause == 1) for cause in causes], labels).p_value)
    return two_digits(gray_test(days, causes, labels).p_value)


# Numbers --------------------------------------------------------------------------------------------------------------


def _number(case: Case, given: Given, first_day: int) -> float | None:
    """One number of a case: an item; or ``of``: the dose by weight, the day before the graft, months of follow-up."""
    match given.get("of"):
        case "dose_per_kg":
            weight = case.values.get(given["weight"])
            if case.given_mg_per_kg is not None:
                return float(case.given_mg_per_kg)
            return float(case.given_mg) / float(weight) if case.given_mg is not None and weight else None
        case "days_before":
            return None if case.first_given_day is None else float(-case.first_given_day)
        case "months":
            if "death" in case.events or case.followed_to_day is None:
                return None
            return (case.followed_to_day - first_day) / float(DAYS_PER_MONTH)
        case _:
            text = case.values.get(given["item"], "")
            return float(text) if text else None


def _numbers(facts: Facts, given: Given) -> list[float]:
    decimals = given.get("rounded")
    found = [_number(case, given, facts.first_day) for case in _members(facts, given)]
    return [v if decimals is None else float(half_up(v, decimals)) for v in found if v is not None]


def quartiles(values: Sequence[float], decimals: int) -> str:
    """Median (quartiles, R's type 7).

    >>> quartiles([1, 2, 3, 4, 5], 1)
    '3.0 (2.0-4.0)'
    """
    if not values:
        raise ValueError("no value is recorded")
    low, middle, high = (half_up(float(q), decimals) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return f"{middle} ({low}-{high})"


def _quartiles(facts: Facts, given: Given) -> str:
    return quartiles(_numbers(facts, given), given.get("decimals", 1))


def _numbers_p(facts: Facts, given: Given) -> str:
    """Wilcoxon's rank sum test between two sets, normal with continuity correction as R's with ties."""
    one, other = (_numbers(facts, {**given, "sets": [name]}) for name in given["sets"])
    return two_digits(float(stats.mannwhitneyu(one, other, method="asymptotic").pvalue))


def _reduction(facts: Facts, given: Given) -> str:
    """By how many percent the median and the lowest dose lie below the fixed one: ``13/77``."""
    doses = _numbers(facts, given)
    if not doses:
        raise ValueError("no dose is recorded")
    fixed = float(given["fixed"])
    return "/".join(half_up(100 * (1 - float(dose) / fixed)) for dose in (np.median(doses), min(doses)))


def _categories_p(facts: Facts, given: Given) -> str:
    """Fisher's exact test of categories that several items make; who is in none of them is left out."""
    table = [
        [sum(matches(case, wanted) for case in facts.of(name)) for name in given["sets"]]
        for wanted in given["categories"]
    ]
    return two_digits(fisher_exact(table).p_value)


METHODS: Mapping[str, Callable[[Facts, Given], str]] = {
    "endpoint_incidence": _endpoint_incidence,
    "endpoint_ratio": _endpoint_ratio,
    "endpoint_p": _endpoint_p,
    "quartiles": _quartiles,
    "numbers_p": _numbers_p,
    "reduction": _reduction,
    "categories_p": _categories_p,
}
