"""``make bench-peers``: the same storm against what users run today, in the same run as ours.

    python -m bench.peers [--requests 250] [--alertmanager prometheus-alertmanager]

Alertmanager is the one of Debian (``apt install prometheus-alertmanager``), with its defaults, one receiver that does
nothing and no cluster. What is not comparable: it keeps alerts in memory alone, so accepted alerts are gone when it is
killed; it groups by labels and has no incidents, timeline or record; it has no duplicates by delivery id, an alert with
the same labels replaces the former. Ours is measured as a user runs it: everything running, each alert durable before
its 202. One alert a request, then groups of 100; accepted and visible a second.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import orjson

from bench import accept, payloads, visible
from bench.http import Connection, request
from bench.load import Load, Stream
from bench.part import load_average
from bench.world import free_offset, world
from infra.fakes.alertmanager.deliveries import PrometheusAlert

_CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
SENDERS = 8
SHOWN_S = 300.0


def streams(port: int, count: int, size: int, seed: int) -> list[Stream]:
    """Requests of Alertmanager's own API (v2), each with ``size`` alerts."""
    found = []
    for sender in range(SENDERS):
        alerts = [_posted(one) for one in payloads.alerts(f"peer-{sender}-{seed}", count * size)]
        bodies = [orjson.dumps(alerts[start : start + size]) for start in range(0, len(alerts), size)]
        headers = {"Content-Type": "application/json"}
        requests = [request("POST", "/api/v2/alerts", headers, body) for body in bodies]
        found.append(Stream(f"peer-{sender}", port, requests))
    return found


def _posted(alert: PrometheusAlert) -> dict[str, object]:
    return {"labels": alert.labels, "annotations": alert.annotations, "startsAt": alert.starts_at}


@contextmanager
def alertmanager(command: str) -> Iterator[int]:
    """A running Alertmanager; its port."""
    port = 9093 + free_offset()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        config = Path(folder, "alertmanager.yml")
        config.write_text(_CONFIG)
        options = ["--config.file", str(config), "--storage.path", folder, "--cluster.listen-address="]
        child = subprocess.Popen(
            [command, *options, "--web.listen-address", f"127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            asyncio.run(_answering(port))
            yield port
        finally:
            child.terminate()
            child.wait()


async def _answering(port: int) -> None:
    for _ in range(600):
        try:
            connection = await Connection.open(port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            connection.close()
            return
    raise SystemExit("Alertmanager does not answer")


def measure_alertmanager(command: str, count: int, size: int, seed: int) -> dict[str, float]:
    """Accepted and visible alerts a second; the alerts are all different."""
    with alertmanager(command) as port:
        load = Load([partial(streams, port, count, size, seed)])
        load.go()
        sent = load.done()
        total = count * size * SENDERS
        accepted = sum(one.statuses[200] for one in sent) * size
        if accepted != total:
            raise SystemExit(f"Alertmanager accepted {accepted} of {total}: {[one.statuses for one in sent]}")
        _wait_shown(port, total)
        ended = time.monotonic()
    began = min(one.began for one in sent)
    return {"accepted": total / accept.elapsed(sent), "visible": total / (ended - began), "alerts": total}


def _wait_shown(port: int, total: int) -> None:
    deadline = time.monotonic() + SHOWN_S
    while time.monotonic() < deadline:
        lines = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines()
        shown = [line for line in lines if line.startswith("alertmanager_alerts{")]
        if sum(float(line.rpartition(" ")[2]) for line in shown) >= total:
            return
        time.sleep(0.05)
    raise SystemExit(f"Alertmanager did not show {total} alerts within {SHOWN_S:.0f} s")


def _version(command: str) -> str:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0].strip()


def main() -> None:
    """Measure and print a table and one JSON object."""
    parser = argparse.ArgumentParser(description="The same storm against what users run today")
    parser.add_argument("--alertmanager", default="prometheus-alertmanager")
    parser.add_argument("--requests", type=int, default=250, help="of each of eight senders")
    arguments = parser.parse_args()
    found: dict[str, object] = {}
    if shutil.which(arguments.alertmanager) is None:
        print("Alertmanager is not installed: apt install prometheus-alertmanager")
    else:
        found["alertmanager"] = {
            "version": _version(arguments.alertmanager),
            "single": _rounded(measure_alertmanager(arguments.alertmanager, arguments.requests, 1, 1)),
            "groups_of_100": _rounded(measure_alertmanager(arguments.alertmanager, arguments.requests // 10, 100, 2)),
        }
    with world() as there:
        ours = visible.one_round(there, max(1, arguments.requests // 10), "storm", 400)
        found["incidents"] = {"groups_of_100": {"visible": round(ours["visible"] / ours["seconds"])}}
    found["load_average"] = load_average()
    for name, figures in found.items():
        print(name, figures)
    print(orjson.dumps(found).decode())


def _rounded(figures: dict[str, float]) -> dict[str, int]:
    return {name: round(value) for name, value in figures.items()}


if __name__ == "__main__":
    main()
