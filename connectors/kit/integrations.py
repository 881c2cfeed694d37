"""Adding, listing, rotating and disabling integrations: what an administrator does, over one connection."""

from __future__ import annotations

import secrets as random_source
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from connectors.kit.contract import Connector, Secret
from connectors.kit.database import parameters
from connectors.kit.secrets import SecretBox
from streams.domain.errors import IncidentsError
from streams.runtime.settings import DatabaseSettings

DEFAULT_OVERLAP_S = 86_400
_MAX_SECRET_CHARACTERS = 4_096
_MAX_NAME_CHARACTERS = 200

Connection = psycopg.Connection[dict[str, Any]]


class IntegrationRefused(IncidentsError):  # noqa: N818
    """The integration cannot be made or changed as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Added:
    """A new integration; ``secret`` is shown this once."""

    integration_id: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Listed:
    """An integration as lists show it: no secret, only how many of them count."""

    integration_id: str
    tenant_id: str
    connector: str
    name: str
    config: Mapping[str, Any]
    created_at: datetime
    disabled_at: datetime | None
    secrets: int


def connect(settings: DatabaseSettings) -> Connection:
    """A connection as the owner; raises ``psycopg.OperationalError``."""
    return psycopg.connect(row_factory=dict_row, **parameters(settings, "owner", "integrations"))


def add(
    connection: Connection,
    box: SecretBox,
    connector: Connector,
    tenant_id: str,
    *,
    name: str = "",
    config: Mapping[str, Any] | None = None,
    webhook_secret: str = "",
    api_token: str = "",
) -> Added:
    """Add an integration in one transaction; a webhook secret is made where the provider does not issue one.

    Raises ``IntegrationRefused``.
    """
    if not tenant_id:
        raise IntegrationRefused("a tenant must be named")
    if wrong := connector.check_config(config or {}):
        raise IntegrationRefused(f"{connector.name}: {wrong}")
    if connector.issues_secret and not webhook_secret:
        raise IntegrationRefused(f"{connector.name} issues the webhook secret itself: give it")
    integration_id = f"int_{random_source.token_hex(12)}"
    secret = Secret("webhook", _usable(webhook_secret) if webhook_secret else random_source.token_urlsafe(32))
    with connection.transaction():
        connection.execute(
            "INSERT INTO ops.tenants (tenant_id, created_at) VALUES (%s, now()) ON CONFLICT DO NOTHING", (tenant_id,)
        )
        connection.execute(
            "INSERT INTO ops.integrations (integration_id, tenant_id, connector, name, config, created_at)"
            " VALUES (%s, %s, %s, %s, %s, now())",
            (
                integration_id,
                tenant_id,
                connector.name,
                name[:_MAX_NAME_CHARACTERS] or connector.name,
                Jsonb(dict(config or {})),
            ),
        )
        _store(connection, box, secret, tenant_id, integration_id)
        if api_token:
            _store(connection, box, Secret("api_token", _usable(api_token)), tenant_id, integration_id)
    return Added(integration_id, secret)


def list_all(connection: Connection, tenant_id: str = "") -> list[Listed]:
    """Every integration of a tenant (of all, where none is named), oldest first."""
    rows = connection.execute(
        "SELECT i.integration_id, i.tenant_id, i.connector, i.name, i.config, i.created_at, i.disabled_at,"
        " (SELECT count(*) FROM ops.integration_secrets s WHERE s.tenant_id = i.tenant_id"
        "  AND s.integration_id = i.integration_id AND (s.expires_at IS NULL OR s.expires_at > now())) AS secrets"
        " FROM ops.integrations i WHERE %(tenant)s = '' OR i.tenant_id = %(tenant)s"
        " ORDER BY i.created_at, i.integration_id",
        {"tenant": tenant_id},
    )
    return [Listed(**row) for row in rows]


def rotate(
    connection: Connection,
    box: SecretBox,
    integration_id: str,
    secret: Secret | None = None,
    overlap_s: int = DEFAULT_OVERLAP_S,
) -> Secret:
    """Add a secret (a new webhook secret where none is given); those of its kind count for ``overlap_s`` more.

    Raises ``IntegrationRefused`` for an unknown or disabled integration.
    """
    new = secret or Secret("webhook", random_source.token_urlsafe(32))
    _usable(new.value)
    with connection.transaction():
        row = connection.execute(
            "SELECT tenant_id FROM ops.integrations WHERE integration_id = %s AND disabled_at IS NULL FOR UPDATE",
            (integration_id,),
        ).fetchone()
        if row is None:
            raise IntegrationRefused(f"no active integration {integration_id}")
        stored = connection.execute(
            "SELECT secret_id, ciphertext FROM ops.integration_secrets WHERE tenant_id = %s AND integration_id = %s"
            " AND (expires_at IS NULL OR expires_at > now())",
            (row["tenant_id"], integration_id),
        ).fetchall()
        old = [
            one["secret_id"]
            for one in stored
            if box.open(bytes(one["ciphertext"]), row["tenant_id"], integration_id).kind == new.kind
        ]
        connection.execute(
            "UPDATE ops.integration_secrets SET expires_at = least(expires_at, now() + make_interval(secs => %s))"
            " WHERE secret_id = ANY(%s)",
            (overlap_s, old),
        )
        _store(connection, box, new, row["tenant_id"], integration_id)
    return new


def update(
    connection: Connection,
    connectors: Mapping[str, Connector],
    integration_id: str,
    *,
    name: str = "",
    config: Mapping[str, Any] | None = None,
) -> None:
    """Give an integration another name or configuration, which counts from the next call on; secrets stay.

    Raises ``IntegrationRefused`` for an unknown or disabled integration, and for a configuration that is wrong.
    """
    with connection.transaction():
        row = connection.execute(
            "SELECT connector FROM ops.integrations WHERE integration_id = %s AND disabled_at IS NULL FOR UPDATE",
            (integration_id,),
        ).fetchone()
        if row is None:
            raise IntegrationRefused(f"no active integration {integration_id}")
        if config is not None and (wrong := connectors[row["connector"]].check_config(config)):
            raise IntegrationRefused(f"{row['connector']}: {wrong}")
        connection.execute(UPDATE, update_values(integration_id, name, config))


UPDATE = """
UPDATE ops.integrations SET name = coalesce(%s, name), config = coalesce(%s, config) WHERE integration_id = %s
"""


def update_values(integration_id: str, name: str, config: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """The values of ``UPDATE``; an empty name and no configuration leave what is there."""
    return name[:_MAX_NAME_CHARACTERS] or None, Jsonb(dict(config)) if config is not None else None, integration_id


def disable(connection: Connection, integration_id: str) -> None:
    """Close an integration at once: its webhooks answer 404, its pending intents fail. Raises as ``rotate``."""
    with connection.transaction():
        cursor = connection.execute(
            "UPDATE ops.integrations SET disabled_at = now() WHERE integration_id = %s AND disabled_at IS NULL",
            (integration_id,),
        )
        if not cursor.rowcount:
            raise IntegrationRefused(f"no active integration {integration_id}")


def _store(connection: Connection, box: SecretBox, secret: Secret, tenant_id: str, integration_id: str) -> None:
    connection.execute(
        "INSERT INTO ops.integration_secrets (secret_id, integration_id, tenant_id, ciphertext, created_at)"
        " VALUES (%s, %s, %s, %s, clock_timestamp())",
        (f"sec_{random_source.token_hex(12)}", integration_id, tenant_id, box.seal(secret, tenant_id, integration_id)),
    )


def _usable(value: str) -> str:
    if not value or len(value) > _MAX_SECRET_CHARACTERS or not value.isprintable():
        raise IntegrationRefused("a secret is printable text, neither empty nor longer than 4096 characters")
    return value
