"""What-if jobs and shadows, and an index over changes of configuration."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = 'text COLLATE "C" NOT NULL'
_TIMELINES = text(
    "SELECT relname FROM pg_class WHERE relnamespace = 'read_data'::regnamespace AND relkind = 'r'"
    " AND relname ~ '^timeline_entries_g[0-9]+$' ORDER BY relname"
)


def upgrade() -> None:
    """Create the table behind row-level security, and the index on every generation of the timeline."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute(f"""
      CREATE TABLE ops.simulations (
        simulation_id {_ID} PRIMARY KEY, tenant_id {_ID} CHECK (tenant_id <> ''),
        kind {_ID} CHECK (kind IN ('what_if', 'shadow')),
        state {_ID} CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        request jsonb NOT NULL, done bigint NOT NULL DEFAULT 0, total bigint NOT NULL DEFAULT 0,
        problem text NOT NULL DEFAULT '', report text NOT NULL DEFAULT '', page text NOT NULL DEFAULT '',
        actor text NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,
        leased_by text, leased_until timestamptz)""")
    op.execute("CREATE INDEX simulations_tenant ON ops.simulations (tenant_id, kind, created_at DESC)")
    op.execute("ALTER TABLE ops.simulations ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant ON ops.simulations TO incidents_api"
        " USING (tenant_id = current_setting('incidents.tenant', true))"
        " WITH CHECK (tenant_id = current_setting('incidents.tenant', true))"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ops.simulations TO incidents_api, incidents_projector")
    for (table,) in op.get_bind().execute(_TIMELINES).fetchall():
        op.execute(
            f"CREATE INDEX {table}_configured ON read_data.{table} (tenant_id, tenantsequence)"
            " WHERE type = 'com.incidents.configured.v1'"
        )


def downgrade() -> None:
    """Drop both; jobs can be asked for again."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for (table,) in op.get_bind().execute(_TIMELINES).fetchall():
        op.execute(f"DROP INDEX read_data.{table}_configured")
    op.execute("DROP TABLE ops.simulations")
