"""People made of rows for the tests of the statistical plan: a protocol as small as it can be, and subjects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from analysis.domain.consecutive_threshold import Status
from analysis.domain.dataset import Dataset, Subject
from analysis.domain.endpoint_outcomes import Outcome
from analysis.domain.plan.material import Material
from trials.domain.definition import (
    AnalysisSet,
    AnalysisSpec,
    EndpointRole,
    EndpointSpec,
    Group,
    GroupKind,
    Predictor,
    Protocol,
)
from trials.formats.definitions import read_definition

GOLDEN = Path(__file__).parent.parent / "golden"
LARCH = Path(__file__).parent.parent / "definitions" / "larch.yaml"
AS_OF = date(2026, 1, 1)
NAMES = ("death", "event")


def protocol(predictors: Iterable[Predictor] = (), *, groups: Mapping[str, GroupKind] | None = None) -> Protocol:
    """Larch's protocol with the sets, endpoints and groups of these tests."""
    from dataclasses import replace

    kinds = groups or {"new": GroupKind.ARM, "old": GroupKind.EXTERNAL}
    return replace(
        read_definition(LARCH.read_text(), file="larch.yaml"),
        groups=tuple(Group(id=name, label=name.capitalize(), kind=kind) for name, kind in kinds.items()),
        analysis_sets=(
            AnalysisSet(id="all", label="Everybody", method="enrolled"),
            AnalysisSet(id="controls", label="Controls", method="external", groups=("old",)),
        ),
        endpoints=tuple(
            EndpointSpec(id=name, label=name.capitalize(), role=EndpointRole.PRIMARY, method="first_event")
            for name in (*NAMES, "response")
        ),
        predictors=tuple(predictors),
        analyses=(),
    )


def dated(days: int | None, cause: int) -> Outcome:
    """An outcome on a day: reached (1), competing (2) or censored (0)."""
    if days is None:
        return Outcome(Status.PENDING, "")
    if cause == 1:
        return Outcome(Status.REACHED, "", event_day=days)
    if cause == 2:
        return Outcome(Status.COMPETING, "", competing_kind="relapse", competing_day=days)
    return Outcome(Status.NOT_REACHED, "", censored_day=days)


def answered(status: Status) -> Outcome:
    return Outcome(status, "")


def subject(
    number: int,
    group: str = "new",
    *,
    values: Mapping[str, Any] | None = None,
    anchor: date | None = date(2020, 1, 1),
    **outcomes: Outcome,
) -> Subject:
    external = group == "old"
    return Subject(
        number,
        f"P{number:03}",
        "A",
        group,
        GroupKind.EXTERNAL if external else GroupKind.ARM,
        anchor,
        frozenset({"controls"} if external else {"all"}),
        dict(values or {}),
        outcomes,
    )


def material(subjects: Iterable[Subject], predictors: Iterable[Predictor] = (), **kwargs: Any) -> Material:
    return Material(protocol(predictors, **kwargs), Dataset("larch", "1.0", AS_OF, 0, tuple(subjects)))


def analysis(method: str, **fields: Any) -> AnalysisSpec:
    """One analysis of everybody, or of everybody against the controls (``by="analysis_set"``)."""
    given = {"endpoints": ("death",), "analysis_sets": ("all",), **fields}
    if given.get("by") == "analysis_set":
        given["analysis_sets"] = ("all", "controls")
    return AnalysisSpec(id="X", label="Test", method=method, **given)
