"""The embedded queue: what was queued is there after a kill, and a server left behind is found and ended."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from config.embedded.processes import EmbeddedError, is_alive
from config.embedded.valkey import Valkey


@pytest.fixture
def home(run_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = run_folder / f"q{abs(hash(request.node.nodeid)) % 10**6}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def queue(home: Path) -> Iterator[Valkey]:
    queue = Valkey(home)
    queue.start()
    yield queue
    queue.stop()


def client(queue: Valkey) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(queue.socket))


def test_what_was_queued_survives_a_kill(queue: Valkey) -> None:
    client(queue).rpush("celery", *range(200))
    assert queue.process is not None
    queue.process.kill()
    queue.process.wait()
    queue.start()
    assert client(queue).llen("celery") == 200


def test_it_evicts_nothing_and_listens_on_its_socket_only(queue: Valkey) -> None:
    settings = client(queue).config_get("*")
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["appendonly"] == "yes"
    assert settings["port"] == "0"


def test_a_second_start_over_the_same_data_is_refused_in_a_sentence(queue: Valkey) -> None:
    with pytest.raises(EmbeddedError, match="in use by another run"):
        Valkey(queue.home).start()
    assert queue.answers()


def test_a_server_left_by_a_killed_run_is_ended_and_replaced(home: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from config.embedded.valkey import Valkey;"
        "queue = Valkey(Path(sys.argv[1])); queue.start();"
        "print(queue.process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, home], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    left_behind = int(killed.stdout)
    assert is_alive(left_behind)
    queue = Valkey(home)
    queue.start()
    try:
        assert queue.recovered == 1
        assert not is_alive(left_behind)
        assert queue.answers()
    finally:
        queue.stop()


def test_a_loopback_port_for_programs_that_know_no_sockets(home: Path, free_port: int) -> None:
    queue = Valkey(home, port=free_port)
    queue.start()
    try:
        assert redis.Redis.from_url(queue.url).ping()
    finally:
        queue.stop()
