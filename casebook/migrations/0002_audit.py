"""Observations under audit."""

from django.db import migrations

from audit.triggers import AuditTable


class Migration(migrations.Migration):
    dependencies = [
        ("casebook", "0001_initial"),
        ("trials", "0002_audit"),
    ]
    operations = [
        AuditTable("casebook_formentry", trial="participant"),
        AuditTable("casebook_labdraw", trial="participant"),
        AuditTable("casebook_labresult", trial="via:draw_id:casebook_labdraw"),
        AuditTable("casebook_clinicalevent", trial="participant"),
    ]
