"""What providers send, in the one canonical form that correlation reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from streams.domain.records import dataclass

SEVERITIES = ("SEV-1", "SEV-2", "SEV-3", "SEV-4", "SEV-5")
"""From worst to mildest."""

SignalStatus = Literal["firing", "resolved"]
SignalKind = Literal["alert", "report"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One alert or user report (``com.incidents.signal.v1``); its envelope's (source, id) identifies the delivery.

    ``fingerprint`` identifies the alert at its source over its whole life (firing, repeated, resolved); empty: the id.
    ``event_time`` is the provider's own clock in milliseconds: for a resolved signal, when it was resolved.
    ``external_id`` is the provider's object that side effects act on, e.g. a PagerDuty incident id.
    ``raw`` is the provider's body as received, ``raw_ref`` its object storage key where it is too large to carry.
    """

    title: str
    status: SignalStatus = "firing"
    fingerprint: str = ""
    severity: str = "SEV-3"
    service: str = ""
    host: str = ""
    error_type: str = ""
    rule: str = ""
    kind: SignalKind = "alert"
    description: str = ""
    event_time: int = 0
    connector: str = ""
    integration_id: str = ""
    external_id: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    raw_ref: str = ""


ProviderAction = Literal["none", "acknowledge", "note"]


@dataclass(frozen=True, slots=True)
class ProviderIngested:
    """A provider's message that is no signal (``com.incidents.provider.ingested.v1``), kept raw and never dropped (R9).

    ``action`` is what it asks of the incident that holds ``external_id``; ``actor`` and ``text`` go with it.
    ``problem`` says why the message could not be understood: such a one is refused and dead-lettered.
    On the intake the delivery's identity is the envelope's; ``delivery_source`` and ``delivery_id`` repeat it in the
    record, where the envelope is the event's own.
    """

    connector: str
    integration_id: str
    provider_type: str
    action: ProviderAction = "none"
    external_id: str = ""
    actor: str = ""
    text: str = ""
    problem: str = ""
    raw: bytes = b""
    raw_ref: str = ""
    delivery_source: str = ""
    delivery_id: str = ""
