"""Where a table holds under audit; a decision is frozen."""

from django.db import migrations

from audit.triggers import AuditTable, FreezeTable


class Migration(migrations.Migration):
    dependencies = [
        ("dosing", "0007_table_at_site"),
        ("trials", "0002_audit"),
    ]
    operations = [
        AuditTable("dosing_tableatsite", trial="column"),
        FreezeTable("dosing_tableatsite"),
    ]
