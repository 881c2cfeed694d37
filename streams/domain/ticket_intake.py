"""Takes in what is seen of tickets, and what became of the intents about them."""

from __future__ import annotations

from dataclasses import dataclass

from streams.domain import ticket_events as said
from streams.domain.errors import Reason, Rejected
from streams.domain.mapping import TicketMapping
from streams.domain.ticket_link import TicketLink, marked, with_field
from streams.domain.ticket_results import TicketResults
from streams.domain.ticket_sync import TicketSync
from streams.domain.tickets import RecordTicket, TicketObserved


@dataclass(frozen=True, slots=True)
class TicketIntake:
    """The part of ``TicketSync`` that listens."""

    sync: TicketSync

    def observe(self, seen: TicketObserved) -> bool:
        """Take in a ticket as its provider showed it; false where it is none of ours."""
        link = self._link_of(seen)
        mapping = self.sync.state.mappings.get(seen.integration_id)
        if link is None:
            return False
        if link.intent and link.phase in {"creating", "linking"}:
            # The answer to what is under way says which ticket it is; what was seen meanwhile does not come again.
            known = (*link.duplicates, seen.external_id) if not seen.deleted else link.duplicates
            self.sync.put(link._replace(duplicates=tuple(dict.fromkeys(known)), unread=True))
            return True
        if link.external_id and seen.external_id != link.external_id and link.phase == "linked":
            if not seen.deleted and seen.external_id not in link.duplicates:
                self.sync.put(link._replace(duplicates=(*link.duplicates, seen.external_id)))
                self.sync.advance(link.ticket_id)
            return True
        if seen.deleted:
            if link.phase == "linked":
                self.sync.unlink(link, "gone", "the provider says that it was deleted", "")
            return True
        incident = self.sync.state.incidents.get(link.follows)
        if link.phase == "failed" and mapping is not None and incident is not None:
            self.sync.create(incident, mapping, link)  # which looks for the marker first
        elif link.phase == "linked" and mapping is not None:
            self.fold(link, mapping, seen, is_read=False)
            self.sync.advance(link.ticket_id)
        return True

    def _link_of(self, seen: TicketObserved) -> TicketLink | None:
        state = self.sync.state
        key = state.ticket_index.by_external.get((seen.integration_id, seen.external_id))
        key = key or marked(seen.marker)
        link = state.tickets.get(key) if key else None
        return link if link is not None and link.integration_id == seen.integration_id else None

    def linked(self, link: TicketLink, external_key: str, url: str, how: said.How, actor: str = "") -> TicketLink:
        """Note that the link's ticket is known."""
        others = tuple(one for one in link.duplicates if one != link.external_id)
        link = link._replace(phase="linked", external_key=external_key, url=url, duplicates=others)
        self.sync.put(link)
        event = said.TicketLinked(
            link.ticket_id,
            link.connector,
            link.integration_id,
            how,
            link.external_id,
            external_key,
            url,
            actor,
        )
        self.sync.recorder.record(link.follows, event)
        self.sync.files.linked(link, existed=how == "command")
        return link

    def fold(
        self, link: TicketLink, mapping: TicketMapping, seen: TicketObserved | RecordTicket, *, is_read: bool
    ) -> tuple[str, ...]:
        """Note what a snapshot shows, unless something newer is known; the fields that it shows otherwise.

        ``is_read``: we asked for it ourselves, so that of two snapshots of one version it is the one to believe.
        """
        relevant = {one.external_field for one in mapping.fields}
        relevant |= {key.partition("/")[2] for one in mapping.fields for key in one.required}
        shown = {name: value for name, value in seen.fields.items() if name in relevant}
        news = tuple(sorted(name for name, value in shown.items() if link.shown.get(name) != value))
        if not is_read and (seen.version == 0 or (seen.version == link.version and news)):
            self.sync.put(link._replace(unread=True))
            return ()
        if seen.version < link.version or (not news and seen.version == link.version):
            return ()
        at = min(seen.updated_at or self.sync.now, self.sync.now)
        for name in news:
            link = with_field(link, link.field(name)._replace(theirs_at=at))
        missing = any(name not in shown for name in link.shown)
        self.sync.put(
            link._replace(
                seen={**link.shown, **shown},
                version=seen.version,
                updated_by=seen.updated_by,
                checked_at=self.sync.now,
                unread=link.unread or (missing and not is_read),
            )
        )
        return news

    def record(self, result: RecordTicket) -> str:
        """Take in what became of an intent; the id of the incident that it was about.

        Raises ``Rejected`` for one that is not under way: its link is gone, or it was answered already.
        """
        link = self._waiting_for(result)
        if link is None:
            raise Rejected(Reason.NOT_DUE, f"intent {result.intent_id} is not under way")
        mapping = self.sync.state.mappings.get(link.integration_id)
        answered = link._replace(intent="", action="", asked=())
        results = TicketResults(self, mapping, result, link.action, link.asked)
        if result.status == "done":
            results.done(answered)
        else:
            results.not_done(answered)
        self.sync.advance(link.ticket_id)
        return link.follows

    def _waiting_for(self, result: RecordTicket) -> TicketLink | None:
        tickets = self.sync.state.tickets
        near = (tickets.get(key) for key in self.sync.state.ticket_index.of(result.incident_id))
        for link in (*near, *tickets.values()):  # all of them: after a merge it follows another incident
            if link is not None and link.intent == result.intent_id:
                return link
        return None
