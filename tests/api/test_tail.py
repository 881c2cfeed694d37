"""A tail goes on after an interruption where it was, whatever it would begin with today."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from api.live.tail import Tail, last_stable
from streams.runtime.settings import KafkaSettings
from tests.harness.kafka import own_topics
from tests.harness.record import send, signals

pytestmark = pytest.mark.stack


async def test_what_comes_during_an_interruption_is_read_once(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_topics(kafka_settings)
    seen: list[bytes] = []
    asked: list[str] = []

    def start(asker: Consumer, topic: str) -> Mapping[int, int]:
        asked.append(topic)
        return last_stable(asker, topic)

    def deliver(messages: Sequence[Message]) -> None:
        seen.extend(dict(message.headers() or ())["ce_id"] or b"" for message in messages)

    tail = Tail(settings, "incident-intake", start, deliver)
    read, interrupted = tail._read, asyncio.Event()
    loop = asyncio.get_running_loop()

    def breaking(consumer: Consumer) -> None:
        read(consumer)
        if len(seen) == 10 and not interrupted.is_set():
            send(settings, signals(10, "meanwhile"))
            loop.call_soon_threadsafe(interrupted.set)
            raise KafkaException(KafkaError(KafkaError.BROKER_NOT_AVAILABLE))

    monkeypatch.setattr(tail, "_read", breaking)
    tail.start()
    try:
        async with asyncio.timeout(30):
            await tail.positioned.wait()
            await asyncio.to_thread(send, settings, signals(10, "before"))
            await interrupted.wait()
            while len(seen) < 20:  # noqa: ASYNC110  the thread has no event for it
                await asyncio.sleep(0.05)
    finally:
        await tail.stop()
    assert sorted(seen) == sorted(f"{tag}-{n}".encode() for tag in ("before", "meanwhile") for n in range(10))
    assert len(asked) == 1
