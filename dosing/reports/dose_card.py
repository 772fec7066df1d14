"""The dose card as a document: the same facts as on its page, for the paper that goes with the bag."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from dosing.domain.figures import proposed
from dosing.domain.heat_map import HeatMap, picture
from dosing.domain.level_guided import ADVICE
from dosing.domain.nomogram import plain
from dosing.domain.worksheet import stored_moment_words
from dosing.models import DoseWorksheet
from dosing.reports.proposal import proposal_figure, proposed_curve_figure, stored_proposal
from dosing.selectors import DoseCard, InfusionLine, dosing_of
from trials.domain.documents import (
    Block,
    Document,
    Facts,
    Heading,
    Notice,
    Paragraph,
    Picture,
    Signatures,
    TableBlock,
)
from trials.domain.figures import Table, unit_words
from trials.formats.figures import render
from trials.models import Participant

STAMP = "NOT FOR CLINICAL USE"
ANSWER_WORDS = {"yes": "yes", "no": "NO", "unknown": "NOT KNOWN"}


def dose_card_document(card: DoseCard, participant: Participant) -> Document:
    """What ``card`` shows, as a document. Nothing in it depends on when it is printed."""
    worksheet, zone = card.worksheet or card.imported, ZoneInfo(participant.site.time_zone)
    assert worksheet is not None, "a card without a worksheet has nothing to print"
    is_synthetic = bool(card.worksheet and card.worksheet.is_synthetic)
    blocks: list[Block] = [*_answer(card, worksheet)]
    if card.worksheet is not None:
        blocks += [*_inputs(card.worksheet), *_applicability(card.worksheet, participant), *_look_up(card.worksheet)]
        blocks += _proposal(card.worksheet)
    if card.heat_map is not None:
        blocks.append(_map(card.heat_map))
    blocks += [*_infusions(card, zone), *_adherence(card), Heading("Record"), *_record(card, worksheet, zone)]
    blocks.append(Signatures(_signatures(card, zone)))
    return Document(
        title=f"Dose card of {participant}",
        subtitle=f"{_product(participant)}, {participant.trial.title}, site {participant.site}",
        blocks=tuple(blocks),
        stamp=STAMP if is_synthetic else "",
        footer=(
            f"{participant.trial.code}, {participant}, worksheet {worksheet.pk}, {worksheet.protocol_version}, "
            f"Canopy {worksheet.code_version}, inputs {worksheet.input_sha256[:16]}"
        ),
    )


def _product(participant: Participant) -> str:
    spec = dosing_of(participant)
    return spec.product if spec is not None else ""


def _answer(card: DoseCard, worksheet: DoseWorksheet) -> list[Block]:
    if worksheet.is_refused:
        reasons = [Notice(f"{one['sentence']} {one['way_out']}") for one in worksheet.result["refusals"]]
        return [Heading("No dose is computed"), *reasons]
    assert worksheet.total_mg is not None and worksheet.total_mg_per_kg is not None
    facts = [
        ("Total", f"{plain(worksheet.total_mg)} mg = {plain(worksheet.total_mg_per_kg)} mg/kg"),
        ("Infusions", f"{worksheet.n_days}, the first on {worksheet.first_day_on:%d-%b-%Y}"),
    ]
    if card.vials and card.waste_mg is not None:
        facts.append(("Vials to open", f"{card.vials}; {plain(card.waste_mg)} mg are left over"))
    if card.end is not None:
        facts.append(("Ended early", f"{card.end.ended_on:%d-%b-%Y}, {card.end.cause_words}"))
    blocks: list[Block] = [Heading("Dose"), Facts(tuple(facts))]
    if card.is_open:
        blocks.append(Notice("Not released: this dose must not be given yet."))
    blocks += [Notice(one["sentence"]) for one in worksheet.result["warnings"]]
    return blocks


def _inputs(worksheet: DoseWorksheet) -> list[Block]:
    rows = []
    for one in worksheet.inputs["covariates"]:
        value = f"{one['qualifier']}{one['value']}" if one["value"] is not None else "not known"
        rows.append(
            (one["label"], value, unit_words(one["unit"]), stored_moment_words(one["observed_at"]), one["source"])
        )
    anchor = worksheet.inputs.get("anchor")
    rows.append(("Day 0", stored_moment_words(anchor) or "not known", "", "", "date that study days count from"))
    columns = ("Input", "Value", "Unit", "Taken (site time)", "Source")
    return [Heading("What the dose rests on"), TableBlock("Inputs as they were recorded", Table(columns, tuple(rows)))]


def _applicability(worksheet: DoseWorksheet, participant: Participant) -> list[Block]:
    rows = tuple(
        (one["text"], ANSWER_WORDS[one["answer"]], one["found"], one["source"], one["otherwise"])
        for one in worksheet.result.get("applicability", ())
    )
    blocks: list[Block] = []
    if rows:
        columns = ("Condition", "Holds", "Found", "Source of the condition", "Otherwise")
        blocks += [Heading("For whom the dose was made"), TableBlock("Applicability", Table(columns, rows))]
    spec = dosing_of(participant)
    for one in spec.disagreements if spec is not None else ():
        blocks.append(Paragraph(f"The sources disagree on {one.about}. None is chosen here:"))
        blocks.append(Facts(tuple((said.source, said.says) for said in one.statements)))
    return blocks


def _look_up(worksheet: DoseWorksheet) -> list[Block]:
    trace = tuple((step[0], step[1]) for step in worksheet.result["trace"])
    return [Heading("How it was computed"), Facts(trace)] if trace else []


def _proposal(worksheet: DoseWorksheet) -> list[Block]:
    """What the levels led to, with the numbers of its page."""
    of, figure = stored_proposal(worksheet), proposal_figure(worksheet)
    if of is None or figure is None:
        return []
    one = worksheet.result["guided"]["proposal"]
    shrinkage = ", ".join(f"{name} {round(100 * share)} %" for name, share in one["shrinkage"].items())
    facts = (
        ("Proposed on each open day", f"{one['mg_each']} mg; the fixed dose is {one['fixed_mg_each']} mg"),
        ("With the fixed dose", f"{one['at_planned']:.1f} {of.unit}"),
        ("With the proposed dose", f"{one['at_proposed']:.1f} {of.unit}, {of.verdict}"),
        ("Rests on", f"{one['levels_used']} levels; shrinkage {shrinkage}"),
    )
    return [
        Heading("Proposal from levels"),
        Facts(facts),
        Picture(figure.svg, figure.alt, figure.caption, proposed.table(of), "Exposure by part", "proposal"),
        *_proposed_curve(worksheet),
        Paragraph(ADVICE),
    ]


def _proposed_curve(worksheet: DoseWorksheet) -> list[Block]:
    one = proposed_curve_figure(worksheet)
    if one is None:
        return []
    named = "Infusions, levels and concentration"
    return [Picture(one.svg, one.alt, one.caption, one.table, named, "proposed-curve")]


def _map(heat_map: HeatMap) -> Picture:
    ringed = next((cell for row in heat_map.rows for cell in row.cells if cell.is_ringed), None)
    place = f"; the looked-up cell, {ringed.mg_per_kg} mg/kg over {ringed.n_days} days, is framed" if ringed else ""
    caption = f"Dosing table, {heat_map.stem_cell_source}: mg/kg in all by weight and lymphocytes{place}."
    alt = f"Grid of {len(heat_map.rows)} weight bands by {len(heat_map.columns)} lymphocyte bands{place}."
    rows = tuple(
        (row.weight, *("" if cell.is_gap else f"{cell.mg_per_kg}, {cell.n_days} d" for cell in row.cells))
        for row in heat_map.rows
    )
    svg = render(picture(heat_map), name="nomogram", title="Dosing table", description=alt)
    return Picture(svg, alt, caption, Table(("Weight, kg", *heat_map.columns), rows), "Dosing table", "nomogram")


def _infusions(card: DoseCard, zone: ZoneInfo) -> list[Block]:
    rows = []
    for line in card.lines:
        given = line.given
        started = f"{given.started_at.astimezone(zone):%d-%b-%Y %H:%M}" if given else ""
        rows.append(
            (
                str(line.number),
                "" if line.day is None else str(line.day),
                f"{line.on:%d-%b-%Y}" if line.on else "",
                plain(line.planned_mg) if line.planned_mg is not None else "",
                *(_volumes(line) if card.has_volumes else ()),
                plain(given.dose_mg) if given else "",
                started,
            )
        )
    if not rows:
        return []
    volumes = ("mL", "Vials", "Left over, mg") if card.has_volumes else ()
    columns = ("No.", "Day", "Date", "Plan, mg", *volumes, "Given, mg", f"Given at ({zone.key})")
    return [Heading("Infusions"), TableBlock("Plan by day, and what was given", Table(columns, tuple(rows)))]


def _volumes(line: InfusionLine) -> tuple[str, str, str]:
    return (
        plain(line.planned_ml) if line.planned_ml is not None else "",
        "" if line.vials is None else str(line.vials),
        plain(line.waste_mg) if line.waste_mg is not None else "",
    )


def _adherence(card: DoseCard) -> list[Block]:
    verdict = card.verdict
    blocks: list[Block] = []
    if verdict is not None and card.has_begun:
        low, high = plain(100 * verdict.low), plain(100 * verdict.high)
        state = "final" if verdict.is_final else "provisional"
        plan = card.plan
        rounded = f", rounded {plain(plan.total_mg)} mg" if plan is not None and plan.total_mg is not None else ""
        share = f"{plain(verdict.percent)} % ({state})"
        said = f"{plain(verdict.given_mg)} of {plain(verdict.planned_mg)} mg{rounded} = {share}"
        blocks.append(Facts((("Given over planned", f"{said}; allowed {low} to {high} %, both ends inside"),)))
    if card.end is not None:
        blocks.append(Paragraph(f"The course was declared ended on {card.end.ended_on:%d-%b-%Y}: {card.end.reason}"))
    for one in card.deviations:
        weight = "Major deviation" if one.is_major else "Deviation"
        named = f"{weight} {one.rule}" if one.rule else weight
        follows = " Out of the efficacy sets, in the safety set." if one.removes_from_efficacy else ""
        waits = " It waits for a person to confirm it." if one.pk in card.awaiting else ""
        blocks.append(Notice(f"{named}: {one.description}{waits}{follows}"))
    return blocks


def _record(card: DoseCard, worksheet: DoseWorksheet, zone: ZoneInfo) -> list[Block]:
    facts = [
        ("Method", f"{worksheet.method} {worksheet.method_version}".strip()),
        ("Protocol", f"{worksheet.protocol_version}"),
        ("Software", f"Canopy {worksheet.code_version}"),
        ("Inputs, sha256", worksheet.input_sha256),
    ]
    if worksheet.table is not None:
        facts += [
            ("Table", f"{worksheet.table}: {worksheet.table.title}"),
            ("Table, sha256", worksheet.table.sha256),
            ("Table, source", worksheet.table.source_citation),
        ]
    if worksheet.reason:
        facts.append(("Why computed anew", worksheet.reason))
    return [Facts(tuple(facts))]


def _signatures(card: DoseCard, zone: ZoneInfo) -> tuple[tuple[str, str, str], ...]:
    def at(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%d-%b-%Y %H:%M} {zone.key} ({moment:%H:%M} UTC)"

    worksheet = card.worksheet or card.imported
    assert worksheet is not None
    who = str(worksheet.proposed_by.user) if worksheet.proposed_by else "the system"
    lines = [("Proposed for", who, at(worksheet.created_at))]
    if worksheet.is_refused or card.imported is not None:
        return tuple(lines)
    if card.verification is not None:
        lines.append(("Verified by", str(card.verification.verified_by.user), at(card.verification.verified_at)))
    else:
        lines.append(("Verified by", "", ""))
    if card.release is not None:
        lines.append(("Released by", str(card.release.released_by.user), at(card.release.released_at)))
        if card.release.reason:
            lines.append(("Warnings answered with", card.release.reason, at(card.release.released_at)))
    else:
        lines.append(("Released by", "", ""))
    lines += [("Prepared by", "", ""), ("Given by", "", "")]
    return tuple(lines)
