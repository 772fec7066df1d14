"""The pages of the casebook, as a browser without scripts sees them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from casebook import actions
from casebook.domain.results import Written
from casebook.models import ClinicalEvent, FormEntry, LabDraw, LabImport, LabResult
from tests.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_(world: World):
    def log_in(name: str) -> Client:
        client = Client()
        client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
        return client

    return log_in


def at(name: str, participant=None, **kwargs) -> str:
    if participant is not None:
        kwargs["participant"] = participant.pk
    return reverse(f"casebook:{name}", kwargs={"trial": "larch", **kwargs})


def test_a_form_is_made_from_the_definition_and_saved_by_a_plain_post(world: World, as_) -> None:
    participant = world.enrolled()
    page = at("visit_entry", participant, visit="BL", form="VS")
    shown = as_("bob").get(page).content.decode()
    for words in ("Actual body weight", "1.5 to 200 kg", "required", "0 of 2 answered", "Save and mark complete"):
        assert words in shown
    response = as_("bob").post(
        page, {"revision": "0", "WEIGHT": "12,5", "unit:WEIGHT": "kg", "HEIGHT": "", "action": "complete"}
    )
    assert response.status_code == 302
    entry = FormEntry.objects.get()
    assert (entry.status, entry.answers) == ("complete", {"WEIGHT": {"value": "12.5", "unit": "kg"}})
    assert 'value="12.5"' in as_("bob").get(page).content.decode()


def test_what_is_refused_stands_beside_what_was_typed(world: World, as_) -> None:
    participant = world.enrolled()
    page = at("visit_entry", participant, visit="BL", form="VS")
    response = as_("bob").post(page, {"revision": "0", "WEIGHT": "1250", "HEIGHT": "91", "action": "save"})
    shown = response.content.decode()
    assert response.status_code == 422
    assert "1250 kg is above the allowed range, 1.5 to 200 kg" in shown
    assert 'value="1250"' in shown and 'href="#f-WEIGHT"' in shown
    assert not FormEntry.objects.exists()


def test_two_versions_are_shown_side_by_side_and_the_choice_is_saved(world: World, as_) -> None:
    participant = world.enrolled()
    page, visit = at("visit_entry", participant, visit="BL", form="VS"), participant.visits.get(code="BL")
    actions.save_entry(
        participant=participant, form="VS", visit=visit, answers={"WEIGHT": "12.5"}, by=world.alice, revision=0
    )
    response = as_("bob").post(page, {"revision": "0", "WEIGHT": "12.9", "unit:WEIGHT": "kg", "action": "save"})
    shown = response.content.decode()
    assert response.status_code == 409
    assert "12.5 kg" in shown and "12.9 kg" in shown
    chosen = {"revision": "1", "WEIGHT": "12.9", "unit:WEIGHT": "kg", "choose:WEIGHT": "mine", "action": "save"}
    assert as_("bob").post(page, chosen).status_code == 302
    assert FormEntry.objects.get().answers["WEIGHT"]["value"] == "12.9"


def test_a_question_appears_and_goes_with_the_answer_it_depends_on(world: World, as_) -> None:
    participant = world.screened()
    page = at("fields", participant, form="DX")
    shown = as_("bob").post(page, {"GROUP": "benign", "shown": ["REMISSION:asked"]}).content.decode()
    assert 'id="row-REMISSION" hx-swap-oob="true" hidden' in shown
    assert "row-GROUP" not in shown
    shown = as_("bob").post(page, {"GROUP": "malignancy", "shown": ["REMISSION:hidden"]}).content.decode()
    assert 'name="REMISSION"' in shown
    kept = as_("bob").post(page, {"GROUP": "benign", "REMISSION": "Y", "shown": ["REMISSION:asked"]}).content.decode()
    assert "not asked any more" in kept and "checked" in kept
    assert not FormEntry.objects.exists()


def test_a_reader_sees_values_and_no_field(world: World, as_) -> None:
    participant = world.enrolled()
    visit = participant.visits.get(code="BL")
    actions.save_entry(participant=participant, form="VS", visit=visit, answers={"WEIGHT": "12.5"}, by=world.bob)
    for name in ("dora", "quinn", "ivan"):
        shown = as_(name).get(at("visit_entry", participant, visit="BL", form="VS")).content.decode()
        assert "12.5" in shown and "Save" not in shown and 'name="WEIGHT"' not in shown
        refused = as_(name).post(at("visit_entry", participant, visit="BL", form="VS"), {"WEIGHT": "1"})
        assert refused.status_code == 403


@pytest.mark.requirement("AC2")
def test_another_site_s_participant_is_not_there(world: World, as_) -> None:
    participant = world.enrolled()
    event = actions.record_event(participant=participant, kind="relapse", occurred="2025-05", by=world.bob)
    for page in (
        at("casebook", participant),
        at("entry", participant, form="DX"),
        at("labs", participant),
        at("events", participant),
        at("event", participant, event=event.pk),
        at("eligibility", participant),
        at("enrol", participant),
        at("panel", participant),
    ):
        assert as_("carol").get(page).status_code == 404, page
        assert Client().get(page).status_code == 302, page


def test_the_casebook_shows_each_place_with_its_status(world: World, as_) -> None:
    participant = world.enrolled()
    visit = participant.visits.get(code="BL")
    actions.save_entry(
        participant=participant, form="VS", visit=visit, answers={"WEIGHT": "12.5"}, complete=True, by=world.bob
    )
    shown = as_("bob").get(at("casebook", participant)).content.decode()
    assert at("visit_entry", participant, visit="BL", form="VS") in shown
    assert shown.count('class="state complete"') == 2  # the place and the legend
    assert "data-roving" in shown
    for name in ("panel", "labs", "events"):
        assert as_("bob").get(at(name, participant)).status_code == 200
    assert as_("bob").get(at("worklist")).status_code == 200


def test_a_column_of_results_is_saved_and_shown_with_its_flags(world: World, as_) -> None:
    participant = world.enrolled()
    page = at("labs", participant)
    typed = {
        "sampled_at": "31mar2025 08:30",
        "laboratory": "LKCH",
        "value:LB.CD4": "52",
        "unit:LB.CD4": "cells/µL",
        "value:LB.ALT": "",
        "unit:LB.ALT": "U/L",
    }
    assert as_("bob").post(page, typed).status_code == 302
    assert LabDraw.objects.get().results.get().value_as_written == "52"
    actions.record_draw(
        participant=participant,
        sampled_at=datetime.fromisoformat("2025-04-07T08:30"),
        values={"LB.ALT": Written("90", "U/L", "0", "45")},
        by=world.bob,
    )
    shown = as_("bob").get(page).content.decode()
    assert 'class="flag-high">90' in shown and "31-Mar-2025" in shown
    refused = as_("bob").post(page, {**typed, "sampled_at": "soon", "value:LB.ALT": "x"})
    assert refused.status_code == 422 and "not a date" in refused.content.decode()


def test_a_limit_of_quantification_is_typed_in_the_grid_and_corrected_on_the_page(world: World, as_) -> None:
    participant = world.enrolled()
    page = at("labs", participant)
    assert "Limit of quantification of Active ATG" in as_("bob").get(page).content.decode()
    typed = {"sampled_at": "31mar2025 08:30", "laboratory": "LKCH", "unit:PC.ATG_ACTIVE": "AU/mL"}
    refused = as_("bob").post(page, {**typed, "value:PC.ATG_ACTIVE": "", "lloq:PC.ATG_ACTIVE": "0.7"})
    assert refused.status_code == 422 and "has no value" in refused.content.decode()
    assert 'value="0.7"' in refused.content.decode(), "what was typed is not lost"
    sent = {**typed, "value:PC.ATG_ACTIVE": "6.1", "lloq:PC.ATG_ACTIVE": "0.7"}
    assert as_("bob").post(page, sent).status_code == 302
    result = LabResult.objects.get()
    assert result.lloq == Decimal("0.7")
    page = at("result", participant, result=result.pk)
    assert "0.7 AU/mL" in as_("bob").get(page).content.decode()
    correction = {"value": "6.1", "unit": "AU/mL", "lloq": "0.5", "revision": "1", "reason": "as on the report"}
    assert as_("bob").post(page, correction).status_code == 302
    assert as_("bob").post(page, {**correction, "lloq": "", "revision": "2"}).status_code == 302
    result.refresh_from_db()
    assert (result.lloq, result.revision) == (None, 3)
    template = as_("bob").get(at("lab_template"))
    assert template["Content-Type"].startswith("text/csv") and b"lloq" in template.content


def test_a_result_is_corrected_on_its_page(world: World, as_) -> None:
    participant = world.enrolled()
    draw = actions.record_draw(
        participant=participant,
        sampled_at=date(2025, 3, 31),
        values={"LB.CD4": Written("52", "cells/µL")},
        by=world.bob,
    )
    page = at("result", participant, result=draw.results.get().pk)
    assert as_("bob").post(page, {"value": "25", "unit": "cells/µL", "revision": "1", "reason": ""}).status_code == 422
    sent = {"value": "25", "unit": "cells/µL", "revision": "1", "reason": "transcription error"}
    assert as_("bob").post(page, sent).status_code == 302
    assert LabResult.objects.get().value_as_written == "25"


def test_a_file_goes_through_its_dry_run_and_is_written_on_confirmation(world: World, as_) -> None:
    participant = world.enrolled()
    content = f"participant,sampled_at,analyte,value,unit\n{participant},2025-03-31 08:30,CD4,52,cells/µL\n"

    def upload(text: str):
        return as_("bob").post(
            at("lab_imports"), {"file": SimpleUploadedFile("labs.csv", text.encode()), "laboratory": ""}, follow=True
        )

    shown = upload(content).content.decode()
    found = LabImport.objects.get()
    assert "Write 1 new and 0 changed results" in shown and found.plan_sha256 in shown
    assert not LabResult.objects.exists()
    page = at("lab_import", lab_import=found.pk)
    assert as_("bob").post(page, {"action": "write", "shown": "stale"}).status_code == 409
    assert as_("bob").post(page, {"action": "write", "shown": found.plan_sha256}).status_code == 302
    assert LabResult.objects.count() == 1
    assert "Written in one transaction" in as_("dora").get(page).content.decode()
    shown = upload(content + f"{participant},2025-04-01,CD99,1,cells/µL\n").content.decode()
    assert "no analyte “CD99”" in shown and "Write" not in shown
    rejected = as_("bob").get(at("rejections", lab_import=LabImport.objects.latest("pk").pk)).content.decode()
    assert rejected.splitlines()[1].startswith("3,analyte,")
    assert as_("alice").post(at("lab_imports"), {}).status_code == 403
    assert as_("carol").get(page).status_code == 404


def test_an_event_is_recorded_corrected_and_taken_back(world: World, as_) -> None:
    participant = world.enrolled()
    bob = as_("bob")
    refused = bob.post(at("new_event", participant, kind="relapse"), {"occurred": "03/04/2025"})
    assert refused.status_code == 422
    assert 'data-value="2025-04-03"' in refused.content.decode()
    assert bob.post(at("new_event", participant, kind="relapse"), {"occurred": "apr 2025"}).status_code == 302
    event = ClinicalEvent.objects.get()
    page = at("event", participant, event=event.pk)
    assert bob.post(page, {"occurred": "2025-04-03", "revision": "1", "reason": "letter"}).status_code == 302
    assert "03-Apr-2025" in bob.get(at("events", participant)).content.decode()
    assert bob.post(at("void_event", participant, event=event.pk), {"reason": "error"}).status_code == 302
    event.refresh_from_db()
    assert event.is_void


def test_eligibility_from_the_page_to_enrolment(world: World, as_) -> None:
    participant = world.screened()
    page = at("eligibility", participant)
    assert "not assessed" in as_("alice").get(page).content.decode()
    assert as_("bob").post(page, {}).status_code == 302
    shown = as_("alice").get(page).content.decode()
    assert "Performance is not known." in shown and 'name="answer:E1"' in shown
    assert 'name="answer:E1"' not in as_("bob").get(page).content.decode()
    for form, answers in (("QS", {"PERFORMANCE": "60"}), ("DX", {"GROUP": "benign"})):
        actions.save_entry(participant=participant, form=form, answers=answers, by=world.bob)
    as_("alice").post(page, {"answer:E1": "no", "comment:E1": "afebrile"})
    assert participant.assessments.latest("pk").outcome == "not_eligible"
    enrol = at("enrol", participant)
    assert as_("bob").post(enrol, {"enrolled_on": "10mar2025"}).status_code == 409
    assert as_("bob").post(at("waive", participant, criterion="I2"), {"reason": "x"}).status_code == 403
    as_("alice").post(at("waive", participant, criterion="I2"), {"reason": "acute illness, expected to recover"})
    assert participant.assessments.latest("pk").outcome == "eligible"
    assert "Enrol the participant" in as_("bob").get(enrol).content.decode()
    assert as_("bob").post(enrol, {"enrolled_on": "10mar2025"}).status_code == 302
    participant.refresh_from_db()
    assert (participant.status, participant.number) == ("enrolled", "P001")
    assert as_("bob").post(enrol, {"enrolled_on": "10mar2025"}).status_code == 302
    assert participant.trial.participants.filter(status="enrolled").count() == 1
