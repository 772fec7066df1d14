"""The generated pages are written, and a page that differs from the code is named."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command

from accounts.roles import ROLES, Permission
from config.generated_docs import PAGES, dictionary_page, lifecycles_page, openapi, roles_page
from dosing.domain.states import TableEvent, TableStatus, can
from exchange.datasets import DATASETS


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
    assert page.count("stateDiagram-v2") == 6
    for line in (
        "eligible --> enrolled: enrol",
        "complete --> in_progress: reopen",
        "VERIFIED --> ACTIVE: approve",
        "ACTIVE --> RETIRED: retire",
        "verified --> released: release",
        "proposed --> decided: decide",
    ):
        assert line in page


@pytest.mark.parametrize("status", TableStatus)
@pytest.mark.parametrize("event", TableEvent)
def test_a_dosing_table_does_what_is_drawn_and_nothing_else(status: TableStatus, event: TableEvent) -> None:
    happens = {("DRAFT", "verify"), ("VERIFIED", "approve"), ("ACTIVE", "replace")}
    happens |= {("DRAFT", "retire"), ("VERIFIED", "retire"), ("ACTIVE", "retire")}
    assert can(status.value, event) is ((status.value, event.value) in happens)


def test_the_dictionary_names_every_data_set_and_marks_what_identifies_a_person() -> None:
    page = dictionary_page()
    assert all(f"## {dataset.label}\n" in page for dataset in DATASETS.values())
    row = next(line for line in page.splitlines() if line.startswith("| `birth_date` "))
    assert row.endswith("| DM.BIRTH_DATE | identifying |")
    assert "### `form_tx.csv`" in page


def test_every_operation_of_the_api_has_its_own_id_and_the_tag_of_its_floor() -> None:
    operations = [one for path in yaml.safe_load(openapi())["paths"].values() for one in path.values()]
    ids = [one["operationId"] for one in operations]
    assert len(ids) == len(set(ids)) > 40
    floors = {"trials", "casebook", "dosing", "adverse_events", "analysis", "exchange"}
    assert {tag for one in operations for tag in one["tags"]} == floors


def test_each_page_ends_with_one_line_end() -> None:
    assert all(render().endswith("\n") and not render().endswith("\n\n") for render in PAGES.values())
