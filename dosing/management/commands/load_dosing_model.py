"""Load a synthetic parameter set or algorithm for practice. A real one is entered, verified and approved by people."""

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
    help = "Load a synthetic parameter set or level-guided algorithm (YAML) into a practice trial."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="The YAML file.")
        parser.add_argument("--trial", required=True, help="Code of the trial.")
        parser.add_argument(
            "--approve-as-demo", action="store_true", help="Verify and approve it at once: for synthetic files only."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            trial = Trial.objects.get(code=options["trial"])
            content = options["file"].read_text(encoding="utf-8")
            model = actions.enter_model(trial=trial, content=content, by=None, reason="Loaded for practice.")
            if options["approve_as_demo"] and model.status == "DRAFT":
                model = actions.verify_model(model=model, content=content, by=None, reason="Loaded for practice.")
            if options["approve_as_demo"] and model.status == "VERIFIED":
                model = actions.approve_model(model=model, by=None, reason="For practice only: not for clinical use.")
        except Trial.DoesNotExist:
            known = ", ".join(Trial.objects.order_by("code").values_list("code", flat=True)) or "none"
            raise CommandError(f"There is no trial {options['trial']}. Known: {known}.") from None
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise CommandError(f"{options['file']} is not UTF-8 text.") from None
        except ValidationError as refused:
            raise CommandError("\n".join(refused.messages)) from None
        except (NotPossible, PermissionDenied) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{model} is {model.get_status_display()} in {trial.code}: {model.title}")
