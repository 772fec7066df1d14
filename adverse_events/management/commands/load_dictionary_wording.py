"""``manage.py load_dictionary_wording FILE --dictionary 'CTCAE 4.03'``: the wording, from the publisher's file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adverse_events import actions
from adverse_events.domain.wording import SIZES
from adverse_events.formats import UnreadableFile, rows_of
from trials.permissions import NotPossible


class Command(BaseCommand):
    help = "Load definitions and grade wording of a dictionary from the publisher's table (CSV or XLSX)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            help="columns soc, term, definition, grade1 to grade5; “-” is a grade that does not exist",
        )
        parser.add_argument("--dictionary", required=True, help=f"its name and version, such as {', '.join(SIZES)}")

    def handle(self, *args: Any, **options: Any) -> None:
        name = " ".join(options["dictionary"].split())
        try:
            table = actions.load_wording(name=name, rows=rows_of(options["file"]))
        except (UnreadableFile, NotPossible) as refused:
            raise CommandError(str(refused)) from None
        for note in table.notes:
            self.stdout.write(f"Note: {note}")
        classes = len({one.soc for one in table.wordings})
        self.stdout.write(f"{name}: {len(table.wordings)} terms in {classes} classes are loaded.")
