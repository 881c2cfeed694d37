"""Raw limits of this machine in the same run: what the parts could do at best, each alone and with the same bytes.

librdkafka producing and consuming the records that the alerts become, COPY of the rows that they become, and an ASGI
application that reads the same requests and does nothing with them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench import accept, payloads
from bench.figures import median, spread
from bench.http import Connection, request
from bench.load import Load
from bench.part import Found, Row, Scale, load_average
from bench.world import ROOT, World, world
from connectors.alertmanager.inbound import AlertmanagerReceives
from connectors.kit.contract import Delivery, Integration
from projections import alerts
from projections.connections import connect
from streams.codec import cloudevents
from streams.runtime.settings import KafkaSettings

PARTITIONS = 4
CHUNK = 5_000
Records = list[tuple[bytes, bytes, list[tuple[str, bytes]]]]


def measure(scale: Scale) -> Found:
    """All of them."""
    found = Found()
    with world(()) as there:
        made = records(there, scale.of(300))
        size = sum(len(value) for _, value, _ in made) / len(made)
        found.details["record_bytes"] = round(size)
        rounds = [_kafka(there.kafka, made, number) for number in range(scale.rounds + 1)][1:]
        produced, consumed = [one[0] for one in rounds], [one[1] for one in rounds]
        copied = [_copy(there, len(made)) for _ in range(scale.rounds + 1)][1:]
        answered = [_empty(there, scale) for _ in range(scale.rounds + 1)][1:]
    found.details["raw"] = {
        "produce_eps": median(produced),
        "consume_eps": median(consumed),
        "copy_rows_s": median(copied),
        "empty_asgi_rps": median(answered),
        "load_average": load_average(),
    }
    found.rows = [
        Row(
            f"raw: librdkafka produces, acks=all, {size:,.0f} B (records/s)", f"{median(produced):,}", spread(produced)
        ),
        Row("raw: librdkafka consumes them (records/s)", f"{median(consumed):,}", spread(consumed)),
        Row("raw: COPY of the alerts' rows (rows/s)", f"{median(copied):,}", spread(copied)),
        Row("raw: an ASGI application that does nothing (requests/s)", f"{median(answered):,}", spread(answered)),
    ]
    return found


def records(there: World, groups: int, number: int = 1) -> Records:
    """What the connector makes of groups of alerts."""
    found: Records = []
    receives = AlertmanagerReceives()
    for tenant in there.tenants:
        integration = Integration(tenant.alertmanager.integration_id, tenant.name, "alertmanager")
        for group in payloads.groups(tenant, max(1, groups // len(there.tenants)), seed=number):
            body = group.request.partition(b"\r\n\r\n")[2]
            for message in receives.parse(integration, Delivery(body, {}), orjson.loads(body)):
                value, headers = cloudevents.encode(*message)
                found.append((tenant.name.encode(), value, headers))
    return found


def _kafka(settings: KafkaSettings, made: Records, number: int) -> tuple[float, float]:
    topic = f"raw-{number}"
    admin = AdminClient(settings.librdkafka())
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    began = time.perf_counter()
    produce(settings, topic, made)
    produced = time.perf_counter()
    consumer = Consumer(settings.librdkafka() | {"group.id": topic, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    left = len(made)
    while left > 0:
        left -= sum(record.error() is None for record in consumer.consume(CHUNK, 0.5))
    consumed = time.perf_counter()
    consumer.close()
    admin.delete_topics([topic])[topic].result()
    return len(made) / (produced - began), len(made) / (consumed - produced)


def produce(settings: KafkaSettings, topic: str, made: Records) -> None:
    """Write records as the API's producer does, and wait until Kafka has them."""
    producer = Producer(
        settings.librdkafka()
        | {
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for n, (key, value, headers) in enumerate(made):
        producer.produce(topic, key=key, value=value, headers=headers)
        if n % 500 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("Kafka did not take everything")


def _copy(there: World, count: int) -> float:
    """Rows a second into a table like ``alerts`` without its indexes."""
    now = datetime.now(UTC)
    texts = dict.fromkeys(alerts.COLUMNS, "a text of some length")
    row = tuple(_value(type_, texts[name], now) for name, type_ in alerts.COLUMNS.items())
    types = ["bytea" if type_ == "jsonb" else type_ for type_ in alerts.COLUMNS.values()]
    with connect(there.database, "owner", name="bench") as connection:
        columns = ", ".join(f"{name} {type_}" for name, type_ in alerts.COLUMNS.items())
        connection.execute(f"CREATE TABLE public.raw ({columns})".encode())
        began = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy("COPY public.raw FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(types)
            for _ in range(count):
                copy.write_row(row)
        seconds = time.perf_counter() - began
        connection.rollback()
    return count / seconds


def _value(type_: str, text: str, now: datetime) -> Any:
    match type_:
        case "jsonb":
            return b'\x01{"cluster":"eu-central-1-prod","namespace":"team-1","pod":"svc-1-7c9d8f6b5-00001"}'
        case "timestamptz":
            return now
        case "int4" | "int8":
            return 7
        case _:
            return text


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that reads the request and answers 202."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def _empty(there: World, scale: Scale) -> float:
    port = there.settings.port(there.settings.api_port)
    command = ["uvicorn", "bench.raw:nothing", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    child = subprocess.Popen([sys.executable, "-m", *command, "--no-access-log", "--log-level", "error"], cwd=ROOT)
    try:
        _wait_for(port)
        parts = [there.tenants[n :: accept.SENDERS] for n in range(accept.SENDERS)]
        makes = [partial(accept.single_streams, port, part, scale.of(2_000), 9, 4) for part in parts]
        load = Load(makes)
        load.go()
        sent = load.done()
    finally:
        child.terminate()
        child.wait()
    return sum(one.statuses[202] for one in sent) / accept.elapsed(sent)


def _wait_for(port: int) -> None:
    async def ask() -> None:
        connection = await Connection.open(port)
        await connection.send(request("POST", "/", {}))
        connection.close()

    for _ in range(200):
        try:
            asyncio.run(ask())
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the empty application does not answer")
