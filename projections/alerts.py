"""Alerts: one row for each signal that was accepted, with the one disposition it ended in (design section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from projections.base import Record, bounded, instant
from projections.connections import Connection
from projections.decoding import jsonb
from projections.staging import Staging
from streams.domain import events
from streams.domain.catalogue import Topic
from streams.domain.signals import ProviderIngested, SignalStatus

Disposition = Literal["attached", "repeated", "kept_raw", "refused", "dead_lettered"]

COLUMNS = {
    "tenant_id": "text",
    "source": "text",
    "signal_id": "text",
    "disposition": "text",
    "signal_status": "text",
    "incident_id": "text",
    "alert_key": "text",
    "fingerprint": "text",
    "title": "text",
    "severity": "text",
    "service": "text",
    "host": "text",
    "error_type": "text",
    "rule": "text",
    "kind": "text",
    "connector": "text",
    "integration_id": "text",
    "external_id": "text",
    "correlation_rule": "text",
    "correlation_version": "int8",
    "correlation_key": "text",
    "links": "jsonb",
    "labels": "jsonb",
    "reason": "text",
    "event_at": "timestamptz",
    "recorded_at": "timestamptz",
    "event_id": "text",
    "topic_partition": "int4",
    "topic_offset": "int8",
}
Row = tuple[Any, ...]

_EMPTY = jsonb({})
_NOT_SIGNALS = ("com.incidents.command.", "com.incidents.config.")


def rows(record: Record) -> Iterator[Row]:
    """The rows of one event, in the order of ``COLUMNS``; most events have none.

    A refused command or configuration is no signal and has none either: its sender is told by ``command-results``.
    """
    match record.data:
        case events.AlertsAttached(alerts):
            return (_attached(record, alert) for alert in alerts)
        case events.AlertsRepeated(alerts):
            return (_referring(record, alert, "repeated", "firing") for alert in alerts)
        case events.AlertsResolved(alerts):
            return (_referring(record, alert, "attached", "resolved") for alert in alerts)
        case ProviderIngested() as kept:
            return iter((_kept_raw(record, kept),))
        case events.IntakeRefused() as refused if not refused.type.startswith(_NOT_SIGNALS):
            return iter((_refused(record, refused),))
    return iter(())


def _provenance(record: Record) -> Row:
    return (record.envelope.id, record.partition, record.offset)


def _attached(record: Record, alert: events.Alert) -> Row:
    return (
        record.envelope.tenantid,
        bounded(alert.source),
        bounded(alert.id),
        "attached",
        "firing",
        record.envelope.subject,
        bounded(alert.alert_key),
        bounded(alert.fingerprint),
        alert.title,
        alert.severity,
        bounded(alert.service),
        alert.host,
        alert.error_type,
        alert.rule,
        alert.kind,
        alert.connector,
        alert.integration_id,
        alert.external_id,
        alert.correlation_rule,
        alert.correlation_version,
        alert.correlation_key,
        jsonb(alert.links) if alert.links else _EMPTY,
        jsonb(alert.labels) if alert.labels else _EMPTY,
        "",
        instant(alert.event_time or alert.recorded_time),
        instant(alert.recorded_time or record.envelope.recordedtime),
        *_provenance(record),
    )


def _referring(record: Record, alert: events.AlertRef, disposition: Disposition, status: SignalStatus) -> Row:
    return (
        record.envelope.tenantid,
        bounded(alert.source),
        bounded(alert.id),
        disposition,
        status,
        record.envelope.subject,
        bounded(alert.alert_key),
        bounded(alert.fingerprint),
        alert.title,
        *[""] * 6,
        alert.connector,
        alert.integration_id,
        *["", "", 0, "", _EMPTY, _EMPTY, ""],
        instant(alert.event_time or alert.recorded_time),
        instant(alert.recorded_time or record.envelope.recordedtime),
        *_provenance(record),
    )


def _kept_raw(record: Record, kept: ProviderIngested) -> Row:
    recorded = instant(record.envelope.recordedtime)
    return (
        record.envelope.tenantid,
        bounded(kept.delivery_source),
        bounded(kept.delivery_id),
        *["kept_raw", "", "", "", "", kept.provider_type],
        *[""] * 6,
        kept.connector,
        kept.integration_id,
        kept.external_id,
        *["", 0, "", _EMPTY, _EMPTY, kept.problem, recorded, recorded],
        *_provenance(record),
    )


def _refused(record: Record, refused: events.IntakeRefused) -> Row:
    """A message without an id of its own is identified by where it lies in the intake."""
    recorded = instant(record.envelope.recordedtime)
    anonymous = not refused.id
    return (
        record.envelope.tenantid,
        bounded(refused.topic if anonymous else refused.source),
        f"{refused.partition}/{refused.offset}" if anonymous else bounded(refused.id),
        *[refused.disposition, "", "", "", "", refused.type],
        *[""] * 6,
        refused.connector,
        refused.integration_id,
        *["", "", 0, "", _EMPTY, _EMPTY, f"{refused.reason}: {refused.detail}", recorded, recorded],
        *_provenance(record),
    )


_KEY = ("tenant_id", "source", "signal_id")
_REPLACES = (
    f"({', '.join(_KEY)}) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS if column not in _KEY)
    + " WHERE t.disposition = 'dead_lettered' AND excluded.disposition <> 'dead_lettered'"
)
"""The first disposition stands, but for a dead letter: replayed after a fix, it ends in what it should have been."""


def final(found: Iterable[Row]) -> list[Row]:
    """One row for each signal of a batch, chosen as ``_REPLACES`` chooses between batches."""
    chosen: dict[Row, Row] = {}
    for row in found:
        kept = chosen.setdefault(row[: len(_KEY)], row)
        if kept is not row and kept[_DISPOSITION] == "dead_lettered" and row[_DISPOSITION] != "dead_lettered":
            chosen[row[: len(_KEY)]] = row
    return list(chosen.values())


_DISPOSITION = tuple(COLUMNS).index("disposition")
_UNIFY = """
DELETE FROM {table} t USING (
  SELECT ctid AS place, row_number() OVER (PARTITION BY tenant_id, source, signal_id
    ORDER BY disposition = 'dead_lettered', topic_partition, topic_offset, ctid) AS turn FROM {table}
) others WHERE t.ctid = others.place AND others.turn > 1
"""
"""What ``_REPLACES`` and ``final`` leave, of rows that were appended without a key."""

_MOVE = "UPDATE {} SET incident_id = %s WHERE tenant_id = %s AND incident_id = %s"
_MOVE_SOME = _MOVE + " AND alert_key = ANY (%s)"


class Alerts:
    """Writes ``alerts``; those of an incident that is merged or split move to the other one."""

    name = "alerts"
    topic: Topic = "incident-events"
    whole_log = True
    early = ("incident",)  # by which alerts move; without the key, rows of the same signal wait for ``unify``

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        self.tables = (f"read_data.alerts_g{generation}",)
        self._staging = Staging(self.tables[0], COLUMNS, _REPLACES)
        self._unify = _UNIFY.format(table=self.tables[0]).encode()
        self._move = _MOVE.format(self.tables[0]).encode()
        self._move_some = _MOVE_SOME.format(self.tables[0]).encode()

    def prepare(self, connection: Connection) -> None:
        """Create the temporary table."""
        self._staging.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Insert what is new and move what has moved, in the order of the record."""
        return self._write(connection, records, lambda waiting: self._staging.load(connection, final(waiting)))

    def fill(self, connection: Connection, records: Sequence[Record]) -> int:
        """As ``apply``, but appending: of a signal that is there twice ``unify`` finds the row that counts."""
        return self._write(connection, records, lambda waiting: self._staging.append(connection, waiting))

    def unify(self, connection: Connection) -> None:
        """Leave the first row of each signal, or the first that is no dead letter."""
        connection.execute(self._unify)

    def _write(self, connection: Connection, records: Sequence[Record], write: Callable[[list[Row]], int]) -> int:
        written, waiting = 0, list[Row]()
        for record in records:
            waiting.extend(rows(record))
            data, envelope = record.data, record.envelope
            if not isinstance(data, events.Merged | events.Split) or data.role != "source":
                continue
            written += write(waiting)
            waiting.clear()
            moved = (data.other, envelope.tenantid, envelope.subject)
            if isinstance(data, events.Split):
                keys = [bounded(alert.alert_key) for alert in data.alerts]
                connection.execute(self._move_some, (*moved, keys))
            else:
                connection.execute(self._move, moved)
        return written + write(waiting)
