"""Timers and the scheduler: set, superseded, fired once, through faults of Kafka."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from projections.connections import Connection, connect
from projections.scheduler import Command, NotAcknowledged, Scheduler, fire_due, seconds_to_next
from projections.timers import Timers
from streams.domain import events
from streams.domain.commands import FireTimer
from streams.domain.envelope import derive_id
from streams.runtime.settings import DatabaseSettings
from tests.projections.histories import T0, History, declared

pytestmark = pytest.mark.stack

STATES = "SELECT timer, state FROM ops.timers ORDER BY sequence"


class Sent:
    """A sender that keeps what it was given, after refusing as often as told."""

    def __init__(self, refusals: int = 0) -> None:
        self.commands: list[Command] = []
        self._refusals = refusals

    def __call__(self, commands: Sequence[Command]) -> None:
        if self._refusals:
            self._refusals -= 1
            raise NotAcknowledged("no broker")
        self.commands += commands


def resolved(projector: Connection, *more: object, due: int = T0 + 60_000) -> History:
    """An incident that is resolved, and what follows."""
    history = History()
    for data in (declared(), events.Resolved("open", "user:ada", due=due), *more):
        history.add("a", data)
    projection = Timers()
    projection.prepare(projector)
    projector.commit()
    projection.apply(projector, history.records)
    projector.commit()
    return history


@pytest.fixture
def session(database: DatabaseSettings) -> Connection:
    """The scheduler's connection, closed with the database."""
    return connect(database, "projector", name="test-scheduler", autocommit=True)


@pytest.fixture(autouse=True)
def _closed(session: Connection) -> object:
    yield
    session.close()


def test_a_due_timer_becomes_its_command_once(projector: Connection, session: Connection) -> None:
    history = resolved(projector)
    cause, sent = history.records[-1].envelope.id, Sent()
    assert fire_due(session, sent, T0 + 59_999) == 0
    assert fire_due(session, sent, T0 + 60_000) == 1
    assert fire_due(session, sent, T0 + 60_000) == 0
    ((envelope, data),) = sent.commands
    assert data == FireTimer("a", "close", T0 + 60_000, cause)
    assert envelope.id == derive_id(derive_id("a", "close", cause), "fire")
    assert (envelope.tenantid, envelope.source, envelope.causationid) == ("acme", "/scheduler", cause)
    assert session.execute(STATES).fetchall() == [("close", "fired")]


@pytest.mark.parametrize("applied", [1, 2])
def test_a_timer_of_a_former_state_is_superseded(projector: Connection, session: Connection, applied: int) -> None:
    more = (events.StateChange("resolved", "open", "user:ada"), events.Closed("open", "canceled", "x", due=T0 + 90_000))
    for _ in range(applied):
        resolved(projector, *more)
    assert session.execute(STATES).fetchall() == [("close", "superseded"), ("archive", "pending")]


def test_a_command_that_kafka_did_not_take_stays_due(projector: Connection, session: Connection) -> None:
    resolved(projector)
    with pytest.raises(NotAcknowledged):
        fire_due(session, Sent(refusals=1), T0 + 60_000)
    assert session.execute(STATES).fetchall() == [("close", "pending")]


def test_two_schedulers_do_not_fire_the_same_timer(
    projector: Connection, session: Connection, database: DatabaseSettings
) -> None:
    resolved(projector)
    sent, second = Sent(), Sent()
    with connect(database, "projector", name="test-other", autocommit=True) as other:

        def send(commands: Sequence[Command]) -> None:
            assert fire_due(other, second, T0 + 60_000) == 0  # while the first waits for Kafka
            sent(commands)

        assert fire_due(session, send, T0 + 60_000) == 1
    assert (len(sent.commands), second.commands) == (1, [])


@pytest.mark.parametrize(("now", "seconds"), [(T0 + 59_900, 1), (T0 + 50_000, 10), (T0 - 10**9, 60), (T0 + 10**9, 1)])
def test_it_sleeps_until_something_is_due(projector: Connection, session: Connection, now: int, seconds: float) -> None:
    assert seconds_to_next(session, now) == 60
    resolved(projector)
    assert seconds_to_next(session, now) == seconds


def test_a_new_timer_wakes_it_and_a_fault_of_kafka_is_waited_out(
    projector: Connection, database: DatabaseSettings
) -> None:
    stop, sent = threading.Event(), Sent(refusals=2)

    def send(commands: Sequence[Command]) -> None:
        sent(commands)
        stop.set()

    scheduler = Scheduler(
        lambda: connect(database, "projector", name="test", autocommit=True), send, stop, lambda: T0 + 60_000
    )
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    resolved(projector)
    thread.join(20)
    alive = thread.is_alive()
    stop.set()
    thread.join(20)
    assert not alive
    assert len(sent.commands) == 1
