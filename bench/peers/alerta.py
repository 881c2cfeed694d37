"""Alerta on PostgreSQL, run by gunicorn, which its own container image does too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PathDistribution
from pathlib import Path

import httpx

from bench.http import request
from bench.peers.contract import LOOPBACK, About, PeerFailedError, Running, Wanted
from bench.peers.processes import address, environment, free_port, new_database, process
from infra.fakes.alertmanager import deliveries
from infra.fakes.alertmanager.deliveries import PrometheusAlert

LOCK = Path(__file__).with_name("alerta.lock")
WORKERS, THREADS = 2, 4
_HEADERS = {"Content-Type": "application/json"}


class Alerta:
    """Its webhook for Alertmanager takes one alert or a group."""

    name = "alerta"
    accepted = 201

    def install(self) -> About:
        """Make its virtual environment where it is not there yet."""
        binaries = environment(LOCK)
        versions = ", ".join(
            f"{name} {installed(binaries, name)}" for name in ("alerta-server", "gunicorn", "psycopg2")
        )
        return About(
            f"{versions} (bench/peers/{LOCK.name})",
            [
                "defaults, no authentication",
                (
                    f"gunicorn --preload (two processes that make the tables at once fail) with {WORKERS} processes of "
                    f"{THREADS} threads, so that connections are kept"
                ),
                "POST /webhooks/prometheus, with a label that makes the pod the resource",
            ],
            "PostgreSQL of the same run",
            "what was answered 201: each alert is committed before",
            [
                (
                    "An alert is one row, overwritten by what comes later; its history holds 100 entries and is no "
                    "record that could be replayed or checked."
                ),
                (
                    "No delivery ids: the same alert again counts up its duplicates, and a late repetition opens again "
                    "what was closed."
                ),
                "No incidents: alerts are not grouped.",
            ],
        )

    @contextmanager
    def running(self, database_url: str, folder: Path) -> Iterator[Running]:
        """A server on an empty database."""
        port = free_port()
        settings = folder / "alertad.conf"
        url = new_database(database_url, "peer_alerta")
        settings.write_text(f"DATABASE_URL = {url!r}\nSECRET_KEY = 'of a database that is dropped'\n")
        settings.chmod(0o600)
        command = [
            str(environment(LOCK) / "gunicorn"), "alerta:create_app()", "--bind", f"{LOOPBACK}:{port}",
            "--workers", str(WORKERS), "--threads", str(THREADS), "--preload", "--no-control-socket",
        ]  # fmt: skip
        with process(command, folder, f"{address(port)}/alerts/count", {"ALERTA_SVR_CONF_FILE": str(settings)}) as pid:
            yield Running(port, {self.name: [pid]})

    @staticmethod
    def encode(alerts: Sequence[PrometheusAlert]) -> bytes:
        """A notification of Alertmanager."""
        body, _ = deliveries.webhook([_with_resource(one) for one in alerts], secret="", group_by=("service",))
        return request("POST", "/webhooks/prometheus", _HEADERS, body)

    def shows(self, client: httpx.Client, wanted: Wanted) -> bool:
        """Whether each sender's last alert is open: what comes over one connection is taken in its order."""
        resources = [_resource(alert) for alert in wanted.last]
        answer = client.get("/alerts", params=[("resource", one) for one in resources]).raise_for_status()
        shown = {one["resource"] for one in answer.json()["alerts"] if one["status"] == "open"}
        return shown == set(resources)

    def check(self, client: httpx.Client, wanted: Wanted) -> None:
        """As many open and closed alerts as fire and are over in the end."""
        counts = client.get("/alerts/count").raise_for_status().json()["statusCounts"]
        found = counts.get("open", 0), counts.get("closed", 0)
        due = wanted.count("firing"), wanted.count("resolved")
        if found != due:
            raise PeerFailedError(f"{found[0]} alerts are open and {found[1]} closed instead of {due[0]} and {due[1]}")


def installed(binaries: Path, name: str) -> str:
    """The version of a package in a virtual environment."""
    [found] = binaries.parent.glob(f"lib/python*/site-packages/{name.replace('-', '_')}-*.dist-info")
    return PathDistribution(found).version


def _resource(alert: PrometheusAlert) -> str:
    return f"{alert.labels['cluster']}/{alert.labels['pod']}"


def _with_resource(alert: PrometheusAlert) -> PrometheusAlert:
    return replace(alert, labels={**alert.labels, "exported_instance": _resource(alert)})
