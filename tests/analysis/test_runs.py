"""Runs of the statistical plan: asked for, computed once, kept, read by who may, and not changed by later data."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from django.apps import apps
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from analysis import actions as adjudication
from analysis import tasks
from analysis.actions import runs as actions
from analysis.datasets.outcomes import dataset
from analysis.datasets.plan import _FOLLOWS
from analysis.models import Run, RunState
from analysis.reports import plan
from analysis.selectors import readings
from analysis.selectors import runs as selectors
from audit.models import TrailRow
from casebook import actions as casebook
from casebook.domain.results import Written
from tests.analysis.test_adjudication import AFTER_ALL, measured
from tests.browser.watch import axe_violations
from tests.world import GRAFT_ON, PEOPLE, World, build_world, definition, proof
from trials.formats.documents import as_pdf
from trials.models import Membership, Participant
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db

AS_OF = date(2025, 9, 1)
CAUSE = {"cause": "infection", "relapse_related": "N"}


def a_run(world: World, *, as_of: date | None = AS_OF, reason: str = "report to the committee") -> Run:
    run = actions.run_analyses(trial=world.trial, by=world.rita, as_of=as_of, reason=reason)
    assert actions.compute_run(run=run.pk)
    return Run.objects.select_related("trial", "protocol_version__trial", "requested_by__user").get(pk=run.pk)


def evaluable(world: World, as_of: date | None) -> set[int]:
    return {one.participant for one in dataset(world.trial, as_of=as_of).members("evaluable")}


def followed(world: World, *, by: Membership | None = None) -> Participant:
    """Somebody who reached the endpoint and is alive."""
    participant = world.enrolled(by=by)
    measured(world, participant, (56, "0.06"), (70, "0.07"))
    adjudication.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    return participant


def client_of(member: Membership) -> Client:
    client = Client()
    client.force_login(member.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(world: World, name: str, **kwargs: object) -> str:
    return reverse(f"analysis:{name}", kwargs={"trial": world.trial.code, **kwargs})


# --- Running ----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("PLN2")
def test_the_same_data_give_the_same_result_and_it_is_said(world: World) -> None:
    followed(world)
    first, second = a_run(world), a_run(world)
    assert first.state == second.state == RunState.DONE
    assert (first.input_sha256, first.result_sha256) == (second.input_sha256, second.result_sha256)
    compared = selectors.compared(second)
    assert compared is not None and "so is the result" in compared.sentence


@pytest.mark.requirement("PLN2")
def test_later_data_change_a_new_run_and_not_the_old_one(world: World) -> None:
    participant = followed(world)
    before = a_run(world)
    result, sha = before.result, before.result_sha256
    casebook.record_draw(
        participant=participant,
        sampled_at=GRAFT_ON + timedelta(days=63),
        laboratory="Central",
        values={"LB.CD4": Written("70", "cells/µL")},
        by=world.bob,
    )
    casebook.record_event(
        participant=participant,
        kind="death",
        occurred=f"{GRAFT_ON + timedelta(days=90):%d %b %Y}",
        detail=CAUSE,
        by=world.bob,
    )
    after = a_run(world)
    before.refresh_from_db()
    assert (before.result, before.result_sha256) == (result, sha)
    assert after.input_sha256 != before.input_sha256 and after.result_sha256 != sha
    compared = selectors.compared(after)
    assert compared is not None and compared.sentence.startswith("The data differ")


def test_an_earlier_cut_holds_no_later_death(world: World) -> None:
    participant = followed(world)
    casebook.record_event(participant=participant, kind="death", occurred="20 aug 2025", detail=CAUSE, by=world.bob)
    early, late = a_run(world, as_of=date(2025, 8, 1)), a_run(world, as_of=AS_OF)

    def deaths(run: Run) -> float | None:
        survival = next(one for one in selectors.results_for(world.rita, run) if one.id == "A2")
        return survival.tables[0].rows[0].cells[1].value

    assert (deaths(early), deaths(late)) == (0, 1)


@pytest.mark.requirement("PLN2")
def test_who_was_evaluable_at_an_earlier_cut_is_what_was_recorded_by_then(world: World) -> None:
    """A death of day 38, heard of after the cut, takes nobody out of the set as it was; the report tells the limits."""
    with time_machine.travel(datetime(2025, 8, 25, 12, tzinfo=UTC)):
        participant = followed(world)
    assert evaluable(world, AS_OF) == evaluable(world, None) == {participant.pk}
    casebook.record_event(participant=participant, kind="death", occurred="2025-05-01", detail=CAUSE, by=world.bob)
    adjudication.adjudicate(participants=[participant.pk], as_of=AFTER_ALL)
    assert evaluable(world, None) == set(), "the data of now say otherwise"
    assert evaluable(world, AS_OF) == {participant.pk}
    run = a_run(world)
    said = str(plan.document(run, selectors.results_for(world.rita, run)))
    assert "recorded by the end of 01-Sep-2025 (UTC)" in said and "a late entry made in between" in said
    run.method_version = "1"
    before = str(plan.document(run, selectors.results_for(world.rita, run)))
    assert "The data were cut on" not in before, "a run of the method before this rule says nothing of it"


def test_for_whom_nothing_was_recorded_at_the_cut_the_rule_answers_on_the_data_until_then(world: World) -> None:
    participant = followed(world)
    casebook.record_event(participant=participant, kind="relapse", occurred="2025-05-01", by=world.bob)
    assert evaluable(world, None) == {participant.pk}, "not decided again yet"
    assert evaluable(world, date(2025, 4, 30)) == set() == evaluable(world, AS_OF)


def test_a_cut_of_the_day_of_the_run_has_no_limits_to_tell(world: World) -> None:
    followed(world)
    run = a_run(world, as_of=None)
    assert "The data were cut on" not in str(plan.document(run, selectors.results_for(world.rita, run)))


def test_another_version_of_the_code_is_named_where_the_result_differs(world: World) -> None:
    followed(world)
    first, second = a_run(world), a_run(world)
    second.code_version, second.result_sha256 = "other", "0" * 64
    compared = selectors.compared(second)
    assert compared is not None and first.code_version in compared.sentence and not compared.same_code


@pytest.mark.django_db(transaction=True)
def test_a_done_run_is_frozen_and_in_the_trail(world: World) -> None:
    run = a_run(world)
    with pytest.raises(DatabaseError, match="frozen|unchangeable|may not"), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(result_sha256="0" * 64)
    with pytest.raises(DatabaseError), transaction.atomic():
        Run.objects.filter(pk=run.pk).delete()
    rows = TrailRow.objects.filter(chain=f"trial:{world.trial.pk}", table_name="analysis_run", row_id=str(run.pk))
    assert list(rows.order_by("seq").values_list("operation", flat=True)) == ["INSERT", "UPDATE", "UPDATE"]
    assert rows.get(operation="INSERT").reason == "report to the committee"


def test_a_run_is_computed_once(world: World) -> None:
    run = a_run(world)
    finished = run.finished_at
    assert not actions.compute_run(run=run.pk)
    run.refresh_from_db()
    assert run.finished_at == finished


def test_the_sweep_begins_what_a_dead_worker_left_and_gives_up_after_three(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = actions.run_analyses(trial=world.trial, by=world.rita, as_of=AS_OF, reason="report")
    # A worker that was killed has left the row running and no lock.
    for attempts in (1, 3):
        Run.objects.filter(pk=run.pk).update(state=RunState.RUNNING, attempts=attempts)
        assert run.pk in selectors.unfinished_runs()
        if attempts == 1:
            monkeypatch.setattr(tasks.compute_run, "delay", tasks.compute_run)
            tasks.sweep_runs()
            run.refresh_from_db()
            assert run.state == RunState.DONE
            run = actions.run_analyses(trial=world.trial, by=world.rita, as_of=AS_OF, reason="another")
    tasks.sweep_runs()
    run.refresh_from_db()
    assert run.state == RunState.FAILED and "Begun 3 times" in run.failure


@pytest.mark.parametrize("as_of, reason, field", [(None, " ", "reason"), (date(2999, 1, 1), "why", "as_of")])
def test_what_is_asked_wrongly_is_refused_at_its_field(
    world: World, as_of: date | None, reason: str, field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        actions.run_analyses(trial=world.trial, by=world.rita, as_of=as_of, reason=reason)
    assert field in refused.value.error_dict
    assert not Run.objects.exists()


def test_a_protocol_without_analyses_says_so() -> None:
    text = definition().split("\nanalyses:")[0]
    world = build_world(text=text)
    with pytest.raises(ValidationError, match="names no analysis"):
        actions.run_analyses(trial=world.trial, by=world.rita, reason="report")


# --- Who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEOPLE)
def test_only_the_statistician_runs(world: World, name: str) -> None:
    if name == "rita":
        assert a_run(world).state == RunState.DONE
        return
    with pytest.raises(PermissionDenied):
        actions.run_analyses(trial=world.trial, by=world.members[name], reason="report")


@pytest.mark.parametrize("name", PEOPLE)
def test_who_reads_a_report(world: World, name: str) -> None:
    """Whoever sees the dashboard of all sites; a membership of one site does not find it."""
    run = a_run(world)
    status = {address_: client_of(world.members[name]).get(address_).status_code for address_ in (
        address(world, "run", run=run.pk), address(world, "run_pdf", run=run.pk),
        address(world, "run_numbers", run=run.pk),
    )}  # fmt: skip
    role, site = PEOPLE[name]
    expected = 403 if role == "endpoint_reader" else 200 if site is None else 404
    assert set(status.values()) == {expected}


def test_a_membership_of_one_site_may_not_run(world: World) -> None:
    world.rita.site = world.site_a
    with pytest.raises(NotPossible, match="all sites"):
        actions.run_analyses(trial=world.trial, by=world.rita, reason="report")


@pytest.mark.requirement("PLN5")
def test_what_tells_the_groups_apart_is_withheld_from_who_does_not_see_them() -> None:
    text = (
        definition()
        .replace("assignment: {method: single_arm, to: individualised}",
                 "assignment: {method: permuted_blocks, ratio: [1, 1], blocks: [2]}")
        .replace("  - {id: historical,",
                 "  - {id: fixed, label: Fixed dose, kind: arm, planned: 12}\n  - {id: historical,")
        .replace("  - {id: A1, label: Reconstitution, method: proportion, endpoints: [cd4_reconstitution], "
                 "analysis_sets: [full],\n     interval: clopper_pearson}",
                 "  - {id: A1, label: Reconstitution, method: baseline_table, analysis_sets: [full], by: group,\n"
                 "     predictors: [sex]}")
    )  # fmt: skip
    world = build_world(text=text)
    for _ in range(2):
        world.enrolled()
    run = a_run(world)
    seen, hidden = selectors.results_for(world.ivan, run), selectors.results_for(world.rita, run)
    assert seen[0].tables and seen[0].by_group
    assert (hidden[0].tables, hidden[0].refused) == ((), selectors.WITHHELD)
    page = client_of(world.rita).get(address(world, "run", run=run.pk)).content.decode()
    body = json.dumps(client_of(world.rita).get(f"/api/v1/trials/larch/analyses/{run.pk}/").json())
    assert "Fixed dose" not in page and "Fixed dose" not in body
    assert "Fixed dose" in client_of(world.ivan).get(address(world, "run", run=run.pk)).content.decode()


def test_the_trail_of_a_run_is_not_read_at_one_site(world: World) -> None:
    from trials.selectors import trail

    a_run(world)
    assert not trail(world.alice).filter(table_name="analysis_run").exists()
    assert trail(world.ivan).filter(table_name="analysis_run").exists()


# --- The report -------------------------------------------------------------------------------------------------------


def test_the_same_run_is_the_same_file(world: World) -> None:
    followed(world)
    run = a_run(world)
    results = selectors.results_for(world.rita, run)
    first, second = (as_pdf(plan.document(run, results)) for _ in range(2))
    assert first == second and first.startswith(b"%PDF")


@pytest.mark.requirement("PLN3")
def test_every_number_has_its_method_and_its_listing_opens_whom_it_counts(world: World) -> None:
    followed(world)
    followed(world, by=world.carol)
    run = a_run(world)
    text = client_of(world.rita).get(address(world, "run_numbers", run=run.pk)).content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows and all(row["method"] for row in rows if row["value"])
    opened = 0
    for row in rows:
        if row["listing"] and row["method"] == "count" and row["value"]:
            page = client_of(world.rita).get(row["listing"])
            assert page.status_code == 200, row
            assert page.context["page"].paginator.count == int(float(row["value"])), row
            opened += 1
    assert opened >= 4


def trail_is_written() -> None:
    """What the commit does: a test never comes to one."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_data_written_since_are_said_and_a_vote_or_a_copy_is_none(world: World) -> None:
    participant = followed(world)
    trail_is_written()
    run = a_run(world)
    client = client_of(world.rita)
    adjudication.record_reading(
        participant=participant,
        endpoint="cd4_reconstitution",
        answer="reached",
        seen=readings.case_of(participant, "cd4_reconstitution").evidence_sha256,
        by=world.erin,
        proof=proof(world.erin),
    )
    trail_is_written()
    written = TrailRow.objects.filter(chain=f"trial:{world.trial.pk}", table_name="analysis_reading")
    assert written.exists() and selectors.has_changed(run) is False
    assert "No data were written since." in client.get(address(world, "runs")).content.decode()
    casebook.record_event(participant=participant, kind="relapse", occurred="may 2025", by=world.bob)
    trail_is_written()
    assert selectors.has_changed(run) is True
    assert "Data were written since." in client.get(address(world, "runs")).content.decode()


def test_every_copy_that_somebody_takes_is_no_data() -> None:
    tables = {model._meta.db_table for model in apps.get_models()}
    assert set(_FOLLOWS) <= tables
    assert {table for table in tables if table.endswith("copy")} <= set(_FOLLOWS)


def test_the_api_asks_and_reads(world: World) -> None:
    client = client_of(world.rita)
    asked = client.post(
        "/api/v1/trials/larch/analyses/", {"as_of": "2025-09-01", "reason": "report"}, content_type="application/json"
    )
    assert (asked.status_code, asked.json()["state"]) == (201, "queued")
    assert actions.compute_run(run=asked.json()["id"])
    found = client.get(f"/api/v1/trials/larch/analyses/{asked.json()['id']}/").json()
    assert [one["id"] for one in found["results"]] == ["A1", "A2", "A3", "A4"]
    assert client.get("/api/v1/trials/larch/analyses/").json()["count"] == 1
    refused = client.post("/api/v1/trials/larch/analyses/", {"reason": ""}, content_type="application/json")
    assert refused.status_code == 400 and "reason" in json.dumps(refused.json())


def test_the_form_asks_and_refuses_at_the_field(world: World) -> None:
    client = client_of(world.rita)
    refused = client.post(address(world, "runs"), {"as_of": "2999-01-01", "reason": "report"})
    assert refused.status_code == 422 and "choose a day until" in refused.content.decode()
    asked = client.post(address(world, "runs"), {"as_of": "", "reason": "report"}, follow=True)
    run = Run.objects.get()
    assert run.as_of == timezone.localdate() and "being computed" in asked.content.decode()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_pages_are_accessible_light_and_dark_wide_and_narrow(
    world: World, page: Page, sign_in: Callable[..., None], theme: str, width: int
) -> None:
    followed(world)
    followed(world, by=world.carol)
    run = a_run(world)
    sign_in(world.user("rita"))
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    for name, kwargs, seen in (("runs", {}, "Read the report"), ("run", {"run": run.pk}, "What was found")):
        page.goto(address(world, name, **kwargs))
        expect(page.get_by_text(seen).first).to_be_visible()
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} is wider than the window"
        assert axe_violations(page) == [], name
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/plan-{name}-{theme}-{width}.png", full_page=True)
