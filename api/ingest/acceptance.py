"""From parsed messages to Kafka: large bodies to object storage first, then one acknowledged write for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import orjson
from starlette.responses import Response

from api.ingest.dependencies import IngestDependencies
from api.problems import Problem, unavailable
from connectors.kit.contract import Message
from connectors.kit.limits import RAW_BYTES
from streams.codec import cloudevents
from streams.domain.errors import Transient
from streams.runtime.metrics import INGEST_MESSAGES
from streams.runtime.producer import ProducerRecord, RecordTooLarge


async def accept(needs: IngestDependencies, connector: str, messages: Sequence[Message]) -> Response:
    """202 with the ids once every message is in Kafka; ``Problem`` 503 when that cannot be had, 413 when never."""
    try:
        if any(len(data.raw) > RAW_BYTES for _, data in messages):
            messages = await asyncio.gather(*(_moved(needs, message) for message in messages))
        await needs.producer.send([_record(needs.topic, message) for message in messages])
    except Transient as error:
        raise unavailable(error) from error
    except RecordTooLarge as error:
        raise Problem(413, "event-too-large", detail="one event is too large to be kept") from error
    if messages:
        needs.admission.accepted(messages[0][0].tenantid, len(messages))
    INGEST_MESSAGES.labels(connector).inc(len(messages))
    body = orjson.dumps({"accepted": len(messages), "ids": [envelope.id for envelope, _ in messages]})
    return Response(body, 202, media_type="application/json")


async def _moved(needs: IngestDependencies, message: Message) -> Message:
    """The message with its raw body in object storage, where it is too large to carry."""
    envelope, data = message
    if len(data.raw) <= RAW_BYTES:
        return message
    key = await needs.storage.put_async(data.raw, "application/json")
    return replace(envelope, dataref=key), replace(data, raw=b"", raw_ref=key)


def _record(topic: str, message: Message) -> ProducerRecord:
    envelope, data = message
    value, headers = cloudevents.encode(envelope, data)
    return ProducerRecord(topic, envelope.tenantid.encode(), value, headers)
