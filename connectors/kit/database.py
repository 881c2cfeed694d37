"""Connections of the connectors' processes, each switched to its narrow role in the start-up packet (R10)."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import conninfo_to_dict

from streams.domain.errors import Transient
from streams.runtime.settings import DatabaseRole, DatabaseSettings

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 10_000


class DatabaseUnavailable(Transient):
    """PostgreSQL did not answer."""


def parameters(settings: DatabaseSettings, role: DatabaseRole, name: str) -> dict[str, Any]:
    """Arguments for ``psycopg.connect``; ``name`` shows in ``pg_stat_activity``."""
    url, set_role = settings.conninfo(role)
    arguments = conninfo_to_dict(url)
    options = [str(arguments.get("options") or ""), f"-c statement_timeout={STATEMENT_TIMEOUT_MS}", "-c timezone=UTC"]
    if set_role:
        options.append(f"-c role={set_role}")
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        **arguments,
        "options": " ".join(options).strip(),
        "application_name": f"incidents-{name}",
    }
