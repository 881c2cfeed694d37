"""What a run is to do, and what it found."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from infra.torture.arena import Fault
from infra.torture.evidence import Finding
from infra.torture.faults import faults
from infra.torture.load import REPEATED
from infra.torture.quiet import LIMIT_S as QUIET_S
from infra.torture.waiting import LIMIT_S as RECOVERY_S

RATE, MINUTES = 10.0, 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do; everything random in it follows from the seed.

    ``steps`` 0: each kind once. ``only`` is how the kinds were chosen. ``at_once``: so many faults, of different parts,
    are in force at the same time. ``scenarios`` are played after the steps; ``minutes`` and ``previous`` are theirs.
    ``quiet_s`` and ``recovery_s`` bound the waits for rest and for work to flow again. What is not ``strict`` keeps no
    evidence: failing is what it is for.
    """

    steps: int
    seed: int
    kinds: tuple[Fault, ...] = field(default_factory=faults)
    _: KW_ONLY
    only: str = ""
    rate: float = RATE
    repeated: float = REPEATED
    brokers: int = 1
    planted: tuple[str, ...] = ()
    breather_s: float = 0.5
    at_once: int = 1
    scenarios: tuple[str, ...] = ()
    minutes: float = MINUTES
    previous: str = "HEAD~1"
    quiet_s: float = QUIET_S
    recovery_s: float = RECOVERY_S
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: how long until work flowed again (from the fault, or from its healing), and what is worth telling."""

    number: int
    fault: str
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """Everything that a run found; ``load`` is the machine's load average after each step."""

    plan: Plan
    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    accepted: int = 0
    load: list[float] = field(default_factory=list)

    @property
    def violations(self) -> int:
        """Over all invariants."""
        return sum(len(finding.violations) for finding in self.findings)

    def count(self, name: str) -> int:
        """A count over all invariants."""
        return sum(finding.counts[name] for finding in self.findings)
