"""The statistical plan computed: rows under audit, frozen once they are done."""

import django.db.models.deletion
from django.db import migrations, models

from audit.triggers import AuditTable, FreezeTable


class Migration(migrations.Migration):

    dependencies = [
        ('analysis', '0002_audit'),
        ('trials', '0002_audit'),
    ]

    operations = [
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('as_of', models.DateField(help_text='last day that counts')),
                ('reason', models.TextField()),
                ('requested_at', models.DateTimeField(auto_now_add=True)),
                ('state', models.CharField(choices=[('queued', 'queued'), ('running', 'running'), ('done', 'done'), ('failed', 'failed')], default='queued', max_length=10)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('failure', models.TextField(blank=True)),
                ('specification', models.JSONField(default=list, help_text='the analyses as the definition had them')),
                ('seeds', models.JSONField(default=list, help_text='of methods that draw at random; empty: none does')),
                ('method_version', models.CharField(blank=True, max_length=20)),
                ('code_version', models.CharField(blank=True, max_length=40)),
                ('data_seq', models.BigIntegerField(help_text='last change in the trail of the data that was read', null=True)),
                ('input_sha256', models.CharField(blank=True, max_length=64)),
                ('result', models.JSONField(default=list)),
                ('result_sha256', models.CharField(blank=True, max_length=64)),
                ('protocol_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='trials.protocolversion')),
                ('requested_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='trials.membership')),
                ('trial', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='trials.trial')),
            ],
            options={
                'indexes': [models.Index(fields=['trial', 'state'], name='analysis_run_open')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['queued', 'running', 'done', 'failed'])), name='analysis_run_state_known'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'done'), _negated=True), models.Q(models.Q(('result_sha256', ''), _negated=True), models.Q(('input_sha256', ''), _negated=True), ('finished_at__isnull', False), models.Q(('code_version', ''), _negated=True)), _connector='OR'), name='analysis_run_done_is_whole'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'failed'), _negated=True), models.Q(('failure', ''), _negated=True), _connector='OR'), name='analysis_run_failed_says_why'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='analysis_run_has_reason')],
            },
        ),
        AuditTable("analysis_run", trial="column"),
        FreezeTable("analysis_run", when="OLD.state IN ('done', 'failed')"),
    ]
