"""A message's data as JSON back to its data class: what read models and CloudEvents in JSON hold.

The inverse of writing the data class as a JSON object, with bytes as base64 text (CloudEvents 1.0 JSON format, 3.1).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from streams.domain.catalogue import BY_TYPE
from streams.domain.errors import InvalidEvent


def from_json(type_: str, values: Mapping[str, Any]) -> Any:
    """The data of a message type of the catalogue; members that its class does not have are passed over.

    Members that are missing take their defaults, as with an older schema. Raises ``InvalidEvent``.
    """
    spec = BY_TYPE.get(type_)
    if spec is None:
        raise InvalidEvent("unknown-type", type_)
    try:
        return _reader(spec.data)(values)
    except (TypeError, AttributeError, ValueError) as error:
        raise InvalidEvent("undecodable-data", f"{type_}: {error}") from error


@cache
def _reader(data: type) -> Callable[[Mapping[str, Any]], Any]:
    """A function from a JSON object to an instance; only fields that JSON holds otherwise are converted."""
    known = frozenset(field.name for field in dataclasses.fields(data))
    converted = {name: found for name, hint in typing.get_type_hints(data).items() if (found := _conversion(hint))}

    def read(values: Mapping[str, Any]) -> Any:
        if not values.keys() <= known:
            values = {name: value for name, value in values.items() if name in known}
        if not converted:
            return data(**values)
        given = dict(values)
        for name, convert in converted.items():
            if name in given:
                given[name] = convert(given[name])
        return data(**given)

    return read


def _conversion(hint: Any) -> Callable[[Any], Any] | None:
    if hint is bytes:
        return _bytes
    if typing.get_origin(hint) is not tuple:
        return None
    item = typing.get_args(hint)[0]
    if dataclasses.is_dataclass(item) and isinstance(item, type):
        read = _reader(item)
        return lambda entries: tuple([read(entry) for entry in entries])
    return tuple


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
