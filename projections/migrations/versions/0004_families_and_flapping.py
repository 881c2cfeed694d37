"""Incidents know their family; timers look again at flapping alerts."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = text(
    "SELECT relname FROM pg_class WHERE relnamespace = 'read_data'::regnamespace AND relkind = 'r'"
    " AND relname ~ '^incidents_g[0-9]+$' ORDER BY relname"
)
_SHOWN = text("SELECT generation FROM ops.projection_active WHERE projection = 'incidents'")
_TIMERS = "ALTER TABLE ops.timers ADD CONSTRAINT timers_timer_check CHECK (timer IN ({}))"


def upgrade() -> None:
    """Add the column to every generation and to the view of the one that is shown, and the kind of timer."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    connection = op.get_bind()
    for (table,) in connection.execute(_TABLES).fetchall():
        op.execute(f"ALTER TABLE read_data.{table} ADD COLUMN family jsonb NOT NULL DEFAULT '[]'")
    _show(connection.execute(_SHOWN).scalar_one_or_none() or 1, replace=True)
    op.execute("ALTER TABLE ops.timers DROP CONSTRAINT timers_timer_check")
    op.execute(_TIMERS.format("'close', 'archive', 'settle'"))


def downgrade() -> None:
    """Take both away; what the record says of them stays."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    connection = op.get_bind()
    op.execute("DROP VIEW read.incidents")
    for (table,) in connection.execute(_TABLES).fetchall():
        op.execute(f"ALTER TABLE read_data.{table} DROP COLUMN family")
    _show(connection.execute(_SHOWN).scalar_one_or_none() or 1, replace=False)
    op.execute("GRANT SELECT ON read.incidents TO incidents_api, incidents_projector")
    op.execute("DELETE FROM ops.timers WHERE timer = 'settle'")
    op.execute("ALTER TABLE ops.timers DROP CONSTRAINT timers_timer_check")
    op.execute(_TIMERS.format("'close', 'archive'"))


def _show(generation: int, *, replace: bool) -> None:
    how = "CREATE OR REPLACE VIEW" if replace else "CREATE VIEW"
    op.execute(f"{how} read.incidents WITH (security_invoker = true) AS TABLE read_data.incidents_g{generation}")
