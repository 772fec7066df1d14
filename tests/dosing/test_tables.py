"""Tables as files and as rows: what is refused with which place, and the three people that each needs."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError
from django.test import override_settings
from django.utils import timezone

from dosing import actions, selectors
from dosing.checks import definitions_can_be_dosed
from dosing.domain.refusals import Stop
from dosing.domain.states import TableStatus
from dosing.domain.table_files import TableErrors, parse_cells, parse_table
from dosing.domain.table_rules import Bounds, Severity, differences, validate
from dosing.models import DosingTable
from tests.dosing.dose_world import CELLS, DESCRIPTION, TABLES, member, ready, with_table
from tests.world import World, build_world
from trials.models import Trial
from trials.permissions import NotPossible

BOUNDS = Bounds(Decimal(2), Decimal(10), 1, 4, -9)
SOURCES = ("bm_pbsc", "cord_blood")
DEMO = parse_table(DESCRIPTION, cells=CELLS)


def findings(cells: str) -> list[str]:
    return [
        str(one) for one in validate(parse_table(DESCRIPTION, cells=cells), bounds=BOUNDS, required_sources=SOURCES)
    ]


def test_the_demonstration_table_keeps_every_rule() -> None:
    assert validate(DEMO, bounds=BOUNDS, required_sources=SOURCES) == ()


@pytest.mark.parametrize(
    "old, new, said",
    [
        (
            "bm_pbsc,20,40,0.5,1.5,7,3,-9\n",
            "",
            "Rule 1, bm_pbsc, weight [20, 40) kg, ALC [0.5, 1.5): a gap: no cell holds it.",
        ),
        (
            "bm_pbsc,3,20,0,0.5,6,3,-9",
            "bm_pbsc,3,25,0,0.5,6,3,-9",
            "Rule 1, bm_pbsc, weight [20, 25) kg, ALC [0, 0.5): an overlap: 2 cells hold it (lines 3, 6).",
        ),
        (
            "bm_pbsc,40,120,0,0.5,3,2,-9",
            "bm_pbsc,40,130,0,0.5,3,2,-9",
            "Rule 1, bm_pbsc, weight [120, 130) kg, ALC [0, 0.5): lies outside the declared range",
        ),
        ("bm_pbsc,3,20,0,0.5,6", "bm_pbsc,20,3,0,0.5,6", "a band ends where it begins, or before."),
        ("bm_pbsc,3,20,1.5,20,10,4", "bm_pbsc,3,20,1.5,20,10.5,4", "10.5 mg/kg; allowed 2 to 10 mg/kg."),
        ("cord_blood,40,120,0,0.5,2,1", "cord_blood,40,120,0,0.5,1.9,1", "1.9 mg/kg; allowed 2 to 10 mg/kg."),
        ("bm_pbsc,3,20,1.5,20,10,4", "bm_pbsc,3,20,1.5,20,10,5", "5 days; allowed 1 to 4."),
        ("bm_pbsc,3,20,1.5,20,10,4", "bm_pbsc,3,20,1.5,20,10,0", "0 days; allowed 1 to 4."),
        ("bm_pbsc,3,20,1.5,20,10,4,-9", "bm_pbsc,3,20,1.5,20,10,4,-5", "starts on day -5; allowed -9."),
        (
            "bm_pbsc,20,40,0,0.5,5,2",
            "bm_pbsc,20,40,0,0.5,6.5,3",
            "the dose rises from 6 to 6.5 mg/kg where the weight reaches 20 kg.",
        ),
        (
            "bm_pbsc,20,40,0.5,1.5,7,3",
            "bm_pbsc,20,40,0.5,1.5,4.5,2",
            "the dose falls from 5 to 4.5 mg/kg where the ALC reaches 0.5 ×10^9/L.",
        ),
    ],
)
def test_what_breaks_a_rule_is_named_with_its_place(old: str, new: str, said: str) -> None:
    assert old in CELLS
    assert any(said in one for one in findings(CELLS.replace(old, new)))


def test_both_graft_sources_are_needed_and_no_other() -> None:
    only_one = "\n".join(line for line in CELLS.splitlines() if not line.startswith("cord_blood"))
    assert [one for one in findings(only_one) if one.startswith("Rule 5")] == [
        "Rule 5, cord_blood: the protocol looks doses up there, and the table has no cells for it."
    ]
    assert any(
        "no graft source of the protocol leads there" in one for one in findings(CELLS.replace("cord_blood", "cb"))
    )


def test_cord_blood_above_marrow_is_a_warning_and_no_error() -> None:
    table = parse_table(
        DESCRIPTION, cells=CELLS.replace("cord_blood,40,120,0,0.5,2,1", "cord_blood,40,120,0,0.5,3.5,2")
    )
    found = validate(table, bounds=BOUNDS, required_sources=SOURCES)
    assert [(one.rule, one.severity) for one in found] == [(4, Severity.WARNING)]
    assert "above the 3 mg/kg of bm_pbsc" in found[0].sentence


@pytest.mark.parametrize(
    "text, line, said",
    [
        ("", 1, "no cells"),
        ("a,b\n1,2", 1, "columns are wrong"),
        (CELLS.replace("n_days", "days"), 2, "missing: n_days; not known: days"),
        (CELLS.replace("start_day", "start_day,start_day"), 2, "twice: start_day"),
        (CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,6,3"), 3, "7 values, 8 columns"),
        (CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,six,3,-9"), 3, "total_mg_per_kg is “six”"),
        (CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,NaN,3,-9"), 3, "total_mg_per_kg is “NaN”"),
        (CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,1e3,3,-9"), 3, "total_mg_per_kg is “1e3”"),
        (CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,6,2.5,-9"), 3, "n_days is 2.5"),
        (CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm-pbsc,3,20,0,0.5,6,3,-9"), 3, "no stem-cell source"),
        (CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", '"bm_pbsc,3,20,0,0.5,6,3,-9'), 20, "not a CSV file"),
        ("x" * (1024 * 1024 + 1), 1, "longer than 1 MiB"),
        ("stem\x00", 1, "control character"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(TableErrors) as refused:
        parse_cells(text)
    assert refused.value.errors[0].line == line
    assert said in str(refused.value)


def test_every_wrong_line_is_named_at_once() -> None:
    with pytest.raises(TableErrors) as refused:
        parse_cells(CELLS.replace(",-9", ",x"))
    assert [one.line for one in refused.value.errors] == list(range(3, 21))


def test_semicolons_and_a_byte_order_mark_are_read() -> None:
    assert parse_cells("\ufeff" + CELLS.split("\n", 1)[1].replace(",", ";")) == DEMO.cells


def test_the_cells_may_stand_in_the_yaml() -> None:
    rows = "".join(
        "  - {"
        + ", ".join(
            f"{name}: {value}"
            for name, value in zip(
                [
                    "stem_cell_source",
                    "weight_lo",
                    "weight_hi",
                    "alc_lo",
                    "alc_hi",
                    "total_mg_per_kg",
                    "n_days",
                    "start_day",
                ],
                line.split(","),
                strict=True,
            )
        )
        + "}\n"
        for line in CELLS.splitlines()[2:]
    )
    assert parse_table(f"{DESCRIPTION}\ncells:\n{rows}").cells == DEMO.cells
    with pytest.raises(TableErrors, match="given twice"):
        parse_table(f"{DESCRIPTION}\ncells:\n{rows}", cells=CELLS)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("units: {weight: kg, alc: 10^9/L, dose: mg/kg}", "units: {weight: g, alc: 10^9/L, dose: mg/kg}", "units"),
        ("synthetic: true", "synthetic: perhaps", "neither true nor false"),
        ("synthetic: true\n", "", "`synthetic` is missing"),
        ("product: thymoglobulin\n", "", "`product` is missing"),
        ("weight_kg: [3, 120]", "weight_kg: [120, 3]", "weight_kg is not a range"),
        ("weight_kg: [3, 120]", "weight_kg: 120", "weight_kg is not a range"),
        ("  age_years: [0, 18]", "  age: [0, 18]", "applicability has no `age`"),
        ("licence_note:", "licence:", "a table has no `licence`"),
        ("  age_years: [0, 18]", "  items: [a]", "items is not a list of addresses"),
    ],
)
def test_a_description_that_does_not_say_enough_is_refused(old: str, new: str, said: str) -> None:
    assert old in DESCRIPTION
    with pytest.raises(TableErrors, match=said.replace("(", r"\(")):
        parse_table(DESCRIPTION.replace(old, new), cells=CELLS)


def test_differences_name_the_cell_and_both_doses() -> None:
    other = parse_table(DESCRIPTION, cells=CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,5,2,-9"))
    (found,) = differences(DEMO, other)
    assert found.place == "bm_pbsc, weight [3, 20) kg, ALC [0, 0.5)"
    assert (found.one, found.other) == ("6 mg/kg over 3 days from day -9", "5 mg/kg over 2 days from day -9")


# --- Rows ---------------------------------------------------------------------------------------------------------


def entered(world: World) -> DosingTable:
    return actions.enter_table(
        trial=world.trial, description=DESCRIPTION, cells=CELLS, code="larch", by=world.peter, reason="first table"
    )


@pytest.mark.requirement("DOS2")
@pytest.mark.django_db
def test_three_people_bring_a_table_into_force(world: World) -> None:
    table = with_table(world)
    assert table.status == TableStatus.ACTIVE and table.effective_from == timezone.localdate()
    assert {table.entered_by, table.verified_by, table.approved_by} == {world.peter, world.paula, world.alice}


@pytest.mark.requirement("DOS2")
@pytest.mark.django_db
def test_nobody_does_two_of_the_three_steps(world: World) -> None:
    table = entered(world)
    with pytest.raises(PermissionDenied, match="another person has to enter it a second time"):
        actions.verify_table(table=table, cells=CELLS, by=world.peter)
    with pytest.raises(NotPossible, match="approved after it was verified"):
        actions.approve_table(table=table, by=world.alice, reason="I approve.")
    paula = member(world, "paula", "pharmacist")
    table = actions.verify_table(table=table, cells=CELLS, by=paula)
    for person in (world.peter, paula):
        with pytest.raises(PermissionDenied):
            actions.approve_table(table=table, by=person, reason="I approve.")


@pytest.mark.django_db
def test_the_same_person_in_another_role_is_still_the_same_person(world: World) -> None:
    table = entered(world)
    from tests.world import SINCE
    from trials import actions as trials

    second_role = trials.grant_membership(
        user=world.user("peter"),
        trial=world.trial,
        role="investigator",
        site=world.site_a,
        valid_from=SINCE,
        by=None,
        reason="also a physician",
    )
    table = actions.verify_table(table=table, cells=CELLS, by=member(world, "paula", "pharmacist"))
    with pytest.raises(PermissionDenied, match="You entered or verified this table"):
        actions.approve_table(table=table, by=second_role, reason="I approve.")


@pytest.mark.django_db
def test_a_second_entry_that_differs_leaves_a_draft_and_says_where(world: World) -> None:
    table = entered(world)
    wrong = CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,6,2,-9")
    with pytest.raises(actions.TableDiffers, match="over 3 days from day -9 against 6 mg/kg over 2 days") as refused:
        actions.verify_table(table=table, cells=wrong, by=member(world, "paula", "pharmacist"))
    assert len(refused.value.differences) == 1
    table.refresh_from_db()
    assert table.status == TableStatus.DRAFT


@pytest.mark.django_db
def test_the_same_content_is_one_row_and_another_is_the_next_version(world: World) -> None:
    first = entered(world)
    assert entered(world).pk == first.pk
    changed = CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,5,2,-9")
    second = actions.enter_table(
        trial=world.trial, description=DESCRIPTION, cells=changed, code="larch", by=world.peter, reason="second edition"
    )
    assert (first.version, second.version) == (1, 2)


@pytest.mark.django_db
def test_an_approved_successor_supersedes_and_doses_not_begun_are_computed_anew(world: World) -> None:
    first = with_table(world)
    participant = ready(world)
    actions.bring_up_to_date(participant=participant)
    changed = CELLS.replace("bm_pbsc,20,40,0.5,1.5,7,3,-9", "bm_pbsc,20,40,0.5,1.5,6,3,-9")
    second = actions.enter_table(
        trial=world.trial, description=DESCRIPTION, cells=changed, code="larch", by=world.peter, reason="second edition"
    )
    second = actions.verify_table(table=second, cells=changed, by=world.paula)
    actions.approve_table(table=second, by=world.alice, reason="I approve.")
    first.refresh_from_db()
    assert first.status == TableStatus.SUPERSEDED
    assert participant.pk in selectors.needing_work(timezone.localdate())
    worksheet = actions.bring_up_to_date(participant=participant)
    assert worksheet is not None and worksheet.table == second
    assert worksheet.reason == "Changed: table: larch v1 → larch v2."


@pytest.mark.django_db
def test_a_table_outside_the_protocols_bounds_or_of_another_code_is_refused(world: World) -> None:
    with pytest.raises(ValidationError, match="10.5 mg/kg; allowed 2 to 10 mg/kg"):
        actions.enter_table(
            trial=world.trial,
            description=DESCRIPTION,
            cells=CELLS.replace("bm_pbsc,3,20,1.5,20,10,", "bm_pbsc,3,20,1.5,20,10.5,"),
            code="larch",
            by=world.peter,
        )
    with pytest.raises(ValidationError, match="looks up no table demo. It looks up: larch"):
        actions.enter_table(trial=world.trial, description=DESCRIPTION, cells=CELLS, by=world.peter)
    assert not DosingTable.objects.exists()


@pytest.mark.django_db
def test_a_table_is_approved_on_the_day_it_holds_from(world: World) -> None:
    table = actions.verify_table(table=entered(world), cells=CELLS, by=member(world, "paula", "pharmacist"))
    with pytest.raises(ValidationError, match="on the day from which it holds"):
        actions.approve_table(
            table=table, by=world.alice, reason="I approve.", effective_from=timezone.localdate() + timedelta(days=1)
        )
    with pytest.raises(ValidationError, match="what your approval means"):
        actions.approve_table(table=table, by=world.alice, reason=" ", effective_from=date(2025, 1, 1))


@pytest.mark.requirement("DOS3")
@pytest.mark.django_db
def test_a_synthetic_table_computes_nothing_for_real_participants() -> None:
    world = build_world(kind=Trial.Kind.CONDUCT)
    with pytest.raises(NotPossible, match="real participants"):
        entered(world)
    with pytest.raises(CommandError, match="real participants"):
        call_command("load_dosing_table", TABLES / "demo_not_for_clinical_use.yaml", trial="larch", code="larch")


@pytest.mark.django_db
def test_a_synthetic_table_that_got_in_all_the_same_is_refused_at_every_dose(world: World) -> None:
    with_table(world)
    participant = ready(world)
    Trial.objects.filter(pk=world.trial.pk).update(kind=Trial.Kind.CONDUCT)
    participant.trial.refresh_from_db()
    worksheet = actions.compute_worksheet(participant=participant)
    assert [one["code"] for one in worksheet.result["refusals"]] == [Stop.SYNTHETIC]
    assert worksheet.total_mg is None


@pytest.mark.django_db
@override_settings(ALLOW_SYNTHETIC_DOSING=False)
def test_without_the_setting_no_synthetic_table_is_entered(world: World) -> None:
    with pytest.raises(NotPossible, match="ALLOW_SYNTHETIC_DOSING is not set"):
        entered(world)


@pytest.mark.django_db
def test_the_content_of_a_table_never_changes(world: World) -> None:
    table = with_table(world)
    with pytest.raises(DatabaseError), transaction.atomic():
        DosingTable.objects.filter(pk=table.pk).update(content={})
    with pytest.raises(DatabaseError), transaction.atomic():
        DosingTable.objects.filter(pk=table.pk).delete()


@pytest.mark.django_db
def test_a_table_changed_behind_the_application_computes_no_dose(world: World) -> None:
    table = with_table(world)
    participant = ready(world)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE dosing_dosingtable DISABLE TRIGGER freeze_dosing_dosingtable")
        cursor.execute(
            "UPDATE dosing_dosingtable SET content = replace(content::text, '\"7\"', '\"9\"')::jsonb WHERE id = %s",
            [table.pk],
        )
    worksheet = actions.compute_worksheet(participant=participant)
    assert [one["code"] for one in worksheet.result["refusals"]] == [Stop.TABLE_CHANGED]


@pytest.mark.django_db
def test_the_command_loads_and_approves_the_demonstration_table(world: World) -> None:
    said = StringIO()
    file = TABLES / "demo_not_for_clinical_use.yaml"
    call_command("load_dosing_table", file, trial="larch", code="larch", approve_as_demo=True, stdout=said)
    assert "larch v1 is active in larch: DEMO - NOT FOR CLINICAL USE" in said.getvalue()
    call_command("load_dosing_table", file, trial="larch", code="larch", approve_as_demo=True, stdout=said)
    assert DosingTable.objects.get().status == TableStatus.ACTIVE
    with pytest.raises(CommandError, match="There is no trial oak. Known: larch."):
        call_command("load_dosing_table", file, trial="oak")
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("load_dosing_table", TABLES / "nothing.yaml", trial="larch")


@pytest.mark.django_db
def test_the_command_line_loads_no_real_table(world: World, tmp_path: object) -> None:
    real = DESCRIPTION.replace("synthetic: true", "synthetic: false")
    with pytest.raises(PermissionDenied, match="a real one is entered by people"):
        actions.enter_table(trial=world.trial, description=real, cells=CELLS, code="larch", by=None)


@pytest.mark.django_db
def test_a_missing_table_is_a_warning_at_the_start_and_an_active_one_is_none(world: World) -> None:
    assert [one.id for one in definitions_can_be_dosed(databases=["default"])] == ["dosing.W001"]
    with_table(world)
    assert definitions_can_be_dosed(databases=["default"]) == []


@pytest.mark.requirement("DOS2")
def test_a_table_holds_site_by_site_where_its_approval_names_sites(world: World) -> None:
    paula, ines = member(world, "paula", "pharmacist"), member(world, "ines", "investigator", None)
    table = actions.enter_table(
        trial=world.trial, description=DESCRIPTION, cells=CELLS, code="larch", by=world.peter, reason="first"
    )
    table = actions.verify_table(table=table, cells=CELLS, by=paula)
    with pytest.raises(ValidationError, match="at least one site"):
        actions.approve_table(table=table, by=ines, reason="I approve.", sites=[])
    table = actions.approve_table(table=table, by=ines, reason="I approve.", sites=[world.site_b])
    participant = ready(world)  # of site A, where the table does not hold yet
    refused = actions.bring_up_to_date(participant=participant)
    assert refused is not None and refused.is_refused
    assert "not yet put into force at site A" in refused.result["refusals"][0]["sentence"]
    with pytest.raises(PermissionDenied):
        actions.put_into_force(table=table, site=world.site_b, by=world.alice, reason="I approve.")  # of site A only
    with pytest.raises(PermissionDenied):
        actions.put_into_force(table=table, site=world.site_a, by=world.peter, reason="I approve.")  # who entered it
    with pytest.raises(ValidationError, match="means"):
        actions.put_into_force(table=table, site=world.site_a, by=world.alice, reason=" ")
    made = actions.put_into_force(table=table, site=world.site_a, by=world.alice, reason="I approve.")
    assert actions.put_into_force(table=table, site=world.site_a, by=world.alice, reason="again") == made
    assert participant.pk in selectors.needing_work(timezone.localdate())
    computed = actions.bring_up_to_date(participant=participant)
    assert computed is not None and not computed.is_refused


def test_a_table_of_every_site_is_not_put_into_force_once_more(world: World) -> None:
    table = with_table(world)
    assert selectors.holds_at(table, world.site_a.pk) and selectors.holds_at(table, world.site_b.pk)
    with pytest.raises(NotPossible, match="every site already"):
        actions.put_into_force(table=table, site=world.site_a, by=world.alice, reason="I approve.")
