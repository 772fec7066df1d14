"""Copies of the dose card under audit; what was taken is frozen."""

from django.db import migrations

from audit.triggers import AuditTable, FreezeTable


class Migration(migrations.Migration):
    dependencies = [
        ("dosing", "0003_card_copy"),
        ("trials", "0002_audit"),
    ]
    operations = [
        AuditTable("dosing_cardcopy", trial="participant"),
        FreezeTable("dosing_cardcopy"),
    ]
