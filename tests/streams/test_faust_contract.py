"""What the runtime leans on in Faust: a new version of it fails here first, and not in production."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka.errors import IllegalStateError
from faust.assignor import partition_assignor
from faust.transport import consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.runtime.faust_batches import (
    FAUST_VERSION,
    BatchConsumer,
    Positions,
    SteadyAssignor,
    _ReadCommittedThread,
    make_app,
)
from streams.runtime.settings import KafkaSettings


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("faust-streaming") == FAUST_VERSION
    assert FAUST_VERSION in faust.__version__


def test_every_overridden_method_exists_with_the_same_parameters() -> None:
    for name in ("ack", "seek_to_committed", "getmany", "_drain_messages", "_new_consumer_thread"):
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (BatchConsumer, driver.Consumer))
        assert list(ours.parameters) == list(theirs.parameters), name
    for name in ("_create_worker_consumer", "_ensure_consumer", "call_thread", "_seek_wait"):
        assert hasattr(driver.AIOKafkaConsumerThread, name), name


def test_everything_that_is_called_exists() -> None:
    called = ("seek_wait", "perform_seek", "_wait_next_records", "pause_partitions", "resume_partitions", "assignment")
    for name in called:
        assert callable(getattr(driver.Consumer, name)), name
    source = inspect.getsource(consumer.Consumer)
    for name in ("self.flow_active", "self.suspend_flow", "self._read_offset", "consumer_stopped_errors"):
        assert name in source, name


def test_faust_seeks_to_our_positions_after_each_assignment() -> None:
    assert "await self.seek_to_committed()" in inspect.getsource(consumer.Consumer.perform_seek)


def an_app(positions: Positions) -> faust.App:
    """An application that reads ``t``, which has three partitions."""
    return make_app(
        KafkaSettings(), application="a", instance="0", input_topic="t", positions=positions, partitions=lambda: 3
    )


class Cluster:
    """Metadata of a cluster."""

    def __init__(self, **topics: int) -> None:
        self._topics = topics

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._topics[topic])) if topic in self._topics else None


class Moving:
    """A Kafka consumer of which a rebalance takes a partition away, before a seek or right after it."""

    def __init__(self, assigned: set[TP], *, moves: bool) -> None:
        self.assigned, self.moves = assigned, moves
        self.sought: dict[TP, int] = {}

    def assignment(self) -> set[TP]:
        return self.assigned

    def seek(self, tp: TP, offset: int) -> None:
        if tp not in self.assigned:
            raise IllegalStateError(f"no assignment of {tp}")
        self.sought[tp] = offset

    async def position(self, tp: TP) -> int:
        if self.moves:
            raise IllegalStateError(f"{tp} is not assigned")
        return self.sought[tp]


@pytest.mark.parametrize("moves", [False, True])
async def test_a_partition_that_moves_away_during_the_seek_ends_no_worker(*, moves: bool) -> None:
    async def positions(numbers: list[int]) -> dict[int, int]:
        return dict.fromkeys(numbers, 0)

    app: Any = an_app(positions)
    thread: Any = object.__new__(_ReadCommittedThread)  # none is started
    thread.app, thread.consumer, thread.log = app, SimpleNamespace(_read_offset={}), app.log
    stays, gone = TP("t", 0), TP("t", 1)
    moving = Moving({stays}, moves=moves)
    await thread._seek_wait(moving, {gone: 4, stays: 7})
    assert moving.sought == {stays: 7}


@pytest.mark.parametrize(("cluster", "count"), [(Cluster(t=8), 8), (Cluster(), 3), (Cluster(other=2), 3)])
def test_the_input_topic_is_assigned_although_a_broker_that_just_started_does_not_name_it(
    cluster: Cluster, count: int
) -> None:
    async def positions(numbers: list[int]) -> dict[int, int]:
        return dict.fromkeys(numbers, 0)

    assignor: Any = an_app(positions).assignor
    assert isinstance(assignor, SteadyAssignor)
    groups = assignor._get_copartitioned_groups({"t"}, cluster, {"one": ["t"], "two": ["t"]})
    assert {number: list(topics) for number, topics in groups.items()} == {count: [{"t"}]}


def test_faust_asks_the_metadata_for_nothing_but_the_number_of_partitions() -> None:
    source = inspect.getsource(partition_assignor)
    assert source.count("cluster.") == source.count("cluster.partitions_for_topic") == 1
    ours, theirs = (
        inspect.signature(kind._get_copartitioned_groups)
        for kind in (SteadyAssignor, partition_assignor.PartitionAssignor)
    )
    assert list(ours.parameters) == list(theirs.parameters)


def test_an_app_reads_committed_batches_and_commits_nothing() -> None:
    async def positions(numbers: list[int]) -> dict[int, int]:
        return dict.fromkeys(numbers, 0)

    app = an_app(positions)
    kind: Any = app.transport.Consumer
    assert issubclass(kind, BatchConsumer)
    assert kind.input_topic == "t"
    guarantee: Any = app.conf.processing_guarantee
    assert guarantee.value == "at_least_once"
    assert not app.conf.stream_wait_empty
