"""A laboratory file as text: columns, rows and what is wrong with them, row by row and column by column.

The file is UTF-8 CSV with a header, delimited by ``,``, ``;`` or a tab, one result a row. Nothing here knows which
participants and analytes there are; that is looked up afterwards, and its findings are rejections of the same form.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: What one transaction writes, with its audit trail, while somebody waits for it.
MAX_ROWS = 25_000
MAX_BYTES = 10 * 1024 * 1024
MAX_FIELD_CHARACTERS = 200
MAX_REJECTIONS = 1000

#: Column: the headings it is recognised by, in lower case without spaces, dots and underscores.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "participant": ("participant", "subject", "subjectid", "subjectcode", "usubjid", "participantcode"),
    "sampled_at": ("sampledat", "sampled", "collected", "collectedat", "collectiondatetime", "lbdtc", "sampledon"),
    "analyte": ("analyte", "test", "testcode", "lbtestcd"),
    "value": ("value", "result", "lborres"),
    "unit": ("unit", "units", "lborresu"),
    "lower_limit": ("lowerlimit", "lln", "lbornrlo"),
    "upper_limit": ("upperlimit", "uln", "lbornrhi"),
    "lloq": ("lloq", "loq", "limitofquantification", "lblloq", "pclloq"),
    "laboratory": ("laboratory", "lab", "lbnam"),
    "specimen": ("specimen", "lbspec"),
}
REQUIRED = ("participant", "sampled_at", "analyte", "value", "unit")
_COLUMN_OF = {heading: column for column, headings in COLUMNS.items() for heading in headings}


@dataclass(frozen=True)
class Rejection:
    """Why a part of the file cannot be taken; row 1 is the header, ``column`` its heading as written."""

    row: int
    column: str
    reason: str


@dataclass(frozen=True)
class LabFileRow:
    """One result as the file has it; texts without the spaces around them."""

    row: int
    participant: str
    sampled_at: str
    analyte: str
    value: str
    unit: str
    lower_limit: str = ""
    upper_limit: str = ""
    lloq: str = ""
    laboratory: str = ""
    specimen: str = ""


@dataclass(frozen=True)
class LabFile:
    """The rows that could be read, the headings as written, and every rejection."""

    rows: tuple[LabFileRow, ...]
    headings: Mapping[str, str]
    rejections: tuple[Rejection, ...]


class LabFileRefused(ValueError):
    """The file as a whole cannot be read; carries the place."""

    def __init__(self, reason: str, *, row: int = 1, column: str = "") -> None:
        super().__init__(reason)
        self.rejection = Rejection(row, column, reason)


def template(analyte: str, unit: str) -> str:
    """A file to fill in: the header and two rows that show a result and one below the limit of quantification.

    The participant of the rows is nobody's number: a row that is left in is rejected.
    """
    rows = (
        tuple(COLUMNS),
        ("EXAMPLE-1", "2026-11-12 14:05", analyte, "12.5", unit, "", "", "0.5", "Assay A", "blood"),
        ("EXAMPLE-1", "2026-11-13 09:55", analyte, "<0.5", unit, "", "", "0.5", "Assay A", "blood"),
    )
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    # The mark at the beginning tells spreadsheets that the file is UTF-8; it is read over when the file comes back.
    return f"\ufeff{out.getvalue()}"


def too_large(size_bytes: int) -> str:
    """The sentence that refuses a file by its size, before it is read; empty when the size is fine."""
    if size_bytes <= MAX_BYTES:
        return ""
    return (
        f"The file has {size_bytes / 1024 / 1024:.0f} MB; at most {MAX_BYTES // 1024 // 1024} MB and {MAX_ROWS:,} rows "
        "are taken at once. Split it by date, and upload the parts one after the other."
    )


def read_lab_file(content: bytes) -> LabFile:
    """Read the file; rejections stand beside the rows they concern. Raises LabFileRefused where nothing can be read."""
    if sentence := too_large(len(content)):
        raise LabFileRefused(sentence)
    lines = content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
    lines += not content.endswith((b"\n", b"\r"))
    # Counted before anything is built from it: a file of a million rows costs one pass over its bytes.
    if lines > MAX_ROWS + 1:
        raise LabFileRefused(
            f"The file has {lines:,} lines; at most {MAX_ROWS:,} rows are taken at once. "
            "Split it by date, and upload the parts one after the other.",
            row=MAX_ROWS + 2,
        )
    text = _text(content)
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = next(_records(reader), None)
    if header is None or not any(cell.strip() for cell in header[1]):
        raise LabFileRefused(f"The file is empty. Its first line names the columns: {', '.join(REQUIRED)}.")
    columns = _columns(header[1])
    headings = {name: header[1][index].strip() for name, index in columns.items()}
    rows: list[LabFileRow] = []
    rejections: list[Rejection] = []
    for number, cells in _records(reader):
        if not any(cell.strip() for cell in cells):
            continue
        found = _cells_wrong(number, cells, columns, headings, width=len(header[1]))
        if found:
            rejections += found
        else:
            rows.append(LabFileRow(number, **{name: cells[index].strip() for name, index in columns.items()}))
    if not rows and not rejections:
        raise LabFileRefused("The file has a header and no row below it.", row=2)
    rejections += _repeated(rows, headings)
    return LabFile(tuple(rows), headings, tuple(sorted(rejections, key=lambda one: one.row)))


def _text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LabFileRefused("The file is UTF-16. Save it as CSV UTF-8 and upload it again.")
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise LabFileRefused("This is a spreadsheet, not a CSV file. Save it as CSV UTF-8 and upload it again.")
    if (at := content.find(b"\x00")) >= 0:
        row, column = _place(content, at)
        raise LabFileRefused(
            f"A NUL character stands on line {row}, character {column}. Export the file again.",
            row=row,
            column=str(column),
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row, column = _place(content, error.start)
        raise LabFileRefused(
            f"Line {row}, character {column} is not UTF-8: the file has another encoding. "
            "Save it as CSV UTF-8 and upload it again.",
            row=row,
            column=str(column),
        ) from None


def _place(content: bytes, at: int) -> tuple[int, int]:
    """Line and character, both counted from 1."""
    before = content[:at].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1


def _delimiter(text: str) -> str:
    """The delimiter of the header line: the one of the three that stands in it most often."""
    header = next((line for line in io.StringIO(text) if line.strip()), "")
    return max(",;\t", key=header.count)


def _records(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it begins on; a broken quote ends the reading there."""
    while True:
        begins = reader.line_num + 1  # type: ignore[attr-defined]
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = (
                "A quote is opened and never closed"
                if "unexpected end" in str(error)
                else "A quote stands inside a cell"
            )
            if "field larger" in str(error):
                reason = "A cell is longer than any result; a quote may have been left open"
            raise LabFileRefused(f'{reason}. Correct the " on this line.', row=begins) from None
        yield begins, cells


def _columns(header: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, heading in enumerate(header):
        name = _COLUMN_OF.get(re.sub(r"[\s._-]", "", heading).lower())
        if name is None:
            # A column nobody asked for might be the one that was meant: unknown headings are not passed over.
            known = ", ".join(COLUMNS)
            raise LabFileRefused(
                f"The column “{heading.strip()[:40]}” is not known. Columns are {known}.",
                column=heading.strip()[:40] or str(index + 1),
            )
        if name in found:
            raise LabFileRefused(
                f"The column {name} is there twice: “{header[found[name]].strip()}” and “{heading.strip()}”.",
                column=heading.strip(),
            )
        found[name] = index
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise LabFileRefused(
            f"The file has no column {' and no column '.join(missing)}. "
            f"The first line names the columns: {', '.join(REQUIRED)}.",
            column=missing[0],
        )
    return found


def _cells_wrong(
    number: int, cells: list[str], columns: Mapping[str, int], headings: Mapping[str, str], *, width: int
) -> list[Rejection]:
    if len(cells) != width:
        return [
            Rejection(
                number, "", f"The row has {len(cells)} cells and the header {width}. Check delimiters and quotes."
            )
        ]
    wrong = []
    for name, index in columns.items():
        cell = cells[index].strip()
        if len(cell) > MAX_FIELD_CHARACTERS:
            wrong.append(Rejection(number, headings[name], f"The cell has {len(cell)} characters; check the quotes."))
        elif any(ord(character) < 32 or ord(character) == 127 for character in cell):
            wrong.append(Rejection(number, headings[name], "The cell holds a line break or a control character."))
        # A unit may be absent beside a reason such as ND; whether it may is decided with the value.
        elif not cell and name in REQUIRED and name != "unit":
            wrong.append(Rejection(number, headings[name], "The cell is empty. Fill it in, or take the row out."))
    return wrong


def _repeated(rows: list[LabFileRow], headings: Mapping[str, str]) -> Iterator[Rejection]:
    """The same result a second time, whether equal or not: which one counts is not for us to guess."""
    first: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = (row.participant, row.sampled_at, row.analyte.upper(), row.laboratory, row.specimen)
        if key in first:
            yield Rejection(
                row.row,
                headings["analyte"],
                f"{row.analyte} of {row.participant} at {row.sampled_at} stands on row {first[key]} already. Keep one.",
            )
        else:
            first[key] = row.row
