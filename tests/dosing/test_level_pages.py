"""The pages of levels: a set from file to approval, and a level that leads to a dose a second person releases."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from dosing import actions, selectors
from dosing.models import DoseRelease, DosingModel
from tests.dosing.dose_world import fresh
from tests.dosing.levels import SET_TEXT, at
from tests.dosing.test_levels import RIGHT, approved, begun, guided, level  # noqa: F401
from tests.dosing.test_pages import logged_in
from tests.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.dosing.urls")]


def test_a_set_is_uploaded_compared_and_approved_on_its_pages(guided: World) -> None:  # noqa: F811
    def page(name: str, **keys: int) -> str:
        return reverse(f"dosing:{name}", kwargs={"trial": "larch", **keys})

    def file(text: str) -> SimpleUploadedFile:
        return SimpleUploadedFile("set.yaml", text.encode())

    approved(guided)
    later = SET_TEXT.replace("typical: 0.48", "typical: 0.5")
    peter, paula, alice = (logged_in(guided, name) for name in ("peter", "paula", "alice"))
    wrong = SET_TEXT.replace("amount_per_mg: 0.35", "amount_per_mg: none")
    refused = peter.post(page("enter_model"), {"content": file(wrong), "reason": "published"})
    assert "amount_per_mg is “none”" in refused.content.decode()
    peter.post(page("enter_model"), {"content": file(later), "reason": "published"})
    row = DosingModel.objects.get(code="practice_atg", version=2)
    review = peter.get(page("model", model=row.pk)).content.decode()
    assert "parameters.cl.typical" in review and "NOT FOR CLINICAL USE" in review and row.sha256 in review
    assert "Against practice_atg v1, in force" in review
    assert peter.get(page("verify_model", model=row.pk)).status_code == 403
    differs = paula.post(page("verify_model", model=row.pk), {"content": file(SET_TEXT)}).content.decode()
    assert "parameters.cl.typical: 0.5 against 0.48" in differs
    paula.post(page("verify_model", model=row.pk), {"content": file(later)})
    form = {"effective_from": "t", "reason": "I compared this with its source."}
    alice.post(page("approve_model", model=row.pk), form)
    row.refresh_from_db()
    assert row.status == "ACTIVE"
    assert "in force" in paula.get(page("models")).content.decode()


def test_a_level_leads_to_a_dose_that_the_second_person_releases_on_the_pages(guided: World) -> None:  # noqa: F811
    approved(guided)
    participant = begun(guided)
    level(guided, participant, "3.4", at(20, 8))
    level(guided, participant, "6.1", at(21, 8))
    worksheet = actions.bring_up_to_date(participant=fresh(participant))
    assert worksheet is not None
    client = logged_in(guided, "peter")
    card = reverse("dosing:panel", kwargs={"trial": "larch", "participant": participant.pk})
    verify = reverse("dosing:verify", kwargs={"trial": "larch", "worksheet": worksheet.pk})
    assert "Proposal from levels" not in client.get(card).content.decode(), "who verifies does not see the levels"
    assert "6.1" not in client.get(verify).content.decode()
    record = client.get(reverse("dosing:record", kwargs={"trial": "larch", "participant": participant.pk}))
    page = record.content.decode()
    assert "its dose is not released" in page and worksheet.result["guided"]["proposal"]["mg_each"] not in page
    client.post(verify, RIGHT)
    shown = client.get(card).content.decode()
    assert "Proposal from levels" in shown and "inside" in shown and "Shrinkage" in shown and "style=" not in shown
    assert "Not for clinical use" in shown and "sponsor v1" in shown
    release = reverse("dosing:release", kwargs={"trial": "larch", "worksheet": worksheet.pk})
    client.post(release, {"reason": "Few levels; the trend is clear.", "agreed": "on"})
    assert DoseRelease.objects.filter(worksheet=worksheet).exists()
    assert selectors.current_worksheet(participant) == worksheet
