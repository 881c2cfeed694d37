"""Plans what is done about the files of tickets, beside what is done about their fields: one intent at a time.

Files have a lane of their own, so that a transfer holds up no edit of the ticket. Links of ours go with the comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from streams.domain import ticket_events as said
from streams.domain.attaching import attached_to
from streams.domain.attachment_events import AttachmentAdded, AttachmentEvent, LinkAdded
from streams.domain.attachments import HeldFile, HeldLink
from streams.domain.envelope import derive_id
from streams.domain.mapping import TicketMapping
from streams.domain.recording import Recorder
from streams.domain.state import TenantState
from streams.domain.ticket_files import KEEPERS, FileAction, TicketFiles, download_of, upload_of
from streams.domain.ticket_link import TicketLink

_NONE = TicketFiles()


@dataclass(slots=True)
class FileSync:
    """The part of a decision that is about files and links of tickets."""

    state: TenantState
    recorder: Recorder

    def of(self, key: str) -> TicketFiles:
        """What is remembered of a ticket's files."""
        return self.state.ticket_files.get(key) or _NONE

    def put(self, key: str, files: TicketFiles) -> None:
        """Keep it; what did not change is not written."""
        if self.of(key) != files:
            self.state.ticket_files.put(key, files)

    def goes(self, link: TicketLink | None, *, out: bool) -> TicketMapping | None:
        """The mapping, where files and links go this way between an incident and its ticket: as comments do."""
        mapping = self.state.mappings.get(link.integration_id) if link else None
        if link is None or mapping is None or link.phase == "lost":
            return None
        return mapping if mapping.comments in {"both", "out" if out else "in"} else None

    def follow(self, incident_id: str, event: AttachmentEvent) -> None:
        """What came to an incident goes to its tickets, but not to the one that it came from."""
        for key in self.state.ticket_index.of(incident_id):
            link = self.state.tickets.get(key)
            if link is None or self.goes(link, out=True) is None:
                continue
            if isinstance(event, AttachmentAdded):
                self._send(link, event.attachment_id)
            elif isinstance(event, LinkAdded) and event.origin != link.incident_id:
                files = self.of(key)
                self.put(key, replace(files, links=tuple(dict.fromkeys((*files.links, event.link_id)))))

    def linked(self, link: TicketLink, *, existed: bool) -> None:
        """A ticket is linked: everything that the incident has goes there; of one that ``existed``, files come."""
        held = attached_to(self.state, link.follows)
        if self.goes(link, out=True) is not None:
            for file in held.files:
                self._send(link, file.attachment_id)
            files = self.of(link.ticket_id)
            links = dict.fromkeys((*files.links, *(one.link_id for one in held.links)))
            self.put(link.ticket_id, replace(files, links=tuple(links)))
        if existed:
            self.look(link.ticket_id)
        self.advance(link.ticket_id)

    def _send(self, link: TicketLink, attachment_id: str) -> None:
        file, files = self._held(link, attachment_id), self.of(link.ticket_id)
        if file is None or file.problem or link.connector not in KEEPERS:
            return
        if files.copy_of(attachment_id) is None and attachment_id not in files.outgoing:
            self.put(link.ticket_id, replace(files, outgoing=(*files.outgoing, attachment_id)))

    def look(self, key: str) -> None:
        """Have a ticket's files listed as soon as nothing is under way."""
        link = self.state.tickets.get(key)
        if link is not None and link.connector in KEEPERS and self.goes(link, out=False) is not None:
            self.put(key, replace(self.of(key), unlisted=True))

    def forget(self, key: str, *, for_good: bool) -> None:
        """Let go of a ticket's files; intents are counted on where the ticket may be linked again."""
        if for_good:
            self.state.ticket_files.drop(key)
        else:
            self.put(key, TicketFiles(requests=self.of(key).requests))

    def retry(self, key: str) -> None:
        """Send whatever a ticket lacks, also what was given up: somebody asked for it."""
        link = self.state.tickets.get(key)
        if link is None or self.goes(link, out=True) is None:
            return
        self.put(key, replace(self.of(key), failed=()))
        for file in attached_to(self.state, link.follows).files:
            self._send(link, file.attachment_id)

    def advance(self, key: str) -> None:
        """Ask for what is to be done next."""
        link, files = self.state.tickets.get(key), self.of(key)
        if link is None or link.phase != "linked" or files.intent or files == _NONE:
            return
        mapping = self.goes(link, out=True)
        while mapping is not None and files.outgoing:
            file = self._held(link, files.outgoing[0])
            if file is not None:
                known = tuple(one.external_id for one in files.copies if self._is_like(link, one.attachment_id, file))
                self._request(link, mapping, "ticket_attach", file.attachment_id, upload_of(file, known))
                return
            files = replace(files, outgoing=files.outgoing[1:])  # it was taken away meanwhile
            self.put(key, files)
        mapping = self.goes(link, out=False)
        if mapping is not None and files.incoming:
            wanted = files.incoming[0]
            self._request(link, mapping, "ticket_fetch", wanted.external_id, download_of(wanted))
        elif mapping is not None and files.unlisted:
            known = tuple(one.external_id for one in files.copies)
            self._request(link, mapping, "ticket_list_files", "", {"known": " ".join(known)})

    def next_link(self, link: TicketLink) -> HeldLink | None:
        """The link that is to be put on a ticket next; those that were taken away meanwhile are passed over."""
        files, held = self.of(link.ticket_id), attached_to(self.state, link.follows)
        there = {one.link_id: one for one in held.links}
        waiting = tuple(one for one in files.links if one in there)
        self.put(link.ticket_id, replace(files, links=waiting))
        return there[waiting[0]] if waiting else None

    def link_sent(self, key: str) -> None:
        """The first of the waiting links was sent, or given up."""
        files = self.of(key)
        self.put(key, replace(files, links=files.links[1:]))

    def _held(self, link: TicketLink, attachment_id: str) -> HeldFile | None:
        files = attached_to(self.state, link.follows).files
        return next((one for one in files if one.attachment_id == attachment_id), None)

    def _is_like(self, link: TicketLink, attachment_id: str, file: HeldFile) -> bool:
        """Whether a copy at the ticket is of another file that looks the same, so that it is not taken for this one."""
        other = self._held(link, attachment_id)
        return other is None or (other.file_name, other.size) == (file.file_name, file.size)

    def _request(
        self, link: TicketLink, mapping: TicketMapping, action: FileAction, item: str, about: Mapping[str, str]
    ) -> None:
        files = self.of(link.ticket_id)
        number = files.requests + 1
        intent = derive_id(link.ticket_id, "files", str(number))
        self.put(link.ticket_id, replace(files, requests=number, intent=intent, action=action, item=item))
        event = said.SyncRequested(
            link.ticket_id, intent, link.connector, link.integration_id, action, link.marker, mapping.version,
            link.external_id, changes=about,
        )  # fmt: skip
        self.recorder.record(link.follows, event)
