"""CloudEvents to messages: canonical ones as they are, foreign ones by the integration's mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from connectors.cloudevents.canonical import NotCanonical, read_signal
from connectors.cloudevents.events import BATCH, PLAIN, STRUCTURED, read_events
from connectors.cloudevents.mapping import CompiledMapping, InvalidMapping, compile_mapping
from connectors.kit import bearer
from connectors.kit.contract import Delivery, Integration, Message, Unparseable
from connectors.kit.intake import in_range, ingested_message
from streams.domain.catalogue import RESERVED_PREFIX, SIGNAL
from streams.domain.envelope import Envelope, milliseconds, rfc3339
from streams.domain.signals import Signal

_TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, section 3.2."""


class CloudEventsReceives:
    """Structured, binary and batched events; a batch is taken whole or refused."""

    content_types = frozenset({STRUCTURED, BATCH, PLAIN})

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
        """By bearer token."""
        del now
        return bearer.verify(delivery, secrets, in_url=False)

    def parse(self, integration: Integration, delivery: Delivery, document: Any) -> list[Message]:
        """A message for each event, under the producer's own source and id."""
        events = read_events(delivery, document)
        media_type = delivery.media_type
        mapping = _mapping(integration)
        messages = []
        for index, event in enumerate(events):
            raw = delivery.body if media_type == STRUCTURED else orjson.dumps(event)
            try:
                messages.append(_message(integration, mapping, event, raw))
            except NotCanonical as error:
                raise Unparseable(str(error), index if media_type == BATCH else -1) from error
        return messages


def _mapping(integration: Integration) -> CompiledMapping | None:
    document = integration.config.get("mapping")
    try:
        return None if document is None else compile_mapping(document)
    except InvalidMapping as error:
        raise Unparseable(f"the mapping of this integration cannot be used: {error}") from error


def _message(
    integration: Integration, mapping: CompiledMapping | None, event: Mapping[str, Any], raw: bytes
) -> Message:
    type_, time = event["type"], event.get("time")
    occurred = in_range(milliseconds(time)) if time else 0
    if type_ != SIGNAL and type_.startswith(RESERVED_PREFIX):
        raise NotCanonical(f"types of {RESERVED_PREFIX}* are the product's own; only {SIGNAL} may be sent")
    if type_ == SIGNAL or mapping is None:
        signal = read_signal(event.get("data"), integration, raw, occurred)
    elif (rule := mapping.rule_for(type_)) is not None:
        signal = read_signal(rule.apply(event), integration, raw, occurred, lenient=True)
    else:
        return ingested_message(integration, event["id"], type_, raw, source=event["source"], event_time=occurred)
    return _envelope(integration, event, occurred), signal


def _envelope(integration: Integration, event: Mapping[str, Any], occurred: int) -> Envelope:
    traceparent = str(event.get("traceparent", ""))
    return Envelope(
        id=event["id"],
        source=event["source"],
        type=SIGNAL,
        tenantid=integration.tenant_id,
        time=rfc3339(occurred) if occurred else "",
        traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else "",
    )


def preview(document: Any, event: Any) -> dict[str, Any]:
    """What a mapping makes of an event: the rule's index (-1: none fits) and the signal; nothing is sent.

    Raises ``InvalidMapping`` and ``Unparseable``.
    """
    mapping = compile_mapping(document)
    delivery = Delivery(b"", {"content-type": STRUCTURED})
    read = read_events(delivery, event)[0]
    integration = Integration("preview", "", "cloudevents", config={"mapping": document})
    rule = mapping.rule_for(read["type"])
    try:
        _, data = _message(integration, mapping, read, b"")
    except NotCanonical as error:
        raise Unparseable(str(error)) from error
    return {"rule": -1 if rule is None else rule.index, "signal": _shown(data) if isinstance(data, Signal) else None}


def _shown(signal: Signal) -> dict[str, Any]:
    hidden = {"raw", "raw_ref", "connector", "integration_id"}
    return {name: getattr(signal, name) for name in Signal.__slots__ if name not in hidden}
