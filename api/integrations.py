"""A tenant's integrations as its administrators see and change them; secrets are neither shown nor set here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from api.problems import Problem
from connectors.kit.contract import Connector
from connectors.kit.integrations import UPDATE, update_values
from projections.connections import AsyncConnection


@dataclass(frozen=True, slots=True)
class Integration:
    """One integration; ``disabled_at`` is None while it works."""

    integration_id: str
    connector: str
    name: str
    config: Mapping[str, Any]
    created_at: datetime
    disabled_at: datetime | None


_SELECT = "SELECT integration_id, connector, name, config, created_at, disabled_at FROM ops.integrations"


async def list_all(connection: AsyncConnection) -> Sequence[Integration]:
    """Every integration of the session's tenant, oldest first."""
    async with connection.cursor(row_factory=class_row(Integration)) as cursor:
        await cursor.execute(f"{_SELECT} ORDER BY created_at, integration_id".encode())
        return await cursor.fetchall()


async def update(
    connection: AsyncConnection,
    connectors: Mapping[str, Connector],
    integration_id: str,
    name: str,
    config: Mapping[str, Any] | None,
) -> Integration:
    """Give an integration of the session's tenant another name or configuration.

    Raises ``Problem`` 404 for one that is not there or disabled, 422 for a configuration that is wrong.
    """
    async with connection.cursor(row_factory=class_row(Integration)) as cursor:
        query = f"{_SELECT} WHERE integration_id = %s AND disabled_at IS NULL FOR UPDATE".encode()
        await cursor.execute(query, [integration_id])
        found = await cursor.fetchone()
        if found is None:
            raise Problem(404, "unknown-integration", "Not found", f"no active integration {integration_id[:60]}")
        if config is not None and (wrong := connectors[found.connector].check_config(config)):
            raise Problem(422, "invalid-configuration", "The configuration cannot be used", wrong)
        await cursor.execute(UPDATE, update_values(integration_id, name, config))
        await cursor.execute(query, [integration_id])
        changed = await cursor.fetchone()
    assert changed is not None, "it is locked"
    return changed
