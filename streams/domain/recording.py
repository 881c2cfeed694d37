"""Collects the events of one message and folds each into the state at once, so that the next decision sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.domain import attachments, events
from streams.domain.attachment_events import AttachmentEvent
from streams.domain.envelope import derive_id
from streams.domain.incident import Incident, evolve
from streams.domain.message import Fact, Message
from streams.domain.state import TenantState


@dataclass(slots=True)
class Recorder:
    """The events that deciding ``message`` causes; ``now`` is the tenant's recorded time.

    While it is ``quiet``, what is recorded has no effects.
    """

    state: TenantState
    message: Message
    now: int
    facts: list[Fact] = field(default_factory=list)
    quiet: bool = False

    def record(self, incident_id: str, event: events.IncidentEvent) -> Incident:
        """Add an event of an incident and return the incident after it."""
        cause = self.message.envelope
        incident = evolve(self.state.incidents.get(incident_id), event, id_=incident_id, at=self.now, cause=cause.id)
        self.state.incidents.put(incident_id, incident)
        if not isinstance(event, events.AlertsAttached) and isinstance(event, AttachmentEvent):  # the most by far first
            held = self.state.attached.get(incident_id) or attachments.Attached()
            self.state.attached.put(incident_id, attachments.evolve(held, event, self.now))
        self.facts.append(Fact(incident_id, event, cause, self.now, self.quiet))
        return incident

    def declare(self, event: events.Declared) -> Incident:
        """Begin an incident; its id is derived from the tenant, the cause and the cause's recorded time (R5)."""
        cause = self.message.envelope
        return self.record(derive_id(self.state.tenant, cause.id, str(self.message.recorded)), event)

    def record_for_tenant(self, event: events.TenantEvent) -> None:
        """Add an event of the tenant's own stream."""
        self.facts.append(Fact("", event, self.message.envelope, self.now))

    def next_number(self) -> int:
        """Take the next human number; it is given back when the message is rolled back."""
        number = self.state.head.next_number
        self.state.set_head(next_number=number + 1)
        return number
