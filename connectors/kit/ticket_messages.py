"""What is seen of tickets as messages for the intake; webhooks and polls make them here alike."""

from __future__ import annotations

from connectors.kit.contract import Integration, Message
from connectors.kit.intake import digest, ingested_message, observed_message
from connectors.kit.markers import has_marker
from connectors.kit.tickets import FilesSeen, Note, Ticket
from streams.domain.envelope import Envelope
from streams.domain.ticket_files import FILES_OBSERVED, FilesObserved
from streams.domain.tickets import Origin, TicketObserved


def ticket_message(integration: Integration, ticket: Ticket, origin: Origin, raw: bytes = b"") -> Message:
    """A ticket as it was read or told."""
    observed = TicketObserved(
        connector=integration.connector,
        integration_id=integration.integration_id,
        external_id=ticket.external_id,
        origin=origin,
        external_key=ticket.external_key,
        url=ticket.url,
        marker=ticket.marker,
        version=ticket.version,
        updated_at=ticket.updated_at,
        updated_by=ticket.updated_by,
        fields=ticket.fields,
        raw=raw,
    )
    return observed_message(integration, observed)


def deleted_message(integration: Integration, external_id: str, origin: Origin, raw: bytes = b"") -> Message:
    """A ticket that the provider says is gone."""
    gone = TicketObserved(
        integration.connector, integration.integration_id, external_id, origin=origin, deleted=True, raw=raw
    )
    return observed_message(integration, gone)


def files_message(integration: Integration, seen: FilesSeen, origin: Origin, raw: bytes = b"") -> Message:
    """Which files a ticket has; the same files at the same time are one delivery, by webhook and by poll."""
    ids = sorted(seen.file_ids)
    envelope = Envelope(
        id=digest(integration.source, "files", seen.external_id, str(seen.complete), str(seen.at), *ids),
        source=integration.source,
        type=FILES_OBSERVED,
        tenantid=integration.tenant_id,
    )
    observed = FilesObserved(
        integration.connector, integration.integration_id, seen.external_id, tuple(ids), seen.complete, origin, raw
    )
    return envelope, observed


def note_message(integration: Integration, note: Note, raw: bytes = b"") -> Message:
    """A comment: a note for the incident, unless it ends with a marker of ours (echo) or is empty."""
    is_theirs = bool(note.text.strip() and note.external_id) and not has_marker(note.text)
    return ingested_message(
        integration,
        digest(integration.source, "note", note.external_id, note.note_id),
        f"{integration.connector}.{note.kind}",
        raw,
        action="note" if is_theirs else "none",
        external_id=note.external_id,
        actor=f"{integration.connector}:{note.author}" if note.author else integration.connector,
        text=note.text,
        event_time=note.at,
    )
