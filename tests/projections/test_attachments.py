"""Files and links as rows: they are what the fold makes, whatever the batches; pages, and what an erasure leaves."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from projections import erasing, generations
from projections.attachment_rows import FileRow, LinkRow, to_file, to_link
from projections.attachments import Attachments
from projections.base import Record
from projections.connections import AsyncPool, Connection
from projections.queries import attachments as queries
from projections.queries.cursors import BadCursor
from projections.queries.tenant import tenant_session
from streams.domain.attachment_events import AttachmentAdded, AttachmentRemoved, LinkAdded, LinkRemoved
from streams.domain.attachment_history import attachments
from streams.domain.erasing import ERASED, Erasing
from tests.projections.histories import History, declared
from tests.projections.test_registry import apply, dump

pytestmark = pytest.mark.stack

GRACE = "user:grace@example.com"


def file(id_: str, name: str = "a.txt", actor: str = "user:ada", origin: str = "") -> AttachmentAdded:
    return AttachmentAdded(id_, name, "text/plain", 3, "ab" * 32, actor, origin=origin)


def some(history: History) -> list[Record]:
    """An incident with three files and two links, one of each taken away, which another one takes over in part."""
    history.add("a", declared(1))
    history.add("b", declared(2))
    for number, actor in enumerate(("user:ada", GRACE, "user:ada", "user:ada"), start=1):
        history.add("a", file(f"f{number}", f"{number}.txt", actor))
    history.add("a", AttachmentRemoved("f1", GRACE))
    history.add("a", LinkAdded("l1", "https://a.example/", "A", "user:ada"))
    history.add("a", LinkAdded("l2", "https://b.example/grace@example.com", "B", "user:ada"))
    history.add("a", LinkAdded("l2", "https://b.example/grace@example.com", "B of all", "user:bob"))
    history.add("a", LinkRemoved("l1", "user:ada"))
    history.add("b", file("f4", "4.txt", origin="a"))
    history.add("b", AttachmentRemoved("unknown", "user:ada"))
    return history.records


@pytest.fixture
def rows(projector: Connection) -> list[Record]:
    """The history, written record by record."""
    records = some(History())
    projection = Attachments()
    projection.prepare(projector)
    projector.commit()
    for record in records:
        projection.apply(projector, [record])
        projector.commit()
    return records


def test_rows_are_the_fold_whatever_the_batches(rows: list[Record], projector: Connection, owner: Connection) -> None:
    before = dump(owner)
    apply(projector, Attachments(), rows)  # again: changes nothing
    assert dump(owner) == before
    owner.execute("TRUNCATE read_data.attachments_g1, read_data.links_g1")
    owner.commit()
    apply(projector, Attachments(), rows)  # all at once
    assert dump(owner) == before
    shown = attachments((one.envelope, one.data) for one in rows)
    projector.execute("SELECT set_config('incidents.tenant', 'acme', true)")
    found = projector.execute("TABLE read_data.attachments_g1").fetchall()
    assert {row[1]: asdict(to_file(FileRow(*row))) for row in found} == {
        one.attachment_id: asdict(one) for one in shown.files.values()
    }
    found = projector.execute("TABLE read_data.links_g1").fetchall()
    assert {row[1]: asdict(to_link(LinkRow(*row))) for row in found} == {
        one.link_id: asdict(one) for one in shown.links.values()
    }


async def test_pages_lose_and_repeat_nothing(rows: list[Record], api_pool: AsyncPool) -> None:
    del rows
    async with tenant_session(api_pool, "acme") as connection:
        assert [row.attachment_id for row in await queries.list_files(connection, "a")] == ["f3", "f2"]
        assert [row.attachment_id for row in await queries.list_files(connection, "b")] == ["f4"]
        [newest] = await queries.list_files(connection, "a", limit=1)
        behind = queries.file_cursor_after(newest)
        assert [row.attachment_id for row in await queries.list_files(connection, "a", behind)] == ["f2"]
        [link] = await queries.list_links(connection, "a")
        assert (link.link_id, link.title, link.actor) == ("l2", "B of all", "user:bob")
        assert await queries.list_links(connection, "a", queries.link_cursor_after(link)) == []
        assert await queries.find_link(connection, "a", link.url) == link
        assert await queries.find_link(connection, "a", "https://a.example/") is None
        removed = await queries.get_file(connection, "f1")
        assert removed is not None
        assert (removed.state, removed.removed_by) == ("removed", GRACE)
        with pytest.raises(BadCursor):
            await queries.list_links(connection, "a", behind)
    async with tenant_session(api_pool, "globex") as connection:
        assert await queries.list_files(connection, "a") == []
        assert await queries.get_file(connection, "f2") is None


def test_erased_rows_are_those_of_the_erased_record(
    rows: list[Record], owner: Connection, projector: Connection
) -> None:
    who = Erasing("grace@example.com", "person-1")
    done = erasing.erase(owner, "acme", who, [])
    assert done.changed == {"read_data.attachments_g1": 2, "read_data.links_g1": 1}
    projector.commit()
    generations.create(owner, Attachments(), Attachments(2))
    left = [Record(one.topic, one.partition, one.offset, one.envelope, who.value(one.data), one.json) for one in rows]
    apply(projector, Attachments(2), left)
    found = dump(owner)
    for name in ("attachments", "links"):
        assert found[f"read_data.{name}_g1"] == found[f"read_data.{name}_g2"]
    theirs = owner.execute("SELECT file_name, sha256 FROM read_data.attachments_g1 WHERE attachment_id = 'f2'")
    assert theirs.fetchone() == (ERASED, "")
