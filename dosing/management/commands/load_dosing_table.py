"""Load a synthetic dosing table for practice. A real table is entered, verified and approved by three people."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management.base import BaseCommand, CommandError

from dosing import actions
from trials.models import Trial
from trials.permissions import NotPossible


class Command(BaseCommand):
    help = (
        "Load a synthetic dosing table (YAML, with the cells in it or in a CSV of the same name) into a practice trial."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="The YAML description; a CSV of the same name holds the cells.")
        parser.add_argument("--trial", required=True, help="Code of the trial.")
        parser.add_argument(
            "--code", default="", help="Code that the trial's definition looks up; otherwise the file's."
        )
        parser.add_argument(
            "--approve-as-demo", action="store_true", help="Verify and approve it at once: for synthetic tables only."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"].with_suffix(".yaml")
        beside = file.with_suffix(".csv")
        try:
            trial = Trial.objects.get(code=options["trial"])
            cells = beside.read_text(encoding="utf-8") if beside.exists() else ""
            table = actions.enter_table(
                trial=trial,
                description=file.read_text(encoding="utf-8"),
                cells=cells,
                code=options["code"],
                by=None,
                reason="Loaded for practice.",
            )
            if options["approve_as_demo"] and table.status == "DRAFT":
                table = actions.verify_table(table=table, cells=cells, by=None, reason="Loaded for practice.")
            if options["approve_as_demo"] and table.status == "VERIFIED":
                table = actions.approve_table(table=table, by=None, reason="For practice only: not for clinical use.")
        except Trial.DoesNotExist:
            known = ", ".join(Trial.objects.order_by("code").values_list("code", flat=True)) or "none"
            raise CommandError(f"There is no trial {options['trial']}. Known: {known}.") from None
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise CommandError(f"{file} is not UTF-8 text.") from None
        except ValidationError as refused:
            raise CommandError("\n".join(refused.messages)) from None
        except (NotPossible, PermissionDenied) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{table} is {table.get_status_display()} in {trial.code}: {table.title}")
