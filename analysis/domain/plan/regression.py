"""Regression tables: each predictor alone, the selection by the plan's rule, and the model of those selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from analysis.domain.competing_risks import fine_gray
from analysis.domain.logistic import logistic
from analysis.domain.plan import wording
from analysis.domain.plan.material import (
    CannotCompute,
    Material,
    Strand,
    Timed,
    all_timed,
    categories,
    category_of,
    in_order,
    number_of,
    predictors,
    strands,
    tells_groups,
    warnings,
)
from analysis.domain.plan.results import Effect, ForestData, Law, Listing, Number, Result, ResultTable, Row
from analysis.domain.plan.shares import narrowed
from analysis.domain.plan.times import strata_of
from analysis.domain.survival import CoxModel, HazardModel, cox, proportional_hazards_test
from trials.domain.definition import AnalysisSpec, EndpointSpec, PredictorKind

#: Below this many events an estimate is shown and its test marked: one event more or less would turn it.
SPARSE = 5
SPARSE_WORDS = "sparse"
QUANTITIES = {"cox": "Hazard ratio", "fine_gray": "Subdistribution hazard ratio", "logistic": "Odds ratio"}


@dataclass(frozen=True)
class Term:
    """One predictor as columns: a name for each, and the values of each participant (None: not known)."""

    id: str
    label: str
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...] | None, ...]
    reference: str = ""


@dataclass(frozen=True)
class Rows:
    """The people of a regression with their times (or answers), in one order."""

    timed: tuple[Timed, ...]
    outcome: str

    @property
    def n(self) -> int:
        return sum(one.n for one in self.timed)


def regression(material: Material, spec: AnalysisSpec) -> Result:
    """Univariable and multivariable table of each endpoint; the test of proportional hazards stands with every fit."""
    model = str(spec.parameters["model"])
    groups = strands(material, spec)
    by_group = tells_groups(material, spec, groups)
    by_id = {one.id: one for one in material.protocol.endpoints}
    tables: list[ResultTable] = []
    forests: list[ForestData] = []
    laws: list[Law] = []
    sentences, refusals = [], []
    for name in spec.endpoints:
        endpoint = by_id[name]
        try:
            one = _one(material, spec, endpoint, groups, model, by_group)
        except CannotCompute as refused:
            refusals.append(f"{endpoint.label}: {refused}")
            continue
        tables += one.tables
        forests += one.forests
        laws += one.laws
        sentences.append(one.sentence)
    if not tables:
        raise CannotCompute(" ".join(refusals))
    return Result(
        spec.id, spec.label, METHOD_WORDS[model], " ".join(sentences), tuple(tables), (),
        tuple(forests) if "forest" in spec.figures else (), tuple(laws), (*warnings(groups), *refusals),
        by_group=by_group,
    )  # fmt: skip


METHOD_WORDS = {
    "cox": "Cox regression, Efron ties",
    "fine_gray": "Fine-Gray regression, sandwich variance",
    "logistic": "Logistic regression, maximum likelihood",
}


def _one(
    material: Material, spec: AnalysisSpec, endpoint: EndpointSpec, groups: Sequence[Strand], model: str, by_group: bool
) -> Result:
    if model == "logistic":
        found = [_answered(endpoint, strand) for strand in groups]
        found = [one for one in found if one.n]
        if not found:
            raise CannotCompute("the endpoint is not known of anybody yet.")
    else:
        found = all_timed(material, endpoint, groups)
    terms = _terms(material, spec, groups, found)
    if not terms:
        raise CannotCompute("no predictor differs among those whose time is known.")
    quantity = QUANTITIES[model]
    p_below = float(spec.enter_below) if spec.enter_below is not None else None
    singles = [(term, *_fit(found, [term], model, spec)) for term in terms]
    # What nobody of a compared group has a value of would take the group out of the model: it is shown alone.
    partial = [term for term in terms if not _known_in_all(term, found)]
    chosen = [
        term
        for term, fit, _, _ in singles
        if term not in partial
        and fit is not None
        and p_below is not None
        and _joint_p(fit, 0, len(term.columns)) < p_below
    ]
    together, why, keep = _fit(found, chosen, model, spec) if chosen else (None, "", [])
    columns = ["Participants", "Events", f"Univariable {quantity.lower()}", "p", "PH test p"]
    if p_below is not None:
        columns += [f"Multivariable {quantity.lower()}", "p", "PH test p"]
    if model == "logistic":
        columns = [column for column in columns if column != "PH test p"]
    rows: list[Row] = []
    effects = []
    sets = groups[0].listing if len(groups) == 1 else Listing(endpoint=endpoint.id)
    ph_together = _ph(found, chosen, model, spec, keep) if together is not None else None
    place = 0
    for term, fit, refused, used in singles:
        ph = _ph(found, [term], model, spec, used) if fit is not None else None
        start = place if term in chosen and together is not None else None
        heading = len(term.columns) > 1 or bool(term.reference)
        if heading:
            blank = [wording.NONE] * len(columns)
            blank[0] = wording.number(len(used), narrowed(sets, endpoint, ""))
            if fit is not None:
                blank[1] = Number(str(fit.n_event), float(fit.n_event), "events in the fit")
                if len(term.columns) > 1:
                    blank[3] = wording.p(_joint_p(fit, 0, len(term.columns)), f"Wald, {len(term.columns)} df")
            rows.append(Row(f"{term.label} (against {term.reference})" if term.reference else term.label, tuple(blank)))
        for j, column in enumerate(term.columns):
            cells = (
                [Number(refused, None, METHOD_WORDS[model]), wording.NONE]
                if fit is None
                else list(_estimate(fit, j, spec, model))
            )
            if model != "logistic":
                cells.append(_ph_cell(ph, j, fit))
            if p_below is not None:
                if start is None or together is None:
                    cells += [wording.NONE] * (2 if model == "logistic" else 3)
                else:
                    cells += list(_estimate(together, start + j, spec, model))
                    if model != "logistic":
                        cells.append(_ph_cell(ph_together, start + j, together))
            head = (
                [wording.NONE, wording.NONE]
                if heading
                else [
                    wording.number(len(used), narrowed(sets, endpoint, "")),
                    Number(str(fit.n_event), float(fit.n_event), "events in the fit") if fit else wording.NONE,
                ]
            )
            rows.append(Row(column, (*head, *cells), heading))
            shown, at = (together, start + j) if together is not None and start is not None else (fit, j)
            if shown is not None:
                ratio = shown.hazard_ratio(float(spec.level))
                effects.append(
                    Effect(
                        f"{term.label}: {column}" if heading else column,
                        float(ratio.estimate[at]), float(ratio.lower[at]), float(ratio.upper[at]),
                    )
                )  # fmt: skip
        if start is not None:
            place += len(term.columns)
    notes = [f"{METHOD_WORDS[model]}; Wald limits and p values. Who lacks a value is left out of that fit."]
    if p_below is not None:
        entered = ", ".join(term.label for term in chosen) or "none"
        if partial:
            names = ", ".join(term.label for term in partial)
            notes.append(f"Not known of anybody in one of the groups, and so not entered: {names}.")
        notes.append(f"Univariable p < {p_below:g} enters the multivariable model; entered: {entered}.")
        if why:
            notes.append(f"No multivariable model: {why}")
    if model == "cox":
        notes.append("PH test: Grambsch-Therneau score test, Kaplan-Meier time.")
    if model == "fine_gray":
        notes.append(
            "PH test: Grambsch-Therneau score test of the cause-specific Cox model with the same predictors; "
            "it tells whether an effect changes with time, not whether the subdistribution hazards are proportional."
        )
    fewest = min([fit.n_event for _, fit, _, _ in singles if fit is not None], default=0)
    if fewest < SPARSE:
        notes.append(f"{SPARSE_WORDS}: fewer than {SPARSE} events; the estimate is shown, its test means little.")
    if together is not None and together.n_event < 10 * len(together.coef):
        notes.append(
            f"{together.n_event} events for {len(together.coef)} coefficients: fewer than 10 each, the model may be "
            "overfitted."
        )
    forest = ForestData(
        endpoint.label, f"{quantity}, {100 * float(spec.level):g} % CI", tuple(effects), METHOD_WORDS[model], by_group
    )
    told = effects[:3]
    words = "; ".join(f"{one.label} {one.estimate:.2f} ({one.lower:.2f} to {one.upper:.2f})" for one in told)
    law = Law(
        f"{endpoint.label}: nobody counts twice in a fit",
        all(len(used) <= sum(o.n for o in found) for *_, used in singles),
    )
    table = ResultTable(
        f"{endpoint.label}: {METHOD_WORDS[model]}", "Predictor", tuple(columns), tuple(rows), tuple(notes), by_group
    )
    return Result("", "", "", f"{endpoint.label}, {quantity.lower()}s: {words}.", (table,), (), (forest,), (law,))


def _answered(endpoint: EndpointSpec, strand: Strand) -> Timed:
    """The people of the group whose endpoint is known: cause 1 reached, 0 not; the days have no meaning."""
    known = [(s, s.has_reached(endpoint.id)) for s in strand.subjects]
    known = [(s, answer) for s, answer in known if answer is not None]
    return Timed(
        strand,
        tuple(s for s, _ in known),
        (0,) * len(known),
        tuple(int(answer is True) for _, answer in known),
        len(strand.subjects) - len(known),
    )


def _terms(material: Material, spec: AnalysisSpec, groups: Sequence[Strand], found: Sequence[Timed]) -> list[Term]:
    """The comparison itself first, then the predictors; what does not differ among these people is left out."""
    subjects = [subject for one in found for subject in one.subjects]
    terms = []
    present = [one.strand for one in found]
    if spec.by and len(present) > 1:
        ordered = in_order(spec, present)
        reference = ordered[-1]
        others = ordered[:-1]
        keys = [one.strand.key for one in found for _ in one.subjects]
        values = tuple(tuple(float(key == other.key) for other in others) for key in keys)
        terms.append(Term("compared", "Group", tuple(other.label for other in others), values, reference.label))
    for predictor in predictors(material.protocol, spec):
        if predictor.kind is PredictorKind.CONTINUOUS:
            numbers = [number_of(predictor, subject) for subject in subjects]
            if len({one for one in numbers if one is not None}) > 1:
                single: tuple[tuple[float, ...] | None, ...] = tuple(None if one is None else (one,) for one in numbers)
                terms.append(Term(predictor.id, predictor.label, (predictor.label,), single))
            continue
        labels = categories(material.protocol, predictor, subjects)
        if len(labels) > 1:
            given = [category_of(material.protocol, predictor, subject) for subject in subjects]
            column = tuple(None if one is None else tuple(float(one == label) for label in labels[1:]) for one in given)
            terms.append(Term(predictor.id, predictor.label, tuple(labels[1:]), column, labels[0]))
    return terms


def _known_in_all(term: Term, found: Sequence[Timed]) -> bool:
    """Whether each group has somebody of whom the predictor is known."""
    at = 0
    for one in found:
        if all(value is None for value in term.values[at : at + one.n]):
            return False
        at += one.n
    return True


def _matrix(
    found: Sequence[Timed], terms: Sequence[Term], spec: AnalysisSpec
) -> tuple[list[int], np.ndarray, list[str] | None]:
    """The rows in which every term is known, their design matrix, and their strata."""
    subjects = [subject for one in found for subject in one.subjects]
    in_stratum, strata = strata_of(spec, subjects)
    keep = [i for i in in_stratum if all(term.values[i] is not None for term in terms)]
    x = np.array([[v for term in terms for v in (term.values[i] or ())] for i in keep], dtype=np.float64)
    by_row = None if strata is None else dict(zip(in_stratum, strata, strict=True))
    return keep, x, None if by_row is None else [by_row[i] for i in keep]


def _fit(
    found: Sequence[Timed], terms: Sequence[Term], model: str, spec: AnalysisSpec
) -> tuple[HazardModel | None, str, list[int]]:
    keep, x, strata = _matrix(found, terms, spec)
    if not keep:
        return None, "Nobody has every value.", keep
    days = [day for one in found for day in one.days]
    causes = [cause for one in found for cause in one.causes]
    days, causes = [days[i] for i in keep], [causes[i] for i in keep]
    try:
        if model == "logistic":
            return logistic(causes, x), "", keep
        if model == "fine_gray":
            if strata is not None:
                return None, "Strata are for Cox's model only.", keep
            return fine_gray(days, causes, x), "", keep
        return cox(days, [int(cause == 1) for cause in causes], x, strata=strata), "", keep
    except ValueError as refused:
        return None, wording.said(refused), keep


def _ph(
    found: Sequence[Timed], terms: Sequence[Term], model: str, spec: AnalysisSpec, keep: Sequence[int]
) -> list[float] | str:
    """The p value of the test of proportional hazards of each column; the sentence where there is none."""
    if model == "logistic":
        return ""
    _, x, strata = _matrix(found, terms, spec)
    days = [day for one in found for day in one.days]
    causes = [cause for one in found for cause in one.causes]
    try:
        fit: CoxModel = cox([days[i] for i in keep], [int(causes[i] == 1) for i in keep], x, strata=strata)
        return [float(one) for one in proportional_hazards_test(fit).p_value]
    except ValueError as refused:
        return wording.said(refused)


def _ph_cell(ph: list[float] | str | None, j: int, fit: HazardModel | None) -> Number:
    if ph is None or fit is None:
        return wording.NONE
    if isinstance(ph, str):
        return Number("not tested", None, ph)
    one = wording.p(ph[j], "Grambsch-Therneau score test, km")
    if fit.n_event < SPARSE:
        return Number(f"{one.text} ({SPARSE_WORDS})", one.value, one.method)
    return one


def _estimate(fit: HazardModel, j: int, spec: AnalysisSpec, model: str) -> tuple[Number, Number]:
    ratio = fit.hazard_ratio(float(spec.level))
    estimate = wording.ratio(
        float(ratio.estimate[j]), float(ratio.lower[j]), float(ratio.upper[j]), n=fit.n, method=fit.method
    )
    p_value = wording.p(float(fit.p_value[j]), "Wald")
    if fit.n_event < SPARSE:
        p_value = Number(f"{p_value.text} ({SPARSE_WORDS})", p_value.value, p_value.method)
    return estimate, p_value


def _joint_p(fit: HazardModel, start: int, k: int) -> float:
    """Wald's p value of all columns of one predictor together."""
    coef = fit.coef[start : start + k]
    covariance = fit.covariance[start : start + k, start : start + k]
    return float(chi2.sf(float(coef @ np.linalg.solve(covariance, coef)), k))
