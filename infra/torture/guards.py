"""Whether the harness notices what it is there for: each planted bug must make a run fail."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from infra.torture import report
from infra.torture.arena import Arena, Fault
from infra.torture.faults import faults
from infra.torture.plan import Outcome, Plan
from infra.torture.planted import PLANTED, Planted
from infra.torture.run import FLOWS, torture

STEPS = 3
QUIET_S, RECOVERY_S = 90.0, 90.0
RATE, REPEATED = 25.0, 0.0
"""Nothing is sent twice: that would make good what a bug has lost."""

HELD_S = 2.0


@dataclass(frozen=True, slots=True)
class Guarded:
    """A planted bug and what the run that had it found (nothing: it was not caught)."""

    bug: Planted
    outcome: Outcome

    @property
    def caught(self) -> bool:
        """Whether the run failed."""
        return self.outcome.violations > 0

    @property
    def by(self) -> str:
        """What tells most: a promise that was broken before work that does not flow any more."""
        found = report.violations(self.outcome)
        return next((one for one in found if not one.startswith(FLOWS)), found[0] if found else "")


def chosen(name: str) -> Sequence[Planted]:
    """The bug of that name, or all; raises ``KeyError``."""
    return PLANTED if name == "all" else [{bug.name: bug for bug in PLANTED}[name]]


def try_out(bug: Planted, seed: int, say: Callable[[str], None]) -> Guarded:
    """Run with the bug planted and with the fault that brings it out."""
    kinds = _kinds(bug)
    plan = Plan(
        max(STEPS, len(kinds)),
        seed,
        kinds,
        rate=RATE,
        repeated=REPEATED,
        planted=(bug.name,),
        breather_s=0.2,
        quiet_s=QUIET_S,
        recovery_s=RECOVERY_S,
        strict=False,
    )
    return Guarded(bug, torture(plan, say))


def _kinds(bug: Planted) -> tuple[Fault, ...]:
    named = {fault.name: fault for fault in faults()}
    match bug.fault:
        case "hit":
            return tuple(named[f"die at {point}"] for point in bug.points)
        case "freeze":
            return tuple(named[f"freeze at {point}"] for point in bug.points)
        case "slow-provider" | "none":
            return (named["provider slow"],)
        case "kill-broker-then-api":
            return (Fault("kill kafka, then the api", _kafka_then_api),)
        case "reconnect":
            return (named["kill api"],)


@asynccontextmanager
async def _kafka_then_api(arena: Arena) -> AsyncIterator[None]:
    """What the API has promised by now and Kafka does not have is gone."""
    await asyncio.to_thread(arena.world.kill_server, "kafka")
    await asyncio.sleep(HELD_S)
    await arena.strike("api", signal.SIGKILL)
    await asyncio.to_thread(arena.world.start_servers)
    yield
