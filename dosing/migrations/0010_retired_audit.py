"""The content of a table, a parameter set and an algorithm stays frozen; that one is out of use is written beside it."""

from django.db import migrations

from audit.triggers import FreezeTable

BEFORE = ("status", "verified_by_id", "verified_at", "approved_by_id", "approved_at", "effective_from")
NOW = (*BEFORE, "retired_by_id", "retired_at", "retired_because")


def frozen_anew(table):
    before = FreezeTable(table, free=BEFORE)
    return [migrations.RunSQL(before.reverse_sql, reverse_sql=before.sql), FreezeTable(table, free=NOW)]


class Migration(migrations.Migration):
    dependencies = [("dosing", "0009_retired")]
    operations = [*frozen_anew("dosing_dosingtable"), *frozen_anew("dosing_dosingmodel")]
