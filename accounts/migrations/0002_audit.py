"""The user table under audit; passwords are recorded as digests."""

from django.db import migrations

from audit.triggers import AuditTable


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("audit", "0001_trail"),
    ]
    operations = [
        AuditTable("accounts_user", trial="system", secret=("password",)),
    ]
