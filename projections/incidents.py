"""Incidents as they are now, with the state of each of their alerts: folded in memory, then written once a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Any, get_args

from projections import incident_alerts, incident_rows
from projections.base import Record, bounded
from projections.connections import Connection
from projections.incident_alerts import AlertState, Key
from projections.incident_rows import IncidentRow, fold, to_incident
from projections.staging import Staging, excluded
from streams.domain import events
from streams.domain.catalogue import Topic
from streams.domain.incident import Incident

_STATE = attrgetter(*tuple(incident_alerts.COLUMNS)[3:])
Name = tuple[str, str]
"""Tenant and incident id."""

_TENANT_EVENTS = get_args(events.TenantEvent)
_REGROUPING = (events.Merged, events.Split)

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
WITH moved AS (
  DELETE FROM {table} WHERE tenant_id = %s AND incident_id = %s AND (%s::text[] IS NULL OR alert_key = ANY (%s))
  RETURNING *)
INSERT INTO {table} AS t ({columns})
SELECT tenant_id, %s, {rest} FROM moved
ON CONFLICT (tenant_id, incident_id, alert_key) DO UPDATE SET
  firing = CASE WHEN excluded.last_seen > t.last_seen THEN excluded.firing
                WHEN excluded.last_seen < t.last_seen THEN t.firing ELSE excluded.firing AND t.firing END,
  occurrences = t.occurrences + excluded.occurrences,
  first_seen = least(t.first_seen, excluded.first_seen),
  last_seen = greatest(t.last_seen, excluded.last_seen)
"""


class Incidents:
    """Writes ``incidents`` and ``incident_alerts``."""

    name = "incidents"
    topic: Topic = "incident-events"
    whole_log = True
    early = ("pkey",)

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        rows, states = (f"read_data.{name}_g{generation}" for name in ("incidents", "incident_alerts"))
        self.tables = (rows, states)
        self._rows = Staging(
            rows,
            incident_rows.COLUMNS,
            f"(tenant_id, incident_id) DO UPDATE SET {excluded(incident_rows.COLUMNS, 2)}"
            " WHERE t.sequence < excluded.sequence",
        )
        self._states = Staging(
            states,
            incident_alerts.COLUMNS,
            f"(tenant_id, incident_id, alert_key) DO UPDATE SET {excluded(incident_alerts.COLUMNS, 3)}",
        )
        columns = tuple(incident_alerts.COLUMNS)
        self._select_rows = _SELECT_ROWS.format(columns=", ".join(incident_rows.COLUMNS), table=rows).encode()
        self._select_states = _SELECT_STATES.format(columns=", ".join(columns), table=states).encode()
        self._move = _MOVE.format(table=states, columns=", ".join(columns), rest=", ".join(columns[2:])).encode()

    def prepare(self, connection: Connection) -> None:
        """Create the temporary tables."""
        self._rows.prepare(connection)
        self._states.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Fold the events into their incidents' rows; merge and split move the alerts' states before what follows."""
        return self._write(connection, records, filling=False)

    def fill(self, connection: Connection, records: Sequence[Record]) -> int:
        """As ``apply``: later events change earlier rows, but an incident that begins here has none yet."""
        return self._write(connection, records, filling=True)

    def unify(self, connection: Connection) -> None:
        """Nothing: the tables have their keys from the beginning."""

    def _write(self, connection: Connection, records: Sequence[Record], *, filling: bool) -> int:
        written = 0
        for part in _up_to_moves(records):
            written += self._fold(connection, _histories(part), filling=filling)
            last = part[-1]
            if _moves_alerts(last):
                keys = _moved_keys(last.data)
                envelope = last.envelope
                connection.execute(self._move, (envelope.tenantid, envelope.subject, keys, keys, last.data.other))
        return written

    def _fold(self, connection: Connection, histories: Mapping[Name, list[Record]], *, filling: bool) -> int:
        """Fold and write what happened to each incident.

        While ``filling``, nothing is there yet of incidents that begin here: alerts move to them later.
        """
        begun = {name for name, history in histories.items() if filling and history[0].envelope.sequence == 1}
        about = {name: incident_alerts.said(*name, history) for name, history in histories.items()}
        incidents = self._load_incidents(connection, histories.keys() - begun)
        there = {key for name, said in about.items() if name not in begun for _, keys, _ in said for key in keys}
        states = self._load_states(connection, there)
        rows: list[tuple[Any, ...]] = []
        touched: set[Key] = set()
        for name in sorted(histories):
            incident = incidents.get(name)
            known = incident.sequence if incident else 0
            due = [record for record in histories[name] if record.envelope.sequence > known]
            if due:
                rows.append(incident_rows.stored(incident_rows.values(fold(incident, due), due[-1])))
            for sequence, keys, data in about[name]:
                if sequence > known:
                    incident_alerts.change(states, keys, data)
                    touched.update(keys)
        self._rows.load(connection, rows)
        self._states.load(connection, [(*key, *_STATE(states[key])) for key in sorted(touched)])
        return len(rows) + len(touched)

    def _load_incidents(self, connection: Connection, names: AbstractSet[Name]) -> dict[Name, Incident]:
        wanted = _columns(names, 2)
        found = connection.execute(self._select_rows, wanted, binary=True) if names else ()
        return {(row[0], row[1]): to_incident(IncidentRow(*row)) for row in found}

    def _load_states(self, connection: Connection, keys: AbstractSet[Key]) -> dict[Key, AlertState]:
        wanted = _columns(keys, 3)
        found = connection.execute(self._select_states, wanted, binary=True) if keys else ()
        return {(row[0], row[1], row[2]): AlertState(*row[3:]) for row in found}


def _name(record: Record) -> Name:
    return record.envelope.tenantid, record.envelope.subject


def _histories(records: Iterable[Record]) -> dict[Name, list[Record]]:
    """The events of each incident, in their order."""
    found: dict[Name, list[Record]] = {}
    for record in records:
        name = _name(record)
        history = found.get(name)
        if history is None:
            history = found[name] = []
        history.append(record)
    return found


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows to columns, as ``unnest`` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _moves_alerts(record: Record) -> bool:
    return isinstance(record.data, _REGROUPING) and record.data.role == "source"


def _moved_keys(data: events.Merged | events.Split) -> list[str] | None:
    """The keys of the alerts that leave the incident, as rows hold them; None for all."""
    return [bounded(alert.alert_key) for alert in data.alerts] if isinstance(data, events.Split) else None


def _up_to_moves(records: Sequence[Record]) -> Iterator[list[Record]]:
    """The events of incidents, in parts of which only the last may move alerts away."""
    part: list[Record] = []
    for record in records:
        if isinstance(record.data, _TENANT_EVENTS):
            continue
        part.append(record)
        if _moves_alerts(record):
            yield part
            part = []
    if part:
        yield part
