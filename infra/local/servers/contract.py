"""What the stack asks of a server."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Protocol

from infra.local.processes import Launch


class Server(Protocol):
    """A server that the stack prepares, starts, checks and stops.

    ``ports`` are all it listens on, the one for clients first. ``variable`` is the environment variable by which a
    running server can be named instead. ``environment`` is what clients need to reach the local one.
    """

    name: str
    variable: str
    stop_signal: signal.Signals
    stop_grace_seconds: float
    ports: tuple[int, ...]

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that name the local server to its clients."""
        ...

    def prepare(self) -> None:
        """Bring what the first start needs (files, folders, a format); nothing when it is there."""
        ...

    def launch(self) -> Launch:
        """How to start it."""
        ...

    def check(self, environment: Mapping[str, str]) -> str:
        """Ask the server that `environment` names as a client would; empty when the answer is good, else the reason."""
        ...

    def complete(self) -> None:
        """Bring what can only be made in the running local server (a database, a bucket), where it is missing."""
        ...
