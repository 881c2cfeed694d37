"""Avro's binary encoding of data classes, compiled once for each schema (Avro 1.12, "Binary Encoding").

fastavro knows all of Avro, but takes a dictionary and writes each text anew. These records are mostly short texts, many
of them the same again and again: compiled to a few steps a record, with texts that come back kept encoded, the same
bytes take a third of the time. Covered is what the schema files use: records, arrays, maps of texts, ``string``,
``long``, ``bytes`` and ``boolean``. fastavro reads them, and tests hold its bytes against these.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

Put = Callable[[Any, list[bytes]], object]
"""Adds the encoding of some fields of an instance to the pieces."""

_KEPT = 20_000
"""So many texts, and so many numbers, are kept encoded; then the collection begins anew."""

_KEPT_CHARACTERS = 64
_END = b"\x00"
_SEVEN_BITS = 0x7F


class _Texts(dict[str, bytes]):
    """Texts to their encoding: the length in bytes, then UTF-8."""

    def __missing__(self, text: str) -> bytes:
        data = text.encode()
        encoded = _LONGS[len(data)] + data
        if len(text) <= _KEPT_CHARACTERS:
            if len(self) >= _KEPT:
                self.clear()
            self[text] = encoded
        return encoded


class _Longs(dict[int, bytes]):
    """Numbers to their encoding: zigzag, then seven bits a byte, the lowest first."""

    def __missing__(self, number: int) -> bytes:
        if not -(1 << 63) <= number < 1 << 63:
            raise OverflowError(f"{number} is no 64-bit integer")
        left = number << 1 if number >= 0 else (-number << 1) - 1
        data = bytearray()
        while left > _SEVEN_BITS:
            data.append(left & _SEVEN_BITS | 0x80)
            left >>= 7
        data.append(left)
        if len(self) >= _KEPT:
            self.clear()
        self[number] = encoded = bytes(data)
        return encoded


_TEXTS, _LONGS = _Texts(), _Longs()
_text, _long = _TEXTS.__getitem__, _LONGS.__getitem__


def compile_writer(data: type, schema: Mapping[str, Any]) -> Callable[[Any], bytes]:
    """A function from an instance of a data class to its datum under a parsed record schema."""
    put = _put_record(data, schema)

    def write(instance: Any) -> bytes:
        pieces: list[bytes] = []
        put(instance, pieces)
        return b"".join(pieces)

    return write


def _kind(field: Mapping[str, Any]) -> str:
    """The kind of a field's type; maps hold texts, nothing else is used."""
    type_ = field["type"]
    if isinstance(type_, str):
        return type_
    if type_["type"] == "map" and type_["values"] != "string":
        raise NotImplementedError(f"maps of {type_['values']}")
    return str(type_["type"])


def _items(data: type, field: Mapping[str, Any]) -> type | None:
    """The class of a tuple's records; none for a tuple of texts."""
    if field["type"]["items"] == "string":
        return None
    item: type = typing.get_args(typing.get_type_hints(data)[field["name"]])[0]
    return item


def _put_record(data: type, schema: Mapping[str, Any]) -> Put:
    steps: list[Put] = []
    for kind, run in groupby(schema["fields"], _kind):
        fields = list(run)
        if kind == "string":
            steps.append(_put_texts([field["name"] for field in fields]))
        else:
            steps += [_put_field(kind, data, field) for field in fields]

    def put(instance: Any, pieces: list[bytes]) -> None:
        for step in steps:
            step(instance, pieces)

    return put


def _put_texts(names: Sequence[str]) -> Put:
    get: Callable[[Any], Any] = attrgetter(*names)
    if len(names) == 1:
        return lambda instance, pieces: pieces.append(_text(get(instance)))
    return lambda instance, pieces: pieces.extend(map(_text, get(instance)))


def _put_field(kind: str, data: type, field: Mapping[str, Any]) -> Put:
    get = attrgetter(field["name"])
    match kind:
        case "long":
            return lambda instance, pieces: pieces.append(_long(get(instance)))
        case "boolean":
            return lambda instance, pieces: pieces.append(b"\x01" if get(instance) else b"\x00")
        case "bytes":
            return lambda instance, pieces: pieces.extend((_long(len(get(instance))), get(instance)))
        case "map":
            return _put_map(get)
        case "array":
            return _put_array(get, _items(data, field), field["type"]["items"])
        case _:
            raise NotImplementedError(f"{kind} in {data.__name__}")


def _put_map(get: Callable[[Any], Mapping[str, str]]) -> Put:
    def put(instance: Any, pieces: list[bytes]) -> None:
        if found := get(instance):
            pieces.append(_long(len(found)))
            pieces.extend(map(_text, chain.from_iterable(found.items())))
        pieces.append(_END)

    return put


def _put_array(get: Callable[[Any], Sequence[Any]], item: type | None, schema: Any) -> Put:
    put_item: Put = (lambda text, pieces: pieces.append(_text(text))) if item is None else _put_record(item, schema)

    def put(instance: Any, pieces: list[bytes]) -> None:
        if found := get(instance):
            pieces.append(_long(len(found)))
            for one in found:
                put_item(one, pieces)
        pieces.append(_END)

    return put
