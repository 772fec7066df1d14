"""Matching on a propensity score: who was matched, how balanced it left them, and the endpoints among the matched."""

from __future__ import annotations

import numpy as np

from analysis.domain.competing_risks import gray_test
from analysis.domain.matching import Matching, nearest_match, propensity_score
from analysis.domain.plan import wording
from analysis.domain.plan.material import (
    CannotCompute,
    Material,
    Strand,
    categories,
    category_of,
    in_order,
    number_of,
    predictors,
    reached,
    strands,
    tells_groups,
    timed,
    warnings,
)
from analysis.domain.plan.results import Effect, ForestData, Law, Number, Result, ResultTable, Row
from analysis.domain.plan.shares import compared
from analysis.domain.survival import log_rank
from trials.domain.definition import AnalysisSpec, PredictorKind

OUTCOMES = ("proportion", "survival", "incidence")
#: Above this a standardised difference is commonly called an imbalance (Austin PC (2009) Stat Med 28: 3083-3107).
IMBALANCE = 0.1
UNIT_WORDS = {"sd": "standard deviations of the score", "score": "on the score itself"}


def matching(material: Material, spec: AnalysisSpec) -> Result:
    """Nearest-neighbour matching of the first group to the reference; balance before and after; the caliper's unit."""
    groups = in_order(spec, strands(material, spec))
    if len(groups) != 2:
        raise CannotCompute(f"Matching compares two groups; here are {len(groups)}.")
    treated, control = groups
    by_group = tells_groups(material, spec, groups)
    people = [*treated.subjects, *control.subjects]
    names, columns = [], []
    for predictor in predictors(material.protocol, spec):
        if predictor.kind is PredictorKind.CONTINUOUS:
            names.append(predictor.label)
            columns.append([number_of(predictor, subject) for subject in people])
        else:
            labels = categories(material.protocol, predictor, people)
            given = [category_of(material.protocol, predictor, subject) for subject in people]
            for label in labels[1:]:
                names.append(f"{predictor.label}: {label}")
                columns.append([None if one is None else float(one == label) for one in given])
    if not columns:
        raise CannotCompute("No predictor of the matching differs among these people.")
    keep = [i for i in range(len(people)) if all(column[i] is not None for column in columns)]
    x = np.array([[column[i] for column in columns] for i in keep], dtype=np.float64)
    taken = [int(i < len(treated.subjects)) for i in keep]
    caliper = spec.parameters.get("caliper")
    unit = str(spec.parameters.get("caliper_unit", "sd"))
    try:
        found: Matching = nearest_match(
            propensity_score(taken, x), taken, x=x,
            ratio=int(str(spec.parameters.get("ratio", 1))),
            caliper=None if caliper is None else float(str(caliper)),
            caliper_unit=unit,  # type: ignore[arg-type]
            order=str(spec.parameters.get("order", "largest")),  # type: ignore[arg-type]
        )  # fmt: skip
    except ValueError as refused:
        raise CannotCompute(wording.said(refused)) from None
    matched_treated = tuple(people[keep[row]] for row, _ in found.pairs)
    matched_controls = tuple(people[keep[row]] for _, controls in found.pairs for row in controls)
    reach = (
        "no caliper"
        if caliper is None
        else f"caliper {caliper} {UNIT_WORDS[unit]} ({found.caliper_on_score:.4g} on the score)"
    )
    method = f"{found.method}; {reach}"
    used = Row(
        "Matched",
        (wording.count(len(matched_treated), len(treated.subjects), None, method),
         wording.count(len(matched_controls), len(control.subjects), None, method)),
    )  # fmt: skip
    unmatched = Row(
        "In the group",
        (
            wording.number(len(treated.subjects), treated.listing),
            wording.number(len(control.subjects), control.listing),
        ),
    )
    left_out = len(people) - len(keep)
    whom = ResultTable(
        f"Matching: {method}", "", (treated.label, control.label), (unmatched, used),
        (f"{left_out} without every value were not matched.",) if left_out else (), by_group,
    )  # fmt: skip
    balance_rows = []
    for name, before, after in zip(
        ["Propensity score", *names], found.balance.before, found.balance.after, strict=True
    ):
        b, a = float(before), float(after)
        flag = " (imbalance)" if abs(a) > IMBALANCE else ""
        balance_rows.append(
            Row(name, (Number(f"{b:.3f}", b, found.balance.method), Number(f"{a:.3f}{flag}", a, found.balance.method)))
        )
    balance = ResultTable(
        f"Balance: {found.balance.method}", "Predictor", ("Before matching", "After matching"), tuple(balance_rows),
        (f"Marked: above {IMBALANCE:g} after matching.",), by_group,
    )  # fmt: skip
    pairs = (
        Strand(treated.key, f"{treated.label}, matched", matched_treated),
        Strand(control.key, f"{control.label}, matched", matched_controls),
    )
    outcomes, sentences = _outcomes(material, spec, pairs)
    tables = [whom, balance]
    if outcomes:
        tables.append(
            ResultTable(
                "Endpoints among the matched", "Endpoint", (pairs[0].label, pairs[1].label, "p"), tuple(outcomes),
                ("Tests take the matched groups as independent samples.",), by_group,
            )
        )  # fmt: skip
    forest = ForestData(
        "Balance before and after matching", "Standardised mean difference",
        tuple(
            Effect(row.label + when, cell.value, cell.value, cell.value)
            for row in balance_rows
            for when, cell in ((", before", row.cells[0]), (", after", row.cells[1]))
            if cell.value is not None
        ),
        found.balance.method, by_group,
    )  # fmt: skip
    return Result(
        spec.id, spec.label, method,
        f"{len(matched_treated)} of {len(treated.subjects)} {treated.label} matched to {len(matched_controls)} of "
        f"{len(control.subjects)} {control.label}; {method}. " + " ".join(sentences),
        tuple(tables), (), (forest,) if "balance" in spec.figures else (),
        (Law("Nobody is matched twice", len({s.participant for s in matched_controls}) == len(matched_controls)),),
        warnings(groups), by_group=by_group,
    )  # fmt: skip


def _outcomes(material: Material, spec: AnalysisSpec, pairs: tuple[Strand, Strand]) -> tuple[list[Row], list[str]]:
    kind = str(spec.parameters.get("outcome", "proportion"))
    rows, sentences = [], []
    by_id = {one.id: one for one in material.protocol.endpoints}
    for name in spec.endpoints:
        endpoint = by_id[name]
        if kind == "proportion":
            counts = [reached(endpoint, pair, spec) for pair in pairs]
            p_value, why = compared(counts, str(spec.parameters.get("test", "pearson")))
            cells = [wording.count(k, n) for k, n in counts]
        else:
            found = [timed(material, endpoint, pair) for pair in pairs]
            cells = [wording.count(one.events, one.n) for one in found]
            days = [day for one in found for day in one.days]
            label = [one.strand.key for one in found for _ in one.days]
            causes = [cause for one in found for cause in one.causes]
            why = ""
            try:
                if kind == "survival":
                    rank = log_rank(days, [int(cause == 1) for cause in causes], label)
                    p_value = wording.p(rank.p_value, f"{rank.method}, two-sided")
                else:
                    gray = gray_test(days, causes, label)
                    p_value = wording.p(gray.p_value, gray.method)
            except ValueError as refused:
                p_value, why = wording.NONE, wording.said(refused)
        rows.append(Row(endpoint.label, (*cells, Number(why or p_value.text, p_value.value, p_value.method))))
        sentences.append(
            f"{endpoint.label}: {cells[0].text} and {cells[1].text}, p {p_value.text} ({p_value.method or why})."
        )
    return rows, sentences
