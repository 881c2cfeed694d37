"""The dispatcher's way with files against a ServiceNow fake, on real PostgreSQL, Kafka and object storage."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import orjson
import pytest

from connectors.kit.file_attempt import Store
from streams.domain.envelope import derive_id
from streams.domain.ticket_files import RecordFiles
from streams.runtime.attachment_storage import AttachmentStorage, key_of
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.settings import ObjectStorageSettings
from tests.connectors.test_dispatcher import Stalled, box, dispatching, rows, topics
from tests.connectors.test_dispatcher_tickets import Desk, desk

__all__ = ["box", "desk", "rows", "topics"]  # fixtures

pytestmark = [pytest.mark.stack]
CONTENT = b"a graph"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(object_storage: ObjectStorageSettings) -> Store:
    return Store(AttachmentStorage(ObjectStorage(object_storage)), 1_000)


def record(desk: Desk) -> str:
    """A record at the instance; its id."""
    return str(desk.fake.table.create({"short_description": "down"}, "eve")["sys_id"])


async def ask(desk: Desk, store: Store, sys_id: str) -> str:
    """Plan the upload of a file whose bytes are stored; the intent's id."""
    await store.attachments.put(desk.bench.tenant, CONTENT)
    about = {
        "attachment_id": "a1", "file_name": "graph.png", "media_type": "image/png", "size": str(len(CONTENT)),
        "sha256": DIGEST, "actor": "user:ada", "known": "",
    }  # fmt: skip
    return desk.bench.intend(
        "ticket_attach", connector="servicenow", external_id=sys_id, payload=orjson.dumps(about).decode()
    )


def results(desk: Desk) -> list[RecordFiles]:
    """What was reported, each under the id that any report about its intent has."""
    found = []
    for command_id, command in desk.bench.effects():
        assert isinstance(command, RecordFiles)
        assert command_id == derive_id(command.intent_id, "effect")
        found.append(command)
    return found


async def test_a_file_is_uploaded_once_though_its_answer_was_lost(desk: Desk, store: Store) -> None:
    await desk.bench.fake.post("/_faults", {"kind": "drop_after", "on": "attach"})
    intent_id = await ask(desk, store, record(desk))
    async with dispatching(desk.bench, store=store):
        await desk.bench.state(intent_id, "delivered")
    [file] = desk.fake.attachments.all()
    assert (file["file_name"], file["content_type"], file["hash"]) == ("graph.png", "image/png", DIGEST)
    [result] = results(desk)
    assert (result.status, result.attempts, result.files[0].external_id) == ("done", 2, file["sys_id"])


async def test_a_kill_between_upload_and_report_does_not_make_a_second_file(desk: Desk, store: Store) -> None:
    intent_id = await ask(desk, store, record(desk))
    async with dispatching(desk.bench, kind=Stalled, store=store) as (_, task, producer):
        assert isinstance(producer, Stalled)
        await asyncio.wait_for(producer.reached.wait(), 10)
        desk.bench.rows.execute("UPDATE ops.outbox_events SET leased_by = 'a process that was killed'")
        task.cancel()
    assert desk.bench.row(intent_id)["state"] == "pending"
    async with dispatching(desk.bench, store=store):
        await desk.bench.state(intent_id, "delivered")
    assert len(desk.fake.attachments.all()) == 1
    assert [one.status for one in results(desk)] == ["done"]


@pytest.mark.parametrize(
    ("fault", "attempts", "detail"),
    [({"status": 413}, 1, "graph.png: HTTP 413"), ({"status": 500, "times": 9}, 3, "given up after 3")],
)
async def test_what_is_refused_is_reported_once_and_not_tried_for_ever(
    desk: Desk, store: Store, fault: dict[str, Any], attempts: int, detail: str
) -> None:
    await desk.bench.fake.post("/_faults", {"kind": "status", "on": "attach", **fault})
    intent_id = await ask(desk, store, record(desk))
    async with dispatching(desk.bench, store=store):
        row = await desk.bench.state(intent_id, "failed")
    [result] = results(desk)
    assert (result.status, result.attempts, row["attempts"], result.files) == ("failed", attempts, attempts, ())
    assert detail in result.detail
    assert desk.fake.attachments.all() == []


async def test_a_file_of_theirs_is_stored_under_the_tenants_prefix(
    desk: Desk, store: Store, object_storage: ObjectStorageSettings
) -> None:
    sys_id = record(desk)
    about = {"table_name": "incident", "table_sys_id": sys_id}
    made = [
        desk.fake.attachments.add({**about, "file_name": name}, "text/plain", content, "beth")["sys_id"]
        for name, content in (("small.txt", CONTENT), ("large.txt", b"x" * 1_001))
    ]
    intents = [
        desk.bench.intend(
            "ticket_fetch", connector="servicenow", external_id=sys_id,
            payload=orjson.dumps({"file_id": id_, "file_name": "theirs.txt", "actor": "servicenow:beth"}).decode(),
        )
        for id_ in made
    ]  # fmt: skip
    async with dispatching(desk.bench, store=store):
        for intent_id in intents:
            await desk.bench.state(intent_id, "delivered")
    reported = {one.intent_id: one.files[0] for one in results(desk)}
    small, large = (reported[intent_id] for intent_id in intents)
    assert (small.sha256, small.size, small.problem, small.actor) == (DIGEST, len(CONTENT), "", "servicenow:beth")
    assert (large.sha256, large.problem) == ("", "more than 1000 bytes")
    assert ObjectStorage(object_storage).document(key_of(desk.bench.tenant, DIGEST))[0] == CONTENT
