"""A pulse of signals through the whole way, shared by everybody who waits for a sign of life.

Faults that are in force at the same time each want to know when work flows again. One signal a tenant answers all of
them that ask before it is sent, so that the looking does not become the load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from infra.torture.ledger import Id

EVERY_S = 0.25

Send = Callable[[], Awaitable[Sequence[Id]]]
"""Sends one signal of every tenant; their ids, once each got a 2xx."""

Missing = Callable[[Sequence[Id]], Awaitable[Sequence[Id]]]
"""Which of the ids are not shown (yet, or because nobody answers)."""


@dataclass(slots=True)
class _Beat:
    """One round of signals: who waits for it, and what of it is not shown yet (``None``: not all of it is accepted)."""

    asked: list[asyncio.Future[None]]
    missing: set[Id] | None = None

    def finish(self, error: BaseException | None = None) -> None:
        for future in self.asked:
            if not future.done() and error is None:
                future.set_result(None)
            elif not future.done():
                future.set_exception(error or RuntimeError())


@dataclass(slots=True)
class Pulse:
    """Begins a round as soon as somebody asks, at most one in ``EVERY_S``, and looks for all open rounds at once."""

    send: Send
    missing: Missing
    _asked: list[asyncio.Future[None]] = field(default_factory=list)
    _open: list[_Beat] = field(default_factory=list)

    async def beat(self) -> None:
        """Return once signals that were sent after this call are shown."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        await future

    async def run(self) -> None:
        """Serve whoever asks, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            while True:
                if self._asked:
                    beat = _Beat(self._asked)
                    self._asked = []
                    group.create_task(self._begin(beat))
                await asyncio.sleep(EVERY_S)

    async def _begin(self, beat: _Beat) -> None:
        try:
            beat.missing = set(await self.send())
        except TimeoutError as error:  # the sender has given up
            beat.finish(error)
            return
        self._open.append(beat)

    async def _look(self) -> None:
        while True:
            self._open = [beat for beat in self._open if not all(future.done() for future in beat.asked)]
            wanted = {identity for beat in self._open for identity in beat.missing or ()}
            if wanted:
                left = set(await self.missing(sorted(wanted)))
                for beat in self._open:
                    beat.missing = (beat.missing or set()) - (wanted - left)
                    if not beat.missing:
                        beat.finish()
            await asyncio.sleep(EVERY_S)
