"""Malformed laboratory files: reported by row and column, cheaply, and never half read."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from casebook.domain.lab_files import MAX_BYTES, MAX_ROWS, LabFileRefused, read_lab_file, too_large

HEAD = "participant,sampled_at,analyte,value,unit"
ROW = "P001,2025-03-31 08:30,CD4,52,cells/µL"


def file(*lines: str) -> bytes:
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    "content, rows",
    [
        (file(HEAD, ROW), 1),
        (file(HEAD, ROW, ""), 1),
        (file(HEAD, "", ROW, ""), 1),
        (file(HEAD, ROW).replace(b"\n", b"\r\n"), 1),
        (file(HEAD, ROW).replace(b"\n", b"\r"), 1),
        (b"\xef\xbb\xbf" + file(HEAD, ROW), 1),
        (file(HEAD, ROW).replace(b",", b";"), 1),
        (file(HEAD, ROW).replace(b",", b"\t"), 1),
        (file("Subject,Collection Date Time,Test Code,Result,Units", ROW), 1),
        (file("unit,value,analyte,sampled_at,participant", "cells/µL,52,CD4,2025-03-31,P001"), 1),
        (file(HEAD, 'P001,2025-03-31,CD4,"52",cells/µL'), 1),
        (file(HEAD, 'P001,2025-03-31,CD4,"0,052",10^9/L'), 1),
        (file(HEAD, "P001,2025-03-31,CD4,ND,"), 1),
        (file(HEAD, ROW, ROW.replace("CD4", "ALC")), 2),
        (file(HEAD + ",lln,uln,lab", ROW + ",500,1500,LKCH"), 1),
    ],
)
def test_files_that_are_read(content: bytes, rows: int) -> None:
    found = read_lab_file(content)
    assert (len(found.rows), found.rejections) == (rows, ())


@pytest.mark.parametrize(
    "content, row, column, reason",
    [
        (b"", 1, "", "The file is empty"),
        (b"\n\n", 1, "", "The file is empty"),
        (file(HEAD), 2, "", "no row below it"),
        (file(HEAD, ROW).decode().encode("utf-16"), 1, "", "UTF-16"),
        (file(HEAD, ROW).decode().encode("latin-1"), 2, "36", "not UTF-8"),
        (b"PK\x03\x04rest", 1, "", "spreadsheet"),
        (b"\xd0\xcf\x11\xe0rest", 1, "", "spreadsheet"),
        (file(HEAD, ROW.replace("52", "5\x002")), 2, "28", "NUL"),
        (file("participant,sampled_at,analyte,value", ROW), 1, "unit", "no column unit"),
        (file("participant,value", "P001,3"), 1, "sampled_at", "no column sampled_at and no column analyte"),
        (file(ROW), 1, "P001", "“P001” is not known"),
        (file(HEAD + ",remark", ROW + ",x"), 1, "remark", "“remark” is not known"),
        (file(HEAD + ",", ROW + ","), 1, "6", "“” is not known"),
        (file(HEAD + ",Result", ROW + ",3"), 1, "Result", "value is there twice"),
        (file(HEAD, 'P001,2025-03-31,CD4,"52,cells/µL'), 2, "", "opened and never closed"),
        (file(HEAD, ROW, 'P001,2025-03-31,CD4,"52"x,cells/µL'), 3, "", "quote stands inside"),
        (file(HEAD, 'P001,2025-03-31,CD4,"' + "5" * 200_000 + '",cells/µL'), 2, "", "longer than any result"),
        (file(HEAD, *[ROW] * (MAX_ROWS + 1)), MAX_ROWS + 2, "", "25,000 rows are taken at once"),
    ],
)
def test_files_that_are_refused_whole(content: bytes, row: int, column: str, reason: str) -> None:
    with pytest.raises(LabFileRefused) as refused:
        read_lab_file(content)
    found = refused.value.rejection
    assert (found.row, found.column) == (row, column)
    assert reason in found.reason


@pytest.mark.parametrize(
    "line, column, reason",
    [
        ("P001,2025-03-31,CD4,52", "", "4 cells and the header 5"),
        ("P001,2025-03-31,CD4,52,cells/µL,extra", "", "6 cells and the header 5"),
        ("P001;2025-03-31;CD4;52;cells/µL", "", "1 cells and the header 5"),
        (",2025-03-31,CD4,52,cells/µL", "participant", "The cell is empty"),
        ("P001,,CD4,52,cells/µL", "sampled_at", "The cell is empty"),
        ("P001,2025-03-31,,52,cells/µL", "analyte", "The cell is empty"),
        ("P001,2025-03-31,CD4,,cells/µL", "value", "The cell is empty"),
        ('P001,2025-03-31,CD4,"5\n2",cells/µL', "value", "line break"),
        ("P001,2025-03-31,CD4,5\x0b2,cells/µL", "value", "control character"),
        ("P001,2025-03-31,CD4,5\x7f2,cells/µL", "value", "control character"),
        ("P001,2025-03-31,CD4," + "5" * 201 + ",cells/µL", "value", "201 characters"),
        (ROW, "analyte", "stands on row 2 already"),
        (ROW.replace("52", "53"), "analyte", "stands on row 2 already"),
        (ROW.replace("CD4", "cd4"), "analyte", "stands on row 2 already"),
    ],
)
def test_rows_that_are_rejected_beside_a_good_one(line: str, column: str, reason: str) -> None:
    found = read_lab_file(file(HEAD, ROW, line))
    assert [(one.row, one.column) for one in found.rejections] == [(3, column)]
    assert reason in found.rejections[0].reason
    assert found.rows[0].row == 2


def test_a_row_after_a_cell_of_two_lines_keeps_its_line_number() -> None:
    found = read_lab_file(file(HEAD, 'P001,2025-03-31,CD4,"5\n2",cells/µL', "P001,2025-03-31,,52,cells/µL"))
    assert [one.row for one in found.rejections] == [2, 4]


def test_a_million_rows_are_refused_at_once_and_without_memory() -> None:
    content = (HEAD + "\n").encode() + b"a,b,c,d,e\n" * 1_000_000
    assert len(content) <= MAX_BYTES
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(LabFileRefused, match="1,000,001 lines"):
        read_lab_file(content)
    took, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 1
    assert peak < 1_000_000


def test_a_file_too_large_is_refused_by_its_size() -> None:
    assert too_large(MAX_BYTES) == ""
    assert "11 MB" in too_large(11 * 1024 * 1024)
    with pytest.raises(LabFileRefused, match="Split it by date"):
        read_lab_file(b"x" * (MAX_BYTES + 1))


def test_twenty_five_thousand_results_are_read_well_within_twenty_seconds() -> None:
    lines = [f"P{n % 300:03d},2025-03-{n % 28 + 1:02d} 08:30,A{n // 8400},52,cells/µL" for n in range(25_000)]
    began = time.perf_counter()
    found = read_lab_file(file(HEAD, *dict.fromkeys(lines)))
    assert found.rejections == ()
    assert time.perf_counter() - began < 5
