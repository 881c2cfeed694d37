"""What a scenario plays on, and what a scenario is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from infra.torture.evidence import Finding
from infra.torture.ledger import Ledger
from infra.torture.reading import Reader
from infra.torture.recovery import Probes
from infra.torture.sender import Sender
from infra.torture.world import World

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """A world under load. ``minutes`` is how long what takes long is to last; ``previous`` names a commit in git."""

    world: World
    sender: Sender
    reader: Reader
    probes: Probes
    report: Report
    minutes: float = 10.0
    previous: str = "HEAD~1"

    @property
    def ledger(self) -> Ledger:
        """What was answered 2xx so far."""
        return self.sender.ledger


Play = Callable[[Stage], Awaitable[Finding]]
"""Does what the scenario is about, leaves the world as it was, and tells what does not hold."""
