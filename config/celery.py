"""The Celery application. Schedules live in settings; tasks live in each app's ``tasks.py``."""

import os

from celery import Celery
from celery.signals import heartbeat_sent, worker_init, worker_process_init, worker_ready

from config import heartbeat, warmup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("canopy")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _worker_lives(**_: object) -> None:
    heartbeat.beat()


def _load_libraries(**_: object) -> None:
    warmup.load_libraries()


def _start_renderer(**_: object) -> None:
    warmup.start_renderer()


worker_ready.connect(_worker_lives)
heartbeat_sent.connect(_worker_lives)
worker_init.connect(_load_libraries)
worker_process_init.connect(_start_renderer)
