"""A span of the log, chosen by time, offset, tenant, incident and type, and its records as CloudEvents in JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from streams.codec import cloudevents
from streams.codec.avro import decode
from streams.domain.envelope import Envelope, rfc3339
from streams.domain.errors import IncidentsError
from streams.runtime.log_reader import LogReader, Span

_NUMBERS = ("sequence", "tenantsequence", "recordedtime")


class OutsideLog(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """The span asked for is not in the log; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records; empty fields do not restrict. Times in milliseconds (``since`` <= t < ``until``), 0 for none.

    ``first`` and ``last`` are offsets (``first`` <= offset <= ``last``, -1 for none) of ``partition`` (-1: of each).
    """

    since: int = 0
    until: int = 0
    partition: int = -1
    first: int = -1
    last: int = -1
    tenant: str = ""
    incident: str = ""
    types: tuple[str, ...] = ()

    def takes(self, envelope: Envelope) -> bool:
        """Whether a record with this envelope is wanted, as far as that says."""
        return (
            self.tenant in {"", envelope.tenantid}
            and self.incident in {"", envelope.subject}
            and (not self.types or envelope.type in self.types)
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One record: where it lies, its envelope, and what Kafka holds."""

    topic: str
    partition: int
    offset: int
    envelope: Envelope
    schema: str
    content_type: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    def document(self) -> dict[str, Any]:
        """The record as a structured CloudEvent in JSON, with its data decoded.

        Where it lies is in the extensions ``kafkatopic``, ``kafkapartition`` and ``kafkaoffset`` (text, because an
        offset does not fit the 32-bit integers of CloudEvents 1.0). Raises ``InvalidEvent`` and ``UnknownSchema``.
        """
        attributes = {name: value for name, value in asdict(self.envelope).items() if value}
        attributes |= {name: str(attributes[name]) for name in _NUMBERS if name in attributes}
        if "time" not in attributes and self.envelope.recordedtime:
            attributes["time"] = rfc3339(self.envelope.recordedtime)
        return {
            "specversion": "1.0",
            **attributes,
            "dataschema": self.schema,
            "datacontenttype": "application/json",
            "kafkatopic": self.topic,
            "kafkapartition": str(self.partition),
            "kafkaoffset": str(self.offset),
            "data": plain(decode(self.envelope.type, self.schema, self.value)),
        }


def chosen(reader: LogReader, topic: str, wanted: Wanted) -> tuple[dict[int, int], dict[int, int]]:
    """The offsets, by partition, from which and to before which the wanted records lie.

    Raises ``OutsideLog`` when nothing of the span is there, or when it begins before the log does.
    """
    spans = reader.spans()
    if wanted.partition >= 0 and wanted.partition not in spans:
        raise OutsideLog(f"{topic} has partitions 0 to {max(spans)}, not {wanted.partition}")
    partitions = [wanted.partition] if wanted.partition >= 0 else list(spans)
    since = reader.offsets_at(wanted.since) if wanted.since else {}
    until = reader.offsets_at(wanted.until) if wanted.until else {}
    starts, ends = {}, {}
    for number in partitions:
        span = spans[number]
        if 0 <= wanted.first < span.begin or wanted.first > span.end:
            raise OutsideLog(f"offset {wanted.first} is not in the log: {_there(topic, spans)}")
        starts[number] = max(span.begin, since.get(number, 0), wanted.first)
        last = wanted.last + 1 if wanted.last >= 0 else span.end
        ends[number] = min(span.end, until.get(number, span.end), last)
    if all(starts[number] >= ends[number] for number in partitions):
        raise OutsideLog(f"nothing lies in this span: {_there(topic, spans)}")
    return starts, ends


def entries(reader: LogReader, topic: str, wanted: Wanted) -> Iterator[Entry]:
    """The wanted records, each partition in its order; raises ``OutsideLog``, ``InvalidEvent``."""
    starts, ends = chosen(reader, topic, wanted)
    for messages in reader.read(starts, ends, 1_000):
        for message in messages:
            headers = tuple(message.headers() or ())
            envelope, schema, content_type = cloudevents.decode_headers(headers)
            if wanted.takes(envelope):
                value = message.value() or b""
                yield Entry(
                    topic, message.partition(), message.offset(), envelope, schema, content_type, message.key(), value,
                    headers,
                )  # fmt: skip


def plain(data: Any) -> dict[str, Any]:
    """A message's data as JSON holds it: bytes as base64 text."""
    found: dict[str, Any] = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in asdict(data).items()
    }
    return found


def _there(topic: str, spans: Mapping[int, Span]) -> str:
    held = ", ".join(f"partition {n}: {s.begin} to {s.end - 1}" if s.end > s.begin else f"partition {n}: nothing"
                     for n, s in spans.items())  # fmt: skip
    return f"{topic} holds {held}"
