"""One event of the record as clients see it: a CloudEvent in JSON, each form of it made once for all of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from streams.codec import avro
from streams.codec.cloudevents import Headers, decode_headers
from streams.domain.envelope import Envelope, record_source, rfc3339
from streams.domain.errors import UnknownSchema

T = TypeVar("T")


class RecordedEvent:
    """An event with its place in the tenant's order; its data and what is made of it are kept once asked for."""

    __slots__ = ("_data", "_made", "_raw", "envelope")

    def __init__(self, envelope: Envelope, raw: tuple[str, bytes] | None, data: Mapping[str, Any] | None) -> None:
        self.envelope = envelope
        self._raw = raw
        self._data = data
        self._made: dict[object, Any] | None = None

    @classmethod
    def from_record(cls, headers: Headers | None, value: bytes | None) -> RecordedEvent:
        """The event of a Kafka record; raises ``InvalidEvent`` for headers that are no CloudEvent of ours."""
        envelope, schema, _ = decode_headers(headers)
        return cls(envelope, (schema, value or b""), None)

    @property
    def tenant_id(self) -> str:
        """Whose it is."""
        return self.envelope.tenantid

    @property
    def tenantsequence(self) -> int:
        """Its place in the tenant's order: the cursor of streams."""
        return self.envelope.tenantsequence

    @property
    def incident_id(self) -> str:
        """The incident that it is about; empty for an event of the tenant."""
        return self.envelope.subject

    @property
    def type(self) -> str:
        """Its CloudEvents type."""
        return self.envelope.type

    @property
    def data(self) -> Mapping[str, Any] | None:
        """Its data, JSON-ready; ``None`` when only a newer version of this process can read it (R12)."""
        if self._raw is not None:
            schema, value = self._raw
            try:
                self._data = plain(avro.decode(self.envelope.type, schema, value))
            except UnknownSchema:
                self._data = None
            self._raw = None
        return self._data

    @property
    def document(self) -> dict[str, Any]:
        """The event in the CloudEvents JSON format (CloudEvents 1.0.2, JSON event format)."""
        envelope = self.envelope
        return {
            "specversion": "1.0",
            "id": envelope.id,
            "source": record_source(envelope.tenantid),
            "type": envelope.type,
            "subject": envelope.subject,
            "time": rfc3339(envelope.recordedtime),
            "correlationid": envelope.correlationid,
            "causationid": envelope.causationid,
            "sequence": envelope.sequence,
            "tenantsequence": envelope.tenantsequence,
            "datacontenttype": "application/json",
            "data": self.data,
        }

    def once(self, make: Callable[[RecordedEvent], T]) -> T:
        """What ``make`` returns, made for the first who asks and kept for all others."""
        if self._made is None:
            self._made = {}
        found: T | None = self._made.get(make)
        if found is None:
            found = self._made[make] = make(self)
        return found


def plain(data: Any) -> Any:
    """A message's data as the JSON values that the timeline holds: bytes are base64, as CloudEvents writes them."""
    return orjson.loads(orjson.dumps(data, default=_base64))


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} in an event's data")
