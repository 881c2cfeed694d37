"""Takes in what is told of the files of tickets: hints that there are new ones, and what became of intents."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streams.domain import ticket_events as said
from streams.domain.attaching import attached_to
from streams.domain.attachment_events import AttachmentAdded
from streams.domain.attachments import MAX_FILES, media_type, safe_file_name
from streams.domain.envelope import derive_id
from streams.domain.errors import Reason, Rejected
from streams.domain.file_sync import FileSync
from streams.domain.ticket_files import Copy, FilesObserved, RecordFiles, RemoteFile, TicketFiles
from streams.domain.ticket_link import TicketLink


@dataclass(frozen=True, slots=True)
class FileIntake:
    """The part of ``FileSync`` that listens."""

    sync: FileSync

    def observe(self, seen: FilesObserved) -> None:
        """A hint is only ever a reason to have the files listed; of a ticket that is none of ours, none.

        One that is not known yet may be any of those that are being made or linked: the hint does not come again.
        """
        state = self.sync.state
        key = state.ticket_index.by_external.get((seen.integration_id, seen.external_id))
        if key is None:
            for link in list(state.tickets.values()) if seen.file_ids else ():
                if link.integration_id == seen.integration_id and link.phase in {"creating", "linking", "failed"}:
                    self.sync.look(link.ticket_id)
            return
        files = self.sync.of(key)
        there = [one.external_id for one in files.copies if not one.gone]
        is_news = any(not files.knows(one) for one in seen.file_ids)
        if is_news or (seen.complete and any(one not in seen.file_ids for one in there)):
            self.sync.look(key)
            self.sync.advance(key)

    def record(self, result: RecordFiles) -> str:
        """Take in what became of an intent; the id of the incident that it was about.

        Raises ``Rejected`` for one that is not under way: its link is gone, or it was answered already.
        """
        link = self._waiting_for(result)
        if link is None:
            raise Rejected(Reason.NOT_DUE, f"intent {result.intent_id} is not under way")
        files = self.sync.of(link.ticket_id)
        self.sync.put(link.ticket_id, replace(files, intent="", action="", item=""))
        if result.status == "done":
            self._done(link, files, result)
        else:
            self._not_done(link, files, result)
        self.sync.advance(link.ticket_id)
        return link.follows

    def _waiting_for(self, result: RecordFiles) -> TicketLink | None:
        state = self.sync.state
        for key in (*state.ticket_index.of(result.incident_id), *state.ticket_files):
            if self.sync.of(key).intent == result.intent_id:  # after a merge it follows another incident
                return state.tickets.get(key)
        return None

    def _done(self, link: TicketLink, asked: TicketFiles, result: RecordFiles) -> None:
        mapping = self.sync.state.mappings.get(link.integration_id)
        event = said.SyncCompleted(
            link.ticket_id, result.intent_id, link.connector, link.integration_id, asked.action,
            mapping.version if mapping else 0, result.attempts, link.external_id, link.external_key, link.url,
            detail=result.detail,
        )  # fmt: skip
        self.sync.recorder.record(link.follows, event)
        match asked.action:
            case "ticket_attach":
                self._attached(link, asked.item, result.files)
            case "ticket_fetch":
                for file in result.files:
                    self._fetched(link, file)
            case _:
                self._listed(link, result.files)

    def _not_done(self, link: TicketLink, asked: TicketFiles, result: RecordFiles) -> None:
        kind: said.FailureKind = "gone" if result.status == "gone" else "refused"
        self._fail(link, asked.action, kind, result)
        files = self.sync.of(link.ticket_id)
        match asked.action:
            case "ticket_attach":
                waiting = tuple(one for one in files.outgoing if one != asked.item)
                files = replace(files, outgoing=waiting, failed=(*files.failed, asked.item))
                self.sync.put(link.ticket_id, files)
            case "ticket_fetch" if kind == "gone":
                self._arrived(link, asked.item, None)
            case "ticket_fetch":
                for file in files.incoming:
                    if file.external_id == asked.item:
                        self._fetched(link, replace(file, problem=result.detail or "it could not be fetched"))
            case _:
                self.sync.put(link.ticket_id, replace(files, unlisted=False))

    def _fail(self, link: TicketLink, action: str, kind: said.FailureKind, result: RecordFiles) -> None:
        event = said.SyncFailed(
            link.ticket_id, result.intent_id, link.connector, link.integration_id, action, kind, result.attempts,
            link.external_id, result.detail,
        )  # fmt: skip
        self.sync.recorder.record(link.follows, event)

    def _attached(self, link: TicketLink, attachment_id: str, files: tuple[RemoteFile, ...]) -> None:
        known = self.sync.of(link.ticket_id)
        copies = tuple(Copy(file.external_id, attachment_id) for file in files[:1])
        waiting = tuple(one for one in known.outgoing if one != attachment_id)
        self.sync.put(link.ticket_id, replace(known, outgoing=waiting, copies=(*known.copies, *copies)))

    def _fetched(self, link: TicketLink, file: RemoteFile) -> None:
        """A file of theirs is here, or stays where it is: the incident has it either way."""
        attachment_id = derive_id(link.ticket_id, file.external_id, "attachment")
        self._arrived(link, file.external_id, Copy(file.external_id, attachment_id))
        event = AttachmentAdded(
            attachment_id, safe_file_name(file.file_name) or "file", media_type(file.media_type), max(0, file.size),
            file.sha256, file.actor or link.connector, "ticket", link.integration_id, link.ticket_id,
            file.external_id, file.problem,
        )  # fmt: skip
        self.sync.recorder.record(link.follows, event)

    def _arrived(self, link: TicketLink, external_id: str, copy: Copy | None) -> None:
        files = self.sync.of(link.ticket_id)
        waiting = tuple(one for one in files.incoming if one.external_id != external_id)
        copies = (*files.copies, *((copy,) if copy else ()))
        self.sync.put(link.ticket_id, replace(files, incoming=waiting, copies=copies))

    def _listed(self, link: TicketLink, listed: tuple[RemoteFile, ...]) -> None:
        """Fetch what is new, tell what is gone, and know our own again whose arrival was never reported."""
        files = replace(self.sync.of(link.ticket_id), unlisted=False)
        self.sync.put(link.ticket_id, files)
        there = {file.external_id for file in listed}
        for copy in files.copies:
            if copy.gone == (copy.external_id in there):
                self._moved(link, copy)
        for file in listed:
            files = self.sync.of(link.ticket_id)
            if files.knows(file.external_id):
                continue
            own = self._own(link, files, file)
            if own:
                self.sync.put(
                    link.ticket_id,
                    replace(
                        files,
                        copies=(*files.copies, Copy(file.external_id, own)),
                        outgoing=tuple(one for one in files.outgoing if one != own),
                        failed=tuple(one for one in files.failed if one != own),
                    ),
                )
            elif len(attached_to(self.sync.state, link.follows).files) + len(files.incoming) < MAX_FILES:
                self.sync.put(link.ticket_id, replace(files, incoming=(*files.incoming, file)))

    def _moved(self, link: TicketLink, copy: Copy) -> None:
        """A file was deleted at the ticket, or is there again; ours stays."""
        files = self.sync.of(link.ticket_id)
        copies = tuple(replace(one, gone=not one.gone) if one == copy else one for one in files.copies)
        self.sync.put(link.ticket_id, replace(files, copies=copies))
        if not copy.gone:
            event = said.TicketFileGone(
                link.ticket_id, link.connector, link.integration_id, copy.attachment_id, copy.external_id
            )
            self.sync.recorder.record(link.follows, event)

    def _own(self, link: TicketLink, files: TicketFiles, file: RemoteFile) -> str:
        """Our file that this one is, where an upload was never reported or the link was made anew; empty: none."""
        for held in attached_to(self.sync.state, link.follows).files:
            is_same = (held.file_name, held.size) == (file.file_name, file.size)
            copies = [one for one in files.copies if one.attachment_id == held.attachment_id]
            if is_same and held.sha256 and all(one.gone for one in copies):
                return held.attachment_id
        return ""
