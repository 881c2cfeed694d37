"""Subscriptions over graphql-transport-ws: bursts are messages of their own, and every end has its reason."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from api.app import Backends, create_app
from api.live.batch import Batch
from api.live.fanout import Fanout
from api.live.subscription import Subscription
from api.server import server
from api.settings import ApiSettings
from streams.runtime import metrics
from tests.api.conftest import DEADLINE_S, Running, free_port, wait_until
from tests.api.test_live import event
from tests.api.test_streams import declare, payload, socket_for, subscribe

pytestmark = pytest.mark.stack

QUERY = "subscription { timelineEventAdded(after: %s) { cursor reset event { type incidentId data } } }"


class Served:
    """An API whose fan-out a test can reach into, on its event loop."""

    def __init__(self, running: Running, app: FastAPI) -> None:
        self.running = running
        self._app = app
        self._loop: asyncio.AbstractEventLoop = app.state.api.live.events._loop

    @property
    def fanout(self) -> Fanout:
        found: Fanout = self._app.state.api.live.fanout
        return found

    def on_loop(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(DEADLINE_S)

    def subscriptions(self, tenant: str) -> set[Subscription]:
        channel = self.fanout._channels.get((tenant, ""))
        return channel.subscriptions if channel else set()


@pytest.fixture(scope="module")
def served(pipeline: Backends, database_url: str) -> Iterator[Served]:
    settings = ApiSettings(port=free_port(), heartbeat_s=0.5, outcome_timeout_s=20, subscriber_queue=1)
    app = create_app(settings, pipeline)
    api = server(app, settings)
    thread = threading.Thread(target=api.run, daemon=True)
    thread.start()
    wait_until(lambda: api.started and app.state.api.live.events.positioned.is_set(), "the API reads")
    yield Served(Running(f"http://127.0.0.1:{settings.port}", database_url, pipeline), app)
    api.should_exit = True
    thread.join(15)
    assert not thread.is_alive()


def message(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(socket.recv(DEADLINE_S))
    return found


def live(served: Served, socket: ClientConnection, tenant: str, query: str) -> None:
    """Subscribe, and wait until the subscription is live."""
    before = len(served.subscriptions(tenant))
    subscribe(socket, query)
    wait_until(lambda: len(served.subscriptions(tenant)) > before, "it is live")


def test_a_burst_is_one_message_for_each_event_under_the_id_of_its_operation(served: Served) -> None:
    with served.running.client(tenant="burst") as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        made = declare(client, "first — «größer»")
        for number in range(20):
            client.post(f"/api/v1/incidents/{made['id']}/notes", json={"text": f"note {number} — 語"})
        with socket_for(served.running, token) as socket:
            id_ = 'quoted "id" ü'
            document = {"id": id_, "type": "subscribe", "payload": {"query": QUERY % '"0"'}}
            socket.send(json.dumps(document))
            found = [message(socket) for _ in range(21)]
    assert {(one["type"], one["id"]) for one in found} == {("next", id_)}
    updates = [one["payload"]["data"]["timelineEventAdded"] for one in found]
    assert [one["cursor"] for one in updates] == [str(number) for number in range(1, 22)]
    assert [one["event"]["data"]["text"] for one in updates[1:]] == [f"note {number} — 語" for number in range(20)]


def test_two_operations_of_a_socket_are_told_apart_and_one_can_be_completed(served: Served) -> None:
    with served.running.client(tenant="two") as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        with socket_for(served.running, token) as socket:
            for id_ in ("a", "b"):
                document = {"id": id_, "type": "subscribe", "payload": {"query": QUERY % "null"}}
                socket.send(json.dumps(document))
            wait_until(lambda: len(served.subscriptions("two")) == 2, "both are live")
            declare(client, "for both")
            assert {message(socket)["id"] for _ in range(2)} == {"a", "b"}
            socket.send('{"id":"a","type":"complete"}')
            wait_until(lambda: len(served.subscriptions("two")) == 1, "one has left")
            declare(client, "for one")
            socket.send('{"type":"ping"}')
            rest = [message(socket) for _ in range(2)]
    assert sorted((one["type"], one.get("id")) for one in rest) == [("next", "b"), ("pong", None)]
    wait_until(lambda: not served.subscriptions("two"), "the other left with its socket")


def test_a_slow_subscriber_is_cut_off_with_its_reason_and_the_cursor_to_resume_behind(served: Served) -> None:
    with served.running.client(tenant="slow") as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        with socket_for(served.running, token) as socket:
            live(served, socket, "slow", QUERY % "null")
            declare(client, "seen")
            assert payload(socket, "timelineEventAdded")["cursor"] == "1"

            def run_over() -> None:
                [subscription] = served.subscriptions("slow")
                for sequence in (2, 3):
                    subscription.offer(Batch([event(sequence, tenant="slow")]))

            served.on_loop(run_over)
            told = message(socket)
            assert message(socket) == {"id": "1", "type": "complete"}
            [error] = told["payload"]["errors"]
            assert (told["type"], error["extensions"]["code"]) == ("next", "slow-subscriber")
            assert error["extensions"]["cursor"] == "1"
            declare(client, "missed")
            subscribe(socket, QUERY % '"1"')
            assert payload(socket, "timelineEventAdded")["cursor"] == "2", "the id is free, and nothing is missing"


def test_a_subscription_ends_with_its_token(served: Served) -> None:
    with served.running.client(tenant="revoked") as client, served.running.client(tenant="revoked") as admin:
        token = client.headers["authorization"].removeprefix("Bearer ")
        with socket_for(served.running, token) as socket:
            live(served, socket, "revoked", QUERY % "null")
            assert admin.delete(f"/api/v1/tokens/{token.split('_')[1]}").status_code == 204
            told = message(socket)
            assert [one["extensions"]["code"] for one in told["payload"]["errors"]] == ["unauthenticated"]
            assert message(socket) == {"id": "1", "type": "complete"}


def test_a_reset_is_a_message_too(served: Served) -> None:
    with served.running.client(tenant="reset-socket") as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        declare(client, "one")
        with socket_for(served.running, token) as socket:
            subscribe(socket, QUERY % '"999"')
            assert payload(socket, "timelineEventAdded") == {"cursor": "1", "reset": True, "event": None}
            wait_until(lambda: bool(served.subscriptions("reset-socket")), "it is live")
            declare(client, "two")
            assert payload(socket, "timelineEventAdded")["cursor"] == "2"


def test_tenants_see_only_their_own_and_whoever_vanishes_leaves_no_subscription(served: Served) -> None:
    before = metrics.API_SUBSCRIBERS._value.get()
    with served.running.client(tenant="mine") as mine, served.running.client(tenant="yours") as yours:
        tokens = [one.headers["authorization"].removeprefix("Bearer ") for one in (mine, yours)]
        with socket_for(served.running, tokens[0]) as one, socket_for(served.running, tokens[1]) as other:
            live(served, one, "mine", QUERY % "null")
            live(served, other, "yours", QUERY % "null")
            made = [declare(client, "who sees it") for client in (mine, yours)]
            for socket, its in zip((one, other), made, strict=True):
                assert payload(socket, "timelineEventAdded")["event"]["incidentId"] == its["id"]
            other.socket.close()
            with pytest.raises((ConnectionClosed, OSError, EOFError)):
                other.recv(DEADLINE_S)
            declare(mine, "goes on")
            assert payload(one, "timelineEventAdded")["cursor"] == "2"
    wait_until(lambda: not served.subscriptions("mine") and not served.subscriptions("yours"), "both have left")
    wait_until(lambda: metrics.API_SUBSCRIBERS._value.get() == before, "nothing is counted any more")
