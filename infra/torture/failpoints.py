"""Fail points: named steps of the processes at which one dies, freezes or stalls when the harness says so.

Armed by a file ``<folder>/armed/<process>-<point>`` whose content is the action: ``kill`` (SIGKILL itself), ``freeze``
(SIGSTOP itself, until the harness sends SIGCONT) or ``stall <seconds>`` (only the thread that arrives there). The
process that reaches the point moves the file to ``hit`` in one step and then acts, so that each arming is hit once.
``<process>`` is the name that the harness gave the process, such as ``worker-2``.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from infra.torture import wrapping

Process = Literal["worker", "projector", "dispatcher", "scheduler", "archiver", "api"]
_TRANSACTION = "streams.runtime.transaction:Producer."
_ACKNOWLEDGED = "streams.runtime.producer:AcknowledgedProducer."
FLUSH_S = 5.0


def _flush(producer: Any, *_: Any) -> None:
    """Bring what was produced so far to the broker, so that an open transaction really is in the log."""
    producer.flush(FLUSH_S)


def _succeeded(outcome: object) -> bool:
    return type(outcome).__name__ == "Ok"


@dataclass(frozen=True, slots=True)
class FailPoint:
    """A step of a process: before or after what ``target`` names.

    ``first`` is done on arriving when armed (with the arguments of the call); ``only`` says of a call's result whether
    the step was reached.
    """

    name: str
    process: Process
    target: str
    place: Literal["before", "after"]
    step: str
    first: Callable[..., None] | None = None
    only: Callable[[Any], bool] | None = None


FAILPOINTS: tuple[FailPoint, ...] = (
    # R3: fence, restore, seek, then decide, write, commit, move the position
    FailPoint("fence-before", "worker", _TRANSACTION + "init_transactions", "before", "partition assigned, not fenced"),
    FailPoint(
        "fence-after", "worker", _TRANSACTION + "init_transactions", "after", "former owner fenced, not restored"
    ),
    FailPoint(
        "restoring",
        "worker",
        "streams.runtime.partition:Partition._load",
        "before",
        "fenced, an item of the state is being loaded",
    ),
    FailPoint("restored", "worker", "streams.runtime.worker:Worker._positions", "after", "restored, not yet sought"),
    FailPoint("begin-before", "worker", _TRANSACTION + "begin_transaction", "before", "decided, nothing written"),
    FailPoint("begin-after", "worker", _TRANSACTION + "begin_transaction", "after", "transaction begun"),
    FailPoint(
        "commit-before",
        "worker",
        _TRANSACTION + "commit_transaction",
        "before",
        "everything is in the log, the transaction is open",
        first=_flush,
    ),
    FailPoint("commit-after", "worker", _TRANSACTION + "commit_transaction", "after", "committed, position not moved"),
    FailPoint("moved", "worker", "streams.runtime.partition:Partition._write", "after", "position moved"),
    FailPoint("revoking", "worker", "streams.runtime.worker:Worker._revoked", "before", "rebalance, turns in flight"),
    FailPoint("revoked", "worker", "streams.runtime.worker:Worker._revoked", "after", "rebalance, turns finished"),
    # R6: claim, read, one transaction of checkpoint and rows, move the position
    FailPoint("claim-before", "projector", "projections.runner:Projector._assigned", "before", "assigned, not claimed"),
    FailPoint("claim-after", "projector", "projections.checkpoints:claim", "after", "claimed, not seeking yet"),
    FailPoint("transaction-before", "projector", "projections.writer:Writer._transact", "before", "batch read"),
    FailPoint(
        "checkpoint-moved", "projector", "projections.checkpoints:advance", "after", "in the transaction, before rows"
    ),
    FailPoint(
        "rows-written",
        "projector",
        "projections.sequences:TenantSequences.refuse_others",
        "before",
        "in the transaction, checkpoint and rows written",
    ),
    FailPoint(
        "rows-committed", "projector", "projections.writer:Writer._transact", "after", "committed, position not moved"
    ),
    FailPoint("releasing", "projector", "projections.runner:Projector._revoked", "before", "rebalance"),
    # R7: lease, look up, call, result to Kafka, mark the row
    FailPoint(
        "leased", "dispatcher", "connectors.kit.dispatcher:Dispatcher._carry_out", "before", "attempt counted, not made"
    ),
    FailPoint("calling", "dispatcher", "connectors.kit.http:ProviderHttp.call", "before", "lease checked, not sent"),
    FailPoint(
        "called",
        "dispatcher",
        "connectors.kit.dispatcher:attempt",
        "after",
        "done at the provider, result not sent",
        only=_succeeded,
    ),
    FailPoint("reported", "dispatcher", "connectors.kit.outbox:finish", "before", "result in Kafka, row not marked"),
    FailPoint("marked", "dispatcher", "connectors.kit.outbox:finish", "after", "row marked"),
    # R8: lock due timers, send, mark, commit
    FailPoint("fire-before", "scheduler", _ACKNOWLEDGED + "send_and_wait", "before", "timers locked, nothing sent"),
    FailPoint("fired", "scheduler", _ACKNOWLEDGED + "send_and_wait", "after", "commands in Kafka, rows not marked"),
    FailPoint("fired-marked", "scheduler", "projections.scheduler:fire_due", "after", "rows marked", only=bool),
    # file, manifest, signed checkpoint, how far it is complete
    FailPoint("filed", "archiver", "streams.archive.manifests:Manifest.append", "before", "file stored, not named"),
    FailPoint("listed", "archiver", "streams.archive.manifests:Manifest.append", "after", "file named, not signed for"),
    FailPoint(
        "signed", "archiver", "streams.archive.checkpoints:Checkpoints.publish", "after", "signed, not said complete"
    ),
    # R1: produce, acknowledged, answer
    FailPoint("produced", "api", _ACKNOWLEDGED + "_enqueue", "after", "handed to the client, not acknowledged"),
    FailPoint("delivered", "api", "streams.runtime.producer:_Call.on_delivery", "before", "acknowledged, not noticed"),
    FailPoint("acknowledged", "api", _ACKNOWLEDGED + "send", "after", "acknowledged, not answered"),
)


def named(name: str) -> FailPoint:
    """The fail point of a name; raises ``KeyError``."""
    return {point.name: point for point in FAILPOINTS}[name]


def file_name(process: str, point: str) -> str:
    """The name of the file that arms a point in a process."""
    return f"{process}-{point}"


def arm(folder: Path, process: str, point: str, action: str = "kill") -> None:
    """Let the process called ``process`` act when it next reaches the point; raises ``KeyError`` for an unknown one."""
    armed = folder / "armed" / file_name(process, named(point).name)
    (folder / "hit").mkdir(parents=True, exist_ok=True)
    (folder / "hit" / armed.name).unlink(missing_ok=True)
    armed.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{armed.name}"
    scratch.write_text(action)
    scratch.replace(armed)


def disarm(folder: Path, process: str, point: str) -> bool:
    """Take the arming back; false when it was hit (or never armed)."""
    try:
        (folder / "armed" / file_name(process, point)).unlink()
    except FileNotFoundError:
        return False
    return True


def was_hit(folder: Path, process: str, point: str) -> bool:
    """Whether the process has reached the point since it was last armed."""
    return (folder / "hit" / file_name(process, point)).exists()


def install(folder: Path, kind: str, process: str) -> None:
    """Wrap the steps of a process of this kind; called once in it, before its command runs."""
    for point in FAILPOINTS:
        if point.process == kind:
            wrapping.replace(point.target, functools.partial(_wrapped, _Trap(folder, process, point)))


class _Trap:
    """One point in one process: looks whether it is armed and, if so, acts."""

    def __init__(self, folder: Path, process: str, point: FailPoint) -> None:
        self.point = point
        name = file_name(process, point.name)
        self._armed, self._hit = folder / "armed" / name, folder / "hit" / name

    def arrive(self, *arguments: Any) -> None:
        if not self._armed.exists():
            return
        if self.point.first is not None:
            self.point.first(*arguments)
        try:
            self._armed.rename(self._hit)
        except FileNotFoundError:  # another thread was here first, or it was taken back
            return
        _act(self._hit.read_text())

    def returned(self, result: Any, *arguments: Any) -> None:
        if self.point.only is None or self.point.only(result):
            self.arrive(*arguments)


def _act(action: str) -> None:
    verb, _, seconds = action.partition(" ")
    match verb:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "stall":
            time.sleep(float(seconds))
        case _:
            raise ValueError(f"no such action: {action!r}")


def _wrapped(trap: _Trap, function: wrapping.Function) -> wrapping.Function:
    before = trap.point.place == "before"

    @functools.wraps(function)
    async def asynchronous(*arguments: Any, **named: Any) -> Any:
        if before:
            trap.arrive(*arguments)
            return await function(*arguments, **named)
        result = await function(*arguments, **named)
        trap.returned(result, *arguments)
        return result

    @functools.wraps(function)
    def synchronous(*arguments: Any, **named: Any) -> Any:
        if before:
            trap.arrive(*arguments)
            return function(*arguments, **named)
        result = function(*arguments, **named)
        trap.returned(result, *arguments)
        return result

    return asynchronous if wrapping.is_coroutine(function) else synchronous
