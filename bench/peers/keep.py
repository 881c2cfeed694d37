"""Keep on PostgreSQL, run by gunicorn as its container image does, from the package that a registry still has."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.http import request
from bench.peers.alerta import installed
from bench.peers.contract import LOOPBACK, About, PeerFailedError, Running, Wanted
from bench.peers.processes import address, environment, free_port, new_database, process
from infra.fakes.alertmanager import deliveries
from infra.fakes.alertmanager.deliveries import PrometheusAlert

LOCK = Path(__file__).with_name("keep.lock")
WORKERS = 4
DRAIN_S = 900.0
_HEADERS = {"Content-Type": "application/json", "X-API-KEY": "anybody"}


class Keep:
    """Takes a notification of Alertmanager, answers, and works it off in threads."""

    name = "keep"
    accepted = 202

    def install(self) -> About:
        """Make its virtual environment where it is not there yet."""
        binaries = environment(LOCK)
        versions = ", ".join(f"{name} {installed(binaries, name)}" for name in ("keep-mirror", "gunicorn", "uvicorn"))
        return About(
            f"{versions} (bench/peers/{LOCK.name})",
            [
                (
                    "the package is another publisher's upload of Keep; the project's own, keephq, ended with 0.2.7 in "
                    "November 2023"
                ),
                "cryptography below 44 and pyopenssl from 24.2, without which it does not start",
                (
                    f"gunicorn with {WORKERS} uvicorn workers and --preload, as in its image; AUTH_TYPE=NOAUTH, "
                    "no Redis, no Pusher, no telemetry, LOG_LEVEL=WARNING"
                ),
                "POST /alerts/event/prometheus",
            ],
            "PostgreSQL of the same run",
            "what was worked off; an answer 202 comes before anything is stored, and what waits in memory is lost",
            [
                "Accepted is not durable (with Redis the queue would be in Redis).",
                (
                    "Threads work off notifications in no fixed order, so an alert may end as firing though its "
                    "resolution came last; visible means here that each alert is listed, in whatever state."
                ),
                "No delivery ids; no correlation rule is set, so there are no incidents.",
                "It works off alerts with enrichment, rules and workflows looked up for each.",
            ],
        )

    @contextmanager
    def running(self, database_url: str, folder: Path) -> Iterator[Running]:
        """A server on an empty database."""
        port, binaries = free_port(), environment(LOCK)
        url = new_database(database_url, "peer_keep").replace("postgresql://", "postgresql+psycopg2://")
        [settings] = binaries.parent.glob("lib/python*/site-packages/keep/api/config.py")
        command = [
            str(binaries / "gunicorn"), "keep.api.api:get_app", "--bind", f"{LOOPBACK}:{port}",
            "--workers", str(WORKERS), "--worker-class", "uvicorn.workers.UvicornWorker", "--config", str(settings),
            "--preload",
        ]  # fmt: skip
        variables = {
            "DATABASE_CONNECTION_STRING": url,
            "AUTH_TYPE": "NOAUTH",
            "SECRET_MANAGER_TYPE": "FILE",
            "SECRET_MANAGER_DIRECTORY": str(folder),
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
            "PORT": str(port),
            "POSTHOG_DISABLED": "true",
            "SENTRY_DISABLED": "true",
            "PUSHER_DISABLED": "true",
            "LOG_LEVEL": "WARNING",
            "PATH": f"{binaries}:{os.environ.get('PATH', '')}",
        }
        with process(command, folder, f"{address(port)}/healthcheck", variables) as pid:
            yield Running(port, {self.name: [pid]})

    @staticmethod
    def encode(alerts: Sequence[PrometheusAlert]) -> bytes:
        """A notification of Alertmanager."""
        body, _ = deliveries.webhook(alerts, secret="", group_by=("service",))
        return request("POST", "/alerts/event/prometheus", _HEADERS, body)

    def shows(self, client: httpx.Client, wanted: Wanted) -> bool:
        """Whether as many alerts are listed as it was sent different ones."""
        return self._count(client) >= len(wanted.final)

    def check(self, client: httpx.Client, wanted: Wanted) -> None:
        """No alert too many; then what still waits (repetitions and resolutions) is worked off before the next part."""
        if (count := self._count(client)) != len(wanted.final):
            raise PeerFailedError(f"{count} alerts are listed instead of {len(wanted.final)}")
        deadline = time.monotonic() + DRAIN_S
        while self._waiting(client):
            if time.monotonic() > deadline:
                raise PeerFailedError(f"still working {DRAIN_S:.0f} s after all alerts were listed")
            time.sleep(0.5)

    def _count(self, client: httpx.Client) -> int:
        answer = client.post("/alerts/query", headers=_HEADERS, json={"limit": 0, "offset": 0, "cel": ""})
        return int(answer.raise_for_status().json()["count"])

    def _waiting(self, client: httpx.Client) -> float:
        lines = client.get("/metrics/processing", headers=_HEADERS).raise_for_status().text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("keep_running_tasks_current"))
