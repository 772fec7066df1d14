"""The API of the casebook: one action a call, refusals as sentences, nothing written twice."""

from __future__ import annotations

from datetime import date

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from rest_framework.test import APIClient

from casebook import actions
from casebook.domain.results import Written
from casebook.models import ClinicalEvent, FormEntry, LabDraw, LabResult
from tests.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_(world: World):
    def log_in(name: str) -> APIClient:
        client = APIClient()
        client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
        return client

    return log_in


def at(name: str, **kwargs) -> str:
    return reverse(f"casebook_api:{name}", kwargs={"trial": "larch", **kwargs})


def test_draws_are_recorded_once_and_listed(world: World, as_) -> None:
    participant = world.enrolled()
    page = at("draws", participant=participant.pk)
    sent = {"sampled_at": "2025-03-31 08:30", "results": {"LB.CD4": {"value": "52", "unit": "cells/µL"}}}
    first = as_("bob").post(page, sent, format="json")
    assert first.status_code == 201, first.content
    assert first.json()["results"][0]["value"] == "0.05200000"
    assert as_("bob").post(page, sent, format="json").json()["id"] == first.json()["id"]
    other = {**sent, "results": {"LB.CD4": {"value": "53", "unit": "cells/µL"}}}
    assert as_("bob").post(page, other, format="json").status_code == 409
    bad = {**sent, "results": {"LB.ALC": {"value": "800", "unit": "10^9/L"}}}
    refused = as_("bob").post(page, bad, format="json")
    assert refused.status_code == 400 and "cells/µL?" in str(refused.json())
    assert as_("bob").post(page, {**sent, "sampled_at": "soon"}, format="json").status_code == 400
    assert as_("dora").post(page, other, format="json").status_code == 403
    assert as_("carol").get(page).status_code == 404
    assert as_("dora").get(page).json()["count"] == 1
    assert LabDraw.objects.count() == 1


def test_a_result_is_corrected_with_a_reason(world: World, as_) -> None:
    participant = world.enrolled()
    sent = {"sampled_at": "2025-03-31 08:30", "results": {"LB.CD4": {"value": "52", "unit": "cells/µL"}}}
    made = as_("bob").post(at("draws", participant=participant.pk), sent, format="json").json()["results"][0]
    page = at("result", result=made["id"])
    change = {"value": "25", "unit": "cells/µL", "revision": 1, "reason": "transcription error"}
    assert as_("bob").put(page, {**change, "reason": ""}, format="json").status_code == 400
    assert as_("bob").put(page, change, format="json").json()["value_as_written"] == "25"
    assert as_("bob").put(page, {**change, "value": "26"}, format="json").status_code == 409
    assert as_("carol").get(page).status_code == 404


def test_events(world: World, as_) -> None:
    participant = world.enrolled()
    page = at("events", participant=participant.pk)
    sent = {"kind": "relapse", "occurred": "2025-05"}
    first = as_("bob").post(page, sent, format="json")
    assert (first.status_code, first.json()["occurred"]) == (201, "2025-05")
    assert as_("bob").post(page, sent, format="json").json()["id"] == first.json()["id"]
    assert as_("bob").post(page, {"kind": "death", "occurred": "2025-06-01"}, format="json").status_code == 400
    one = at("event", event=first.json()["id"])
    change = {"occurred": "2025-05-10", "revision": 1, "reason": "letter"}
    assert as_("bob").put(one, change, format="json").json()["occurred"] == "2025-05-10"
    void = at("void_event", event=first.json()["id"])
    assert as_("dora").post(void, {"reason": "x"}, format="json").status_code == 403
    assert as_("bob").post(void, {"reason": "error"}, format="json").json()["is_void"] is True
    assert ClinicalEvent.objects.count() == 1


def test_entries_are_saved_whole_with_the_version_that_was_read(world: World, as_) -> None:
    participant = world.enrolled()
    page = at("save_entry", participant=participant.pk, form="VS")
    sent = {"visit": "BL", "answers": {"WEIGHT": "12.5"}, "complete": True}
    first = as_("bob").put(page, sent, format="json")
    assert first.status_code == 200, first.content
    assert (first.json()["status"], first.json()["revision"]) == ("complete", 1)
    assert as_("bob").put(page, sent, format="json").json()["revision"] == 1
    change = {**sent, "answers": {"WEIGHT": "12.6"}}
    assert as_("bob").put(page, change, format="json").status_code == 409
    assert as_("bob").put(page, {**change, "revision": 1}, format="json").status_code == 400
    saved = as_("bob").put(page, {**change, "revision": 1, "reason": "typing"}, format="json")
    assert saved.json()["answers"]["WEIGHT"] == {"value": "12.6", "unit": "kg"}
    assert as_("bob").put(page, {**sent, "answers": {"WEIGHT": "x"}}, format="json").status_code == 400
    assert as_("bob").put(page, {**sent, "visit": "NOPE"}, format="json").status_code == 404
    assert as_("ivan").put(page, sent, format="json").status_code == 403
    assert as_("ivan").get(at("entries", participant=participant.pk)).json()[0]["form"] == "VS"
    assert as_("ivan").get(at("entry", entry=FormEntry.objects.get().pk)).status_code == 200


def test_eligibility(world: World, as_) -> None:
    participant = world.screened()
    page = at("eligibility", participant=participant.pk)
    assert as_("bob").get(page).status_code == 404
    assert as_("dora").post(page).status_code == 403
    assessed = as_("bob").post(page)
    assert (assessed.status_code, assessed.json()["outcome"]) == (200, "unknown")
    assert as_("bob").post(page).json()["id"] == assessed.json()["id"]
    assert as_("dora").get(page).json()["id"] == assessed.json()["id"]


def test_a_laboratory_file_is_checked_and_confirmed(world: World, as_) -> None:
    participant = world.enrolled()
    text = f"participant,sampled_at,analyte,value,unit\n{participant},2025-03-31 08:30,CD4,52,cells/µL\n"

    def upload(content: bytes):
        file = SimpleUploadedFile("labs.csv", content)
        return as_("bob").post(at("lab_imports"), {"file": file}, format="multipart")

    made = upload(text.encode())
    assert made.status_code == 201 and made.json()["report"]["new"] == 1
    assert upload(text.encode()).json()["id"] == made.json()["id"]
    assert not LabResult.objects.exists()
    page = at("lab_import", lab_import=made.json()["id"])
    assert as_("bob").post(page, {"shown": "other"}, format="json").status_code == 409
    actions.record_draw(
        participant=participant,
        sampled_at=date(2025, 4, 1),
        values={"LB.ALT": Written("30", "U/L")},
        by=world.bob,
    )
    shown = as_("bob").get(page).json()["shown"]
    assert as_("bob").post(page, {"shown": shown}, format="json").json()["state"] == "written"
    assert upload(text.encode()).json()["report"]["same"] == 1
    bad = upload(b"participant,value\nP001,3\n").json()["report"]
    assert bad["rejections"][0][:2] == [1, "sampled_at"]
    assert as_("bob").post(at("lab_imports"), {}, format="multipart").status_code == 400
    assert as_("alice").post(at("lab_imports"), {"file": SimpleUploadedFile("a.csv", b"x")}).status_code == 403
