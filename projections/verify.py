"""Holds the timeline's rows against the record: none missing, none more, none changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from psycopg import sql

from projections.base import Record
from projections.connections import Connection
from projections.decoding import decode
from projections.timeline import COLUMNS, row
from streams.runtime.ports import Record as LogRecord

_AT_ONCE = 2_000
_LEFT_OUT = frozenset({"topic_partition", "topic_offset"})
"""A restore gives events other offsets."""

_NAMES = [name for name in COLUMNS if name not in _LEFT_OUT]
_DATA = _NAMES.index("data")


class TimelineRows:
    """The rows of a generation of ``timeline_entries`` (0: the active one), next to the events as they come.

    ``holds`` says which tenants' events will come; rows of others are not asked for.
    """

    def __init__(
        self, connection: Connection, generation: int = 0, holds: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._connection = connection
        name = ("read_data", f"timeline_entries_g{generation}") if generation else ("read", "timeline_entries")
        table = sql.Identifier(*name)
        columns = sql.SQL(", ").join(sql.Identifier("e", name) for name in _NAMES)
        self._select = sql.SQL(
            "SELECT {columns} FROM unnest(%s::text[], %s::bigint[]) AS w (tenant_id, tenantsequence)"
            " JOIN {table} e USING (tenant_id, tenantsequence)"
        ).format(columns=columns, table=table)
        self._heads = sql.SQL("SELECT tenant_id, max(tenantsequence), count(*) FROM {} GROUP BY 1").format(table)
        found = connection.execute(self._heads).fetchall()
        self._last: dict[str, int] = {tenant: last for tenant, last, _ in found if holds(tenant)}
        self._rows: dict[str, int] = {tenant: count for tenant, _, count in found}
        self._taken: Counter[str] = Counter()
        self._seen: dict[str, int] = {}
        self._batch: list[Record] = []
        self._bad: dict[str, str] = {}

    def take(self, stored: LogRecord) -> None:
        """Compare the row of an event, when enough have come to ask for them together."""
        record = decode("incident-events", stored.partition, stored.offset, list(stored.headers), stored.value)
        tenant, number = record.envelope.tenantid, record.envelope.tenantsequence
        self._seen[tenant] = max(number, self._seen.get(tenant, 0))
        if number <= self._last.get(tenant, 0):
            self._taken[tenant] += 1
            if tenant not in self._bad:
                self._batch.append(record)
        if len(self._batch) >= _AT_ONCE:
            self._compare()

    def finish(self, tenant: str = "") -> list[str]:
        """The first difference of each tenant. Rows that are not written yet are none; the projector is behind."""
        self._compare()
        for name, last in self._last.items():
            if tenant in {"", name} and last > self._seen.get(name, 0) and name not in self._bad:
                end = self._seen.get(name, 0)
                self._bad[name] = f"PostgreSQL has events of {name} up to {last}, the log ends at {end}: truncated"
            elif tenant in {"", name} and self._rows[name] > self._taken[name] and name not in self._bad:
                more = self._rows[name] - self._taken[name]
                self._bad[name] = f"PostgreSQL has {more} events of {name} up to {last} that the log does not have"
        return list(self._bad.values())

    def _compare(self) -> None:
        batch, self._batch = self._batch, []
        envelopes = [record.envelope for record in batch]
        wanted = [[e.tenantid for e in envelopes], [e.tenantsequence for e in envelopes]]
        rows = (
            {(found[0], found[3]): found for found in self._connection.execute(self._select, wanted)} if batch else {}
        )
        for record in batch:
            envelope = record.envelope
            found = rows.get((envelope.tenantid, envelope.tenantsequence))
            difference = "is deleted" if found is None else _difference(record, found)
            if difference and envelope.tenantid not in self._bad:
                self._bad[envelope.tenantid] = (
                    f"PostgreSQL: the timeline row of event {envelope.id} ({envelope.type}, {envelope.tenantid}"
                    f" tenantsequence {envelope.tenantsequence}) {difference}"
                )


def _difference(record: Record, found: Sequence[Any]) -> str:
    """Which columns were edited; empty where all are as they must be."""
    wanted = [value for name, value in zip(COLUMNS, row(record), strict=True) if name not in _LEFT_OUT]
    wanted[_DATA] = orjson.loads(record.json[1:])
    edited = [name for name, ours, theirs in zip(_NAMES, wanted, found, strict=True) if ours != theirs]
    return f"was edited: {', '.join(edited)}" if edited else ""
