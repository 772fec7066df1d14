"""The packet of a gate as a file: set from its snapshot, and on record as taken before the first byte leaves."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.db import transaction

from analysis import selectors
from analysis.models import Gate, PacketCopy
from analysis.permissions import check_can_view_results, check_has_packet
from analysis.reports.packet import packet
from audit import context
from trials.formats.documents import as_pdf
from trials.models import Membership


def take_packet(*, gate: Gate, by: Membership) -> bytes:
    """The packet of ``gate`` as a PDF, with the closed part for who may see it: the same snapshot, the same bytes."""
    check_can_view_results(by, gate.trial)
    check_has_packet(gate)
    closed = selectors.closed_part_for(by, gate)
    pdf = as_pdf(packet(gate, closed=closed))
    with transaction.atomic(), context.context(by=by):
        PacketCopy.objects.create(
            gate=gate,
            trial_id=gate.trial_id,
            snapshot_sha256=gate.snapshot_sha256,
            data_as_of=datetime.fromisoformat(gate.snapshot["as_of"]),
            has_closed_part=closed is not None,
            sha256=hashlib.sha256(pdf).hexdigest(),
            by=by,
        )
    return pdf
