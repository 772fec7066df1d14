"""Production's own scripts, run as the containers run them, against a real PostgreSQL and a real queue over TCP."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from config import health
from config.embedded.postgres import APP, FOR_TESTS, OWNER, SUPERUSER, Postgres, find_programs
from config.embedded.processes import wait_until
from config.embedded.valkey import Valkey
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"
COMPOSE = ROOT / "docker" / "compose.yaml"


def test_the_compose_file_follows_the_compose_specification() -> None:
    subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE], check=True
    )


def test_the_compose_file_hardens_every_service_that_runs_our_image() -> None:
    import yaml

    services = yaml.safe_load(COMPOSE.read_text())["services"]
    ours = {name: service for name, service in services.items() if service.get("image", "").startswith("canopy:")}
    assert set(ours) == {"migrate", "web", "worker", "beat"}
    for name, service in ours.items():
        assert service["read_only"] and service["init"], name
        assert service["user"] == "10001:10001", name
        assert service["cap_drop"] == ["ALL"], name
        plain = {key: value for key, value in service["environment"].items() if "PASSWORD" in key or "SECRET" in key}
        assert all(key.endswith("_FILE") for key in plain), name
    assert [name for name, service in ours.items() if "database_owner_url" in service["secrets"]] == ["migrate"]
    assert all("container_name" not in service for name, service in ours.items() if name != "beat")


def test_no_secret_and_no_local_state_is_sent_to_the_image_builder() -> None:
    allowed = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert allowed[1] == "*"
    assert not any("secrets" in line or ".run" in line for line in allowed if line.startswith("!"))
    copied = [line.split()[1] for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines() if "COPY " in line]
    for source in copied:
        if not source.startswith(("--from", "manage.py")):
            assert f"!{source}" in allowed, f"{source} is copied into the image but not sent to the builder"


@dataclass
class Production:
    postgres: Postgres
    port: int
    queue: Valkey
    secrets: Path
    state: Path
    environment: dict[str, str]

    def connect(self, role: str, secret: str, database: str = "canopy") -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=role,
            password=(self.secrets / secret).read_text(),
            dbname=database,
            autocommit=True,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ENTRYPOINT, *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.state / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [ENTRYPOINT, *arguments], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )


@pytest.fixture(scope="module")
def production(run_folder: Path) -> Iterator[Production]:
    """What docker/make-secrets, the database image's first start and the volumes would have made."""
    import socket

    folder = run_folder / "production"
    folder.mkdir()
    folder.chmod(0o711)
    docker = folder / "docker"
    docker.mkdir()
    shutil.copy(ROOT / "docker" / "make-secrets", docker)
    subprocess.run([docker / "make-secrets", "canopy.example.org"], check=True, capture_output=True)
    secrets = docker / "secrets"

    ports = []
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    database_port, queue_port, web_port = ports

    archive = folder / "archive"
    archive.mkdir()
    archive.chmod(0o777)
    shutil.copy(ROOT / "docker" / "archive.sh", folder)  # where PostgreSQL's own user can read it
    options = {
        **FOR_TESTS,
        "archive_mode": "on",
        "archive_command": f"sh {folder}/archive.sh %p %f {archive}",
    }
    server = Postgres(folder, options=options, port=database_port, with_roles=False)
    queue = Valkey(folder, port=queue_port)
    server.start()
    queue.start()
    try:
        subprocess.run(
            [ROOT / "docker" / "postgres" / "10-roles.sh"],
            env={
                **os.environ,
                "PATH": f"{find_programs().bin}:{os.environ['PATH']}",
                "SECRETS": str(secrets),
                "POSTGRES_USER": SUPERUSER,
                "PGHOST": str(server.sockets),
                "PGPORT": str(database_port),
                "PGPASSWORD": server.password(SUPERUSER),
                "PGDATA": str(server.data),
            },
            check=True,
            capture_output=True,
        )
        with server.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
        for name in ("database_url", "database_owner_url"):
            path = secrets / name
            path.chmod(0o600)
            path.write_text(path.read_text().replace("@postgres/", f"@127.0.0.1:{database_port}/"))
        broker = folder / "broker_url"
        broker.write_text(queue.url)
        state = folder / "state"
        state.mkdir()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": "/nonexistent",
            "ALLOWED_HOSTS": "canopy.example.org",
            "CSRF_TRUSTED_ORIGINS": "https://canopy.example.org",
            "TRUSTED_PROXY": "1",
            "SECRET_KEY_FILE": str(secrets / "secret_key"),
            "DATABASE_URL_FILE": str(secrets / "database_url"),
            "DATABASE_OWNER_URL_FILE": str(secrets / "database_owner_url"),
            "BROKER_URL_FILE": str(broker),
            "CANOPY_STATE": str(state),
            "EXPORT_DIR": str(state),
            "AUDIT_ANCHOR_FILE": str(state / "anchors.jsonl"),
            "BIND": "127.0.0.1",
            "PORT": str(web_port),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        yield Production(server, database_port, queue, secrets, state, environment)
    finally:
        queue.stop()
        server.stop()


@pytest.fixture(scope="module")
def migrated(production: Production) -> Production:
    done = production.run("migrate")
    assert done.returncode == 0, done.stderr
    return production


def test_migrate_without_the_owner_says_what_is_missing(production: Production) -> None:
    refused = production.run("migrate", DATABASE_OWNER_URL_FILE="")
    assert refused.returncode == 64
    assert "DATABASE_OWNER_URL" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_command_lists_the_known_ones(production: Production) -> None:
    refused = production.run("wbe")
    assert refused.returncode == 64
    assert "migrate, web, worker, beat" in refused.stderr


def test_two_migrations_at_once_wait_for_each_other(migrated: Production) -> None:
    first, second = migrated.start("migrate"), migrated.start("migrate")
    assert first.wait(120) == second.wait(120) == 0


def test_a_database_that_is_down_is_a_sentence(production: Production) -> None:
    url = production.state / "nowhere"
    url.write_text("postgresql://canopy_owner:x@127.0.0.1:1/canopy")
    failed = production.run("migrate", DATABASE_OWNER_URL_FILE=str(url), DATABASE_WAIT_SECONDS="0")
    assert failed.returncode == 1
    assert "The database cannot be reached" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.requirement("AT3")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_trail SET reason = 'another'",
        "DELETE FROM audit_trail",
        "TRUNCATE audit_trail",
        "INSERT INTO audit_trail (chain) VALUES ('x')",
        "ALTER TABLE audit_trail DISABLE TRIGGER ALL",
        "TRUNCATE accounts_user CASCADE",
        "DROP TABLE accounts_user",
        "CREATE TABLE smuggled (id integer)",
        "SET session_replication_role = replica",
        "DELETE FROM django_migrations",
        "SET ROLE canopy_owner",
    ],
)
def test_the_application_role_cannot(migrated: Production, statement: str) -> None:
    with migrated.connect(APP, "app_password") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_the_application_role_owns_nothing_and_may_work_with_every_table(migrated: Production) -> None:
    with migrated.connect(APP, "app_password") as connection:
        owned = connection.execute("SELECT relname FROM pg_class WHERE relowner = 'canopy_app'::regrole").fetchall()
        assert owned == []
        short = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " AND NOT relname = ANY(%s) AND NOT (has_table_privilege(oid, 'SELECT')"
            " AND has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE')"
            " AND has_table_privilege(oid, 'DELETE') AND has_table_privilege(oid, 'MAINTAIN'))",
            [["audit_trail", "django_migrations"]],
        ).fetchall()
        assert short == []
        writable_views = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')"
            " AND (has_table_privilege(oid, 'INSERT') OR has_table_privilege(oid, 'UPDATE')"
            " OR has_table_privilege(oid, 'DELETE'))"
        ).fetchall()
        assert writable_views == []


def test_web_worker_and_beat_come_up_answer_their_health_checks_and_stop_cleanly(migrated: Production) -> None:
    names = ("web", "worker", "beat")
    ready = f"http://127.0.0.1:{migrated.environment['PORT']}/health/ready"
    running = {name: migrated.start(name) for name in names}
    try:
        for name in names:
            healthy = wait_until(lambda name=name: migrated.run("health", name).returncode == 0, seconds=60, step=0.5)
            assert healthy, (migrated.state / f"{name}.log").read_text()

        assert migrated.run("health", "web", PORT="1").returncode != 0

        migrated.postgres.stop()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(ready)
        assert (refused.value.code, refused.value.headers["Retry-After"]) == (503, "5")
        with urllib.request.urlopen(ready.replace("ready", "live")) as answer:
            assert answer.status == 200, "a web process is not killed because the database is away"
        migrated.postgres.start()
        assert wait_until(lambda: health.web_is_ready(ready.removesuffix("/health/ready")), seconds=15)
    finally:
        for process in running.values():
            process.terminate()
    for name, process in running.items():
        assert process.wait(60) == 0, (migrated.state / f"{name}.log").read_text()


@pytest.mark.requirement("RB2")
def test_a_backup_restores_every_row_to_the_moment_before_a_mistake(migrated: Production, run_folder: Path) -> None:
    with migrated.connect(OWNER, "owner_password") as connection:
        connection.execute("CREATE TABLE drill AS SELECT generate_series(1, 10000) AS id")
    archive = run_folder / "production" / "archive"
    backups = run_folder / "backups"
    backups.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{find_programs().bin}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(migrated.port),
        "PGUSER": "canopy_backup",
        "BACKUP_PASSWORD_FILE": str(migrated.secrets / "backup_password"),
        "BACKUPS_KEPT": "2",
    }
    command = ["sh", ROOT / "docker" / "backup.sh", backups, archive, "once"]
    for _ in range(3):
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
        time.sleep(1.1)  # a backup is named by its second
    kept = sorted(path.name for path in backups.iterdir() if not path.is_symlink())
    assert len(kept) == 2
    assert os.readlink(backups / "latest") == kept[-1]

    # More work after the backup, then the mistake.
    with migrated.connect(OWNER, "owner_password") as connection:
        connection.execute("INSERT INTO drill SELECT generate_series(10001, 12345)")
        row = connection.execute("SELECT now()::text").fetchone()
        assert row
        before_the_mistake = row[0]
        time.sleep(0.2)
        connection.execute("DELETE FROM drill")
    with migrated.postgres.connect() as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row
    assert wait_until((archive / row[0]).exists, seconds=30)

    home = run_folder / "restored"
    home.mkdir()
    home.chmod(0o711)
    restored = Postgres(home, options=FOR_TESTS, with_roles=False)
    shutil.copytree(backups / kept[-1], restored.data)
    shutil.copytree(migrated.postgres.secrets, restored.secrets)
    (restored.data / "recovery.signal").touch()
    with (restored.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"restore_command = 'cp {archive}/%f %p'\n")
        settings.write(f"recovery_target_time = '{before_the_mistake}'\nrecovery_target_action = promote\n")
    if restored.user:
        for path in (restored.data, *restored.data.rglob("*"), *archive.iterdir()):
            os.chown(path, restored.user.pw_uid, restored.user.pw_gid)
    restored.data.chmod(0o700)
    restored.start()
    try:
        with restored.connect(SUPERUSER, "canopy") as connection:
            assert connection.execute("SELECT count(*), sum(id) FROM drill").fetchone() == (12345, 12345 * 12346 // 2)
    finally:
        restored.stop()


def test_what_is_archived_is_never_replaced_by_another_content(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    segment = tmp_path / "segment"

    def store(content: bytes) -> int:
        segment.write_bytes(content)
        command = ["sh", ROOT / "docker" / "archive.sh", segment, "000000010000000000000001", archive]
        return subprocess.run(command, check=False, capture_output=True).returncode

    assert store(b"one") == 0
    assert store(b"one") == 0, "the server asks again when it died before it noted the first answer"
    assert store(b"two") != 0
    assert [path.read_bytes() for path in archive.iterdir()] == [b"one"]


def test_the_production_settings_pass_djangos_own_deployment_check(migrated: Production) -> None:
    checked = migrated.run("manage", "check", "--deploy", "--fail-level", "WARNING")
    assert checked.returncode == 0, checked.stderr
