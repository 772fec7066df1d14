"""A trial with something of everything in it, and archives opened."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from adverse_events import actions as adverse_events
from adverse_events.domain.reporting import Report
from casebook import actions as casebook
from casebook.domain.results import Written
from exchange import actions
from exchange.actions.exports import file_of
from exchange.models import ExportJob
from tests.world import World
from trials import actions as trials
from trials.models import Membership, Participant


@dataclass
class Archive:
    """An export as its reader has it."""

    job: ExportJob
    files: dict[str, bytes]

    def rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.text(name), newline="")))

    def text(self, name: str) -> str:
        return self.files[name].decode("utf-8-sig")


def export(world: World, by: Membership, *datasets: str, variant: str = "statistical") -> Archive:
    """Ask, let the worker work, and open what it made; without names, everything that ``by`` may have."""
    from exchange.selectors import datasets_for

    names = datasets or [one.id for one in datasets_for(by)]
    job = actions.request_export(trial=world.trial, datasets=names, variant=variant, by=by)
    assert actions.run_export(job=job.pk)
    job.refresh_from_db()
    with zipfile.ZipFile(file_of(job)) as file:
        assert file.testzip() is None
        return Archive(job, {name: file.read(name) for name in file.namelist()})


@pytest.fixture(autouse=True)
def export_dir(settings, tmp_path: Path) -> Path:
    settings.EXPORT_DIR = tmp_path / "exports"
    return settings.EXPORT_DIR


@pytest.fixture
def at_a(world: World) -> Participant:
    """A participant of site A with a form, results, an event, an adverse event and a deviation."""
    participant = world.enrolled()
    baseline = participant.visits.get(code="BL")
    casebook.save_entry(
        participant=participant,
        form="VS",
        visit=baseline,
        answers={"WEIGHT": "12500", "HEIGHT": "ND"},
        units={"WEIGHT": "g"},
        complete=True,
        by=world.bob,
    )
    casebook.save_entry(
        participant=participant,
        form="CM",
        answers={"DRUG": '=HYPERLINK("x"), "quoted"', "START": "mar 2025", "SEROTHERAPY": "y"},
        by=world.bob,
    )
    casebook.record_draw(
        participant=participant,
        sampled_at=datetime(2025, 3, 31, 8, 30),  # noqa: DTZ001  the time of the site, as it is typed
        values={
            "LB.CD4": Written("52", "cells/µL"),
            "LB.ALC": Written("ND", ""),
            "LB.ALT": Written("<5", "U/L", "", "40"),
        },
        laboratory="Alpha",
        by=world.bob,
    )
    casebook.record_event(participant=participant, kind="relapse", occurred="may 2025", by=world.bob)
    adverse_events.record_adverse_event(
        participant=participant,
        report=Report(
            verbatim="-1 day after, =cough",
            term="Lung infection",
            grade=3,
            started="2025-04",
            outcome="recovered",
            relations={"thymoglobulin": "possible"},
        ),
        by=world.bob,
    )
    trials.record_deviation(
        participant=participant, description="dose late", is_major=False, occurred_on=None, by=world.alice
    )
    return participant


@pytest.fixture
def at_b(world: World) -> Participant:
    return world.enrolled(by=world.carol)
