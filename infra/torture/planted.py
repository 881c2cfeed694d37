"""Planted bugs: each breaks one promise, and the harness must notice (who tests the guards?).

They are wrappers around production code, installed only by ``infra.torture.process`` in the processes of a world under
test. Each names the fault that brings it out, so that a short, aimed run is enough.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from infra.torture import wrapping
from infra.torture.failpoints import Process

Wrap = Callable[[wrapping.Function], wrapping.Function]

Fault = Literal["hit", "freeze", "slow-provider", "kill-broker-then-api", "reconnect", "none"]
"""What brings a bug out, under load: ``hit`` kills a process at the bug's fail points and starts it again; ``freeze``
freezes one there for longer than its session, while another one takes over, and wakes it; ``slow-provider`` lets the
fake answer late while two dispatchers run; ``kill-broker-then-api`` kills the API within three seconds of Kafka;
``reconnect`` cuts subscribers off, which come back with their cursors; ``none``: it shows by itself."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A bug: in which kinds of process, what it breaks, which checks must see it, what brings it out.

    ``points`` are fail points of ``failpoints.FAILPOINTS``. ``catches`` names invariants by the issue's words.
    """

    name: str
    processes: tuple[Process, ...]
    breaks: str
    catches: tuple[str, ...]
    fault: Fault
    wraps: Mapping[str, Wrap]
    points: tuple[str, ...] = field(default=())


def install(name: str, kind: str) -> None:
    """Plant a bug in this process if it belongs to its kind; raises ``KeyError`` for an unknown name."""
    bug = {one.name: one for one in PLANTED}[name]
    if kind in bug.processes:
        for target, wrap in bug.wraps.items():
            wrapping.replace(target, wrap)


def _position_first(write: wrapping.Function) -> wrapping.Function:
    """The position in a transaction of its own, before the outputs and the rest of the state."""
    from streams.runtime.partition import POSITION

    def planted(writer: Any, writes: Any) -> None:
        write(writer, [one for one in writes if one.key == POSITION])
        write(writer, [one for one in writes if one.key != POSITION])

    return planted


def _state_apart(write: wrapping.Function) -> wrapping.Function:
    """State items in a transaction of their own, after the outputs and the position."""
    from streams.runtime.partition import POSITION

    def planted(writer: Any, writes: Any) -> None:
        state_topic = writes[-1].topic  # the position comes last
        is_state = [one.topic == state_topic and one.key != POSITION for one in writes]
        write(writer, [one for one, apart in zip(writes, is_state, strict=True) if not apart])
        write(writer, [one for one, apart in zip(writes, is_state, strict=True) if apart])

    return planted


def _checkpoint_apart(_: wrapping.Function) -> wrapping.Function:
    """The checkpoint in a transaction of its own, before the rows."""
    from projections import checkpoints, writer
    from projections.writer import Writer

    def planted(self: Writer, connection: Any, batch: Any, moves: Any) -> None:
        with connection.transaction():
            checkpoints.advance(connection, moves)
        sequences = self._sequences
        events = [r for (topic, _), records in batch.items() if topic == "incident-events" for r in records]
        with connection.transaction():
            last, repeated = sequences.check(connection, events)
            for projection in self._projections:
                records = writer._due(projection, batch, moves)  # noqa: SLF001  a bug that is planted inside
                if records:
                    projection.apply(connection, records)
            sequences.refuse_others(connection, repeated)
        sequences.keep(last)

    return planted


def _clocked_id(derive_id: wrapping.Function) -> wrapping.Function:
    @functools.wraps(derive_id)
    def planted(*parts: str) -> str:
        return str(derive_id(*parts, str(time.time_ns())))

    return planted


def _own_transactional_id(init: wrapping.Function) -> wrapping.Function:
    """Another transactional id in each process: nobody fences anybody."""

    @functools.wraps(init)
    def planted(self: Any, settings: Any, transactional_id: str, partition: int) -> None:
        init(self, settings, f"{transactional_id}-{secrets.token_hex(4)}", partition)

    return planted


def _unfenced_checkpoints(_: wrapping.Function) -> wrapping.Function:
    """Checkpoints move whoever held them last, to wherever the process thinks."""

    def planted(connection: Any, moves: Any) -> None:
        for checkpoint, offset in moves.items():
            connection.execute(
                "UPDATE ops.projection_checkpoints SET next_offset = %s"
                " WHERE projection = %s AND generation = %s AND topic = %s AND partition = %s",
                (offset, *checkpoint.key),
            )

    return planted


def _uncommitted_config(config: wrapping.Function) -> wrapping.Function:
    @functools.wraps(config)
    def planted(kafka: Any, slot: str = "") -> dict[str, Any]:
        return {**config(kafka, slot), "isolation.level": "read_uncommitted"}

    return planted


def _uncommitted_consumer(init: wrapping.Function) -> wrapping.Function:
    def planted(self: Any, config: dict[str, Any]) -> None:
        init(self, {**config, "isolation.level": "read_uncommitted"})

    return planted


def _lease_to_everybody(_: wrapping.Function) -> wrapping.Function:
    """What is leased to one dispatcher is leased to the next one too, as a first attempt."""
    from connectors.kit import outbox

    statement = outbox._LEASE.replace("o.leased_until <= now()", "true").replace(  # noqa: SLF001  as above
        "attempts = o.attempts + 1", "attempts = 1"
    )

    async def planted(connection: Any, owner: str, limit: int, lease_s: float, held_back: Any) -> list[Any]:
        arguments = {"owner": owner, "limit": limit, "lease_s": lease_s, "held_back": list(held_back)}
        rows = await (await connection.execute(statement, arguments)).fetchall()
        return [outbox._leased(row) for row in rows]  # noqa: SLF001  as above

    return planted


def _anybody_finishes(_: wrapping.Function) -> wrapping.Function:
    """A row is closed whoever holds its lease."""

    async def planted(connection: Any, owner: str, intent_id: str, state: str, error: str = "") -> bool:
        del owner
        await connection.execute(
            "UPDATE ops.outbox_events SET state = %s, last_error = %s, finished_at = now() WHERE intent_id = %s",
            (state, error, intent_id),
        )
        return True

    return planted


def _skipping_resume(begin: wrapping.Function) -> wrapping.Function:
    """A stream that is resumed begins behind the event after the cursor."""

    @functools.wraps(begin)
    def planted(self: Any, after: int | None, last: int) -> Any:
        cursor, reset = begin(self, after, last)
        return (min(cursor + 1, last) if after is not None and reset is None else cursor), reset

    return planted


def _unacknowledged(send: wrapping.Function) -> wrapping.Function:
    """202 as soon as the records are in the client's own queue."""
    del send

    async def planted(self: Any, records: Any) -> None:
        if records:
            self._enqueue(records, lambda _: None)

    return planted


def _forgotten_marks(moved: wrapping.Function) -> wrapping.Function:
    """Attempts are not counted: nobody looks before sending again."""

    @functools.wraps(moved)
    def planted(row: dict[str, Any]) -> Any:
        return replace(moved(row), attempt=1)

    return planted


_LOST, _ORDER, _STATE = "every id has one disposition", "sequences without gap or repeat", "log = state = rows"
_ONCE = "one effect an intent"

PLANTED: tuple[Planted, ...] = (
    Planted(
        "position-before-outputs",
        ("worker",),
        "a crash between the two transactions loses the batch's outputs",
        (_LOST, _STATE),
        "hit",
        {"streams.runtime.transaction:TransactionalWriter.write": _position_first},
        ("commit-after",),
    ),
    Planted(
        "state-outside-transaction",
        ("worker",),
        "a crash between the two transactions leaves events whose sequences and hashes the state does not know",
        (_ORDER, _STATE),
        "hit",
        {"streams.runtime.transaction:TransactionalWriter.write": _state_apart},
        ("commit-after",),
    ),
    Planted(
        "checkpoint-apart-from-rows",
        ("projector",),
        "a crash between the two transactions loses rows",
        (_STATE,),
        "hit",
        {"projections.writer:Writer._transact": _checkpoint_apart},
        ("rows-written",),
    ),
    Planted(
        "id-from-the-clock",
        ("worker",),
        "deciding the same intake again gives other events",
        ("deciding again gives the recorded bytes",),
        "none",
        {"streams.domain.batch:derive_id": _clocked_id},
    ),
    Planted(
        "worker-fence-removed",
        ("worker",),
        "a worker that was frozen wakes up and writes what its successor has written",
        (_ORDER,),
        "freeze",
        {"streams.runtime.transaction:TransactionalWriter.__init__": _own_transactional_id},
        ("begin-before",),
    ),
    Planted(
        "projector-fence-removed",
        ("projector",),
        "a projector that was frozen wakes up and moves the checkpoint of its successor",
        (_STATE, "checkpoints never move back"),
        "freeze",
        {"projections.checkpoints:advance": _unfenced_checkpoints},
        ("transaction-before",),
    ),
    Planted(
        "projector-reads-uncommitted",
        ("projector",),
        "rows show a transaction that was aborted, and its repetition",
        (_STATE,),
        "hit",
        {"projections.runner:_consumer_config": _uncommitted_config},
        ("commit-before",),
    ),
    Planted(
        "live-path-reads-uncommitted",
        ("api",),
        "subscribers see a transaction that was aborted, which the next worker may have cut differently",
        ("subscribers see what the record holds",),
        "hit",
        {"api.live.tail:Consumer.__init__": _uncommitted_consumer},
        ("commit-before",),
    ),
    Planted(
        "lease-never-checked",
        ("dispatcher",),
        "two dispatchers carry out the same intent",
        (_ONCE,),
        "slow-provider",
        {
            "connectors.kit.outbox:lease": _lease_to_everybody,
            "connectors.kit.outbox:finish": _anybody_finishes,
        },
    ),
    Planted(
        "attempt-not-counted",
        ("dispatcher",),
        "after a crash a note is sent again without looking for it",
        (_ONCE,),
        "hit",
        {"connectors.kit.outbox:_leased": _forgotten_marks},
        ("called",),
    ),
    Planted(
        "cursor-off-by-one",
        ("api",),
        "a subscriber that comes back misses an event",
        ("subscribers see each event once, in order",),
        "reconnect",
        {"api.live.follow:Follower._begin": _skipping_resume},
    ),
    Planted(
        "accepted-before-durable",
        ("api",),
        "what was answered 202 is lost with the process or the broker",
        (_LOST,),
        "kill-broker-then-api",
        {"streams.runtime.producer:AcknowledgedProducer.send": _unacknowledged},
    ),
)
