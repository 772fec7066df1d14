"""A document as data: what a dose card, a report or a packet for a committee says, before it becomes a page or a PDF.

Page and PDF are written from the same blocks, so that they cannot say different things.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trials.domain.figures import Table


@dataclass(frozen=True)
class Heading:
    """A heading; ``level`` 1 opens a section, 2 a part of it. ``anchor`` is what links lead to."""

    text: str
    level: int = 1
    anchor: str = ""
    kind: str = field(default="heading", init=False)


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of running text."""

    text: str
    kind: str = field(default="paragraph", init=False)


@dataclass(frozen=True)
class Notice:
    """A sentence that must not be overlooked: a warning, a refusal, a limit of what is shown."""

    text: str
    kind: str = field(default="notice", init=False)


@dataclass(frozen=True)
class Facts:
    """Names and what they are: (label, value) in order."""

    pairs: tuple[tuple[str, str], ...]
    kind: str = field(default="facts", init=False)


@dataclass(frozen=True)
class TableBlock:
    """A table with its caption, which names the method. The first column is the head of each row.

    ``notes`` stand below. A cell with an address is a link in the page.
    """

    caption: str
    table: Table
    notes: tuple[str, ...] = ()
    anchor: str = ""
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Picture:
    """A figure: its drawing, its sentence for who does not see it, its caption, and its numbers as a table."""

    svg: str
    alt: str
    caption: str
    table: Table | None = None
    title: str = ""
    name: str = ""
    kind: str = field(default="picture", init=False)


@dataclass(frozen=True)
class Signatures:
    """Who signed what and when, as it is printed: (meaning, name, moment with zone); an open line has no name."""

    lines: tuple[tuple[str, str, str], ...]
    kind: str = field(default="signatures", init=False)


Block = Heading | Paragraph | Notice | Facts | TableBlock | Picture | Signatures


@dataclass(frozen=True)
class Document:
    """A whole document.

    ``stamp`` stands on every page (NOT FOR CLINICAL USE); ``footer`` identifies the content: trial, moment of the data,
    versions, hash. Nothing in it depends on when it is printed: the same document is the same file, byte for byte.
    """

    title: str
    blocks: tuple[Block, ...]
    subtitle: str = ""
    stamp: str = ""
    footer: str = ""
