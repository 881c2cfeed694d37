"""CloudEvents on Kafka in binary content mode (Kafka Protocol Binding 1.0.2, section 3.2), for hot paths.

Headers are ``ce_<attribute>`` in UTF-8 and ``content-type``; the value is one Avro datum; the key is the tenant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any

from streams.codec import avro
from streams.domain.envelope import Envelope
from streams.domain.errors import InvalidEvent

CONTENT_TYPE = "application/avro"
Headers = list[tuple[str, bytes]]

_NUMBERS = ("sequence", "tenantsequence", "recordedtime")
_NAMES = tuple(field.name for field in fields(Envelope))
_PAIRS = tuple((f"ce_{name}", name in _NUMBERS) for name in _NAMES)
_GET = attrgetter(*_NAMES)
_BY_HEADER = {f"ce_{name}": (name, name in _NUMBERS) for name in _NAMES}
_FIXED: Headers = [("ce_specversion", b"1.0"), ("content-type", CONTENT_TYPE.encode())]


def encode_headers(envelope: Envelope, data_schema: str) -> Headers:
    """The record headers of an envelope; absent attributes get none."""
    headers = [
        *_FIXED,
        ("ce_dataschema", data_schema.encode()),
        ("ce_partitionkey", envelope.tenantid.encode()),
    ]
    for (header, is_number), value in zip(_PAIRS, _GET(envelope), strict=True):
        if value:
            headers.append((header, b"%d" % value if is_number else value.encode()))
    return headers


def encode(envelope: Envelope, data: object) -> tuple[bytes, Headers]:
    """Value and headers of a record; its key is ``envelope.tenantid`` in UTF-8."""
    value, uri = avro.encode(data)
    return value, encode_headers(envelope, uri)


def decode_headers(headers: Iterable[tuple[str, bytes]] | None) -> tuple[Envelope, str, str]:
    """Envelope, ``dataschema`` and content type of a record's headers; unknown extensions are left out.

    Raises ``InvalidEvent`` when a required attribute is missing or an attribute cannot be read.
    """
    attributes: dict[str, Any] = {}
    schema = content_type = ""
    try:
        for header, value in headers or ():
            known = _BY_HEADER.get(header)
            if known is not None:
                name, is_number = known
                attributes[name] = int(value) if is_number else value.decode()
            elif header == "ce_dataschema":
                schema = value.decode()
            elif header == "content-type":
                content_type = value.decode()
        return Envelope(**attributes), schema, content_type
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidEvent("not-a-cloudevent", str(error)) from error


def decode(headers: Iterable[tuple[str, bytes]] | None, value: bytes | None) -> tuple[Envelope, Any]:
    """Envelope and data of a record.

    Raises ``InvalidEvent`` for what can never be read, ``UnknownSchema`` for what a newer version can (R12).
    """
    envelope, schema, content_type = decode_headers(headers)
    return envelope, decode_data(envelope.type, schema, content_type, value)


def decode_data(type_: str, schema: str, content_type: str, value: bytes | None) -> Any:
    """Data of a record whose headers were decoded; raises as ``decode`` does."""
    return avro.instance(type_, schema, read_data(type_, schema, content_type, value))


def read_data(type_: str, schema: str, content_type: str, value: bytes | None) -> dict[str, Any]:
    """As ``decode_data``, as fields by name: ``avro.instance`` makes an instance of them."""
    if content_type != CONTENT_TYPE or value is None:
        raise InvalidEvent("unexpected-content-type", f"{content_type!r}, {'no' if value is None else 'some'} data")
    return avro.read(type_, schema, value)
