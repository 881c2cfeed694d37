"""The orchestrator: the one decider over ``incident-intake``, as an agent (design sections 1 and 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import structlog

from streams.agents import conditions, state_codec
from streams.codec import avro, cloudevents
from streams.domain import events, outputs
from streams.domain.batch import Batch, PartitionState, Recorded
from streams.domain.catalogue import BY_TYPE, INTENT, PROVIDER_INGESTED, SIGNAL, TYPE_OF
from streams.domain.envelope import Envelope, derive_id, record_source, rfc3339
from streams.domain.errors import InvalidEvent
from streams.domain.message import Message
from streams.domain.tickets import TICKET_OBSERVED
from streams.runtime import metrics
from streams.runtime.dead_letter import PREFIX, REPLAYED
from streams.runtime.partition import BATCH_FAILED
from streams.runtime.ports import Record, Turn, Write, Writes
from streams.runtime.settings import KafkaSettings
from streams.runtime.worker import AgentSpec, Worker

log = structlog.get_logger(__name__)

APPLICATION = "incidents-orchestrator"
INTAKE, EVENTS, INTENTS, RESULTS = "incident-intake", "incident-events", "outbox-intents", "command-results"
STATE, DEAD_LETTERS = "orchestrator-state", "incident-intake-dlq"
PARKED = "tenant-parked"

_COMMANDS = ("com.incidents.command.", "com.incidents.config.")
_DELIVERIES = frozenset({SIGNAL, PROVIDER_INGESTED, TICKET_OBSERVED})
_RELEASE = "com.incidents.command.release.v1"


class Orchestrator:
    """The logic of one intake partition (a ``runtime.ports.Processor``)."""

    def __init__(self, settings: KafkaSettings, partition: int) -> None:
        self._settings = settings
        self._partition = partition
        self._state = PartitionState(holds=conditions.holds)
        self.erased: dict[str, str] = {}
        """For deciding again: the recorded digests of events whose data was erased, by event id."""

    def reset(self) -> None:
        """Forget the state."""
        self._state = PartitionState(holds=conditions.holds)

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take an item of the state topic; raises ``UnknownSchema`` for a format that a newer version wrote."""
        tenant, kind, item = state_codec.split_key(key)
        decoded = state_codec.decode(kind, value) if value is not None else None
        self._state.tenant(tenant).table(kind).load(item, decoded)

    def turn(self, first: int, last: int) -> Turn:
        """Begin a batch."""
        return OrchestratorTurn(self._settings, self._state, f"{self._partition}:{first}:{last}", self.erased)

    def committed(self) -> None:
        """Forget how to take the batch back."""
        self._state.journal.clear()

    def parked(self) -> int:
        """How many tenants are parked."""
        return sum(state.head.parked for state in self._state.tenants.values())


class OrchestratorTurn:
    """One batch of the intake (a ``runtime.ports.Turn``)."""

    def __init__(
        self, settings: KafkaSettings, state: PartitionState, span: str, erased: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._state = state
        self._batch = Batch(state, span, erased)
        self._dead_letters: list[Write] = []
        self._refused_commands: list[tuple[str, outputs.CommandRejected]] = []
        self._outcomes: Counter[str] = Counter()

    def take(self, record: Record) -> None:
        """Decide a record; raises ``InvalidEvent`` for what is none of the intake's messages or is held back."""
        envelope, schema, content_type = cloudevents.decode_headers(record.headers)
        if not envelope.tenantid or envelope.tenantid.encode() != record.key:
            raise InvalidEvent("tenant-mismatch", f"key {record.key!r}, tenantid {envelope.tenantid!r}")
        if envelope.type in _DELIVERIES and self._batch.passes_over(envelope, record.timestamp):
            self._outcomes["duplicate"] += 1
            return
        data = cloudevents.decode_data(envelope.type, schema, content_type, record.value)
        if INTAKE not in BY_TYPE[envelope.type].topics:
            raise InvalidEvent("unexpected-type", f"{envelope.type} does not belong on {INTAKE}")
        if envelope.type != _RELEASE and self._batch.is_parked(envelope.tenantid):
            raise InvalidEvent(PARKED, "replay it after the tenant is released")
        message = Message(envelope, data, record.timestamp, INTAKE, record.partition, record.offset)
        self._outcomes[self._batch.add(message)] += 1

    def refuse(self, record: Record, reason: str, detail: str) -> None:
        """Dead-letter a record, name it in the record of its tenant, and answer it if it was a command."""
        cause = _identity(record)
        refusal = events.IntakeRefused(
            source=cause.source,
            id=cause.id,
            type=cause.type,
            reason=reason,
            detail=detail[:2000],
            topic=INTAKE,
            partition=record.partition,
            offset=record.offset,
        )
        if cause.type.startswith(_COMMANDS):
            rejected = outputs.CommandRejected(cause.id, reason, refusal.detail)
            self._refused_commands.append((cause.tenantid, rejected))
        replayed = any(name == REPLAYED for name, _ in record.headers)
        content = record.value or b""
        if not self._batch.refuse(cause.tenantid, cause, record.timestamp, refusal, content, replayed=replayed):
            self._outcomes["duplicate"] += 1
            return
        if reason not in {"not-understood", PARKED}:
            self._batch.note_poison(cause.tenantid, cause)
        self._dead_letters.append(self._dead_letter(record, reason, refusal.detail))
        self._outcomes["dead_lettered"] += 1
        metrics.DEAD_LETTERS.labels(DEAD_LETTERS, reason).inc()
        log.warning("dead letter", id=cause.id, partition=record.partition, offset=record.offset, reason=reason)

    def finish(self) -> Writes:
        """Everything that the batch writes: events, intents, results, dead letters and changed state."""
        sealed = self._batch.seal(lambda data: avro.encode(data)[0])
        outputs = [self._event(recorded) for recorded in sealed.recorded]
        outputs += [self._intent(tenant, intent) for tenant, intent in sealed.intents]
        outputs += [self._result(tenant, result) for tenant, result in (*sealed.results, *self._refused_commands)]
        outputs += self._dead_letters
        for outcome, count in self._outcomes.items():
            metrics.ORCHESTRATOR_MESSAGES.labels(outcome).inc(count)
        for type_, count in Counter(recorded.envelope.type for recorded in sealed.recorded).items():
            metrics.ORCHESTRATOR_EVENTS.labels(type_).inc(count)
        return Writes(outputs, [self._item(*changed) for changed in self._state.journal.changed])

    def _item(self, tenant: str, kind: str, key: str) -> tuple[bytes, bytes | None]:
        item = self._state.tenants[tenant].table(kind).get(key)
        return state_codec.item_key(tenant, kind, key), state_codec.encode(kind, item) if item is not None else None

    def _event(self, recorded: Recorded) -> Write:
        headers = cloudevents.encode_headers(recorded.envelope, avro.newest_schema(type(recorded.event)))
        return Write(self._settings.topic(EVENTS), recorded.envelope.tenantid.encode(), recorded.value, headers)

    def _intent(self, tenant: str, intent: outputs.Intent) -> Write:
        envelope = Envelope(
            id=intent.intent_id,
            source=record_source(tenant),
            type=INTENT,
            tenantid=tenant,
            subject=intent.incident_id,
            time=rfc3339(intent.created),
            causationid=intent.event_id,
        )
        return self._write(INTENTS, envelope, intent)

    def _result(self, tenant: str, result: outputs.CommandResult) -> Write:
        envelope = Envelope(
            id=derive_id(result.command_id, "result"),
            source=record_source(tenant),
            type=TYPE_OF[type(result)],
            tenantid=tenant,
            subject=result.incident_id,
            causationid=result.command_id,
        )
        return self._write(RESULTS, envelope, result)

    def _write(self, topic: str, envelope: Envelope, data: object) -> Write:
        value, headers = cloudevents.encode(envelope, data)
        return Write(self._settings.topic(topic), envelope.tenantid.encode(), value, headers)

    def _dead_letter(self, record: Record, reason: str, detail: str) -> Write:
        """The record as it came, with why it is here; of a failed batch only the reference: its bytes may be why."""
        headers = [
            *(pair for pair in record.headers if reason != BATCH_FAILED and not pair[0].startswith(PREFIX)),
            ("dlq_reason", reason.encode()),
            ("dlq_detail", detail.encode()),
            ("dlq_topic", record.topic.encode()),
            ("dlq_partition", b"%d" % record.partition),
            ("dlq_offset", b"%d" % record.offset),
        ]
        value = record.value if reason != BATCH_FAILED else None
        return Write(self._settings.topic(DEAD_LETTERS), record.key, value, headers)


def _identity(record: Record) -> Envelope:
    """As much of a record's envelope as can be read; the tenant is the key's."""
    tenant = (record.key or b"").decode(errors="replace") or "unknown"
    texts = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    return Envelope(
        id=texts.get("ce_id") or f"{record.topic}/{record.partition}/{record.offset}",
        source=texts.get("ce_source") or f"/{record.topic}",
        type=texts.get("ce_type", ""),
        tenantid=tenant,
    )


def run(settings: KafkaSettings, instance: str, metrics_port: int = 0) -> None:
    """Run a worker of the orchestrator until it is stopped."""
    spec = AgentSpec(APPLICATION, INTAKE, STATE, lambda partition: Orchestrator(settings, partition))
    Worker(settings, spec, instance).run(metrics_port)
