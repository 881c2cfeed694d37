"""API tokens: ``inc_<id>_<secret>``, of which only the SHA-256 digest is stored.

The secret has 256 bits of entropy, so a plain digest is enough (no password hash): it cannot be searched for.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg import AsyncConnection
from psycopg.rows import class_row

from policy.decision import Role

CHANNEL = "incidents_credentials"
"""PostgreSQL channel on which triggers notify every change of a credential."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"inc_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})")
_COLUMNS = "token_id, tenant_id, name, role, created_at, expires_at, revoked_at, rotated_from"

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """What is known about a token, apart from its secret."""

    token_id: str
    tenant_id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rotated_from: str = ""

    def valid_at(self, now: datetime) -> bool:
        """Whether the token is neither revoked nor expired at ``now``."""
        return all(end is None or now < end for end in (self.revoked_at, self.expires_at))


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token with its ``text``, which is shown once and kept nowhere."""

    token: Token
    text: str


def generate() -> tuple[str, str]:
    """A new token: its id and its whole text."""
    token_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    return token_id, f"inc_{token_id}_{''.join(secrets.choice(_ALPHABET) for _ in range(43))}"


def token_id_of(text: str) -> str | None:
    """The id in a token's text; ``None`` when it has not the shape of a token."""
    match = _SHAPE.fullmatch(text)
    return match[1] if match else None


def digest(text: str) -> bytes:
    """What is stored of a token: SHA-256 of its text."""
    return hashlib.sha256(text.encode()).digest()


async def find(connection: AsyncConnection[Row], text_digest: bytes) -> Token | None:
    """The token with that digest, in whatever tenant: the one look-up that precedes knowing the tenant."""
    async with connection.cursor(row_factory=class_row(Token)) as cursor:
        await cursor.execute(f"SELECT {_COLUMNS} FROM ops.token_by_hash(%s)", [text_digest])  # noqa: S608  constants
        return await cursor.fetchone()


async def issue(
    connection: AsyncConnection[Row],
    tenant_id: str,
    role: Role,
    name: str,
    expires_at: datetime | None = None,
    rotated_from: str = "",
) -> IssuedToken:
    """Store a new token of the tenant that the connection's session is set to."""
    token_id, text = generate()
    token = Token(token_id, tenant_id, name, role, datetime.now(UTC), expires_at, None, rotated_from)
    await connection.execute(
        "INSERT INTO ops.api_tokens (token_id, tenant_id, name, role, token_hash, created_at, expires_at, rotated_from)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [token_id, tenant_id, name, role, digest(text), token.created_at, expires_at, rotated_from],
    )
    return IssuedToken(token, text)


async def list_tokens(connection: AsyncConnection[Row], tenant_id: str) -> Sequence[Token]:
    """The tenant's tokens, newest first, those that are over too."""
    async with connection.cursor(row_factory=class_row(Token)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM ops.api_tokens WHERE tenant_id = %s"  # noqa: S608  constants
            " ORDER BY created_at DESC, token_id LIMIT 1000",
            [tenant_id],
        )
        return await cursor.fetchall()


async def revoke(connection: AsyncConnection[Row], tenant_id: str, token_id: str) -> bool:
    """End a token now; false when the tenant has no such token (revoking twice is fine)."""
    cursor = await connection.execute(
        "UPDATE ops.api_tokens SET revoked_at = coalesce(revoked_at, %s) WHERE tenant_id = %s AND token_id = %s",
        [datetime.now(UTC), tenant_id, token_id],
    )
    return cursor.rowcount == 1


async def rotate(
    connection: AsyncConnection[Row], tenant_id: str, token_id: str, overlap: timedelta
) -> IssuedToken | None:
    """Issue a successor with the same name, role and lifetime; the old one goes on for ``overlap``, no longer.

    ``None`` when the tenant has no such token that is still valid.
    """
    now = datetime.now(UTC)
    async with connection.cursor(row_factory=class_row(Token)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM ops.api_tokens"  # noqa: S608  constants
            " WHERE tenant_id = %s AND token_id = %s FOR UPDATE",
            [tenant_id, token_id],
        )
        old = await cursor.fetchone()
    if old is None or not old.valid_at(now):
        return None
    expires_at = now + (old.expires_at - old.created_at) if old.expires_at else None
    issued = await issue(connection, tenant_id, old.role, old.name, expires_at, token_id)
    end = min(filter(None, (old.expires_at, now + overlap)))
    await connection.execute(
        "UPDATE ops.api_tokens SET expires_at = %s WHERE tenant_id = %s AND token_id = %s", [end, tenant_id, token_id]
    )
    return issued


async def register_tenant(connection: AsyncConnection[Row], tenant_id: str) -> None:
    """Make the tenant known, if it is not yet; the session must be set to it."""
    await connection.execute(
        "INSERT INTO ops.tenants (tenant_id, created_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [tenant_id, datetime.now(UTC)],
    )
