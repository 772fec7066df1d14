"""``manage.py generate_docs``: write the pages that follow from the code, or (``--check``) name those that differ."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.generated_docs import PAGES


class Command(BaseCommand):
    help = "Write the documentation that follows from the code; with --check, fail where a page is out of date."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; name the pages that differ")
        parser.add_argument("--into", type=Path, default=Path(settings.BASE_DIR) / "docs", help="another folder")

    def handle(self, *args: Any, **options: Any) -> None:
        stale = []
        for name, render in PAGES.items():
            path = options["into"] / name
            text = render()
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            stale.append(name)
            if not options["check"]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                self.stdout.write(f"wrote {path}")
        if options["check"] and stale:
            raise CommandError(f"Out of date: {', '.join(stale)}. Run `make docs` and commit the result.")
