"""Decisions under audit; an adjudication is frozen, and so is a decided gate."""

from django.db import migrations

from audit.triggers import AuditTable, FreezeTable


class Migration(migrations.Migration):
    dependencies = [
        ("analysis", "0001_initial"),
        ("trials", "0002_audit"),
    ]
    operations = [
        AuditTable("analysis_adjudication", trial="participant"),
        AuditTable("analysis_gate", trial="column"),
        FreezeTable("analysis_adjudication", free=("is_current",)),
        FreezeTable("analysis_gate", when="OLD.state = 'decided'"),
    ]
