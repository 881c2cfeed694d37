"""Roles and schemas: who may do what, before there is anything to do it with (R10)."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Roles belong to the whole cluster: another database's migration may create them at the same moment.
_ROLE = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN
    BEGIN
      CREATE ROLE {name} {attributes};
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END IF;
  IF NOT pg_has_role(current_user, '{name}', 'MEMBER') THEN
    EXECUTE format('GRANT {name} TO %I', current_user);
  END IF;
END $$
"""

_UPGRADE = (
    _ROLE.format(name="incidents_api", attributes="NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"),
    _ROLE.format(name="incidents_projector", attributes="NOLOGIN NOSUPERUSER BYPASSRLS NOCREATEDB NOCREATEROLE"),
    "CREATE SCHEMA read_data",
    "CREATE SCHEMA read",
    "COMMENT ON SCHEMA ops IS 'Operational state that the log does not hold: backed up.'",
    "COMMENT ON SCHEMA read_data IS 'Generations of the read models: can be thrown away and rebuilt.'",
    "COMMENT ON SCHEMA read IS 'Views of the active generations: what readers use.'",
    "GRANT USAGE ON SCHEMA ops, read_data, read TO incidents_api, incidents_projector",
    "GRANT SELECT ON ops.alembic_version TO incidents_api, incidents_projector",
)


def upgrade() -> None:
    """Create what is absent; roles that an administrator made before are taken as they are."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop the schemas; the roles stay, because other databases of the cluster may use them."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("DROP SCHEMA read")
    op.execute("DROP SCHEMA read_data")
    op.execute("REVOKE SELECT ON ops.alembic_version FROM incidents_api, incidents_projector")
    op.execute("REVOKE USAGE ON SCHEMA ops FROM incidents_api, incidents_projector")
    op.execute("COMMENT ON SCHEMA ops IS NULL")
