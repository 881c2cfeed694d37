"""How far the lists of changed tickets were read, and who reads them now."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = 'text COLLATE "C" NOT NULL'
_INTEGRATION = f"""
      integration_id {_ID} PRIMARY KEY, tenant_id {_ID} CHECK (tenant_id <> ''),
      FOREIGN KEY (tenant_id, integration_id) REFERENCES ops.integrations (tenant_id, integration_id)"""

_TABLES = {
    # Backed up: a lost cursor would mean a lost change. What changes with every look is in the other table.
    "poll_cursors": f"""{_INTEGRATION},
      updated_at bigint NOT NULL, external_id text NOT NULL, began bigint NOT NULL""",
    "polls": f"""{_INTEGRATION},
      next_poll_at timestamptz NOT NULL, polled_at timestamptz, failures integer NOT NULL DEFAULT 0,
      last_error text NOT NULL DEFAULT '', leased_by text, leased_until timestamptz""",
}


def upgrade() -> None:
    """Create both tables; the API may read those of its tenant."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for name, columns in _TABLES.items():
        op.execute(f"CREATE TABLE ops.{name} ({columns})")
        op.execute(f"ALTER TABLE ops.{name} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON ops.{name} TO incidents_api"
            " USING (tenant_id = current_setting('incidents.tenant', true))"
            " WITH CHECK (tenant_id = current_setting('incidents.tenant', true))"
        )
        op.execute(f"GRANT SELECT ON ops.{name} TO incidents_api")
        op.execute(f"GRANT SELECT, INSERT, UPDATE ON ops.{name} TO incidents_projector")
    op.execute("CREATE INDEX polls_due ON ops.polls (next_poll_at)")


def downgrade() -> None:
    """Drop both tables; unlike the read models they cannot be rebuilt."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for name in reversed(_TABLES):
        op.execute(f"DROP TABLE ops.{name}")
