"""The packet of a stage gate, for those who review and decide: everything in it is of the frozen snapshot.

Late data do not change it, and neither does the decision: the same snapshot is the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from analysis import formats
from analysis.domain.figures.stage_gate import StageCount, StageGates
from analysis.models import Gate
from trials.domain.documents import Block, Document, Facts, Heading, Notice, Paragraph, Picture, TableBlock
from trials.domain.figures import Table, percent

RATES = {"null": "if the rate were that of the null hypothesis", "alternative": "if it were that of the alternative",
         "observed": "if it stayed as it is"}  # fmt: skip


def packet(gate: Gate, *, closed: Sequence[Mapping[str, Any]] | None) -> Document:
    """The open part, and the ``closed`` part: the participants one by one (None for who may not see all of them)."""
    snapshot = gate.snapshot
    as_of = datetime.fromisoformat(snapshot["as_of"])
    version = gate.protocol_version
    blocks: list[Block] = [
        Notice(f"The design proposes: {gate.get_proposal_display()}. A person decides."),
        Facts(
            (
                (_("Trial"), version.protocol.title),
                (_("Stage"), str(gate.stage)),
                (_("Data as of"), f"{as_of:%d-%b-%Y %H:%M} UTC"),
                (_("Protocol version"), version.protocol.version),
                (_("SHA-256 of the snapshot"), gate.snapshot_sha256),
            )
        ),
        Heading(_("The primary endpoint")),
        Paragraph(snapshot["sentence"]),
        _figure(gate, as_of),
        *_design(snapshot),
        *_outlook(snapshot),
        *_accrual(snapshot),
        Heading(_("Safety")),
        *_safety(snapshot),
    ]
    if closed is not None:
        blocks += [Heading(_("Closed part: participants in the order they count")), _participants(closed)]
    return Document(
        title=_("Packet of stage %(n)d") % {"n": gate.stage},
        subtitle=str(gate.trial),
        blocks=tuple(blocks),
        stamp="" if closed is None else _("CLOSED PART INCLUDED - CONFIDENTIAL"),
        footer=f"{gate.trial.code} · stage {gate.stage} · data as of {as_of:%d-%b-%Y %H:%M} UTC · "
        f"snapshot {gate.snapshot_sha256[:16]} · method {gate.method_version} · Canopy {gate.code_version}",
    )


def _figure(gate: Gate, as_of: datetime) -> Picture:
    count = StageCount(
        gate.stage, gate.evaluable or 0, gate.boundary or 0, gate.evaluable or 0, gate.responders or 0, "proposed"
    )
    drawn = formats.stage_figure(StageGates((count,)), as_of=as_of, name="packet-stage")
    return Picture(drawn.svg, drawn.alt, drawn.caption, drawn.table, name="packet-stage")


def _design(snapshot: Mapping[str, Any]) -> list[Block]:
    operating = snapshot.get("operating_characteristics")
    if not operating:
        return []
    rows = tuple(
        (
            f"{percent(one['p'])} ({name})",
            percent(one["early_termination"], 1),
            percent(one["rejection"], 1),
            f"{one['expected_n']:.1f}",
        )
        for name, one in operating.items()
    )
    table = Table((_("True rate"), _("Stops after stage 1"), _("Success"), _("Expected n")), rows)
    return [TableBlock(_("Operating characteristics of the design, exact binomial (Simon 1989)"), table)]


def _outlook(snapshot: Mapping[str, Any]) -> list[Block]:
    outlook = snapshot.get("outlook")
    if not outlook:
        return []
    words = (
        _("Success is certain whatever follows.")
        if outlook["is_success_certain"]
        else _("Success is still possible.")
        if outlook["is_success_possible"]
        else _("Success is no longer possible.")
    )
    rows = tuple((f"{percent(rate, 1)}, {RATES[name]}", percent(power, 1)) for name, rate, power in outlook["power"])
    caption = _("Conditional power: the probability of success at the end, exact binomial")
    return [Paragraph(words), TableBlock(caption, Table((_("Rate among those to come"), _("Probability")), rows))]


def _accrual(snapshot: Mapping[str, Any]) -> list[Block]:
    accrual = snapshot.get("accrual")
    if not accrual:
        return []
    removed = ", ".join(f"{rule}: {n}" for rule, n in accrual["removed"].items()) or _("nobody")
    pairs = (
        (_("Enrolled"), str(accrual["enrolled"])),
        (_("Removed from the efficacy sets"), removed),
        (_("Not evaluable"), str(accrual["not_evaluable"])),
        (_("Counted as not reached for want of data"), ", ".join(snapshot["unresolved"]) or _("nobody")),
    )
    return [Heading(_("Accrual")), Facts(pairs)]


def _safety(snapshot: Mapping[str, Any]) -> list[Block]:
    safety = snapshot["safety"]
    blocks: list[Block] = [
        Paragraph(
            _("%(total)d adverse events in %(people)d participants, %(serious)d of them serious.")
            % {"total": safety["total"], "people": safety["participants"], "serious": safety["serious"]}
        )
    ]
    grades = [grade for grade in range(1, 6) if safety.get(f"grade_{grade}")]
    by_category = snapshot.get("safety_by_category")
    if by_category and grades:
        rows = tuple(
            (name, *(str(counts.get(str(grade), 0)) for grade in grades)) for name, counts in by_category.items()
        )
        columns = (_("Category"), *(_("Grade %(n)d") % {"n": grade} for grade in grades))
        blocks.append(
            TableBlock(_("Adverse events (events, not participants) by category and grade"), Table(columns, rows))
        )
    if snapshot.get("deaths") is not None:
        causes = ", ".join(f"{cause} {n}" for cause, n in snapshot["deaths"].items()) or _("none")
        blocks.append(Facts(((_("Deaths by primary cause"), causes),)))
    return blocks


def _participants(seats: Sequence[Mapping[str, Any]]) -> TableBlock:
    rows = tuple(
        (str(place), seat["number"], seat["anchor_day"] or "", seat["status"].replace("_", " "))
        for place, seat in enumerate(seats, start=1)
    )
    columns = ("", _("Participant"), _("Day of the anchor"), _("Endpoint"))
    return TableBlock(_("Evaluable participants by date of the anchor"), Table(columns, rows))
