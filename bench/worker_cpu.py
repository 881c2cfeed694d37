"""CPU that the orchestrator spends on an event, measured on the real worker process and a real Kafka broker.

    python -m bench.worker_cpu [--events 100000] [--tenants 20] [--services 10] [--profile FILE.svg]

Feeds real-shaped Alertmanager signals (30 % of them duplicates, 20 % resolves), waits until the worker has decided
every one, and reads CPU times from the processes themselves. The raw limit is what librdkafka alone does with the same
bytes in the same run: produce with ``acks=all``, then consume. The last line printed is one JSON object.

Uses the Kafka that KAFKA_BOOTSTRAP_SERVERS names, else starts a local stack of its own and removes it at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.alertmanager.inbound import AlertmanagerReceives
from connectors.kit.contract import Delivery, Integration
from infra.fakes.alertmanager.deliveries import PrometheusAlert, webhook
from infra.local import stack as local_stack
from infra.local.settings import StackSettings
from infra.local.status import status
from streams.codec import cloudevents
from streams.runtime.settings import KafkaSettings
from streams.runtime.topics import provision

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 2_000
DUPLICATES, RESOLVES = 0.3, 0.2
HOSTS, ALERTS = 25, 4
DEADLINE_S = 600
STARTED = 1_795_341_600


class Record(NamedTuple):
    """A record for the intake, encoded beforehand."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def records(count: int, tenants: int, services: int, seed: int) -> list[Record]:
    """Signals as the Alertmanager connector makes them of webhooks with one alert each."""
    choice = random.Random(seed)
    made: list[Record] = []
    firing: list[tuple[int, dict[str, str], str]] = []
    for n in range(count):
        kind = choice.random()
        if made and kind < DUPLICATES:
            made.append(made[max(0, n - choice.randrange(1, 2_000))])
            continue
        resolved = bool(firing) and kind < DUPLICATES + RESOLVES
        if resolved:
            tenant, labels, began = firing.pop(choice.randrange(len(firing)))
        else:
            tenant, labels, began = choice.randrange(tenants), _labels(choice, services), _time(STARTED + n // 200)
            firing.append((tenant, labels, began))
        alert = PrometheusAlert(
            labels, began, _time(STARTED + n // 200 + 60) if resolved else "", {"summary": "p99 latency above 2 s"}
        )
        made.append(_record(f"tenant-{tenant}", alert))
    return made


def _labels(choice: random.Random, services: int) -> dict[str, str]:
    service = choice.randrange(services)
    return {
        "alertname": f"Alert{choice.randrange(ALERTS)}",
        "job": f"service-{service}",
        "instance": f"10.0.{service}.{choice.randrange(HOSTS)}:9100",
        "severity": choice.choice(("critical", "warning")),
        "region": "eu-central-1",
        "replica": secrets.token_hex(4),
    }


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _record(tenant: str, alert: PrometheusAlert) -> Record:
    body, _ = webhook([alert], secret="-")  # noqa: S106  nothing verifies it here
    integration = Integration("int_bench", tenant, "alertmanager")
    [(envelope, data)] = AlertmanagerReceives().parse(integration, Delivery(body, {}), orjson.loads(body))
    value, headers = cloudevents.encode(envelope, data)
    return Record(tenant.encode(), value, headers)


@contextmanager
def kafka() -> Iterator[tuple[KafkaSettings, psutil.Process | None]]:
    """Where Kafka is, with topics of this run's own, and its process where it is a local one."""
    prefix = f"bench{secrets.token_hex(3)}-"
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield KafkaSettings(topic_prefix=prefix), None
        return
    (ROOT / ".incidents").mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / ".incidents"))
    home.chmod(0o755)
    stack = local_stack.open_stack(StackSettings(home=home))
    try:
        reached = local_stack.up(stack, local_stack.quiet)
        [pid] = [row["pid"] for row in status(stack)["services"] if row["name"] == "kafka"]
        servers = reached["KAFKA_BOOTSTRAP_SERVERS"]
        yield KafkaSettings(bootstrap_servers=servers, topic_prefix=prefix), psutil.Process(int(str(pid)))
    finally:
        local_stack.down(stack, local_stack.quiet)
        shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def produce(settings: KafkaSettings, topic: str, made: Sequence[Record]) -> None:
    """Write all of it, acknowledged."""
    producer = Producer(
        settings.librdkafka()
        | {
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for n, record in enumerate(made):
        producer.produce(topic, key=record.key, value=record.value, headers=record.headers)
        if n % 500 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("Kafka did not take everything")


def raw_limit(settings: KafkaSettings, made: Sequence[Record], partitions: int) -> tuple[float, float]:
    """Events a second that librdkafka alone produces, and consumes again."""
    topic = f"{settings.topic_prefix}raw"
    admin = AdminClient(settings.librdkafka())
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
    began = time.perf_counter()
    produce(settings, topic, made)
    produced = time.perf_counter()
    consumer = Consumer(settings.librdkafka() | {"group.id": topic, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    left = len(made)
    while left > 0:
        for record in consumer.consume(5_000, 0.5):
            left -= record.error() is None
            record.headers()
    consumed = time.perf_counter()
    consumer.close()
    return len(made) / (produced - began), len(made) / (consumed - produced)


class Worker:
    """The worker as a process, watched through its metrics and its CPU times."""

    def __init__(self, settings: KafkaSettings, port: int, log: Path) -> None:
        self._metrics = f"http://127.0.0.1:{port}/metrics"
        self._ready = f"http://127.0.0.1:{port}/health/ready"
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": settings.topic_prefix,
            "INCIDENTS_METRICS_PORT": str(port),
        }
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "worker"], cwd=ROOT, env=environment, stderr=output, stdout=output
            )
        self.process = psutil.Process(self._child.pid)

    def wait_ready(self) -> None:
        """Until it owns its partitions."""
        _wait(self._is_ready, "the worker is ready")

    def wait_decided(self, count: int) -> None:
        """Until it has decided so many messages since it started."""
        _wait(lambda: self._decided() >= count, f"{count} decided")

    def stop(self) -> None:
        """End it."""
        self._child.terminate()
        try:
            self._child.wait(15)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _is_ready(self) -> bool:
        if self._child.poll() is not None:
            raise SystemExit("the worker ended: see its log")
        try:
            return httpx.get(self._ready, timeout=2).is_success
        except httpx.TransportError:
            return False

    def _decided(self) -> int:
        lines = httpx.get(self._metrics, timeout=10).text.splitlines()
        name = "incidents_orchestrator_messages_total{"
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)))


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not in {DEADLINE_S} s: {what}")
        time.sleep(0.1)


def cpu_seconds(process: psutil.Process | None) -> float:
    """User and system time of a process so far."""
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """One run; the figures."""
    made = records(arguments.events + WARM_UP, arguments.tenants, arguments.services, arguments.seed)
    size = sum(len(record.value) for record in made) / len(made)
    with kafka() as (settings, broker), tempfile.TemporaryDirectory(prefix="incidents-bench-") as folder:
        partitions = provision(settings)[0].partitions
        produced, consumed = raw_limit(settings, made, partitions)
        worker = Worker(settings, arguments.port, Path(folder) / "worker.log")
        try:
            worker.wait_ready()
            topic = settings.topic("incident-intake")
            produce(settings, topic, made[:WARM_UP])
            worker.wait_decided(WARM_UP)
            before, broker_before, began = cpu_seconds(worker.process), cpu_seconds(broker), time.perf_counter()
            with profiled(worker.process.pid, arguments.profile):
                produce(settings, topic, made[WARM_UP:])
                worker.wait_decided(len(made))
            seconds = time.perf_counter() - began
            used = cpu_seconds(worker.process) - before
            broker_used = cpu_seconds(broker) - broker_before
            resident = worker.process.memory_info().rss
        finally:
            worker.stop()
    count = arguments.events
    return {
        "events": count,
        "tenants": arguments.tenants,
        "services": arguments.services,
        "value_bytes": round(size),
        "events_per_second": round(count / seconds),
        "worker_cpu_us_per_event": round(used / count * 1e6, 1),
        "kafka_cpu_us_per_event": round(broker_used / count * 1e6, 1) if broker else None,
        "worker_rss_mb": round(resident / 2**20),
        "raw_produce_per_second": round(produced),
        "raw_consume_per_second": round(consumed),
        "ratio_to_raw": round(count / seconds / (1 / (1 / produced + 1 / consumed)), 3),
        "load_average": round(os.getloadavg()[0], 2),
    }


@contextmanager
def profiled(pid: int, file: str) -> Iterator[None]:
    """Record where the process spends its CPU time, where a file is named (py-spy)."""
    if not file:
        yield
        return
    form = "raw" if file.endswith(".txt") else "flamegraph"
    command = ["py-spy", "record", "-p", str(pid), "-o", file, "-f", form, "--gil", "-r", "200", "-d", "600"]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.send_signal(2)
        child.wait(60)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU that the orchestrator spends on an event")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--tenants", type=int, default=20)
    parser.add_argument("--services", type=int, default=10, help="of each tenant: fewer are joined into fewer events")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=25_999, help="of the worker's metrics")
    parser.add_argument("--profile", default="", help="a file for py-spy: .svg, or .txt for folded stacks")
    found = measure(parser.parse_args())
    for name, value in found.items():
        print(f"{name:28} {value}")
    print(orjson.dumps(found).decode())


if __name__ == "__main__":
    main()
