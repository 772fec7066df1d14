"""What kinds an endpoint is made of, such as the types of infection: participants of each kind, never rows."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.domain.consecutive_threshold import Status
from analysis.domain.dataset import Subject
from analysis.domain.plan import wording
from analysis.domain.plan.material import CannotCompute, Material, Strand, in_order, strands, tells_groups, warnings
from analysis.domain.plan.results import Law, Number, Result, ResultTable, Row
from analysis.domain.plan.shares import compared, narrowed
from trials.domain.definition import AnalysisSpec, EndpointSpec, Protocol

ANY, SEVERAL = "Any", "More than one kind"


def kinds(material: Material, spec: AnalysisSpec) -> Result:
    """How many had each kind of what the endpoint counts, any, and more than one; one may stand in several rows."""
    groups = strands(material, spec)
    groups = in_order(spec, groups) if len(groups) > 1 else groups
    by_group = tells_groups(material, spec, groups)
    by_id = {one.id: one for one in material.protocol.endpoints}
    test = str(spec.parameters.get("test", "pearson"))
    tables, laws, sentences = [], [], []
    for name in spec.endpoints:
        endpoint = by_id[name]
        if "by" not in endpoint.parameters:
            raise CannotCompute(f"{endpoint.label} names no `by`: there are no kinds to count.")
        had = [[_kinds_of(subject, endpoint) for subject in group.subjects] for group in groups]
        found = sorted({kind for own in had for each in own for kind in each})
        if not found:
            raise CannotCompute(f"{endpoint.label}: nobody has any.")
        words = _words(material.protocol, endpoint)
        rows = [
            _row(words.get(kind, kind), [[kind in each for each in own] for own in had], groups, test) for kind in found
        ]
        total = _row(ANY, [[bool(each) for each in own] for own in had], groups, test)
        total = Row(
            total.label,
            tuple(
                Number(cell.text, cell.value, cell.method, cell.n, listing=narrowed(group.listing, endpoint, "reached"))
                for cell, group in zip(total.cells, groups, strict=False)
            )
            + total.cells[len(groups) :],
        )
        several = _row(SEVERAL, [[len(each) > 1 for each in own] for own in had], groups, test)
        columns = [f"{group.label} (n = {len(group.subjects)})" for group in groups]
        notes = ["Participants with at least one; one may stand in several rows."]
        if len(groups) > 1:
            columns.append("p")
            notes.append(f"Tests: {total.cells[-1].method or 'none'}, each row against the rest of its group.")
        tables.append(
            ResultTable(f"{endpoint.label}, by kind", "Kind", tuple(columns), (*rows, total, several), tuple(notes),
                        by_group)
        )  # fmt: skip
        laws += [_law(endpoint, group, own) for group, own in zip(groups, had, strict=True)]
        sentences.append(
            f"{endpoint.label}: "
            + "; ".join(f"{group.label} {cell.text}" for group, cell in zip(groups, total.cells, strict=False))
            + "."
        )
    return Result(
        spec.id, spec.label, "Participants with each kind", " ".join(sentences), tuple(tables), laws=tuple(laws),
        warnings=warnings(groups), by_group=by_group,
    )  # fmt: skip


def _kinds_of(subject: Subject, endpoint: EndpointSpec) -> frozenset[str]:
    outcome = subject.outcomes.get(endpoint.id)
    if outcome is None or outcome.status is not Status.REACHED:
        return frozenset()
    return frozenset(one.says for one in outcome.evidence)


def _words(protocol: Protocol, endpoint: EndpointSpec) -> dict[str, str]:
    return {code.value: code.label for code in protocol.item(str(endpoint.parameters["by"])).codes}


def _row(label: str, had: Sequence[Sequence[bool]], groups: Sequence[Strand], test: str) -> Row:
    counts = [(sum(own), len(own)) for own in had]
    cells = [wording.count(k, n, None, "participants with at least one") for k, n in counts]
    if len(groups) > 1:
        p_value, why = compared(counts, test)
        cells.append(p_value if p_value.value is not None else Number("not tested", None, why))
    return Row(label, tuple(cells))


def _law(endpoint: EndpointSpec, group: Strand, had: Sequence[frozenset[str]]) -> Law:
    each = [sum(kind in own for own in had) for kind in sorted({kind for own in had for kind in own})]
    any_kind = sum(bool(own) for own in had)
    return Law(
        f"{endpoint.label}, {group.label}: any is at least the most frequent kind and at most all kinds together",
        max(each, default=0) <= any_kind <= sum(each),
        f"{any_kind} of {', '.join(map(str, each))}",
    )
