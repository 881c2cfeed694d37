"""Streams through real clients: no gap, no repeat, and a cursor that always resumes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.api.conftest import DEADLINE_S, Running

pytestmark = pytest.mark.stack

Item = tuple[str, int | None, Any]


def items(response: httpx.Response) -> Iterator[Item]:
    """Event name, id and data of a stream, heartbeats too (their name is empty and they have no data)."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif fields:
            data = orjson.loads(fields["data"]) if "data" in fields else None
            yield fields.get("event", ""), int(fields["id"]) if "id" in fields else None, data
            fields = {}


def events(stream: Iterator[Item], count: int) -> list[Item]:
    """The next events of a stream, without heartbeats."""
    found: list[Item] = []
    for item in stream:
        if item[2] is not None:
            found.append(item)
            if len(found) == count:
                return found
    raise AssertionError(f"the stream ended after {len(found)} events")


def declare(client: httpx.Client, title: str) -> dict[str, Any]:
    response = client.post("/api/v1/incidents", json={"title": title})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def test_a_stream_shows_what_comes_and_resumes_without_gap_or_repeat(running: Running) -> None:
    with running.client(tenant="stream") as client:
        with client.stream("GET", "/api/v1/events/stream") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            stream = items(response)
            assert next(stream)[2] is None, "a new stream begins with where it stands"
            made = [declare(client, f"live {number}") for number in range(3)]
            seen = events(stream, 3)
        assert [item[1] for item in seen] == [1, 2, 3]
        assert [item[2]["subject"] for item in seen] == [one["id"] for one in made]
        for number in range(3):
            declare(client, f"missed {number}")
        with client.stream("GET", "/api/v1/events/stream", headers={"Last-Event-ID": "2"}) as response:
            assert [item[1] for item in events(items(response), 4)] == [3, 4, 5, 6]
        with client.stream("GET", "/api/v1/events/stream", params={"after": 0}) as response:
            replayed = events(items(response), 6)
    stored_and_live = [item[2] for item in replayed[:3]]
    assert stored_and_live == [item[2] for item in seen], "an event reads the same from the store and live"


def test_readers_joining_in_a_storm_all_see_one_unbroken_sequence(running: Running) -> None:
    """The splice: every reader joins while events are written, each from another cursor."""
    total, readers = 60, 6
    with running.client(tenant="storm") as client:
        writer = threading.Thread(target=lambda: [declare(client, f"storm {n}") for n in range(total)])
        seen: dict[int, list[int | None]] = {}

        def read(number: int) -> None:
            headers = {"Authorization": client.headers["authorization"], "Last-Event-ID": "0"}
            with httpx.stream("GET", f"{running.url}/api/v1/events/stream", headers=headers, timeout=20) as response:
                seen[number] = [item[1] for item in events(items(response), total)]

        writer.start()
        threads = []
        for number in range(readers):
            threads.append(threading.Thread(target=read, args=(number,)))
            threads[-1].start()
            time.sleep(0.05)  # spreads the joins over the storm; nothing is decided by it
        for thread in [writer, *threads]:
            thread.join(DEADLINE_S)
    assert seen == {number: list(range(1, total + 1)) for number in range(readers)}


def test_a_filtered_idle_stream_advances_its_cursor_by_heartbeats(running: Running) -> None:
    with running.client(tenant="heartbeat") as client:
        made = declare(client, "quiet")
        path = f"/api/v1/incidents/{made['id']}/stream"
        with client.stream("GET", path, params={"types": "com.incidents.note_added.v1"}) as response:
            stream = items(response)
            next(stream)
            last = declare(client, "another incident")["tenantsequence"]
            cursor, data = next((id_, data) for _, id_, data in stream if id_ == last)
    assert (cursor, data) == (last, None)


def test_cursors_that_cannot_be_resumed_from_are_told_so(running: Running) -> None:
    with running.client(tenant="reset") as client:
        last = declare(client, "one")["tenantsequence"]
        with client.stream("GET", "/api/v1/events/stream", headers={"Last-Event-ID": "999"}) as response:
            name, id_, data = next(item for item in items(response) if item[0])
        assert (name, id_) == ("reset", last)
        assert "ahead" in data["reason"]
        assert client.get("/api/v1/events/stream", headers={"Last-Event-ID": "x"}).status_code == 400
        assert client.get("/api/v1/events/stream", params={"types": "nonsense"}).status_code == 400


def test_a_stream_ends_with_its_token(running: Running) -> None:
    with running.client(tenant="ended") as client, running.client(tenant="ended") as admin:
        token_id = client.headers["authorization"].split("_")[1]
        with client.stream("GET", "/api/v1/events/stream") as response:
            stream = items(response)
            next(stream)
            assert admin.delete(f"/api/v1/tokens/{token_id}").status_code == 204
            assert all(data is None for _, _, data in stream), "it ends, and nothing is shown before"


@contextmanager
def socket_for(running: Running, token: str) -> Iterator[ClientConnection]:
    """A GraphQL WebSocket that is acknowledged."""
    address = f"ws{running.url.removeprefix('http')}/graphql"
    with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}))
        assert json.loads(socket.recv(DEADLINE_S))["type"] == "connection_ack"
        yield socket


def subscribe(socket: ClientConnection, query: str, variables: dict[str, Any] | None = None) -> None:
    socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query, "variables": variables or {}}}))


def payload(socket: ClientConnection, field: str) -> dict[str, Any]:
    message = json.loads(socket.recv(DEADLINE_S))
    assert message["type"] == "next", message
    assert not message["payload"].get("errors"), message
    found: dict[str, Any] = message["payload"]["data"][field]
    return found


def test_graphql_subscriptions_over_websocket_resume_with_their_cursor(running: Running) -> None:
    with running.client(tenant="socket") as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        made = declare(client, "first")
        query = "subscription { timelineEventAdded(after: %s) { cursor reset event { type incidentId data } } }"
        with socket_for(running, token) as socket:
            subscribe(socket, query % '"0"')
            first = payload(socket, "timelineEventAdded")
            client.post(f"/api/v1/incidents/{made['id']}/notes", json={"text": "hello"})
            second = payload(socket, "timelineEventAdded")
        assert (first["cursor"], second["cursor"]) == ("1", "2")
        assert second["event"]["data"]["text"] == "hello"
        client.post(f"/api/v1/incidents/{made['id']}/acknowledge")
        with socket_for(running, token) as socket:
            subscribe(socket, query % '"2"')
            assert payload(socket, "timelineEventAdded")["event"]["type"] == "com.incidents.acknowledged.v1"


def test_subscribers_share_answers_to_the_same_question_and_no_others(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[object] = []
    execute = StrawberryGraphQLCoreExecutionContext.execute_operation

    def counted(context: Any, *serially: Any) -> Any:
        executed.append(getattr(context.root_value, "cursor", None))
        return execute(context, *serially)

    monkeypatch.setattr(StrawberryGraphQLCoreExecutionContext, "execute_operation", counted)
    document = """subscription ($after: String, $full: Boolean!) {
      timelineEventAdded(after: $after) { cursor event { type data @include(if: $full) } } }"""
    with running.client(tenant="sharing") as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        made = declare(client, "first")
        asked = [
            (document, True),
            (document, True),
            (document, False),
            (document.replace("cursor", "place: cursor"), True),
        ]
        with ExitStack() as held:
            sockets = [held.enter_context(socket_for(running, token)) for _ in asked]
            for socket, (query, full) in zip(sockets, asked, strict=True):
                subscribe(socket, query, {"full": full, "after": "0"})
                assert payload(socket, "timelineEventAdded")["event"], "from then on it is live"
            client.post(f"/api/v1/incidents/{made['id']}/notes", json={"text": "hello"})
            found = [payload(socket, "timelineEventAdded") for socket in sockets]
    assert found[0] == found[1]
    assert executed.count("2") == 3, "three questions of four subscribers"
    assert (found[0]["cursor"], found[0]["event"]["data"]["text"]) == ("2", "hello")
    assert found[2] == {"cursor": "2", "event": {"type": "com.incidents.note_added.v1"}}
    assert found[3] == {"place": "2", "event": found[0]["event"]}


def test_incident_and_board_updates_show_what_reads_show(running: Running) -> None:
    with running.client(tenant="board") as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        board_query = "subscription { boardUpdated { cursor board { columns { status count } } } }"
        incident_query = 'subscription { incidentUpdated(after: "0") { cursor types incident { key assignee } } }'
        with socket_for(running, token) as board, socket_for(running, token) as incidents:
            subscribe(board, board_query)
            assert payload(board, "boardUpdated")["board"]["columns"] == []
            subscribe(incidents, incident_query)
            made = declare(client, "seen")
            assert payload(board, "boardUpdated")["board"]["columns"] == [{"status": "open", "count": 1}]
            assert payload(incidents, "incidentUpdated")["incident"]["key"] == made["key"]
            client.post(f"/api/v1/incidents/{made['id']}/assign", json={"assignee": "ada"})
            update = payload(incidents, "incidentUpdated")
    assert (update["incident"]["assignee"], update["types"]) == ("ada", ["com.incidents.assigned.v1"])


def test_graphql_over_server_sent_events(running: Running) -> None:
    with running.client(tenant="graphql-sse") as client:
        declare(client, "over sse")
        query = {"query": 'subscription { timelineEventAdded(after: "0") { cursor event { type } } }'}
        headers = {"Accept": "text/event-stream"}
        with client.stream("POST", "/graphql", json=query, headers=headers) as response:
            name, _, data = next(item for item in items(response) if item[0] == "next")
    assert (name, data["data"]["timelineEventAdded"]["cursor"]) == ("next", "1")


def test_a_websocket_without_a_valid_token_or_with_the_legacy_protocol_is_closed(running: Running) -> None:
    address = f"ws{running.url.removeprefix('http')}/graphql"
    with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type":"connection_init","payload":{"Authorization":"Bearer inc_nobody"}}')
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(DEADLINE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
    with connect(address, subprotocols=[Subprotocol("graphql-ws")]) as socket:
        with pytest.raises(ConnectionClosed) as refused:
            socket.recv(DEADLINE_S)
        assert refused.value.rcvd is not None
        assert refused.value.rcvd.code == 4406


def test_events_are_held_until_every_serving_projection_has_passed_them(running: Running) -> None:
    """A client that reads after an event was shown finds at least that state, however the projections run."""
    with running.client(tenant="held") as client, client.stream("GET", "/api/v1/events/stream") as response:
        stream = items(response)
        next(stream)
        writer = threading.Thread(target=lambda: [declare(client, f"held {number}") for number in range(10)])
        writer.start()
        with psycopg.connect(running.database_url, autocommit=True) as connection:
            for _ in range(10):
                _, _, data = next(item for item in stream if item[2])
                found = connection.execute(
                    "SELECT 1 FROM read.incidents WHERE incident_id = %s", [data["subject"]]
                ).fetchone()
                assert found, "the event was shown before the incident could be read"
        writer.join(DEADLINE_S)
