"""The trail sees every change by whatever way, names who and why, and shows where it was tampered with."""

from __future__ import annotations

import json

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from audit import chain, context
from audit.context import Source
from audit.models import FieldChange, TrailRow
from trials.models import Site, Trial

pytestmark = pytest.mark.django_db(transaction=True)


class Clerk:
    """Somebody who acts."""

    def __init__(self, name: str) -> None:
        self.audit_identity = {"user_id": 7, "user_name": name, "role": "coordinator", "site": "A"}


@pytest.fixture
def trial() -> Trial:
    return Trial.objects.create(code="larch", title="A trial")


def rows_of(trial: Trial) -> list[TrailRow]:
    return list(TrailRow.objects.filter(chain=f"trial:{trial.pk}").order_by("seq"))


@pytest.mark.requirement("AT1")
def test_a_change_is_recorded_with_who_where_and_why(trial: Trial) -> None:
    with transaction.atomic(), context.context(by=Clerk("Alice"), reason="opened"):
        site = Site.objects.create(trial=trial, code="A", name="Alpha")
    with transaction.atomic(), context.context(by=Clerk("Bob"), reason="renamed", source=Source.IMPORT):
        Site.objects.filter(pk=site.pk).update(name="Alpha Hospital")

    created, renamed = rows_of(trial)
    assert (created.operation, created.user_name, created.role, created.site) == ("INSERT", "Alice", "coordinator", "A")
    assert (renamed.source, renamed.reason, renamed.old, renamed.new) == (
        "import",
        "renamed",
        {"name": "Alpha"},
        {"name": "Alpha Hospital"},
    )


def test_two_contexts_in_one_transaction_keep_their_own_changes_apart(trial: Trial) -> None:
    with transaction.atomic(), context.context(by=Clerk("Alice")):
        Site.objects.create(trial=trial, code="A", name="Alpha")
        with context.context(by=Clerk("Bob")):
            Site.objects.create(trial=trial, code="B", name="Beta")
        Site.objects.create(trial=trial, code="C", name="Gamma")

    assert [(row.new["code"], row.user_name) for row in rows_of(trial)] == [
        ("A", "Alice"),
        ("B", "Bob"),
        ("C", "Alice"),
    ]


@pytest.mark.requirement("AT1")
@pytest.mark.parametrize(
    "statement, operation",
    [
        (
            "INSERT INTO trials_site (trial_id, code, name, time_zone, is_open) VALUES (%s, 'R', 'Raw', 'UTC', true)",
            "INSERT",
        ),
        ("UPDATE trials_site SET name = 'changed' WHERE trial_id = %s", "UPDATE"),
        ("DELETE FROM trials_site WHERE trial_id = %s", "DELETE"),
    ],
)
def test_raw_sql_is_seen(trial: Trial, statement: str, operation: str) -> None:
    Site.objects.create(trial=trial, code="A", name="Alpha")
    with connection.cursor() as cursor:
        cursor.execute(statement, [trial.pk])
    last = rows_of(trial)[-1]
    assert (last.operation, last.source, last.user_name) == (operation, "database", "")


@pytest.mark.requirement("AT1")
def test_a_bulk_insert_leaves_one_row_each(trial: Trial) -> None:
    Site.objects.bulk_create([Site(trial=trial, code=f"S{n}", name="x") for n in range(50)])
    assert len(rows_of(trial)) == 50


def test_an_update_that_changes_nothing_leaves_no_row(trial: Trial) -> None:
    Site.objects.create(trial=trial, code="A", name="Alpha")
    Site.objects.filter(trial=trial).update(name="Alpha")
    assert len(rows_of(trial)) == 1


def test_what_is_rolled_back_was_never_recorded(trial: Trial) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Site.objects.create(trial=trial, code="A", name="Alpha")
        raise ZeroDivisionError
    assert rows_of(trial) == []


@pytest.mark.requirement("AT2")
def test_field_changes_are_counted_one_by_one(trial: Trial) -> None:
    site = Site.objects.create(trial=trial, code="A", name="Alpha")
    Site.objects.filter(pk=site.pk).update(name="Beta", time_zone="Europe/Amsterdam")
    changed = FieldChange.objects.filter(table_name="trials_site", row_id=str(site.pk), operation="UPDATE")
    assert {(c.field, c.old_value, c.new_value) for c in changed} == {
        ("name", "Alpha", "Beta"),
        ("time_zone", "UTC", "Europe/Amsterdam"),
    }


@pytest.mark.requirement("AT3")
@pytest.mark.parametrize(
    "statement", ["UPDATE audit_trail SET reason = 'x'", "DELETE FROM audit_trail", "TRUNCATE audit_trail"]
)
def test_the_trail_itself_is_append_only(trial: Trial, statement: str) -> None:
    Site.objects.create(trial=trial, code="A", name="Alpha")
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_context_needs_a_transaction() -> None:
    with pytest.raises(RuntimeError, match="transaction"), context.context(by=None):
        pass


TAMPERING = [
    ("UPDATE audit_trail SET user_name = 'Mallory' WHERE chain = %(chain)s AND seq = 2", "row 2"),
    ("UPDATE audit_trail SET new = '{}' WHERE chain = %(chain)s AND seq = 3", "row 3"),
    ("DELETE FROM audit_trail WHERE chain = %(chain)s AND seq = 2", "rows 2 to 2 before it are gone"),
    ("DELETE FROM audit_trail WHERE chain = %(chain)s AND seq = 4", "row 4 was anchored and is gone"),
    ("UPDATE audit_trail SET seq = 5 - seq WHERE chain = %(chain)s AND seq IN (2, 3)", "does not follow"),
]


@pytest.mark.requirement("AT3")
@pytest.mark.parametrize("statement, complaint", TAMPERING)
def test_tampering_is_named(trial: Trial, tmp_path, statement: str, complaint: str) -> None:  # type: ignore[no-untyped-def]
    for code in "ABCD":
        Site.objects.create(trial=trial, code=code, name="x")
    heads = chain.heads()
    assert chain.faults(heads) == []
    with pytest.raises(_Undo), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_trail DISABLE TRIGGER USER")
        if "5 - seq" in statement:
            cursor.execute("ALTER TABLE audit_trail DROP CONSTRAINT audit_trail_chain_seq_key")
        cursor.execute(statement, {"chain": f"trial:{trial.pk}"})
        sentences = " ".join(fault.sentence for fault in chain.faults(heads))
        assert complaint in sentences
        raise _Undo


class _Undo(Exception):
    """Leaves the trail as it was."""


@pytest.mark.requirement("AT3")
def test_verify_audit_names_the_row_and_fails(trial: Trial, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    Site.objects.create(trial=trial, code="A", name="Alpha")
    file = tmp_path / "anchors.jsonl"
    file.write_text(json.dumps({"chain": f"trial:{trial.pk}", "seq": 9, "hash": "00"}) + "\n")
    with pytest.raises(CommandError, match="1 fault"):
        call_command("verify_audit", anchors=file)
    assert "row 9 was anchored and is gone" in capsys.readouterr().err


def test_heads_are_anchored_once(trial: Trial, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from django.utils import timezone

    Site.objects.create(trial=trial, code="A", name="Alpha")
    file = tmp_path / "anchors.jsonl"
    assert chain.anchor(file, at=timezone.now()) >= 1
    assert chain.anchor(file, at=timezone.now()) == 0
    assert chain.faults(chain.anchors(file)) == []


@pytest.mark.requirement("AT4")
def test_a_dropped_trigger_stops_the_start() -> None:
    assert run_checks(tags=["database"], databases=["default"]) == []
    with pytest.raises(_Undo), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER audit_trials_site ON trials_site")
        assert [m.id for m in run_checks(tags=["database"], databases=["default"])] == ["audit.E001"]
        raise _Undo
