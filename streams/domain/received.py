"""A signal in hand: what is derived from it once, and how the record refers to it."""

from __future__ import annotations

from streams.domain import events
from streams.domain.correlation import Match
from streams.domain.message import Message
from streams.domain.records import dataclass
from streams.domain.signals import Signal


@dataclass(frozen=True, slots=True)
class Received:
    """A signal with what is derived from it once."""

    signal: Signal
    message: Message
    key: str
    fingerprint: str
    at: int

    def ref(self) -> events.AlertRef:
        """The signal as one about an alert that the incident holds."""
        envelope, signal = self.message.envelope, self.signal
        return events.AlertRef(
            source=envelope.source,
            id=envelope.id,
            alert_key=self.key,
            event_time=self.at,
            recorded_time=self.message.recorded,
            fingerprint=self.fingerprint,
            title=signal.title,
            connector=signal.connector,
            integration_id=signal.integration_id,
        )

    def alert(self, match: Match | None) -> events.Alert:
        """The signal as an alert that joins an incident, with why it does."""
        envelope, signal = self.message.envelope, self.signal
        return events.Alert(
            source=envelope.source,
            id=envelope.id,
            alert_key=self.key,
            title=signal.title,
            event_time=self.at,
            recorded_time=self.message.recorded,
            fingerprint=self.fingerprint,
            severity=signal.severity,
            service=signal.service,
            host=signal.host,
            error_type=signal.error_type,
            rule=signal.rule,
            kind=signal.kind,
            connector=signal.connector,
            integration_id=signal.integration_id,
            external_id=signal.external_id,
            correlation_rule=match.rule.name if match else "",
            correlation_version=match.rule.version if match else 0,
            correlation_key=match.key if match else "",
            links=signal.links,
            labels=signal.labels,
        )
