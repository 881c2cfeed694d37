"""A ticket system in memory, with what makes real ones hard.

No conditional write, versions that count (ServiceNow) or are times (Jira), one-second timestamps on a skewed clock, a
business rule that rewrites a field, a history only where versions are times, and webhooks as snapshots in transit. Each
call stops before and after its effect, so that whoever drives it can let others act, or kill the caller, in between.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import coroutine
from typing import Any

from connectors.kit.contract import Integration
from connectors.kit.files import TicketFile
from connectors.kit.http import ProviderHttp
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown
from connectors.kit.tickets import Cursor, Failure, FieldChange, FilesSeen, Page, Ticket, Versioning

US = "incidents"
FIELDS = ("short_description", "urgency", "state", "assigned_to")


@coroutine
def pause() -> Generator[None, None, None]:
    """Let whoever drives the call decide what happens now."""
    yield


@dataclass
class ModelTicket:
    """A ticket; ``human`` says of each field whether a person set it last."""

    external_id: str
    fields: dict[str, str]
    marker: str = ""
    version: int = 0
    updated_at: int = 0
    updated_by: str = US
    retired: bool = False
    deleted: bool = False
    human: dict[str, bool] = field(default_factory=dict)
    history: list[FieldChange] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    files: dict[str, TicketFile] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Lost:
    """A person's value that a write of ours replaced."""

    external_id: str
    field: str
    value: str
    by: str


@dataclass
class Provider:
    """The system; ``clock`` is the true time in milliseconds, ``skew`` how far its own is off."""

    versioning: Versioning
    clock: int = 0
    skew: int = 0
    rewrites: Mapping[str, str] = field(default_factory=dict)
    tickets: dict[str, ModelTicket] = field(default_factory=dict)
    webhooks: list[Ticket | FilesSeen | str] = field(default_factory=list)
    writes: int = 0
    lost: list[Lost] = field(default_factory=list)
    refuses: bool = False
    rate_per_s: float = 1000.0

    def _stamp(self, ticket: ModelTicket, by: str) -> None:
        ticket.updated_by = by
        now = self.clock + self.skew
        if self.versioning == "counter":
            ticket.version += 1
            ticket.updated_at = now // 1000 * 1000
        else:
            ticket.version = max(ticket.version + 1, now)
            ticket.updated_at = ticket.version
        self.webhooks.append(self.shown(ticket))

    def _set(self, ticket: ModelTicket, changes: Mapping[str, str], by: str) -> None:
        changed = {name: value for name, value in changes.items() if ticket.fields.get(name) != value}
        if not changed:
            return
        before = dict(ticket.fields)
        for name, value in changed.items():
            if by == US and ticket.human.get(name):
                self.lost.append(Lost(ticket.external_id, name, before.get(name, ""), value))
            ticket.fields[name] = self.rewrites.get(f"{name}={value}", value)
            ticket.human[name] = by != US
        self._stamp(ticket, by)
        for name in changed:
            change = FieldChange(ticket.version, name, before.get(name, ""), ticket.fields[name], by == US)
            ticket.history.append(change)

    def shown(self, ticket: ModelTicket) -> Ticket:
        """The ticket as the API shows it now."""
        return Ticket(
            ticket.external_id,
            f"INC{ticket.external_id}",
            "",
            ticket.marker,
            ticket.version,
            ticket.updated_at,
            ticket.updated_by,
            dict(ticket.fields),
        )

    def live(self) -> list[ModelTicket]:
        """Tickets that are neither deleted nor retired."""
        return [ticket for ticket in self.tickets.values() if not ticket.deleted and not ticket.retired]

    def edit(self, external_id: str, name: str, value: str, by: str) -> None:
        """A person, or another integration, sets a field."""
        self._set(self.tickets[external_id], {name: value}, by)

    def delete(self, external_id: str) -> None:
        """A person deletes a ticket."""
        self.tickets[external_id].deleted = True
        self.webhooks.append(external_id)

    def copy(self, external_id: str) -> None:
        """A person copies a ticket, marker and all."""
        old = self.tickets[external_id]
        new = ModelTicket(f"{len(self.tickets) + 1}", dict(old.fields), old.marker)
        self.tickets[new.external_id] = new
        self._stamp(new, "copier")

    async def create(
        self, http: ProviderHttp, integration: Integration, marker: str, fields: Mapping[str, str]
    ) -> Ticket | Failure:
        """See ``Tickets``."""
        await pause()
        made = dict.fromkeys(FIELDS, "") | {"state": "1"}
        made |= {name: self.rewrites.get(f"{name}={value}", value) for name, value in fields.items()}
        ticket = ModelTicket(f"{len(self.tickets) + 1}", made, marker)
        self.tickets[ticket.external_id] = ticket
        self.writes += 1
        self._stamp(ticket, US)
        shown = self.shown(ticket)
        await pause()
        return shown

    async def find(self, http: ProviderHttp, integration: Integration, marker: str) -> Sequence[Ticket] | Failure:
        """See ``Tickets``."""
        await pause()
        return [self.shown(ticket) for ticket in self.live() if ticket.marker == marker]

    async def read(
        self, http: ProviderHttp, integration: Integration, external_id: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """See ``Tickets``."""
        await pause()
        ticket = self.tickets[external_id]
        shown: Ticket | Gone = Gone("deleted") if ticket.deleted else self.shown(ticket)
        await pause()
        return shown

    async def write(
        self, http: ProviderHttp, integration: Integration, external_id: str, changes: Mapping[str, str]
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """See ``Tickets``."""
        await pause()
        ticket = self.tickets[external_id]
        if ticket.deleted:
            return Gone("deleted")
        if self.refuses:
            return PermanentFailure("HTTP 403")
        self.writes += 1
        self._set(ticket, changes, US)
        await pause()
        shown = self.shown(ticket)
        await pause()
        return shown

    async def mark(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """See ``Tickets``."""
        await pause()
        ticket = self.tickets[external_id]
        if ticket.deleted:
            return Gone("deleted")
        self.writes += 1
        ticket.marker = marker
        self._stamp(ticket, US)
        return self.shown(ticket)

    async def history(
        self, http: ProviderHttp, integration: Integration, external_id: str, since: int
    ) -> Sequence[FieldChange] | Gone | TransientFailure | PermanentFailure:
        """See ``Tickets``."""
        await pause()
        return [change for change in self.tickets[external_id].history if change.version > since]

    async def comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str, *, public: bool
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """See ``Tickets``."""
        await pause()
        ticket = self.tickets[external_id]
        if ticket.deleted:
            return Gone("deleted")
        ticket.comments.append(text)
        self.writes += 1
        self._stamp(ticket, US)
        await pause()
        return f"c{len(ticket.comments)}"

    async def find_comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Found | NotFound | Unknown:
        """See ``Tickets``."""
        await pause()
        return Found() if any(marker in text for text in self.tickets[external_id].comments) else NotFound()

    async def retire(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """See ``Tickets``."""
        await pause()
        ticket = self.tickets[external_id]
        if not ticket.retired:
            ticket.retired, ticket.marker = True, ""
            self.writes += 1
            self._stamp(ticket, US)
        await pause()
        return self.shown(ticket)

    async def list_changed(
        self, http: ProviderHttp, integration: Integration, cursor: Cursor, limit: int
    ) -> Page | Failure:
        """See ``Tickets``."""
        await pause()
        changed: list[Any] = [t for t in self.live() if t.marker and t.updated_at >= cursor.updated_at]
        shown = sorted((self.shown(t) for t in changed), key=lambda t: (t.updated_at, t.external_id))
        last = shown[-1] if shown else None
        return Page(shown, Cursor(last.updated_at, last.external_id) if last else cursor, is_last=True)
