from __future__ import annotations

import json
from dataclasses import asdict

from django.core.management.base import BaseCommand, CommandError, CommandParser

from analysis.reports.reconciliation import NothingPublished, as_page, reconciliation
from trials.models import Trial


class Command(BaseCommand):
    help = "Set the published numbers of a trial beside those computed from its live data."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("trial", help="code of the trial, such as parachute")
        shape = parser.add_mutually_exclusive_group()
        shape.add_argument("--json", action="store_true", help="print the rows as JSON")
        shape.add_argument("--markdown", action="store_true", help="print the page of the documentation")

    def handle(self, *args: object, trial: str, json: bool, markdown: bool, **options: object) -> None:
        found = Trial.objects.filter(code=trial).first()
        if found is None:
            known = ", ".join(Trial.objects.order_by("code").values_list("code", flat=True)) or "none yet"
            raise CommandError(f"There is no trial {trial!r}. Trials here: {known}.")
        try:
            rows = reconciliation(found)
        except NothingPublished as exc:
            raise CommandError(str(exc)) from None
        if json:
            self.stdout.write(_as_json([{**asdict(row), "agrees": row.agrees} for row in rows]))
            return
        if markdown:
            self.stdout.write(as_page(trial, rows), ending="")
            return
        for row in rows:
            mark = "=" if row.agrees else "≠"
            self.stdout.write(f"{mark} {row.id:48} {row.published:>22}  {row.computed:>22}  {row.method}")
            if row.explanation:
                self.stdout.write(f"    {row.explanation}")
        self.stdout.write(f"{sum(row.agrees for row in rows)} of {len(rows)} as published.")


def _as_json(rows: list[dict[str, object]]) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=1)
