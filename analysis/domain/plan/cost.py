"""What one responder costs: the drug's price times the median course of the responders, over the share that responded.

An average, not an incremental cost: nothing is compared with what another treatment costs and gains.
"""

from __future__ import annotations

from statistics import median

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
    written,
)
from analysis.domain.plan.results import Law, Number, Result, ResultTable, Row
from analysis.domain.plan.shares import narrowed
from trials.domain.definition import AnalysisSpec, EndpointSpec

COLUMNS = (
    "Participants", "Responders", "Price of one dose", "Doses, median of the responders", "Course",
    "Cost per responder",
)  # fmt: skip


def cost_per_responder(material: Material, spec: AnalysisSpec) -> Result:
    """Price times median number of doses of the responders, over the share that responded, by group."""
    groups = strands(material, spec)
    groups = in_order(spec, groups) if len(groups) > 1 else groups
    by_group = tells_groups(material, spec, groups)
    endpoint = material.protocol.endpoint(spec.endpoints[0])
    price, doses = str(spec.parameters["price"]), str(spec.parameters["doses"])
    currency = material.protocol.item(price).unit
    rows, sentences, laws = [], [], []
    for group in groups:
        row = _row(group, endpoint, price, doses, spec)
        rows.append(row)
        course, cost = row.cells[4].value, row.cells[5].value
        if course is not None and cost is not None:
            sentences.append(f"{group.label}: {row.cells[5].text} {currency} per responder.")
            laws.append(Law(f"{group.label}: a responder costs at least one course", cost >= course))
    if not sentences:
        raise CannotCompute("; ".join(f"{row.label}: {row.cells[5].text}" for row in rows) + ".")
    table = ResultTable(
        f"{endpoint.label}: cost per responder, {currency}", "Group", COLUMNS, tuple(rows),
        ("Price of one dose times the median number of doses of the responders, over the share that responded: an "
         "average, not an incremental cost.",), by_group,
    )  # fmt: skip
    return Result(
        spec.id, spec.label, "Average cost per responder", " ".join(sentences), (table,), laws=tuple(laws),
        warnings=warnings(groups), by_group=by_group,
    )  # fmt: skip


def _row(group: Strand, endpoint: EndpointSpec, price: str, doses: str, spec: AnalysisSpec) -> Row:
    k, n = reached(endpoint, group, spec)
    responders = [subject for subject in group.subjects if subject.has_reached(endpoint.id) is True]
    prices = {text for subject in responders if (text := written(subject, price)) is not None}
    numbers = [float(text) for subject in responders if (text := written(subject, doses)) is not None]
    head = (
        wording.number(n, group.listing),
        wording.count(k, n, narrowed(group.listing, endpoint, "reached")),
    )
    if not responders:
        return Row(group.label, (*head, *([wording.NONE] * 3), Number("nobody responded", None, "cost")))
    if len(prices) != 1:
        why = "no price is recorded" if not prices else f"{len(prices)} prices are recorded"
        return Row(group.label, (*head, *([wording.NONE] * 3), Number(why, None, "cost")))
    if not numbers:
        return Row(group.label, (*head, *([wording.NONE] * 3), Number("no dose is recorded", None, "cost")))
    one, course = float(prices.pop()), float(median(numbers))
    whole = one * course
    return Row(
        group.label,
        (
            *head,
            Number(f"{one:,.2f}".removesuffix(".00"), one, "as recorded", len(responders)),
            Number(f"{course:g}", course, "median", len(numbers)),
            Number(f"{whole:,.0f}", whole, "price times median number of doses", len(numbers)),
            Number(f"{whole * n / k:,.0f}", whole * n / k, "course over the share that responded", n),
        ),
    )
