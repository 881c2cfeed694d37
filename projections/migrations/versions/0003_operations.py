"""Operational state: checkpoints, tenants, credentials, integrations, the outbox and timers."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = 'text COLLATE "C" NOT NULL'
_TENANT = f"tenant_id {_ID} CHECK (tenant_id <> '')"

_TABLES = {
    "projection_checkpoints": f"""
      projection {_ID}, generation integer NOT NULL, topic {_ID}, partition integer NOT NULL,
      next_offset bigint NOT NULL CHECK (next_offset >= 0), epoch bigint NOT NULL,
      PRIMARY KEY (projection, generation, topic, partition)""",
    "projection_active": f"projection {_ID} PRIMARY KEY, generation integer NOT NULL",
    "tenants": f"{_TENANT} PRIMARY KEY, created_at timestamptz NOT NULL",
    "api_tokens": f"""
      token_id {_ID} PRIMARY KEY, {_TENANT}, name text NOT NULL,
      role {_ID} CHECK (role IN ('viewer', 'responder', 'admin')),
      token_hash bytea NOT NULL UNIQUE, created_at timestamptz NOT NULL, expires_at timestamptz,
      revoked_at timestamptz, rotated_from {_ID} DEFAULT ''""",
    "integrations": f"""
      integration_id {_ID} PRIMARY KEY, {_TENANT}, connector {_ID}, name text NOT NULL,
      config jsonb NOT NULL DEFAULT '{{}}', created_at timestamptz NOT NULL, disabled_at timestamptz,
      UNIQUE (tenant_id, integration_id)""",
    "integration_secrets": f"""
      secret_id {_ID} PRIMARY KEY, integration_id {_ID}, {_TENANT}, ciphertext bytea NOT NULL,
      created_at timestamptz NOT NULL, expires_at timestamptz,
      FOREIGN KEY (tenant_id, integration_id) REFERENCES ops.integrations (tenant_id, integration_id)""",
    "outbox_events": f"""
      intent_id {_ID} PRIMARY KEY, {_TENANT}, incident_id {_ID}, connector {_ID}, integration_id {_ID},
      action {_ID}, external_id text NOT NULL, idempotency_key text NOT NULL, payload jsonb NOT NULL,
      event_id {_ID}, created_at timestamptz NOT NULL, not_after timestamptz,
      state {_ID} DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'expired')),
      attempts integer NOT NULL DEFAULT 0, next_attempt_at timestamptz NOT NULL,
      leased_by text, leased_until timestamptz, last_error text NOT NULL DEFAULT '', finished_at timestamptz,
      topic_partition integer NOT NULL, topic_offset bigint NOT NULL""",
    "timers": f"""
      timer_id {_ID} PRIMARY KEY, {_TENANT}, incident_id {_ID},
      timer {_ID} CHECK (timer IN ('close', 'archive')), due timestamptz NOT NULL,
      cause_id {_ID}, sequence bigint NOT NULL,
      state {_ID} DEFAULT 'pending' CHECK (state IN ('pending', 'fired', 'superseded'))""",
}

_INDEXES = (
    "CREATE INDEX api_tokens_tenant ON ops.api_tokens (tenant_id)",
    "CREATE INDEX integrations_tenant ON ops.integrations (tenant_id)",
    "CREATE INDEX integration_secrets_integration ON ops.integration_secrets (tenant_id, integration_id)",
    "CREATE INDEX outbox_events_pending ON ops.outbox_events (next_attempt_at) WHERE state = 'pending'",
    "CREATE INDEX outbox_events_incident ON ops.outbox_events (tenant_id, incident_id)",
    "CREATE INDEX timers_due ON ops.timers (due) WHERE state = 'pending'",
    "CREATE INDEX timers_incident ON ops.timers (tenant_id, incident_id)",
)

_API = {
    "tenants": "SELECT, INSERT, UPDATE",
    "api_tokens": "SELECT, INSERT, UPDATE",
    "integrations": "SELECT, INSERT, UPDATE",
    "integration_secrets": "SELECT, INSERT, UPDATE",
    "outbox_events": "SELECT",
    "timers": "SELECT",
}
_PROJECTOR = {
    "projection_checkpoints": "SELECT, INSERT, UPDATE",
    "projection_active": "SELECT",
    "integrations": "SELECT",
    "integration_secrets": "SELECT",
    "outbox_events": "SELECT, INSERT, UPDATE",
    "timers": "SELECT, INSERT, UPDATE",
}

# SECURITY DEFINER: the tenant is not known before the credential is. The owner is not held back by these tables'
# policies (they are not forced), and the pinned search_path keeps a caller from slipping in tables of its own.
_FUNCTIONS = (
    """
CREATE FUNCTION ops.token_by_hash(hash bytea)
RETURNS TABLE (token_id text, tenant_id text, name text, role text, created_at timestamptz, expires_at timestamptz,
               revoked_at timestamptz, rotated_from text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.token_id, t.tenant_id, t.name, t.role, t.created_at, t.expires_at, t.revoked_at, t.rotated_from
  FROM ops.api_tokens t WHERE t.token_hash = hash
$$""",
    """
CREATE FUNCTION ops.integration_by_id(id text)
RETURNS TABLE (integration_id text, tenant_id text, connector text, name text, config jsonb, created_at timestamptz,
               disabled_at timestamptz, secret_ids text[], ciphertexts bytea[], secrets_expire_at timestamptz[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT i.integration_id, i.tenant_id, i.connector, i.name, i.config, i.created_at, i.disabled_at,
         coalesce(s.secret_ids, '{}'), coalesce(s.ciphertexts, '{}'), coalesce(s.expire, '{}')
  FROM ops.integrations i
  CROSS JOIN LATERAL (
    SELECT array_agg(l.secret_id ORDER BY l.created_at DESC, l.secret_id) AS secret_ids,
           array_agg(l.ciphertext ORDER BY l.created_at DESC, l.secret_id) AS ciphertexts,
           array_agg(l.expires_at ORDER BY l.created_at DESC, l.secret_id) AS expire
    FROM ops.integration_secrets l
    WHERE l.tenant_id = i.tenant_id AND l.integration_id = i.integration_id
      AND (l.expires_at IS NULL OR l.expires_at > now())
  ) s
  WHERE i.integration_id = id
$$""",
    """
CREATE FUNCTION ops.notify_credentials() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
BEGIN
  PERFORM pg_notify('incidents_credentials',
    json_build_object('kind', TG_ARGV[0], 'id', changed ->> TG_ARGV[1])::text);
  RETURN NULL;
END $$""",
)

_NOTIFY = {
    "api_tokens": ("token", "token_id"),
    "integrations": ("integration", "integration_id"),
    "integration_secrets": ("integration", "integration_id"),
}


def upgrade() -> None:
    """Create tables, row-level security for the API, look-ups before the tenant is known, and notifications."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for name, columns in _TABLES.items():
        op.execute(f"CREATE TABLE ops.{name} ({columns})")
    for statement in (*_INDEXES, *_FUNCTIONS):
        op.execute(statement)
    _grant()
    for name, (kind, key) in _NOTIFY.items():
        op.execute(
            f"CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON ops.{name}"
            f" FOR EACH ROW EXECUTE FUNCTION ops.notify_credentials('{kind}', '{key}')"
        )
    op.execute(
        "INSERT INTO ops.projection_active VALUES ('incidents', 1), ('incident_alerts', 1),"
        " ('timeline_entries', 1), ('alerts', 1)"
    )


def _grant() -> None:
    for name, rights in _API.items():
        op.execute(f"ALTER TABLE ops.{name} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON ops.{name} TO incidents_api"
            " USING (tenant_id = current_setting('incidents.tenant', true))"
            " WITH CHECK (tenant_id = current_setting('incidents.tenant', true))"
        )
        op.execute(f"GRANT {rights} ON ops.{name} TO incidents_api")
    op.execute("GRANT SELECT ON ops.projection_checkpoints, ops.projection_active TO incidents_api")
    for name, rights in _PROJECTOR.items():
        op.execute(f"GRANT {rights} ON ops.{name} TO incidents_projector")
    for function in ("ops.token_by_hash(bytea)", "ops.integration_by_id(text)"):
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO incidents_api")


def downgrade() -> None:
    """Drop the operational state; unlike the read models it cannot be rebuilt, restore a backup."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for name in reversed(_TABLES):
        op.execute(f"DROP TABLE ops.{name}")
    for function in ("notify_credentials()", "integration_by_id(text)", "token_by_hash(bytea)"):
        op.execute(f"DROP FUNCTION ops.{function}")
