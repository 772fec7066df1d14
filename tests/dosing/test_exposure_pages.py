"""The exposure of a participant and the research page: what they show, to whom, and what they must not do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.roles import ROLES, Permission
from dosing import actions, selectors
from dosing.domain.exposure_tables import NOTICE
from dosing.domain.figures import pk_curve
from dosing.models import DosingTable
from dosing.permissions import check_can_explore_tables, may_explore_tables
from dosing.reports.exposure import curve_figure
from tests.browser.watch import axe_violations
from tests.dosing.dose_world import fresh, ready, with_table
from tests.dosing.questions import at
from tests.world import World
from trials.models import Membership, Participant

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.dosing.urls")]


def computed(world: World) -> Participant:
    """A child with a computed dose, and its first infusion given."""
    with_table(world)
    participant = ready(world)
    actions.compute_worksheet(participant=participant)
    actions.record_administration(
        participant=participant,
        infusion=1,
        started_at=at(15, 10),
        stopped_at=at(15, 18),
        dose_mg=Decimal("46"),
        product="thymoglobulin",
        comment="before the release",
        by=world.peter,
    )
    return fresh(participant)


def client_of(member: Membership) -> Client:
    client = Client()
    client.force_login(member.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page_of(participant: Participant, query: str = "") -> str:
    return reverse("dosing:exposure", kwargs={"trial": "larch", "participant": participant.pk}) + query


RESEARCH = {
    "pre_low": "40",
    "post_high": "50",
    "cord_post_high": "20",
    "dose_low": "2",
    "dose_high": "10",
    "dose_step": "1",
    "weight_median": "20",
    "alc_median": "0.8",
    "people": "300",
    "seed": "7",
}


def asked(world: World, **changes: str) -> dict[str, str]:
    return {"table": str(DosingTable.objects.get(status="ACTIVE").pk)} | RESEARCH | changes


# --- The exposure of a participant --------------------------------------------------------------------------------


def test_the_exposure_takes_given_infusions_at_their_times_and_planned_ones_after(world: World) -> None:
    found = selectors.exposure_of(computed(world))
    assert found.missing == ()
    assert [dose.is_given for dose in found.doses] == [True] + [False] * (len(found.doses) - 1)
    assert found.doses[0].mg == 46
    # 15-Mar-2025 10:00 and the graft on 24-Mar-2025 12:00, both in Amsterdam.
    assert found.doses[0].start_day == pytest.approx(-9 - 2 / 24)
    assert found.doses[0].end_day == pytest.approx(-9 + 6 / 24)
    assert dict(found.covariates) == {"weight_kg": "23.4", "alc_1e9_per_l": "0.8"}
    assert found.predicted is not None
    assert found.predicted.pre.value + found.predicted.post.value == pytest.approx(found.predicted.total.value)


def test_an_infusion_recorded_in_error_or_an_ended_course_changes_the_exposure(world: World) -> None:
    participant = computed(world)
    before = selectors.exposure_of(participant)
    actions.end_course(participant=participant, ended_on=at(16, 10).date(), cause="allergic_reaction", by=world.peter)
    after = selectors.exposure_of(fresh(participant))
    assert len(after.doses) == 1
    assert before.predicted is not None and after.predicted is not None
    assert after.predicted.total.value < before.predicted.total.value


def test_what_is_missing_is_said_and_nothing_is_guessed(world: World) -> None:
    with_table(world)
    participant = ready(world, alc=None)
    found = selectors.exposure_of(participant)
    assert found.predicted is None and curve_figure(found) is None
    assert any("No infusion" in sentence for sentence in found.missing)
    assert any("without a lymphocyte count" in sentence for sentence in found.missing)


def test_an_invented_set_computes_nothing_for_a_real_participant(world: World, settings: Any) -> None:
    participant = computed(world)
    settings.ALLOW_SYNTHETIC_DOSING = False
    found = selectors.exposure_of(participant)
    assert found.predicted is None and found.parameters is None
    assert "No parameter set is in force" in found.missing[0]
    body = client_of(world.alice).get(page_of(participant)).content.decode()
    assert "No exposure is predicted" in body and "pk-curve" not in body


def test_the_page_shows_the_areas_and_marks_what_they_are(world: World) -> None:
    participant = computed(world)
    answer = client_of(world.alice).get(page_of(participant))
    body = answer.content.decode()
    assert answer.status_code == 200
    for said in ("Before the graft", "After the graft", "In total", "not for clinical use", "ILLUSTRATIVE-1"):
        assert said in body
    assert selectors.illustrative_set().sha256 in body
    assert "style=" not in body and "figure.invalid" not in body


def test_who_may_still_verify_the_dose_sees_no_exposure_of_it(world: World) -> None:
    with_table(world)
    participant = ready(world)
    actions.compute_worksheet(participant=participant)
    client = client_of(world.members["paula"])
    hidden = client.get(page_of(participant)).content.decode()
    assert "hidden until then" in hidden and "pk-curve" not in hidden and "23.4" not in hidden
    assert "pk-curve" in client.get(page_of(participant, "?show=1")).content.decode()


# --- The figure ---------------------------------------------------------------------------------------------------


def curve(**changes: Any) -> pk_curve.PkCurve:
    values: dict[str, Any] = {
        "drug": "thymoglobulin",
        "unit": "mg/L",
        "area_unit": "mg·day/L",
        "days": (-9.0, -8.75, -8.5, 0.0, 10.0, 60.0),
        "central": (0.0, 10.0, 20.0, 8.0, 2.0, 0.001),
        "low": (0.0, 8.0, 15.0, 5.0, 1.0, 0.0),
        "high": (0.0, 12.0, 26.0, 11.0, 4.0, 0.01),
        "doses": (pk_curve.Dose(-9, -8.6, 50, True), pk_curve.Dose(-8, -7.6, 50, False)),
        "samples": (pk_curve.Sample(-5, 9, "9 mg/L"), pk_curve.Sample(20, 0.5, "<0.5 mg/L", is_below_limit=True)),
        "areas": (
            pk_curve.Area("pre", 60, 40, 80, (40, None)),
            pk_curve.Area("post", 30, 20, 45),
            pk_curve.Area("total", 90, 70, 110),
        ),
        "level": 0.9,
        "notice": "illustrative",
    }
    return pk_curve.PkCurve(**(values | changes))


def layer(spec: Any, name: str) -> list[dict[str, Any]]:
    for part in spec["vconcat"]:
        for one in part["layer"]:
            if one.get("name") == name:
                rows: list[dict[str, Any]] = one["data"]["values"]
                return rows
    return []


def test_doses_areas_and_samples_are_on_the_figure_with_their_words() -> None:
    spec = pk_curve.spec(curve())
    assert [row["words"] for row in layer(spec, "doses_given")] == ["day -9.0: 50 mg given"]
    assert [row["words"] for row in layer(spec, "doses_planned")] == ["day -8.0: 50 mg planned"]
    assert all(row["day"] < 0 for row in layer(spec, "before"))
    assert all(row["day"] >= 0 for row in layer(spec, "after"))
    assert [row["words"] for row in layer(spec, "samples")] == ["day -5.00: 9 mg/L"]
    assert [row["words"] for row in layer(spec, "samples_below_limit")] == ["day 20.00: <0.5 mg/L"]
    assert [row["label"] for row in layer(spec, "areas")] == ["60.0", "30.0", "90.0"]
    assert [(row["window"], row["from"]) for row in layer(spec, "targets")] == [("before the graft", 40)]


def test_nothing_at_or_below_zero_is_drawn_on_the_logarithmic_axis() -> None:
    spec = pk_curve.spec(curve())
    for name in ("before", "after", "curve", "interval_low", "interval_high", "samples"):
        for row in layer(spec, name):
            assert row["value"] > 0 if name == "samples" else min(row["value"], row["low"], row["high"]) > 0


def test_the_table_says_what_the_picture_shows() -> None:
    rows = pk_curve.table(curve()).rows
    said = [" ".join(str(cell) for cell in row) for row in rows]
    assert "Infusion day -9.00 to -8.60 50 mg, given" in said
    assert "Level day 20.00 <0.5 mg/L" in said
    assert "Exposure before the graft 60.0 mg·day/L 40.0 to 80.0 (90 %)" in said


def test_the_picture_carries_no_style_no_host_and_ids_of_its_own(world: World) -> None:
    figure = curve_figure(selectors.exposure_of(computed(world)))
    assert figure is not None
    assert "style=" not in figure.svg and "invalid" not in figure.svg
    assert "http" not in figure.svg.replace("http://www.w3.org/", "")
    ids = re.findall(r'\bid="([^"]+)"', figure.svg)
    assert ids and all(one.startswith("pk-curve-") for one in ids)
    assert "exposure before the graft" in json.dumps(figure.spec)


# --- The research page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", sorted(ROLES))
def test_who_enters_tables_or_runs_analyses_may_explore(world: World, role: str) -> None:
    member = Membership(user=world.user("alice"), trial=world.trial, role=role, valid_from=world.alice.valid_from)
    permissions = ROLES[role].permissions
    wanted = Permission.VIEW_DOSE in permissions and bool(
        permissions & {Permission.ENTER_DOSING_TABLE, Permission.RUN_ANALYSIS}
    )
    blinded = role in world.trial.protocol.blinded_roles
    assert may_explore_tables(member, world.trial) is (wanted and not blinded)
    if wanted and not blinded:
        check_can_explore_tables(member, world.trial)
    else:
        with pytest.raises(PermissionDenied, match=r"may not|blinded"):
            check_can_explore_tables(member, world.trial)


def test_a_table_is_derived_compared_and_simulated_and_nothing_is_kept(world: World) -> None:
    with_table(world)
    before = list(DosingTable.objects.values())
    answer = client_of(world.peter).get(reverse("dosing:research", kwargs={"trial": "larch"}), asked(world))
    body = answer.content.decode()
    assert answer.status_code == 200
    assert NOTICE in body and "The five rules" in body and "Seed 7" in body
    explored = answer.context["explored"]
    assert [one.result.n for one in explored.through] == [300, 300]
    assert explored.derived.table.is_synthetic
    assert explored.differences
    for one in explored.through:
        assert sum(counts.n for _, _, counts in one.result.by_target) == 2 * one.result.dosed
    assert list(DosingTable.objects.values()) == before
    assert "style=" not in body


def test_the_same_seed_gives_the_same_page(world: World) -> None:
    with_table(world)
    client, where = client_of(world.peter), reverse("dosing:research", kwargs={"trial": "larch"})
    one, other = (client.get(where, asked(world)).context["explored"] for _ in range(2))
    assert one.derived == other.derived and one.through == other.through


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pre_low": "-1"}, "Give a number above 0."),
        ({"pre_low": "a lot"}, "is not a number"),
        ({"dose_high": "1"}, "lies below the lowest"),
        ({"dose_step": "0.01"}, "make the step larger"),
        ({"people": "1000000"}, "5000"),
        ({"weight_median": "500"}, "lies outside the table"),
        ({"table": "0"}, "Select a valid choice"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused_at_their_place(
    world: World, changes: dict[str, str], said: str
) -> None:
    with_table(world)
    answer = client_of(world.peter).get(reverse("dosing:research", kwargs={"trial": "larch"}), asked(world, **changes))
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert "explored" not in answer.context


def test_without_a_table_in_force_there_is_nothing_to_explore(world: World) -> None:
    body = client_of(world.peter).get(reverse("dosing:research", kwargs={"trial": "larch"})).content.decode()
    assert "No dosing table is in force here" in body


# --- In the browser -----------------------------------------------------------------------------------------------


@pytest.mark.urls("config.urls")
@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_in_a_browser(
    world: World, page: Page, sign_in: Callable[..., None], theme: str, tmp_path: Any
) -> None:
    participant = computed(world)
    sign_in(world.user("peter"))
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    query = "&".join(f"{name}={value}" for name, value in asked(world).items())
    for name, address, seen in (
        ("exposure", page_of(participant, "?show=1"), "After the graft"),
        ("research", reverse("dosing:research", kwargs={"trial": "larch"}) + f"?{query}", "The five rules"),
    ):
        page.goto(address)
        expect(page.get_by_text(seen).first).to_be_visible()
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} is wider than the window"
        assert axe_violations(page) == [], name
        page.screenshot(path=tmp_path / f"{name}-{theme}.png", full_page=True)
