from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import chain


class Command(BaseCommand):
    help = "Verify the audit trail: recompute its hash chains and compare their heads with those anchored outside."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--anchors", type=Path, default=settings.AUDIT_ANCHOR_FILE, help="file of anchored heads")

    def handle(self, *args: object, **options: Path) -> None:
        found = chain.faults(chain.anchors(options["anchors"]))
        for fault in found:
            self.stderr.write(fault.sentence)
        if found:
            raise CommandError(f"The audit trail does not hold: {len(found)} faults.")
        for head in chain.heads():
            self.stdout.write(f"{head.chain}: {head.seq} rows hold, head {head.hash[:16]}")
