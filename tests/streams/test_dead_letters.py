"""Dead letters on real Kafka: listed with what became of them, put back byte for byte, dropped, fetched again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streams.agents import orchestrator
from streams.agents.orchestrator import Orchestrator
from streams.runtime.dead_letter import REPLAYED, WAITING, Mark, Original, Place
from streams.runtime.dead_letters import DeadLetters, SourceGone, UnknownLetter
from streams.runtime.offsets import await_markers
from streams.runtime.partition import Partition
from streams.runtime.settings import KafkaSettings
from tests.harness.kafka import own_topics
from tests.harness.record import StoredRecord, check_record, read_topic, send, signals
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(kafka_settings: KafkaSettings) -> KafkaSettings:
    """Topics of this test alone."""
    return own_topics(kafka_settings)


def decided(settings: KafkaSettings, records: Sequence[StoredRecord], bad: Sequence[int] = ()) -> None:
    """Decide the records of one partition; those at the ``bad`` places are refused, the rest as they are."""
    number = records[0].partition
    processor = Orchestrator(settings, number)
    partition = Partition(
        settings,
        application=orchestrator.APPLICATION,
        input_topic=orchestrator.INTAKE,
        state_topic=orchestrator.STATE,
        number=number,
        processor=processor,
    )
    try:
        if bad:
            turn = processor.turn(records[0].offset, records[-1].offset)
            for index, record in enumerate(records):
                if index in bad:
                    turn.refuse(record, "batch-failed" if index % 2 else "decision-failed", "for the test")
                else:
                    turn.take(record)
            partition._write(turn, records[-1].offset + 1)
        else:
            partition.turn(records)
    finally:
        partition.close()
    await_markers(settings, map(settings.topic, (orchestrator.EVENTS, orchestrator.DEAD_LETTERS)), number, 30)


def sent(settings: KafkaSettings, count: int) -> list[StoredRecord]:
    send(settings, signals(count, "a", tenants=1))
    return list(read_topic(settings, "incident-intake"))


def test_a_letter_says_what_it_is_and_waits(settings: KafkaSettings) -> None:
    records = sent(settings, 4)
    decided(settings, records, bad=[1, 2])
    by_reference, whole = DeadLetters(settings).letters()
    assert (by_reference.reason, whole.reason) == ("batch-failed", "decision-failed")
    assert whole.tenant == "tenant-0"
    assert whole.header("ce_id") == "a-2"
    assert whole.mark == WAITING
    assert (whole.partition, whole.offset) == (records[2].partition, records[2].offset)
    assert whole.original == Original(records[2].key, records[2].value, records[2].headers)
    assert by_reference.original.value is None


def test_a_replay_is_the_same_message_and_is_decided_once(settings: KafkaSettings) -> None:
    records = sent(settings, 6)
    decided(settings, records, bad=[2, 3])
    store = DeadLetters(settings)
    letters = list(store.letters())
    for _ in range(2):  # as after a crash between the replay and its mark
        store.replay([(letter, [store.original(letter)]) for letter in letters], "operator:ada", 1_780_000_000_000)
    after = list(read_topic(settings, "incident-intake"))
    again = after[6:]
    added = tuple((REPLAYED, str(letter.place).encode()) for letter in letters)
    expected = [(r.key, r.value, (*r.headers, mark)) for r, mark in zip(records[2:4], added, strict=True)]
    assert [(r.key, r.value, r.headers) for r in again[:2]] == expected
    assert {record.partition for record in after} == {records[0].partition}
    decided(settings, after)
    checked = check_record(settings)
    assert len(checked.deliveries) == 6
    assert checked.kinds["IntakeRefused"] == 2
    assert [letter.mark for letter in store.letters()] == [Mark("replayed", 1_780_000_000_000, "operator:ada")] * 2


def test_a_dropped_letter_stays_and_says_so(settings: KafkaSettings) -> None:
    decided(settings, sent(settings, 4), bad=[0, 2])
    store = DeadLetters(settings)
    first, second = store.letters()
    store.mark([second], Mark("dropped", 5, "operator:ada"))
    assert [letter.mark.state for letter in store.letters()] == ["waiting", "dropped"]
    assert [letter.mark.state for letter in store.find([second.place, first.place])] == ["waiting", "dropped"]
    assert not list(store.letters(since=second.at + 3_600_000))


@pytest.mark.parametrize("place", ["0:0", "3:99", "77:0"])
def test_a_place_without_a_letter_is_named(settings: KafkaSettings, place: str) -> None:
    with pytest.raises(UnknownLetter):
        DeadLetters(settings).find([Place.parse(place)])


def test_a_mark_is_no_letter(settings: KafkaSettings) -> None:
    decided(settings, sent(settings, 2), bad=[0])
    store = DeadLetters(settings)
    wait_until(lambda: list(store.letters()), "the letter shows (a commit answers before its markers are written)")
    (letter,) = store.letters()
    store.mark([letter], Mark("dropped", 5, "operator:ada"))
    marks = [r for r in read_topic(settings, "incident-intake-dlq") if "dlq_state" in dict(r.headers)]
    assert len(marks) == 1
    with pytest.raises(UnknownLetter):
        store.find([Place(marks[0].partition, marks[0].offset)])


def test_a_reference_to_what_is_gone_is_an_error(settings: KafkaSettings) -> None:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    records = sent(settings, 4)
    decided(settings, records, bad=[1])
    (letter,) = DeadLetters(settings).letters()
    admin = AdminClient(settings.librdkafka())
    cut = TopicPartition(settings.topic("incident-intake"), records[0].partition, records[1].offset + 1)
    for future in admin.delete_records([cut]).values():
        future.result()
    with pytest.raises(SourceGone, match=str(letter.offset)):
        DeadLetters(settings).original(letter)


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "a:1", "1:-1", "1:2:3"])
def test_a_place_is_partition_and_offset(text: str) -> None:
    with pytest.raises(ValueError, match="PARTITION:OFFSET"):
        Place.parse(text)
    assert str(Place.parse("1:22")) == "1:22"
