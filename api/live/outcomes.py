"""What became of commands: matched to whoever waits, and kept for a while for whoever asks later."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from streams.domain.outputs import CommandResult

_KEPT = 20_000


class Outcomes:
    """Outcomes by tenant and command id; the last 20,000 of both outcomes and pending commands are remembered.

    Used from the event loop only.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._outcomes: OrderedDict[tuple[str, str], CommandResult] = OrderedDict()
        self._sent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._waiting: dict[tuple[str, str], list[asyncio.Future[CommandResult]]] = {}

    def expect(self, tenant_id: str, command_id: str) -> asyncio.Future[CommandResult]:
        """A future for the next outcome of a command that is about to be sent; cancel it to stop waiting."""
        key = tenant_id, command_id
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        future.add_done_callback(lambda _: self._forget(key, future))
        return future

    def sent(self, tenant_id: str, command_id: str) -> None:
        """Remember that a command is in Kafka."""
        self._sent[tenant_id, command_id] = None
        if len(self._sent) > self._kept:
            self._sent.popitem(last=False)

    def deliver(self, tenant_id: str, outcome: CommandResult) -> None:
        """Keep an outcome and tell everybody who waits for it."""
        key = tenant_id, outcome.command_id
        self._outcomes[key] = outcome
        self._outcomes.move_to_end(key)
        if len(self._outcomes) > self._kept:
            self._outcomes.popitem(last=False)
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(outcome)

    def get(self, tenant_id: str, command_id: str) -> CommandResult | None:
        """The outcome of a command of the tenant, if it is known here."""
        return self._outcomes.get((tenant_id, command_id))

    def is_pending(self, tenant_id: str, command_id: str) -> bool:
        """Whether the command was sent from here and is not decided yet."""
        key = tenant_id, command_id
        return key in self._sent and key not in self._outcomes

    def _forget(self, key: tuple[str, str], future: asyncio.Future[CommandResult]) -> None:
        left = [other for other in self._waiting.get(key, ()) if other is not future]
        if left:
            self._waiting[key] = left
        else:
            self._waiting.pop(key, None)
