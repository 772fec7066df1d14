"""Whether this process lives, and whether it can serve: for load balancers, containers and the demo.

Answered before anything else in Django, so that a check needs no host name, no TLS and no session.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse

LIVE = "/health/live"
READY = "/health/ready"


class HealthMiddleware:
    """Answer ``/health/live`` always, and ``/health/ready`` with 503 while the database cannot be reached."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == LIVE:
            return HttpResponse("live\n", content_type="text/plain")
        if request.path == READY:
            return self.ready()
        return self.get_response(request)

    @staticmethod
    def ready() -> HttpResponse:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except (DatabaseError, InterfaceError):
            # The next try shall open a new connection instead of asking the broken one again.
            connection.close()
            return HttpResponse(
                "the database cannot be reached\n", status=503, content_type="text/plain", headers={"Retry-After": "5"}
            )
        return HttpResponse("ready\n", content_type="text/plain")


def web_is_ready(address: str, seconds: float = 5) -> bool:
    """Whether the web server at ``address``, such as ``http://127.0.0.1:8000``, says that it can serve."""
    try:
        with urllib.request.urlopen(address + READY, timeout=seconds) as answer:  # noqa: S310  (our own address)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main(arguments: list[str]) -> int:
    """``python -m config.health web http://127.0.0.1:8000`` or ``python -m config.health file /run/heartbeat``."""
    from config.heartbeat import is_alive

    kind, where = arguments
    return 0 if (web_is_ready(where) if kind == "web" else is_alive(Path(where))) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
