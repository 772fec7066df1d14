"""A run of the statistical plan as a document: each number with its method, its denominator and its listing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, date
from types import MappingProxyType
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from analysis.domain.figures.boxes import Boxes
from analysis.domain.figures.swimmer import Swimmer
from analysis.domain.figures.transitions import Transitions
from analysis.domain.plan import figures
from analysis.domain.plan.results import CurveData, Drawing, ForestData, Listing, Number, Result, ResultTable
from analysis.formats import pictures
from analysis.models import Run
from trials.domain.definition import AnalysisSpec, Free, Protocol
from trials.domain.documents import Block, Document, Facts, Heading, Notice, Paragraph, Picture, TableBlock
from trials.domain.figures import Cell, Table
from trials.formats.figures import as_of_words, render

#: Of a reader, or a file, that leads nowhere.
NO_LINKS: Mapping[int, str] = MappingProxyType({})


def listing_url(trial: str, listing: Listing) -> str:
    """The listing that shows exactly those whom a number counts."""
    filters = {
        "set": listing.set_id,
        "endpoint": listing.endpoint,
        "status": listing.status,
        "group": listing.group,
        "item": listing.item,
        "value": listing.value,
    }
    asked = urlencode({name: value for name, value in filters.items() if value})
    return reverse("analysis:adjudications", kwargs={"trial": trial}) + (f"?{asked}" if asked else "")


def document(run: Run, results: Iterable[Result], links: Mapping[int, str] = NO_LINKS) -> Document:
    """The report of a run that is done. The same run is the same document; nothing in it depends on when it is read.

    ``links`` are the pages of the participants whom the reader may see, for the marks of figures of people.
    """
    trial, protocol = run.trial.code, run.protocol_version.protocol
    specs = {one.id: one for one in protocol.analyses}
    found = list(results)
    blocks: list[Block] = [
        Facts(
            (
                (_("Data until"), f"{run.as_of:%d-%b-%Y}"),
                (_("Asked for by"), f"{run.requested_by.user}, {run.requested_at:%d-%b-%Y %H:%M} UTC"),
                (_("Reason"), run.reason),
                (_("Protocol version"), run.protocol_version.version),
                (_("Computed by"), f"Canopy {run.code_version}, methods {run.method_version}"),
                (_("Data, SHA-256"), run.input_sha256),
                (_("Result, SHA-256"), run.result_sha256),
            )
        ),
        *_limits_of_the_cut(run),
        Heading(_("What was found"), anchor="found"),
        Facts(tuple((one.label, one.refused or _shortened(one.sentence)) for one in found)),
    ]
    for result in found:
        blocks += _analysis(run, protocol, specs.get(result.id), result, links)
    return Document(
        title=_("Report of the statistical plan"),
        subtitle=f"{run.trial.title}",
        blocks=tuple(blocks),
        footer=f"{trial} · run {run.pk} · data until {run.as_of.isoformat()} · {run.result_sha256[:16]}",
    )


def _limits_of_the_cut(run: Run) -> list[Block]:
    """What a cut before the day of the run cannot know of that day; from the run's own facts, so that it stays."""
    if run.method_version == "1" or run.as_of >= run.requested_at.astimezone(UTC).date():
        return []
    return [
        Notice(
            _(
                "The data were cut on %(cut)s and read on %(read)s. Who is evaluable is what was recorded by the end "
                "of %(cut)s (UTC), or, for whom nothing was recorded by then, what the rule says on data dated until "
                "that day. Values, events and deviations dated until that day are as they stood when they were read: a "
                "correction or a late entry made in between is in these numbers."
            )
            % {"cut": f"{run.as_of:%d-%b-%Y}", "read": f"{run.requested_at:%d-%b-%Y}"}
        )
    ]


def _shortened(sentence: str, most: int = 320) -> str:
    """The first sentences that fit."""
    if len(sentence) <= most:
        return sentence
    kept = sentence[:most].rpartition(". ")[0]
    return f"{kept}. …" if kept else sentence[:most] + " …"


def _analysis(
    run: Run, protocol: Protocol, spec: AnalysisSpec | None, result: Result, links: Mapping[int, str]
) -> list[Block]:
    blocks: list[Block] = [Heading(f"{result.id}: {result.label}", anchor=result.id)]
    if result.refused:
        return [*blocks, Notice(result.refused)]
    blocks.append(Paragraph(result.sentence))
    blocks += [Notice(warning) for warning in result.warnings]
    for place, curves in enumerate(result.curves):
        blocks.append(_curve(f"{result.id}-c{place}", curves, run.as_of))
    for place, forest in enumerate(result.forests):
        if forest.effects:
            blocks.append(_forest(f"{result.id}-f{place}", forest))
    for place, drawing in enumerate(result.drawings):
        blocks.append(_drawing(f"{result.id}-d{place}", drawing, links, run.as_of))
    blocks += [_table(run.trial.code, table) for table in result.tables]
    if spec is not None:
        blocks.append(Facts(tuple(_how(protocol, spec, result))))
    return blocks


def _table(trial: str, table: ResultTable) -> TableBlock:
    """The table with links to the listings; its methods stand below it."""
    rows = tuple(
        ((" " if row.indent else "") + row.label, *(_cell(trial, cell) for cell in row.cells)) for row in table.rows
    )
    methods = sorted({cell.method for row in table.rows for cell in row.cells if cell.method})
    notes = (*table.notes, _("Methods: %(methods)s.") % {"methods": "; ".join(methods)}) if methods else table.notes
    return TableBlock(table.caption, Table((table.head or " ", *table.columns), rows), notes)


def _cell(trial: str, number: Number) -> Cell | str:
    if number.listing is None or number.listing == Listing():
        return number.text
    return Cell(number.text, listing_url(trial, number.listing))


def _curve(name: str, data: CurveData, as_of: date) -> Picture:
    words = figures.curve_words(data)
    svg = render(figures.curve_spec(data), name=name, title=data.title, description=words)
    said = [f"{data.title}. {'; '.join(f'{line.label} n = {line.n}' for line in data.lines)}.", f"{data.method}."]
    if any(line.lost for line in data.lines):
        said.append(_("Strokes: follow-up ends."))
    if data.marks:
        said.append(_("Dashed: day %(days)s.") % {"days": ", ".join(map(str, data.marks))})
    if len(data.lines) > figures.MOST_CURVES:
        said.append(_("Only the first curves are drawn."))
    caption = " ".join([*said, as_of_words(as_of)])
    return Picture(svg, words, caption, figures.curve_table(data), data.title, name)


def _forest(name: str, data: ForestData) -> Picture:
    words = figures.forest_words(data)
    svg = render(figures.forest_spec(data), name=name, title=data.title, description=words)
    caption = f"{data.title}: {data.quantity}. {data.method}."
    return Picture(svg, words, caption, figures.forest_table(data), data.title, name)


def _drawing(name: str, drawing: Drawing, links: Mapping[int, str], as_of: date) -> Picture:
    """A figure of people: its marks and its table lead to those the reader may see."""
    data = drawing.data
    if isinstance(data, Transitions):
        figure = pictures.transitions_figure(data, as_of=as_of, name=name)
    elif isinstance(data, Boxes):
        figure = pictures.boxes_figure(data, as_of=as_of, name=name)
    elif isinstance(data, Swimmer):
        figure = pictures.swimmer_figure(data, links, as_of=as_of, name=name)
    else:
        figure = pictures.waterfall_figure(data, links, as_of=as_of, name=name)
    method = drawing.method[:1].upper() + drawing.method[1:]
    caption = f"{figure.caption} {_('Method:')} {method}."
    return Picture(figure.svg, figure.alt, caption, figure.table, drawing.title, name)


def _how(protocol: Protocol, spec: AnalysisSpec, result: Result) -> Iterable[tuple[str, str]]:
    """How it was computed: the clause of the definition in words, what is assumed, and what was checked."""
    yield _("How this is computed"), result.method
    sets = {one.id: one.label for one in protocol.analysis_sets}
    yield _("Analysed"), ", ".join(sets[name] for name in spec.analysis_sets)
    if spec.by:
        yield _("Compared by"), spec.by.replace("_", " ")
    if spec.strata:
        yield _("Within strata of"), ", ".join(spec.strata)
    if spec.enter_below is not None:
        yield _("Selection"), f"univariable p < {spec.enter_below} enters the multivariable model"
    parameters = [
        f"{name} {_words(value)}" + (_(" (assumed)") if spec.assumed or name in spec.assumed_parameters else "")
        for name, value in sorted(spec.parameters.items())
    ]
    if parameters:
        yield _("Parameters"), "; ".join(parameters)
    if spec.assumed:
        yield _("Assumed"), spec.note or _("The protocol is silent; this analysis is a default to be signed.")
    if spec.source:
        yield _("Source"), spec.source
    held = sum(law.holds for law in result.laws)
    if result.laws:
        broken = "; ".join(f"{law.name} ({law.detail})" for law in result.broken_laws)
        yield (
            _("Checked on these numbers"),
            f"{held} of {len(result.laws)} laws hold" + (f"; not: {broken}" if broken else ""),
        )


def _words(value: Free) -> str:
    if isinstance(value, tuple):
        return ", ".join(_words(one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(one)}" for name, one in value.items())
    return str(value).replace("_", " ")


_COLUMNS = ("analysis", "table", "row", "column", "text", "value", "lower", "upper", "denominator", "method", "listing")


def numbers_csv(run: Run, results: Iterable[Result]) -> str:
    """Every number of the report as one row, with its method, denominator and listing."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for result in results:
        for table in result.tables:
            for row in table.rows:
                for column, cell in zip(table.columns, row.cells, strict=False):
                    if cell.text == "–":
                        continue
                    listing = "" if cell.listing is None else listing_url(run.trial.code, cell.listing)
                    values = (cell.value, cell.lower, cell.upper, cell.n)
                    writer.writerow(
                        [
                            *map(_safe, (result.id, table.caption, row.label, column, cell.text)),
                            *("" if value is None else value for value in values),
                            *map(_safe, (cell.method, listing)),
                        ]
                    )
    return out.getvalue()


def _safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
