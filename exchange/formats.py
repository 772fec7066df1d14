"""The archive of an export: one CSV a table, with what a reader needs to understand and to check it.

Nothing in it tells when or by whom it was made: the same data and the same request give the same bytes. It is written
row by row, so that its size is that of the disk, never of the memory.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from exchange.domain.codebook import (
    CODEBOOK_HEADER,
    CODELIST_HEADER,
    MISSING_CODES,
    Row,
    Table,
    codebook_rows,
    codelist_rows,
)
from exchange.domain.delimited import Variant, harmless_line, line

#: The first moment that a ZIP can hold: the same for every member of every archive.
NO_MOMENT = (1980, 1, 1, 0, 0, 0)
#: Rows between two words about the progress.
TELL_EVERY = 500

Tell = Callable[[int], None]


@dataclass(frozen=True)
class Preface:
    """What the README says of an archive beside its files."""

    trial: str
    title: str
    snapshot: str
    data_as_of: str
    scope: str
    left_out: tuple[str, ...]
    variant: Variant
    software: str


@dataclass
class Archive:
    """A ZIP being written; ``counts`` and ``digests`` fill as its files are closed."""

    file: zipfile.ZipFile
    variant: Variant
    counts: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def add_text(self, name: str, text: str) -> None:
        with self._member(name) as member:
            member.write(text.encode())

    def add_rows(self, name: str, header: Sequence[str], rows: Iterable[Row]) -> int:
        """Write one CSV and return its number of rows, the header apart."""
        as_text = harmless_line if self.variant is Variant.SPREADSHEET else line
        with self._member(name) as member:
            if self.variant is Variant.SPREADSHEET:
                # Without the mark, a spreadsheet reads UTF-8 as the code page of the computer.
                member.write("\ufeff".encode())
            text = io.TextIOWrapper(io.BufferedWriter(member, 1 << 16), encoding="utf-8", newline="")
            lines = csv.writer(text, lineterminator="\r\n")
            lines.writerow(header)
            count = 0
            for row in rows:
                lines.writerow(as_text(row))
                count += 1
            text.flush()
        self.counts[name] = count
        return count

    @contextmanager
    def _member(self, name: str) -> Iterator[_Hashed]:
        info = zipfile.ZipInfo(name, NO_MOMENT)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.create_system = 3  # the same bytes whichever system writes them
        info.external_attr = 0o644 << 16
        with self.file.open(info, "w", force_zip64=True) as member:
            hashed = _Hashed(member)
            yield hashed
        self.digests[name] = hashed.digest.hexdigest()


class _Hashed(io.RawIOBase):
    """Passes on what is written and hashes it on its way."""

    def __init__(self, to: IO[bytes]) -> None:
        super().__init__()
        self.to = to
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.digest.update(data)
        return self.to.write(data)


def write_archive(to: IO[bytes], tables: Sequence[Table], preface: Preface, *, tell: Tell | None = None) -> Archive:
    """Write the tables with codebook, code lists, README and checksums; ``tell`` hears the percentage, now and then."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        archive = Archive(file, preface.variant)
        for place, table in enumerate(tables):
            expected, rows = table.rows()
            told = _telling(rows, expected, place, len(tables), tell) if tell else rows
            archive.add_rows(f"{table.name}.csv", [column.name for column in table.columns], told)
        archive.add_rows("codebook.csv", CODEBOOK_HEADER, codebook_rows(tables))
        archive.add_rows("codelists.csv", CODELIST_HEADER, codelist_rows(tables))
        archive.add_text("README.txt", readme(preface, tables, archive.counts))
        sums = "".join(f"{digest}  {name}\n" for name, digest in archive.digests.items())
        archive.add_text("CHECKSUMS.sha256", sums)
    return archive


def _telling(rows: Iterator[Row], expected: int | None, place: int, tables: int, tell: Tell) -> Iterator[Row]:
    """The rows as they pass; each table is an equal share of the whole."""
    tell(100 * place // tables)
    for number, row in enumerate(rows, start=1):
        if expected and number % TELL_EVERY == 0:
            tell(int(100 * (place + min(number / expected, 1)) / tables))
        yield row


def readme(preface: Preface, tables: Sequence[Table], counts: dict[str, int]) -> str:
    """The words beside the data. Line ends are those of Windows, so that every editor shows them."""
    rows = sorted(counts[f"{table.name}.csv"] for table in tables)
    width = max([len(table.name) + 4 for table in tables], default=0)
    digits = len(str(rows[-1])) if rows else 1
    if preface.variant is Variant.SPREADSHEET:
        variant = (
            "spreadsheet: text that a spreadsheet would compute (it begins with = + - @, a tab or a line end) has an\n"
            "            apostrophe before it, and each file begins with a byte-order mark. Numbers are untouched.\n"
            "            For statistics take the variant 'statistical', where text is as it was entered."
        )
    else:
        variant = (
            "statistical: text is as it was entered, byte for byte. Do not open these files in a spreadsheet: a text\n"
            "            that begins with = + - @ would be computed there. Take the variant 'spreadsheet' for that."
        )
    left_out = ", ".join(preface.left_out) or "nothing"
    lines = [
        f"{preface.trial.upper()}: {preface.title}",
        "",
        "Data sets exported from Canopy, one CSV file each.",
        "",
        f"Snapshot    {preface.snapshot}",
        "            chain, number and hash of the last change in the audit trail that is in these files",
        f"Data as of  {preface.data_as_of}",
        f"Scope       {preface.scope}",
        f"Left out    {left_out}",
        f"Software    {preface.software}",
        f"Variant     {variant}",
        "",
        "Files",
        *[
            f"  {table.name + '.csv':<{width}}  {counts[f'{table.name}.csv']:>{digits}} rows  {table.label}"
            for table in tables
        ],
        "  codebook.csv: each column with its label, type, unit, code list and where it comes from",
        "  codelists.csv: each code with its label",
        "",
        *_notes(tables),
        "Reading the files",
        "  UTF-8, comma, lines end with CR LF, quotes as in RFC 4180, the first line names the columns.",
        "  Every file has the keys study, site and subject (but for numeric files, see their notes).",
        "  Rows are in a fixed order.",
        "  Dates are ISO 8601. One that is known in part is written in part (2017-03), beside its precision; it is",
        "  never completed. Columns that end in _day hold the study day beside a date that is known to the day.",
        "  Moments end in Z: they are UTC.",
        "",
        "Missing values",
        "  An empty cell says that there is no value. The reason stands in its own column, which ends in _miss:",
        *[f"  {code:<4} {label}" for code, label in MISSING_CODES.items()],
        "  An empty cell without a reason was not answered.",
        "",
        "Checking the files",
        "  sha256sum -c CHECKSUMS.sha256",
        "  The same request on the same data gives the same files, and the same archive, byte for byte.",
        "",
    ]
    return "\r\n".join("\n".join(lines).split("\n"))


def _notes(tables: Sequence[Table]) -> list[str]:
    """What a reader has to know of single files, each set of notes once."""
    told: dict[tuple[str, ...], list[str]] = {}
    for table in tables:
        if table.notes:
            told.setdefault(table.notes, []).append(f"{table.name}.csv")
    return [line for notes, names in told.items() for line in (", ".join(names), *(f"  {one}" for one in notes), "")]
