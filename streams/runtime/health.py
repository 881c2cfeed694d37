"""Health and metrics of a process that has no HTTP server of its own.

``/health/live`` answers 200 while the process runs, ``/health/ready`` 200 or 503 with what is wrong, ``/metrics`` in
the Prometheus text format. A check that begins with ``warning:`` is for people: it does not make a process unready,
because sending the work elsewhere would not mend it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.runtime import metrics

Checks = Callable[[], Mapping[str, str]]
"""Names of what was checked, each with ``ok``, ``warning: ...`` or what is wrong with it."""

WARNING = "warning: "
RESTARTS = "INCIDENTS_RESTARTS"
"""The variable in which the supervisor tells a process how often it was started again, and after what."""

_MANY_RESTARTS = 3
_SETTLED_S = 600.0
_STARTED = time.monotonic()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks say together: ``ok``, ``degraded`` (warnings only) or ``unavailable``."""

    status: str
    is_ready: bool
    checks: Mapping[str, str]

    def as_json(self) -> dict[str, object]:
        """The body of ``/health/ready``."""
        return {"status": self.status, "checks": dict(self.checks)}


def verdict(checks: Mapping[str, str]) -> Verdict:
    """Judge checks, those of the process itself added."""
    found = {**checks, "restarts": restarts()}
    if all(value == "ok" for value in found.values()):
        return Verdict("ok", is_ready=True, checks=found)
    is_ready = all(value == "ok" or value.startswith(WARNING) for value in found.values())
    return Verdict("degraded" if is_ready else "unavailable", is_ready, found)


def restarts() -> str:
    """A warning for a process that was started again and again and has not run for ten minutes since."""
    told = os.environ.get(RESTARTS, "")
    count, _, reason = told.partition(" ")
    number = int(count) if count.isascii() and count.isdigit() else 0
    metrics.PROCESS_RESTARTS.set(number)
    settled = time.monotonic() - _STARTED >= _SETTLED_S
    return "ok" if number < _MANY_RESTARTS or settled else f"{WARNING}started again {number} times, last: {reason}"


def serve(port: int, checks: Checks, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """Serve health and metrics from a daemon thread; raises ``OSError`` when the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content_type, body = _answer(self.path, checks)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as inherited
            """Probes every few seconds would drown the log."""

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True, name="health").start()
    return server


def _answer(path: str, checks: Checks) -> tuple[int, str, bytes]:
    match path:
        case "/health/live":
            return 200, "application/json", b'{"status":"ok"}'
        case "/health/ready":
            judged = verdict(checks())
            return 200 if judged.is_ready else 503, "application/json", orjson.dumps(judged.as_json())
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        case _:
            return 404, "application/json", b'{"status":"not found"}'
