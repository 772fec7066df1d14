"""The data dictionary of an export, from a definition alone: what each file would hold, with no database behind it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from django.db.models import QuerySet

from exchange.datasets import DATASETS, Extent, Subject
from exchange.domain.codebook import Column, Table, codelist_rows
from trials.domain import language
from trials.domain.definition import Protocol
from trials.formats.definitions import read_definition_file
from trials.models import Participant, ProtocolVersion, Trial


class ExtentOfDefinition(Extent):
    """A trial with a definition and nobody in it."""

    @property
    def participants(self) -> QuerySet[Participant]:
        return Participant.objects.none()

    @cached_property
    def subjects(self) -> Mapping[int, Subject]:
        return {}

    @cached_property
    def protocols(self) -> Mapping[int, Protocol]:
        return {0: self.trial.protocol}

    @cached_property
    def version_names(self) -> Mapping[int, str]:
        return {0: self.trial.protocol.version}


def tables_of(definition: Path) -> dict[str, list[Table]]:
    """The tables of every data set, as an export of this definition by somebody who may have everything holds them."""
    _, protocol = read_definition_file(definition)
    trial = Trial(pk=0, code=protocol.trial, title=protocol.title)
    trial.active_version = ProtocolVersion(
        pk=0,
        trial=trial,
        version=protocol.version,
        definition=language.to_data(protocol),
        sha256=language.sha256(protocol),
    )
    extent = ExtentOfDefinition(trial=trial, site_id=None, last_change=0, groups=True, identifying=True)
    return {dataset.id: dataset.tables(extent) for dataset in DATASETS.values()}


def page(definition: Path, *, shown_as: str) -> str:
    """The dictionary as a page: a table a file, and the codes."""
    datasets = tables_of(definition)
    tables = [table for group in datasets.values() for table in group]
    lines = [
        f"# What an export of {definition.parent.name.upper()} holds",
        "",
        f"From `{shown_as}` and `exchange/datasets.py`. Every export carries its own `codebook.csv` and",
        "`codelists.csv`, which say the same of what is in it. The forms of another trial give other files, its",
        "sets and endpoints other columns of `subjects.csv`; the other files are the same for every trial.",
        "",
        "A column marked *group* tells the group of a participant, and one marked *identifying* may identify a person:",
        "both are left out of the export of a reader who may not have them. Where the reason of an empty cell is known",
        "it stands in the column that ends in `_miss`.",
        "",
    ]
    for name, group in datasets.items():
        needs = DATASETS[name].needs.meaning
        lines += [f"## {DATASETS[name].label}", "", f"For roles that may: {needs}", ""]
        for table in group:
            lines += [f"### `{table.name}.csv`", "", f"{table.label}.{_group_words(table)}", ""]
            lines += ["| column | meaning | type | unit | codes | from | marks |", "|---|---|---|---|---|---|---|"]
            lines += [_line(column) for column in table.columns]
            lines.append("")
    lines += ["## Codes", "", "| list | code | meaning |", "|---|---|---|"]
    lines += [f"| {name} | `{code}` | {_cell(label)} |" for name, code, label in codelist_rows(tables)]
    return "\n".join(lines) + "\n"


def _group_words(table: Table) -> str:
    return " The whole file tells the group." if table.tells_group else ""


def _line(column: Column) -> str:
    marks = [word for word, holds in (("identifying", column.identifying), ("group", column.tells_group)) if holds]
    cells = (
        f"`{column.name}`",
        column.label,
        str(column.type),
        column.unit,
        column.codes.name if column.codes else "",
        column.source,
        ", ".join(marks),
    )
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
