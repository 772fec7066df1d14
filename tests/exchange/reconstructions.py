"""Trials of the demonstration, made as ``make demo`` makes them, for the tests of one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import transaction
from django.test import override_settings

from exchange.actions import demonstration
from trials.models import Trial

PAGES = Path(__file__).parents[2] / "docs" / "reference"


@contextmanager
def demonstrated(code: str, blocker: Any) -> Iterator[Trial]:
    """One trial of the demonstration; when the file's tests are done, everything is rolled back."""
    wanted = [demo for demo in demonstration.TRIALS if demo.code == code]
    with (
        blocker.unblock(),
        override_settings(DEMO=True, ALLOW_SYNTHETIC_DOSING=True),
        transaction.atomic(),
    ):
        demonstration.seed_demonstration(tell=lambda line: None, demos=wanted)
        yield Trial.objects.get(code=code)
        transaction.set_rollback(True)


@contextmanager
def untouched(blocker: Any) -> Iterator[None]:
    """What one test writes is gone before the next reads."""
    with blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


def committed_page(code: str) -> str:
    """The page of published and computed numbers that is in the docs."""
    return (PAGES / f"reconciliation-{code}.md").read_text()
