"""Does reaching one endpoint go with another? By a covariate that changes with time, and by a landmark."""

from __future__ import annotations

from analysis.domain.dataset import Subject
from analysis.domain.plan import wording
from analysis.domain.plan.material import CannotCompute, Material, strands, tells_groups, warnings
from analysis.domain.plan.regression import SPARSE, SPARSE_WORDS
from analysis.domain.plan.results import Law, Number, Result, ResultTable, Row
from analysis.domain.survival import CoxModel, cox, log_rank, proportional_hazards_test
from trials.domain.definition import AnalysisSpec, EndpointSpec

IMMORTAL = (
    "The naive comparison groups people by what became of them later. Who reaches the endpoint must have lived until "
    "then, so that its time until then cannot end in death (immortal-time bias). It is shown to be compared, and is no "
    "result; read the covariate that changes with time, or the landmark."
)


def responder_effect(material: Material, spec: AnalysisSpec) -> Result:
    """The first endpoint as a predictor of each of the others: time-dependent, at a landmark, and naive beside them.

    With competing events the Cox model is cause-specific: they are censored.
    """
    groups = strands(material, spec)
    by_group = tells_groups(material, spec, groups)
    by_id = {one.id: one for one in material.protocol.endpoints}
    marker = by_id[spec.endpoints[0]]
    landmark = int(str(spec.parameters["landmark_day"])) - material.dataset.first_day
    subjects = [subject for group in groups for subject in group.subjects]
    tables, sentences, laws, refused = [], [], [], []
    for name in spec.endpoints[1:]:
        outcome = by_id[name]
        people = [s for s in subjects if s.has_reached(marker.id) is not None or s.outcomes.get(marker.id) is not None]
        rows = [
            _row("Changing with time", "time-dependent covariate", *_time_dependent(material, people, marker, outcome)),
            _row(
                f"Landmark at day {landmark + material.dataset.first_day}",
                "landmark",
                *_landmark(material, people, marker, outcome, landmark),
            ),
            _row("Naive, biased", "naive", *_naive(material, people, marker, outcome)),
        ]
        if all(row.cells[2].value is None for row in rows):
            refused.append(f"{outcome.label}: {rows[0].cells[2].text}")
        cause = " (cause-specific: competing events censored)" if outcome.competing else ""
        tables.append(
            ResultTable(
                f"{outcome.label} by {marker.label}: Cox{cause}", "Comparison",
                ("Participants", "Events", "Hazard ratio", "p", "Log-rank p", "PH test p"), tuple(rows),
                (IMMORTAL, f"Landmark: only those alive and followed at day {landmark + material.dataset.first_day}, "
                 f"grouped by what they had reached by then."), by_group,
            )
        )  # fmt: skip
        sentences.append(
            f"{outcome.label}: hazard ratio {rows[0].cells[2].text} with {marker.label} as it happens, "
            f"{rows[1].cells[2].text} from the landmark."
        )
        held = [s for s in people if s.time_to(outcome.id, first_day=material.dataset.first_day)]
        laws.append(
            Law(f"{outcome.label}: the landmark holds no more than everybody", (rows[1].cells[0].n or 0) <= len(held))
        )
    return Result(
        spec.id, spec.label, "Cox with a time-dependent covariate; landmark", " ".join(sentences), tuple(tables),
        laws=tuple(laws), warnings=(*warnings(groups), IMMORTAL, *refused), by_group=by_group,
    )  # fmt: skip


Fitted = tuple[CoxModel | None, str, int, int, float | None]


def _row(label: str, method: str, fit: CoxModel | None, why: str, n: int, events: int, rank: float | None) -> Row:
    counts = (Number(str(n), float(n), method, n), Number(str(events), float(events), method, n))
    if fit is None:
        return Row(label, (*counts, Number(why, None, method), wording.NONE, wording.NONE, wording.NONE))
    ratio = fit.hazard_ratio()
    hr = wording.ratio(
        float(ratio.estimate[0]), float(ratio.lower[0]), float(ratio.upper[0]), n=n, method=f"{fit.method}, {method}"
    )
    try:
        ph = wording.p(float(proportional_hazards_test(fit).p_value[0]), "Grambsch-Therneau score test, km")
    except ValueError as refused:
        ph = Number("not tested", None, wording.said(refused))
    if events < SPARSE:
        ph = Number(f"{ph.text} ({SPARSE_WORDS})", ph.value, ph.method)
    tested = wording.NONE if rank is None else wording.p(rank, "log-rank, two-sided")
    return Row(label, (*counts, hr, wording.p(float(fit.p_value[0]), "Wald"), tested, ph))


def _time_dependent(material: Material, people: list[Subject], marker: EndpointSpec, outcome: EndpointSpec) -> Fitted:
    """Two intervals for whoever reaches the marker: before it and after it."""
    first = material.dataset.first_day
    spans: list[tuple[int, int, int, int]] = []
    n = 0
    for subject in people:
        time = subject.time_to(outcome.id, first_day=first)
        reached_at = subject.outcomes[marker.id].event_day if subject.has_reached(marker.id) else None
        if time is None or time.days <= 0:
            continue
        n += 1
        died = int(time.cause == 1)
        at = None if reached_at is None else reached_at - first
        if at is None or at >= time.days:
            spans.append((0, time.days, died, 0))
            continue
        if at > 0:
            spans.append((0, at, 0, 0))
        spans.append((max(at, 0), time.days, died, 1))
    start, stop, event, x = ([span[k] for span in spans] for k in range(4))
    return _fitted(stop, event, x, n, start=start)


def _landmark(
    material: Material, people: list[Subject], marker: EndpointSpec, outcome: EndpointSpec, landmark: int
) -> Fitted:
    first = material.dataset.first_day
    days, event, x = [], [], []
    for subject in people:
        time = subject.time_to(outcome.id, first_day=first)
        if time is None or time.days <= landmark:
            continue
        reached_at = subject.outcomes[marker.id].event_day if subject.has_reached(marker.id) else None
        days.append(time.days - landmark)
        event.append(int(time.cause == 1))
        x.append(int(reached_at is not None and reached_at - first <= landmark))
    return _fitted(days, event, x, len(days), rank=True)


def _naive(material: Material, people: list[Subject], marker: EndpointSpec, outcome: EndpointSpec) -> Fitted:
    first = material.dataset.first_day
    days, event, x = [], [], []
    for subject in people:
        time = subject.time_to(outcome.id, first_day=first)
        if time is not None and time.days >= 0:
            days.append(time.days)
            event.append(int(time.cause == 1))
            x.append(int(subject.has_reached(marker.id) is True))
    return _fitted(days, event, x, len(days), rank=True)


def _fitted(
    days: list[int], event: list[int], x: list[int], n: int, *, start: list[int] | None = None, rank: bool = False
) -> Fitted:
    if not days:
        raise CannotCompute("No time after the beginning is known of anybody yet.")
    try:
        fit = cox(days, event, x, start=start)
        p = log_rank(days, event, x).p_value if rank else None
    except ValueError as refused:
        return None, wording.said(refused), n, sum(event), None
    return fit, "", n, sum(event), p
