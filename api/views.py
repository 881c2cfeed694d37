"""Rows of the read models as JSON documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from projections.incident_rows import IncidentRow
from projections.queries.alerts import AlertRow, IncidentAlertRow
from projections.queries.board import Board


def incident_view(row: IncidentRow) -> dict[str, Any]:
    """An incident as REST shows it."""
    return {
        "id": row.incident_id,
        "number": row.number,
        "key": f"INC-{row.number}",
        "title": row.title,
        "status": row.status,
        "severity": row.severity,
        "service": row.service,
        "description": row.description,
        "assignee": row.assignee or None,
        "acknowledged_by": row.acknowledged_by or None,
        "acknowledged_at": row.acknowledged_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "resolved_at": row.resolved_at,
        "closed_at": row.closed_at,
        "archived_at": row.archived_at,
        "revision": row.revision,
        "sequence": row.sequence,
        "alert_count": row.alert_count,
        "repeat_count": row.repeat_count,
        "firing_count": row.firing_count,
        "first_signal_at": row.first_signal_at,
        "last_signal_at": row.last_signal_at,
        "merged_into": row.merged_into or None,
        "related_to": row.related_to or None,
        "relation": row.relation or None,
        "rule": row.rule,
        "correlation_key": row.correlation_key,
        "family": [{"incident_id": id_, "role": role, "service": service} for id_, role, service in row.family],
    }


def alert_view(row: AlertRow) -> dict[str, Any]:
    """What became of one signal."""
    return {
        "source": row.source,
        "id": row.signal_id,
        "disposition": row.disposition,
        "status": row.signal_status,
        "incident_id": row.incident_id or None,
        "alert_key": row.alert_key,
        "fingerprint": row.fingerprint,
        "title": row.title,
        "severity": row.severity,
        "service": row.service,
        "host": row.host,
        "error_type": row.error_type,
        "rule": row.rule,
        "kind": row.kind,
        "connector": row.connector,
        "integration_id": row.integration_id,
        "external_id": row.external_id,
        "correlation": {
            "rule": row.correlation_rule,
            "version": row.correlation_version,
            "key": row.correlation_key,
        },
        "links": row.links,
        "labels": row.labels,
        "reason": row.reason,
        "event_at": row.event_at,
        "recorded_at": row.recorded_at,
    }


def alert_state_view(row: IncidentAlertRow) -> dict[str, Any]:
    """One alert of an incident over its whole life."""
    return {
        "alert_key": row.alert_key,
        "firing": row.firing,
        "occurrences": row.occurrences,
        "first_seen": row.first_seen,
        "last_seen": row.last_seen,
        "title": row.title,
        "fingerprint": row.fingerprint,
        "connector": row.connector,
        "integration_id": row.integration_id,
        "external_id": row.external_id,
    }


def board_view(board: Board) -> dict[str, Any]:
    """The board as REST shows it."""
    return {
        "columns": [
            {"status": c.status, "count": c.count, "incidents": [incident_view(row) for row in c.cards]}
            for c in board.columns
        ],
        "sync": asdict(board.sync),
    }
