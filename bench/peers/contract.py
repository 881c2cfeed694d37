"""What a peer is to the bench: how it is installed and started, what it is sent, and how it is asked for the alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx

from infra.fakes.alertmanager.deliveries import PrometheusAlert

LOOPBACK = "127.0.0.1"


class PeerFailedError(Exception):
    """A peer cannot be installed, started or measured here; the text goes into the results."""


@dataclass(frozen=True, slots=True)
class About:
    """What the results say of a peer beside its figures."""

    version: str
    configuration: Sequence[str]
    database: str
    survives: str
    """What of the accepted alerts is still there after a kill."""

    not_comparable: Sequence[str]


@dataclass(frozen=True, slots=True)
class Running:
    """Where a started peer listens, and its processes by kind, as `bench.cpu` takes them."""

    port: int
    pids: Mapping[str, Sequence[int]]


@dataclass(slots=True)
class Wanted:
    """What a peer must show: ``last`` of the part that is measured, ``final`` of everything that it was sent so far."""

    last: list[PrometheusAlert] = field(default_factory=list)
    """The last alert of each sender that is firing when all is sent."""

    final: dict[str, PrometheusAlert] = field(default_factory=dict)
    """The last that was sent of each alert, by fingerprint."""

    def count(self, status: str) -> int:
        """How many alerts are ``firing`` or ``resolved`` in the end."""
        return sum(alert.status == status for alert in self.final.values())


class Peer(Protocol):
    """One of the programs that are measured beside ours."""

    name: str
    accepted: int
    """The status with which it answers what it has taken."""

    def install(self) -> About:
        """Install the pinned version where it is not yet; raises `PeerFailedError`."""

    def running(self, database_url: str, folder: Path) -> AbstractContextManager[Running]:
        """Start it on a database of its own (``database_url`` names the server's); raises `PeerFailedError`."""

    @staticmethod
    def encode(alerts: Sequence[PrometheusAlert]) -> bytes:
        """A whole request with these alerts. Static, since the load's processes are given it by name."""

    def shows(self, client: httpx.Client, wanted: Wanted) -> bool:
        """Whether its own API lists the alerts of the part; asked again and again while the clock runs."""

    def check(self, client: httpx.Client, wanted: Wanted) -> None:
        """After the clock was stopped: raises `PeerFailedError` where something that it accepted is not there."""
