"""Read models of tickets in other systems and of the conflicts of their fields, behind RLS."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = 'text COLLATE "C" NOT NULL'
_TENANT = f"tenant_id {_ID} CHECK (tenant_id <> '')"

_TABLES = {
    "tickets": f"""
      {_TENANT}, ticket_id {_ID}, incident_id {_ID}, connector {_ID}, integration_id {_ID},
      external_id text NOT NULL, external_key text NOT NULL, url text NOT NULL,
      state {_ID} CHECK (state IN ('creating', 'linking', 'linked', 'failed', 'gone', 'unlinked', 'archived')),
      in_step boolean NOT NULL, mapping_version bigint NOT NULL, version bigint NOT NULL,
      under_way text NOT NULL, last_action text NOT NULL, last_result text NOT NULL, last_failure text NOT NULL,
      last_at timestamptz, checked_at timestamptz, since timestamptz NOT NULL,
      open_conflicts bigint NOT NULL, waiting_conflicts bigint NOT NULL, drifted_fields bigint NOT NULL,
      fields jsonb NOT NULL, tenantsequence bigint NOT NULL,
      event_id {_ID}, topic_partition integer NOT NULL, topic_offset bigint NOT NULL,
      PRIMARY KEY (tenant_id, ticket_id)""",
    "ticket_conflicts": f"""
      {_TENANT}, conflict_id {_ID}, ticket_id {_ID}, connector {_ID}, integration_id {_ID},
      field {_ID}, external_field {_ID}, kind {_ID}, owner {_ID}, policy {_ID}, mapping_version bigint NOT NULL,
      result {_ID} CHECK (result IN ('ours', 'theirs', 'kept', 'waiting')),
      ours text NOT NULL, theirs text NOT NULL, base_ours text NOT NULL, base_theirs text NOT NULL,
      base_known boolean NOT NULL, updated_by text NOT NULL, explanation text NOT NULL,
      since timestamptz NOT NULL, ended_at timestamptz,
      ended {_ID} CHECK (ended IN ('', 'ours', 'theirs', 'value', 'agreement', 'unlinked')),
      value text NOT NULL, ended_by text NOT NULL,
      PRIMARY KEY (tenant_id, conflict_id)""",
}

_GENERATIONS = text(
    "SELECT relname FROM pg_class WHERE relnamespace = 'read_data'::regnamespace AND relkind = 'r'"
    " AND relname ~ '^(tickets|ticket_conflicts)_g[0-9]+$' ORDER BY relname"
)
_APART = "open_conflicts > 0 OR drifted_fields > 0 OR state IN ('failed', 'gone')"
_NEWEST = "(tenant_id, since DESC, conflict_id DESC)"
_INDEXES = (
    "CREATE INDEX tickets_g1_since ON read_data.tickets_g1 (tenant_id, since DESC, ticket_id DESC)",
    "CREATE INDEX tickets_g1_incident ON read_data.tickets_g1 (tenant_id, incident_id)",
    f"CREATE INDEX tickets_g1_apart ON read_data.tickets_g1 (tenant_id) WHERE {_APART}",
    f"CREATE INDEX ticket_conflicts_g1_since ON read_data.ticket_conflicts_g1 {_NEWEST}",
    "CREATE INDEX ticket_conflicts_g1_ticket ON read_data.ticket_conflicts_g1 (tenant_id, ticket_id)",
    f"CREATE INDEX ticket_conflicts_g1_open ON read_data.ticket_conflicts_g1 {_NEWEST} WHERE ended = ''",
)


def upgrade() -> None:
    """Create the first generation and its views; the projector fills it from the beginning of the log."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for name, columns in _TABLES.items():
        table = f"read_data.{name}_g1"
        op.execute(f"CREATE TABLE {table} ({columns})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON {table} USING (tenant_id = current_setting('incidents.tenant', true))"
            " WITH CHECK (tenant_id = current_setting('incidents.tenant', true))"
        )
        op.execute(f"GRANT SELECT ON {table} TO incidents_api")
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO incidents_projector")
        op.execute(f"CREATE VIEW read.{name} WITH (security_invoker = true) AS TABLE {table}")
        op.execute(f"GRANT SELECT ON read.{name} TO incidents_api, incidents_projector")
    op.execute("INSERT INTO ops.projection_active VALUES ('tickets', 1), ('ticket_conflicts', 1)")
    for statement in _INDEXES:
        op.execute(statement)


def downgrade() -> None:
    """Drop every generation; they can be rebuilt from the record."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("DELETE FROM ops.projection_checkpoints WHERE projection = 'tickets'")
    op.execute("DELETE FROM ops.projection_active WHERE projection IN ('tickets', 'ticket_conflicts')")
    for name in _TABLES:
        op.execute(f"DROP VIEW read.{name}")
    for (table,) in op.get_bind().execute(_GENERATIONS).fetchall():
        op.execute(f"DROP TABLE read_data.{table}")
