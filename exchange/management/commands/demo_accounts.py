from __future__ import annotations

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts.demo import accounts_to_offer


class Command(BaseCommand):
    help = "List the practice accounts of a demonstration, with what to look at first."

    def handle(self, *args: object, **options: object) -> None:
        accounts = accounts_to_offer()
        if not accounts:
            self.stdout.write("There are no practice accounts here.")
            return
        width = max(len(account.username) for account in accounts)
        for account in accounts:
            self.stdout.write(f"  {account.username:{width}}  {account.role.display_name:15}  {account.look_at}")
        self.stdout.write(f"  The password of all of them: {settings.DEMO_PASSWORD}")
