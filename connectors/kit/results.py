"""What the dispatcher reports to the intake, and how long it waits before it tries again."""

from __future__ import annotations

from dataclasses import replace

from tenacity import RetryCallState, Retrying, wait_exponential_jitter

from connectors.kit import limits
from connectors.kit.file_attempt import FileReport
from connectors.kit.outbox import FinalState, Leased
from connectors.kit.outcome import Gone, PermanentFailure
from connectors.kit.ticket_attempt import TicketReport
from streams.codec import cloudevents
from streams.domain.catalogue import TYPE_OF
from streams.domain.commands import RecordEffect
from streams.domain.envelope import Envelope, derive_id
from streams.domain.outputs import Intent
from streams.domain.ticket_files import RecordFiles
from streams.domain.tickets import RecordTicket, TicketStatus
from streams.runtime.producer import ProducerRecord

SOURCE = "/dispatcher"
_back_off = wait_exponential_jitter(max=300.0, exp_base=2, jitter=1.0)


def effect_record(
    topic: str, leased: Leased, status: FinalState, reference: str = "", detail: str = ""
) -> ProducerRecord:
    """The ``RecordEffect`` command for the intake; its id depends on the intent alone, so a repeat changes nothing."""
    intent = leased.intent
    command = RecordEffect(
        incident_id=intent.incident_id,
        intent_id=intent.intent_id,
        connector=intent.connector,
        integration_id=intent.integration_id,
        action=intent.action,
        status=status,
        attempts=leased.attempt,
        external_ref=reference,
        detail=detail[:500],
    )
    return _record(topic, leased, command)


def ticket_record(topic: str, leased: Leased, result: TicketReport | PermanentFailure | Gone) -> ProducerRecord:
    """The ``RecordTicket`` command for the intake, under the id that any report about the intent has."""
    return _record(topic, leased, ticket_command(leased.intent, leased.attempt, result))


def files_record(topic: str, leased: Leased, result: FileReport | PermanentFailure | Gone) -> ProducerRecord:
    """The ``RecordFiles`` command for the intake, under the id that any report about the intent has."""
    return _record(topic, leased, files_command(leased.intent, leased.attempt, result))


def _record(topic: str, leased: Leased, command: RecordEffect | RecordTicket | RecordFiles) -> ProducerRecord:
    envelope = Envelope(
        id=derive_id(leased.intent.intent_id, "effect"),
        source=SOURCE,
        type=TYPE_OF[type(command)],
        tenantid=leased.tenant_id,
        causationid=leased.intent.intent_id,
    )
    value, headers = cloudevents.encode(envelope, command)
    return ProducerRecord(topic, leased.tenant_id.encode(), value, headers)


def ticket_command(intent: Intent, attempts: int, result: TicketReport | PermanentFailure | Gone) -> RecordTicket:
    """The command that says what became of a ticket intent."""
    command = RecordTicket(
        incident_id=intent.incident_id,
        intent_id=intent.intent_id,
        connector=intent.connector,
        integration_id=intent.integration_id,
        action=intent.action,
        status="gone" if isinstance(result, Gone) else "failed",
        attempts=attempts,
    )
    if not isinstance(result, TicketReport):
        return replace(command, detail=limits.text(result.reason, limits.TITLE_CHARACTERS))
    command = replace(
        command,
        status=result.status,
        written=result.written,
        overwritten=result.overwritten,
        raced=result.raced,
        duplicates=result.duplicates,
        detail=limits.text(result.detail, limits.TITLE_CHARACTERS),
    )
    ticket = result.ticket
    if ticket is None:
        return command
    return replace(
        command,
        external_id=ticket.external_id,
        external_key=ticket.external_key,
        url=ticket.url,
        version=ticket.version,
        updated_at=ticket.updated_at,
        updated_by=ticket.updated_by,
        fields=ticket.fields,
    )


def files_command(intent: Intent, attempts: int, result: FileReport | PermanentFailure | Gone) -> RecordFiles:
    """The command that says what became of an intent about files."""
    status: TicketStatus = "gone" if isinstance(result, Gone) else "failed"
    is_done = isinstance(result, FileReport)
    return RecordFiles(
        incident_id=intent.incident_id,
        intent_id=intent.intent_id,
        connector=intent.connector,
        integration_id=intent.integration_id,
        action=intent.action,
        status="done" if is_done else status,
        attempts=attempts,
        files=result.files if isinstance(result, FileReport) else (),
        detail=limits.text(result.detail if isinstance(result, FileReport) else result.reason, limits.TITLE_CHARACTERS),
    )


def delay_s(attempt: int, retry_after_s: float) -> float:
    """Seconds until the next attempt: what the provider asked for, or exponential with jitter, whichever is longer."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return max(retry_after_s, _back_off(state))
