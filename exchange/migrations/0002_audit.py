"""Exports and their downloads under audit; what was taken is frozen."""

from django.db import migrations

from audit.triggers import AuditTable, FreezeTable


class Migration(migrations.Migration):
    dependencies = [
        ("exchange", "0001_initial"),
        ("trials", "0002_audit"),
    ]
    operations = [
        AuditTable("exchange_exportjob", trial="column"),
        AuditTable("exchange_download", trial="column"),
        FreezeTable("exchange_download"),
    ]
