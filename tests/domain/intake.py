"""A small tenant to decide messages in: builds intake messages, decides them in batches and folds what came out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from streams.agents.conditions import holds
from streams.codec import avro
from streams.domain import commands, events, outputs
from streams.domain.batch import Batch, PartitionState, Recorded, Sealed
from streams.domain.catalogue import TYPE_OF
from streams.domain.correlation import Rule
from streams.domain.envelope import Envelope
from streams.domain.incident import Incident, evolve
from streams.domain.message import Data, Message
from streams.domain.signals import Signal, SignalStatus
from streams.domain.state import TenantState

T0 = 1_780_000_000_000
MINUTE = 60_000
TENANT = "acme"
SOURCE = "/integrations/alertmanager/am-1"


def signal(fingerprint: str = "fp-1", *, at: int = T0, status: SignalStatus = "firing", **fields: Any) -> Signal:
    """A signal of service checkout; ``at`` is its event time."""
    values: dict[str, Any] = {
        "title": "High latency",
        "service": "checkout",
        "error_type": "latency",
        "connector": "alertmanager",
        "integration_id": "am-1",
        **fields,
    }
    return Signal(fingerprint=fingerprint, event_time=at, status=status, **values)


class Intake:
    """One partition with one tenant by default; offsets and recorded times go up by themselves."""

    def __init__(self) -> None:
        self.state = PartitionState(holds=holds)
        self.offset = 0
        self.now = T0
        self.recorded: list[Recorded] = []
        self.intents: list[outputs.Intent] = []
        self.results: list[outputs.CommandResult] = []
        self.dispositions: list[str] = []

    @property
    def tenant(self) -> TenantState:
        """The state of the tenant that messages are for by default."""
        return self.state.tenant(TENANT)

    def message(self, data: Data, id_: str = "", *, tenant: str = TENANT, source: str = SOURCE) -> Message:
        """The next message of the intake."""
        offset, self.offset, self.now = self.offset, self.offset + 1, self.now + 1
        envelope = Envelope(id=id_ or f"m-{offset}", source=source, type=TYPE_OF[type(data)], tenantid=tenant)
        return Message(envelope, data, self.now, "incident-intake", 0, offset)

    def decide(self, messages: Sequence[Message]) -> Sealed:
        """Decide messages as one batch and commit it."""
        batch = Batch(self.state, f"0:{messages[0].offset}:{messages[-1].offset}")
        self.dispositions += [batch.add(message) for message in messages]
        sealed = batch.seal(lambda data: avro.encode(data)[0])
        self.state.journal.clear()
        self.recorded += sealed.recorded
        self.intents += [intent for _, intent in sealed.intents]
        self.results += [result for _, result in sealed.results]
        return sealed

    def send(self, *data: Data) -> list[events.Event]:
        """Decide data as messages of one batch; the events that came out."""
        return [recorded.event for recorded in self.decide([self.message(item) for item in data]).recorded]

    def command(self, data: Data, id_: str = "") -> outputs.CommandResult:
        """Decide one command; its result."""
        self.decide([self.message(data, id_, source="/api")])
        return self.results[-1]

    def rules(self, *rules: Rule, **more: Any) -> None:
        """Go by other rules from now on; ``more`` are the other fields of ``SetRuleSet``."""
        result = self.command(commands.SetRuleSet("tests", 1, rules, "user:ada", **more))
        assert isinstance(result, outputs.CommandAccepted)

    def declared(self) -> list[str]:
        """The ids of the incidents so far, in the order of their numbers."""
        return [r.envelope.subject for r in self.recorded if isinstance(r.event, events.Declared)]

    def incident(self, id_: str) -> Incident:
        """The orchestrator's state of an incident."""
        found = self.tenant.incidents.get(id_)
        assert found is not None
        return found

    def folded(self) -> dict[str, Incident]:
        """The incidents as the record has them."""
        return fold(self.recorded)

    def groups(self) -> set[frozenset[str]]:
        """Which delivery ids stand together in one incident."""
        found: dict[str, set[str]] = defaultdict(set)
        for recorded in self.recorded:
            if isinstance(recorded.event, events.AlertsAttached | events.AlertsRepeated):
                found[recorded.envelope.subject] |= {alert.id for alert in recorded.event.alerts}
        return {frozenset(ids) for ids in found.values()}


def fold(recorded: Iterable[Recorded]) -> dict[str, Incident]:
    """The incidents that a record tells of."""
    incidents: dict[str, Incident] = {}
    for entry in recorded:
        envelope, event = entry.envelope, entry.event
        if not isinstance(event, events.TenantEvent):
            incidents[envelope.subject] = evolve(
                incidents.get(envelope.subject),
                event,
                id_=envelope.subject,
                at=envelope.recordedtime,
                cause=envelope.causationid,
            )
    return incidents
