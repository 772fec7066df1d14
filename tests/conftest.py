"""The world the tests run in: a private PostgreSQL and a private queue for each run, started on first use.

Several runs may go on in one checkout at the same time: each has its own servers in its own temporary folder, which are
gone when the run ends; those of a run that was killed are ended by the next one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config.embedded.postgres import APP, FOR_TESTS, OWNER, Postgres
from config.embedded.processes import end, is_alive, wait_until
from config.embedded.valkey import Valkey
from tests.browser.watch import (  # noqa: F401  (fixtures of every browser test, in whichever folder it is)
    browser_context_args,
    browser_type_launch_args,
    page,
    pytest_runtest_makereport,
    sign_in,
    watch,
)
from tests.settings import FILES, OWN_BROKER, OWN_DATABASE

if TYPE_CHECKING:
    from tests.world import World

# live_server's database is used from the thread that runs Playwright's loop, which Django takes for async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

ROOT = Path(__file__).resolve().parent.parent
RUN_PREFIX = "canopy-test-"


def end_killed_runs(parent: Path) -> int:
    """End the servers of test runs whose process is gone, and remove their folders; return how many there were."""
    ended = 0
    for folder in parent.glob(f"{RUN_PREFIX}*-*"):
        pid = folder.name.removeprefix(RUN_PREFIX).split("-")[0]
        if not pid.isdigit() or is_alive(int(pid)) or not folder.exists() or folder.stat().st_uid != os.geteuid():
            continue
        for server in (Postgres(folder), Valkey(folder)):
            if server.data.exists():
                end(server.our_processes)
        shutil.rmtree(folder, ignore_errors=True)
        ended += 1
    return ended


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A temporary folder with a short path, for this run's servers."""
    parent = Path(tempfile.gettempdir())
    end_killed_runs(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{RUN_PREFIX}{os.getpid()}-", dir=parent))
    folder.chmod(0o711)  # PostgreSQL's own user has to pass through when root runs the tests
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(FILES, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(run_folder: Path) -> Iterator[Postgres]:
    """A private PostgreSQL of this run."""
    server = Postgres(run_folder, options=FOR_TESTS)
    server.start()
    with server.connect() as connection:
        # A test may step into the application's role with SET ROLE.
        connection.execute(f"GRANT {APP} TO {OWNER}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest, broker_url: str) -> None:
    """Point Django at this run's database before pytest-django creates it; the owner's role runs the tests.

    The queue comes up with it: what a test changes may send tasks, and they go where they go in production.
    """
    from django.db import connections

    settings = connections.settings["default"]
    if OWN_DATABASE:
        server: Postgres = request.getfixturevalue("postgres_server")
        settings.update(HOST=str(server.sockets), PORT="", USER=OWNER, PASSWORD=server.password(OWNER), NAME="canopy")
    connections["default"].settings_dict["TEST"]["NAME"] = f"test_canopy_{os.getpid()}"
    # Django's temporary connection to create the database; the owner may enter this one too.
    connections["default"].settings_dict["CONN_MAX_AGE"] = 0


def database_url() -> str:
    """The DATABASE_URL of the test database, for programs started by a test."""
    from urllib.parse import quote

    from django.db import connection

    settings = connection.settings_dict
    host = quote(str(settings["HOST"]), safe="")
    port = f":{settings['PORT']}" if settings["PORT"] else ""
    password = quote(settings["PASSWORD"] or "", safe="")
    return f"postgresql://{settings['USER']}:{password}@{host}{port}/{settings['NAME']}"


@pytest.fixture(scope="session")
def broker_url(request: pytest.FixtureRequest) -> str:
    """The URL of this run's queue, to which every task sent by a test goes."""
    from django.conf import settings

    from config.celery import app

    if OWN_BROKER:
        server: Valkey = request.getfixturevalue("broker_server")
        settings.BROKER_URL = settings.CELERY_BROKER_URL = app.conf.broker_url = server.url
    return str(settings.BROKER_URL)


@pytest.fixture(scope="session")
def broker_server(run_folder: Path) -> Iterator[Valkey]:
    """A private queue of this run."""
    server = Valkey(run_folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def broker(broker_url: str) -> str:
    """The URL of a real broker, emptied of what other tests sent."""
    from config.celery import app

    with app.connection_for_write() as connection:
        connection.default_channel.client.flushdb()
    return broker_url


@contextmanager
def _program(command: list[str], log: Path, ready: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "CANOPY_TESTING": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        came_up = wait_until(lambda: ready in log.read_text(errors="replace") or process.poll() is not None, seconds=60)
        if not came_up or process.poll() is not None:
            pytest.fail(f"{' '.join(command)} did not come up:\n{log.read_text(errors='replace')}")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


@pytest.fixture
def celery_worker_process(
    transactional_db: None, broker: str, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start real workers over the test database: ``worker = celery_worker_process()``; a test may kill them.

    Give ``concurrency=`` or further arguments for ``celery worker``; the worker's output is in ``worker.log_path``.
    """
    from contextlib import ExitStack

    with ExitStack() as stack:
        count = 0

        def start(*arguments: str, concurrency: int = 1, **environment: str) -> subprocess.Popen[bytes]:
            nonlocal count
            count += 1
            log = tmp_path / f"worker-{count}.log"
            name = f"test-{os.getpid()}-{count}@%h"
            command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-n", name, "-c", str(concurrency)]
            command += ["--loglevel", "INFO", "--without-gossip", "--without-mingle", *arguments]
            process = stack.enter_context(
                _program(command, log, " ready.", DATABASE_URL=database_url(), BROKER_URL=broker, **environment)
            )
            process.log_path = log  # type: ignore[attr-defined]
            return process

        yield start


@pytest.fixture
def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def world(db: None) -> World:
    """The small trial with its people: the picture is at the top of tests/world.py."""
    from tests.world import build_world

    return build_world()
