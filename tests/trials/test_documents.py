"""A document says the same as a page and as a PDF, and the same document is the same file."""

import shutil
import subprocess
from pathlib import Path

import pytest
from django.template.loader import render_to_string

from trials.domain.documents import Document, Facts, Heading, Notice, Paragraph, Picture, Signatures, TableBlock
from trials.domain.figures import Cell, Table, framed, inline
from trials.formats.documents import as_pdf
from trials.formats.figures import render

TYPED = '#import "x" *bold* $x^2$ <script>alert(1)</script> `code` \\ 10⁹/L µg ≥ −9'


def whole() -> Document:
    spec = framed(
        width=300,
        height=100,
        data=inline([{"x": 1, "y": 2}, {"x": 2, "y": 4}]),
        mark="line",
        encoding={"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
    )
    svg = render(spec, name="line", title="A line", description="It rises")
    return Document(
        title="Dose card",
        subtitle="Participant A-001",
        stamp="NOT FOR CLINICAL USE",
        footer="parachute, version 1.0",
        blocks=(
            Heading("Inputs"),
            Facts((("Weight", "21.4 kg"), ("Comment", TYPED))),
            Paragraph(TYPED),
            Notice("A warning."),
            TableBlock("Doses", Table(("Day", "mg"), ((Cell("-9", "/t/x/"), "52.5"), ("-8", 52))), notes=("Rounded.",)),
            Heading("Figure", level=2),
            Picture(svg, "A line that rises", "Made for the test", title="A line", name="line"),
            Signatures((("Released by", "Dr A", "28-Nov-2026 10:00 UTC"), ("Given by", "", ""))),
        ),
    )


def read(pdf: bytes, folder: Path, *command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed; it comes with the browser of the tests")
    file = folder / "document.pdf"
    file.write_bytes(pdf)
    return subprocess.run([*command, str(file), *(["-"] if command[0] == "pdftotext" else [])],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip


def test_the_same_document_is_the_same_file():
    assert as_pdf(whole()) == as_pdf(whole())


def test_the_pdf_is_tagged_and_has_a_title(tmp_path):
    said = read(as_pdf(whole()), tmp_path, "pdfinfo")
    assert "Tagged:          yes" in said
    assert "Title:           Dose card" in said


def test_what_was_typed_is_printed_as_it_was_typed(tmp_path):
    text = " ".join(read(as_pdf(whole()), tmp_path, "pdftotext", "-raw").split())
    for word in ('#import "x" *bold* $x^2$', "<script>", "10⁹/L µg ≥ −9", "NOT FOR CLINICAL USE", "52.5", "Dr A"):
        assert word in text


def test_the_page_says_the_same():
    page = render_to_string("components/document.html", {"document": whole()})
    for word in ("NOT FOR CLINICAL USE", "Participant A-001", "21.4 kg", "52.5", "Rounded.", "Dr A", "not signed yet"):
        assert word in page
    assert "<script>" not in page
    assert 'href="/t/x/"' in page
