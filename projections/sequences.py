"""The check that a tenant's events follow one another without a gap (R5)."""

from __future__ import annotations

from collections.abc import Iterable

from projections.base import Record, SequenceGap
from projections.connections import Connection

_LAST = """
SELECT wanted.tenant_id, coalesce((SELECT max(tenantsequence) FROM {table} e WHERE e.tenant_id = wanted.tenant_id), 0)
FROM unnest(%s::text[]) AS wanted (tenant_id)
"""
_OTHERS = """
SELECT seen.tenant_id, seen.tenantsequence, seen.event_id, e.event_id
FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS seen (tenant_id, tenantsequence, event_id)
LEFT JOIN {table} e USING (tenant_id, tenantsequence)
WHERE e.event_id IS DISTINCT FROM seen.event_id LIMIT 1
"""


class TenantSequences:
    """The last ``tenantsequence`` of each tenant met, loaded from the timeline ``table`` on first sight."""

    def __init__(self, table: str) -> None:
        self._last_of = _LAST.format(table=table).encode()
        self._others = _OTHERS.format(table=table).encode()
        self._known: dict[str, int] = {}

    def check(self, connection: Connection, records: Iterable[Record]) -> tuple[dict[str, int], list[Record]]:
        """Where the tenants of the records, in their order, will stand, and the records that were there before.

        Raises ``SequenceGap``, naming the record. Nothing is kept: call ``keep`` once the rows are committed.
        """
        records = list(records)
        unknown = {record.envelope.tenantid for record in records} - self._known.keys()
        last: dict[str, int] = dict(connection.execute(self._last_of, (list(unknown),)).fetchall()) if unknown else {}
        repeated = []
        for record in records:
            tenant, number = record.envelope.tenantid, record.envelope.tenantsequence
            before = last[tenant] if tenant in last else self._known[tenant]
            if number <= before:
                repeated.append(record)
            elif number == before + 1:
                last[tenant] = number
            else:
                raise SequenceGap(
                    f"{record.topic}[{record.partition}]@{record.offset}: tenant {tenant} has tenantsequence {number}"
                    f" after {before}"
                )
        return last, repeated

    def refuse_others(self, connection: Connection, repeated: Iterable[Record]) -> None:
        """Raise ``SequenceGap`` when a number that was there before now belongs to another event.

        Call it in the transaction that wrote the timeline, so that numbers within one batch are compared too.
        """
        envelopes = [record.envelope for record in repeated]
        if not envelopes:
            return
        wanted = [[e.tenantid for e in envelopes], [e.tenantsequence for e in envelopes], [e.id for e in envelopes]]
        other = connection.execute(self._others, wanted).fetchone()
        if other is not None:
            raise SequenceGap("tenant {}: tenantsequence {} is event {} here and {} in the timeline".format(*other))

    def keep(self, last: dict[str, int]) -> None:
        """Remember what ``check`` returned."""
        self._known.update(last)

    def forget(self) -> None:
        """Start afresh: partitions came or went."""
        self._known.clear()
