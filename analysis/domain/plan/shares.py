"""How many reached an endpoint: one proportion, the inference after two stages, and proportions compared."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.domain import simon
from analysis.domain.consecutive_threshold import Status
from analysis.domain.plan import wording
from analysis.domain.plan.material import (
    CannotCompute,
    Material,
    Strand,
    in_order,
    reached,
    strands,
    tells_groups,
    warnings,
)
from analysis.domain.plan.results import Effect, ForestData, Law, Listing, Number, Result, ResultTable, Row
from analysis.domain.proportions import chi_square, fisher_exact, proportion_ci
from trials.domain.definition import AnalysisSpec, EndpointSpec

#: How an interval of a proportion is called where people read it.
INTERVALS = {
    "clopper_pearson": "Clopper-Pearson",
    "wilson": "Wilson",
    "wilson_cc": "Wilson with continuity correction",
    "wald": "Wald",
    "agresti_coull": "Agresti-Coull",
    "jeffreys": "Jeffreys",
}


def narrowed(listing: Listing, endpoint: EndpointSpec, status: str) -> Listing:
    """The listing of those of a group who have this state of the endpoint."""
    return Listing(listing.set_id, endpoint.id, status, listing.group, listing.item, listing.value)


def _shares(material: Material, spec: AnalysisSpec, endpoint: EndpointSpec, groups: Sequence[Strand]) -> list[Row]:
    """One row a group: reached of known, the interval, and how many are not known."""
    name = str(spec.parameters.get("interval", "clopper_pearson"))
    level = float(spec.level)
    rows = []
    for group in groups:
        k, n = reached(endpoint, group, spec)
        open_ones = len(group.subjects) - n
        interval = proportion_ci(k, n, level=level, method=name) if n else None
        method = f"{INTERVALS[name]}, {100 * level:g} % CI"
        rows.append(
            Row(
                group.label,
                (
                    wording.number(len(group.subjects), group.listing),
                    wording.count(k, n, narrowed(group.listing, endpoint, Status.REACHED.value)),
                    wording.share(k / n, interval.lower, interval.upper, n=n, method=method)
                    if interval
                    else wording.NONE,
                    wording.number(open_ones),
                ),
            )
        )
    return rows


_COLUMNS = ("In the group", "Reached", "Share", "Not known yet, not counted")


def proportion(material: Material, spec: AnalysisSpec) -> Result:
    """The share that reached each endpoint, with its interval by name; who is not known is shown and not counted."""
    groups = strands(material, spec)
    by_id = {one.id: one for one in material.protocol.endpoints}
    tables, sentences, laws = [], [], []
    interval = INTERVALS[str(spec.parameters.get("interval", "clopper_pearson"))]
    by_group = tells_groups(material, spec, groups)
    for name in spec.endpoints:
        endpoint = by_id[name]
        rows = _shares(material, spec, endpoint, groups)
        tables.append(
            ResultTable(
                f"{endpoint.label}: share with {100 * float(spec.level):g} % interval ({interval})",
                "Group",
                _COLUMNS,
                tuple(rows),
                by_group=by_group,
            )
        )
        sentences += [
            f"{endpoint.label}, {row.label}: {row.cells[1].text}, {interval} interval {row.cells[2].text}."
            for row in rows
            if row.cells[2].value is not None
        ]
        laws.append(_adds_up(endpoint, groups))
    if not sentences:
        raise CannotCompute("The endpoint is not known of anybody yet.")
    return Result(
        spec.id, spec.label, f"Share reached, {interval} interval", " ".join(sentences), tuple(tables),
        laws=tuple(laws), warnings=warnings(groups), by_group=by_group,
    )  # fmt: skip


def _adds_up(endpoint: EndpointSpec, groups: Sequence[Strand]) -> Law:
    total = sum(len(group.subjects) for group in groups)
    parts = dict.fromkeys(Status, 0)
    without = 0
    for group in groups:
        for subject in group.subjects:
            outcome = subject.outcomes.get(endpoint.id)
            if outcome is None:
                without += 1
            else:
                parts[Status(outcome.status)] += 1
    detail = ", ".join(f"{status.value.replace('_', ' ')} {n}" for status, n in parts.items() if n)
    detail += f", no result {without}" if without else ""
    return Law(
        f"{endpoint.label}: the states add up to everybody",
        sum(parts.values()) + without == total,
        f"{detail} = {total}",
    )


def two_stage(material: Material, spec: AnalysisSpec) -> Result:
    """Estimate, p value and interval that respect the two stages of the design, at the number really evaluated."""
    design = material.protocol.design
    if design.method != "simon_two_stage" or len(design.stages) != 2 or design.null is None:
        raise CannotCompute("The design of this trial has no two stages; inference after two stages does not apply.")
    first, last = design.stages
    planned = simon.TwoStage(
        r1=int(first.continue_if_at_least or 0) - 1,
        n1=first.n,
        r=int(last.succeed_if_at_least or 0) - 1,
        n=last.n,
    )
    p0 = float(design.null)
    endpoint = material.protocol.endpoint(spec.endpoints[0])
    (whole,) = strands(material, spec)
    stage_set = str(spec.parameters["stage_set"])
    stage = Strand(stage_set, "First stage", material.dataset.members(stage_set), Listing(set_id=stage_set))
    x1, n1 = reached(endpoint, stage, spec)
    x, n = reached(endpoint, whole, spec)
    if n1 < planned.n1:
        raise CannotCompute(f"The first stage has {n1} of {planned.n1} decided; inference begins when it is complete.")
    if x1 > planned.r1 and n <= planned.n1:
        raise CannotCompute(f"The second stage has nobody decided yet; the first ended with {x1} of {n1}.")
    method = str(spec.parameters.get("inference", "stagewise_exact"))
    found = simon.inference(
        planned, p0=p0, responses=x, stage1_responses=x1, n=n, level=float(spec.level), method=method
    )
    oc = simon.operating_characteristics(planned, p0)
    rows = [
        Row("First stage", (wording.count(x1, n1, narrowed(stage.listing, endpoint, "reached")),)),
        Row("In all", (wording.count(x, n, narrowed(whole.listing, endpoint, "reached")),)),
        Row(
            "Estimate (UMVUE)",
            (
                wording.share(
                    found.umvue, found.lower, found.upper, n=n, method=f"UMVUE, {method.replace('_', ' ')} interval"
                ),
            ),
        ),
        Row(f"One-sided p value against {p0:g}", (wording.p(found.p_value, method.replace("_", " ")),)),
        Row("Boundary as designed", (Number(f"{planned.r + 1} of {planned.n}", float(planned.r + 1), "definition"),)),
    ]
    success = None
    if x1 > planned.r1:
        needed = simon.critical_total(planned, p0=p0, stage1_responses=x1, n=n)
        success = x >= needed
        rows.append(
            Row(
                f"Boundary at {n}", (Number(f"{needed} of {n}", float(needed), "conditional error of the first stage"),)
            )
        )
    rows.append(Row("Type I error of the design", (Number(f"{oc.rejection:.4f}", oc.rejection, oc.method),)))
    verdict = "" if success is None else f" The boundary at {n} is {needed}: {'met' if success else 'not met'}."
    return Result(
        spec.id, spec.label, f"Two-stage inference: UMVUE, {method.replace('_', ' ')}",
        f"{endpoint.label}: {x} of {n} after {x1} of {n1}; {rows[2].cells[0].text}, one-sided "
        f"p {rows[3].cells[0].text} against {p0:g}.{verdict}",
        (ResultTable(f"Two stages: {found.method.replace('_', ' ')}", "Quantity", ("Value",), tuple(rows)),),
        laws=(Law("The first stage is part of the whole", n1 <= n and x1 <= x, f"{x1} of {n1}; {x} of {n}"),),
    )  # fmt: skip


TESTS = ("pearson", "pearson_yates", "fisher")


def compared(counts: Sequence[tuple[int, int]], test: str) -> tuple[Number, str]:
    """The p value of a test of (reached, known) per group, and a sentence where it cannot be made."""
    table = [[k, n - k] for k, n in counts]
    try:
        if test == "fisher":
            exact = fisher_exact(table)
            return wording.p(exact.p_value, exact.method), ""
        pearson = chi_square(table, correction=test == "pearson_yates")
        return wording.p(pearson.p_value, pearson.method), ""
    except ValueError as refused:
        return wording.NONE, wording.said(refused)


def compare_proportions(material: Material, spec: AnalysisSpec) -> Result:
    """The shares of two or more groups side by side, and the test named."""
    groups = in_order(spec, strands(material, spec))
    if len(groups) < 2:
        raise CannotCompute(f"Only {groups[0].label} has anybody in it; a comparison needs two groups.")
    by_id = {one.id: one for one in material.protocol.endpoints}
    test = str(spec.parameters.get("test", "pearson"))
    by_group = tells_groups(material, spec, groups)
    tables, forests, sentences, notes_of_all = [], [], [], []
    for name in spec.endpoints:
        endpoint = by_id[name]
        rows = _shares(material, spec, endpoint, groups)
        p_value, why = compared([reached(endpoint, group, spec) for group in groups], test)
        rows.append(Row("Test", (wording.NONE, wording.NONE, p_value, wording.NONE)))
        notes = tuple(one for one in (f"Test: {p_value.method}." if p_value.method else "", why) if one)
        tables.append(ResultTable(f"{endpoint.label}, compared", "Group", _COLUMNS, tuple(rows), notes, by_group))
        shown = [row for row in rows[:-1] if row.cells[2].value is not None]
        forests.append(
            ForestData(
                endpoint.label,
                f"Share, {100 * float(spec.level):g} % CI",
                tuple(
                    Effect(row.label, c.value, c.lower, c.upper)
                    for row in shown
                    for c in [row.cells[2]]
                    if c.value is not None and c.lower is not None and c.upper is not None
                ),
                shown[0].cells[2].method if shown else "",
                by_group,
            )
        )
        pairs = "; ".join(f"{row.label} {row.cells[1].text}" for row in shown)
        sentences.append(
            f"{endpoint.label}: {pairs}"
            + (f"; p {p_value.text} ({p_value.method})." if p_value.value is not None else f". {why}")
        )
        notes_of_all.append(_adds_up(endpoint, groups))
    return Result(
        spec.id, spec.label, "Shares compared", " ".join(sentences), tuple(tables), (),
        tuple(forests) if "forest" in spec.figures else (), tuple(notes_of_all), warnings(groups), by_group=by_group,
    )  # fmt: skip
