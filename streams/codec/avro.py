"""Avro data to dataclasses and back, by the frozen schema files (no registry).

The writer's schema is the file that ``dataschema`` names, its fingerprint checked; the reader's is the newest.
"""

from __future__ import annotations

import dataclasses
import io
import typing
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any

import fastavro
import orjson

import schemas
from streams.codec.binary import compile_writer
from streams.domain.catalogue import BY_TYPE, TYPE_OF
from streams.domain.errors import InvalidEvent, UnknownSchema

_URI = "urn:incidents:schema"


@cache
def _parsed(type_: str, number: int) -> Any:
    return fastavro.parse_schema(orjson.loads(schemas.schema_bytes(type_, number)), named_schemas={})


@cache
def data_schema(type_: str, number: int) -> str:
    """The ``dataschema`` of a type's file: ``urn:incidents:schema:<type>:<n>#<CRC-64-AVRO>``.

    The fingerprint is that of the Parsing Canonical Form (Avro 1.12 specification, "Schema Fingerprints").
    """
    canonical = fastavro.schema.to_parsing_canonical_form(_parsed(type_, number))
    return f"{_URI}:{type_}:{number}#{fastavro.schema.fingerprint(canonical, 'CRC-64-AVRO')}"


@cache
def _readable() -> dict[str, tuple[str, int]]:
    return {data_schema(t, n): (t, n) for t in schemas.types() for n in schemas.versions(t)}


@cache
def _nested(data: type) -> dict[str, type]:
    """Fields that hold a tuple of records, with the record's class."""
    found: dict[str, type[Any]] = {}
    for name, hint in typing.get_type_hints(data).items():
        item = next(iter(typing.get_args(hint)), None)
        if isinstance(item, type) and dataclasses.is_dataclass(item):
            found[name] = item
    return found


@cache
def _from_dict(data: type) -> Callable[[dict[str, Any]], Any]:
    """A function from what fastavro reads to an instance; lists become tuples, of records where the class says so."""
    names = tuple(field.name for field in dataclasses.fields(data))
    get = itemgetter(*names) if len(names) > 1 else lambda record: (record[names[0]],)
    nested = _nested(data)
    plain = [
        n for n, hint in typing.get_type_hints(data).items() if typing.get_origin(hint) is tuple and n not in nested
    ]
    if not nested and not plain:
        return lambda record: data(*get(record))

    items = {name: _from_dict(item) for name, item in nested.items()}

    def convert(record: dict[str, Any]) -> Any:
        for name, item in items.items():
            record[name] = tuple(map(item, record[name]))
        for name in plain:
            record[name] = tuple(record[name])
        return data(*get(record))

    return convert


@cache
def _writer(data: type) -> tuple[Callable[[Any], bytes], str]:
    type_ = TYPE_OF[data]
    number = schemas.versions(type_)[-1]
    return compile_writer(data, _parsed(type_, number)), data_schema(type_, number)


def newest_schema(data: type) -> str:
    """The ``dataschema`` that data of this class is written with."""
    return _writer(data)[1]


def encode(data: object) -> tuple[bytes, str]:
    """One Avro datum by the newest schema of its type, and that schema's ``dataschema``."""
    data_class: type = type(data)
    write, uri = _writer(data_class)
    return write(data), uri


@cache
def _reading(type_: str, uri: str) -> tuple[Any, Any, Callable[[dict[str, Any]], Any]]:
    """The writer's schema, the reader's where it is another one, and what makes an instance; raises as ``decode``."""
    known = _readable().get(uri)
    if known is None:
        if uri.startswith(f"{_URI}:{type_}:"):
            raise UnknownSchema(f"{uri} is not among the schema files of this version")
        raise InvalidEvent("unknown-schema", f"{type_} with dataschema {uri!r}")
    spec = BY_TYPE.get(type_)
    if spec is None or known[0] != type_:
        raise InvalidEvent("unknown-type", f"{type_} with dataschema {uri!r}")
    newest = schemas.versions(type_)[-1]
    reader = None if known[1] == newest else _parsed(type_, newest)
    return _parsed(*known), reader, _from_dict(spec.data)


def decode(type_: str, uri: str, value: bytes) -> Any:
    """The datum as an instance of its type's data class.

    Raises ``UnknownSchema`` for a schema file that this process does not have (a newer writer), ``InvalidEvent`` for
    a type outside the catalogue, a schema of another type, or bytes that are no such datum.
    """
    return instance(type_, uri, read(type_, uri, value))


def read(type_: str, uri: str, value: bytes) -> dict[str, Any]:
    """The datum as fields by name, records in it too; raises as ``decode`` does."""
    writer, reader, _ = _reading(type_, uri)
    buffer = io.BytesIO(value)
    try:
        record = fastavro.schemaless_reader(buffer, writer, reader)
    except (EOFError, IndexError, ValueError, OverflowError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InvalidEvent("undecodable-data", f"{type_}: {type(error).__name__}: {error}") from error
    if buffer.tell() != len(value):
        raise InvalidEvent("undecodable-data", f"{type_}: {len(value) - buffer.tell()} bytes too many")
    return typing.cast("dict[str, Any]", record)


def instance(type_: str, uri: str, fields: dict[str, Any]) -> Any:
    """What ``read`` returned as an instance of its type's data class; ``fields`` must not be used any more."""
    return _reading(type_, uri)[2](fields)
