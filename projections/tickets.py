"""Tickets of incidents in other systems, as they are now, and every conflict of their fields, open or decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from projections.base import Record
from projections.connections import Connection
from projections.staging import Staging, excluded
from projections.ticket_rows import (
    CONFLICT_COLUMNS,
    TICKET_COLUMNS,
    ConflictRow,
    TicketRow,
    stored_conflict,
    stored_ticket,
    ticket_row,
    to_conflict,
    to_ticket,
)
from streams.domain import ticket_events as said
from streams.domain.catalogue import Topic
from streams.domain.ticket_history import Tickets as History

Key = tuple[str, str]
"""Tenant, and the id of a ticket or a conflict."""

_SELECT = """
SELECT {columns} FROM {table} WHERE (tenant_id, {key}) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""


class Tickets:
    """Writes ``tickets`` and ``ticket_conflicts``."""

    name = "tickets"
    topic: Topic = "incident-events"
    whole_log = True
    early = ("pkey",)

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        tickets, conflicts = (f"read_data.{name}_g{generation}" for name in ("tickets", "ticket_conflicts"))
        self.tables = (tickets, conflicts)
        self._tickets = Staging(
            tickets, TICKET_COLUMNS, f"(tenant_id, ticket_id) DO UPDATE SET {excluded(TICKET_COLUMNS, 2)}"
        )
        self._conflicts = Staging(
            conflicts, CONFLICT_COLUMNS, f"(tenant_id, conflict_id) DO UPDATE SET {excluded(CONFLICT_COLUMNS, 2)}"
        )
        self._select_tickets = _SELECT.format(
            columns=", ".join(TICKET_COLUMNS), table=tickets, key="ticket_id"
        ).encode()
        self._select_conflicts = _SELECT.format(
            columns=", ".join(CONFLICT_COLUMNS), table=conflicts, key="conflict_id"
        ).encode()

    def prepare(self, connection: Connection) -> None:
        """Create the temporary tables."""
        self._tickets.prepare(connection)
        self._conflicts.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Fold the events into the rows of their tickets; those that a row holds already are passed over."""
        about = [record for record in records if isinstance(record.data, said.TicketEvent)]
        if not about:
            return 0
        known, folded = self._load(connection, about)
        last: dict[Key, Record] = {}
        changed: set[Key] = set()
        for record in about:
            tenant, event = record.envelope.tenantid, record.data
            key = tenant, event.ticket_id
            if record.envelope.tenantsequence <= known.get(key, 0):
                continue
            ended = folded.setdefault(tenant, History()).take(record.envelope, event)
            changed.update((tenant, conflict_id) for conflict_id in ended)
            last[key] = record
        rows = [ticket_row(folded[tenant].tickets[id_], last[tenant, id_]) for tenant, id_ in sorted(last)]
        self._tickets.load(connection, list(map(stored_ticket, rows)))
        conflicts = [stored_conflict(tenant, folded[tenant].conflicts[id_]) for tenant, id_ in sorted(changed)]
        self._conflicts.load(connection, conflicts)
        return len(rows) + len(conflicts)

    def fill(self, connection: Connection, records: Sequence[Record]) -> int:
        """As ``apply``: later events change earlier rows."""
        return self.apply(connection, records)

    def unify(self, connection: Connection) -> None:
        """Nothing: with their keys from the beginning, no two rows have the same."""

    def _load(self, connection: Connection, records: Iterable[Record]) -> tuple[dict[Key, int], dict[str, History]]:
        """Each ticket's last event; the tickets of the records, with the conflicts that may change, by tenant."""
        tickets: set[Key] = set()
        conflicts: set[Key] = set()
        for record in records:
            tickets.add((record.envelope.tenantid, record.data.ticket_id))
            if isinstance(record.data, said.ConflictDetected | said.ConflictResolved):
                conflicts.add((record.envelope.tenantid, record.data.conflict_id))
        last: dict[Key, int] = {}
        folded: dict[str, History] = {}
        for row in connection.execute(self._select_tickets, _columns(tickets)):
            found = TicketRow(*row)
            last[found.tenant_id, found.ticket_id] = found.tenantsequence
            ticket = to_ticket(found)
            folded.setdefault(found.tenant_id, History()).tickets[found.ticket_id] = ticket
            conflicts.update((found.tenant_id, one.conflict_id) for one in ticket.divergent)
        for row in connection.execute(self._select_conflicts, _columns(conflicts)) if conflicts else ():
            conflict = ConflictRow(*row)
            folded.setdefault(conflict.tenant_id, History()).conflicts[conflict.conflict_id] = to_conflict(conflict)
        return last, folded


def _columns(keys: Iterable[Key]) -> list[list[str]]:
    """Keys to columns, as ``unnest`` takes them."""
    return [list(column) for column in zip(*sorted(keys), strict=True)]
