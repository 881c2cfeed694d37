"""The GraphQL types: rows of the read models under GraphQL's names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.attachments import AttachmentConnection, LinkConnection, file_page, link_page
from api.graphql.context import Resolving
from api.graphql.paging import After, First, PageInfo, page_info
from api.graphql.tickets import SyncSummary, Ticket
from api.live.events import RecordedEvent
from api.tickets import tickets_of
from policy.decision import Action
from projections.incident_rows import IncidentRow
from projections.queries import board as board_queries
from projections.queries.alerts import AlertFilter, AlertRow


@strawberry.type(description="One event of the record")
class TimelineEvent:
    """An event; its data depends on its type and is described by the frozen schemas."""

    id: strawberry.ID
    type: str
    incident_id: strawberry.ID
    recorded_at: str
    sequence: int
    cursor: str = strawberry.field(description="the tenantsequence: resume a stream behind it")
    causation_id: str
    data: JSON

    @classmethod
    def of(cls, event: RecordedEvent) -> Self:
        """The event as GraphQL shows it."""
        document = event.document
        return cls(
            id=strawberry.ID(document["id"]),
            type=event.type,
            incident_id=strawberry.ID(event.incident_id),
            recorded_at=document["time"],
            sequence=document["sequence"],
            cursor=str(event.tenantsequence),
            causation_id=document.get("causationid", ""),
            data=JSON(event.data),
        )


@strawberry.type(description="Events of an incident, oldest first")
class Timeline:
    """A page of events."""

    nodes: list[TimelineEvent]
    page_info: PageInfo


@strawberry.type(description="What became of one signal")
class Alert:
    """One delivery and its single disposition."""

    source: str
    id: strawberry.ID
    disposition: str
    incident_id: strawberry.ID | None
    title: str
    severity: str
    service: str
    fingerprint: str
    connector: str
    recorded_at: datetime
    correlation_rule: str
    correlation_key: str

    @classmethod
    def of(cls, row: AlertRow) -> Self:
        """The row as GraphQL shows it."""
        return cls(
            source=row.source,
            id=strawberry.ID(row.signal_id),
            disposition=row.disposition,
            incident_id=strawberry.ID(row.incident_id) if row.incident_id else None,
            title=row.title,
            severity=row.severity,
            service=row.service,
            fingerprint=row.fingerprint,
            connector=row.connector,
            recorded_at=row.recorded_at,
            correlation_rule=row.correlation_rule,
            correlation_key=row.correlation_key,
        )


@strawberry.type(description="Signals, newest first")
class AlertConnection:
    """A page of alerts."""

    nodes: list[Alert]
    page_info: PageInfo


@strawberry.type(description="Another incident of the family: what it is to this one, along the service graph")
class Relative:
    """A link between incidents of services that depend on each other."""

    incident_id: strawberry.ID
    role: str = strawberry.field(description="cause or effect")
    service: str


@strawberry.type(description="An incident as the read models show it")
class Incident:
    """Its fields are those of REST, in GraphQL's spelling."""

    id: strawberry.ID
    number: int
    key: str
    title: str
    status: str
    severity: str
    service: str
    description: str
    assignee: str | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    closed_at: datetime | None
    revision: int
    sequence: int
    alert_count: int
    repeat_count: int
    firing_count: int
    merged_into: strawberry.ID | None
    related_to: strawberry.ID | None
    relation: str | None
    rule: str
    correlation_key: str
    family: list[Relative]

    @classmethod
    def of(cls, row: IncidentRow) -> Self:
        """The row as GraphQL shows it."""
        same = ("number", "title", "status", "severity", "service", "description", "acknowledged_at", "created_at")
        more = ("updated_at", "resolved_at", "closed_at", "revision", "sequence", "alert_count", "repeat_count")
        values: dict[str, Any] = {name: getattr(row, name) for name in (*same, *more, "firing_count", "rule")}
        optional = ("assignee", "acknowledged_by", "merged_into", "related_to", "relation")
        values |= {name: getattr(row, name) or None for name in optional}
        return cls(
            id=strawberry.ID(row.incident_id),
            key=f"INC-{row.number}",
            correlation_key=row.correlation_key,
            family=[Relative(incident_id=strawberry.ID(id_), role=role, service=of) for id_, role, of in row.family],
            **values,
        )

    @strawberry.field(description="Its events, oldest first")
    async def timeline(self, info: Resolving, first: First = 50, after: After = None) -> Timeline:
        """A page of the incident's own events; the cursor is the incident's sequence."""
        principal = await info.context.ask(Action.READ_TIMELINE, "incident_id", self.id)
        return timeline_page(*await info.context.reads.timeline(principal.tenant_id, self.id, after=after, limit=first))

    @strawberry.field(description="Its tickets in other systems, with their conflicts")
    async def tickets(self, info: Resolving) -> list[Ticket]:
        """Those that follow this incident, also after a merge."""
        principal = await info.context.ask(Action.READ_TIMELINE, "incident_id", self.id)
        return [Ticket.of(one) for one in await tickets_of(info.context.reads, principal.tenant_id, self.id)]

    @strawberry.field(description="Its files, the newest first")
    async def attachments(self, info: Resolving, first: First = 50, after: After = None) -> AttachmentConnection:
        """A page of the files that belong to the incident."""
        principal = await info.context.ask(Action.READ_ATTACHMENTS, "incident_id", self.id)
        return file_page(*await info.context.reads.files(principal.tenant_id, self.id, after=after, limit=first))

    @strawberry.field(description="Its links, the newest first")
    async def links(self, info: Resolving, first: First = 50, after: After = None) -> LinkConnection:
        """A page of the links that belong to the incident."""
        principal = await info.context.ask(Action.READ_ATTACHMENTS, "incident_id", self.id)
        return link_page(*await info.context.reads.links(principal.tenant_id, self.id, after=after, limit=first))

    @strawberry.field(description="Its alerts, newest first")
    async def alerts(self, info: Resolving, first: First = 50, after: After = None) -> AlertConnection:
        """A page of the signals that the incident holds."""
        principal = await info.context.ask(Action.READ_ALERTS, "incident_id", self.id)
        reads = info.context.reads
        return alert_page(
            *await reads.alerts(principal.tenant_id, AlertFilter(incident_id=self.id), after=after, limit=first)
        )


@strawberry.type(description="Incidents, newest first")
class IncidentConnection:
    """A page of incidents."""

    nodes: list[Incident]
    page_info: PageInfo


@strawberry.type(description="One column of the board: the incidents of a status")
class Column:
    """The newest incidents of a status and how many there are in all."""

    status: str
    count: int
    incidents: list[Incident]


@strawberry.type(description="The tenant's incidents by status")
class Board:
    """A column for each status that has incidents, the worst first; merged ones are left out."""

    columns: list[Column]
    sync: SyncSummary = strawberry.field(description="how the tickets in other systems stand")


def timeline_page(events: Sequence[RecordedEvent], cursor: str | None) -> Timeline:
    """A page of events."""
    return Timeline(nodes=[TimelineEvent.of(event) for event in events], page_info=page_info(cursor))


def alert_page(rows: Sequence[AlertRow], cursor: str | None) -> AlertConnection:
    """A page of alerts."""
    return AlertConnection(nodes=[Alert.of(row) for row in rows], page_info=page_info(cursor))


def board_of(board: board_queries.Board) -> Board:
    """The board."""
    return Board(
        columns=[
            Column(status=column.status, count=column.count, incidents=[Incident.of(row) for row in column.cards])
            for column in board.columns
        ],
        sync=SyncSummary.of(board.sync),
    )
