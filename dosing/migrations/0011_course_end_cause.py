"""Why a course ended is coded. What was recorded before has words only, and is another cause by them."""

from django.db import migrations, models

CAUSES = [
    ("allergic_reaction", "allergic reaction"),
    ("toxicity", "toxicity other than an allergic reaction"),
    ("physician_decision", "physician's decision"),
    ("participant_withdrawal", "participant's withdrawal from the treatment"),
    ("other", "another cause"),
]


class Migration(migrations.Migration):
    dependencies = [("dosing", "0010_retired_audit")]
    operations = [
        migrations.RemoveConstraint(model_name="courseend", name="dosing_courseend_has_reason"),
        migrations.AddField(
            model_name="courseend",
            name="cause",
            field=models.CharField(choices=CAUSES, default="other", max_length=24),
            preserve_default=False,
        ),
        migrations.AlterField(model_name="courseend", name="reason", field=models.TextField(blank=True)),
        migrations.AddConstraint(
            model_name="courseend",
            constraint=models.CheckConstraint(
                condition=models.Q(cause__in=[value for value, _ in CAUSES]), name="dosing_courseend_cause_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="courseend",
            constraint=models.CheckConstraint(
                condition=~models.Q(cause="other") | ~models.Q(reason=""), name="dosing_courseend_other_has_reason"
            ),
        ),
    ]
