"""The trail as Django reads it. Only the database's triggers write it (``audit.triggers``)."""

from django.db import models


class TrailRow(models.Model):
    """One insert, update or delete of one row, linked to the one before it in its trial's chain."""

    chain = models.TextField()
    seq = models.BigIntegerField()
    at = models.DateTimeField()
    db_user = models.TextField()
    user_id = models.BigIntegerField(null=True)
    user_name = models.TextField()
    role = models.TextField()
    site = models.TextField()
    source = models.TextField()
    reason = models.TextField()
    table_name = models.TextField()
    row_id = models.TextField()
    participant_id = models.BigIntegerField(null=True)
    operation = models.TextField()
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    prev = models.BinaryField()
    hash = models.BinaryField()

    class Meta:
        db_table = "audit_trail"
        managed = False

    def __str__(self) -> str:
        return f"{self.chain} {self.seq}: {self.operation} {self.table_name} {self.row_id}"


class FieldChange(models.Model):
    """One field's old and new value: what viewers and exports list. ``answers.ITEM`` for an answer inside a form."""

    trail_id = models.BigIntegerField(primary_key=True)
    chain = models.TextField()
    at = models.DateTimeField()
    user_id = models.BigIntegerField(null=True)
    user_name = models.TextField()
    role = models.TextField()
    site = models.TextField()
    source = models.TextField()
    reason = models.TextField()
    table_name = models.TextField()
    row_id = models.TextField()
    participant_id = models.BigIntegerField(null=True)
    operation = models.TextField()
    field = models.TextField()
    old_value = models.JSONField(null=True)
    new_value = models.JSONField(null=True)

    class Meta:
        db_table = "audit_field_change"
        managed = False

    def __str__(self) -> str:
        return f"{self.table_name} {self.row_id} {self.field}"
