"""CloudEvents over HTTP (HTTP Protocol Binding 1.0.2; JSON Event Format 1.0.2): the three modes to one shape.

The SDK validates the attributes; it has no batch mode and would invent a missing id, so both are done here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

import orjson
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent

from connectors.kit import limits
from connectors.kit.contract import Delivery, Unparseable

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
PLAIN: Final = "application/json"
MAX_BATCH: Final = 1_000

_RESERVED_SOURCES: Final = ("/integrations/", "/dispatcher", "/scheduler", "/api")
_IDENTIFYING: Final = frozenset({"specversion", "id", "source", "type"})
_TEXTS: Final = (*sorted(_IDENTIFYING), "time", "subject", "dataschema", "datacontenttype")


def read_events(delivery: Delivery, document: Any) -> list[dict[str, Any]]:
    """The events of a request, each as its attributes and ``data``; raises ``Unparseable`` with the index."""
    media_type = delivery.media_type
    if media_type == BATCH:
        if not isinstance(document, list):
            raise Unparseable("a batch is a JSON array of events")
        if len(document) > MAX_BATCH:
            raise Unparseable(f"a batch has at most {MAX_BATCH} events")
        return [_structured(entry, index) for index, entry in enumerate(document)]
    if media_type == STRUCTURED:
        return [_structured(document, -1)]
    return [_binary(delivery.headers, document)]


def _binary(headers: Mapping[str, str], data: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        name.removeprefix("ce-"): unquote(value) for name, value in headers.items() if name.startswith("ce-")
    }
    event["datacontenttype"] = headers.get("content-type", PLAIN)
    _check(event, -1)
    event["data"] = data
    return event


def _structured(event: Any, index: int) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise Unparseable("an event is a JSON object", index)
    if "data_base64" in event:
        event = {**event, "data": _decoded(event, index)}
        del event["data_base64"]
    _check(event, index)
    return dict(event)


def _decoded(event: Mapping[str, Any], index: int) -> Any:
    if "data" in event:
        raise Unparseable("an event has data or data_base64, not both", index)
    try:
        return orjson.loads(base64.b64decode(event["data_base64"], validate=True))
    except (binascii.Error, TypeError, ValueError) as error:
        raise Unparseable("data_base64 must hold JSON", index) from error


def _check(event: Mapping[str, Any], index: int) -> None:
    """Refuse what is no CloudEvent 1.0, or one that nobody outside may send."""
    attributes = {name: value for name, value in event.items() if name != "data" and value is not None}
    for name in _TEXTS:
        value = attributes.get(name, "")
        if not isinstance(value, str):
            raise Unparseable(f"{name} must be a text", index)
        if name in _IDENTIFYING and (not value or limits.identity(value) != value):
            raise Unparseable(f"{name} is missing, too long or not printable", index)
    if attributes["source"].startswith(_RESERVED_SOURCES):
        raise Unparseable("this source is reserved for the product itself", index)
    try:
        if "time" in attributes:
            attributes["time"] = datetime.fromisoformat(attributes["time"])
        CloudEvent(attributes)
    except CloudEventValidationError as error:
        raise Unparseable(f"invalid attributes: {', '.join(sorted(map(str, error.errors)))[:200]}", index) from error
    except ValueError as error:
        raise Unparseable("time is not in the form of RFC 3339", index) from error
