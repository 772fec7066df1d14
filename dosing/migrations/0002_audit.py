"""Doses under audit; a worksheet is frozen, and so is the content of a table."""

from django.db import migrations

from audit.triggers import AuditTable, FreezeTable


class Migration(migrations.Migration):
    dependencies = [
        ("dosing", "0001_initial"),
        ("trials", "0002_audit"),
    ]
    operations = [
        AuditTable("dosing_dosingtable", trial="column"),
        AuditTable("dosing_doseworksheet", trial="participant"),
        AuditTable("dosing_administration", trial="participant"),
        AuditTable("dosing_doseverification", trial="participant"),
        AuditTable("dosing_doserelease", trial="participant"),
        AuditTable("dosing_courseend", trial="participant"),
        FreezeTable("dosing_doseworksheet", free=("is_current", "is_plan_of_record")),
        FreezeTable("dosing_doseverification"),
        FreezeTable("dosing_doserelease"),
        FreezeTable(
            "dosing_dosingtable",
            free=("status", "verified_by_id", "verified_at", "approved_by_id", "approved_at", "effective_from"),
        ),
    ]
