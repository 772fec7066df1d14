"""A sign of life that needs no network: a file whose age tells whether a background process still turns its loop.

The worker and the scheduler touch the file named by ``HEARTBEAT_FILE``; health checks and the demo look at its age.
"""

import os
import time
from pathlib import Path

from celery.beat import PersistentScheduler

LONGEST_SILENCE_SECONDS = 60


def file() -> Path | None:
    name = os.environ.get("HEARTBEAT_FILE")
    return Path(name) if name else None


def beat() -> None:
    """Leave a sign of life, where somebody wants one."""
    if path := file():
        path.touch()


def is_alive(path: Path) -> bool:
    """Whether the process that touches ``path`` has done so within the last minute."""
    try:
        return time.time() - path.stat().st_mtime < LONGEST_SILENCE_SECONDS
    except FileNotFoundError:
        return False


class Scheduler(PersistentScheduler):  # type: ignore[misc]  # Celery ships no types
    """Celery's own scheduler, leaving a sign of life each time it looks at its schedule."""

    def tick(self, *args: object, **kwargs: object) -> float:
        beat()
        seconds: float = super().tick(*args, **kwargs)
        return seconds
