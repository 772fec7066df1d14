"""The embedded PostgreSQL: started, stopped, killed, found again, and never believed on a number alone."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.embedded import places, postgres
from config.embedded.postgres import APP, FOR_TESTS, OWNER, Postgres, find_programs
from config.embedded.processes import EmbeddedError, is_alive, wait_until


@pytest.fixture
def home(run_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = run_folder / str(abs(hash(request.node.nodeid)) % 10**6)
    folder.mkdir()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(home: Path) -> Iterator[Postgres]:
    server = Postgres(home, options=FOR_TESTS)
    server.start()
    yield server
    server.stop()


def remember(server: Postgres, value: int) -> None:
    with server.connect(OWNER, "canopy") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value integer)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


def remembered(server: Postgres) -> list[int]:
    with server.connect(OWNER, "canopy") as connection:
        return [value for (value,) in connection.execute("SELECT value FROM kept ORDER BY value")]


def test_what_was_committed_is_there_after_a_stop_and_a_start(server: Postgres) -> None:
    remember(server, 1)
    server.stop()
    assert not server.our_processes()
    server.start()
    assert remembered(server) == [1]
    assert server.recovered == 0


def test_it_listens_on_a_socket_only_with_checksums_and_passwords(server: Postgres) -> None:
    with server.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=str(server.sockets), user=OWNER, password="wrong", dbname="canopy")
    assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700
    for secret in server.secrets.iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_neither_the_owner_nor_the_application_is_a_superuser(server: Postgres) -> None:
    for role in (OWNER, APP):
        with server.connect(role, "canopy") as connection:
            assert connection.execute("SHOW is_superuser").fetchone() == ("off",)


def test_a_second_start_over_the_same_data_is_refused_in_a_sentence(server: Postgres) -> None:
    with pytest.raises(EmbeddedError, match=rf"in use by another run \(process {os.getpid()}\)"):
        Postgres(server.wanted_home, options=FOR_TESTS).start()
    assert server.is_running()


def test_a_killed_server_starts_again_with_what_was_committed(server: Postgres) -> None:
    remember(server, 1)
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    server.start()
    assert remembered(server) == [1]


def test_a_server_left_by_a_killed_run_is_stopped_and_replaced(home: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from config.embedded.postgres import *;"
        "server = Postgres(Path(sys.argv[1]), options=FOR_TESTS); server.start();"
        "print(server.process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, home], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    left_behind = int(killed.stdout)
    assert is_alive(left_behind)

    server = Postgres(home, options=FOR_TESTS)
    server.start()
    try:
        assert server.recovered > 0
        assert not is_alive(left_behind)
        remember(server, 1)
        assert remembered(server) == [1]
    finally:
        server.stop()


def test_a_pid_file_with_a_number_that_now_belongs_to_a_stranger_does_not_block_the_start(server: Postgres) -> None:
    remember(server, 1)
    server.stop()
    identity = {"user": server.user.pw_uid, "group": server.user.pw_gid} if server.user else {}
    # The same user as PostgreSQL's, since that is when PostgreSQL itself refuses to start.
    stranger = subprocess.Popen(["sleep", "60"], **identity)  # type: ignore[call-overload]
    try:
        pid_file = server.data / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{server.data}\n1700000000\n5432\n{server.sockets}\n\n  1 2\nready   \n")
        if server.user:
            os.chown(pid_file, server.user.pw_uid, server.user.pw_gid)
        server.start()
        assert remembered(server) == [1]
        assert stranger.poll() is None, "a stranger's process was ended"
    finally:
        stranger.kill()
        stranger.wait()


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen(["true"])
    # Not waited for: it stays in the process table.
    assert wait_until(lambda: not is_alive(child.pid), seconds=5)
    os.kill(child.pid, 0)
    child.wait()


def test_an_interrupted_first_start_is_begun_again(home: Path) -> None:
    server = Postgres(home, options=FOR_TESTS)
    half = server.home / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    server.start()
    try:
        remember(server, 1)
    finally:
        server.stop()


def test_a_long_path_gets_a_short_socket(home: Path) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    server = Postgres(deep, options=FOR_TESTS)
    server.start()
    try:
        remember(server, 1)
        assert len(str(server.sockets / places.POSTGRES_SOCKET)) <= places.LONGEST_SOCKET_PATH
    finally:
        server.stop()
        shutil.rmtree(server.sockets, ignore_errors=True)
        shutil.rmtree(server.home, ignore_errors=True)


def test_data_of_another_major_version_are_left_alone_and_the_way_out_is_named(server: Postgres) -> None:
    server.stop()
    (server.data / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedError, match=r"written by PostgreSQL 14.*CANOPY_POSTGRES_BIN.*make demo-reset"):
        server.start()


def test_no_postgresql_anywhere_is_said_with_three_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANOPY_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(postgres, "_wheel_bins", list)
    monkeypatch.setattr(postgres, "_system_bins", list)
    with pytest.raises(EmbeddedError, match=r"make setup.*system's PostgreSQL.*DATABASE_URL"):
        find_programs()


@pytest.mark.parametrize("bins", [bins for bins in (postgres._wheel_bins(), postgres._system_bins()) if bins])
def test_each_source_of_programs_on_this_machine_runs(
    bins: list[tuple[Path, str]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded wheel, and behind it the fallbacks that are installed here."""
    usable = [folder for folder, _ in bins if (folder / "initdb").exists()]
    if not usable:
        pytest.skip("not installed on this machine")
    monkeypatch.setenv("CANOPY_POSTGRES_BIN", str(usable[0]))
    server = Postgres(home, options=FOR_TESTS)
    server.start()
    try:
        remember(server, 1)
        assert remembered(server) == [1]
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_root_hands_over_to_an_ordinary_user_without_opening_a_closed_home(run_folder: Path) -> None:
    closed = run_folder / "closed-home"
    closed.mkdir(mode=0o700)
    server = Postgres(closed / "checkout" / ".run", options=FOR_TESTS)
    try:
        server.start()
        remember(server, 1)
        assert server.user is not None
        assert server.data.stat().st_uid == server.user.pw_uid != 0
        assert closed not in server.data.parents
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        server.stop()
        shutil.rmtree(server.home)
