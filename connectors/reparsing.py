"""Reading a kept raw delivery again with today's parser: how a fixed connector gets what it once did not understand."""

from __future__ import annotations

import orjson

from connectors.cloudevents.events import STRUCTURED
from connectors.kit.contract import Delivery, Integration, Message, Unparseable
from connectors.registry import CONNECTORS
from streams.domain.errors import IncidentsError
from streams.domain.signals import ProviderIngested


class StillNotUnderstood(IncidentsError):  # noqa: N818
    """Today's parser does not understand it either; the message says why."""


def parse_again(integration: Integration, raw: bytes) -> list[Message]:
    """The messages of a delivery that was verified when it came; their ids are those that the parser derives now.

    Raises ``StillNotUnderstood``, also where only a part of it cannot be understood.
    """
    connector = CONNECTORS.get(integration.connector)
    if connector is None or connector.receives is None:
        raise StillNotUnderstood(f"no connector {integration.connector!r} takes deliveries")
    types = connector.receives.content_types
    delivery = Delivery(raw, {"content-type": STRUCTURED if STRUCTURED in types else "application/json"})
    try:
        messages = connector.receives.parse(integration, delivery, orjson.loads(raw))
    except (Unparseable, orjson.JSONDecodeError) as error:
        raise StillNotUnderstood(str(error)) from error
    for _, data in messages:
        if isinstance(data, ProviderIngested) and data.problem:
            raise StillNotUnderstood(data.problem)
    return messages
