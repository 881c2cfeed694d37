"""Read models of the files and links of incidents, behind RLS."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = 'text COLLATE "C" NOT NULL'
_TENANT = f"tenant_id {_ID} CHECK (tenant_id <> '')"
_PLACE = (
    f"tenantsequence bigint NOT NULL, event_id {_ID}, topic_partition integer NOT NULL, topic_offset bigint NOT NULL"
)
_REMOVED = "removed_by text NOT NULL, removed_at timestamptz"

_TABLES = {
    "attachments": f"""
      {_TENANT}, attachment_id {_ID}, incident_id {_ID}, file_name text NOT NULL, media_type text NOT NULL,
      size bigint NOT NULL, sha256 {_ID}, actor text NOT NULL, how {_ID} CHECK (how IN ('uploaded', 'ticket')),
      via {_ID}, ticket_id {_ID}, external_id text NOT NULL, problem text NOT NULL, added_at timestamptz NOT NULL,
      state {_ID} CHECK (state IN ('held', 'left', 'removed')), {_REMOVED}, {_PLACE},
      PRIMARY KEY (tenant_id, attachment_id)""",
    "links": f"""
      {_TENANT}, link_id {_ID}, incident_id {_ID}, url text NOT NULL, title text NOT NULL, actor text NOT NULL,
      added_at timestamptz NOT NULL, state {_ID} CHECK (state IN ('there', 'removed')), {_REMOVED}, {_PLACE},
      PRIMARY KEY (tenant_id, link_id)""",
}

_GENERATIONS = text(
    "SELECT relname FROM pg_class WHERE relnamespace = 'read_data'::regnamespace AND relkind = 'r'"
    " AND relname ~ '^(attachments|links)_g[0-9]+$' ORDER BY relname"
)
_NEWEST = "tenant_id, incident_id, added_at DESC"
_INDEXES = (
    f"CREATE INDEX attachments_g1_incident ON read_data.attachments_g1 ({_NEWEST}, attachment_id DESC)",
    f"CREATE INDEX links_g1_incident ON read_data.links_g1 ({_NEWEST}, link_id DESC)",
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
    op.execute("INSERT INTO ops.projection_active VALUES ('attachments', 1), ('links', 1)")
    for statement in _INDEXES:
        op.execute(statement)


def downgrade() -> None:
    """Drop every generation; they can be rebuilt from the record."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("DELETE FROM ops.projection_checkpoints WHERE projection = 'attachments'")
    op.execute("DELETE FROM ops.projection_active WHERE projection IN ('attachments', 'links')")
    for name in _TABLES:
        op.execute(f"DROP VIEW read.{name}")
    for (table,) in op.get_bind().execute(_GENERATIONS).fetchall():
        op.execute(f"DROP TABLE read_data.{table}")
