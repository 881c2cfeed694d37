"""The writer: rows and position together, fenced by an epoch, without a gap, through faults of the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import orjson
import psycopg
import pytest
from psycopg import sql

from projections import checkpoints
from projections.base import SequenceGap
from projections.checkpoints import Fenced
from projections.connections import Connection, connect
from projections.registry import projections
from projections.writer import Partition, Writer
from streams.domain import events
from streams.domain.ticket_events import SyncCompleted, SyncFailed
from streams.runtime.settings import DatabaseSettings
from tests.projections.histories import History, alert, declared, full, intent

pytestmark = pytest.mark.stack

EVENTS: Partition = ("incident-events", 0)
INTENTS: Partition = ("outbox-intents", 0)


def no_log_start() -> int:
    raise AssertionError("only intents begin where the log does")


@pytest.fixture
def opened() -> Iterator[list[Connection]]:
    """Connections that writers opened, to be closed."""
    found: list[Connection] = []
    yield found
    for connection in found:
        connection.close()


@pytest.fixture
def make_writer(database: DatabaseSettings, opened: list[Connection]) -> Callable[[], Writer]:
    """Makes writers as processes would have them."""

    def connected() -> Connection:
        opened.append(connect(database, "projector", name="test-writer", autocommit=True))
        return opened[-1]

    return lambda: Writer(connected, projections(), threading.Event())


SETTLING = (events.EffectDelivered, events.EffectFailed, SyncCompleted, SyncFailed)


def count(owner: Connection, table: str) -> int:
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.split(".")))
    row = owner.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def offsets(owner: Connection) -> set[tuple[str, int]]:
    return set(owner.execute("SELECT topic, next_offset FROM ops.projection_checkpoints").fetchall())


def test_rows_and_checkpoints_move_together(make_writer: Callable[[], Writer], owner: Connection) -> None:
    writer, records = make_writer(), full(History())
    assert writer.claim(EVENTS, no_log_start) == 0
    assert writer.claim(INTENTS, lambda: 7) == 7
    intents = History(topic="outbox-intents")
    intents.offset = 7
    intents.add("a", intent("intent-9"))
    writer.write({EVENTS: records[:9], INTENTS: intents.records})
    writer.write({EVENTS: records[9:]})
    assert count(owner, "read.timeline_entries") == len(records)
    settled = {one.data.intent_id for one in records if isinstance(one.data, SETTLING)}
    assert count(owner, "ops.outbox_events") == len(settled) + 1, "those of the history, and the one that is new"
    assert offsets(owner) == {("incident-events", len(records)), ("outbox-intents", 8)}


def test_a_batch_that_was_written_before_changes_nothing(make_writer: Callable[[], Writer], owner: Connection) -> None:
    writer, records = make_writer(), full(History())
    writer.claim(EVENTS, no_log_start)
    writer.write({EVENTS: records})
    writer.write({EVENTS: records[:5]})
    assert offsets(owner) == {("incident-events", len(records))}


def test_who_was_taken_over_writes_nothing(make_writer: Callable[[], Writer], owner: Connection) -> None:
    former, latter, records = make_writer(), make_writer(), full(History())
    former.claim(EVENTS, no_log_start)
    former.write({EVENTS: records[:4]})
    assert latter.claim(EVENTS, no_log_start) == 4
    with pytest.raises(Fenced):
        former.write({EVENTS: records[4:]})
    assert count(owner, "read.timeline_entries") == 4
    latter.write({EVENTS: records[4:]})
    assert count(owner, "read.timeline_entries") == len(records)


def test_a_gap_in_a_tenants_sequence_stops_everything(make_writer: Callable[[], Writer], owner: Connection) -> None:
    writer, records = make_writer(), full(History())
    writer.claim(EVENTS, no_log_start)
    writer.write({EVENTS: records[:2]})
    with pytest.raises(SequenceGap, match=r"incident-events\[0\]@3: tenant acme has tenantsequence 4 after 2"):
        writer.write({EVENTS: records[3:]})
    assert offsets(owner) == {("incident-events", 2)}
    assert count(owner, "read.timeline_entries") == 2


def test_a_gap_is_seen_by_a_new_process_too(make_writer: Callable[[], Writer]) -> None:
    first, second, records = make_writer(), make_writer(), full(History())
    first.claim(EVENTS, no_log_start)
    first.write({EVENTS: records[:2]})
    second.claim(EVENTS, no_log_start)
    with pytest.raises(SequenceGap):
        second.write({EVENTS: records[3:]})


def test_a_gap_in_an_incidents_sequence_stops(make_writer: Callable[[], Writer], owner: Connection) -> None:
    history = History()
    history.add("a", declared())
    history.add("a", events.NoteAdded("x", "user:ada"), sequence=3)
    writer = make_writer()
    writer.claim(EVENTS, no_log_start)
    with pytest.raises(SequenceGap, match="NoteAdded has sequence 3 after 1"):
        writer.write({EVENTS: history.records})
    assert count(owner, "read.incidents") == 0


def test_another_event_under_a_known_number_stops(make_writer: Callable[[], Writer]) -> None:
    history, other = History(), History()
    writer = make_writer()
    writer.claim(EVENTS, no_log_start)
    history.add("a", declared())
    writer.write({EVENTS: history.records})
    other.offset = 1
    other.add("z", declared(2))
    with pytest.raises(SequenceGap, match="tenantsequence 1 is event"):
        writer.write({EVENTS: other.records})


def test_a_lost_connection_is_opened_again_and_nothing_is_lost(
    make_writer: Callable[[], Writer], owner: Connection, opened: list[Connection]
) -> None:
    writer, records = make_writer(), full(History())
    writer.claim(EVENTS, no_log_start)
    writer.write({EVENTS: records[:5]})
    owner.execute("SELECT pg_terminate_backend(%s)", (opened[-1].info.backend_pid,))
    writer.write({EVENTS: records[5:]})
    assert len(opened) == 2
    assert writer.problem == ""
    assert count(owner, "read.timeline_entries") == len(records)


def test_a_commit_whose_answer_was_lost_is_not_repeated(
    make_writer: Callable[[], Writer], owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, records = make_writer(), full(History())
    writer.claim(EVENTS, no_log_start)
    transact, calls = Writer._transact, []

    def answer_lost(self: Writer, *arguments: object) -> None:
        calls.append(arguments)
        transact(self, *arguments)  # type: ignore[arg-type]  # passed on as they came
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Writer, "_transact", answer_lost)
    writer.write({EVENTS: records})
    assert len(calls) == 1
    monkeypatch.undo()
    history = History()
    assert count(owner, "read.timeline_entries") == len(full(history))
    history.add("a", events.NoteAdded("after", "user:ada"))
    writer.write({EVENTS: history.records[-1:]})
    assert count(owner, "read.timeline_entries") == len(history.records)


def test_a_stopping_process_gives_up_while_the_database_is_away() -> None:
    stop = threading.Event()

    def refused() -> Connection:
        stop.set()
        raise psycopg.OperationalError("connection refused")

    writer = Writer(refused, projections(), stop)
    with pytest.raises(psycopg.OperationalError):
        writer.claim(EVENTS, no_log_start)


def test_listeners_hear_of_each_checkpoint(make_writer: Callable[[], Writer], database: DatabaseSettings) -> None:
    with connect(database, "api", name="test", autocommit=True) as listener:
        listener.execute(f"LISTEN {checkpoints.CHANNEL}".encode())
        writer = make_writer()
        writer.claim(EVENTS, no_log_start)
        writer.write({EVENTS: full(History())[:3]})
        heard = [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)]
    names = sorted(one.name for one in projections() if one.topic == "incident-events")
    assert [orjson.loads(payload) for payload in heard] == [
        {"topic": "incident-events", "partition": 0, "next_offset": 3, "projections": names}
    ]


def test_text_that_postgresql_cannot_hold_is_replaced_and_long_keys_are_cut(
    make_writer: Callable[[], Writer], owner: Connection
) -> None:
    history, writer = History(), make_writer()
    long = "x" * 5_000
    history.add("a", declared(1, title="nul \0 here", description="\\u0000 is text", service=long))
    signal = alert("\U0001f600" * 4_000, "k\0", 10**18, fingerprint=long, labels={"a\0": "\0"})
    history.add("a", events.AlertsAttached((signal,)), causationid="c\0")
    writer.claim(EVENTS, no_log_start)
    writer.write({EVENTS: history.records})
    rows = owner.execute("SELECT title, description, length(service) FROM read.incidents").fetchall()
    assert rows == [("nul \ufffd here", "\\u0000 is text", 300)]
    found = owner.execute("SELECT labels, length(signal_id), alert_key FROM read.alerts").fetchall()
    assert found == [({"a\ufffd": "\ufffd"}, 300, "k\ufffd")]
