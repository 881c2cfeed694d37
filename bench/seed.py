"""A store as large as one likes: incidents, their events and their alerts, made by PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Sequence

from projections.connections import connect
from streams.runtime.settings import DatabaseSettings

# Each tenant has its own numbers; statuses, severities and services are spread as they are in a product that is used.
_INCIDENTS = """
INSERT INTO read_data.incidents_g1 (tenant_id, incident_id, number, title, status, severity, service, description,
  assignee, acknowledged_by, created_at, updated_at, revision, sequence, alert_count, repeat_count, firing_count,
  first_signal_at, last_signal_at, merged_into, related_to, relation, rule, correlation_key, event_id, topic_partition,
  topic_offset)
SELECT %(tenant)s, md5(%(tenant)s || n)::uuid::text, n, 'HighRequestLatency on svc-' || n %% 200,
  CASE WHEN n %% 50 = 0 THEN 'open' WHEN n %% 50 = 1 THEN 'mitigated' WHEN n %% 10 = 2 THEN 'resolved' ELSE 'closed'
  END,
  'SEV-' || 1 + n %% 5, 'svc-' || n %% 200, '', CASE WHEN n %% 3 = 0 THEN 'ada' ELSE '' END, '', at, at, 1, 3, 3, 0, 1,
  at, at, '', '', '', 'service-error', 'service-error:1:' || n, md5(%(tenant)s || n || 'e'), 0, n * 3
FROM generate_series(1, %(count)s) AS n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 minute' AS at)
"""
_EVENTS = """
INSERT INTO read_data.timeline_entries_g1 (tenant_id, incident_id, sequence, tenantsequence, type, recorded_at, actor,
  data, causation_id, correlation_id, prev_hash, hash, data_digest, data_salt, intake_span, decider, event_id,
  topic_partition, topic_offset)
SELECT %(tenant)s, md5(%(tenant)s || (n - 1) / 3 + 1)::uuid::text, (n - 1) %% 3 + 1, n,
  CASE (n - 1) %% 3 WHEN 0 THEN 'com.incidents.declared.v1' ELSE 'com.incidents.alerts_repeated.v1' END,
  timestamptz '2026-01-01' + n * interval '20 second', 'system:correlation',
  CASE (n - 1) %% 3 WHEN 0 THEN jsonb_build_object('number', (n - 1) / 3 + 1, 'title', 'HighRequestLatency',
    'severity', 'SEV-3', 'status', 'open', 'service', 'svc-1') ELSE jsonb_build_object('alerts', '[]'::jsonb) END,
  md5('c' || n), md5('r' || n), md5('p' || n), md5('h' || n), md5('d' || n), md5('s' || n), '0:1:2', '1',
  md5(%(tenant)s || n || 'event'), 0, n
FROM generate_series(1, %(count)s) AS n
"""
_ALERTS = """
INSERT INTO read_data.alerts_g1 (tenant_id, source, signal_id, disposition, signal_status, incident_id, alert_key,
  fingerprint, title, severity, service, host, error_type, rule, kind, connector, integration_id, external_id,
  correlation_rule, correlation_version, correlation_key, links, labels, reason, event_at, recorded_at, event_id,
  topic_partition, topic_offset)
SELECT %(tenant)s, '/integrations/alertmanager/int_seed', md5(%(tenant)s || n) || md5('x' || n), 'attached', 'firing',
  md5(%(tenant)s || (n - 1) / 3 + 1)::uuid::text, left(md5('k' || n), 24), left(md5('f' || n), 16),
  'HighRequestLatency', 'SEV-3', 'svc-' || n %% 200, '10.0.0.1:9100',
  'HighRequestLatency', 'HighRequestLatency', 'alert',
  'alertmanager', 'int_seed', '', 'service-error', 1, 'service-error:1:1', '{}', '{"cluster": "eu-central-1-prod"}', '',
  timestamptz '2026-01-01' + n * interval '20 second', timestamptz '2026-01-01' + n * interval '20 second',
  md5(%(tenant)s || n || 'event'), 0, n
FROM generate_series(1, %(count)s) AS n
"""
_TABLES = ("incidents_g1", "timeline_entries_g1", "alerts_g1")


def seed(database: DatabaseSettings, tenants: Sequence[str], incidents: int) -> None:
    """So many incidents in all, each with three events and three alerts, spread evenly over the tenants."""
    with connect(database, "owner", name="bench", autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for tenant in tenants:
            count = incidents // len(tenants)
            for statement, each in ((_INCIDENTS, 1), (_EVENTS, 3), (_ALERTS, 3)):
                connection.execute(statement, {"tenant": tenant, "count": count * each})
        for table in _TABLES:
            connection.execute(f"VACUUM (ANALYZE) read_data.{table}".encode())
        connection.execute("CHECKPOINT")
