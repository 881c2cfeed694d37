"""Who holds a port of this machine."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

from infra.local.errors import PortTaken
from infra.local.settings import LOOPBACK

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Where Linux says from which ports it takes those of outgoing connections."""


def ephemeral(ports: Iterable[int], range_file: Path = EPHEMERAL) -> list[int]:
    """Those that an outgoing connection of any program may hold when a server wants to listen; none where not known."""
    if not range_file.exists():
        return []
    first, last = map(int, range_file.read_text().split())
    return sorted(port for port in ports if first <= port <= last)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def holder(port: int) -> str:
    """The process that listens on a port, for people: `name (pid n)`, or that it is not known."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another process"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                continue
    return "another process"


def require_free(name: str, ports: tuple[int, ...]) -> None:
    """Raise `PortTaken` for the first of a server's ports that somebody holds."""
    for port in ports:
        if not is_free(port):
            raise PortTaken(name, port, holder(port))
