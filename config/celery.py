"""The Celery application. Schedules live in settings; tasks live in each app's ``tasks.py``."""

import os

from celery import Celery
from celery.signals import heartbeat_sent, worker_process_init, worker_ready

from config import heartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("canopy")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _worker_lives(**_: object) -> None:
    heartbeat.beat()


def _warm_up(**_: object) -> None:
    """Load what is slow to load before the first task waits for it. After the fork: the renderer owns threads."""
    from config import warmup

    warmup.warm_up()


worker_ready.connect(_worker_lives)
heartbeat_sent.connect(_worker_lives)
worker_process_init.connect(_warm_up)
