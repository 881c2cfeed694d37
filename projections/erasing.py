"""Erases a person from PostgreSQL: the rows become what a rebuild from the erased record would make of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from psycopg import sql
from psycopg.types.json import Jsonb

from projections import generations
from projections.checkpoints import active
from projections.connections import Connection
from projections.decoding import jsonb
from projections.generations import Generation
from projections.registry import READ_MODELS, rebuildable
from streams.codec.plain import from_json
from streams.domain.erasing import Erasing

_TIMELINE = "timeline_entries"
_OUTBOX = "ops.outbox_events"
_LEFT = ("ops.integrations", "ops.api_tokens", "ops.tenants")
"""What is configuration or a credential: it is named, not changed."""

_COLUMNS = """
SELECT a.attname, a.attnum = ANY (x.indkey::int2[]) FROM pg_attribute a
JOIN pg_index x ON x.indrelid = a.attrelid AND x.indisprimary
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum
"""
_LOCK = "SELECT FROM ops.projection_checkpoints ORDER BY projection, generation, topic, partition FOR UPDATE"


@dataclass(slots=True)
class Rows:
    """Rows that were changed, by table; ``left`` counts those that name the person and were not touched."""

    changed: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


def tables(connection: Connection) -> list[str]:
    """The tables that hold what people did: those of the active generations, and the outbox."""
    serving = active(connection)
    read = [table for name in READ_MODELS for table in rebuildable(name, serving[name]).tables]
    return [*read, _OUTBOX]


def count(connection: Connection, tenant: str, erasing: Erasing, events: Iterable[str]) -> Rows:
    """What ``erase`` would change, as counts; changes nothing. ``connection`` is in autocommit mode."""
    found = Rows()
    with connection.transaction():
        _as_tenant(connection, tenant)
        for table in tables(connection):
            _add(found.changed, table, len(_Table(connection, table, tenant).naming(erasing, list(events))))
        for table in _LEFT:
            _add(found.left, table, len(_Table(connection, table, tenant).naming(erasing)))
    found.dropped = [_name(one) for one in generations.listed(connection) if one.state != "active"]
    return found


def _name(generation: Generation) -> str:
    return f"{generation.projection} g{generation.number}"


def _as_tenant(connection: Connection, tenant: str) -> None:
    """In the open transaction: let row-level security, which binds the owner too, show this tenant's rows."""
    connection.execute("SELECT set_config('incidents.tenant', %s, true)", [tenant])


def erase(owner: Connection, tenant: str, erasing: Erasing, events: Iterable[str]) -> Rows:
    """Erase a person from a tenant's rows in one transaction, while projectors wait; then drop other generations.

    ``owner`` is in autocommit mode; ``events`` are the ids of the events whose data was erased. Rows that are changed
    leave dead copies behind, which VACUUM takes away.
    """
    done = Rows()
    with owner.transaction():
        _as_tenant(owner, tenant)
        owner.execute(_LOCK)
        touched = tables(owner)
        for table in touched:
            _add(done.changed, table, _Table(owner, table, tenant).erase(erasing, list(events)))
        for table in _LEFT:
            _add(done.left, table, len(_Table(owner, table, tenant).naming(erasing)))
    for one in generations.listed(owner):
        if one.state != "active":
            generations.drop(owner, rebuildable(one.projection, one.number))
            done.dropped.append(_name(one))
    for table in touched:
        owner.execute(sql.SQL("VACUUM {}").format(sql.Identifier(*table.split("."))))
    return done


def _add(counts: dict[str, int], table: str, number: int) -> None:
    if number:
        counts[table] = number


class _Table:
    """A table's rows of one tenant."""

    def __init__(self, connection: Connection, name: str, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        self._is_timeline = name.startswith(f"read_data.{_TIMELINE}")
        found = connection.execute(_COLUMNS, [name]).fetchall()
        self._names = [column for column, _ in found]
        self._key = [column for column, in_key in found if in_key]
        self._table = sql.Identifier(*name.split("."))

    def naming(self, erasing: Erasing, events: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The rows that name the person; of the timeline those of the events."""
        condition = "event_id = ANY(%s)" if self._is_timeline else "position(lower(%s) in lower(t::text)) > 0"
        query = sql.SQL("SELECT {} FROM {} t WHERE tenant_id = %s AND ").format(
            sql.SQL(", ").join(map(sql.Identifier, self._names)), self._table
        )
        wanted = list(events) if self._is_timeline else erasing.identifier
        rows = self._connection.execute(query + sql.SQL(condition), [self._tenant, wanted]).fetchall()
        found = [dict(zip(self._names, row, strict=True)) for row in rows]
        return [row for row in found if self._left(row, erasing) != row]

    def erase(self, erasing: Erasing, events: Sequence[str]) -> int:
        """Change those rows; how many there were."""
        rows = self.naming(erasing, events)
        for row in rows:
            changed = {name: value for name, value in self._left(row, erasing).items() if value != row[name]}
            query = sql.SQL("UPDATE {} SET {} WHERE {}").format(
                self._table,
                sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in changed),
                sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in self._key),
            )
            values = [Jsonb(value) if isinstance(value, dict | list) else value for value in changed.values()]
            self._connection.execute(query, [*values, *(row[name] for name in self._key)])
        return len(rows)

    def _left(self, row: Mapping[str, Any], erasing: Erasing) -> Mapping[str, Any]:
        return _timeline(row, erasing) if self._is_timeline else erasing.value(row)


def _timeline(row: Mapping[str, Any], erasing: Erasing) -> dict[str, Any]:
    """What the timeline shows of an event whose data was erased: what is left of it, and no salt."""
    left = erasing.value(from_json(row["type"], row["data"]))
    found = {"data": orjson.loads(jsonb(left)[1:]), "actor": getattr(left, "actor", ""), "data_salt": ""}
    return {**row, **found}
