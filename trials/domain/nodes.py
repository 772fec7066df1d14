"""The text of a definition file as a tree that knows its lines, and nothing that YAML could do beyond that.

Anchors, aliases, tags, several documents, duplicate keys and excessive size or depth are refused before anything is
built, so that a hostile file costs no more than its own length. Scalars keep their text: ``0.60`` stays a decimal,
``NO`` stays a word, and what a value means is decided by the field it is read for (:mod:`trials.domain.reading`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import yaml

#: A definition of a real trial is some 60 kB; a file above this is not one.
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 24
MAX_NODES = 60_000

DECIMAL_KEY = "decimal"


class Refused(Exception):
    """The text cannot be taken as a tree; carries the line, the rule and the way out."""

    def __init__(self, line: int, rule: str, remedy: str) -> None:
        super().__init__(rule)
        self.line, self.rule, self.remedy = line, rule, remedy


@dataclass(frozen=True)
class Leaf:
    """One scalar; ``quoted`` text is never a number."""

    text: str
    line: int
    quoted: bool = False

    @property
    def is_null(self) -> bool:
        return not self.quoted and self.text in ("", "~", "null")

    def number(self) -> int | Decimal | None:
        if self.quoted or not re.fullmatch(r"[-+]?\d+(\.\d+)?", self.text):
            return None
        return Decimal(self.text) if "." in self.text else int(self.text)


@dataclass(frozen=True)
class Listing:
    entries: tuple[Node, ...]
    line: int


@dataclass(frozen=True)
class Table:
    """A mapping; ``duplicates`` are keys that came a second time, with the line of the second."""

    entries: Mapping[str, Node]
    line: int
    key_lines: Mapping[str, int] = field(default_factory=dict)
    duplicates: tuple[tuple[str, int], ...] = ()

    def line_of(self, key: str) -> int:
        return self.key_lines.get(key, self.line)


Node = Leaf | Listing | Table


def from_text(text: str) -> Node:
    """The tree of a YAML text; raises Refused."""
    if len(text) > MAX_BYTES or len(text.encode()) > MAX_BYTES:
        size = f"{len(text.encode()) / 1024 / 1024:.1f} MiB"
        raise Refused(1, f"the file has {size}; a definition has at most 1 MiB", "Check that this is the right file.")
    try:
        events = _checked(yaml.parse(text, Loader=yaml.SafeLoader))
        node = _node(events, next(events))
        list(events)  # reads to the end of the text, where a second document would begin
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = error.problem or "it cannot be read"
        raise Refused(
            line, f"not valid YAML: {problem}", "Check indentation, quotes and brackets near this line."
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Refused(line, "the text holds a control character", "Save the file as UTF-8 text without it.") from None
    except StopIteration:
        raise Refused(1, "the file is empty", "Start with `trial:`, `title:` and `version:`.") from None
    return node


def from_data(data: object) -> Node:
    """The tree of stored JSON; ``{"decimal": "0.05"}`` is a number written without a binary float."""
    if isinstance(data, Mapping):
        if set(data) == {DECIMAL_KEY}:
            return Leaf(str(data[DECIMAL_KEY]), 0)
        return Table({str(key): from_data(value) for key, value in data.items()}, 0)
    if isinstance(data, Sequence) and not isinstance(data, str):
        return Listing(tuple(from_data(value) for value in data), 0)
    if data is None:
        return Leaf("null", 0)
    if isinstance(data, bool):
        return Leaf("true" if data else "false", 0)
    if isinstance(data, str):
        return Leaf(data, 0, quoted=True)
    return Leaf(str(data), 0)


def _checked(events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    """Content events of one document; the first thing beyond plain data stops the reading."""
    depth = nodes = documents = 0
    for event in events:
        line = _line(event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Refused(line, "a second document begins here", "Keep one protocol version per file.")
            continue
        if isinstance(event, yaml.StreamStartEvent | yaml.StreamEndEvent | yaml.DocumentEndEvent):
            continue
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Refused(line, "anchors (&) and aliases (*) are not part of the language", "Write the clause out.")
        tag = getattr(event, "tag", None)
        if tag and tag != "!":
            raise Refused(line, f"the tag {tag} is not part of the language", "Remove the tag.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        nodes += 1
        if depth > MAX_DEPTH:
            raise Refused(line, f"nested deeper than {MAX_DEPTH} levels", "Flatten the clause.")
        if nodes > MAX_NODES:
            raise Refused(line, f"more than {MAX_NODES:,} values", "Check that this is the right file.")
        yield event


def _node(events: Iterator[yaml.Event], event: yaml.Event) -> Node:
    line = _line(event)
    if isinstance(event, yaml.ScalarEvent):
        return Leaf(event.value, line, quoted=event.style is not None)
    if isinstance(event, yaml.SequenceStartEvent):
        entries = []
        while not isinstance(following := next(events), yaml.SequenceEndEvent):
            entries.append(_node(events, following))
        return Listing(tuple(entries), line)
    table: dict[str, Node] = {}
    lines: dict[str, int] = {}
    duplicates = []
    while not isinstance(following := next(events), yaml.MappingEndEvent):
        key_line = _line(following)
        if not isinstance(following, yaml.ScalarEvent):
            raise Refused(key_line, "a key must be a word", "Write `key: value`.")
        value = _node(events, next(events))
        if following.value in table:
            duplicates.append((following.value, key_line))
        else:
            table[following.value], lines[following.value] = value, key_line
    return Table(table, line, lines, tuple(duplicates))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
