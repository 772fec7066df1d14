"""The packet of a gate is its snapshot and nothing else: late data, a review and a decision change no byte of it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse

from accounts.roles import Permission
from analysis import actions, selectors
from analysis.actions.packets import take_packet
from analysis.models import Gate, PacketCopy
from analysis.reports.packet import packet
from audit.models import FieldChange
from tests.analysis.test_adjudication import happened, on_day
from tests.analysis.test_gate_actions import decided, proposed, reviewed, stage
from tests.world import World, proof
from trials.domain.documents import Document, TableBlock
from trials.formats.documents import as_pdf
from trials.models import Membership, Participant

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
    actions.sign_safety_review(gate=gate, review="Nothing new.", by=world.alice, proof=proof(world.alice))
    actions.decide_gate(
        gate=stage(world, 1), decision="continue", reason="As planned.", by=world.alice, proof=proof(world.alice)
    )
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


@pytest.mark.requirement("ES3")
def test_what_was_signed_stands_below_the_packet_and_not_in_it(world: World, client: Client) -> None:
    gate = proposed(world)
    client.force_login(world.dora.user)
    where = {"trial": world.trial.code, "stage": 1}

    def page() -> tuple[str, str]:
        text = client.get(reverse("analysis:gate_packet", kwargs=where)).content.decode()
        document, _, beside = text.partition("</article>")
        return document[document.index("<article") :], beside

    frozen, beside = page()
    assert "Decision record" not in beside
    gate = reviewed(world, gate)
    assert gate.safety_signature is not None and gate.safety_signature.sha256[:16] in page()[1]
    actions.decide_gate(gate=gate, decision="continue", reason="As planned.", by=world.alice, proof=proof(world.alice))
    document, beside = page()
    assert document == frozen
    for signature in (gate.safety_signature, stage(world, 1).decision_signature):
        assert signature is not None
        for shown in (
            f"Signed by Alice, Investigator, on {signature.signed_at:%d-%b-%Y %H:%M} UTC: {signature.meaning}",
            signature.sha256[:16],
        ):
            assert shown in beside
    assert "Decision: Continue with the next stage" in beside and "As planned." in beside
    assert "not what was signed" not in beside


@pytest.mark.requirement("AT7")
def test_each_copy_is_on_record_with_who_which_cut_and_hash(world: World, client: Client) -> None:
    gate = proposed(world)
    where = reverse("analysis:gate_packet_pdf", kwargs={"trial": world.trial.code, "stage": 1})
    files = []
    for member in (world.dora, world.alice):
        client.force_login(member.user)
        files.append(hashlib.sha256(client.get(where).content).hexdigest())
    copies = PacketCopy.objects.order_by("pk")
    assert [(one.by, one.sha256, one.has_closed_part) for one in copies] == [
        (world.dora, files[0], True),
        (world.alice, files[1], False),
    ]
    assert {one.snapshot_sha256 for one in copies} == {gate.snapshot_sha256}
    assert {one.data_as_of.isoformat() for one in copies} == {gate.snapshot["as_of"]}
    rows = FieldChange.objects.filter(table_name="analysis_packetcopy", field="sha256").order_by("trail_id")
    assert [(row.user_name, row.operation, row.new_value) for row in rows] == [
        ("Dora", "INSERT", files[0]),
        ("Alice", "INSERT", files[1]),
    ]
    with pytest.raises(DatabaseError), transaction.atomic():
        copies.update(sha256="0" * 64)


def test_a_copy_that_cannot_be_recorded_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = proposed(world)

    def refuse(**facts: object) -> None:
        raise DatabaseError("no room")

    monkeypatch.setattr(PacketCopy.objects, "create", refuse)
    with pytest.raises(DatabaseError):
        take_packet(gate=gate, by=world.dora)


def test_who_may_not_see_results_takes_no_packet(world: World) -> None:
    gate = proposed(world)
    blind = next(m for m in Membership.objects.filter(trial=world.trial) if not m.may(Permission.VIEW_DASHBOARD))
    with pytest.raises(PermissionDenied):
        take_packet(gate=gate, by=blind)
    assert not PacketCopy.objects.exists()


def test_a_stage_that_waits_has_no_packet(world: World, client: Client) -> None:
    actions.refresh_gates(trial=world.trial)
    client.force_login(world.dora.user)
    answer = client.get(reverse("analysis:gate_packet_pdf", kwargs={"trial": world.trial.code, "stage": 1}))
    assert answer.status_code == 409 and not PacketCopy.objects.exists()
