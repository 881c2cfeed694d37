"""The scheduled check: the tickets of each integration are compared and repaired, once in each period."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.kit.contract import Integration
from streams.codec import cloudevents
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope, derive_id
from streams.domain.ticket_commands import ReconcileTickets
from streams.runtime.producer import ProducerRecord

SOURCE = "/poller"
ACTOR = "system:poller"


@dataclass(frozen=True, slots=True)
class Check:
    """The check of an integration in one period; its id depends on both alone, so that several pollers ask once."""

    integration: Integration
    period: int

    def record(self, topic: str) -> ProducerRecord:
        """The command for the intake."""
        tenant, integration_id = self.integration.tenant_id, self.integration.integration_id
        envelope = Envelope(
            id=derive_id(integration_id, "check", str(self.period)),
            source=SOURCE,
            type=TYPE_OF[ReconcileTickets],
            tenantid=tenant,
        )
        value, headers = cloudevents.encode(envelope, ReconcileTickets("", ACTOR, integration_id))
        return ProducerRecord(topic, tenant.encode(), value, headers)


class Checks:
    """Which checks this process has asked for; a period lasts ``every_s`` seconds of the machine's clock."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._asked: dict[str, int] = {}

    def due(self, integration: Integration, now: float) -> Check | None:
        """The check of the present period (``now`` in seconds); none where it was asked for."""
        period = int(now // self._every_s)
        return None if self._asked.get(integration.integration_id) == period else Check(integration, period)

    def done(self, check: Check) -> None:
        """Kafka has it."""
        self._asked[check.integration.integration_id] = check.period
