"""Adverse events under audit."""

from django.db import migrations

from audit.triggers import AuditTable


class Migration(migrations.Migration):
    dependencies = [
        ("adverse_events", "0001_initial"),
        ("trials", "0002_audit"),
    ]
    operations = [
        AuditTable("adverse_events_termwording", trial="system"),
        AuditTable("adverse_events_adverseevent", trial="participant"),
    ]
