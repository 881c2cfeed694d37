"""A tenant's tickets as the record tells of them: where each stands, field by field, and what became of each conflict.

A fold of events, as ``incident.evolve`` is for incidents: read models, the API and the command line all show what it
makes. Times are recorded ones, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, assert_never

from streams.domain import ticket_events as said
from streams.domain.envelope import Envelope
from streams.domain.mapping import Owner, Policy
from streams.domain.ticket_files import FILE_ACTIONS

TicketState = Literal["creating", "linking", "linked", "failed", "gone", "unlinked", "archived"]
"""``creating`` and ``linking``: not known at the provider yet; ``failed``: that was given up; ``gone``: deleted or
hidden; ``unlinked``: by a command; ``archived``: with its incident."""

Outcome = Literal["", "requested", "completed", "stale", "refused", "gone", "dropped"]
Ended = said.Side | Literal["", "unlinked"]
"""How a conflict was decided; empty while it is open. ``unlinked``: the ticket was let go of."""

_OPEN = frozenset({"kept", "waiting"})
_BEGINS: dict[str, TicketState] = {"ticket_create": "creating", "ticket_link": "linking"}
_ENDS: dict[said.WhyNot, TicketState] = {"gone": "gone", "command": "unlinked", "archived": "archived"}


@dataclass(slots=True)
class TicketField:
    """One mapped field: what both sides agreed on last or, in an open conflict, what each of them says.

    ``conflict_id`` is empty without one, ``since`` when it began. ``drifted_at``: the last check that found the field
    other than it was believed to be, until both sides agree again or it has become a conflict (0: none).
    """

    field: str
    external_field: str
    ours: str = ""
    theirs: str = ""
    conflict_id: str = ""
    waiting: bool = False
    explanation: str = ""
    since: int = 0
    drifted_at: int = 0


@dataclass(slots=True)
class TicketHistory:
    """One ticket; ``incident_id`` is the incident that it shows, after a merge the one that is left.

    ``under_way`` is the action that was asked for and not answered; ``last_action``, ``last_result`` and ``last_at``
    say what happened last, ``last_failure`` what failed since something succeeded. ``checked_at`` is when the ticket
    was last read or written, ``since`` when it was first heard of.
    """

    ticket_id: str
    incident_id: str
    connector: str
    integration_id: str
    external_id: str = ""
    external_key: str = ""
    url: str = ""
    state: TicketState = "creating"
    mapping_version: int = 0
    version: int = 0
    under_way: str = ""
    last_action: str = ""
    last_result: Outcome = ""
    last_failure: str = ""
    last_at: int = 0
    checked_at: int = 0
    since: int = 0
    fields: dict[str, TicketField] = field(default_factory=dict)

    @property
    def divergent(self) -> list[TicketField]:
        """The fields with an open conflict."""
        return [one for one in self.fields.values() if one.conflict_id]

    @property
    def waiting(self) -> list[TicketField]:
        """Those of them that somebody has to decide."""
        return [one for one in self.divergent if one.waiting]

    @property
    def drifted(self) -> list[TicketField]:
        """The fields that a check found changed, and that are not repaired yet."""
        return [one for one in self.fields.values() if one.drifted_at]

    @property
    def in_step(self) -> bool:
        """Whether both sides say the same, as far as is known, and nothing is on its way."""
        return self.state == "linked" and not (self.under_way or self.divergent or self.drifted)


@dataclass(slots=True)
class ConflictHistory:
    """One conflict of a field: its inputs as they were last (``said.ConflictDetected``), and how it ended."""

    conflict_id: str
    ticket_id: str
    connector: str
    integration_id: str
    field: str
    external_field: str
    kind: said.ConflictKind
    owner: Owner
    policy: Policy
    mapping_version: int
    result: said.ConflictResult
    ours: str
    theirs: str
    base_ours: str
    base_theirs: str
    base_known: bool
    updated_by: str
    explanation: str
    since: int
    ended_at: int = 0
    ended: Ended = ""
    value: str = ""
    ended_by: str = ""


@dataclass(slots=True)
class Tickets:
    """The tickets and the conflicts of one tenant, by their ids."""

    tickets: dict[str, TicketHistory] = field(default_factory=dict)
    conflicts: dict[str, ConflictHistory] = field(default_factory=dict)

    def take(self, envelope: Envelope, event: said.TicketEvent) -> set[str]:
        """Take in the next event; the ids of the conflicts that it changed."""
        at = envelope.recordedtime
        ticket = self.tickets.get(event.ticket_id)
        if ticket is None:
            ticket = TicketHistory(event.ticket_id, "", event.connector, event.integration_id, since=at)
            self.tickets[event.ticket_id] = ticket
        ticket.incident_id = envelope.subject
        if getattr(event, "action", "") in FILE_ACTIONS:
            _about_files(ticket, event, at)
            return set()
        match event:
            case said.TicketLinked():
                if event.how != "merged":  # a merge takes a ticket along that is not there yet, or cannot be
                    ticket.state = "linked"
                ticket.external_id, ticket.external_key, ticket.url = event.external_id, event.external_key, event.url
            case said.TicketUnlinked():
                return self._unlinked(ticket, event, at)
            case said.SyncRequested():
                ticket.under_way, ticket.mapping_version = event.action, event.mapping_version
                ticket.state = _BEGINS.get(event.action, ticket.state)
                _happened(ticket, event.action, "requested", at)
            case said.SyncFailed():
                _failed(ticket, event, at)
            case said.SyncCompleted():
                _completed(ticket, event, at)
            case said.ProviderAck():
                ticket.version, ticket.mapping_version = event.version, event.mapping_version
                _agree(ticket, event.fields)
            case said.ConflictDetected():
                return self._detected(ticket, event, at)
            case said.ConflictResolved():
                return self._resolved(ticket, event, at)
            case said.TicketFileGone():
                pass  # the ticket's fields are as they were
            case _:
                assert_never(event)
        return set()

    def _unlinked(self, ticket: TicketHistory, event: said.TicketUnlinked, at: int) -> set[str]:
        ended = {one.conflict_id for one in ticket.divergent}
        for conflict_id in ended:
            self._end(conflict_id, "unlinked", "", event.actor, at)
        ticket.state, ticket.under_way, ticket.fields = _ENDS[event.why], "", {}
        return ended

    def _detected(self, ticket: TicketHistory, event: said.ConflictDetected, at: int) -> set[str]:
        known = self.conflicts.get(event.conflict_id)
        since = known.since if known else at
        conflict = ConflictHistory(
            event.conflict_id, event.ticket_id, event.connector, event.integration_id, event.field,
            event.external_field, event.kind, event.owner, event.policy, event.mapping_version, event.result,
            event.ours, event.theirs, event.base_ours, event.base_theirs, event.base_known, event.updated_by,
            event.explanation, since,
        )  # fmt: skip
        self.conflicts[event.conflict_id] = conflict
        one = ticket.fields.setdefault(event.external_field, TicketField(event.field, event.external_field))
        one.drifted_at = 0
        ticket.mapping_version = event.mapping_version
        if event.result in _OPEN:
            one.ours, one.theirs, one.explanation = event.ours, event.theirs, event.explanation
            one.conflict_id, one.waiting, one.since = event.conflict_id, event.result == "waiting", since
            return {event.conflict_id}
        _over(one)
        decided: Ended = "ours" if event.result == "ours" else "theirs"
        self._end(event.conflict_id, decided, event.ours if decided == "ours" else event.theirs, "", at)
        return {event.conflict_id}

    def _resolved(self, ticket: TicketHistory, event: said.ConflictResolved, at: int) -> set[str]:
        one = ticket.fields.get(event.external_field)
        if one is not None and one.conflict_id == event.conflict_id:
            _over(one)
        self._end(event.conflict_id, event.side, event.value, event.actor, at)
        return {event.conflict_id} & self.conflicts.keys()

    def _end(self, conflict_id: str, ended: Ended, value: str, by: str, at: int) -> None:
        """Note how a conflict ended; one that was decided at once and is closed later keeps its first end."""
        conflict = self.conflicts.get(conflict_id)
        if conflict is not None and not conflict.ended:
            conflict.ended, conflict.value, conflict.ended_by, conflict.ended_at = ended, value, by, at


def tickets(record: Iterable[tuple[Envelope, object]]) -> Tickets:
    """The tickets of a record, whose other events are passed over."""
    found = Tickets()
    for envelope, event in record:
        if isinstance(event, said.TicketEvent):
            found.take(envelope, event)
    return found


def _happened(ticket: TicketHistory, action: str, result: Outcome, at: int) -> None:
    ticket.last_action, ticket.last_result, ticket.last_at = action, result, at


def _about_files(ticket: TicketHistory, event: said.TicketEvent, at: int) -> None:
    """Files have a lane of their own: what is under way about fields stays so."""
    if isinstance(event, said.SyncFailed):
        ticket.last_failure = f"{event.action}: {event.kind}: {event.detail}"
        _happened(ticket, event.action, event.kind, at)


def _failed(ticket: TicketHistory, event: said.SyncFailed, at: int) -> None:
    if event.kind != "dropped":  # something else is still under way then
        ticket.under_way = ""
    ticket.last_failure = f"{event.action}: {event.kind}: {event.detail}"
    _happened(ticket, event.action, event.kind, at)
    if event.action in _BEGINS and event.kind != "stale":
        ticket.state = "failed"


def _completed(ticket: TicketHistory, event: said.SyncCompleted, at: int) -> None:
    ticket.under_way, ticket.last_failure = "", ""
    ticket.version = event.version or ticket.version
    ticket.mapping_version = event.mapping_version or ticket.mapping_version
    ticket.checked_at = at
    _happened(ticket, event.action, "completed", at)
    if event.action == "ticket_read":
        for one in ticket.fields.values():  # a conflict of the field says more than that it drifted
            one.drifted_at = at if one.external_field in event.drifted and not one.conflict_id else 0
    _agree(ticket, event.fields)


def _agree(ticket: TicketHistory, fields: Iterable[said.SyncedField]) -> None:
    for one in fields:
        known = ticket.fields.setdefault(one.external_field, TicketField(one.field, one.external_field))
        known.ours, known.theirs, known.drifted_at = one.ours, one.theirs, 0


def _over(one: TicketField) -> None:
    one.conflict_id, one.waiting, one.explanation, one.since = "", False, "", 0
