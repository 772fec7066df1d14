"""``manage.py publish_protocol FILE``: check a definition, show what it changes, and make it the active version."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.management.base import BaseCommand, CommandError

from trials import actions, selectors
from trials.domain.language import Change, DefinitionErrors
from trials.formats.definitions import read_definition_file
from trials.models import Trial
from trials.permissions import NotPossible

MOST_CHARACTERS = 100


class Command(BaseCommand):
    help = "Check a trial's definition file, show what it changes, and publish it as the active version."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the definition, such as trials/definitions/parachute/v1.yaml")
        parser.add_argument("--kind", choices=Trial.Kind.values, help="of a new trial (default: conduct)")
        parser.add_argument("--code", default="", help="publish under another trial's name, such as parachute-practice")
        parser.add_argument("--check-only", action="store_true", help="check and show the changes; publish nothing")
        parser.add_argument("--reason", default="", help="why this version; it stands in the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            text, protocol = read_definition_file(options["file"])
        except DefinitionErrors as refused:
            for error in refused.errors:
                self.stderr.write(str(error))
            count = len(refused.errors)
            raise CommandError(f"Nothing is published: {count} error{'' if count == 1 else 's'}.") from None
        code = options["code"] or protocol.trial
        active = selectors.active_version(code)
        if active is None:
            self.stdout.write(f"{code} {protocol.version} is the first version of this trial.")
        else:
            changes = selectors.changes(active, protocol, code=code)
            self.stdout.write(f"{code} {protocol.version} against the active version {active.version}:")
            for change in changes:
                self.stdout.write(f"  {sentence(change)}")
            if not changes:
                self.stdout.write("  no change")
        if options["check_only"]:
            self.stdout.write("The definition holds. Nothing was published (--check-only).")
            return
        try:
            version = actions.publish_protocol(
                text=text,
                file=str(options["file"]),
                kind=options["kind"],
                code=options["code"],
                by=None,
                reason=options["reason"] or f"published from {options['file'].name}",
            )
        except (NotPossible, PermissionDenied) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{version} is {version.status.lower()}, sha256 {version.sha256}.")


def sentence(change: Change) -> str:
    """One difference in a line: ``eligibility.include[I1].when.lt: 18 -> 21``."""
    if change.old is None:
        return f"{change.path}: added {_shown(change.new)}"
    if change.new is None:
        return f"{change.path}: removed {_shown(change.old)}"
    return f"{change.path}: {_shown(change.old)} -> {_shown(change.new)}"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}... ({len(text)} characters)"
