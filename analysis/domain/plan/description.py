"""Who the people are (Table 1) and what befell them (adverse events)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from adverse_events.domain import tables as adverse_events
from analysis.domain.plan import wording
from analysis.domain.plan.material import (
    CannotCompute,
    Material,
    Strand,
    categories,
    category_of,
    in_order,
    number_of,
    period,
    predictors,
    strands,
    tells_groups,
    warnings,
)
from analysis.domain.plan.results import Law, Number, Result, ResultTable, Row
from analysis.domain.proportions import chi_square, fisher_exact
from trials.domain.definition import AnalysisSpec, Predictor, PredictorKind

CONTINUOUS_TESTS = ("wilcoxon", "kruskal_wallis", "student_t", "welch_t")
CATEGORICAL_TESTS = ("fisher", "pearson")
SUMMARIES = ("quartiles", "range")
UNKNOWN = "Unknown"


def baseline_table(material: Material, spec: AnalysisSpec) -> Result:
    """Table 1: median with quartiles or range, n with per cent; what is unknown is shown, and left out of the test."""
    groups = strands(material, spec)
    groups = in_order(spec, groups) if len(groups) > 1 else groups
    by_group = tells_groups(material, spec, groups)
    columns = [f"{group.label} (n = {len(group.subjects)})" for group in groups]
    if len(groups) > 1:
        columns.append("p")
    if len(groups) == 2:
        columns.append("Standardised difference")
    rows: list[Row] = []
    laws, methods, notes = [], [], []
    for predictor in predictors(material.protocol, spec):
        if predictor.kind is PredictorKind.CONTINUOUS:
            rows += _continuous(predictor, groups, spec)
        else:
            added, law = _categorical(material, predictor, groups, spec)
            rows += added
            laws.append(law)
    pad = len(columns)
    rows = [Row(row.label, (*row.cells, *([wording.NONE] * (pad - len(row.cells)))), row.indent) for row in rows]
    first = Row(
        "Day 0 of the first and the last",
        tuple(
            [
                Number(
                    "–" if (p := period(g)) is None else f"{p[0]:%d-%b-%Y} to {p[1]:%d-%b-%Y}",
                    None,
                    "dates of the anchor",
                    listing=g.listing,
                )
                for g in groups
            ]
            + [wording.NONE] * (pad - len(groups))
        ),
    )
    methods = sorted({cell.method for row in rows for cell in row.cells if cell.method and cell.text != "–"})
    if len(groups) == 2:
        notes.append(
            "Standardised difference: over the root of the mean of both variances; of a category, of its share."
        )
    notes.append("Unknown values are shown and left out of per cents and tests.")
    refused = [cell for row in rows for cell in row.cells if cell.text == "not tested"]
    notes += sorted({cell.method for cell in refused})
    return Result(
        spec.id, spec.label, "; ".join(methods),
        f"{spec.label}: " + "; ".join(f"{g.label} {len(g.subjects)}" for g in groups) + ".",
        (ResultTable(spec.label, "", tuple(columns), (first, *rows), tuple(notes), by_group),),
        laws=tuple(laws), warnings=warnings(groups), by_group=by_group,
    )  # fmt: skip


def _continuous(predictor: Predictor, groups: Sequence[Strand], spec: AnalysisSpec) -> list[Row]:
    summary = str(spec.parameters.get("summary", "quartiles"))
    samples = [[v for s in group.subjects if (v := number_of(predictor, s)) is not None] for group in groups]
    cells: list[Number] = []
    for group, sample in zip(groups, samples, strict=True):
        if not sample:
            cells.append(Number("not known", None, "median", 0, listing=group.listing))
            continue
        q = (0.25, 0.5, 0.75) if summary == "quartiles" else (0.0, 0.5, 1.0)
        low, middle, high = (float(value) for value in np.quantile(sample, q))
        cells.append(
            Number(
                f"{middle:.1f} ({low:.1f} to {high:.1f})",
                middle,
                f"median ({summary})",
                len(sample),
                low,
                high,
                group.listing,
            )
        )
    if len(groups) > 1:
        cells.append(_continuous_test(samples, str(spec.parameters.get("continuous", "wilcoxon"))))
    if len(groups) == 2 and all(len(sample) > 1 for sample in samples):
        variance = (np.var(samples[0], ddof=1) + np.var(samples[1], ddof=1)) / 2
        if variance > 0:
            d = float((np.mean(samples[0]) - np.mean(samples[1])) / np.sqrt(variance))
            cells.append(Number(f"{d:.2f}", d, "standardised difference"))
    rows = [Row(f"{predictor.label}, median ({summary})", tuple(cells))]
    unknown = [len(group.subjects) - len(sample) for group, sample in zip(groups, samples, strict=True)]
    if any(unknown):
        rows.append(Row(UNKNOWN, tuple(wording.number(n) for n in unknown), True))
    return rows


def _continuous_test(samples: Sequence[Sequence[float]], name: str) -> Number:
    """The test named; a p value only where it is defined."""
    try:
        if any(len(sample) < 2 for sample in samples):
            raise ValueError("a group has fewer than two known values")
        if name == "wilcoxon" and len(samples) == 2:
            exact = min(len(s) for s in samples) < 50 and len(set(map(float, [*samples[0], *samples[1]]))) == sum(
                map(len, samples)
            )
            # As R's wilcox.test: exact below 50 without ties, else normal with continuity correction.
            found = stats.mannwhitneyu(
                *samples, method="exact" if exact and max(map(len, samples)) < 50 else "asymptotic"
            )
            method = "Wilcoxon rank sum, " + (
                "exact" if exact and max(map(len, samples)) < 50 else "normal with continuity correction"
            )
        elif name in ("wilcoxon", "kruskal_wallis"):
            found, method = stats.kruskal(*samples), "Kruskal-Wallis"
        elif len(samples) == 2:
            found = stats.ttest_ind(*samples, equal_var=name == "student_t")
            method = "Student t" if name == "student_t" else "Welch t"
        else:
            found, method = stats.f_oneway(*samples), "one-way analysis of variance"
        return wording.p(float(found.pvalue), method)
    except ValueError as refused:
        return Number("not tested", None, wording.said(refused))


def _categorical(
    material: Material, predictor: Predictor, groups: Sequence[Strand], spec: AnalysisSpec
) -> tuple[list[Row], Law]:
    everybody = [subject for group in groups for subject in group.subjects]
    labels = categories(material.protocol, predictor, everybody)
    given = [[category_of(material.protocol, predictor, s) for s in group.subjects] for group in groups]
    known = [sum(one is not None for one in own) for own in given]
    heading: list[Number] = [wording.NONE] * len(groups)
    if len(groups) > 1:
        table = [[own.count(label) for own in given] for label in labels]
        heading = [*heading, _categorical_test(table, str(spec.parameters.get("categorical", "fisher")))]
    rows = [Row(f"{predictor.label}, n (%)", tuple(heading))]
    for label in labels:
        cells = [
            Number(
                f"{own.count(label)}" + (f" ({100 * own.count(label) / n:.0f} %)" if n else ""),
                float(own.count(label)), "count of the known", n,
            )
            for own, n in zip(given, known, strict=True)
        ]  # fmt: skip
        if len(groups) == 2 and all(known):
            p, q = (own.count(label) / n for own, n in zip(given, known, strict=True))
            variance = (p * (1 - p) + q * (1 - q)) / 2
            if variance > 0:
                d = (p - q) / variance**0.5
                cells += [wording.NONE, Number(f"{d:.2f}", d, "standardised difference")]
        rows.append(Row(label, tuple(cells), True))
    unknown = [len(own) - n for own, n in zip(given, known, strict=True)]
    if any(unknown):
        rows.append(Row(UNKNOWN, tuple(wording.number(n) for n in unknown), True))
    total = sum(own.count(label) for own in given for label in labels)
    return rows, Law(f"{predictor.label}: categories and unknown add up", total + sum(unknown) == len(everybody))


def _categorical_test(table: list[list[int]], name: str) -> Number:
    filled = [row for row in table if sum(row)]
    try:
        if name == "pearson":
            pearson = chi_square(filled)
            return wording.p(pearson.p_value, pearson.method)
        exact = fisher_exact(filled)
        return wording.p(exact.p_value, exact.method.partition(";")[0])
    except ValueError as refused:
        return Number("not tested", None, wording.said(refused))


def adverse_event_table(material: Material, spec: AnalysisSpec) -> Result:
    """Adverse events by heading and term: events and participants, never one for the other."""
    (whole,) = strands(material, spec)
    members = {subject.participant for subject in whole.subjects}
    policy = material.protocol.adverse_events
    grades = tuple(range(policy.minimum_grade, 6))
    events = [one for one in material.adverse_events if one.participant_id in members]
    outside = [one for one in events if one.grade not in grades]
    if outside:
        raise CannotCompute(
            f"{len(outside)} events have a grade below the {policy.minimum_grade} that the protocol collects."
        )
    table = adverse_events.event_table(
        events, headings=[(one.id, one.label) for one in policy.categories], grades=grades, participants=len(members)
    )
    rows = []

    def line(label: str, row: adverse_events.Row, indent: bool) -> Row:
        cells = [
            Number(
                f"{cell.events} / {cell.participants}",
                float(cell.events),
                "events / participants at this worst grade",
                len(members),
            )
            for cell in (*row.cells,)
        ]
        total = Number(
            f"{row.total.events} / {row.total.participants} ({row.total.percent:.0f} %)",
            float(row.total.events), "events / participants (per cent of those observed)", len(members),
        )  # fmt: skip
        return Row(label, (*cells, total), indent)

    for section in table.sections:
        rows.append(line(section.heading, section.sum, False))
        rows += [line(row.label, row, True) for row in section.rows]
    rows.append(line("All", table.total, False))
    by_section = sum(section.sum.total.events for section in table.sections)
    return Result(
        spec.id, spec.label, "Counts of events and of participants at their worst grade",
        f"{table.total.total.events} events in {table.total.total.participants} of {len(members)} participants.",
        (ResultTable(
            f"{spec.label}: events / participants at their worst grade", "Term",
            (*(f"Grade {grade}" for grade in grades), "Any grade"), tuple(rows),
            ("The first number counts events, the second participants, each once a line at the worst grade.",),
        ),),
        laws=(
            Law("The headings add up to all events", by_section == table.total.total.events == len(events)),
        ),
    )  # fmt: skip
