"""Which integration an id belongs to, answered from memory: also while the database is away.

An entry is read again before it is used when PostgreSQL says that a credential changed (``NOTIFY
incidents_credentials``), and beside its use after ``FRESH_S`` in case a notification was missed. While the database
does not answer, what is known stays good; what is not known cannot be told from what does not exist, so the caller
answers 503 and the provider comes back.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import orjson
import psycopg
import structlog
from psycopg.rows import dict_row

from connectors.kit.contract import Integration
from connectors.kit.database import DatabaseUnavailable, parameters
from connectors.kit.secrets import SecretBox, SecretsSealed
from streams.domain.errors import Transient
from streams.runtime.settings import DatabaseRole, DatabaseSettings

CHANNEL: Final = "incidents_credentials"
FRESH_S: Final = 30.0
FORGET_UNKNOWN_S: Final = 5.0
READ_TIMEOUT_S: Final = 3.0
MAX_ENTRIES: Final = 10_000

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BY_FUNCTION = "SELECT * FROM ops.integration_by_id(%s)"
_BY_TABLES = """
SELECT i.integration_id, i.tenant_id, i.connector, i.name, i.config, i.disabled_at,
       coalesce(array_agg(s.ciphertext ORDER BY s.created_at DESC, s.secret_id)
                FILTER (WHERE s.secret_id IS NOT NULL), '{}') AS ciphertexts,
       coalesce(array_agg(s.expires_at ORDER BY s.created_at DESC, s.secret_id)
                FILTER (WHERE s.secret_id IS NOT NULL), '{}') AS secrets_expire_at
FROM ops.integrations i
LEFT JOIN ops.integration_secrets s ON s.tenant_id = i.tenant_id AND s.integration_id = i.integration_id
     AND (s.expires_at IS NULL OR s.expires_at > now())
WHERE i.integration_id = %s GROUP BY i.integration_id
"""
_QUERIES: Final[dict[DatabaseRole, str]] = {"api": _BY_FUNCTION, "projector": _BY_TABLES}
_FORGOTTEN = float("-inf")
_log = structlog.get_logger(__name__)


class IntegrationSealed(Transient):
    """An integration's secrets cannot be read: its deliveries wait with their sender until the key is put right."""


def read_row(row: dict[str, Any], box: SecretBox) -> Integration | None:
    """The integration of a row, its secrets (newest first) decrypted; ``None`` when it is disabled.

    Raises ``SecretsSealed``.
    """
    if row["disabled_at"] is not None:
        return None
    tenant, integration_id = row["tenant_id"], row["integration_id"]
    secrets = tuple(
        box.open(bytes(ciphertext), tenant, integration_id, int(expires.timestamp() * 1000) if expires else 0)
        for ciphertext, expires in zip(row["ciphertexts"], row["secrets_expire_at"], strict=True)
    )
    return Integration(integration_id, tenant, row["connector"], row["name"], row["config"], secrets)


class IntegrationDirectory:
    """Answers ``resolve`` for one process; ``start`` and ``close`` belong to its event loop.

    ``role`` decides how rows are read: the API's role sees no tenant's rows and uses a SECURITY DEFINER function.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        box: SecretBox,
        role: DatabaseRole = "api",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parameters = parameters(settings, role, "integrations")
        self._query = _QUERIES[role]
        self._box = box
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, Integration | None]] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Integration | None]] = {}
        self._connection: psycopg.AsyncConnection[dict[str, Any]] | None = None
        self._reading = asyncio.Lock()
        self._changes = 0
        self._listener: asyncio.Task[None] | None = None
        self.listening = False

    async def start(self) -> None:
        """Listen for changes; never waits for the database."""
        self._listener = asyncio.create_task(self._listen(), name="integration-changes")

    async def close(self) -> None:
        """Stop listening and close the connections."""
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        if self._connection is not None:
            await self._connection.close()

    async def resolve(self, integration_id: str) -> Integration | None:
        """The integration, or ``None`` when there is none or it is disabled.

        Raises ``DatabaseUnavailable`` for one that is not in memory while the database is away, ``IntegrationSealed``
        when its secrets were encrypted with another key than this process has.
        """
        if not _ID.fullmatch(integration_id):
            return None
        read_at, known = self._entries.get(integration_id, (_FORGOTTEN, None))
        age = self._clock() - read_at
        if age < (FRESH_S if known else FORGET_UNKNOWN_S):
            return known
        reading = self._load(integration_id)
        if known is not None and read_at != _FORGOTTEN:
            return known
        try:
            return await asyncio.shield(reading)
        except DatabaseUnavailable:
            if known is None:
                raise
            # Not forgotten any more but due: the next reading does not hold anybody up.
            self._entries[integration_id] = (self._clock() - FRESH_S, known)
            return known

    def forget(self, integration_id: str = "") -> None:
        """Read an integration (or all) again at the next question; what is known still counts while it cannot be."""
        self._changes += 1
        for one in [integration_id] if integration_id else list(self._entries):
            if one in self._entries:
                self._entries[one] = (_FORGOTTEN, self._entries[one][1])

    def _load(self, integration_id: str) -> Awaitable[Integration | None]:
        """One query however many requests ask at the same time."""
        task = self._loading.get(integration_id)
        if task is None:
            task = asyncio.create_task(self._read(integration_id))
            self._loading[integration_id] = task
            task.add_done_callback(lambda done: self._loaded(integration_id, done))
        return task

    def _loaded(self, integration_id: str, task: asyncio.Task[Integration | None]) -> None:
        self._loading.pop(integration_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("integration not read", integration_id=integration_id, reason=str(error))

    async def _read(self, integration_id: str) -> Integration | None:
        asked_at, changes = self._clock(), self._changes
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), self._reading:
                row = await self._fetch(integration_id)
        except (psycopg.Error, TimeoutError, OSError) as error:
            await self._drop_connection()
            raise DatabaseUnavailable(f"integrations: {type(error).__name__}") from error
        found = None if row is None else self._opened(row)
        # What changed while it was being read may not be in it.
        self._entries[integration_id] = (asked_at if changes == self._changes else _FORGOTTEN, found)
        self._entries.move_to_end(integration_id)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
        return found

    def _opened(self, row: dict[str, Any]) -> Integration | None:
        try:
            return read_row(row, self._box)
        except SecretsSealed as error:
            _log.error("integration cannot be used", integration_id=row["integration_id"], reason=str(error))
            raise IntegrationSealed(str(error)) from error

    async def _fetch(self, integration_id: str) -> dict[str, Any] | None:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                autocommit=True, row_factory=dict_row, **self._parameters
            )
        return await (await self._connection.execute(self._query, (integration_id,))).fetchone()

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _listen(self) -> None:
        pause_s = 0.5
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self.forget()  # what changed while nobody listened is not known
                    self.listening, pause_s = True, 0.5
                    async for notification in connection.notifies():
                        self._changed(notification.payload)
            except (psycopg.Error, OSError) as error:
                _log.warning("not listening for changed integrations", error=type(error).__name__)
            self.listening = False
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)

    def _changed(self, payload: str) -> None:
        try:
            change = orjson.loads(payload)
            if change["kind"] == "integration":
                self.forget(str(change["id"]))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self.forget()
