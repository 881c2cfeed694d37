"""Tables of immutable items, with a journal that can take changes back and knows which items to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Journal:
    """What was changed since the last commit: enough to take changes back, and to know which items to write."""

    __slots__ = ("changed", "undo")

    def __init__(self) -> None:
        self.undo: list[tuple[Callable[[Any, Any], None], Any, Any]] = []
        self.changed: dict[tuple[str, str, str], None] = {}

    def rollback(self, mark: int) -> None:
        """Take back everything after ``mark``, a former ``len(undo)``; what was touched still counts as changed."""
        while len(self.undo) > mark:
            restore, key, old = self.undo.pop()
            restore(key, old)

    def clear(self) -> None:
        """Forget the changes: they were committed."""
        self.undo.clear()
        self.changed.clear()


class Table(Generic[Value]):
    """Items of one kind by key; every change is journaled and told to ``on_change`` (key, old or None, new or None)."""

    __slots__ = ("_items", "_journal", "_kind", "_on_change", "_restore", "_tenant", "get", "keys")

    def __init__(
        self,
        tenant: str,
        kind: str,
        journal: Journal,
        on_change: Callable[[str, Value | None, Value | None], None] | None = None,
    ) -> None:
        self._items: dict[str, Value] = {}
        self._tenant = tenant
        self._kind = kind
        self._journal = journal
        self._on_change = on_change
        self.get: Callable[[str], Value | None] = self._items.get
        """The item, or none; the dictionary's own, since every decision asks a dozen times."""
        self.keys: KeysView[str] = self._items.keys()
        """The keys as they are now, in the order in which they came: empty, and so false, without items."""
        self._restore = self._set  # bound once, not for every change

    def put(self, key: str, value: Value) -> None:
        """Add or replace an item."""
        old = self.get(key)
        journal = self._journal
        journal.undo.append((self._restore, key, old))
        journal.changed[self._tenant, self._kind, key] = None
        self._items[key] = value
        if self._on_change is not None:
            self._on_change(key, old, value)

    def drop(self, key: str) -> None:
        """Remove an item; removing what is not there changes nothing."""
        if key in self._items:
            self._journal.undo.append((self._restore, key, self._items[key]))
            self._journal.changed[self._tenant, self._kind, key] = None
            self._set(key, None)

    def load(self, key: str, value: Value | None) -> None:
        """Take an item as it was stored: nothing is journaled."""
        self._set(key, value)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def values(self) -> Iterator[Value]:
        """The items, in the order in which they came."""
        return iter(self._items.values())

    def _set(self, key: str, value: Value | None) -> None:
        old = self._items.pop(key, None) if value is None else self._items.get(key)
        if value is not None:
            self._items[key] = value
        if self._on_change is not None:
            self._on_change(key, old, value)
