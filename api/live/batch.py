"""Events that come together, and what is made of them: once for all subscribers who get the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

from api.live.events import RecordedEvent

T = TypeVar("T")


class Batch(tuple[RecordedEvent, ...]):  # noqa: SLOT001  a tuple has no slots to keep what was made in
    """Events of a tenant, ascending; what was released together is one object for all subscribers of a channel."""

    _made: dict[object, Any]

    def __new__(cls, events: Iterable[RecordedEvent] = ()) -> Self:
        """These events."""
        batch = super().__new__(cls, events)
        batch._made = {}
        return batch

    def once(self, key: object, make: Callable[[Batch], T]) -> T:
        """What ``make`` returns, made for the first who asks for ``key`` and kept for all others."""
        found: T | None = self._made.get(key)
        if found is None:
            found = self._made[key] = make(self)
        return found
