"""A document as a PDF that a screen reader can follow (PDF/UA-1), the same bytes for the same document.

The pages are set by Typst, which comes as one wheel with all it needs (docs/adr/0010-documents.md). It is given the
document as data: nothing that a person typed is ever read as markup.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import typst

from trials.domain.documents import Document

HERE = Path(__file__).parent
#: PDF wants a date of creation; the same document is the same file, so it is not that of the printing.
UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


def as_pdf(document: Document) -> bytes:
    """The document as a tagged PDF. The fonts are our own, so that every machine sets the same pages."""
    # One argument of text, whatever its length: it never passes through a shell or an environment.
    content = json.dumps(asdict(document), ensure_ascii=False, sort_keys=True)
    made: bytes = typst.compile(
        _template(),
        font_paths=_fonts(),
        format="pdf",
        pdf_standards="ua-1",
        sys_inputs={"document": content},
        timestamp=UNDATED,
    )
    return made


@lru_cache(maxsize=1)
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[str(HERE / "fonts")])


@lru_cache(maxsize=1)
def _template() -> bytes:
    return (HERE / "document.typ").read_bytes()
