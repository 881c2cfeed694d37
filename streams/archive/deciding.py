"""Decides the recorded intake again and compares with the record byte for byte (``verify --decisions``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice, takewhile

from streams.agents.orchestrator import EVENTS, INTAKE
from streams.agents.redecide import Cuts, Difference, IntakeGap, OtherDecider, Redecider, compare, state_differences
from streams.archive.reading import Archive
from streams.archive.snapshots import Items, Snapshots, read_state
from streams.archive.sources import NotThere, Sources
from streams.codec import cloudevents
from streams.runtime.partition_reader import PartitionReader, StoredRecord
from streams.runtime.settings import KafkaSettings

_BATCH = 2_000
State = tuple[Items, int]
"""The items of a state partition and its position."""


@dataclass(slots=True)
class Decided:
    """What was decided again: the first difference of each partition, and what could not be compared, and why.

    ``states`` counts the partitions whose state was compared too, ``state_items`` says what of it differs.
    """

    batches: int = 0
    events: int = 0
    states: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    state_items: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing differs."""
        return not self.differences and not self.state_items


@dataclass(slots=True)
class Deciding:
    """One run over all partitions, or those of ``partitions``."""

    kafka: KafkaSettings
    archive: Archive | None = None
    partitions: tuple[int, ...] = ()
    from_snapshot: bool = False

    def run(self, report: Callable[[int], None] = lambda _: None) -> Decided:
        """Decide again from the beginning of the intake or, where asked or it is gone, from an archived state.

        Raises ``NotThere`` when neither is to be had. Batches of another version are named; they and what follows
        them are not compared, since what this version makes of them says nothing.
        """
        began = time.monotonic()
        done = Decided()
        with PartitionReader(self.kafka) as log:
            sources = Sources(self.kafka, log, self.archive)
            for partition in self.partitions or tuple(sources.partitions(EVENTS)):
                self._partition(sources, partition, done, report)
        done.seconds = time.monotonic() - began
        return done

    def _partition(self, sources: Sources, partition: int, done: Decided, report: Callable[[int], None]) -> None:
        state = read_state(self.kafka, partition)  # first: the events of its last batch are there, then
        cuts = Cuts()
        for record in sources.records(EVENTS, partition):
            cuts.take(record)
        with PartitionReader(self.kafka) as log:  # a reader of its own: the two topics are read side by side
            begin = self._begin(partition)
            intake = Sources(self.kafka, log, self.archive).records(INTAKE, partition, begin.position)
            recorded = self._by_span(sources, partition, begin.position)
            try:
                for span, writes in begin.follow(intake, cuts):
                    done.batches += 1
                    self._compare_state(begin, state, done)
                    if span is None:
                        continue
                    events = next(recorded, [])
                    done.events += len(events)
                    report(done.events)
                    difference = compare(self.kafka, span, writes, events)
                    if difference is not None:
                        done.differences.append(difference)
                        return
                self._to_state(begin, state, cuts, done)
            except OtherDecider as error:
                done.not_compared.append(f"partition {partition}: {error}; it and what follows is not compared")
            except (IntakeGap, NotThere) as error:
                done.not_compared.append(f"partition {partition}: {error}")

    def _to_state(self, begin: Redecider, state: State, cuts: Cuts, done: Decided) -> None:
        """Decide what the state knows and no event came of, and compare there."""
        if begin.position >= state[1]:
            return
        with PartitionReader(self.kafka) as log:
            records = Sources(self.kafka, log, self.archive).records(INTAKE, begin.partition, begin.position)
            rest = takewhile(lambda record: record.offset < state[1], records)
            while batch := list(islice(rest, _BATCH)):
                begin.decide(batch, cuts)
        self._compare_state(begin, state, done)

    def _compare_state(self, begin: Redecider, state: State, done: Decided) -> None:
        if begin.position == state[1]:
            done.states += 1
            done.state_items += state_differences(begin.state, state[0])

    def _begin(self, partition: int) -> Redecider:
        if self.archive is None or not self.from_snapshot:
            return Redecider(self.kafka, partition)
        snapshots = Snapshots(self.archive.storage, self.archive.prefix)
        found = snapshots.of(partition)
        if not found:
            raise NotThere(f"there is no archived state of partition {partition}")
        return Redecider(self.kafka, partition, snapshots.items(found[-1]), found[-1].position)

    def _by_span(self, sources: Sources, partition: int, position: int) -> Iterator[list[StoredRecord]]:
        """The recorded events of each batch after the position."""

        def span(record: StoredRecord) -> str:
            return cloudevents.decode_headers(record.headers)[0].intakespan

        with PartitionReader(self.kafka) as log:
            records = Sources(self.kafka, log, sources.archive).records(EVENTS, partition)
            for text, group in groupby(records, key=span):
                if int(text.split(":")[1]) >= position:
                    yield list(group)
