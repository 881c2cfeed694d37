"""``dataclass`` for what is made for every message: frozen for the type checker, which refuses any assignment.

At run time it is left out, because a frozen data class sets each field through ``object.__setattr__``: an alert of 21
fields takes 2.7 microseconds to make instead of 0.4, and a message on its way becomes several of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(*, slots: bool, frozen: bool = False) -> Any:
        """As the standard decorator with these arguments; equality and hash are those of a frozen class."""
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["dataclass"]
