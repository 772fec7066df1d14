"""Reads of the runs of the statistical plan: the list, one run, how it differs from the one before, what changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from analysis.datasets import plan as plan_data
from analysis.domain.figures.swimmer import Swimmer
from analysis.domain.figures.waterfall import Waterfall
from analysis.domain.plan.results import Result, from_plain
from analysis.models import Run, RunState
from trials.models import Membership, Participant
from trials.selectors import may_see_group


def runs_of(membership: Membership) -> QuerySet[Run]:
    """The runs that the membership sees, the latest first."""
    return (
        Run.objects.visible_to(membership)
        .select_related("trial", "protocol_version", "requested_by__user")
        .order_by("-pk")
    )


def run_for(membership: Membership, pk: int) -> Run | None:
    return runs_of(membership).filter(pk=pk).first()


def unfinished_runs() -> list[int]:
    """Runs that wait, or that some worker has begun: whether it still lives is asked when they are computed."""
    waiting = Run.objects.filter(state__in=[RunState.QUEUED, RunState.RUNNING])
    return list(waiting.order_by("pk").values_list("pk", flat=True))


WITHHELD = (
    "This analysis tells the groups of the trial apart. Your role does not see the allocation; ask somebody who does."
)


def results_for(membership: Membership, run: Run) -> tuple[Result, ...]:
    """The results of a run as far as the membership may see: what tells the groups apart is withheld, and said so."""
    results = tuple(from_plain(one) for one in run.result)
    if may_see_group(membership, membership.trial.protocol):
        return results
    return tuple(
        Result(one.id, one.label, one.method, refused=WITHHELD, by_group=True) if one.by_group else one
        for one in results
    )


def drawn_of(membership: Membership, results: Iterable[Result]) -> set[int]:
    """The participants in the figures of people whose pages the membership may open."""
    drawn: set[int] = set()
    for result in results:
        for drawing in result.drawings:
            if isinstance(drawing.data, Swimmer):
                drawn |= {lane.participant for lane in drawing.data.lanes}
            elif isinstance(drawing.data, Waterfall):
                drawn |= {bar.participant for bar in drawing.data.bars}
    seen = Participant.objects.visible_to(membership).filter(pk__in=drawn)
    return set(seen.values_list("pk", flat=True))


@dataclass(frozen=True)
class Comparison:
    """A run beside the last one before it that is done, of the same day of data."""

    other: Run
    same_inputs: bool
    same_result: bool
    same_code: bool

    @property
    def sentence(self) -> str:
        before = f"run {self.other.pk}"
        if self.same_inputs and self.same_result:
            return f"The data are those of {before}, and so is the result, number for number."
        if self.same_inputs and not self.same_code:
            return (
                f"The data are those of {before}, the result is not: it was computed by version "
                f"{self.other.code_version}, this one by another. Compare the two reports."
            )
        if self.same_inputs:
            return f"The data are those of {before}, the result is not, by the same version: report this as a fault."
        return f"The data differ from those of {before}."


def compared(run: Run) -> Comparison | None:
    """The run beside the one before it; None where there is none."""
    before = Run.objects.filter(trial=run.trial_id, state=RunState.DONE, pk__lt=run.pk, as_of=run.as_of)
    other = before.order_by("-pk").first()
    if other is None or run.state != RunState.DONE:
        return None
    return Comparison(
        other,
        other.input_sha256 == run.input_sha256,
        other.result_sha256 == run.result_sha256,
        (other.code_version, other.method_version) == (run.code_version, run.method_version),
    )


def has_changed(run: Run) -> bool | None:
    """Whether data were written since the run read them; None where the run is not done.

    Running again on the same day of data tells whether they change a number: :func:`compared`.
    """
    return None if run.state != RunState.DONE else plan_data.last_change(run.trial) != run.data_seq
