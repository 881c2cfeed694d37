"""What the orchestrator writes beside the record: intents of side effects, and outcomes of commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from streams.domain.records import dataclass


@dataclass(frozen=True, slots=True)
class Intent:
    """A planned side effect (``com.incidents.intent.v1``, on ``outbox-intents``).

    ``idempotency_key`` travels to the provider as its key or marker; ``external_id`` is the object to act on;
    ``not_after`` (milliseconds, 0: any time) is when it is no longer worth sending.
    """

    intent_id: str
    incident_id: str
    connector: str
    integration_id: str
    action: str
    external_id: str
    idempotency_key: str
    event_id: str
    created: int
    not_after: int = 0
    payload: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandAccepted:
    """A command was carried out, possibly with nothing left to do; the sequences are those of its last event."""

    command_id: str
    incident_id: str = ""
    number: int = 0
    status: str = ""
    revision: int = 0
    sequence: int = 0
    tenantsequence: int = 0


@dataclass(frozen=True, slots=True)
class CommandRejected:
    """A command was refused: ``reason`` is one of ``errors.Reason``."""

    command_id: str
    reason: str
    detail: str = ""
    incident_id: str = ""


CommandResult = CommandAccepted | CommandRejected
