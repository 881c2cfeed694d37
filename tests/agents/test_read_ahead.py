"""Reading ahead: the same messages and errors as without the other process, which leaves with who started it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from signal import SIG_BLOCK, SIGINT, SIGTERM, pthread_sigmask

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.agents import read_ahead
from streams.agents.read_ahead import ReadAhead, ReaderEnded
from streams.agents.recorded import INTAKE, Log, NothingThere, SpanOf, intake
from streams.archive.files import DamagedFile
from streams.codec import cloudevents
from streams.domain import commands
from streams.domain.catalogue import TYPE_OF
from streams.domain.correlation import Rule
from streams.domain.envelope import Envelope
from streams.domain.message import Data
from streams.runtime.partition_reader import KafkaUnavailable, StoredRecord
from tests.domain.intake import MINUTE, T0, TENANT, signal

SPAN = SpanOf(TENANT)
COUNT = 2_500
"""Of which the process makes several batches."""


class Stored:
    """A log of one partition that is made anew wherever it is opened; something is wrong with the record ``at``."""

    def __init__(self, count: int = COUNT, wrong: Callable[[], Exception] | None = None, at: int = 0) -> None:
        self._count, self._wrong, self._at = count, wrong, at

    def partitions(self, topic: str) -> list[int]:
        assert topic == INTAKE
        return [0]

    def start_at(self, topic: str, partition: int, since: int) -> int:
        assert (topic, partition, since) == (INTAKE, 0, 0)
        return 0

    def end(self, topic: str, partition: int) -> int:
        assert (topic, partition) == (INTAKE, 0)
        return self._count

    def records(self, topic: str, partition: int, start: int = 0) -> Iterator[StoredRecord]:
        assert (topic, partition) == (INTAKE, 0)
        for offset in range(start, self._count):
            if self._wrong is not None and offset == self._at:
                raise self._wrong()
            yield stored(offset)


def stored(offset: int) -> StoredRecord:
    """Every tenth is a command with records in it, every seventh is another tenant's, one is nothing at all."""
    tenant = "other" if offset % 7 == 0 else TENANT
    data: Data = signal(f"fp-{offset}", labels={"team": "a"}, raw=b"\x00\xff")
    if offset % 10 == 0:
        data = commands.SetRuleSet("r", offset, (Rule("host", 3, ("host",), MINUTE),), "user:ada")
    value, headers = cloudevents.encode(Envelope(f"m-{offset}", "/s", TYPE_OF[type(data)], tenant), data)
    if offset == 1:
        value = b"\xff"
    return StoredRecord(INTAKE, 0, offset, T0 + offset, tenant.encode(), value, tuple(headers))


def damaged() -> Exception:
    return DamagedFile("incident-intake[0] offsets 1200 to 1300: its content is not what its name says")


def away() -> Exception:
    error: Exception = KafkaException(KafkaError(KafkaError._TRANSPORT, "Kafka is away"))
    return error


def leaves() -> Log:
    os._exit(3)


def must_not_open() -> Log:
    raise AssertionError


def test_another_process_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "WORTH", COUNT)
    expected = list(intake(Stored(), SPAN))
    assert len(expected) > 2 * 1000
    told: list[tuple[str, int]] = []
    with read_ahead.messages(Stored, Stored(), SPAN, lambda *where: told.append(where)) as found:
        assert isinstance(found, ReadAhead)
        assert list(found) == expected
    assert told == sorted(told)
    assert (len(told) > 2, told[-1]) == (True, (INTAKE, COUNT - 1))


def test_few_are_read_here() -> None:
    with read_ahead.messages(must_not_open, Stored(), SPAN) as found:
        assert list(found) == list(intake(Stored(), SPAN))


def test_how_far_it_is_is_told_also_where_nothing_is_the_tenants() -> None:
    told: list[int] = []
    with ReadAhead(partial(Stored, 12_000), SpanOf("nobody"), lambda _, offset: told.append(offset)) as ahead:
        assert list(ahead) == []
    assert told == [4_999, 9_999, 11_999]


def test_damage_is_named_after_all_that_was_read_before_it() -> None:
    with ReadAhead(partial(Stored, COUNT, damaged, 1200), SPAN) as ahead:
        messages = iter(ahead)
        for _ in range(1000):
            next(messages)
        with pytest.raises(DamagedFile, match="offsets 1200 to 1300: its content is not what its name says"):
            list(messages)


def test_kafka_away_is_told_as_such() -> None:
    with (
        ReadAhead(partial(Stored, COUNT, away), SPAN) as ahead,
        pytest.raises(KafkaUnavailable, match="Kafka: Kafka is away"),
    ):
        list(ahead)


def test_a_span_outside_of_the_log_says_what_there_is() -> None:
    with (
        ReadAhead(Stored, SpanOf(TENANT, until=T0)) as ahead,
        pytest.raises(NothingThere, match=r"incident-intake holds 2026-.* to 2026-"),
    ):
        list(ahead)


def test_a_reader_that_dies_is_no_end_of_the_log() -> None:
    with ReadAhead(leaves, SPAN) as ahead, pytest.raises(ReaderEnded, match="ended with 3"):
        list(ahead)


def test_who_is_interrupted_leaves_no_process_behind() -> None:
    with suppress(KeyboardInterrupt), ReadAhead(partial(Stored, 100_000), SPAN) as ahead:
        found = iter(ahead)
        (reader,) = multiprocessing.active_children()
        assert reader.pid is not None
        for begun in (False, True):  # while it starts, and while it reads
            os.kill(reader.pid, SIGINT)  # a terminal sends it to both
            os.kill(reader.pid, SIGTERM)  # and this a service manager
            assert len(list(islice(found, 5_000))) == 5_000, begun  # more than was under way
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()
    assert not {SIGINT, SIGTERM} & pthread_sigmask(SIG_BLOCK, ())  # who starts it still hears them
