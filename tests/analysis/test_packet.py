"""The packet of a gate is its snapshot and nothing else: late data, a review and a decision change no byte of it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from analysis import actions, selectors
from analysis.models import Gate
from analysis.reports.packet import packet
from tests.analysis.test_adjudication import happened, on_day
from tests.analysis.test_gate_actions import decided, proposed, stage
from tests.world import World
from trials.domain.documents import Document, TableBlock
from trials.formats.documents import as_pdf
from trials.models import Participant

pytestmark = pytest.mark.django_db


def whole(gate: Gate) -> Document:
    return packet(gate, closed=gate.snapshot["participants"])


def table(document: Document, caption: str) -> list[tuple[str, ...]]:
    (found,) = [b for b in document.blocks if isinstance(b, TableBlock) and b.caption.startswith(caption)]
    return [tuple(str(cell) for cell in row) for row in found.table.rows]


def test_late_data_and_the_decision_change_no_byte(world: World) -> None:
    gate = proposed(world)
    before = as_pdf(whole(gate))
    first = Participant.objects.get(pk=gate.snapshot["participants"][0]["participant"])
    happened(world, first, "relapse", on_day(60).isoformat())
    actions.adjudicate(participants=[first.pk])
    assert selectors.changed_since(stage(world, 1)), "the data of now say otherwise"
    actions.sign_safety_review(gate=gate, review="Nothing new.", by=world.alice)
    actions.decide_gate(gate=stage(world, 1), decision="continue", reason="As planned.", by=world.alice)
    assert as_pdf(whole(stage(world, 1))) == before


def test_it_says_what_the_design_can_still_come_to(world: World) -> None:
    """3 of 4 in the test design; the table has the two rates of the design and the one seen so far."""
    document = whole(proposed(world))
    power = table(document, "Conditional power")
    assert [row[0].partition(" %")[0] for row in power] == ["60.0", "90.0", "75.0"]
    operating = table(document, "Operating characteristics")
    assert len(operating) == 2


def test_the_closed_part_is_for_those_who_see_everybody(world: World) -> None:
    gate = proposed(world)
    assert selectors.closed_part_for(world.alice, gate) is None, "Alice sees her own site"
    closed = selectors.closed_part_for(world.dora, gate)
    assert closed is not None and len(closed) == 4
    open_part = packet(gate, closed=None)
    numbers = [seat["number"] for seat in gate.snapshot["participants"]]
    assert not any(number in str(open_part) for number in numbers)
    assert all(number in str(packet(gate, closed=closed)) for number in numbers)


def test_page_and_file(world: World, client: Client, tmp_path: Path) -> None:
    decided(world)
    client.force_login(world.dora.user)
    where = {"trial": world.trial.code, "stage": 1}
    page = client.get(reverse("analysis:gate_packet", kwargs=where)).content.decode()
    assert "Packet of stage 1" in page and stage(world, 1).snapshot_sha256 in page
    one, other = (client.get(reverse("analysis:gate_packet_pdf", kwargs=where)) for _ in range(2))
    assert one["Content-Type"] == "application/pdf"
    assert one["X-Content-SHA256"] == other["X-Content-SHA256"] == hashlib.sha256(one.content).hexdigest()
    if shutil.which("pdfinfo"):
        file = tmp_path / "packet.pdf"
        file.write_bytes(one.content)
        told = subprocess.run(["pdfinfo", str(file)], capture_output=True, text=True, check=True).stdout
        assert "Tagged:          yes" in told


def test_a_stage_that_waits_has_no_packet(world: World, client: Client) -> None:
    actions.refresh_gates(trial=world.trial)
    client.force_login(world.dora.user)
    answer = client.get(reverse("analysis:gate_packet_pdf", kwargs={"trial": world.trial.code, "stage": 1}))
    assert answer.status_code == 409
