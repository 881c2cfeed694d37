"""The canonical signal as JSON: what ``com.incidents.signal.v1`` carries over HTTP, and what mappings produce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.cloudevents.mapping import FIELDS
from connectors.kit import limits
from connectors.kit.contract import Integration
from connectors.kit.intake import in_range
from streams.domain.envelope import milliseconds
from streams.domain.signals import SEVERITIES, Signal

_ALLOWED: Final = frozenset(FIELDS) | {"labels", "links"}
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "status": ("firing", "resolved"),
    "kind": ("alert", "report"),
    "severity": SEVERITIES,
}
_IDENTITIES: Final = ("fingerprint", "external_id")
_LIMITS: Final = {"title": limits.TITLE_CHARACTERS, "description": limits.TEXT_CHARACTERS}


class NotCanonical(ValueError):  # noqa: N818
    """Data that is no canonical signal; the message names the field."""


def read_signal(data: Any, integration: Integration, raw: bytes, event_time: int, *, lenient: bool = False) -> Signal:
    """The signal of canonical data; ``event_time`` is that of the event, for data that has none of its own.

    ``lenient`` takes numbers and booleans for texts, as a mapping finds them. Raises ``NotCanonical``.
    """
    if not isinstance(data, dict):
        raise NotCanonical("data must be a JSON object")
    if unknown := data.keys() - _ALLOWED:
        raise NotCanonical(f"data has unknown fields: {', '.join(sorted(unknown))[:200]}")
    if not data.get("title"):
        raise NotCanonical("title is missing")
    values: dict[str, Any] = {name: _text(name, data[name], lenient=lenient) for name in FIELDS if name in data}
    for name, allowed in _CHOICES.items():
        if name in values and values[name] not in allowed:
            raise NotCanonical(f"{name} is {values[name][:50]!r}, not one of {', '.join(allowed)}")
    values.pop("event_time", None)
    return Signal(
        **values,
        event_time=_time(data["event_time"]) if "event_time" in data else event_time,
        connector=integration.connector,
        integration_id=integration.integration_id,
        labels=_texts("labels", data.get("labels")),
        links=_texts("links", data.get("links")),
        raw=raw,
    )


def _text(name: str, value: Any, *, lenient: bool) -> str:
    if name == "event_time":
        return ""
    if not isinstance(value, str) and (not lenient or isinstance(value, (dict, list))):
        raise NotCanonical(f"{name} must be a text")
    return limits.identity(value) if name in _IDENTITIES else limits.text(value, _LIMITS.get(name, 256))


def _time(value: Any) -> int:
    """Milliseconds since the epoch, or an RFC 3339 text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return in_range(value)
    try:
        return in_range(milliseconds(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise NotCanonical("event_time must be milliseconds since the epoch or an RFC 3339 time") from error


def _texts(name: str, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
        raise NotCanonical(f"{name} must be an object of texts")
    return limits.mapping(value)
