"""Kafka records to ``Record``s, once for all projections, and text that PostgreSQL can store."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import orjson

from projections.base import Record
from streams.codec import avro, cloudevents
from streams.domain.catalogue import Topic
from streams.domain.envelope import Envelope

_REPLACEMENT = "\ufffd"
_TEXTS_OF = attrgetter(*(field.name for field in dataclasses.fields(Envelope) if field.type == "str"))

T = TypeVar("T")


def decode(
    topic: Topic,
    partition: int,
    offset: int,
    headers: Sequence[tuple[str, bytes]] | None,
    value: bytes | None,
) -> Record:
    """The record of a topic of the catalogue; raises ``InvalidEvent`` or ``UnknownSchema`` as the codec does."""
    envelope, schema, content_type = cloudevents.decode_headers(headers)
    fields = cloudevents.read_data(envelope.type, schema, content_type, value)
    json = jsonb(fields)  # from the plain fields: from data classes it takes three times as long
    data = avro.instance(envelope.type, schema, fields)
    if b"\\u0000" in json or "\0" in "".join(_TEXTS_OF(envelope)):
        return record_of(topic, partition, offset, envelope, data)
    return Record(topic, partition, offset, envelope, data, json)


def record_of(topic: Topic, partition: int, offset: int, envelope: Envelope, data: Any) -> Record:
    """A record of decoded parts. PostgreSQL has no NUL in text: it becomes U+FFFD, in the read models only."""
    json = jsonb(data)
    if b"\\u0000" in json:
        data = _clean(data)
        json = jsonb(data)
    if "\0" in "".join(_TEXTS_OF(envelope)):
        envelope = _clean(envelope)
    return Record(topic, partition, offset, envelope, data, json)


def jsonb(data: Any) -> bytes:
    """An event's data, or a part of it, as COPY in binary format takes ``jsonb``: a version byte, then JSON.

    Bytes become base64 text, as CloudEvents writes them in JSON.
    """
    return b"\x01" + orjson.dumps(data, default=_base64)


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} in an event's data")


def _clean(value: T) -> T:
    """The value with every NUL in its texts replaced, at any depth."""
    found: Any = value
    if isinstance(value, str):
        found = value.replace("\0", _REPLACEMENT)
    elif isinstance(value, Mapping):
        found = {_clean(key): _clean(entry) for key, entry in value.items()}
    elif isinstance(value, tuple):
        found = tuple(map(_clean, value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = dataclasses.replace(
            value, **{field.name: _clean(getattr(value, field.name)) for field in dataclasses.fields(value)}
        )
    return found  # type: ignore[no-any-return]  # of the type that came in
