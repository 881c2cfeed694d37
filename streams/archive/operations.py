"""Backups of what is not in the log: credentials, integrations, the outbox's attempts and timers (schema ``ops``).

Secrets of integrations are copied as they are, which is encrypted, and tokens as their hashes; the whole backup is
encrypted once more with ``INCIDENTS_SECRET_KEY``, since payloads and configuration are nobody else's business.

Which backups there are stands in one list, which is written only in place of the one that was read before the tables
were: a process that slept meanwhile is overtaken and cannot name what it had read as the newest (as in `manifests`).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256

import orjson
import psycopg
from psycopg import sql

from connectors.kit.secrets import SecretBox
from projections.connections import Connection, connect
from streams.archive.manifests import Overtaken
from streams.domain.errors import IncidentsError, Transient
from streams.runtime.object_storage import ObjectStorage, UnknownObject
from streams.runtime.settings import DatabaseSettings

FORMAT = 1
_BOUND_TO = b"incidents operational backup"
_DAY_MS = 86_400_000
KEPT = 20
"""How many of the newest backups are kept beside one a day."""

TURN_S = 30.0
"""How long the backup of another process is waited for; a process that froze in its own holds up nobody for ever."""

LOCK_SEED = 20_261_127
_TRIES = 10
_RECENT = "interval '1 day'"

TABLES: Mapping[str, str] = {
    "tenants": "true",
    "api_tokens": "true",
    "integrations": "true",
    "integration_secrets": "true",
    "poll_cursors": "true",
    "outbox_events": f"state = 'pending' OR finished_at > now() - {_RECENT}",
    "timers": f"state = 'pending' OR due > now() - {_RECENT}",
}
"""What is copied, in the order in which it is restored. Older results and timers are in the record itself."""


class NotEmpty(IncidentsError):  # noqa: N818
    """A restore goes into an empty database only."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup: ``digest`` is that of its content before encryption, ``rows`` are counted by table."""

    at: int
    object: str
    digest: str
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Listed:
    """The list of backups, oldest first, as it was read; an empty ``etag`` says that there is none yet."""

    backups: tuple[Backup, ...] = ()
    etag: str = ""


class Operations:
    """The backups of one archive."""

    def __init__(self, storage: ObjectStorage, prefix: str, box: SecretBox, turn_s: float = TURN_S) -> None:
        self._storage = storage
        self._prefix = prefix
        self._box = box
        self._turn_s = turn_s
        self._digest = ""
        self._taken_at = 0.0

    def take_when_due(self, database: DatabaseSettings, every_s: float, now: int) -> bool:
        """Take a backup unless the last one is younger than ``every_s``; whether there was something new.

        Raises ``Transient`` when PostgreSQL or the storage is away, and ``Overtaken``.
        """
        if time.monotonic() - self._taken_at < every_s:
            return False
        taken = self.take(database, now)
        self._taken_at = time.monotonic()
        return taken

    def take(self, database: DatabaseSettings, now: int) -> bool:
        """Take a backup, unless nothing has changed since this process took the last one.

        Raises ``Transient`` when PostgreSQL or the storage is away, or another process takes one all the while, and
        ``Overtaken`` when one was taken by another since this one began to read.
        """
        try:
            with connect(database, "owner", name="archiver", autocommit=True) as connection:
                # One at a time: so that two do not overtake each other for ever.
                connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{round(self._turn_s * 1000)}ms",))
                connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, %s))", (self._list_key, LOCK_SEED))
                listed = self._listed()  # before the tables: what is listed later was read later
                return self._publish(listed, *_dump(connection), now)
        except psycopg.OperationalError as error:
            raise Transient(f"PostgreSQL: {error}") from error

    def _publish(self, listed: _Listed, content: bytes, rows: dict[str, int], now: int) -> bool:
        digest = sha256(content).hexdigest()
        if digest == self._digest:
            return False
        at = max(now, listed.backups[-1].at + 1) if listed.backups else now  # the clocks of two hosts differ
        there = set(self._storage.keys(f"{self._folder}sha256/"))
        key = self._storage.put(self._box.seal_bytes(zlib.compress(content), _BOUND_TO), folder=self._folder)
        named = (*listed.backups, Backup(at, key, digest, rows))
        kept = _kept(named)
        if not self._replace(listed, kept):
            self._storage.remove(key)
            raise Overtaken(f"{self._list_key} was changed since the operational tables were read")
        self._digest = digest
        # Whoever stored one of these and did not name it yet is overtaken by now, or died: an erasure must not miss it.
        self._remove((there | {one.object for one in named}) - {one.object for one in kept})
        return True

    def latest(self) -> Backup | None:
        """The newest backup."""
        backups = self._listed().backups
        return backups[-1] if backups else None

    def remove_others(self) -> int:
        """Remove every backup but the newest; how many there were.

        Raises ``Overtaken`` when others took one again and again meanwhile.
        """
        for _ in range(_TRIES):
            listed = self._listed()
            older = listed.backups[:-1]
            self._remove(one.object for one in older)  # first: what is still listed is found again
            if not older or self._replace(listed, listed.backups[-1:]):
                return len(older)
        raise Overtaken(f"{self._list_key} was changed {_TRIES} times while backups were removed")

    def restore(self, backup: Backup, connection: Connection) -> None:
        """Write the rows of a backup in the open transaction.

        An intent that was not finished counts as attempted, so that the dispatcher looks for its effect at the
        provider before it sends it. Raises ``NotEmpty`` and ``SecretsSealed``.
        """
        content = zlib.decompress(self._box.open_bytes(self._storage.get(backup.object), _BOUND_TO, "a backup"))
        tables = orjson.loads(content)["tables"]
        require_empty(connection)
        for name in TABLES:
            table = tables.get(name)
            if table is None:
                continue  # a backup from before there was this table
            columns = sql.SQL(", ").join(map(sql.Identifier, table["columns"]))
            target = sql.Identifier("ops", name)
            with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(target, columns)) as copy:
                copy.write(table["rows"])
        connection.execute(
            "UPDATE ops.outbox_events SET attempts = greatest(attempts, 1), leased_by = NULL, leased_until = NULL"
            " WHERE state = 'pending'"
        )

    def _listed(self) -> _Listed:
        try:
            content, etag = self._storage.document(self._list_key)
        except UnknownObject:
            return _Listed()
        return _Listed(tuple(Backup(**one) for one in orjson.loads(content)["backups"]), etag)

    def _replace(self, listed: _Listed, backups: Sequence[Backup]) -> bool:
        """Write the list in place of the one that was read; whether it still was that one."""
        content = orjson.dumps({"format": FORMAT, "backups": [asdict(one) for one in backups]})
        if listed.etag:
            written = self._storage.replace(self._list_key, content, listed.etag)
        else:
            written = self._storage.create(self._list_key, content)
        return written or self._listed().backups == tuple(backups)  # or its acknowledgement was lost

    def _remove(self, objects: Iterable[str]) -> None:
        """Remove backups that are no longer named; what a crash leaves goes with the next one that is taken."""
        for key in objects:
            self._storage.remove(key)

    @property
    def _folder(self) -> str:
        return f"{self._prefix}operations/"

    @property
    def _list_key(self) -> str:
        return f"{self._folder}backups.json"


def _kept(backups: Sequence[Backup]) -> tuple[Backup, ...]:
    """The newest backups and the last one of each day, in their order."""
    last_of_day = {backup.at // _DAY_MS: backup for backup in backups}
    return tuple(one for one in backups if one in backups[-KEPT:] or one == last_of_day[one.at // _DAY_MS])


def require_empty(connection: Connection) -> None:
    """Raise ``NotEmpty`` where a table that is to be restored, or a projection's position, has rows."""
    for name in (*TABLES, "projection_checkpoints"):
        query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier("ops", name))
        row = connection.execute(query).fetchone()
        if row is not None and row[0]:
            raise NotEmpty(f"table ops.{name} has rows: restore into a database that was only migrated")


def _dump(connection: Connection) -> tuple[bytes, dict[str, int]]:
    """All tables as they were at one moment, in COPY's text format."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return _read(connection)


def _read(connection: Connection) -> tuple[bytes, dict[str, int]]:
    tables, counts = {}, {}
    for name, condition in TABLES.items():
        found = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'ops' AND table_name = %s"
            " AND is_generated = 'NEVER' ORDER BY ordinal_position",
            (name,),
        ).fetchall()
        columns = [column for (column,) in found]
        query = f"COPY (SELECT {', '.join(columns)} FROM ops.{name} WHERE {condition} ORDER BY 1) TO STDOUT"  # noqa: S608  names are ours
        with connection.cursor().copy(query.encode()) as copy:
            rows = b"".join(bytes(block) for block in copy).decode()
        tables[name] = {"columns": columns, "rows": rows}
        counts[name] = rows.count("\n")
    return orjson.dumps({"format": FORMAT, "tables": tables}), counts
