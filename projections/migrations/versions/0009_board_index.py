"""One index for the board: counting a tenant's incidents by status, and the worst of each, without reading the rest.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_GENERATIONS = text(
    "SELECT relname FROM pg_class WHERE relnamespace = 'read_data'::regnamespace AND relkind = 'r'"
    " AND relname ~ '^incidents_g[0-9]+$' ORDER BY relname"
)


def upgrade() -> None:
    """On every generation: a later one takes its indexes from the one that readers see."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for (table,) in op.get_bind().execute(_GENERATIONS).fetchall():
        op.execute(
            f"CREATE INDEX {table}_board ON read_data.{table} (tenant_id, status, merged_into, severity, number DESC)"
        )


def downgrade() -> None:
    """As it was."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for (table,) in op.get_bind().execute(_GENERATIONS).fetchall():
        op.execute(f"DROP INDEX IF EXISTS read_data.{table}_board")
