"""One event of the record as clients see it: a CloudEvent in JSON, rendered once for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson

from streams.codec import avro
from streams.codec.cloudevents import Headers, decode_headers
from streams.domain.envelope import Envelope
from streams.domain.errors import UnknownSchema

_SHOWN = ("id", "source", "type", "subject", "time", "correlationid", "causationid")


class RecordedEvent:
    """An event with its place in the tenant's order; data and JSON are made when first asked for, and kept."""

    __slots__ = ("_data", "_json", "_raw", "envelope")

    def __init__(self, envelope: Envelope, raw: tuple[str, bytes] | None, data: Mapping[str, Any] | None) -> None:
        self.envelope = envelope
        self._raw = raw
        self._data = data
        self._json: bytes | None = None

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
        shown = {name: value for name in _SHOWN if (value := getattr(self.envelope, name))}
        return {
            "specversion": "1.0",
            **shown,
            "sequence": self.envelope.sequence,
            "tenantsequence": self.envelope.tenantsequence,
            "datacontenttype": "application/json",
            "data": self.data,
        }

    @property
    def json(self) -> bytes:
        """The document's bytes."""
        if self._json is None:
            self._json = orjson.dumps(self.document)
        return self._json


def plain(data: Any) -> dict[str, Any]:
    """A message's data as JSON values; raw provider bytes are left out (they may hold what no reader may see)."""
    record = dataclasses.asdict(data)
    return {name: value for name, value in record.items() if not isinstance(value, bytes)}
