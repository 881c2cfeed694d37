"""Health and metrics of a process that has no HTTP server of its own.

``/health/live`` answers 200 while the process runs, ``/health/ready`` 200 or 503 with what is wrong, ``/metrics`` in
the Prometheus text format.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Checks = Callable[[], Mapping[str, str]]
"""Names of what was checked, each with ``ok`` or what is wrong with it."""


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
            found = checks()
            ready = all(value == "ok" for value in found.values())
            body = orjson.dumps({"status": "ok" if ready else "unavailable", "checks": dict(found)})
            return 200 if ready else 503, "application/json", body
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        case _:
            return 404, "application/json", b'{"status":"not found"}'
