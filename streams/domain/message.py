"""What goes into a decision and what comes out of it, before it is sealed."""

from __future__ import annotations

from streams.domain.commands import Command
from streams.domain.envelope import Envelope
from streams.domain.events import Event
from streams.domain.records import dataclass
from streams.domain.signals import ProviderIngested, Signal
from streams.domain.ticket_files import FilesObserved
from streams.domain.tickets import TicketObserved

Data = Signal | ProviderIngested | TicketObserved | FilesObserved | Command


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the intake: ``recorded`` is the broker's ``LogAppendTime`` in milliseconds."""

    envelope: Envelope
    data: Data
    recorded: int
    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Fact:
    """An event without its place in the record; ``incident_id`` is empty for the tenant's own stream.

    ``at`` is the recorded time of its first cause. One that is ``quiet`` has no effects.
    """

    incident_id: str
    event: Event
    cause: Envelope
    at: int
    quiet: bool = False
