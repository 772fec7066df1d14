"""What an export holds, who may have it, and that it is made once, whole, whatever dies on the way."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import signal
import subprocess
import tracemalloc
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
import time_machine
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.roles import ROLES, Permission
from analysis.actions import runs
from analysis.datasets import dataset as analysis_dataset
from analysis.domain.endpoint_answers import ANSWERS, Reads
from audit import context
from audit.models import FieldChange
from casebook import actions as casebook
from config.embedded.processes import wait_until
from dosing import actions as dosing
from exchange import actions, selectors
from exchange.actions import exports
from exchange.datasets import DATASETS
from exchange.domain.codebook import Column, ColumnType, Table, within
from exchange.domain.delimited import Variant, neutralised, written
from exchange.formats import NO_MOMENT, Archive, Preface, write_archive
from exchange.models import Download, ExportJob, JobState
from exchange.tasks import sweep
from tests.conftest import database_url
from tests.exchange.conftest import Archive as Opened
from tests.exchange.conftest import export
from tests.world import PEOPLE, World, build_world, definition
from trials import actions as trials
from trials.domain.definition import EndpointSpec
from trials.models import Membership, Participant
from trials.permissions import NotPossible
from trials.selectors import TABLES_THAT_TELL_THE_GROUP

# An export is read in a transaction of its own, and names the end of the trail: both need real commits.
database = pytest.mark.django_db(transaction=True)

PREFACE = Preface("larch", "Larch", "trial:1#1#ab", "2025-01-01", "all sites", (), Variant.STATISTICAL, "Canopy")


# --- What it holds ------------------------------------------------------------------------------------------------


@database
def test_every_data_set_has_its_file_and_every_file_its_words(world: World, at_a: Participant) -> None:
    archive = export(world, world.ivan)
    files = set(archive.files)
    tables = {name.removesuffix(".csv") for name in files if name.endswith(".csv")} - {"codebook", "codelists"}
    assert tables >= set(DATASETS) - {"entries"} | {"form_vs", "form_cm", "form_dx", "form_qs"}
    assert {"README.txt", "CHECKSUMS.sha256"} <= files
    described = {(row["dataset"], row["variable"]) for row in archive.rows("codebook.csv")}
    for table in tables:
        header = archive.text(f"{table}.csv").splitlines()[0].split(",")
        # The numeric files have no keys: nonmem.csv says whose each ID is.
        numeric = re.fullmatch(r"nonmem(_map)?_\d+", table)
        assert header[:3] == (["ID", "TIME", "AMT"] if numeric else ["study", "site", "subject"])
        assert {(table, name) for name in header} <= described
        assert f"{table}.csv" in archive.text("README.txt")
    lists = {row["codes"] for row in archive.rows("codelists.csv")}
    assert {row["codes"] for row in archive.rows("codebook.csv")} - {""} <= lists


@pytest.mark.requirement("DOS18")
@database
def test_a_course_that_ended_early_has_its_day_and_coded_cause(world: World, at_a: Participant) -> None:
    dosing.end_course(
        participant=at_a, ended_on=date(2025, 3, 16), cause="allergic_reaction", reason="rash", by=world.bob
    )
    (row,) = export(world, world.ivan, "course_ends").rows("course_ends.csv")
    assert (row["ended_on"], row["ended_day"], row["cause"]) == ("2025-03-16", "-8", "allergic_reaction")
    assert row["reason"] == "rash"
    dosing.resume_course(participant=at_a, reason="declared in error", by=world.bob)
    assert export(world, world.ivan, "course_ends").rows("course_ends.csv") == []


@database
def test_a_participant_is_a_row_with_study_days_beside_dates(world: World, at_a: Participant) -> None:
    (row,) = export(world, world.ivan, "participants").rows("participants.csv")
    assert (row["study"], row["site"], row["subject"]) == ("larch", "A", str(at_a))
    assert (row["screened_on"], row["screened_day"]) == ("2025-03-03", "-21")
    assert (row["anchor_date"], row["anchor_is_actual"]) == ("2025-03-24", "no")
    assert (row["age_at_screening"], row["group"], row["group_label"]) == ("9", "individualised", "Individualised ATG")
    assert "birth_date" not in row


@database
def test_a_form_has_value_unit_and_why_there_is_none(world: World, at_a: Participant) -> None:
    archive = export(world, world.dora, "entries")
    (signs,) = archive.rows("form_vs.csv")
    assert (signs["visit"], signs["form_status"]) == ("BL", "complete")
    assert (signs["WEIGHT"], signs["WEIGHT_unit"], signs["WEIGHT_canonical"]) == ("12500", "g", "12.5")
    assert (signs["HEIGHT"], signs["HEIGHT_miss"]) == ("", "ND")
    (drug,) = archive.rows("form_cm.csv")
    assert drug["DRUG"] == '=HYPERLINK("x"), "quoted"'
    assert (drug["START"], drug["START_precision"], drug["START_day"]) == ("2025-03", "month", "")
    assert (drug["SEROTHERAPY"], drug["SEROTHERAPY_label"]) == ("Y", "yes")
    assert (drug["STOP"], drug["STOP_miss"]) == ("", "")
    of_weight = [row for row in archive.rows("codebook.csv") if row["source"] == "VS.WEIGHT"]
    assert [row["variable"] for row in of_weight] == [
        "WEIGHT",
        "WEIGHT_qualifier",
        "WEIGHT_unit",
        "WEIGHT_canonical",
        "WEIGHT_miss",
    ]
    assert of_weight[3]["unit"] == "kg"


@database
def test_a_result_is_there_as_written_and_in_the_canonical_unit(world: World, at_a: Participant) -> None:
    rows = {row["analyte"]: row for row in export(world, world.rita, "lab_results").rows("lab_results.csv")}
    cd4 = rows["LB.CD4"]
    assert (cd4["value_as_written"], cd4["unit_as_written"], cd4["value"], cd4["unit"]) == (
        "52",
        "cells/µL",
        "0.052",
        "10^9/L",
    )
    assert (cd4["sampled_on"], cd4["sampled_time"], cd4["sampled_at"]) == (
        "2025-03-31",
        "08:30",
        "2025-03-31T06:30:00Z",
    )
    assert (cd4["sampled_day"], cd4["visit"]) == ("7", "W1")
    assert (rows["LB.ALC"]["value"], rows["LB.ALC"]["value_miss"]) == ("", "ND")
    assert (rows["LB.ALT"]["qualifier"], rows["LB.ALT"]["value"], rows["LB.ALT"]["upper_limit"]) == ("<", "5", "40")


@database
def test_dates_known_in_part_stay_in_part(world: World, at_a: Participant) -> None:
    archive = export(world, world.dora, "clinical_events", "adverse_events", "deviations")
    (event,) = archive.rows("clinical_events.csv")
    assert (event["kind"], event["occurred"], event["occurred_precision"], event["occurred_day"]) == (
        "relapse",
        "2025-05",
        "month",
        "",
    )
    (adverse,) = archive.rows("adverse_events.csv")
    assert (adverse["term"], adverse["started"], adverse["started_precision"]) == ("Lung infection", "2025-04", "month")
    assert (adverse["relation_thymoglobulin"], adverse["is_serious"], adverse["is_void"]) == ("possible", "", "no")
    assert [row["description"] for row in archive.rows("deviations.csv")] == ["dose late"]


@database
def test_eligibility_is_a_row_a_criterion_of_the_latest_assessment(world: World, at_a: Participant) -> None:
    rows = export(world, world.ivan, "eligibility").rows("eligibility.csv")
    assert {row["criterion"]: row["result"] for row in rows} == {
        "CONSENT": "met",
        "I1": "met",
        "I2": "met",
        "E1": "not_met",
        "E2": "not_applicable",
    }
    assert {row["outcome"] for row in rows} == {"eligible"}


@pytest.mark.requirement("AT5")
@database
def test_the_trail_holds_every_changed_field_with_who_and_why(world: World, at_a: Participant) -> None:
    baseline = at_a.visits.get(code="BL")
    casebook.save_entry(
        participant=at_a,
        form="VS",
        visit=baseline,
        answers={"WEIGHT": "12600"},
        units={"WEIGHT": "g"},
        revision=1,
        reason="transcription error",
        by=world.bob,
    )
    rows = export(world, world.dora, "audit_trail").rows("audit_trail.csv")
    changed = [row for row in rows if row["operation"] == "UPDATE" and row["field"] == "answers.WEIGHT"]
    assert [(row["user"], row["reason"], row["subject"]) for row in changed] == [
        ("Bob", "transcription error", str(at_a))
    ]
    assert '"12500"' in changed[0]["old_value"] and '"12600"' in changed[0]["new_value"]
    chain = f"trial:{world.trial.pk}"
    whole = FieldChange.objects.filter(chain=chain).exclude(table_name__startswith="exchange_")
    assert len(rows) == whole.exclude(field="birth_date").count()


AMENDED = (
    ('version: "1.0"\ncapture', 'version: "2.0"\ncapture'),
    (
        "      - {id: HEIGHT, label: Height, type: number, unit: cm, minimum: 40, maximum: 220, decimals: 1}\n",
        "      - {id: PULSE, label: Pulse, type: integer}\n",
    ),
)


@database
def test_an_item_of_another_version_says_that_it_was_not_collected(world: World, at_a: Participant) -> None:
    text = definition()
    for old, new in AMENDED:
        assert old in text
        text = text.replace(old, new)
    version = trials.publish_protocol(text=text, file="v2.yaml", by=None, reason="pulse instead of height")
    trials.record_site_approval(site=world.site_a, version=version, approved_on=date(2024, 1, 2), by=None)
    later = world.screened()
    assert later.protocol_version == version
    casebook.save_entry(
        participant=later,
        form="VS",
        visit=later.visits.filter(code="BL").first(),
        answers={"WEIGHT": "12", "PULSE": "90"},
        by=world.bob,
    )
    archive = export(world, world.dora, "entries")
    old, new = archive.rows("form_vs.csv")
    assert (old["PULSE"], old["PULSE_miss"], old["HEIGHT_miss"]) == ("", "NIV", "ND")
    assert (new["PULSE"], new["PULSE_miss"], new["HEIGHT_miss"]) == ("90", "", "NIV")
    versions = {row["variable"]: row["versions"] for row in archive.rows("codebook.csv") if row["dataset"] == "form_vs"}
    assert (versions["HEIGHT"], versions["PULSE"], versions["WEIGHT"]) == ("1.0", "2.0", "1.0, 2.0")


@database
def test_everybody_leaves_as_the_analyses_count_them(world: World, at_a: Participant, at_b: Participant) -> None:
    happened(at_b, "relapse", "2025-04-13", world.carol)
    happened(at_b, "death", "2025-05-03", world.carol)
    not_enrolled = world.screened()
    archive = export(world, world.rita, "subjects", "events")
    a, b, c = archive.rows("subjects.csv")
    assert [(row["site"], row["subject"]) for row in (a, b, c)] == [
        ("A", str(at_a)),
        ("B", str(at_b)),
        ("A", str(not_enrolled)),
    ]
    assert (a["kind"], a["group"], a["anchor_date"]) == ("own", "individualised", "2025-03-24")
    in_sets = ("set_assessed", "set_safety", "set_full", "set_evaluable")
    assert [[row[name] for name in in_sets] for row in (b, c)] == [
        ["yes", "yes", "yes", "no"],
        ["yes", "no", "no", "no"],
    ]
    of = "cd4_reconstitution"
    told = ("status", "event_day", "competing_kind", "competing_day", "censored_day", "verified")
    assert [b[f"{of}_{name}"] for name in told] == ["competing", "", "relapse", "20", "", "yes"]
    assert [b[f"overall_survival_{name}"] for name in told] == ["reached", "40", "", "", "", "yes"]
    # Nobody answers for who is not enrolled.
    assert {c[f"{of}_{name}"] for name in told} == {""}
    assert (a["overall_survival_status"], a["overall_survival_event_day"]) == ("pending", "")
    events = [row for row in archive.rows("events.csv") if row["subject"] == str(at_b)]
    assert [(row["endpoint"], row["kind"], row["competing_kind"], row["event_day"]) for row in events] == [
        (of, "competing", "relapse", "20"),
        ("overall_survival", "event", "", "40"),
    ]
    assert events[0]["evidence"] == "Relapse on day 20 came first."
    counted = analysis_dataset(world.trial).subjects
    reached = [
        (str(s.number), e) for s in counted for e, o in s.outcomes.items() if o.status in ("reached", "competing")
    ]
    assert [(row["subject"], row["endpoint"]) for row in archive.rows("events.csv")] == reached
    assert "on the data until the day of the last change" in archive.text("README.txt")


@database
def test_a_set_of_the_first_so_many_is_counted_over_all_sites(db: None) -> None:
    text = definition()
    line = "  - {id: full, label: Without major deviation, method: not_removed, of: safety}\n"
    first = "  - {id: first, label: The first one, method: first_evaluable, of: safety, n: 1}\n"
    assert line in text
    world = build_world(text=text.replace(line, line + first))
    mine, earlier = world.enrolled(), world.enrolled(by=world.carol, graft_on=date(2025, 3, 20))
    for participant, by in ((mine, world.bob), (earlier, world.carol)):
        happened(participant, "last_contact", "2025-09-01", by)
    of_all = {row["subject"]: row["set_first"] for row in export(world, world.rita, "subjects").rows("subjects.csv")}
    of_a = export(world, world.alice, "subjects").rows("subjects.csv")
    assert of_all == {str(mine): "no", str(earlier): "yes"}
    assert [(row["subject"], row["set_first"]) for row in of_a] == [(str(mine), "no")]


def happened(participant: Participant, kind: str, occurred: str, by: Membership) -> None:
    detail = {"cause": "relapse", "relapse_related": "Y"} if kind == "death" else {}
    casebook.record_event(participant=participant, kind=kind, occurred=occurred, detail=detail, by=by)


# --- The same again -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("EXP1")
@database
def test_the_same_data_and_request_give_the_same_bytes(world: World, at_a: Participant) -> None:
    first = export(world, world.ivan)
    actions.download_export(job=first.job, by=world.ivan)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=3), tick=True):
        second = export(world, world.ivan)
    assert second.files == first.files
    assert (second.job.sha256, second.job.snapshot) == (first.job.sha256, first.job.snapshot)
    casebook.record_event(
        participant=at_a,
        kind="death",
        occurred="2025-08-01",
        detail={"cause": "relapse", "relapse_related": "Y"},
        by=world.bob,
    )
    third = export(world, world.ivan)
    assert third.job.sha256 != first.job.sha256
    assert third.job.snapshot["seq"] > first.job.snapshot["seq"]
    assert third.files["consents.csv"] == first.files["consents.csv"]


@pytest.mark.requirement("EXP1")
@database
def test_the_checksums_are_those_of_the_files_and_the_row_has_that_of_the_archive(
    world: World, at_a: Participant
) -> None:
    archive = export(world, world.rita)
    sums = dict(reversed(line.split("  ")) for line in archive.text("CHECKSUMS.sha256").splitlines())
    assert set(sums) == set(archive.files) - {"CHECKSUMS.sha256"}
    for name, digest in sums.items():
        assert hashlib.sha256(archive.files[name]).hexdigest() == digest
    whole = exports.file_of(archive.job).read_bytes()
    assert (archive.job.sha256, archive.job.size_bytes) == (hashlib.sha256(whole).hexdigest(), len(whole))
    counts = {f"{name}.csv": count for name, count in archive.job.row_counts.items()}
    assert counts == {name: len(archive.rows(name)) for name in archive.files if name.endswith(".csv")}
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        assert {info.date_time for info in file.infolist()} == {NO_MOMENT}


@database
def test_all_tables_are_of_one_moment(world: World, at_a: Participant, monkeypatch: pytest.MonkeyPatch) -> None:
    write = exports.formats.write_archive

    def somebody_saves_meanwhile(out, tables, preface, *, tell):
        import threading

        def save() -> None:
            casebook.record_event(participant=at_a, kind="last_contact", occurred="2025-09-01", by=world.bob)
            connection.close()

        thread = threading.Thread(target=save)
        thread.start()
        thread.join()
        return write(out, tables, preface, tell=tell)

    monkeypatch.setattr(exports.formats, "write_archive", somebody_saves_meanwhile)
    archive = export(world, world.ivan, "clinical_events", "audit_trail")
    assert [row["kind"] for row in archive.rows("clinical_events.csv")] == ["relapse"]
    assert not [row for row in archive.rows("audit_trail.csv") if row["new_value"] == "last_contact"]
    assert selectors.snapshot_of(world.trial).seq > archive.job.snapshot["seq"]


# --- Cells --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "in_a_spreadsheet"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("＝1+1", "'＝1+1"),
        ("-5", "-5"),
        ("+3.25", "+3.25"),
        ("-1e-3", "-1e-3"),
        ("-", "'-"),
        ("<0.01", "<0.01"),
        ("2025-03", "2025-03"),
        ("'quoted'", "'quoted'"),
        ("", ""),
    ],
)
def test_a_text_that_a_spreadsheet_would_compute_is_made_harmless(text: str, in_a_spreadsheet: str) -> None:
    assert neutralised(text) == in_a_spreadsheet
    assert written(text) == text


@database
def test_the_two_variants_differ_in_formulas_and_in_nothing_else(world: World, at_a: Participant) -> None:
    as_entered = export(world, world.dora, "entries", "adverse_events", "lab_results")
    for_sheets = export(world, world.dora, "entries", "adverse_events", "lab_results", variant="spreadsheet")
    assert as_entered.rows("form_cm.csv")[0]["DRUG"] == '=HYPERLINK("x"), "quoted"'
    assert for_sheets.rows("form_cm.csv")[0]["DRUG"] == '\'=HYPERLINK("x"), "quoted"'
    assert for_sheets.rows("adverse_events.csv")[0]["verbatim"] == "'-1 day after, =cough"
    assert for_sheets.rows("lab_results.csv") == as_entered.rows("lab_results.csv")
    assert for_sheets.files["lab_results.csv"].startswith(b"\xef\xbb\xbf")
    assert not as_entered.files["lab_results.csv"].startswith(b"\xef\xbb\xbf")
    assert "byte-order mark" in for_sheets.text("README.txt")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.05000000"), "0.05"),
        (Decimal("1200"), "1200"),
        (Decimal("1.2E+3"), "1200"),
        (Decimal("-0.5"), "-0.5"),
        (True, "yes"),
        (False, "no"),
        (None, ""),
        (0, "0"),
        (date(2025, 3, 1), "2025-03-01"),
        (datetime(2025, 3, 1, 12, 0, 0, 900_000, tzinfo=UTC), "2025-03-01T12:00:00Z"),
    ],
)
def test_how_a_cell_is_written(value, text: str) -> None:
    assert written(value) == text


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(
    st.lists(
        st.tuples(
            TEXT,
            TEXT,
            st.one_of(st.none(), st.integers(), st.decimals(allow_nan=False, allow_infinity=False, places=6)),
        )
    )
)
def test_what_is_written_can_be_read_again(rows) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        Archive(file, Variant.STATISTICAL).add_rows("t.csv", ["a", "b", "c"], rows)
    with zipfile.ZipFile(out) as file:
        text = file.read("t.csv").decode()
    assert text.startswith("a,b,c\r\n") and text.endswith("\r\n")
    header, *back = csv.reader(io.StringIO(text, newline=""))
    assert [tuple(row) for row in back] == [(a, b, written(c)) for a, b, c in rows]


def test_two_hundred_thousand_rows_take_no_more_memory_than_two_thousand() -> None:
    def peak(count: int) -> int:
        table = Table(
            "t", "T", (Column("a", "A"), Column("b", "B"), Column("c", "C", ColumnType.NUMBER)),
            lambda: (count, ((f"S{n}", "0.05 cells", Decimal(n) / 8) for n in range(count))),
        )  # fmt: skip
        tracemalloc.start()
        with zipfile.ZipFile(io.BytesIO(), "w"):
            write_archive(_Nowhere(), [table], PREFACE)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(2_000), peak(200_000)
    assert many < few + 200_000, (few, many)


class _Nowhere(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        return len(data)


# --- Who may have what --------------------------------------------------------------------------------------------


@pytest.mark.requirement("AT5")
@database
def test_a_site_exports_its_own_participants_and_their_trail(
    world: World, at_a: Participant, at_b: Participant
) -> None:
    mine = export(world, world.alice)
    for name in mine.files:
        if name.endswith(".csv") and name not in ("codebook.csv", "codelists.csv", "gates.csv"):
            assert {row["site"] for row in mine.rows(name)} <= {"A"}, name
            assert str(at_b) not in {row["subject"] for row in mine.rows(name)}
    assert len(mine.rows("audit_trail.csv")) > 20
    both = export(world, world.dora)
    assert {row["site"] for row in both.rows("participants.csv")} == {"A", "B"}
    assert "site A" in mine.text("README.txt") and "all sites" in both.text("README.txt")


@pytest.mark.requirement("EXP2")
@database
def test_what_identifies_a_person_goes_to_who_holds_the_permission(world: World, at_a: Participant) -> None:
    for name, membership in world.members.items():
        if not membership.may(Permission.EXPORT_DATA):
            continue
        archive = export(world, membership)
        held = membership.may(Permission.EXPORT_IDENTIFYING_DATES)
        assert any("2015-06-01" in archive.text(file) for file in archive.files) is held, name
        assert ("participants.birth_date" in archive.text("README.txt")) is not held


BLIND = (
    ('version: "1.0"\ncapture', 'version: "1.0"\nblinded_roles: [statistician]\ncapture'),
    (
        "  - {id: individualised, label: Individualised ATG, kind: arm, planned: 12}\n",
        "  - {id: individualised, label: Individualised ATG, kind: arm, planned: 12}\n"
        "  - {id: standard, label: Standard ATG, kind: arm, planned: 12}\n",
    ),
)


@pytest.mark.requirement("AT10")
@database
def test_a_blinded_role_never_gets_a_group_nor_the_doses_that_tell_it(db: None) -> None:
    text = definition()
    for old, new in BLIND:
        assert old in text
        text = text.replace(old, new)
    world = build_world(text=text)
    world.enrolled()
    run = runs.run_analyses(trial=world.trial, by=world.rita, reason="report")
    assert runs.compute_run(run=run.pk)
    seen = export(world, world.ivan)
    assert seen.rows("participants.csv")[0]["group"] == "individualised"
    assert "analysis_run" in {row["table"] for row in seen.rows("audit_trail.csv")}
    assert {"doses.csv", "administrations.csv"} <= set(seen.files)
    for name in ("rita", "quinn", "dora"):
        blind = export(world, world.members[name])
        assert not {"doses.csv", "administrations.csv"} & set(blind.files)
        columns = {row["variable"] for row in blind.rows("codebook.csv")}
        assert not {"group", "group_label"} & columns
        for file in blind.files:
            text = blind.text(file)
            if file == "audit_trail.csv":
                assert not set(TABLES_THAT_TELL_THE_GROUP) & {row["table"] for row in blind.rows(file)}, name
                # The protocol names its groups; who is in which is what nobody may read.
                text = "".join(str(row) for row in blind.rows(file) if row["table"] != "trials_protocolversion")
            assert "individualised" not in text, (name, file)
        assert not selectors.export_jobs(world.members[name]).filter(pk=seen.job.pk).exists()


TELLING = (
    *BLIND,
    # The performance is asked of one arm only: a response read from it, or a set by it, says who is in that arm.
    ("  - id: QS\n    label: Performance\n", "  - id: QS\n    label: Performance\n    groups: [individualised]\n"),
    (
        "analysis_sets:\n",
        "analysis_sets:\n"
        "  - {id: arm, label: One arm, method: screened, groups: [individualised]}\n"
        "  - {id: in_arm, label: Enrolled in it, method: enrolled, of: arm}\n"
        "  - {id: fit, label: Fit, method: with_value, item: QS.PERFORMANCE, at_least: 90}\n"
        "  - {id: as_planned, label: Dosed, method: with_value, item: EX_PLAN.GIVEN_OVER_PLANNED, at_least: 0.9}\n"
        "  - {id: benign, label: Benign, method: with_value, item: DX.GROUP, equals: benign}\n",
    ),
)


@pytest.mark.requirement("AT10")
@database
def test_a_blinded_role_gets_no_set_and_no_endpoint_that_tells_a_group(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = definition()
    for old, new in TELLING:
        assert old in text
        text = text.replace(old, new)
    world = build_world(text=text)
    participant = world.enrolled()
    happened(participant, "death", "2025-05-03", world.bob)
    seen, blind = (export(world, by, "subjects", "events") for by in (world.ivan, world.rita))
    telling = {"group", "set_arm", "set_in_arm", "set_fit", "set_as_planned"}
    assert columns_of(seen) - columns_of(blind) == telling
    assert {"set_benign", "set_full", "overall_survival_status"} <= columns_of(blind)
    assert blind.rows("events.csv") == seen.rows("events.csv") != []

    # No definition of the tests has an endpoint by form: the one that there is reads that form as well.
    survival = ANSWERS["first_event"]

    def by_form(spec: EndpointSpec) -> Reads:
        return survival.reads(spec) | Reads(forms=frozenset({"QS"}))

    monkeypatch.setitem(ANSWERS, "first_event", replace(survival, reads=by_form))
    seen, blind = (export(world, by, "subjects", "events") for by in (world.ivan, world.rita))
    of_survival = {name for name in columns_of(seen) if name.startswith("overall_survival_")}
    assert len(of_survival) == 6
    assert columns_of(seen) - columns_of(blind) == telling | of_survival
    assert [row["endpoint"] for row in seen.rows("events.csv")][-1] == "overall_survival"
    for file in set(blind.files) - {"README.txt"}:
        assert "overall_survival" not in blind.text(file) and "individualised" not in blind.text(file), file


def columns_of(archive: Opened) -> set[str]:
    """The columns of the participants as the analyses count them."""
    return set(archive.text("subjects.csv").splitlines()[0].split(","))


@database
@pytest.mark.parametrize("name", PEOPLE)
def test_who_may_export_which_data_set(world: World, name: str) -> None:
    membership = world.members[name]
    for dataset in DATASETS.values():
        allowed = membership.may(Permission.EXPORT_DATA) and membership.may(dataset.needs)
        ask = {"trial": world.trial, "datasets": [dataset.id], "variant": "statistical", "by": membership}
        if allowed:
            assert actions.request_export(**ask).specification["datasets"] == [dataset.id]
        else:
            with pytest.raises(PermissionDenied, match="Ask:"):
                actions.request_export(**ask)
    assert ExportJob.objects.exists() is membership.may(Permission.EXPORT_DATA)


def test_who_compares_with_the_source_can_take_the_data_out() -> None:
    for role in ("monitor", "statistician", "inspector", "data_manager"):
        assert Permission.EXPORT_DATA in ROLES[role].permissions


@database
def test_a_request_that_makes_no_sense_is_refused_with_what_there_is(world: World) -> None:
    ask = {"trial": world.trial, "by": world.dora}
    with pytest.raises(ValidationError, match="Choose at least one"):
        actions.request_export(**ask, datasets=[], variant="statistical")
    with pytest.raises(ValidationError, match="there are: participants"):
        actions.request_export(**ask, datasets=["particpants"], variant="statistical")
    with pytest.raises(ValidationError, match="statistical, spreadsheet"):
        actions.request_export(**ask, datasets=["visits"], variant="sas")
    assert not ExportJob.objects.exists()


@database
def test_jobs_are_seen_by_who_could_have_asked_for_them(world: World, at_a: Participant) -> None:
    of_alice, of_rita, of_dora = (export(world, by, "participants").job for by in (world.alice, world.rita, world.dora))
    trail = export(world, world.ivan, "audit_trail").job
    seen = {name: {job.pk for job in selectors.export_jobs(membership)} for name, membership in world.members.items()}
    assert seen["bob"] == {of_alice.pk}
    assert seen["carol"] == seen["peter"] == seen["tessa"] == seen["erin"] == set()
    # Rita's holds dates of birth; the trail is for those who may read it.
    assert seen["dora"] == seen["ivan"] == {of_alice.pk, of_dora.pk, trail.pk}
    assert seen["rita"] == {of_alice.pk, of_rita.pk, of_dora.pk}
    with pytest.raises(PermissionDenied, match="may not take out"):
        actions.download_export(job=of_rita, by=world.dora)


# --- Made once, whole ---------------------------------------------------------------------------------------------


def asked(world: World, *names: str) -> ExportJob:
    return actions.request_export(
        trial=world.trial, datasets=names or ("participants",), variant="statistical", by=world.dora
    )


@database
def test_a_job_that_is_done_is_not_made_again(world: World) -> None:
    job = asked(world)
    assert actions.run_export(job=job.pk)
    made = exports.file_of(job).stat().st_mtime_ns
    assert not actions.run_export(job=job.pk)
    assert exports.file_of(job).stat().st_mtime_ns == made


@database
def test_a_job_whose_worker_died_is_made_from_the_start(world: World) -> None:
    job = asked(world)
    exports._begin(job.pk)
    exports.file_of(job).parent.mkdir(parents=True, exist_ok=True)
    exports.file_of(job).with_suffix(".part").write_bytes(b"half a file")
    assert actions.run_export(job=job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.DONE, 2)
    assert [file.name for file in exports.file_of(job).parent.iterdir()] == [f"{job.key}.zip"]


@pytest.mark.slow
@database
def test_a_worker_killed_in_the_middle_loses_no_export(
    world: World, at_a: Participant, settings, celery_worker_process
) -> None:
    worker = celery_worker_process(EXPORT_DIR=str(settings.EXPORT_DIR))
    with psycopg.connect(database_url()) as blocking:
        # The export waits in the middle of its work for as long as this lock is held.
        blocking.execute("LOCK TABLE casebook_labresult IN ACCESS EXCLUSIVE MODE")
        job = asked(world, *[one.id for one in selectors.datasets_for(world.dora)])

        def is_waiting() -> bool:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'casebook_labresult'::regclass"
            return blocking.execute(waiting).fetchone() == (1,)

        assert wait_until(is_waiting, seconds=30, step=0.1)
        listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        for child, parent in map(str.split, listing.splitlines()):
            if int(parent) == worker.pid:
                os.kill(int(child), signal.SIGKILL)
        assert wait_until(lambda: "WorkerLostError" in worker.log_path.read_text(), seconds=30)
        assert not exports.file_of(job).exists()
    # Whoever comes first, the message that came back or the sweep, makes it.
    assert wait_until(lambda: exports.file_of(job).exists() or bool(sweep()), seconds=40, step=1)

    def is_done() -> bool:
        job.refresh_from_db()
        return job.state == JobState.DONE

    assert wait_until(is_done, seconds=10)
    assert job.attempts == 2
    assert hashlib.sha256(exports.file_of(job).read_bytes()).hexdigest() == job.sha256


@database
def test_a_job_that_another_worker_is_making_is_left_to_it(world: World) -> None:
    job = asked(world)
    with exports._alone(job.pk) as first:
        assert first is not None
        assert not actions.run_export(job=job.pk)
    assert actions.run_export(job=job.pk)


@database
def test_a_job_that_kills_its_workers_ends_with_a_sentence(world: World) -> None:
    job = asked(world)
    for _ in range(exports.MAX_ATTEMPTS):
        assert exports._begin(job.pk) is not None
    assert not actions.run_export(job=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "begun 3 times" in job.failure


@database
def test_a_disk_that_is_full_is_a_sentence_and_leaves_nothing(world: World, settings, tmp_path) -> None:
    job = asked(world)
    (tmp_path / "a file").write_text("where a folder should be")
    settings.EXPORT_DIR = tmp_path / "a file"
    assert not actions.run_export(job=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "could not be written" in job.failure
    with pytest.raises(NotPossible, match="could not be written"):
        actions.download_export(job=job, by=world.dora)


@database
def test_an_error_of_the_software_is_told_and_raised(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = asked(world)

    def broken(*args, **kwargs):
        raise KeyError("a column")

    monkeypatch.setattr(exports.formats, "write_archive", broken)
    with pytest.raises(KeyError):
        actions.run_export(job=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert str(job.key) in job.failure
    assert not list(exports.file_of(job).parent.iterdir())


@database
def test_a_request_that_is_undone_leaves_no_job(world: World) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        asked(world)
        raise RuntimeError
    assert not ExportJob.objects.exists()


@database
def test_the_sweep_begins_what_waits_and_removes_what_expired(world: World, broker: str) -> None:
    from config.celery import app

    waiting, old = asked(world), asked(world)
    actions.run_export(job=old.pk)
    with time_machine.travel(datetime.now(UTC) + exports.KEPT_FOR + timedelta(minutes=1), tick=True):
        with app.connection_for_write() as queue:
            queue.default_channel.client.flushdb()
            sweep()
            assert queue.default_channel.client.llen("celery") == 1
        assert not exports.file_of(old).exists()
        old.refresh_from_db()
        assert old.state == JobState.DONE and old.removed_at is not None and old.sha256
        with pytest.raises(NotPossible, match="Ask for the same export again"):
            actions.download_export(job=old, by=world.dora)
        assert actions.remove_expired_exports() == 0
    assert actions.run_export(job=waiting.pk)


# --- On record ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("AT7")
@database
def test_a_download_is_on_record_with_who_took_it(world: World) -> None:
    job = asked(world)
    with pytest.raises(NotPossible, match="not ready yet"):
        actions.download_export(job=job, by=world.dora)
    actions.run_export(job=job.pk)
    job.refresh_from_db()
    assert zipfile.is_zipfile(actions.download_export(job=job, by=world.ivan))
    (taken,) = Download.objects.all()
    changes = FieldChange.objects.filter(table_name="exchange_download", row_id=str(taken.pk), field="by_id")
    assert [(c.user_name, c.role, c.operation) for c in changes] == [("Ivan", "inspector", "INSERT")]
    asked_for = FieldChange.objects.filter(table_name="exchange_exportjob", row_id=str(job.pk), field="specification")
    assert [(c.user_name, c.new_value["datasets"]) for c in asked_for] == [("Dora", ["participants"])]
    states = FieldChange.objects.filter(table_name="exchange_exportjob", row_id=str(job.pk), field="state")
    assert [c.new_value for c in states.order_by("trail_id")] == ["waiting", "running", "done"]


@pytest.mark.requirement("AT7")
@database
def test_a_download_that_cannot_be_recorded_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = asked(world)
    actions.run_export(job=job.pk)
    job.refresh_from_db()

    def refuse(*args, **kwargs):
        raise RuntimeError("no trail")

    monkeypatch.setattr(context, "context", refuse)
    with pytest.raises(RuntimeError):
        actions.download_export(job=job, by=world.dora)
    assert not Download.objects.exists()


def test_what_may_not_be_had_is_taken_out_in_one_place() -> None:
    columns = (Column("study", "S"), Column("group", "G", tells_group=True), Column("born", "B", identifying=True))
    table = Table("people", "P", columns, lambda: (1, iter([("larch", "arm", "2015")])))
    doses = Table("doses", "D", columns[:1], lambda: (0, iter(())), tells_group=True)
    for groups, identifying, names, row in [
        (True, True, ["study", "group", "born"], ("larch", "arm", "2015")),
        (True, False, ["study", "group"], ("larch", "arm")),
        (False, True, ["study", "born"], ("larch", "2015")),
        (False, False, ["study"], ("larch",)),
    ]:
        (people, *others), left_out = within([table, doses], groups=groups, identifying=identifying)
        assert [column.name for column in people.columns] == names
        assert [tuple(one) for one in people.rows()[1]] == [row]
        assert bool(others) is groups
        assert ("doses" in left_out) is not groups
