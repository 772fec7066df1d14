"""``make demo``: the whole of Canopy on this machine, embedded servers included, until Ctrl-C.

The same programs run as in production (gunicorn, a Celery worker, the scheduler, PostgreSQL, Valkey). This module
starts them in order, says what it does, starts again what dies, and stops them all. What it keeps is in ``.run``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from config import health, heartbeat
from config.embedded import places
from config.embedded.postgres import APP, OWNER, Postgres
from config.embedded.processes import EmbeddedError, Lock, Process, end, running_processes, wait_until
from config.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
MOST_RESTARTS = 5
RESTART_WINDOW_SECONDS = 120


class Stop(BaseException):
    """Somebody asked to stop: Ctrl-C, a closed terminal, or a kill."""


def say(text: str = "") -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone; stopping goes on
        print(text, flush=True)


def run_folder() -> Path:
    """Where the demo keeps what it keeps: ``.run`` in the checkout, or ``CANOPY_RUN_DIR``."""
    return Path(os.environ.get("CANOPY_RUN_DIR", ROOT / ".run")).resolve()


@dataclass
class Program:
    """A program that must stay up while the demo does."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        self.starts.append(time.monotonic())
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def stop(self, patience: float) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        # Its pool or workers, if it left any: they are in its group, which is theirs alone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def port_user(port: int) -> str:
    """Who listens on ``port``, for the sentence that says it is taken; empty where the system does not tell."""
    wanted = f"{port:04X}"
    try:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return ""
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{wanted}") and row[3] == "0A"}
    for process in running_processes():
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return f" by process {process.pid} ({Path(process.arguments[0]).name})"
    return ""


def check_port_is_free(port: int) -> None:
    """Raise EmbeddedError with a way out where something else listens on ``port``."""
    if not 0 < port < 65536:
        raise EmbeddedError(f"{port} is not a port; it is a number from 1 to 65535, such as 8001.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise EmbeddedError(
                f"Port {port} needs more rights than you have. Choose another: make demo PORT=8001"
            ) from None
        except OSError:
            other = port + 1 if port < 65535 else 8001
            raise EmbeddedError(
                f"Port {port} is in use{port_user(port)}. Stop that program, or choose another port: "
                f"make demo PORT={other}"
            ) from None


class Demo:
    """Everything that one ``make demo`` starts and stops."""

    def __init__(self, run: Path, port: int) -> None:
        self.run = run
        self.port = port
        self.address = f"http://{HOST}:{port}"
        self.logs = run / "log"
        self.lock = Lock(run / "demo.lock")
        self.postgres: Postgres | None = None
        self.valkey: Valkey | None = None
        self.programs: list[Program] = []
        self.environment: dict[str, str] = {}
        self.owner_url = ""
        self.starts_of_servers: list[float] = []

    # --- the way up ---------------------------------------------------------------------------------------------------

    def prepare_folder(self) -> None:
        self.run.mkdir(parents=True, exist_ok=True)
        self.lock.acquire(
            "Canopy's demo runs in this folder already (process {pid}). Use that one, or stop it with Ctrl-C there."
        )
        places.private_folder(self.logs)

    def leftovers(self) -> list[Process]:
        """Web, worker and scheduler of a killed run of this folder: told by the log in this folder they write to."""
        return [process for process in running_processes() if f"{self.logs}{os.sep}" in process.command_line]

    def start_servers(self) -> None:
        if "DATABASE_URL" not in os.environ:
            self.postgres = Postgres(self.run, log=self.logs / "postgres.log")
            first = not (self.postgres.data / "PG_VERSION").exists()
            with step("PostgreSQL", "made and started" if first else "started"):
                self.postgres.start()
            if self.postgres.recovered:
                say("    one that a killed run left behind was stopped first; its data are whole")
        if "BROKER_URL" not in os.environ:
            self.valkey = Valkey(self.run, log=self.logs / "queue.log")
            with step("queue", "started"):
                self.valkey.start()

    def prepare_environment(self) -> None:
        secret = places.private_folder(self.run / "secrets") / "secret-key"
        if not secret.exists():
            write_private(secret, secrets.token_urlsafe(50))
        database = self.postgres.url(APP) if self.postgres else os.environ["DATABASE_URL"]
        self.owner_url = self.postgres.url(OWNER) if self.postgres else os.environ.get("DATABASE_OWNER_URL", database)
        ours = {
            "DEMO": "1",
            "SECRET_KEY": secret.read_text(),
            "DATABASE_URL": database,
            "BROKER_URL": self.valkey.url if self.valkey else os.environ["BROKER_URL"],
            "EXPORT_DIR": str(self.run / "exports"),
            "AUDIT_ANCHOR_FILE": str(self.run / "audit-anchors.jsonl"),
        }
        (self.run / "exports").mkdir(mode=0o700, exist_ok=True)
        # `manage.py` in another terminal finds the demo's servers by this file.
        write_private(self.run / "env", "".join(f"{name}={value}\n" for name, value in ours.items()))
        inherited = {k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE", "CANOPY_TESTING")}
        self.environment = {**inherited, **ours, "PYTHONUNBUFFERED": "1"}

    def manage(self, *arguments: str, show: bool = False, **environment: str) -> None:
        """Run ``manage.py``, showing what it reports; raise EmbeddedError with its last words if it fails.

        What it complains of goes to its log: a person is shown one sentence of it.
        """
        log = self.logs / f"{arguments[0]}.log"
        with log.open("w") as complaints:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                start_new_session=True,
            )
        try:
            for line in process.stdout or ():
                if show:
                    say(f"    {line.rstrip()}")
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if status != 0:
            last = next((line for line in reversed(log.read_text().splitlines()) if line.strip()), "it gave no reason")
            raise EmbeddedError(f"`manage.py {' '.join(arguments)}` failed: {last}\n(more in {log})")

    def collect_static(self) -> None:
        """Gather the static files once for each state of them: gathering takes longer than looking."""
        digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
        for folder in sorted([ROOT / "static", *ROOT.glob("*/static")]):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    facts = path.stat()
                    digest.update(f"{path} {facts.st_size} {facts.st_mtime_ns}".encode())
        stamp = ROOT / "staticfiles" / ".state"
        if stamp.exists() and stamp.read_text() == digest.hexdigest():
            return
        with step("static files", "gathered"):
            self.manage("collectstatic", "--noinput", "--verbosity", "0")
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest.hexdigest())

    def start_programs(self) -> None:
        celery = [sys.executable, "-m", "celery", "-A", "config"]
        logs = {name: self.logs / f"{name}.log" for name in ("web", "worker", "scheduler")}
        web = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "config" / "gunicorn_conf.py")]
        web += ["--bind", f"{HOST}:{self.port}", "--error-logfile", str(logs["web"]), "--capture-output"]
        worker = [*celery, "worker", "--concurrency", "2", "--hostname", f"canopy-{self.port}@%h", "--loglevel", "INFO"]
        worker += ["--without-gossip", "--without-mingle", "--logfile", str(logs["worker"])]
        scheduler = [*celery, "beat", "--loglevel", "INFO", "--schedule", str(self.run / "schedule")]
        scheduler += ["--logfile", str(logs["scheduler"])]
        for name, command in (
            ("web", [*web, "config.wsgi:application"]),
            ("worker", worker),
            ("scheduler", scheduler),
        ):
            sign = self.run / f"{name}.heartbeat"
            sign.unlink(missing_ok=True)
            environment = {**self.environment, "HEARTBEAT_FILE": str(sign)}
            self.programs.append(Program(name, command, logs[name], environment))
        with step("web server, worker and scheduler", "started"):
            for program in self.programs:
                program.start()
            for program in self.programs:
                self.wait_for(program)

    def wait_for(self, program: Program) -> None:
        def answers() -> bool:
            if program.name == "web":
                return health.web_is_ready(self.address, seconds=2)
            return heartbeat.is_alive(self.run / f"{program.name}.heartbeat")

        if not wait_until(lambda: not program.is_running() or answers(), seconds=90, step=0.1):
            raise EmbeddedError(
                f"The {program.name} did not answer within 90 seconds; its messages are in {program.log}."
            )
        if not program.is_running():
            raise EmbeddedError(f"The {program.name} did not start; its messages are in {program.log}.")

    def start(self) -> None:
        self.prepare_folder()
        if left := end(self.leftovers):
            say(f"  {left} processes that a killed run left behind were stopped")
        check_port_is_free(self.port)
        self.start_servers()
        self.prepare_environment()
        with step("database", "up to date"):
            self.manage("upgrade_database", "--verbosity", "0", DATABASE_URL=self.owner_url)
        self.collect_static()
        with step("trials and practice data", "in place"):
            self.manage("seed_demo", show=True)
        self.start_programs()

    # --- while it is up -----------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Start again what dies, and say so; give up on what dies again and again. Returns never."""
        while True:
            time.sleep(0.5)
            for server, name in ((self.postgres, "PostgreSQL"), (self.valkey, "queue")):
                if server is not None and not server.is_running():
                    self.note_restart(name, self.starts_of_servers, server.log)
                    server.start()
            for program in self.programs:
                if not program.is_running():
                    status = program.process.returncode if program.process else None
                    self.note_restart(program.name, program.starts, program.log, status)
                    program.stop(0)
                    program.start()

    @staticmethod
    def note_restart(name: str, starts: list[float], log: Path, status: int | None = None) -> None:
        now = time.monotonic()
        recent = [at for at in starts if now - at < RESTART_WINDOW_SECONDS]
        if len(recent) > MOST_RESTARTS:
            raise EmbeddedError(f"The {name} ended {len(recent)} times in two minutes; the reason is in {log}.")
        starts[:] = [*recent, now] if name in ("PostgreSQL", "queue") else recent
        how = f" (signal {-status})" if status and status < 0 else ""
        say(f"  the {name} ended{how}; starting it again")

    # --- the way down -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop all that was started, the servers last. Touches nothing where another run holds the folder."""
        if not self.lock.is_held:
            return
        # All are asked at once; the scheduler first, so that it sends nothing more.
        for program in reversed(self.programs):
            program.ask_to_stop()
        for program in reversed(self.programs):
            program.stop(patience=20)
        for server in (self.valkey, self.postgres):
            if server is not None:
                server.stop()
        (self.run / "env").unlink(missing_ok=True)
        self.lock.release()

    def reset(self) -> None:
        """Remove the demo's data: the database, the queue, the secrets and the exports."""
        self.prepare_folder()
        end(self.leftovers)
        home = places.home_for(self.run)
        for server in (Postgres(self.run), Valkey(self.run)):
            end(server.our_processes, signals=((signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, 5)))
            shutil.rmtree(server.data, ignore_errors=True)
            if server.data.exists():
                raise EmbeddedError(f"{server.data} could not be removed: it belongs to another user.")
        keep = {"demo.lock", "setup.lock", "log"}
        for folder in {home, self.run}:
            for path in folder.iterdir():
                if path.name in keep and folder == self.run:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        shutil.rmtree(ROOT / "staticfiles", ignore_errors=True)
        self.lock.release()


def write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


@contextlib.contextmanager
def step(name: str, done: str) -> Iterator[None]:
    """Say what is begun, and how long it took when it is done."""
    started = time.monotonic()
    say(f"  {name} ...")
    yield
    say(f"  {name} {done} ({time.monotonic() - started:.1f} s)")


def stop_on_signals() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        ignore_signals()
        raise Stop

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def ignore_signals() -> None:
    # A second Ctrl-C while stopping would leave half of it running.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make demo", description="Run Canopy on this machine.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--reset", action="store_true", help="remove the demo's data")
    options = parser.parse_args(arguments)
    run = run_folder()
    demo = Demo(run, options.port)
    stop_on_signals()
    started = time.monotonic()
    status = 0
    try:
        if options.reset:
            demo.reset()
            say("The demo's data are gone. `make demo` starts over.")
            return 0
        say("Canopy demo")
        demo.start()
        say(f"\nCanopy runs at  {demo.address}   (up in {time.monotonic() - started:.0f} s; messages in {demo.logs})")
        say("Ctrl-C stops it; what you enter is kept for the next start, until `make demo-reset`.")
        demo.watch()
    except Stop:
        say("\nStopping ...")
    except EmbeddedError as error:
        say(f"\n{error}")
        status = 1
    except OSError as error:
        say(f"\n{error.strerror or error}: {error.filename or run}. Make room or give access there, then start again.")
        status = 1
    except Exception:  # noqa: BLE001  (the last resort: a person gets a sentence, the log gets the trace)
        path = run / "log" / "demo.log"
        with contextlib.suppress(OSError), path.open("a") as file:
            traceback.print_exc(file=file)
        say(f"\nThe demo met something it does not know; the details are in {path}. `make demo` may be tried again.")
        status = 1
    ignore_signals()
    was_ours = demo.lock.is_held
    demo.stop()
    if was_ours:
        say("Canopy is stopped." if status == 0 else "What had been started was stopped.")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
