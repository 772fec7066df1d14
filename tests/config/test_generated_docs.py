"""The generated pages are written, and a page that differs from the code is named."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts.roles import ROLES, Permission
from config.generated_docs import PAGES, lifecycles_page, roles_page


def test_pages_are_written_then_hold_and_one_that_differs_is_named(tmp_path: Path) -> None:
    call_command("generate_docs", "--into", str(tmp_path), stdout=StringIO())
    call_command("generate_docs", "--check", "--into", str(tmp_path), stdout=StringIO())
    (tmp_path / "reference" / "roles.md").write_text("# by hand")
    with pytest.raises(CommandError, match=r"Out of date: reference/roles\.md"):
        call_command("generate_docs", "--check", "--into", str(tmp_path), stdout=StringIO())
    assert (tmp_path / "reference" / "roles.md").read_text() == "# by hand"


def test_the_pages_in_the_repository_are_those_of_the_code() -> None:
    call_command("generate_docs", "--check", stdout=StringIO())


def test_every_role_and_every_verb_stand_in_the_table() -> None:
    page = roles_page()
    assert all(permission.meaning in page for permission in Permission)
    assert all(role.display_name in page for role in ROLES.values())
    row = next(line for line in page.splitlines() if Permission.PUBLISH_PROTOCOL.meaning in line)
    assert row.count("●") == sum(Permission.PUBLISH_PROTOCOL in role.permissions for role in ROLES.values())


def test_the_states_are_drawn() -> None:
    page = lifecycles_page()
    assert page.count("stateDiagram-v2") == 2
    assert "eligible --> enrolled: enrol" in page


def test_each_page_ends_with_one_line_end() -> None:
    assert all(render().endswith("\n") and not render().endswith("\n\n") for render in PAGES.values())
