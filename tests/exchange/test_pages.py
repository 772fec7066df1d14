"""The export centre in the browser and by API: ask, watch, take; nothing of another's scope."""

from __future__ import annotations

import io
import zipfile

import pytest
from django.test import Client
from django.urls import reverse

from accounts.roles import Permission
from exchange import actions
from exchange.datasets import DATASETS
from exchange.models import Download, ExportJob, JobState
from tests.exchange.conftest import export
from tests.world import PEOPLE, World
from trials.models import Participant

pytestmark = pytest.mark.django_db(transaction=True)


def logged_in(world: World, name: str) -> Client:
    client = Client()
    client.force_login(world.user(name), backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(world: World, name: str, space: str = "exchange", **kwargs: object) -> str:
    return reverse(f"{space}:{name}", kwargs={"trial": world.trial.code, **kwargs})


def api(world: World, name: str, **kwargs: object) -> str:
    return address(world, name, "exchange_api", **kwargs)


@pytest.mark.parametrize("name", PEOPLE)
def test_every_role_opens_the_page_and_those_who_may_export(world: World, name: str) -> None:
    client, membership = logged_in(world, name), world.members[name]
    page = client.get(address(world, "exports"))
    assert page.status_code == 200
    may = membership.may(Permission.EXPORT_DATA)
    assert ('name="datasets"' in page.content.decode()) is may
    assert ("you cannot export data. Ask: coordinator" in page.content.decode()) is not may
    answer = client.post(address(world, "exports"), {"datasets": ["visits"], "variant": "statistical"})
    assert answer.status_code == (302 if may else 403)
    assert ExportJob.objects.exists() is may
    answer = client.post(api(world, "exports"), {"datasets": ["visits"]}, content_type="application/json")
    assert answer.status_code == (202 if may else 403)
    assert client.get(api(world, "exports")).json()["count"] == (2 if may else 0)


def test_one_click_exports_everything_and_another_takes_it(world: World, at_a: Participant) -> None:
    client = logged_in(world, "dora")
    page = client.get(address(world, "exports")).content.decode()
    offered = [name for name in DATASETS if f'value="{name}"' in page]
    assert offered == list(DATASETS)
    assert page.count(" checked") == len(DATASETS) + 1
    answer = client.post(address(world, "exports"), {"datasets": offered, "variant": "statistical"})
    job = ExportJob.objects.get()
    assert answer["Location"] == address(world, "export", key=job.key)
    waiting = client.get(answer["Location"]).content.decode()
    assert 'hx-trigger="every 2s"' in waiting and "Look again" in waiting
    assert actions.run_export(job=job.pk)
    job.refresh_from_db()
    done = client.get(answer["Location"]).content.decode()
    assert "hx-trigger" not in done
    assert job.sha256 in done and job.file_name in done
    taken = client.get(address(world, "download", key=job.key), headers={"accept-encoding": "gzip"})
    assert taken["Content-Type"] == "application/zip"
    assert taken["Content-Length"] == str(job.size_bytes)
    assert job.file_name in taken["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(b"".join(taken.streaming_content))) as file:
        assert "participants.csv" in file.namelist()
    assert "Dora, monitor" in client.get(answer["Location"]).content.decode()


def test_the_list_asks_for_a_row_while_it_is_open_and_no_longer(world: World) -> None:
    client = logged_in(world, "dora")
    job = actions.request_export(trial=world.trial, datasets=["visits"], variant="spreadsheet", by=world.dora)
    assert 'hx-trigger="every 2s"' in client.get(address(world, "exports")).content.decode()
    ExportJob.objects.filter(pk=job.pk).update(state=JobState.RUNNING)
    row = client.get(address(world, "export", key=job.key) + "?as=row", headers={"HX-Request": "true"})
    assert row.content.decode().strip().startswith("<tr ")
    assert "0 %" in row.content.decode()
    ExportJob.objects.filter(pk=job.pk).update(state=JobState.FAILED, failure="The disk is full.")
    body = client.get(address(world, "export", key=job.key), headers={"HX-Request": "true"}).content.decode()
    assert "The disk is full." in body and "<html" not in body and "hx-trigger" not in body


def test_a_job_of_another_site_is_not_there(world: World, at_a: Participant) -> None:
    job = export(world, world.alice, "visits").job
    for name, status in {"bob": 200, "dora": 200, "carol": 404, "peter": 404}.items():
        client = logged_in(world, name)
        for place in ("export", "download"):
            assert client.get(address(world, place, key=job.key)).status_code == status, (name, place)
            assert client.get(api(world, place, key=job.key)).status_code == status, (name, place)
        assert (str(job.key) in client.get(address(world, "exports")).content.decode()) is (status == 200)
    assert Client().get(address(world, "download", key=job.key)).status_code == 302
    assert {str(one.by.user) for one in Download.objects.all()} == {"Bob", "Dora"}


def test_an_expired_file_is_told_where_it_was_asked_for(world: World) -> None:
    job = export(world, world.dora, "visits").job
    ExportJob.objects.filter(pk=job.pk).update(expires_at=job.finished_at)
    assert actions.remove_expired_exports() == 1
    client = logged_in(world, "dora")
    answer = client.get(address(world, "download", key=job.key), follow=True)
    assert "Ask for the same export again" in answer.content.decode()
    assert "The file was removed on" in answer.content.decode()
    refused = client.get(api(world, "download", key=job.key))
    assert refused.status_code == 409 and "Ask for the same export again" in refused.json()["detail"]


def test_a_request_for_nothing_is_refused_beside_the_choice(world: World) -> None:
    answer = logged_in(world, "dora").post(address(world, "exports"), {"variant": "statistical"})
    assert answer.status_code == 422
    assert "Data sets: This field is required." in answer.content.decode()
    refused = logged_in(world, "dora").post(
        api(world, "exports"), {"datasets": ["everything"]}, content_type="application/json"
    )
    assert refused.status_code == 400 and "datasets" in refused.json()


def test_by_api_an_export_is_asked_for_watched_and_taken(world: World, at_a: Participant) -> None:
    client = logged_in(world, "rita")
    asked = client.post(api(world, "exports"), {"variant": "spreadsheet"}, content_type="application/json")
    assert asked.status_code == 202
    assert asked.json()["state"] == "waiting" and "audit_trail" not in asked.json()["datasets"]
    job = ExportJob.objects.get(key=asked.json()["key"])
    assert client.get(api(world, "download", key=job.key)).status_code == 409
    assert actions.run_export(job=job.pk)
    done = client.get(api(world, "export", key=job.key)).json()
    assert (done["state"], done["progress_percent"]) == ("done", 100)
    assert done["row_counts"]["participants"] == 1
    taken = client.get(done["download"])
    assert taken.status_code == 200 and taken["Content-Length"] == str(done["size_bytes"])


def test_the_list_asks_no_more_queries_for_more_jobs(world: World, django_assert_max_num_queries) -> None:
    client = logged_in(world, "dora")
    for _ in range(5):
        actions.request_export(trial=world.trial, datasets=["visits"], variant="statistical", by=world.dora)
    with django_assert_max_num_queries(12):
        client.get(address(world, "exports"))
