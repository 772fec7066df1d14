"""``manage.py upgrade_database``: migrate as the owner, one at a time, then give the application's role its rights."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction

from config.roles import RoleMissing, grant_app_role

LOCK = 7_230_000  # beside the numbers of the trail's chains, which are pairs


class Command(BaseCommand):
    help = "Migrate the database under a lock, then give the application's role its rights. Run with the owner's URL."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--app-role", default="canopy_app", help="the role the application connects as")
        parser.add_argument("--wait", type=float, default=0, help="seconds to wait for a database that is starting")

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[DEFAULT_DB_ALIAS]
        # A connection of its own holds the lock, whatever the migrations do to theirs.
        lock = connection.copy()
        end = time.monotonic() + options["wait"]
        try:
            while True:
                try:
                    lock.ensure_connection()
                    break
                except OperationalError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(1)
            with lock.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
                if not cursor.fetchone()[0]:
                    self.stdout.write("Another upgrade is running; waiting for it.")
                    cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            call_command("migrate", interactive=False, verbosity=options["verbosity"], stdout=self.stdout)
            with transaction.atomic():
                grant_app_role(connection, options["app_role"])
            self.stdout.write(f"The role {options['app_role']} has its rights.")
        except OperationalError as error:
            raise CommandError(f"The database cannot be reached: {str(error).strip().splitlines()[0]}") from error
        except RoleMissing as error:
            raise CommandError(str(error)) from error
        finally:
            lock.close()
