"""Facts about processes, and the lock that keeps two starts apart."""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
HAS_PROC = platform.system() == "Linux"


class EmbeddedError(Exception):
    """What went wrong with an embedded server, as a sentence that says the way out."""


@dataclass(frozen=True)
class Process:
    """A running process; ``folder`` is its working directory where the system tells it."""

    pid: int
    arguments: tuple[str, ...]
    folder: str | None

    @property
    def command_line(self) -> str:
        return " ".join(self.arguments)


def is_alive(pid: int) -> bool:
    """Whether ``pid`` is a process that still runs; a zombie does not."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if not HAS_PROC:
        return True
    try:
        # The command in parentheses may itself hold spaces and parentheses; the state follows the last one.
        state = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def running_processes() -> Iterable[Process]:
    """Every process of this machine that may be looked at, this one left out."""
    if HAS_PROC:
        for entry in PROC.iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                raw = (entry / "cmdline").read_bytes()
                folder = os.readlink(entry / "cwd")
            except OSError:
                continue  # ended meanwhile, or somebody else's
            if raw and is_alive(int(entry.name)):
                arguments = tuple(part.decode(errors="replace") for part in raw.rstrip(b"\0").split(b"\0"))
                yield Process(int(entry.name), arguments, folder)
        return
    listing = subprocess.run(["ps", "-axwwo", "pid=,command="], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        pid, _, command = line.strip().partition(" ")
        if pid.isdigit() and int(pid) != os.getpid():
            yield Process(int(pid), tuple(command.split()), None)


def wait_until(condition: Callable[[], bool], seconds: float, step: float = 0.02) -> bool:
    """Wait until ``condition`` holds; say whether it did within ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def end(
    find: Callable[[], list[Process]],
    *,
    signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 10), (signal.SIGKILL, 5)),
) -> int:
    """End the processes that ``find`` names, asking again before each harder signal; return how many there were.

    They are looked up anew each time, so that a number given to a stranger meanwhile is never signalled.
    """
    first = found = find()
    for how, patience in signals:
        for process in found:
            try:
                os.kill(process.pid, how)
            except ProcessLookupError:
                continue
        _wait_for_end([process.pid for process in found], patience)
        found = find()
        if not found:
            break
    return len(first)


def _wait_for_end(pids: list[int], seconds: float) -> None:
    wait_until(lambda: not any(is_alive(pid) for pid in pids), seconds)


class Lock:
    """An advisory lock on a file, freed by the system when its holder ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        return self._descriptor is not None

    def acquire(self, otherwise: str) -> None:
        """Take the lock or raise EmbeddedError with the sentence ``otherwise``; ``{pid}`` is its holder."""
        if self._descriptor is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise EmbeddedError(otherwise.format(pid=holder)) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
