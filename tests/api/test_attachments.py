"""Files and links over REST, GraphQL and the command line, on the real pipeline and object storage."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.attachments import _headers
from projections.attachment_rows import FileRow
from projections.base import instant
from streams.runtime.attachment_storage import key_of
from streams.runtime.object_storage import ObjectStorage
from tests.api.conftest import Running, serving, wait_until
from tests.api.test_cli import incidents

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

TENANT = "files"
TEXT = {"content-type": "text/plain"}


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client("responder", TENANT) as found:
        yield found


@pytest.fixture
def path(client: httpx.Client) -> str:
    """Where an incident of the test's own is."""
    return f"/api/v1/incidents/{client.post('/api/v1/incidents', json={'title': 'Checkout fails'}).json()['id']}"


def attach(client: httpx.Client, path: str, name: str = "heap.txt", content: bytes = b"heap", **more: Any) -> Any:
    """A file that is attached; how REST shows it."""
    sent = {"headers": TEXT, **more}
    answer = client.post(f"{path}/attachments", params={"file_name": name}, content=content, **sent)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_file_comes_back_as_it_went(client: httpx.Client, path: str, running: Running) -> None:
    content = os.urandom(2_000_000)
    made = attach(client, path, "a/b/größe \u202eof.bin", content, headers={"content-type": "Image/PNG; x=y"})
    digest = hashlib.sha256(content).hexdigest()
    assert (made["file_name"], made["media_type"], made["size"]) == ("größe of.bin", "image/png", 2_000_000)
    assert (made["sha256"], made["actor"], made["how"], made["state"]) == (digest, "token:test", "uploaded", "held")
    answer = client.get(made["content"])
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"gr__e of.bin\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%20of.bin"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert (answer.headers["content-type"], answer.headers["etag"]) == ("image/png", f'"{digest}"')
    [listed] = client.get(f"{path}/attachments").json()["items"]
    assert listed == {name: value for name, value in made.items() if name != "command_id"}
    [event] = [one for one in timeline(client, path) if one["type"] == "com.incidents.attachment.added.v1"]
    assert event["data"]["sha256"] == digest
    with running.client("viewer", "rival") as rival:
        assert rival.get(made["content"]).status_code == 404
        assert rival.get(f"{path}/attachments").status_code == 404


def timeline(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """The events of an incident."""
    return list(client.get(f"{path}/timeline", params={"limit": 500}).json()["items"])


def test_the_same_request_again_is_one_file(client: httpx.Client, path: str) -> None:
    headers = {**TEXT, "Idempotency-Key": "once"}
    first, again = (attach(client, path, headers=headers) for _ in range(2))
    assert first["attachment_id"] == again["attachment_id"]
    assert len(client.get(f"{path}/attachments").json()["items"]) == 1
    other = client.post(f"{path}/attachments", params={"file_name": "x"}, content=b"other", headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "reused-idempotency-key")


def test_files_are_listed_by_pages_and_as_they_were(client: httpx.Client, path: str) -> None:
    names = [f"{number}.txt" for number in range(5)]
    made = [attach(client, path, name) for name in names]
    before = timeline(client, path)[-1]["time"]
    shown: list[str] = []
    after: str | None = ""
    while after is not None:
        chosen = {"limit": "2"} | ({"after": after} if after else {})
        page = client.get(f"{path}/attachments", params=chosen).json()
        shown += [one["file_name"] for one in page["items"]]
        after = page["next"]
    assert shown == list(reversed(names))
    gone = made[0]
    assert client.delete(f"{path}/attachments/{gone['attachment_id']}").status_code == 200
    assert len(client.get(f"{path}/attachments").json()["items"]) == 4
    then = client.get(f"{path}/attachments", params={"as_of": before}).json()
    assert [one["file_name"] for one in then["items"]] == list(reversed(names))
    removed = client.get(gone["content"])
    assert (removed.status_code, removed.json()["code"]) == (410, "removed")
    again = client.delete(f"{path}/attachments/{gone['attachment_id']}")
    assert (again.status_code, again.json()["code"]) == (404, "unknown-attachment")


def test_links_are_added_renamed_listed_and_taken_away(client: httpx.Client, path: str) -> None:
    url = "https://grafana.example/d/7?from=now-1h"
    made = client.post(f"{path}/links", json={"url": url})
    assert (made.status_code, made.json()["title"]) == (201, url)
    renamed = client.post(f"{path}/links", json={"url": url, "title": "The graph"}).json()
    assert (renamed["link_id"], renamed["title"]) == (made.json()["link_id"], "The graph")
    before = timeline(client, path)[-1]["time"]
    assert [one["title"] for one in client.get(f"{path}/links").json()["items"]] == ["The graph"]
    assert client.delete(f"{path}/links/{renamed['link_id']}").status_code == 200
    assert client.get(f"{path}/links").json()["items"] == []
    then = client.get(f"{path}/links", params={"as_of": before}).json()["items"]
    assert [one["url"] for one in then] == [url]
    again = client.delete(f"{path}/links/{renamed['link_id']}")
    assert (again.status_code, again.json()["code"]) == (404, "unknown-link")


def test_after_a_merge_they_are_the_other_incidents(client: httpx.Client, path: str) -> None:
    made = attach(client, path)
    assert client.post(f"{path}/links", json={"url": "https://a.example/"}).status_code == 201
    other = client.post("/api/v1/incidents", json={"title": "The same"}).json()
    assert client.post(f"{path}/merge", json={"into": other["key"]}).status_code == 200
    there = f"/api/v1/incidents/{other['id']}"
    [file] = client.get(f"{there}/attachments").json()["items"]
    assert (file["attachment_id"], file["added_at"]) == (made["attachment_id"], made["added_at"])
    assert client.get(file["content"]).content == b"heap"
    assert client.get(made["content"]).content == b"heap", "an address that was given out goes on"
    assert len(client.get(f"{there}/links").json()["items"]) == 1
    late = client.post(f"{path}/attachments", params={"file_name": "x"}, content=b"x")
    assert (late.status_code, late.json()["code"]) == (409, "merged-incident")


def test_graphql_shows_and_changes_them(client: httpx.Client, path: str) -> None:
    made = attach(client, path)
    id_ = path.rpartition("/")[2]

    def ask(query: str, **variables: Any) -> Any:
        answer = client.post("/graphql", json={"query": query, "variables": {"id": id_, **variables}}).json()
        assert "errors" not in answer, answer
        return answer["data"]

    linked = ask(
        'mutation($id: String!, $url: String!) { addIncidentLink(id: $id, url: $url, title: "T") { __typename } }',
        url="https://a.example/",
    )
    assert linked["addIncidentLink"]["__typename"] == "CommandSucceeded"
    shown = ask(
        "query($id: String!) { incident(id: $id) { attachments { nodes { attachmentId fileName size content state } }"
        " links { nodes { linkId url title } pageInfo { hasNextPage } } } }"
    )["incident"]
    assert shown["attachments"]["nodes"] == [
        {
            "attachmentId": made["attachment_id"], "fileName": "heap.txt", "size": 4.0, "content": made["content"],
            "state": "held",
        }
    ]  # fmt: skip
    [link] = shown["links"]["nodes"]
    assert (link["url"], link["title"]) == ("https://a.example/", "T")
    refused = ask(
        'mutation($id: String!) { addIncidentLink(id: $id, url: "javascript:x") { ... on CommandRefused { reason } } }'
    )
    assert refused["addIncidentLink"] == {"reason": "invalid-link"}
    for name, argument, value in (
        ("removeIncidentLink", "linkId", link["linkId"]),
        ("removeIncidentAttachment", "attachmentId", made["attachment_id"]),
    ):
        done = ask(f'mutation($id: String!) {{ {name}(id: $id, {argument}: "{value}") {{ __typename }} }}')
        assert done[name]["__typename"] == "CommandSucceeded"
    assert client.get(f"{path}/attachments").json()["items"] == []


BAD = {
    "empty file": ("POST", "/attachments?file_name=a", {"content": b""}, 422, "invalid-input"),
    "no name": ("POST", "/attachments", {"content": b"x"}, 422, "invalid-input"),
    "empty name": ("POST", "/attachments?file_name=", {"content": b"x"}, 422, "invalid-input"),
    "a name of folders": ("POST", "/attachments?file_name=..%2F", {"content": b"x"}, 422, "invalid-input"),
    "NUL in the name": ("POST", "/attachments?file_name=a%00", {"content": b"x"}, 400, "unsupported-text"),
    "name that is too long": ("POST", f"/attachments?file_name={'x' * 1001}", {"content": b"x"}, 422, "invalid-input"),
    "unknown parameter": ("POST", "/attachments?name=a", {"content": b"x"}, 400, "unknown-parameter"),
    "key with a blank": (
        "POST", "/attachments?file_name=a", {"content": b"x", "headers": {"idempotency-key": "a b"}}, 422,
        "invalid-input",
    ),
    "no such file": ("GET", "/attachments/nothing", {}, 404, "unknown-attachment"),
    "file id that is none": ("GET", "/attachments/a%20b", {}, 422, "invalid-input"),
    "bad cursor": ("GET", "/attachments?after=x", {}, 400, "malformed-cursor"),
    "bad limit": ("GET", "/links?limit=0", {}, 422, "invalid-input"),
    "bad time": ("GET", "/links?as_of=yesterday", {}, 422, "invalid-input"),
    "link without an address": ("POST", "/links", {"json": {}}, 422, "invalid-input"),
    "link that is a script": ("POST", "/links", {"json": {"url": "javascript:alert(1)"}}, 422, "invalid-input"),
    "link with a password": ("POST", "/links", {"json": {"url": "https://a:b@c/"}}, 422, "invalid-input"),
    "link with more": ("POST", "/links", {"json": {"url": "https://a/", "x": 1}}, 422, "invalid-input"),
    "link as text": ("POST", "/links", {"content": b"{}", "headers": TEXT}, 415, "unsupported-media-type"),
    "no such link": ("DELETE", "/links/nothing", {}, 404, "unknown-link"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_each_bad_request_has_its_answer(client: httpx.Client, path: str, name: str) -> None:
    method, rest, options, status, code = BAD[name]
    answer = client.request(method, path + rest, **options)  # type: ignore[arg-type]  # a table of options
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_unknown_incidents_and_viewers_are_refused(client: httpx.Client, path: str, running: Running) -> None:
    for kind in ("attachments", "links"):
        assert client.get(f"/api/v1/incidents/INC-999/{kind}").status_code == 404
    nobody = client.post("/api/v1/incidents/INC-999/attachments", params={"file_name": "a"}, content=b"x")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "unknown-incident")
    made = attach(client, path)
    with running.client("viewer", TENANT) as viewer:
        assert viewer.get(made["content"]).status_code == 200
        refused = viewer.post(f"{path}/attachments", params={"file_name": "a"}, content=b"x")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert viewer.delete(made["content"]).status_code == 403
        assert viewer.post(f"{path}/links", json={"url": "https://a.example/"}).status_code == 403
    assert httpx.get(f"{running.url}{made['content']}").status_code == 401


def test_a_file_above_the_limit_is_refused_with_and_without_a_length(client: httpx.Client, path: str) -> None:
    limit = 10 * 2**20

    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 2**20

    for content in (b"x" * (limit + 1), chunks()):
        answer = client.post(f"{path}/attachments", params={"file_name": "a"}, content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert attach(client, path, content=b"x" * limit)["size"] == limit
    other = client.post(
        f"{path}/notes", content=b'{"text": "' + b"x" * 2_000_000 + b'"}', headers={"content-type": "application/json"}
    )
    assert other.status_code == 413, "the larger limit is that of files alone"


def test_bytes_that_are_gone_or_damaged_are_never_served(client: httpx.Client, path: str, running: Running) -> None:
    made = attach(client, path, content=b"to be erased")
    storage = ObjectStorage(running.backends.storage)
    key = key_of(TENANT, made["sha256"])
    storage.overwrite(key, b"something else")
    damaged = client.get(made["content"])
    assert (damaged.status_code, damaged.json()["code"]) == (503, "storage-unavailable")
    storage.remove(key)
    gone = client.get(made["content"])
    assert (gone.status_code, gone.json()["code"]) == (410, "erased")


def test_without_object_storage_nothing_is_accepted(running: Running, client: httpx.Client, path: str) -> None:
    from dataclasses import replace

    from api.settings import ApiSettings
    from tests.api.conftest import free_port

    away = running.backends.storage.model_copy(update={"endpoint": f"http://127.0.0.1:{free_port()}"})
    settings = ApiSettings(port=free_port())
    with serving(settings, replace(running.backends, storage=away)) as url:
        broken = httpx.Client(base_url=url, headers=client.headers, timeout=30)
        with broken:
            wait_until(lambda: broken.get(f"{path}/attachments").status_code == 200, "it answers")
            answer = broken.post(f"{path}/attachments", params={"file_name": "a"}, content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage-unavailable")
    assert answer.headers["retry-after"]
    assert client.get(f"{path}/attachments").json()["items"] == []


def test_the_command_line_attaches_lists_downloads_and_removes(
    running: Running, client: httpx.Client, path: str, tmp_path: Path
) -> None:
    key = client.get(path).json()["key"]
    own = tmp_path / "trace.json"
    own.write_bytes(b"{}")
    token = running.token("responder", TENANT)
    made = json.loads(incidents(running, "attach", key, str(own), "--json", token=token).stdout)
    assert (made["file_name"], made["media_type"]) == ("trace.json", "application/json")
    link = json.loads(
        incidents(running, "link", key, "https://a.example/", "--title", "A", "--json", token=token).stdout
    )
    listed = json.loads(incidents(running, "attachments", "list", key, "--json", token=token).stdout)
    assert [one["attachment_id"] for one in listed["attachments"]] == [made["attachment_id"]]
    assert [one["title"] for one in listed["links"]] == ["A"]
    assert b"trace.json" in incidents(running, "attachments", "list", key, token=token).stdout
    copy = tmp_path / "copy.json"
    fetched = incidents(running, "attachments", "download", key, made["attachment_id"], "--to", str(copy), token=token)
    assert (fetched.returncode, copy.read_bytes()) == (0, b"{}")
    again = incidents(running, "attachments", "download", key, made["attachment_id"], "--to", str(copy), token=token)
    assert (again.returncode, b"is there already" in again.stderr) == (6, True)
    for item in (made["attachment_id"], link["link_id"]):
        assert incidents(running, "attachments", "remove", key, item, token=token).returncode == 0
    assert json.loads(incidents(running, "attachments", "list", key, "--json", token=token).stdout) == {
        "attachments": [],
        "links": [],
    }
    refused = incidents(running, "link", key, "ftp://a.example/", token=token)
    assert (refused.returncode, b"http://" in refused.stderr) == (6, True)


def test_a_name_cannot_add_a_header() -> None:
    row = FileRow(
        "t", "a", "i", 'x".html\r\nSet-Cookie: a=b', "text/html", 1, "ab", "user:ada", "uploaded", "", "", "", "",
        instant(0), "held", "", None, 1, "e", 0, 0,
    )  # fmt: skip
    disposition = _headers(row)["Content-Disposition"]
    assert "\r" not in disposition
    assert "\n" not in disposition
    assert disposition.count('"') == 2
