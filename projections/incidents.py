"""Incidents as they are now, with the state of each of their alerts: folded in memory, then written once a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, get_args

from projections import incident_alerts, incident_rows
from projections.base import Record
from projections.connections import Connection
from projections.incident_alerts import AlertEvent, AlertState, Key
from projections.incident_rows import IncidentRow, fold, to_incident
from projections.staging import Staging
from streams.domain import events
from streams.domain.catalogue import Topic
from streams.domain.incident import Incident

_MOST_KNOWN = 100_000
_STATE = attrgetter(*tuple(incident_alerts.COLUMNS)[3:])
Name = tuple[str, str]
"""Tenant and incident id."""

_TENANT_EVENTS = get_args(events.TenantEvent)

_SELECT_ROWS = """
SELECT {columns} FROM {table}
WHERE (tenant_id, incident_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_SELECT_STATES = """
SELECT {columns} FROM {table}
WHERE (tenant_id, incident_id, alert_key) IN (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]))
"""
# Both incidents may hold the same alert: it becomes one, and the newer of the two says whether it fires.
_MOVE = """
WITH moved AS (DELETE FROM {table} WHERE tenant_id = %s AND incident_id = %s RETURNING *)
INSERT INTO {table} AS t ({columns})
SELECT tenant_id, %s, {rest} FROM moved
ON CONFLICT (tenant_id, incident_id, alert_key) DO UPDATE SET
  firing = CASE WHEN excluded.last_seen > t.last_seen THEN excluded.firing
                WHEN excluded.last_seen < t.last_seen THEN t.firing ELSE excluded.firing AND t.firing END,
  occurrences = t.occurrences + excluded.occurrences,
  first_seen = least(t.first_seen, excluded.first_seen),
  last_seen = greatest(t.last_seen, excluded.last_seen)
"""


@dataclass(slots=True)
class Known:
    """Incidents and alerts that were written last: a history is filled in its order, so they are wanted again."""

    incidents: dict[Name, Incident] = field(default_factory=dict)
    states: dict[Key, AlertState] = field(default_factory=dict)

    def shrink(self) -> None:
        """Keep memory bounded: forget all rather than choose."""
        for kept in (self.incidents, self.states):
            if len(kept) > _MOST_KNOWN:
                kept.clear()


class Incidents:
    """Writes ``incidents`` and ``incident_alerts``."""

    name = "incidents"
    topic: Topic = "incident-events"
    whole_log = True
    keyed = True

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        rows, states = (f"read_data.{name}_g{generation}" for name in ("incidents", "incident_alerts"))
        self.tables = (rows, states)
        self._rows = Staging(
            rows,
            incident_rows.COLUMNS,
            f"(tenant_id, incident_id) DO UPDATE SET {_excluded(incident_rows.COLUMNS, 2)}"
            " WHERE t.sequence < excluded.sequence",
        )
        self._states = Staging(
            states,
            incident_alerts.COLUMNS,
            f"(tenant_id, incident_id, alert_key) DO UPDATE SET {_excluded(incident_alerts.COLUMNS, 3)}",
        )
        columns = tuple(incident_alerts.COLUMNS)
        self._select_rows = _SELECT_ROWS.format(columns=", ".join(incident_rows.COLUMNS), table=rows).encode()
        self._select_states = _SELECT_STATES.format(columns=", ".join(columns), table=states).encode()
        self._known: Known | None = None
        self._move = _MOVE.format(table=states, columns=", ".join(columns), rest=", ".join(columns[2:])).encode()

    def prepare(self, connection: Connection) -> None:
        """Create the temporary tables."""
        self._rows.prepare(connection)
        self._states.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Fold the events into their incidents' rows; a merge moves the alerts' states before what follows it."""
        written = 0
        for part in _up_to_merges(records):
            written += self._apply(connection, part)
            last = part[-1]
            if _is_merge(last):
                moved = (last.envelope.tenantid, last.envelope.subject, last.data.other)
                connection.execute(self._move, moved)
                self._rows.clear(connection)
                self._states.clear(connection)
                if self._known is not None:
                    self._known.states.clear()
        return written

    def fill(self, connection: Connection, records: Sequence[Record]) -> int:
        """As ``apply``; what was written before is remembered, since nobody else writes these rows.

        After a transaction that was rolled back a new instance must go on.
        """
        self._known = self._known or Known()
        self._known.shrink()
        return self.apply(connection, records)

    def _apply(self, connection: Connection, records: Sequence[Record]) -> int:
        incidents = self._load_incidents(connection, {(r.envelope.tenantid, r.envelope.subject) for r in records})
        states = self._load_states(connection, records)
        last: dict[Name, Record] = {}
        touched: dict[Key, None] = {}
        for record in records:
            envelope, data = record.envelope, record.data
            name = envelope.tenantid, envelope.subject
            before = incidents.get(name)
            if before is not None and envelope.sequence <= before.sequence:
                continue
            incidents[name] = fold(before, envelope, data)
            last[name] = record
            if isinstance(data, AlertEvent):
                incident_alerts.change(states, *name, data)
                touched.update(dict.fromkeys(incident_alerts.keys(*name, data)))
        self._rows.load(
            connection,
            [incident_rows.stored(incident_rows.values(incidents[name], last[name])) for name in sorted(last)],
        )
        self._states.load(connection, [(*key, *_STATE(states[key])) for key in sorted(touched)])
        if self._known is not None:
            self._known.incidents.update(incidents)
            self._known.states.update(states)
        return len(last) + len(touched)

    def _load_incidents(self, connection: Connection, names: set[Name]) -> dict[Name, Incident]:
        known = {name: one for name in names if (one := self._known.incidents.get(name))} if self._known else {}
        wanted = _columns((name for name in names if name not in known), 2)
        found = connection.execute(self._select_rows, wanted, binary=True) if wanted[0] else ()
        return known | {(row[0], row[1]): to_incident(IncidentRow(*row)) for row in found}

    def _load_states(self, connection: Connection, records: Iterable[Record]) -> dict[Key, AlertState]:
        keys = {
            key
            for record in records
            if isinstance(record.data, AlertEvent)
            for key in incident_alerts.keys(record.envelope.tenantid, record.envelope.subject, record.data)
        }
        known = {key: one for key in keys if (one := self._known.states.get(key))} if self._known else {}
        wanted = _columns((key for key in keys if key not in known), 3)
        found = connection.execute(self._select_states, wanted, binary=True) if wanted[0] else ()
        return known | {(row[0], row[1], row[2]): AlertState(*row[3:]) for row in found}


def _excluded(columns: Iterable[str], key_length: int) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in tuple(columns)[key_length:])


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows to columns, as ``unnest`` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _is_merge(record: Record) -> bool:
    return isinstance(record.data, events.Merged) and record.data.role == "source"


def _up_to_merges(records: Sequence[Record]) -> Iterator[list[Record]]:
    """The events of incidents, in parts of which only the last may be a merge."""
    part: list[Record] = []
    for record in records:
        if isinstance(record.data, _TENANT_EVENTS):
            continue
        part.append(record)
        if _is_merge(record):
            yield part
            part = []
    if part:
        yield part
