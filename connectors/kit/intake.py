"""Building the messages that connectors put on the intake."""

from __future__ import annotations

import hashlib
from typing import Any

from connectors.kit import limits
from connectors.kit.contract import Integration, Message
from streams.domain.catalogue import PROVIDER_INGESTED, SIGNAL
from streams.domain.envelope import Envelope, rfc3339
from streams.domain.signals import ProviderAction, ProviderIngested, Signal
from streams.domain.tickets import TICKET_OBSERVED, TicketObserved

_YEARS_MS = (0, 253_402_300_799_999)  # 1970 to 9999, what RFC 3339 can write and PostgreSQL can hold


def _is_ascii(part: str | bytes) -> bool:
    return type(part) is str and part.isascii()


def digest(*parts: str | bytes) -> str:
    """A derived delivery id: SHA-256 over the parts, each preceded by its length in bytes."""
    if all(map(_is_ascii, parts)):
        text = "".join([f"{len(part)}:{part}" for part in parts])  # type: ignore[str-bytes-safe]  # only texts are here
        return hashlib.sha256(text.encode()).hexdigest()
    data = [part.encode() if isinstance(part, str) else part for part in parts]
    return hashlib.sha256(b"".join([b"%d:%b" % (len(part), part) for part in data])).hexdigest()


def in_range(milliseconds: int) -> int:
    """The instant, or 0 (unknown) where a provider's clock is far outside of what can be stored."""
    return milliseconds if _YEARS_MS[0] <= milliseconds <= _YEARS_MS[1] else 0


def signal_message(integration: Integration, delivery_id: str, signal: Signal) -> Message:
    """A signal under the integration's source."""
    envelope = Envelope(
        id=delivery_id,
        source=integration.source,
        type=SIGNAL,
        tenantid=integration.tenant_id,
        time=rfc3339(signal.event_time) if signal.event_time else "",
    )
    return envelope, signal


def observed_message(integration: Integration, observed: TicketObserved) -> Message:
    """A ticket as seen; its delivery id says what was seen, so a webhook and a poll of the same state are one."""
    shown = [part for name in sorted(observed.fields) for part in (name, observed.fields[name])]
    state = "deleted" if observed.deleted else str(observed.version)
    envelope = Envelope(
        id=digest(integration.source, observed.external_id, observed.marker, state, *shown),
        source=integration.source,
        type=TICKET_OBSERVED,
        tenantid=integration.tenant_id,
        time=rfc3339(observed.updated_at) if observed.updated_at else "",
    )
    return envelope, observed


def ingested_message(
    integration: Integration,
    delivery_id: str,
    provider_type: str,
    raw: bytes,
    source: str = "",
    action: ProviderAction = "none",
    external_id: str = "",
    actor: str = "",
    text: str = "",
    problem: str = "",
    event_time: int = 0,
) -> Message:
    """A message that is no signal: kept raw, with what it asks for or what is wrong with it (R9)."""
    source = source or integration.source
    envelope = Envelope(
        id=delivery_id,
        source=source,
        type=PROVIDER_INGESTED,
        tenantid=integration.tenant_id,
        time=rfc3339(event_time) if event_time else "",
    )
    return envelope, ProviderIngested(
        connector=integration.connector,
        integration_id=integration.integration_id,
        provider_type=limits.text(provider_type),
        action=action,
        external_id=external_id,
        actor=actor,
        text=limits.text(text, limits.TEXT_CHARACTERS),
        problem=limits.text(problem, limits.TITLE_CHARACTERS),
        raw=raw,
        delivery_source=source,
        delivery_id=delivery_id,
    )


def misunderstood(integration: Integration, delivery_id: str, raw: bytes, problem: str) -> Message:
    """A delivery, or a part of one, that cannot be understood: it is dead-lettered and recorded as refused."""
    return ingested_message(integration, delivery_id, f"{integration.connector}.unknown", raw, problem=problem)


def as_object(value: Any) -> dict[str, Any]:
    """The value where it is a JSON object, else an empty one: every field of a provider is optional."""
    return value if isinstance(value, dict) else {}
