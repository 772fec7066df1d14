"""Time to an endpoint: survival, cumulative incidence, and how long people were followed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.domain.competing_risks import CumulativeIncidence, cumulative_incidence, gray_test
from analysis.domain.plan import courses, wording
from analysis.domain.plan.material import (
    YEAR_DAYS,
    CannotCompute,
    Material,
    Strand,
    Timed,
    all_timed,
    in_order,
    read_days,
    strands,
    tells_groups,
    warnings,
    written,
)
from analysis.domain.plan.results import CurveData, Law, Line, Listing, Number, Result, ResultTable, Row
from analysis.domain.plan.shares import narrowed
from analysis.domain.survival import KaplanMeier, StepCurve, kaplan_meier, log_rank
from trials.domain.definition import AnalysisSpec, EndpointSpec

#: A difference of this size is the rounding of floats, not a law broken.
ROUNDING = 1e-9


def survival(material: Material, spec: AnalysisSpec) -> Result:
    """Kaplan-Meier by group with the numbers at risk, and the log-rank test; a competing event would be censored, and
    the endpoints named have none."""
    conf = str(spec.parameters.get("conf", "log"))

    def curve(one: Timed) -> KaplanMeier:
        events = [int(cause == 1) for cause in one.causes]
        return kaplan_meier(one.days, events, level=float(spec.level), conf=conf)  # type: ignore[arg-type]

    return _over_time(material, spec, curve, falls=True, named=f"Kaplan-Meier, limits on the {conf} scale")


def incidence(material: Material, spec: AnalysisSpec) -> Result:
    """Aalen-Johansen by group with the numbers at risk, and Gray's test."""
    variance = str(spec.parameters.get("variance", "gray"))
    conf = str(spec.parameters.get("conf", "log-log"))

    def curve(one: Timed) -> CumulativeIncidence:
        return cumulative_incidence(
            one.days,
            one.causes,
            level=float(spec.level),
            variance=variance,  # type: ignore[arg-type]
            conf=conf,  # type: ignore[arg-type]
        )

    named = f"Aalen-Johansen, {variance} variance, limits on the {conf} scale"
    return _over_time(material, spec, curve, falls=False, named=named)


def _over_time(material: Material, spec: AnalysisSpec, curve, *, falls: bool, named: str) -> Result:  # type: ignore[no-untyped-def]
    groups = strands(material, spec)
    ordered = in_order(spec, groups) if len(groups) > 1 else groups
    by_id = {one.id: one for one in material.protocol.endpoints}
    by_group = tells_groups(material, spec, groups)
    at = read_days(spec, material)
    tables, curves, laws, sentences, refused = [], [], [], [], []
    for name in spec.endpoints:
        endpoint = by_id[name]
        try:
            found = all_timed(material, endpoint, ordered)
        except CannotCompute as why_not:
            refused.append(str(why_not))
            continue
        fits = [(one, curve(one)) for one in found]
        p_value, why = _test(found, spec, falls=falls)
        tables.append(_at_times(endpoint, fits, at, p_value, why, named, by_group))
        if "curves" in spec.figures:
            curves.append(_curves(material, endpoint, fits, falls, named, p_value, at, by_group))
        sentences.append(_sentence(endpoint, fits, at, p_value))
        laws += [law for one, fit in fits for law in _laws(endpoint, one, fit)]
    if not tables:
        raise CannotCompute(" ".join(refused))
    return Result(
        spec.id, spec.label, named, " ".join(sentences), tuple(tables), tuple(curves),
        laws=tuple(laws), warnings=(*warnings(groups), *refused), by_group=by_group,
    )  # fmt: skip


def _test(found: Sequence[Timed], spec: AnalysisSpec, *, falls: bool) -> tuple[Number | None, str]:
    """Log-rank or Gray's test over the groups, within the strata of the plan; the sentence where it cannot be made."""
    if len(found) < 2:
        return None, ""
    days = [day for one in found for day in one.days]
    causes = [cause for one in found for cause in one.causes]
    label = [one.strand.key for one in found for _ in one.days]
    keep, strata = strata_of(spec, [subject for one in found for subject in one.subjects])
    if strata is not None:
        days, causes, label = ([column[i] for i in keep] for column in (days, causes, label))  # type: ignore[assignment]
    left_out = (
        ""
        if strata is None
        else f" {len([1 for one in found for _ in one.days]) - len(keep)} without stratum left out."
    )
    try:
        if falls:
            rank = log_rank(days, [int(cause == 1) for cause in causes], label, strata=strata)
            return wording.p(rank.p_value, rank.method + ", two-sided"), left_out.strip()
        gray = gray_test(days, causes, label, strata=strata)
        return wording.p(gray.p_value, gray.method), left_out.strip()
    except ValueError as refused:
        return None, f"No test: {wording.said(refused)}"


def strata_of(spec: AnalysisSpec, subjects: Sequence) -> tuple[list[int], list[str] | None]:  # type: ignore[type-arg]
    """The rows whose strata are all known, and the stratum of each; None where the plan has none."""
    if not spec.strata:
        return list(range(len(subjects))), None
    values = [[written(subject, address) for address in spec.strata] for subject in subjects]
    keep = [i for i, one in enumerate(values) if None not in one]
    return keep, [" | ".join(str(value) for value in values[i]) for i in keep]


def _at_times(
    endpoint: EndpointSpec,
    fits: Sequence[tuple[Timed, StepCurve]],
    at: Sequence[tuple[float, str]],
    p_value: Number | None,
    why: str,
    named: str,
    by_group: bool,
) -> ResultTable:
    has_competing = any(cause > 1 for one, _ in fits for cause in one.causes)
    columns = (
        "Participants",
        "Events",
        *(("Competing",) if has_competing else ()),
        *(words for _, words in at),
        "Median, days",
    )
    rows = []
    for one, fit in fits:
        cells = [
            wording.number(one.n, one.strand.listing),
            wording.number(one.events, narrowed(one.strand.listing, endpoint, "reached")),
        ]
        if has_competing:
            cells.append(
                wording.number(
                    sum(cause > 1 for cause in one.causes), narrowed(one.strand.listing, endpoint, "competing")
                )
            )
        for days, _ in at:
            cells.append(_read(fit, one, days, named))
        median = wording.or_none(float(fit.quantile(0.5).estimate))
        cells.append(
            Number(
                "not reached" if median is None else f"{median:g}",
                median,
                f"{fit.method}, quantile of the curve",
                one.n,
            )
        )
        rows.append(Row(one.strand.label, tuple(cells)))
    notes = [f"{named}."]
    if p_value is not None:
        rows.append(Row("Test", (p_value, *([wording.NONE] * (len(columns) - 1)))))
        notes.append(f"Test: {p_value.method}.")
    if why:
        notes.append(why)
    untimed = sum(one.untimed for one, _ in fits)
    if untimed:
        notes.append(f"{untimed} without a known time are not counted.")
    return ResultTable(f"{endpoint.label} ({named})", "Group", columns, tuple(rows), tuple(notes), by_group)


def _read(fit: StepCurve, one: Timed, days: float, named: str) -> Number:
    if days > max(one.days) and not _is_over(one):
        return Number("not followed so long", None, named, one.n)
    at = fit.at(days)
    return wording.share(
        float(at.estimate),
        float(at.lower),
        float(at.upper),
        n=int(at.n_risk),
        method=f"{named}; at risk {int(at.n_risk)}",
    )


def _is_over(one: Timed) -> bool:
    """Whether nobody is left whose future could change the curve."""
    last = max(one.days)
    return all(cause != 0 for day, cause in zip(one.days, one.causes, strict=True) if day == last)


def _sentence(
    endpoint: EndpointSpec,
    fits: Sequence[tuple[Timed, StepCurve]],
    at: Sequence[tuple[float, str]],
    p_value: Number | None,
) -> str:
    if not at:
        parts = [f"{one.strand.label} {one.events} of {one.n}" for one, _ in fits]
        when = ""
    else:
        days, when = at[-1]
        parts = [f"{one.strand.label} {_read(fit, one, days, '').text}" for one, fit in fits]
    test = "" if p_value is None or p_value.value is None else f"; p {p_value.text} ({p_value.method})"
    return f"{endpoint.label}{f' at {when}' if when else ''}: {', '.join(parts)}{test}."


def _curves(
    material: Material,
    endpoint: EndpointSpec,
    fits: Sequence[tuple[Timed, StepCurve]],
    falls: bool,
    named: str,
    p_value: Number | None,
    at: Sequence[tuple[float, str]],
    by_group: bool,
) -> CurveData:
    until = max([days for days, _ in at], default=0.0) or float(max(max(one.days) for one, _ in fits))
    step = _nice(until)
    ticks = [tick * step for tick in range(int(until // step) + 1)]
    lines = []
    for one, fit in fits:
        times = sorted({0.0, *(float(t) for t in fit.time[fit.n_event > 0]), min(float(fit.time[-1]), until)})
        times = [t for t in times if t <= until]
        read = fit.at(times)
        steps = []
        for t, e, lower, upper in zip(times, read.estimate, read.lower, read.upper, strict=True):
            low, high = wording.or_none(float(lower)), wording.or_none(float(upper))
            steps.append((t, float(e), float(e) if low is None else low, float(e) if high is None else high))
        counts = fit.at(ticks)
        events = np.cumsum(counts.n_event)
        lines.append(
            Line(
                one.strand.label,
                tuple(steps),
                tuple((float(t), int(r), int(d)) for t, r, d in zip(ticks, counts.n_risk, events, strict=True)),
                one.n,
                _lost(one, fit, until) if falls else (),
            )
        )
    method = named + ("" if p_value is None else f"; {p_value.method}: p {p_value.text}")
    anchor = material.protocol.anchor
    origin = anchor.label or anchor.event.replace("_", " ")
    # Days of the schedule are lines in the picture; years are ticks of its axis anyway.
    marks = tuple(round(days) for days, words in at if words.startswith("day") and days < until)
    return CurveData(endpoint.label, origin, falls, tuple(lines), method, marks, by_group)


def _lost(one: Timed, fit: StepCurve, until: float) -> tuple[tuple[float, float], ...]:
    """Where follow-up ends without the event, on the curve: each time once."""
    days = sorted({float(day) for day, cause in zip(one.days, one.causes, strict=True) if cause != 1 and day <= until})
    if not days:
        return ()
    return tuple(zip(days, (float(height) for height in fit.at(days).estimate), strict=True))


def _nice(until: float) -> float:
    """A step of whole days, months or years that gives four to seven ticks."""
    for step in (10.0, 20.0, 30.0, 60.0, 90.0, YEAR_DAYS / 2, YEAR_DAYS):
        if until / step <= 7:
            return step
    return YEAR_DAYS * max(1, round(until / YEAR_DAYS / 5))


def _laws(endpoint: EndpointSpec, one: Timed, fit: StepCurve) -> list[Law]:
    where = f"{endpoint.label}, {one.strand.label}"
    censored = sum(cause == 0 for cause in one.causes)
    competing = sum(cause > 1 for cause in one.causes)
    laws = [
        Law(
            f"{where}: events, competing events and censored add up",
            one.events + competing + censored == one.n,
            f"{one.events} + {competing} + {censored} = {one.n}",
        )
    ]
    if isinstance(fit, CumulativeIncidence):
        alone = kaplan_meier(one.days, [int(cause == 1) for cause in one.causes])
        below = bool((fit.estimate <= 1 - alone.at(fit.time).estimate + ROUNDING).all())
        laws.append(Law(f"{where}: cumulative incidence does not exceed 1 - Kaplan-Meier", below))
        seen = float(fit.estimate[-1]) + ROUNDING >= one.events / one.n
        laws.append(
            Law(
                f"{where}: cumulative incidence is at least the share observed",
                seen,
                f"{float(fit.estimate[-1]):.4f} and {one.events} of {one.n}",
            )
        )
    return laws


def follow_up(material: Material, spec: AnalysisSpec) -> Result:
    """How long people were followed: the plain median of the times, and beside it reverse Kaplan-Meier, each named."""
    groups = strands(material, spec)
    by_group = tells_groups(material, spec, groups)
    endpoint = material.protocol.endpoint(spec.endpoints[0])
    rows = []
    found = all_timed(material, endpoint, groups)
    for one in found:
        months = np.asarray(one.days) / (YEAR_DAYS / 12)
        low, middle, high = (float(value) for value in np.quantile(months, [0.25, 0.5, 0.75]))
        plain = Number(
            f"{middle:.1f} ({low:.1f} to {high:.1f})", middle, "plain median (quartiles) to last contact or death",
            one.n, low, high,
        )  # fmt: skip
        reverse = kaplan_meier(one.days, [int(cause == 0) for cause in one.causes]).quantile(0.5)
        at = wording.or_none(float(reverse.estimate))
        months_at = None if at is None else at / (YEAR_DAYS / 12)
        rows.append(
            Row(
                one.strand.label,
                (
                    wording.number(one.n, one.strand.listing),
                    plain,
                    Number(
                        "not reached" if months_at is None else f"{months_at:.1f}",
                        months_at,
                        "reverse Kaplan-Meier",
                        one.n,
                    ),
                ),
            )
        )
    if not rows:
        raise CannotCompute("Nobody was followed yet.")
    table = ResultTable(
        "Follow-up in months of 30.4375 days",
        "Group",
        ("Participants", "Plain median (quartiles)", "Reverse Kaplan-Meier median"),
        tuple(rows),
        ("The plain median counts the time to death as follow-up; reverse Kaplan-Meier asks how long one would have "
         "been followed had nobody died.",),
        by_group,
    )  # fmt: skip
    sentence = "; ".join(f"{row.label}: median {row.cells[1].text} months" for row in rows)
    return Result(
        spec.id, spec.label, "Plain median; reverse Kaplan-Meier", f"Follow-up, {sentence} (plain median, quartiles).",
        (table,), by_group=by_group, drawings=courses.swimmers(material, spec, found),
    )  # fmt: skip


def of_members(material: Material, name: str) -> Strand:
    """A whole analysis set as one group."""
    label = next(one.label for one in material.protocol.analysis_sets if one.id == name)
    return Strand(name, label, material.dataset.members(name), Listing(set_id=name))
