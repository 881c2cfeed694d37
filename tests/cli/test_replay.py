"""`incidents replay` on real Kafka: any span, to a pipe, a file, a sink that is busy at first, and another topic."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat

from streams.domain.envelope import rfc3339
from streams.runtime.settings import KafkaSettings
from streams.runtime.topics import provision
from tests.harness.kafka import own_topics
from tests.harness.record import read_topic
from tests.harness.workers import ROOT, environment
from tests.projections.histories import T0, History, full
from tests.projections.rebuilding import send

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def kafka(kafka_settings: KafkaSettings) -> KafkaSettings:
    """A record with every type of event on partition 0, and a second tenant on partition 1."""
    settings = own_topics(kafka_settings)
    send(settings, full(History("acme", 0)))
    send(settings, full(History("other", 1))[:5])
    return settings


COUNT = len(full(History()))


def replay(kafka: KafkaSettings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    command = [sys.executable, "-m", "cli.main", "replay", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(kafka), capture_output=True, text=True, timeout=60, check=False
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What it printed."""
    assert done.returncode == 0, done.stderr
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def test_everything_is_printed_as_cloudevents_in_each_partition_in_order(kafka: KafkaSettings) -> None:
    found = lines(replay(kafka))
    assert len(found) == COUNT + 5
    mine = [one for one in found if one["tenantid"] == "acme"]
    assert [int(one["kafkaoffset"]) for one in mine] == list(range(COUNT))
    assert [int(one["tenantsequence"]) for one in mine] == list(range(1, COUNT + 1))
    for one in found:
        event = from_structured_event(
            HTTPMessage({"content-type": "application/cloudevents+json"}, orjson.dumps(one)), JSONFormat()
        )
        assert event.get_id() == one["id"]


def test_a_span_is_chosen_by_offset_tenant_incident_and_type(kafka: KafkaSettings) -> None:
    by_offset = lines(replay(kafka, "--partition", "0", "--from-offset", "3", "--to-offset", "5"))
    assert [one["kafkaoffset"] for one in by_offset] == ["3", "4", "5"]
    assert len(lines(replay(kafka, "--tenant", "other"))) == 5
    mine = lines(replay(kafka, "--tenant", "acme", "--incident", "b"))
    assert {one["subject"] for one in mine} == {"b"}
    assert [int(one["sequence"]) for one in mine] == list(range(1, len(mine) + 1))
    types = ["--type", "com.incidents.merged.v1", "--type", "com.incidents.closed.v1"]
    assert [one["data"].get("role", "closed") for one in lines(replay(kafka, *types))] == ["source", "target", "closed"]
    assert len(lines(replay(kafka, "--limit", "2", "--rate", "1000"))) == 2


def test_a_span_is_chosen_by_time(kafka: KafkaSettings) -> None:
    assert len(lines(replay(kafka, "--since", "1h"))) == COUNT + 5  # Kafka's time is that of writing
    nothing = replay(kafka, "--until", rfc3339(T0 - 10**10))
    assert nothing.returncode == 7
    assert "holds partition 0: 0 to" in nothing.stderr


def test_what_makes_no_sense_says_what_there_is(kafka: KafkaSettings) -> None:
    refused = {
        ("--from-offset", "900"): (7, f"partition 0: 0 to {COUNT - 1}"),
        ("--partition", "77"): (7, "has partitions 0 to"),
        ("--topic", "nonsense"): (2, "incident-events"),
        ("--type", "com.example.none"): (2, "com.example.none"),
        ("--since", "yesterday"): (2, "neither an age"),
        ("--since", "1h", "--until", "2h"): (2, "behind"),
        ("--from-offset", "5", "--to-offset", "4"): (2, "behind"),
        ("--to", f"topic:{kafka.topic('incident-intake')}"): (2, "only the product itself"),
        ("--to", "topic:missing"): (7, "does not exist"),
        ("--to", "/nowhere/at/all"): (2, "cannot be created"),
    }
    for arguments, (code, said) in refused.items():
        done = replay(kafka, *arguments)
        assert (done.returncode, done.stdout) == (code, ""), (arguments, done.stderr)
        assert said in " ".join(done.stderr.split()), arguments


def test_a_file_is_written_and_never_written_over(kafka: KafkaSettings, tmp_path: Path) -> None:
    target = tmp_path / "span.jsonl"
    assert replay(kafka, "--to", str(target), "--tenant", "other").returncode == 0
    written = target.read_bytes()
    assert len(written.splitlines()) == 5
    assert replay(kafka, "--to", str(target)).returncode == 2
    assert target.read_bytes() == written


class Sink(ThreadingHTTPServer):
    """Takes structured CloudEvents; answers 503 for each of the first ``busy`` requests, and 422 from ``most`` on."""

    def __init__(self, busy: int, most: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.busy, self.most = busy, most
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.asked = 0


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        sink: Any = self.server
        sink.asked += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = 503 if sink.asked <= sink.busy else 422 if len(sink.taken) >= sink.most else 202
        if status == 202:
            sink.taken.append((self.headers["Content-Type"], orjson.loads(body)))
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def sinks() -> Iterator[Any]:
    """Makes sinks, and stops them at the end."""
    made: list[Sink] = []

    def make(busy: int = 0, most: int = 10_000) -> Sink:
        sink = Sink(busy, most)
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        made.append(sink)
        return sink

    yield make
    for sink in made:
        sink.shutdown()
        sink.server_close()


def test_a_sink_that_is_busy_at_first_gets_everything_once(kafka: KafkaSettings, sinks: Any) -> None:
    sink = sinks(busy=3)
    done = replay(kafka, "--tenant", "other", "--to", f"http://127.0.0.1:{sink.server_port}/in")
    assert done.returncode == 0, done.stderr
    assert [int(event["tenantsequence"]) for _, event in sink.taken] == [1, 2, 3, 4, 5]
    assert sink.asked == 8
    assert {kind for kind, _ in sink.taken} == {"application/cloudevents+json; charset=utf-8"}


def test_a_sink_that_refuses_ends_the_replay_and_is_named(kafka: KafkaSettings, sinks: Any) -> None:
    sink = sinks(most=2)
    done = replay(kafka, "--tenant", "other", "--to", f"http://127.0.0.1:{sink.server_port}/in")
    assert done.returncode == 6
    assert "incident-events[1]@2: the sink answered 422" in " ".join(done.stderr.split())
    assert len(sink.taken) == 2


def test_another_topic_gets_the_same_bytes(kafka: KafkaSettings) -> None:
    other = kafka.model_copy(update={"topic_prefix": f"{kafka.topic_prefix}copy-"})
    provision(other)
    done = replay(kafka, "--tenant", "acme", "--to", f"topic:{other.topic('incident-events')}")
    assert done.returncode == 0, done.stderr
    there = list(read_topic(other, "incident-events"))
    source = [one for one in read_topic(kafka, "incident-events") if one.key == b"acme"]
    assert [(one.key, one.value, one.headers) for one in there] == [(o.key, o.value, o.headers) for o in source]
