"""Methods of a cohort with external controls: shares, medians, survival, regression, matching, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Any

import numpy as np

from analysis.domain.competing_risks import cumulative_incidence, fine_gray, gray_test
from analysis.domain.logistic import logistic
from analysis.domain.matching import nearest_match, propensity_score
from analysis.domain.proportions import chi_square, proportion_ci
from analysis.domain.reconciliation.frame import Case, Facts, half_up, matches, row_matches, where
from analysis.domain.survival import cox, kaplan_meier, log_rank

Given = Mapping[str, Any]
Z = 1.959963984540054


def three_decimals(p: float) -> str:
    """A p value with three decimals.

    >>> three_decimals(0.0107), three_decimals(0.0004)
    ('0.011', '<0.001')
    """
    return "<0.001" if p < 0.0005 else half_up(p, 3)


def _members(facts: Facts, given: Given) -> list[Case]:
    """``set`` (an analysis set or a group; several as ``sets``), narrowed by ``where``."""
    names = given["sets"] if "sets" in given else [given["set"]]
    return where([case for name in names for case in facts.of(name)], given)


def _count(facts: Facts, given: Given) -> str:
    """How many of the members are so: ``71 (41.3)``, or with ``plain`` the number alone."""
    members = _members(facts, given)
    n = sum(matches(case, given.get("of", {})) for case in members)
    return str(n) if given.get("plain") else f"{n} ({half_up(100 * n / len(members), 1)})"


def _counts(facts: Facts, given: Given) -> str:
    """Several counts beside each other: ``47/38/27``."""
    members = _members(facts, given)
    return "/".join(str(sum(matches(case, of) for case in members)) for of in given["of_each"])


def _share(facts: Facts, given: Given) -> str:
    """A share with Wald's interval in percent; ``rounded`` takes the interval from the printed percentage."""
    members = _members(facts, given)
    if not members:
        raise ValueError("nobody is in the set")
    n, x = len(members), sum(matches(case, given["of"]) for case in members)
    lower, upper = proportion_ci(x, n, method="wald")
    if given.get("rounded"):
        p = float(half_up(100 * x / n, 1)) / 100
        half = Z * float(np.sqrt(p * (1 - p) / n))
        lower, upper = p - half, p + half
    lower, upper = max(0.0, lower), min(1.0, upper)  # as printed: no share is above 100%
    return f"{half_up(100 * x / n, 1)} ({half_up(100 * lower, 1)}-{half_up(100 * upper, 1)})"


def _fraction(facts: Facts, given: Given) -> str:
    members = _members(facts, given)
    return f"{sum(matches(case, given['of']) for case in members)}/{len(members)}"


def _sum_of_rounded(facts: Facts, given: Given) -> str:
    """Two shares of the same members, each rounded and then added: how some percentages came to be printed."""
    members = _members(facts, given)
    shares = [half_up(100 * sum(matches(c, of) for c in members) / len(members), 1) for of in given["of_each"]]
    return half_up(sum(float(share) for share in shares), 1)


def _table(facts: Facts, given: Given) -> list[list[int]]:
    """One row a group: with and without what ``of`` asks."""
    table = []
    for group in given["groups"]:
        members = _members(facts, group)
        x = sum(matches(case, given["of"]) for case in members)
        table.append([x, len(members) - x])
    return table


def _share_p(facts: Facts, given: Given) -> str:
    return three_decimals(chi_square(_table(facts, given)).p_value)


def _shares_p(facts: Facts, given: Given) -> str:
    """``30.2 vs 14.5, p 0.015``."""
    table = _table(facts, given)
    shares = " vs ".join(half_up(100 * x / (x + rest), 1) for x, rest in table)
    return f"{shares}, p {three_decimals(chi_square(table).p_value)}"


def _several(facts: Facts, given: Given) -> list[bool]:
    """Whether each member has rows in ``at_least`` of the categories; one may stand in several."""
    return [
        sum(any(row_matches(row, each) for row in case.rows.get(given["form"], ())) for each in given["categories"])
        >= given["at_least"]
        for case in _members(facts, given)
    ]


def _in_several(facts: Facts, given: Given) -> str:
    found = _several(facts, given)
    return f"{sum(found)} ({half_up(100 * sum(found) / len(found), 1)})"


def _in_several_p(facts: Facts, given: Given) -> str:
    table = []
    for group in given["groups"]:
        found = _several(facts, {**given, **group})
        table.append([sum(found), len(found) - sum(found)])
    shares = " vs ".join(half_up(100 * x / (x + rest), 1) for x, rest in table)
    return f"{shares}, p {three_decimals(chi_square(table).p_value)}"


# Numbers --------------------------------------------------------------------------------------------------------------


def _plain(value: float) -> str:
    return f"{value:g}"


def _range(values: Sequence[float]) -> str:
    if not values:
        raise ValueError("no value is recorded")
    return f"{_plain(median(values))} ({_plain(min(values))}-{_plain(max(values))})"


def _median(facts: Facts, given: Given) -> str:
    """Median (range) of a number."""
    known = [case.values[given["item"]] for case in _members(facts, given) if case.values.get(given["item"])]
    return _range([float(text) for text in known])


def _median_days(facts: Facts, given: Given) -> str:
    """Median (range) of the days from one date to another; ``to: end`` is the last day of follow-up."""
    members = _members(facts, given)
    if given.get("to") == "end":
        ends = [end for case in members if (end := _end(case)) is not None]
        return _range([float(end - facts.first_day) for end in ends])
    if "event" in given:
        return _range([c.events[given["event"]] - facts.first_day for c in members if given["event"] in c.events])
    found = [(c.values.get(given["from"], ""), c.values.get(given["to"], "")) for c in members]
    return _range([(date.fromisoformat(end) - date.fromisoformat(start)).days for start, end in found if start and end])


def _rows_in_all(facts: Facts, given: Given) -> str:
    return str(sum(len(case.rows.get(given["form"], ())) for case in _members(facts, given)))


def _median_rows(facts: Facts, given: Given) -> str:
    """Median (range) of the number of rows a member has."""
    return _range([len(case.rows.get(given["form"], ())) for case in _members(facts, given)])


def _of_day(case: Case, given: Given, day: int) -> float | None:
    for row in case.rows.get(given["form"], ()):
        if row.get("DAY") == str(day) and row.get(given["item"]):
            return float(row[given["item"]])
    return None


def _medians_by_day(facts: Facts, given: Given) -> str:
    members = _members(facts, given)
    columns = [[v for case in members if (v := _of_day(case, given, day)) is not None] for day in given["days"]]
    return "/".join(_plain(median(column)) if column else "-" for column in columns)


def _reduced(facts: Facts, given: Given) -> str:
    """Whose value on the second day is at most the given share of that of the first, among those with both."""
    first, last = given["days"]
    pairs = [(_of_day(case, given, first), _of_day(case, given, last)) for case in _members(facts, given)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    x = sum(b <= given["to_at_most"] * a for a, b in known)
    return f"{x}/{len(known)} ({half_up(100 * x / len(known), 1)})"


# Over time ------------------------------------------------------------------------------------------------------------


def _end(case: Case) -> int | None:
    return case.events.get("death", case.followed_to_day)


def times(cases: Sequence[Case], given: Given, first_day: int) -> tuple[list[float], list[int]]:
    """Days from the anchor, and causes: 1 one of ``events``, 2 one of ``competing``, 0 the end of follow-up.

    On one day relapse comes before death, and chronic GVHD after both.
    """
    order = ("relapse", "death")
    clock: list[float] = []
    causes: list[int] = []
    for case in cases:
        own = [
            (case.events[kind], order.index(kind) if kind in order else len(order), cause)
            for cause, name in ((1, "events"), (2, "competing"))
            for kind in given.get(name, ())
            if kind in case.events
        ]
        end = _end(case)
        if own:
            day, _, cause = min(own)
            clock.append(max(day - first_day, 0))
            causes.append(cause)
        elif end is not None:
            clock.append(max(end - first_day, 0))
            causes.append(0)
    return clock, causes


def _grouped(facts: Facts, given: Given) -> tuple[list[float], list[int], list[str]]:
    clock: list[float] = []
    causes: list[int] = []
    labels: list[str] = []
    for number, group in enumerate(given["groups"]):
        t, c = times(_members(facts, group), given, facts.first_day)
        clock, causes, labels = clock + t, causes + c, labels + [str(number)] * len(t)
    return clock, causes, labels


def _with_limits(at: Any) -> str:
    estimate, lower, upper = (half_up(100 * float(value), 1) for value in (at.estimate, at.lower, at.upper))
    return f"{estimate} ({lower}-{upper})"


def _alive(facts: Facts, given: Given) -> str:
    clock, causes = times(_members(facts, given), given, facts.first_day)
    at = kaplan_meier(clock, [int(c == 1) for c in causes], conf=given.get("conf", "log")).at(given["days"])
    return _with_limits(at)


def _alive_p(facts: Facts, given: Given) -> str:
    clock, causes, labels = _grouped(facts, given)
    return three_decimals(log_rank(clock, [int(c == 1) for c in causes], labels).p_value)


def _alive_vs(facts: Facts, given: Given) -> str:
    shares = []
    for group in given["groups"]:
        clock, causes = times(_members(facts, group), given, facts.first_day)
        at = kaplan_meier(clock, [int(c == 1) for c in causes]).at(given["days"])
        shares.append(half_up(100 * float(at.estimate), 1))
    return f"{' vs '.join(shares)}, p {_alive_p(facts, given)}"


def _cumulative(facts: Facts, given: Given) -> str:
    clock, causes = times(_members(facts, given), given, facts.first_day)
    at = cumulative_incidence(clock, causes, conf=given.get("conf", "plain")).at(given["days"])
    return _with_limits(at)


def _cumulative_p(facts: Facts, given: Given) -> str:
    clock, causes, labels = _grouped(facts, given)
    return three_decimals(gray_test(clock, causes, labels).p_value)


def _cumulative_vs(facts: Facts, given: Given) -> str:
    shares = []
    for group in given["groups"]:
        clock, causes = times(_members(facts, group), given, facts.first_day)
        shares.append(half_up(100 * float(cumulative_incidence(clock, causes).at(given["days"]).estimate), 1))
    return f"{' vs '.join(shares)}, p {_cumulative_p(facts, given)}"


# Regression and matching ----------------------------------------------------------------------------------------------


def _covariates(cases: Sequence[Case], specs: Sequence[Any]) -> list[list[float]]:
    """A column a covariate: an item's number, or whether a case is what is asked for."""
    return [
        [float(c.values[spec]) if isinstance(spec, str) else float(matches(c, spec)) for spec in specs] for c in cases
    ]


def _ratio(facts: Facts, given: Given) -> str:
    """Hazard or odds ratio of one covariate: ``2.52 (1.39-4.54), p 0.002``."""
    members, column = _members(facts, given), given.get("column", 0)
    x = _covariates(members, given["covariates"])
    if given["model"] == "logistic":
        fit = logistic([int(matches(case, given["of"])) for case in members], x)
        b, se, p = float(fit.coef[column]), float(fit.std_error[column]), float(fit.p_value[column])
    else:
        clock, causes = times(members, given, facts.first_day)
        model: Any = (
            fine_gray(clock, causes, x)
            if given["model"] == "fine_gray"
            else cox(clock, [int(cause == 1) for cause in causes], x)
        )
        b, se = float(model.coef[column]), float(model.std_error[column])
        p = float(model.p_value[column])
    ratio, lower, upper = (half_up(float(np.exp(value)), 2) for value in (b, b - Z * se, b + Z * se))
    return f"{ratio} ({lower}-{upper}), p {three_decimals(p)}"


def _matched(facts: Facts, given: Given) -> tuple[list[Case], list[Case]]:
    """The treated and their matched controls: greedy nearest neighbours on the score, in ``ratio`` rounds."""
    treated = sorted(_members(facts, given["treated"]), key=lambda case: case.number)
    controls = sorted(_members(facts, given["controls"]), key=lambda case: case.number)
    cases = [*treated, *controls]
    indicator = [1] * len(treated) + [0] * len(controls)
    score = np.round(propensity_score(indicator, _covariates(cases, given["covariates"])), 7)
    found = nearest_match(score, indicator, ratio=given["ratio"], caliper=given["caliper"], caliper_unit="score")
    return [cases[row] for row, _ in found.pairs], [cases[row] for _, rows in found.pairs for row in rows]


def _matched_numbers(facts: Facts, given: Given) -> str:
    treated, controls = _matched(facts, given)
    return f"{len(treated)} / {len(controls)}"


def _matched_share(facts: Facts, given: Given) -> str:
    """Share of the matched controls with Wald's interval, and the test against the treated."""
    treated, controls = _matched(facts, given)
    a, b = (sum(matches(case, given["of"]) for case in group) for group in (treated, controls))
    lower, upper = proportion_ci(b, len(controls), method="wald")
    p = chi_square([[a, len(treated) - a], [b, len(controls) - b]]).p_value
    share = half_up(100 * b / len(controls), 1)
    if given.get("short"):
        return f"{share}, p {three_decimals(p)}"
    return f"{share} ({half_up(100 * lower, 1)}-{half_up(100 * upper, 1)}), p {three_decimals(p)}"


# Cost -----------------------------------------------------------------------------------------------------------------


def _cost_per_responder(facts: Facts, given: Given) -> str:
    """Price times the median number of doses of the responders, over the share that responded: an average cost.

    Price and number come from the rows of ``form``, or are given where the data have none of a group. ``rounded``
    divides by the percentage as it is printed.
    """
    members = _members(facts, given)
    responders = [case for case in members if matches(case, given["of"])]
    if not responders:
        raise ValueError("nobody responded")
    if "form" in given:
        rows = [row for case in responders for row in case.rows.get(given["form"], ())]
        prices = {row["UNIT_PRICE"] for row in rows if row.get("UNIT_PRICE")}
        if len(prices) != 1:
            raise ValueError(f"one price is needed, and there are {len(prices)}")
        price, number = float(prices.pop()), float(median(float(row["DOSES"]) for row in rows if row.get("DOSES")))
    else:
        price, number = float(given["price"]), float(given["number"])
    share = len(responders) / len(members)
    if given.get("rounded"):
        share = float(half_up(100 * share, 1)) / 100
    return f"{round(price * number / share):,}"


# Two readers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Discrepancy:
    """One item that two readers took differently from one record."""

    number: str
    item: str
    first: str
    second: str


def discrepancies(cases: Sequence[Case], pairs: Mapping[str, str]) -> tuple[int, list[Discrepancy]]:
    """How many items both readers answered, and those that differ.

    ``pairs``: the second reader's item -> the first one's, which may be one that is computed from the record.
    """
    compared, found = 0, []
    for case in cases:
        for second, first in pairs.items():
            mine, theirs = case.values.get(first, ""), case.values.get(second, "")
            if mine == "" or theirs == "":
                continue
            compared += 1
            if mine != theirs:
                found.append(Discrepancy(case.number, first, mine, theirs))
    return compared, found


def _readers(facts: Facts, given: Given) -> str:
    compared, found = discrepancies(_members(facts, given), given["pairs"])
    if not compared:
        raise ValueError("no item was read twice")
    return f"{len(found)} of {compared} ({half_up(100 * len(found) / compared, 2)}%)"


def _readers_of_item(facts: Facts, given: Given) -> str:
    """Who differs on one item, by number: ``01-004 (II, III)``."""
    _, found = discrepancies(_members(facts, given), given["pairs"])
    return ", ".join(f"{one.number} ({one.first}, {one.second})" for one in found) or "nobody"


METHODS: Mapping[str, Callable[[Facts, Given], str]] = {
    "count": _count,
    "counts": _counts,
    "share": _share,
    "fraction": _fraction,
    "sum_of_rounded": _sum_of_rounded,
    "share_p": _share_p,
    "shares_p": _shares_p,
    "in_several": _in_several,
    "in_several_p": _in_several_p,
    "median": _median,
    "median_days": _median_days,
    "rows_in_all": _rows_in_all,
    "median_rows": _median_rows,
    "medians_by_day": _medians_by_day,
    "reduced": _reduced,
    "alive": _alive,
    "alive_p": _alive_p,
    "alive_vs": _alive_vs,
    "cumulative": _cumulative,
    "cumulative_p": _cumulative_p,
    "cumulative_vs": _cumulative_vs,
    "ratio": _ratio,
    "matched_numbers": _matched_numbers,
    "matched_share": _matched_share,
    "cost_per_responder": _cost_per_responder,
    "readers": _readers,
    "readers_of_item": _readers_of_item,
}
