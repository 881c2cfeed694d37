"""A rebuild and its swap while people read, write and listen: nobody notices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from projections import checkpoints, rebuild
from projections.connections import connect
from projections.rebuild import Rebuild, Report
from projections.sources import KafkaSource
from streams.runtime.settings import DatabaseSettings
from tests.api.conftest import DEADLINE_S, Running, wait_until
from tests.api.test_streams import items
from tests.projections.rebuilding import Quiet

pytestmark = pytest.mark.stack

WRITTEN = 40


@contextmanager
def meanwhile(*actions: Callable[[], None]) -> Iterator[None]:
    """Each action again and again on a thread of its own until the block ends; what one raises is raised."""
    over = threading.Event()
    failed: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            while not over.is_set():
                action()
        except BaseException as error:  # noqa: BLE001  raised below
            failed.append(error)

    threads = [threading.Thread(target=run, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert not failed, failed


def rebuilt(running: Running, database: DatabaseSettings) -> Report:
    """One run, as the command does it."""
    with rebuild.alone(database) as owner:
        source = KafkaSource(running.backends.kafka)
        return Rebuild(owner, source, database, Quiet(), jobs=1).run(rebuild.plan(owner, source), keep=0)


def test_readers_writers_and_listeners_notice_nothing(running: Running) -> None:
    database = running.backends.database
    made: list[dict[str, Any]] = []
    heard: list[tuple[int, dict[str, Any]]] = []
    reads: list[int] = []
    listening = threading.Event()
    with running.client() as writer, running.client("viewer") as reader, running.client("viewer") as listener:

        def write() -> None:
            response = writer.post("/api/v1/incidents", json={"title": f"while rebuilding {len(made)}"})
            assert response.status_code == 201, response.text
            made.append(response.json())

        def read() -> None:
            known = list(made)
            listed = reader.get("/api/v1/incidents", params={"limit": 500})
            assert listed.status_code == 200, listed.text
            ids = {one["id"] for one in listed.json()["items"]}
            assert {one["id"] for one in known} <= ids, "what was answered is read"
            one = reader.get(f"/api/v1/incidents/{known[-1]['id']}/timeline")
            assert one.status_code == 200, one.text
            assert one.json()["items"]
            reads.append(len(ids))

        def listen() -> None:
            with listener.stream("GET", "/api/v1/events/stream") as response:
                for _, id_, data in items(response):
                    listening.set()
                    if data is not None:
                        heard.append((id_ or 0, data))
                        if data["data"].get("title") == "the end":
                            return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        assert listening.wait(DEADLINE_S)
        for _ in range(WRITTEN):
            write()
        with meanwhile(write, read):
            for generation in (2, 3):
                before = len(made)
                report = rebuilt(running, database)
                assert report.swapped
                assert report.equal
                wait_until(lambda before=before: len(made) > before + 3, "writing goes on after the swap")  # type: ignore[misc]
                with connect(database, "owner", name="test") as owner:
                    assert set(checkpoints.active(owner).values()) == {generation}
        writer.post("/api/v1/incidents", json={"title": "the end"}).raise_for_status()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the stream has come to the end"
    assert len(reads) > 10
    sequences = [id_ for id_, _ in heard]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences))), "no gap and no repetition"
    declared = [data["subject"] for _, data in heard if data["type"] == "com.incidents.declared.v1"]
    assert declared[:-1] == [one["id"] for one in made]


def test_a_stream_resumes_across_a_swap(running: Running) -> None:
    database = running.backends.database
    with running.client(tenant="resuming") as client:
        for number in range(4):
            client.post("/api/v1/incidents", json={"title": f"before {number}"}).raise_for_status()
        assert rebuilt(running, database).swapped
        client.post("/api/v1/incidents", json={"title": "after"}).raise_for_status()
        with client.stream("GET", "/api/v1/events/stream", headers={"Last-Event-ID": "2"}) as response:
            assert response.status_code == httpx.codes.OK
            found: list[int] = []
            for _, id_, data in items(response):
                if data is not None:
                    found.append(id_ or 0)
                    if len(found) == 3:
                        break
    assert found == [3, 4, 5]
