"""Observations under audit."""

from django.db import migrations

from audit.triggers import AuditTable, FreezeTable


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
        # The file itself is known by its digest; the trail does not hold it a second time.
        AuditTable("casebook_labimport", trial="column", secret=("content",)),
        FreezeTable("casebook_labimport", when="OLD.state <> 'checked'"),
    ]
