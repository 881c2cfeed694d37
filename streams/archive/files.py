"""Records of one partition as an Avro object container file (Avro specification 1.12, "Object Container Files")."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import fastavro

from streams.domain.errors import IncidentsError
from streams.runtime.partition_reader import StoredRecord

FORMAT = "1"
CONTENT_TYPE = "avro/binary"
SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "ArchivedRecord",
        "namespace": "com.incidents.archive",
        "doc": "A record of a Kafka partition; timestamp in milliseconds, header names a line each, values in step.",
        "fields": [
            {"name": "offset", "type": "long"},
            {"name": "timestamp", "type": "long"},
            {"name": "key", "type": ["null", "bytes"]},
            {"name": "value", "type": ["null", "bytes"]},
            {"name": "header_names", "type": "string"},
            {"name": "header_values", "type": {"type": "array", "items": "bytes"}},
        ],
    }
)
"""Header names are one text, a line each (``%`` and line breaks as ``%25`` and ``%0A``), since they hardly differ from
record to record: an array of name and value records is read at a tenth of the speed."""

_CANONICAL = fastavro.schema.to_parsing_canonical_form(SCHEMA)


class DamagedFile(IncidentsError):  # noqa: N818
    """An archive file is missing, is not what its name says, or cannot be read."""


def encode(topic: str, partition: int, records: Sequence[StoredRecord]) -> bytes:
    """A file of these records, compressed with Snappy; ``topic`` is the name in the catalogue."""
    buffer = io.BytesIO()
    about = {"incidents.format": FORMAT, "incidents.topic": topic, "incidents.partition": str(partition)}
    fastavro.writer(buffer, SCHEMA, map(_row, records), codec="snappy", metadata=about)
    return buffer.getvalue()


def _row(record: StoredRecord) -> dict[str, Any]:
    return {
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key,
        "value": record.value,
        "header_names": "\n".join([_escaped(name) for name, _ in record.headers]),
        "header_values": [value for _, value in record.headers],
    }


@lru_cache(maxsize=4096)
def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("\n", "%0A")


@lru_cache(maxsize=4096)
def _names(text: str) -> tuple[str, ...]:
    return tuple(name.replace("%0A", "\n").replace("%25", "%") for name in text.split("\n")) if text else ()


def decode(content: bytes, topic: str, partition: int) -> Iterator[StoredRecord]:
    """The records of a file in their order; raises ``DamagedFile``."""
    try:
        reader: Any = fastavro.reader(io.BytesIO(content))
        if fastavro.schema.to_parsing_canonical_form(reader.writer_schema) != _CANONICAL:
            # Only then: resolving one schema against another takes as long as reading does, also where they are equal.
            reader = fastavro.reader(io.BytesIO(content), SCHEMA)
        about = [reader.metadata.get(f"incidents.{name}") for name in ("format", "topic", "partition")]
        if about != [FORMAT, topic, str(partition)]:
            raise DamagedFile(f"a file of {topic}[{partition}] says that it is {about}")
        for one in reader:
            headers = tuple(zip(_names(one["header_names"]), one["header_values"], strict=True))
            key, value = one["key"], one["value"]
            yield StoredRecord(topic, partition, one["offset"], one["timestamp"], key, value, headers)
    except (EOFError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise DamagedFile(f"a file of {topic}[{partition}] cannot be read: {error}") from error


def size(record: StoredRecord) -> int:
    """About the bytes that a record takes."""
    return len(record.value or b"") + len(record.key or b"") + 32 + sum(len(n) + len(v) for n, v in record.headers)
