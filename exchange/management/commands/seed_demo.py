from __future__ import annotations

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from exchange.actions.demonstration import seed_demonstration


class Command(BaseCommand):
    help = "Fill a demonstration: accounts, definitions, a reconstructed and a practice trial. Twice changes nothing."

    def handle(self, *args: object, **options: object) -> None:
        if not settings.DEMO:
            raise CommandError("This is no demonstration (DEMO is not set); nothing was written.")
        seed_demonstration(tell=self.stdout.write)
