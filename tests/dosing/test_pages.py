"""The dose card, the forms around it, the tables and the API, for every role."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from dosing import actions, selectors
from dosing.models import Administration, DoseWorksheet, DosingTable
from tests.dosing.dose_world import CELLS, DESCRIPTION, fresh, member, ready, weigh, with_table
from tests.dosing.levels import ALGORITHM_TEXT, SET_TEXT
from tests.world import PEOPLE, World
from trials.models import Participant

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.dosing.urls")]

RIGHT = {"weight_kg": "23.4", "alc_1e9_per_l": "0.8", "graft": "bone_marrow"}
SEES_DOSES = {"alice", "bob", "peter", "dora", "quinn", "rita", "ivan"}


def logged_in(world: World, name: str) -> Client:
    client = Client()
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(world: World, name: str, **kwargs: Any) -> str:
    return reverse(f"dosing:{name}", kwargs={"trial": world.trial.code, **kwargs})


def computed(world: World) -> tuple[Participant, DoseWorksheet]:
    with_table(world)
    participant = ready(world)
    return participant, actions.compute_worksheet(participant=participant)


@pytest.mark.parametrize("name", PEOPLE)
def test_the_card_opens_for_who_may_see_doses_and_for_nobody_else(world: World, name: str) -> None:
    participant, _ = computed(world)
    answer = logged_in(world, name).get(address(world, "panel", participant=participant.pk))
    if not world.members[name].covers(participant.site_id):
        assert answer.status_code == 404
    else:
        assert answer.status_code == (200 if name in SEES_DOSES else 403)


def test_the_card_says_what_the_dose_rests_on_and_that_it_is_not_for_clinical_use(world: World) -> None:
    participant, worksheet = computed(world)
    text = logged_in(world, "bob").get(address(world, "panel", participant=participant.pk)).content.decode()
    assert text.count("Not for clinical use") >= 2
    assert "164" in text and "7 mg/kg over 3 days" in text
    assert "23.4 kg, 13-Mar-2025" in text and "0.8 10^9/L, 14-Mar-2025 08:00" in text
    assert worksheet.table is not None
    assert "larch v1" in text and worksheet.table.sha256[:12] in text and worksheet.input_sha256[:12] in text
    assert text.count("heat-ringed") == 1
    assert "style=" not in text


@pytest.mark.requirement("DOS4")
def test_who_may_verify_does_not_see_the_first_entry_unless_they_ask(world: World) -> None:
    participant, worksheet = computed(world)
    client, url = logged_in(world, "peter"), address(world, "panel", participant=participant.pk)
    hidden = client.get(url).content.decode()
    assert "23.4" not in hidden and "164" not in hidden and "heat-ringed" not in hidden
    assert "23.4 kg" in client.get(f"{url}?show=1").content.decode()
    form = client.get(address(world, "verify", worksheet=worksheet.pk)).content.decode()
    assert "23.4" not in form and "0.8" not in form


def test_from_verification_to_the_last_infusion(world: World) -> None:
    participant, worksheet = computed(world)
    peter, bob = logged_in(world, "peter"), logged_in(world, "bob")
    wrong = peter.post(address(world, "verify", worksheet=worksheet.pk), {**RIGHT, "weight_kg": "32.4"})
    assert wrong.status_code == 409
    assert "Actual body weight 32.4 kg is not what the dose was computed from" in wrong.content.decode()
    assert peter.post(address(world, "verify", worksheet=worksheet.pk), RIGHT).status_code == 302
    unsigned = peter.post(address(world, "release", worksheet=worksheet.pk), {})
    assert unsigned.status_code == 422
    assert peter.post(address(world, "release", worksheet=worksheet.pk), {"agreed": "on"}).status_code == 302
    for number, mg in ((1, "54,5"), (2, "54.5"), (3, "55")):
        sent = {
            "infusion": number,
            "started_at": f"d-{10 - number} 10:00",
            "stopped_at": f"d-{10 - number} 18:00",
            "dose_mg": mg,
            "batch": "B1",
        }
        answer = bob.post(address(world, "record", participant=participant.pk), sent)
        assert answer.status_code == 302, answer.content.decode()
    text = bob.get(address(world, "panel", participant=participant.pk)).content.decode()
    assert "100.12 %" in text and "inside" in text
    first = Administration.objects.get(participant=participant, infusion=1)
    assert first.dose_mg == Decimal("54.5")
    assert first.started_at.isoformat() == "2025-03-15T09:00:00+00:00"  # ten o'clock in Amsterdam


def test_a_stopped_infusion_is_a_deviation_on_the_card(world: World) -> None:
    participant, _ = computed(world)
    bob = logged_in(world, "bob")
    sent = {"infusion": 1, "started_at": "15mar25 10:00", "stopped_at": "15mar25 11:00", "volume_ml": "2"}
    refused = bob.post(address(world, "record", participant=participant.pk), {**sent, "was_stopped_early": "on"})
    assert refused.status_code == 422 and "say why this was given" in refused.content.decode()
    sent |= {"was_stopped_early": "on", "comment": "allergic reaction"}
    assert bob.post(address(world, "record", participant=participant.pk), sent).status_code == 302
    ended = bob.post(
        address(world, "end_course", participant=participant.pk),
        {"ended_on": "15mar25", "cause": "allergic_reaction", "reason": "rash"},
    )
    assert ended.status_code == 302
    text = bob.get(address(world, "panel", participant=participant.pk)).content.decode()
    assert "outside: major deviation" in text
    assert "Given 10 mg of 163.8 mg planned, 6.1 %; allowed 90 to 110 %." in text
    assert "ended on 15-Mar-2025: allergic reaction (rash)" in text
    resumed = bob.post(address(world, "resume_course", participant=participant.pk), {"reason": "declared in error"})
    assert resumed.status_code == 302 and selectors.course_end(participant) is None


def test_a_correction_on_an_old_page_is_refused_beside_the_newer_value(world: World) -> None:
    participant, _ = computed(world)
    given = actions.record_administration(
        participant=participant,
        infusion=1,
        started_at=datetime(2025, 3, 15, 10),  # noqa: DTZ001
        stopped_at=datetime(2025, 3, 15, 18),  # noqa: DTZ001
        dose_mg=Decimal("54.5"),
        product="thymoglobulin",
        comment="emergency",
        by=world.bob,
    )
    bob, url = logged_in(world, "bob"), address(world, "correct", administration=given.pk)
    sent = {
        "started_at": "15mar25 10:00",
        "stopped_at": "15mar25 18:00",
        "dose_mg": "50",
        "comment": "emergency",
        "reason": "read wrongly",
        "revision": 1,
    }
    assert bob.post(url, sent).status_code == 302
    stale = bob.post(url, {**sent, "dose_mg": "45"})
    assert stale.status_code == 409 and "changed to 50 mg meanwhile" in stale.content.decode()
    assert bob.post(address(world, "void", administration=given.pk), {"reason": "another child"}).status_code == 302
    given.refresh_from_db()
    assert given.is_void


def test_a_refused_dose_says_every_reason_and_the_way_out(world: World) -> None:
    with_table(world)
    participant = ready(world, kg=None, alc=None, source=None)
    actions.compute_worksheet(participant=participant)
    text = logged_in(world, "bob").get(address(world, "panel", participant=participant.pk)).content.decode()
    assert "No dose is computed." in text
    for sentence in (
        "Actual body weight is not recorded.",
        "Lymphocytes is not recorded.",
        "graft source is not known",
    ):
        assert sentence in text
    work = logged_in(world, "bob").get(address(world, "worklist"))
    assert "1 dose that cannot be computed" in work.content.decode()


def test_the_card_asks_for_itself_until_the_worksheet_is_there(world: World) -> None:
    with_table(world)
    participant = ready(world)
    bob, url = logged_in(world, "bob"), address(world, "panel", participant=participant.pk)
    assert 'hx-trigger="every 1s"' in bob.get(url, headers={"HX-Request": "true"}).content.decode()
    actions.bring_up_to_date(participant=participant)
    fragment = bob.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "every 1s" not in fragment and "<html" not in fragment and "164" in fragment
    weigh(world, participant, "24", on=date(2025, 3, 14))
    assert "every 1s" in bob.get(url, headers={"HX-Request": "true"}).content.decode()


def test_worklists_count_what_they_list(world: World) -> None:
    computed(world)
    text = logged_in(world, "peter").get(address(world, "worklist")).content.decode()
    assert "1 dose to verify" in text
    assert "1 dose to verify" not in logged_in(world, "bob").get(address(world, "worklist")).content.decode()


def upload(text: str, name: str) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode(), content_type="text/plain")


def test_a_table_goes_from_upload_to_approval_through_three_people(world: World) -> None:
    member(world, "paula", "pharmacist")
    peter, paula, alice = (logged_in(world, name) for name in ("peter", "paula", "alice"))
    described = DESCRIPTION.replace("code: demo  ", "code: larch ")
    entered = peter.post(
        address(world, "enter_table"),
        {"description": upload(described, "t.yaml"), "cells": upload(CELLS, "t.csv"), "reason": "practice"},
    )
    assert entered.status_code == 302, entered.content.decode()
    table = DosingTable.objects.get()
    page = peter.get(address(world, "table", table=table.pk)).content.decode()
    assert page.count("holds") == 5 and page.count('class="heat-map"') == 2
    assert peter.get(address(world, "verify_table", table=table.pk)).status_code == 403
    wrong = CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,7,3,-9")
    differs = paula.post(address(world, "verify_table", table=table.pk), {"cells": upload(wrong, "t.csv")})
    assert differs.status_code == 409 and "6 mg/kg over 3 days" in differs.content.decode()
    assert (
        paula.post(address(world, "verify_table", table=table.pk), {"cells": upload(CELLS, "t.csv")}).status_code == 302
    )
    everywhere = [world.site_a.pk, world.site_b.pk]
    approval = {"effective_from": "t", "reason": "I approve it.", "sites": everywhere}
    assert paula.post(address(world, "approve_table", table=table.pk), approval).status_code == 403
    assert alice.post(address(world, "approve_table", table=table.pk), approval).status_code == 302
    table.refresh_from_db()
    assert table.status == "ACTIVE"
    changed = CELLS.replace("bm_pbsc,3,20,0,0.5,6,3,-9", "bm_pbsc,3,20,0,0.5,5,2,-9")
    peter.post(
        address(world, "enter_table"),
        {"description": upload(described, "t.yaml"), "cells": upload(changed, "t.csv"), "reason": "second edition"},
    )
    second = DosingTable.objects.get(version=2)
    page = alice.get(address(world, "table", table=second.pk)).content.decode()
    assert "Against larch v1" in page and page.count("heat-changed") == 1
    assert "in force" in alice.get(address(world, "tables")).content.decode()


def test_a_table_with_a_gap_is_refused_with_its_place(world: World) -> None:
    holes = "\n".join(line for line in CELLS.splitlines() if not line.startswith("bm_pbsc,20,40,0.5"))
    described = DESCRIPTION.replace("code: demo  ", "code: larch ")
    answer = logged_in(world, "peter").post(
        address(world, "enter_table"),
        {"description": upload(described, "t.yaml"), "cells": upload(holes, "t.csv"), "reason": "practice"},
    )
    assert answer.status_code == 422
    assert "bm_pbsc, weight [20, 40) kg, ALC [0.5, 1.5): a gap: no cell holds it." in answer.content.decode()
    assert not DosingTable.objects.exists()


def api(world: World, name: str, **kwargs: Any) -> str:
    return reverse(f"dosing_api:{name}", kwargs={"trial": world.trial.code, **kwargs})


def test_the_api_reads_doses_and_records_an_infusion_once(world: World) -> None:
    participant, worksheet = computed(world)
    bob = logged_in(world, "bob")
    rows = bob.get(api(world, "worksheets"), {"participant": participant.pk}).json()["results"]
    assert [row["id"] for row in rows] == [worksheet.pk]
    assert rows[0]["total_mg"] == "164.0000" and rows[0]["is_synthetic"] is True
    sent = {
        "infusion": 1,
        "started_at": "2025-03-15T09:00:00Z",
        "stopped_at": "2025-03-15T17:00:00Z",
        "dose_mg": "54.5",
        "product": "thymoglobulin",
        "comment": "given before the release",
    }
    url = api(world, "record_administration", participant=participant.pk)
    first = bob.post(url, sent, content_type="application/json")
    again = bob.post(url, sent, content_type="application/json")
    assert first.status_code == again.status_code == 201 and first.json()["id"] == again.json()["id"]
    assert bob.post(url, {**sent, "dose_mg": "60"}, content_type="application/json").status_code == 409
    assert bob.post(url, {**sent, "product": "atgam"}, content_type="application/json").status_code == 400
    assert logged_in(world, "dora").post(url, sent, content_type="application/json").status_code == 403
    assert logged_in(world, "carol").post(url, sent, content_type="application/json").status_code == 404
    assert logged_in(world, "carol").get(api(world, "administrations")).json()["results"] == []
    assert logged_in(world, "erin").get(api(world, "worksheets")).status_code == 403
    tables = bob.get(api(world, "tables")).json()["results"]
    assert tables[0]["content"]["boundary_rule"] == "[low, high), last band closed"
    assert bob.get(api(world, "table", table=tables[0]["id"])).json()["sha256"] == tables[0]["sha256"]


def test_the_api_tells_the_state_of_each_worksheet_in_few_queries(
    world: World, django_assert_max_num_queries: Any
) -> None:
    participant, worksheet = computed(world)
    bob = logged_in(world, "bob")

    def states() -> dict[int, str]:
        with django_assert_max_num_queries(20):
            rows = bob.get(api(world, "worksheets"), {"participant": participant.pk}).json()["results"]
        return {row["id"]: row["status"] for row in rows}

    assert states() == {worksheet.pk: "proposed"}
    typed = {one["id"]: one["value"] for one in worksheet.inputs["covariates"]}
    actions.verify_worksheet(worksheet=worksheet, typed=typed, by=world.peter)
    assert states() == {worksheet.pk: "verified"}
    weigh(world, participant, "24")
    second = actions.bring_up_to_date(participant=fresh(participant))
    assert second is not None and states() == {worksheet.pk: "superseded", second.pk: "proposed"}


def test_the_api_reads_parameter_sets_and_algorithms_with_their_people(world: World) -> None:
    member(world, "paula", "pharmacist")
    row = actions.enter_model(trial=world.trial, content=SET_TEXT, by=world.peter)
    row = actions.verify_model(model=row, content=SET_TEXT, by=world.paula)
    actions.approve_model(model=row, by=world.alice, reason="I approve.")
    draft = actions.enter_model(trial=world.trial, content=ALGORITHM_TEXT, by=world.peter)
    bob = logged_in(world, "bob")
    found = {one["id"]: one for one in bob.get(api(world, "models")).json()["results"]}
    assert set(found) == {row.pk, draft.pk}
    one = found[row.pk]
    assert (one["kind"], one["status"], one["sha256"]) == ("parameters", "ACTIVE", row.sha256)
    assert [one[f"{what}_by"] for what in ("entered", "verified", "approved", "retired")] == [
        *(str(who.user) for who in (world.peter, world.paula, world.alice)),
        None,
    ]
    assert one["is_intact"] is True and one["content"]["parameters"]["cl"]["typical"] == "0.48"
    assert found[draft.pk]["approved_by"] is None
    in_force = bob.get(api(world, "models"), {"kind": "parameters", "status": "ACTIVE"}).json()["results"]
    assert [one["id"] for one in in_force] == [row.pk]
    assert bob.get(api(world, "models"), {"kind": "guess"}).status_code == 400
    assert bob.get(api(world, "model", model=row.pk)).json() == one
    assert bob.get(api(world, "model", model=row.pk + 99)).status_code == 404
    assert logged_in(world, "erin").get(api(world, "models")).status_code == 403
    assert logged_in(world, "erin").get(api(world, "model", model=row.pk)).status_code == 403


def test_the_api_gives_the_exposure_or_says_what_is_missing(world: World) -> None:
    participant, _ = computed(world)
    bob = logged_in(world, "bob")
    found = bob.get(api(world, "exposure", participant=participant.pk)).json()
    assert found["missing"] == [] and found["is_synthetic"] is True and found["unit"] == "mg·day/L"
    pre, post, total = found["exposure"]
    assert [one["window"] for one in (pre, post, total)] == ["pre", "post", "total"]
    assert all(one["low"] < one["value"] < one["high"] for one in (pre, post, total))
    assert total["value"] == pytest.approx(pre["value"] + post["value"])
    nobody = world.screened()
    said = bob.get(api(world, "exposure", participant=nobody.pk)).json()
    assert said["exposure"] == [] and any("graft" in one for one in said["missing"])
    assert logged_in(world, "carol").get(api(world, "exposure", participant=participant.pk)).status_code == 404
    assert logged_in(world, "erin").get(api(world, "exposure", participant=participant.pk)).status_code == 403


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("shown", ["panel", "record", "verify", "table", "tables"])
def test_the_pages_break_no_rule_of_access_in_either_theme(
    world: World, page: Any, live_server: Any, shown: str, theme: str
) -> None:
    participant, worksheet = computed(world)
    given = {"panel": {"participant": participant.pk}, "record": {"participant": participant.pk}}
    given |= {"verify": {"worksheet": worksheet.pk}, "table": {"table": worksheet.table_id}}
    client = logged_in(world, "peter" if shown == "verify" else "bob")
    cookie = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    page.emulate_media(color_scheme=theme)
    answer = page.goto(live_server.url + address(world, shown, **given.get(shown, {})))
    assert answer is not None and answer.status == 200
    page.evaluate("theme => document.documentElement.setAttribute('data-bs-theme', theme)", theme)
