"""One partition on real Kafka: all or nothing, one bad record alone, halves, fencing, restoring, pausing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import orjson
import pytest
from confluent_kafka import Producer

from streams.agents import orchestrator
from streams.agents.orchestrator import Orchestrator, OrchestratorTurn
from streams.domain import alerts
from streams.domain.envelope import Envelope
from streams.domain.errors import UnknownSchema
from streams.runtime.partition import BATCH_FAILED, DECISION_FAILED, POSITION, Partition
from streams.runtime.ports import Record, Writes
from streams.runtime.restore import LogTruncated
from streams.runtime.settings import KafkaSettings
from streams.runtime.transaction import Fenced
from tests.harness.kafka import own_topics
from tests.harness.record import StoredRecord, check_record, read_topic, send, signals

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(kafka_settings: KafkaSettings) -> KafkaSettings:
    """Topics of this test alone."""
    return own_topics(kafka_settings)


@contextmanager
def opened(settings: KafkaSettings, number: int, processor: Orchestrator | None = None) -> Iterator[Partition]:
    partition = Partition(
        settings,
        application=orchestrator.APPLICATION,
        input_topic=orchestrator.INTAKE,
        state_topic=orchestrator.STATE,
        number=number,
        processor=processor or Orchestrator(settings, number),
    )
    try:
        yield partition
    finally:
        partition.close()


def sent(settings: KafkaSettings, count: int, tag: str = "a") -> list[StoredRecord]:
    """Signals of one tenant, as the records of its partition."""
    send(settings, signals(count, tag, tenants=1))
    return list(read_topic(settings, "incident-intake"))


def test_a_turn_is_all_or_nothing_and_the_next_owner_goes_on(settings: KafkaSettings) -> None:
    records = sent(settings, 30)
    number = records[0].partition
    with opened(settings, number) as partition:
        assert partition.turn(records[:20]) == 20
        assert partition.turn(records[:20]) == 0, "decided before"
    with opened(settings, number) as partition:
        assert partition.position == records[19].offset + 1
        assert partition.turn(records) == 10
    checked = check_record(settings)
    assert set(checked.deliveries.values()) == {1}
    assert len(checked.deliveries) == 30


def test_a_duplicate_is_passed_over_whatever_its_data(settings: KafkaSettings) -> None:
    records = sent(settings, 3)
    again = [replace(records[0], offset=records[-1].offset + 1, value=b"not looked at")]
    with opened(settings, records[0].partition) as partition:
        partition.turn(records)
        assert partition.turn(again) == 1
    assert set(check_record(settings).deliveries.values()) == {1}
    assert not list(read_topic(settings, "incident-intake-dlq"))


def test_the_restored_state_is_the_state_that_was_left(settings: KafkaSettings) -> None:
    records = sent(settings, 50)
    number = records[0].partition
    left, restored = Orchestrator(settings, number), Orchestrator(settings, number)
    with opened(settings, number, left) as partition:
        partition.turn(records)
    with opened(settings, number, restored):
        pass
    assert snapshot(left) == snapshot(restored)


def snapshot(processor: Orchestrator) -> object:
    tenants = processor._state.tenants
    kinds = ("head", "incident", "alert", "window", "seen")
    return {
        name: (
            {kind: {key: tenant.table(kind).get(key) for key in tenant.table(kind)} for kind in kinds},
            set(tenant.known),
            {key: set(values) for key, values in tenant.alerts_of.items()},
        )
        for name, tenant in tenants.items()
    }


def test_a_former_owner_is_fenced(settings: KafkaSettings) -> None:
    records = sent(settings, 20)
    number = records[0].partition
    with opened(settings, number) as zombie, opened(settings, number) as owner:
        owner.turn(records[:10])
        with pytest.raises(Fenced):
            zombie.turn(records)
        owner.turn(records)
    assert set(check_record(settings).deliveries.values()) == {1}


def test_a_record_that_raises_is_dead_lettered_alone(settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    records = sent(settings, 20)
    culprit = records[7]
    decide = alerts.decide

    def failing(state: object, message: object, *rest: object) -> None:
        decide(state, message, *rest)  # type: ignore[arg-type]  # as given
        if message.offset == culprit.offset:  # type: ignore[attr-defined]  # a Message
            raise ZeroDivisionError("bad luck")

    monkeypatch.setattr(alerts, "decide", failing)
    with opened(settings, culprit.partition) as partition:
        partition.turn(records)
    checked = check_record(settings)
    assert checked.kinds["IntakeRefused"] == 1
    assert len(checked.deliveries) == 20
    letters = list(read_topic(settings, "incident-intake-dlq"))
    assert [letter.value for letter in letters] == [culprit.value]
    headers = dict(letters[0].headers)
    assert headers["dlq_reason"] == DECISION_FAILED.encode()
    assert b"bad luck" in headers["dlq_detail"]
    assert (int(headers["dlq_partition"]), int(headers["dlq_offset"])) == (culprit.partition, culprit.offset)


class FailingTurn(OrchestratorTurn):
    """A turn that cannot finish when it holds a certain offset, as if its writes were always refused."""

    culprits: tuple[int, ...] = ()
    attempts = 0

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # as given
        self.offsets: list[int] = []

    def take(self, record: Record) -> None:
        self.offsets.append(record.offset)
        super().take(record)

    def finish(self) -> Writes:
        type(self).attempts += 1
        if set(self.offsets) & set(self.culprits):
            raise OverflowError("these writes never fit")
        return super().finish()


def test_a_batch_that_keeps_failing_is_halved_down_to_the_culprit(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = sent(settings, 64)
    culprit = records[20]
    monkeypatch.setattr(FailingTurn, "culprits", (culprit.offset,))
    monkeypatch.setattr(orchestrator, "OrchestratorTurn", FailingTurn)
    with opened(settings, culprit.partition) as partition:
        partition.turn(records)
        assert partition.position == records[-1].offset + 1
    checked = check_record(settings)
    assert len(checked.deliveries) == 64
    letters = list(read_topic(settings, "incident-intake-dlq"))
    assert [dict(letter.headers)["dlq_reason"] for letter in letters] == [BATCH_FAILED.encode()]
    assert letters[0].value is None, "dead-lettered by reference: the bytes may be the reason"
    assert FailingTurn.attempts < 64, "halves, not one by one"


def test_what_is_no_message_of_ours_is_dead_lettered_and_named_in_the_record(settings: KafkaSettings) -> None:
    good = sent(settings, 3)
    template = good[0]
    broken: Sequence[Callable[[StoredRecord], StoredRecord]] = (
        lambda record: replace(record, headers=()),
        lambda record: replace(record, value=b"\xff"),
        lambda record: replace(record, value=None),
        lambda record: replace(record, key=b"somebody-else"),
        lambda record: replace(record, headers=with_header(record, "ce_type", "com.incidents.declared.v1")),
    )
    with opened(settings, template.partition) as partition:
        partition.turn(good)
        for step, damage in enumerate(broken):
            offset = good[-1].offset + 1 + step
            fresh = replace(template, headers=with_header(template, "ce_id", f"broken-{step}"))
            partition.turn([replace(damage(fresh), offset=offset)])
    checked = check_record(settings)
    assert checked.kinds["IntakeRefused"] == len(broken)
    reasons = [dict(letter.headers)["dlq_reason"].decode() for letter in read_topic(settings, "incident-intake-dlq")]
    assert sorted(reasons) == sorted(
        ["not-a-cloudevent", "undecodable-data", "unexpected-content-type", "tenant-mismatch", "unknown-type"]
    )


def with_header(record: StoredRecord, header: str, content: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, content.encode() if name == header else value) for name, value in record.headers)


def test_a_newer_schema_pauses_the_partition_before_the_record(settings: KafkaSettings) -> None:
    records = sent(settings, 5)
    newer = tuple((n, v.replace(b":1#", b":9#") if n == "ce_dataschema" else v) for n, v in records[3].headers)
    records[3] = replace(records[3], headers=newer)
    with opened(settings, records[0].partition) as partition:
        partition.turn(records)
        assert "v1:9#" in partition.paused
        assert partition.position == records[3].offset
        assert partition.turn(records[4:]) == 0
    assert len(check_record(settings).deliveries) == 3
    assert not list(read_topic(settings, "incident-intake-dlq"))


@pytest.mark.parametrize("key", [b"tenant-0\x1fhead\x1f-", POSITION], ids=["item", "position"])
def test_state_of_a_newer_format_is_refused_not_misread(settings: KafkaSettings, key: bytes) -> None:
    producer = Producer(settings.librdkafka())
    producer.produce(settings.topic("orchestrator-state"), key=key, value=orjson.dumps([99, 1]), partition=0)
    assert producer.flush(10) == 0
    with pytest.raises(UnknownSchema, match="99"), opened(settings, 0):
        pass


def test_a_position_beyond_the_log_is_an_error_not_a_hole(settings: KafkaSettings) -> None:
    producer = Producer(settings.librdkafka())
    producer.produce(settings.topic("orchestrator-state"), key=POSITION, value=orjson.dumps([1, 5]), partition=0)
    assert producer.flush(10) == 0
    with pytest.raises(LogTruncated, match="another log"), opened(settings, 0):
        pass


def test_the_refusal_of_an_unreadable_record_still_has_an_identity() -> None:
    bare = StoredRecord("incident-intake", 2, 7, 0, None, None, (("ce_id", b"\xff"),))
    identity = orchestrator._identity(bare)
    assert identity == Envelope(id="�", source="/incident-intake", type="", tenantid="unknown")
