"""Parameter sets and algorithms under audit; their content is frozen."""

from django.db import migrations

from audit.triggers import AuditTable, FreezeTable


class Migration(migrations.Migration):
    dependencies = [
        ("dosing", "0005_dosing_model"),
        ("trials", "0002_audit"),
    ]
    operations = [
        AuditTable("dosing_dosingmodel", trial="column"),
        FreezeTable(
            "dosing_dosingmodel",
            free=("status", "verified_by_id", "verified_at", "approved_by_id", "approved_at", "effective_from"),
        ),
    ]
