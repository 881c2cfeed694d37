"""Snapshots of the orchestrator's state with its position, so that deciding again need not start at the beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson

from streams.agents.orchestrator import STATE
from streams.archive import files
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.partition import POSITION, POSITION_FORMAT
from streams.runtime.partition_reader import StoredRecord
from streams.runtime.restore import restore
from streams.runtime.settings import KafkaSettings

Items = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one intake partition before ``position``; ``object`` is the file, ``at`` in milliseconds."""

    partition: int
    position: int
    items: int
    object: str
    at: int


def read_state(kafka: KafkaSettings, partition: int) -> tuple[Items, int]:
    """The live items of a state partition, and the position: one of the moments between two transactions."""
    items: Items = {}

    def load(key: bytes, value: bytes | None) -> None:
        if value is None:
            items.pop(key, None)
        else:
            items[key] = value

    restore(kafka, kafka.topic(STATE), partition, load)
    return items, position_of(items)


def position_of(items: Items) -> int:
    """The next intake offset to decide; raises ``ValueError`` for a format that this version does not know."""
    format_, position = orjson.loads(items.get(POSITION, b"[%d,0]" % POSITION_FORMAT))
    if format_ != POSITION_FORMAT:
        raise ValueError(f"the position of a state has format {format_}")
    return int(position)


class Snapshots:
    """The snapshots of one archive."""

    def __init__(self, storage: ObjectStorage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix

    def add(self, partition: int, items: Items, at: int) -> Snapshot:
        """Store a state; the same one twice is stored once."""
        records = [StoredRecord(STATE, partition, n, at, k, v, ()) for n, (k, v) in enumerate(sorted(items.items()))]
        key = self._storage.put(files.encode(STATE, partition, records), files.CONTENT_TYPE)
        snapshot = Snapshot(partition, position_of(items), len(items), key, at)
        name = f"{self._folder(partition)}{snapshot.position:020d}.json"
        self._storage.create(name, orjson.dumps(asdict(snapshot)))
        return snapshot

    def of(self, partition: int) -> Sequence[Snapshot]:
        """The snapshots of a partition by rising position."""
        documents = (self._storage.document(key)[0] for key in self._storage.keys(self._folder(partition)))
        return [Snapshot(**orjson.loads(document)) for document in documents]

    def items(self, snapshot: Snapshot) -> Items:
        """The items of a snapshot; raises ``DamagedFile`` and what the storage raises."""
        content = self._storage.get(snapshot.object)
        return {r.key or b"": r.value or b"" for r in files.decode(content, STATE, snapshot.partition)}

    def remove_others(self, partition: int) -> int:
        """Remove every snapshot of a partition but the newest; how many there were."""
        older = list(self._storage.keys(self._folder(partition)))[:-1]
        for key in older:
            self._storage.remove(Snapshot(**orjson.loads(self._storage.document(key)[0])).object)
            self._storage.remove(key)
        return len(older)

    def _folder(self, partition: int) -> str:
        return f"{self._prefix}state/{partition:05d}/"
