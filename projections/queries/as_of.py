"""Incidents as they were at an instant: the fold of their events up to it, by the domain's own ``evolve``.

Recorded time decides, and the instant itself is included: what was recorded later is not there, whenever it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from psycopg import sql
from psycopg.rows import args_row

from projections import incident_rows
from projections.base import Record, SequenceGap, bounded
from projections.connections import AsyncConnection
from projections.incident_rows import IncidentRow
from projections.queries.conditions import Conditions
from projections.queries.cursors import Cursor
from projections.queries.incidents import COLUMNS, IncidentFilter, Sort, get_incident, parse_cursor
from streams.codec.plain import from_json
from streams.domain import events
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope
from streams.domain.incident import Incident, evolve

_CHUNK = 100
"""Incidents that are read at a time."""
MOST_EVENTS = 50_000
"""Events that one page folds at most; it is shorter then, and the next page goes on."""

# One text for each incident: ten thousand rows cost more to receive than to fold. Of an event it has the sequence, the
# place of its type in ``_TYPES`` or 0, the recorded time, and what of its data changes an incident's row.
_EVENTS = """
SELECT h.incident_id, h.events, l.type, l.event_id, l.topic_partition, l.topic_offset FROM (
  SELECT incident_id, '[' || string_agg(event, ',' ORDER BY sequence) || ']' AS events, max(sequence) AS last FROM (
    SELECT incident_id, sequence, concat('[', sequence, ',', coalesce(array_position(%s, type), 0), ',',
      (extract(epoch FROM recorded_at) * 1000)::bigint, ',', CASE array_position(%s, type)
        WHEN 1 THEN concat(jsonb_path_query_array(data, '$.alerts[*].event_time'),
          CASE WHEN data @? '$.alerts[*].external_id ? (@ != "")' THEN concat(',', data->'alerts') END)
        WHEN 2 THEN coalesce(jsonb_array_length(data->'alerts'), 0)::text
        WHEN 3 THEN coalesce(jsonb_array_length(data->'alerts'), 0)::text
        WHEN 4 THEN '0' WHEN 5 THEN '0' WHEN 6 THEN '0'
        ELSE concat(data, ',"', type, '"') END, ']') AS event
    FROM read.timeline_entries WHERE incident_id = ANY(%s) AND recorded_at <= %s OFFSET 0
  ) e GROUP BY incident_id
) h JOIN read.timeline_entries l ON l.incident_id = h.incident_id AND l.sequence = h.last
"""
_KINDS = (
    events.AlertsAttached,
    events.AlertsResolved,
    events.AlertsRepeated,
    events.NoteAdded,
    events.EffectDelivered,
    events.EffectFailed,
)
_TYPES = [TYPE_OF[kind] for kind in _KINDS]
_MERGED = TYPE_OF[events.Merged]
_REFERENCE = events.AlertRef("", "", "", 0, 0)
"""Stands for an alert of which nothing matters but that it is there."""

_AT_ONCE = 20_000
"""Events that are held in memory together, but for those of one incident."""
_SELECT = sql.SQL("SELECT {} FROM read.incidents").format(COLUMNS)


class Found(NamedTuple):
    """A page: its rows, and the number of the incident behind which the next one begins (0: there is none)."""

    rows: Sequence[IncidentRow]
    go_on: int


async def get_incident_as_of(connection: AsyncConnection, name: str, at: datetime) -> IncidentRow | None:
    """The incident with this id or number as it was; None when it is unknown or was declared later."""
    now = await get_incident(connection, name)
    if now is None or now.created_at > at:
        return None
    rows = await _as_of(connection, [now], at)
    return rows[0]


async def list_incidents_as_of(
    connection: AsyncConnection,
    wanted: IncidentFilter,
    at: datetime,
    after: Cursor | None = None,
    limit: int = 50,
    sort: Sort = "newest",
) -> Found:
    """At most ``limit`` incidents that match the filter as they were then, by number.

    Looks at no more than about ``MOST_EVENTS`` events: where few incidents match, a page may be short or empty though
    another follows. Raises ``BadCursor``, and ``ValueError`` for an order that depends on the state.
    """
    if sort == "severity":
        raise ValueError("incidents as of a time are in the order of their numbers")
    number = parse_cursor(after.encode(), sort).key[0] if after else 0
    assert isinstance(number, int), "parse_cursor checked the types"
    found: list[IncidentRow] = []
    events = 0
    while True:
        candidates = await _candidates(connection, wanted, at, number, sort)
        for row in await _as_of(connection, candidates, at):
            number = row.number
            if matches(row, wanted):
                found.append(row)
                if len(found) == limit:
                    return Found(found, number if await _candidates(connection, wanted, at, number, sort, 1) else 0)
        events += sum(row.sequence for row in candidates if row.updated_at > at)
        if len(candidates) < _CHUNK:
            return Found(found, 0)
        if events >= MOST_EVENTS:
            return Found(found, number)


def matches(row: IncidentRow, wanted: IncidentFilter) -> bool:
    """Whether the row is one that the filter's SQL would have found."""
    text = wanted.text.lower()
    checks = (
        not wanted.status or row.status in wanted.status,
        not wanted.severity or row.severity in wanted.severity,
        not wanted.service or row.service == bounded(wanted.service),
        not wanted.assignee or row.assignee == bounded(wanted.assignee),
        not text or text in row.title.lower() or text in row.description.lower(),
        not wanted.created_since or row.created_at >= wanted.created_since,
        not wanted.created_until or row.created_at < wanted.created_until,
        not wanted.updated_since or row.updated_at >= wanted.updated_since,
        wanted.firing is None or (row.firing_count > 0) == wanted.firing,
        wanted.include_merged or not row.merged_into,
    )
    return all(checks)


async def _candidates(
    connection: AsyncConnection, wanted: IncidentFilter, at: datetime, number: int, sort: Sort, limit: int = _CHUNK
) -> Sequence[IncidentRow]:
    """Incidents that were there then, as they are now, behind the number; only what never changes is asked for."""
    conditions = Conditions()
    conditions.add("created_at <= %s", at)
    if wanted.created_since:
        conditions.add("created_at >= %s", wanted.created_since)
    if wanted.created_until:
        conditions.add("created_at < %s", wanted.created_until)
    if number and sort == "oldest":
        conditions.add("number > %s", number)
    elif number:
        conditions.add("number < %s", number)
    order = sql.SQL(" ORDER BY number LIMIT %s" if sort == "oldest" else " ORDER BY number DESC LIMIT %s")
    async with connection.cursor(row_factory=args_row(IncidentRow)) as cursor:
        await cursor.execute(_SELECT + conditions.where() + order, [*conditions.values, limit])
        return await cursor.fetchall()


async def _as_of(connection: AsyncConnection, now: Sequence[IncidentRow], at: datetime) -> list[IncidentRow]:
    """The rows as they were: those that did not change since are that already, the others are folded anew."""
    folded: dict[str, IncidentRow] = {}
    for part in _parts([row for row in now if row.updated_at > at]):
        cursor = await connection.execute(_EVENTS, [_TYPES, _TYPES, part, at])
        for incident_id, history, *last in await cursor.fetchall():
            folded[incident_id] = _folded(now[0].tenant_id, incident_id, orjson.loads(history), last)
    return [folded.get(row.incident_id, row) for row in now]


def _parts(changed: Iterable[IncidentRow]) -> Iterator[list[str]]:
    """Ids of incidents that together have at most ``_AT_ONCE`` events, or of one that has more."""
    part: list[str] = []
    events = 0
    for row in changed:
        if part and events + row.sequence > _AT_ONCE:
            yield part
            part, events = [], 0
        part.append(row.incident_id)
        events += row.sequence
    if part:
        yield part


def _folded(tenant_id: str, incident_id: str, history: Sequence[Any], last: Sequence[Any]) -> IncidentRow:
    fold = _Fold(incident_id)
    for number, (sequence, kind, at, *data) in enumerate(history, start=1):
        if sequence != number:
            raise SequenceGap(f"tenant {tenant_id}, incident {incident_id}: sequence {sequence} after {number - 1}")
        fold.take(kind, at, data)
    type_, event_id, partition, offset = last
    sequence, _, at, *_ = history[-1]
    envelope = Envelope(event_id, "", type_, tenant_id, incident_id, sequence=sequence, recordedtime=at)
    record = Record("incident-events", partition, offset, envelope, None, b"")
    return IncidentRow(*incident_rows.values(fold.finish()._replace(sequence=sequence), record))


class _Fold:
    """Evolves one incident, with what only counts alerts made few events: the same incident comes out.

    Attached and resolved alerts keep their order, since no more can be resolved than fire, and both come before a
    merge, which adds to the counts. What people change has nothing to do with counts; notes and effects change nothing
    but the time of the last change.
    """

    def __init__(self, incident_id: str) -> None:
        self._id = incident_id
        self._incident: Incident | None = None
        self._at = 0
        self._attached: list[events.Alert] = []
        self._times: list[int] = []
        self._resolved = self._repeated = 0

    def take(self, kind: int, at: int, data: Sequence[Any]) -> None:
        """The next event as ``_EVENTS`` gives it."""
        self._at = at
        if kind == 1:
            if self._resolved:
                self._flush()
            times, *alerts = data
            if alerts:
                self._attached += map(_alert, alerts[0])
            else:
                self._times += times
        elif kind == 2:  # noqa: PLR2004  the place of its type
            self._resolved += data[0]
        elif kind == 3:  # noqa: PLR2004  the place of its type
            self._repeated += data[0]
        elif kind == 0:
            if data[1] == _MERGED:
                self._flush()
            self._evolve(from_json(data[1], data[0]))

    def finish(self) -> Incident:
        """The incident after the last event."""
        self._flush()
        assert self._incident is not None, "an incident that was there has events"
        return self._incident._replace(updated_at=self._at)

    def _flush(self) -> None:
        """Evolve what was counted: first what was attached, since what was resolved came after it."""
        if self._times:  # of alerts without an object at a provider only the earliest and the latest time matter
            known = [at for at in self._times if at]
            ends = [_timed(at) for at in {min(known), max(known)}] if known else []
            self._attached += [*ends, *[_timed(0)] * (len(self._times) - len(ends))]
        if self._attached:
            self._evolve(events.AlertsAttached(tuple(self._attached)))
        if self._resolved:
            self._evolve(events.AlertsResolved((_REFERENCE,) * self._resolved))
        if self._repeated:
            self._evolve(events.AlertsRepeated((_REFERENCE,) * self._repeated))
        self._attached, self._times, self._resolved, self._repeated = [], [], 0, 0

    def _evolve(self, event: events.IncidentEvent) -> None:
        self._incident = evolve(self._incident, event, id_=self._id, at=self._at)


def _timed(at: int) -> events.Alert:
    return events.Alert("", "", "", "", at, 0)


def _alert(one: Mapping[str, Any]) -> events.Alert:
    """An alert with its time and its object at the provider."""
    where = {name: one.get(name, "") for name in ("connector", "integration_id", "external_id")}
    return events.Alert("", "", "", "", one["event_time"], 0, **where)
