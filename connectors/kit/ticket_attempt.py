"""Carries ticket intents out safely with a connector's single calls: look first; read, compare, write, verify.

Neither ServiceNow nor Jira has a conditional write. Between the comparing read and the write is a moment in which
somebody else can write; the version or the history tells afterwards, and the result says so (ADR 0007).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from connectors.kit.contract import Integration
from connectors.kit.http import ProviderHttp
from connectors.kit.markers import marker
from connectors.kit.outcome import Found, Gone, PermanentFailure, TransientFailure, Unknown
from connectors.kit.tickets import HasLinks, Ticket, Tickets
from streams.domain.outputs import Intent
from streams.domain.tickets import TicketRequest, TicketStatus, request_of


@dataclass(frozen=True, slots=True)
class TicketReport:
    """What a ticket is after an intent: see ``RecordTicket`` for the attributes of the same names."""

    status: TicketStatus
    ticket: Ticket | None = None
    written: tuple[str, ...] = ()
    overwritten: Mapping[str, str] = field(default_factory=dict)
    raced: bool = False
    duplicates: tuple[str, ...] = ()
    detail: str = ""


Result = TicketReport | TransientFailure | PermanentFailure | Gone


@dataclass(frozen=True, slots=True)
class TicketAttempt:
    """The ``number``-th attempt at an intent: from the second on, an earlier one may have had its effect.

    ``permalink`` is the address of an incident for people, with ``{key}`` or ``{id}`` in it; empty: none.
    """

    tickets: Tickets
    http: ProviderHttp
    integration: Integration
    intent: Intent
    number: int
    permalink: str = ""

    async def make(self) -> Result:
        """Carry the intent out; never raises for anything that the provider or the network does."""
        try:
            request = request_of(self.intent.payload)
        except ValueError as error:
            return PermanentFailure(f"payload: {error}")
        if self.intent.action != "ticket_create" and not self.intent.external_id:
            return PermanentFailure("no ticket to act on")
        match self.intent.action:
            case "ticket_create":
                return await self._with_permalink(await self._create(request))
            case "ticket_update":
                return await self._update(request)
            case "ticket_comment":
                return await self._comment(request)
            case "ticket_refer":
                return await self._refer(request)
            case "ticket_link":
                return await self._with_permalink(await self._link(request))
            case "ticket_read":
                return _report(await self.tickets.read(self.http, self.integration, self.intent.external_id))
            case "ticket_retire":
                call = self.tickets.retire(self.http, self.integration, self.intent.external_id, request.text)
                return _report(await call)
            case _:
                return PermanentFailure(f"there is no ticket action {self.intent.action!r}")

    async def _create(self, request: TicketRequest) -> Result:
        """Search first: a create whose answer was lost, or that was carried out before a restore, is not repeated."""
        found = await self.tickets.find(self.http, self.integration, request.marker)
        if isinstance(found, TransientFailure | PermanentFailure):
            return found
        if found:
            others = tuple(ticket.external_id for ticket in found[1:])
            return TicketReport("done", found[0], duplicates=others, detail="found by its marker")
        made = await self.tickets.create(self.http, self.integration, request.marker, request.changes)
        return _report(made, written=tuple(sorted(request.changes)))

    async def _link(self, request: TicketRequest) -> Result:
        ticket = await self.tickets.read(self.http, self.integration, self.intent.external_id)
        if not isinstance(ticket, Ticket):
            return ticket
        if ticket.marker == request.marker:
            return TicketReport("done", ticket)
        if ticket.marker:
            return PermanentFailure(f"{ticket.external_key} is linked to another incident")
        return _report(await self.tickets.mark(self.http, self.integration, ticket.external_id, request.marker))

    async def _with_permalink(self, result: Result) -> Result:
        """Put the incident's own address on a ticket that was just linked, once; a ticket without it is linked, too."""
        if not self.permalink or not isinstance(result, TicketReport) or result.ticket is None:
            return result
        key, external_id = f"INC-{self.intent.payload.get('number', '')}", result.ticket.external_id
        url = self.permalink.replace("{key}", key).replace("{id}", self.intent.incident_id)
        said = await self._put_link(external_id, f"incident-{self.intent.incident_id}", url, key)
        if isinstance(said, TransientFailure):
            return said
        if not isinstance(said, str):
            return replace(result, detail=f"{key} could not be linked from it: {said.reason}")
        now = await self.tickets.read(self.http, self.integration, external_id)
        return replace(result, ticket=now) if isinstance(now, Ticket) else result

    async def _put_link(
        self, external_id: str, link_id: str, url: str, title: str
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """A link where tickets have such, else a comment unless it is there."""
        if isinstance(self.tickets, HasLinks):
            return await self.tickets.refer(self.http, self.integration, external_id, link_id, url, title)
        mark = marker(link_id)
        match await self.tickets.find_comment(self.http, self.integration, external_id, mark):
            case Found():
                return "found from an earlier attempt"
            case Unknown(reason, retry_after_s):
                return TransientFailure(f"look-up: {reason}", retry_after_s)
        text = f"{title}: {url}\n\n{mark}"
        return await self.tickets.comment(self.http, self.integration, external_id, text, public=False)

    async def _refer(self, request: TicketRequest) -> Result:
        """A link where tickets have such, under an id that makes doing it again harmless; a comment elsewhere."""
        if not isinstance(self.tickets, HasLinks):
            return await self._comment(request)
        about = (request.changes.get(name, "") for name in ("link_id", "url", "title"))
        said = await self.tickets.refer(self.http, self.integration, self.intent.external_id, *about)
        return TicketReport("done", detail=said) if isinstance(said, str) else said

    async def _comment(self, request: TicketRequest) -> Result:
        mark = marker(request.marker)
        external_id = self.intent.external_id
        if self.number > 1:
            match await self.tickets.find_comment(self.http, self.integration, external_id, mark):
                case Found():
                    return TicketReport("done", detail="found from an earlier attempt")
                case Unknown(reason, retry_after_s):
                    return TransientFailure(f"look-up: {reason}", retry_after_s)
        text = f"{request.text}\n\n{mark}"
        said = await self.tickets.comment(self.http, self.integration, external_id, text, public=request.public)
        return TicketReport("done", detail=said) if isinstance(said, str) else said

    async def _update(self, request: TicketRequest) -> Result:
        before = await self.tickets.read(self.http, self.integration, self.intent.external_id)
        if not isinstance(before, Ticket):
            return before
        changes = {name: value for name, value in request.changes.items() if before.fields.get(name) != value}
        for name in changes:
            shown, expected = before.fields.get(name), request.expected.get(name)
            if shown is not None and expected is not None and shown != expected:
                return await self._stale(request, before, f"{name} was {shown!r}, not {expected!r}")
        if not changes:
            return await self._already(request, before)
        if self.number > 1 and before.version != request.version:
            # What an earlier attempt wrote may have been changed back since, and even have been reported.
            return await self._stale(request, before, "the ticket has moved since an earlier attempt")
        after = await self.tickets.write(self.http, self.integration, before.external_id, changes)
        if not isinstance(after, Ticket):
            return after
        return await self._verified(before, after, changes)

    async def _stale(self, request: TicketRequest, ticket: Ticket, detail: str) -> Result:
        """Nothing is written now; an earlier attempt may have been, over a value of others, before this one came."""
        if self.number == 1:
            return TicketReport("stale", ticket, detail=detail)
        if self.tickets.versioning == "counter":
            raced = ticket.version > request.version + 1  # more than the write of that attempt
            return TicketReport("stale", ticket, raced=raced, detail=detail)
        report = await self._by_history(ticket, request.changes, request.version)
        return replace(report, status="stale", raced=False, detail=detail)

    async def _already(self, request: TicketRequest, ticket: Ticket) -> Result:
        """The ticket is as asked: by somebody else, or by an earlier attempt, which then has to be verified now."""
        if self.number == 1:
            return TicketReport("done", ticket)
        if self.tickets.versioning == "counter":
            raced = ticket.version > request.version + 1  # more than the write of the earlier attempt
            return TicketReport("done", ticket, tuple(sorted(request.changes)), raced=raced)
        return await self._by_history(ticket, request.changes, request.version)

    async def _verified(self, before: Ticket, after: Ticket, changes: Mapping[str, str]) -> Result:
        """The result of a write, with what others did between the reads of it."""
        if self.tickets.versioning == "clock":
            return await self._by_history(after, changes, before.version)
        return TicketReport("done", after, tuple(sorted(changes)), raced=after.version > before.version + 1)

    async def _by_history(self, ticket: Ticket, changes: Mapping[str, str], since: int) -> TicketReport:
        written = tuple(sorted(changes))
        history = await self.tickets.history(self.http, self.integration, ticket.external_id, since)
        if isinstance(history, Gone | TransientFailure | PermanentFailure):
            return TicketReport("done", ticket, written, raced=True, detail="the history could not be read")
        ours = {change.field: place for place, change in enumerate(history) if change.ours}
        overwritten = {
            change.field: change.after
            for place, change in enumerate(history)
            if not change.ours and change.field in changes and place < ours.get(change.field, 0)
        }
        foreign = any(not change.ours and change.field in changes for change in history)
        return TicketReport("done", ticket, written, overwritten, foreign)


def _report(answer: Ticket | Gone | TransientFailure | PermanentFailure, written: tuple[str, ...] = ()) -> Result:
    return TicketReport("done", answer, written) if isinstance(answer, Ticket) else answer
