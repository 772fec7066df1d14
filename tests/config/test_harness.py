"""The harness itself: a real PostgreSQL, a real broker and a real worker."""

import pytest
from django.db import connection


@pytest.mark.django_db
def test_the_tests_run_on_postgresql_as_its_owner_and_not_as_superuser() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version_num')::int, current_user, current_setting('is_superuser')"
        )
        version, user, superuser = cursor.fetchone()
    assert version >= 150000
    assert (user, superuser) == ("canopy_owner", "off")


def test_a_broker_answers(broker: str) -> None:
    from config.celery import app

    with app.connection_for_write() as queue:
        assert queue.default_channel.client.ping()
