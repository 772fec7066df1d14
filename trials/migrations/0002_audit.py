"""The tables of the protocol and its people under audit; what was decided is frozen."""

from django.db import migrations

from audit.triggers import AuditTable, FreezeTable


class Migration(migrations.Migration):
    dependencies = [
        ("trials", "0001_initial"),
        ("audit", "0001_trail"),
    ]
    operations = [
        AuditTable("trials_trial", trial="system"),
        AuditTable("trials_protocolversion", trial="column"),
        AuditTable("trials_site", trial="column"),
        AuditTable("trials_siteapproval", trial="column"),
        AuditTable("trials_membership", trial="column"),
        AuditTable("trials_participant", trial="self"),
        AuditTable("trials_consent", trial="participant"),
        AuditTable("trials_criterionanswer", trial="participant"),
        AuditTable("trials_waiver", trial="participant"),
        AuditTable("trials_eligibilityassessment", trial="participant"),
        AuditTable("trials_enrolment", trial="participant"),
        AuditTable("trials_enrolmentcounter", trial="column"),
        AuditTable("trials_allocationlist", trial="column", secret=("seed",)),
        AuditTable("trials_allocation", trial="participant"),
        AuditTable("trials_replacement", trial="participant"),
        AuditTable("trials_anchor", trial="participant"),
        AuditTable("trials_visit", trial="participant"),
        AuditTable("trials_deviation", trial="participant"),
        FreezeTable("trials_protocolversion", free=("status", "activated_at")),
        FreezeTable("trials_consent", free=("withdrawn_on", "withdrawal_reason")),
        FreezeTable("trials_criterionanswer"),
        FreezeTable("trials_waiver"),
        FreezeTable("trials_eligibilityassessment"),
        FreezeTable("trials_enrolment"),
        FreezeTable("trials_allocationlist"),
        FreezeTable("trials_allocation"),
        FreezeTable("trials_anchor"),
    ]
