"""The documents hold together: every link leads somewhere, every command exists, every requirement has its tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docker").glob("*.md")]
    if path.is_file()
)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
REQUIREMENTS = {
    one["id"]: one
    for one in yaml.safe_load((ROOT / "docs" / "validation" / "requirements.yaml").read_text(encoding="utf-8"))[
        "requirements"
    ]
}


def text_of(document: Path) -> str:
    """A document without its code blocks."""
    return re.sub(r"^\s*```.*?^\s*```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors_of(document: Path) -> set[str]:
    """The names that a page gives its headings, as the usual viewers make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    broken = []
    for match in LINK.finditer(text_of(document)):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors_of(path)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, with a comma\n")
    page = tmp_path / "page.md"
    page.write_text(
        '[a](there.md) [b](there.md#a-heading-with-a-comma) [c](gone.md) [d](there.md#gone) <img src="gone.png">\n'
        "```\n[e](in-code.md)\n```\n[f](https://example.org/)\n"
    )
    assert broken_links(page) == ["gone.md", "there.md#gone", "gone.png"]


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / (match[1] or match[2]).partition("#")[0]).resolve() for match in LINK.finditer(text_of(index))
    }
    pages = {path.resolve() for path in (ROOT / "docs").rglob("*.md")} - {index.resolve()}
    assert {path.relative_to(ROOT).as_posix() for path in pages - linked} == set()


def commands_shown() -> Iterator[tuple[str, str]]:
    """Every ``make TARGET`` and ``manage.py COMMAND`` that stands in code, with its page."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for code in re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL):
            for match in re.finditer(r"manage\.py ([a-z_]+)|(?:^|`)\s*make ([a-z-]+)", code, flags=re.MULTILINE):
                yield document.relative_to(ROOT).as_posix(), match[1] or match[2]


def test_every_command_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    known = set(get_commands()) | targets
    shown = set(commands_shown())
    assert {(page, name) for page, name in shown if name not in known} == set()
    assert {"publish_protocol", "verify_audit", "demo", "test"} <= {name for _, name in shown}


def requirements_of_tests() -> dict[str, list[str]]:
    """Requirement → the tests that speak for it, read from the markers without running anything."""
    named: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            for marker in node.decorator_list:
                if isinstance(marker, ast.Call) and ast.unparse(marker.func) == "pytest.mark.requirement":
                    for argument in marker.args:
                        named.setdefault(ast.literal_eval(argument), []).append(f"{file.name}::{node.name}")
    return named


@pytest.mark.requirement("VP1")
def test_every_requirement_that_a_test_names_is_listed() -> None:
    assert {name: tests for name, tests in requirements_of_tests().items() if name not in REQUIREMENTS} == {}


@pytest.mark.requirement("VP1")
def test_every_requirement_has_a_test_or_says_that_it_is_planned() -> None:
    tested = set(requirements_of_tests())
    planned = {name for name, one in REQUIREMENTS.items() if one.get("status") == "planned"}
    assert set(REQUIREMENTS) - tested - planned == set()
    assert tested & planned == set(), "built by now: take `status: planned` away"


@pytest.mark.requirement("VP1")
def test_a_requirement_says_what_and_from_where_and_nothing_unknown() -> None:
    listed = yaml.safe_load((ROOT / "docs" / "validation" / "requirements.yaml").read_text(encoding="utf-8"))
    assert len(listed["requirements"]) == len(REQUIREMENTS), "an id is used twice"
    for one in listed["requirements"]:
        assert set(one) <= {"id", "says", "source", "status"} and one["says"] and one["source"]
        assert one.get("status", "planned") == "planned"
