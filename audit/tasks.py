"""The chain's heads, written down outside the database every minute."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from audit import chain


@shared_task
def anchor_heads() -> None:
    chain.anchor(settings.AUDIT_ANCHOR_FILE, at=timezone.now())
