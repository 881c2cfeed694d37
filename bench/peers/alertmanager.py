"""Alertmanager, built from its Go module, without its web pages (which need an Elm compiler that no registry has)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson

from bench.http import request
from bench.peers.contract import LOOPBACK, About, PeerFailedError, Running, Wanted
from bench.peers.processes import CACHE, address, free_port, process, run
from infra.fakes.alertmanager.deliveries import PrometheusAlert

MODULE, VERSION = "github.com/prometheus/alertmanager", "v0.35.0"
SUM = "h1:nbXMjr+P2JaoFd7aHNDxKifEwTPN+TWxM0gNPonuH5w="
_CONFIGURATION = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
_PAGES = ("ui/app/dist/elm", "ui/app/dist/mantine")


class Alertmanager:
    """Keeps alerts in memory, so it needs no database."""

    name = "alertmanager"
    accepted = 200

    def __init__(self, command: str = "") -> None:
        """Build it, or take an installed one, such as ``prometheus-alertmanager`` of Debian."""
        self._command = command

    def install(self) -> About:
        """Build it where that was not done yet."""
        version = self._installed() if self._command else self._built()
        return About(
            version,
            ["defaults", "one receiver that does nothing", "no cluster", "POST /api/v2/alerts"],
            "none: memory",
            "silences and the log of notifications, written every 15 minutes; no alert (Prometheus sends them again)",
            [
                "An answer 200 means that the alert is in memory; nothing is written.",
                (
                    "No delivery ids: an alert with the same labels replaces the former one, so a late repetition "
                    "opens again what was resolved."
                ),
                "Groups for notification, but no incidents, no timeline, no record, no tenants.",
            ],
        )

    def _installed(self) -> str:
        if shutil.which(self._command) is None:
            raise PeerFailedError(f"{self._command} is not installed")
        return run([self._command, "--version"]).splitlines()[0]

    def _built(self) -> str:
        if shutil.which("go") is None:
            raise PeerFailedError("no Go tool chain to build it with; see --alertmanager for one that is installed")
        binary = CACHE / f"alertmanager-{VERSION}"
        if not binary.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            self._build(binary)
        return f"{MODULE} {VERSION} ({SUM}), {run(['go', 'version']).strip()}"

    def _build(self, binary: Path) -> None:
        found = orjson.loads(run(["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"], CACHE))
        if found["Sum"] != SUM:
            raise PeerFailedError(f"{MODULE} {VERSION} has the sum {found['Sum']}, not {SUM}")
        source = CACHE / f"{binary.name}-source"
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(found["Dir"], source, copy_function=shutil.copyfile)
        for folder in (source, *(one for one in source.rglob("*") if one.is_dir())):
            folder.chmod(0o755)  # the module cache is read-only
        for name in _PAGES:
            (source / name).mkdir(parents=True)
            (source / name / "index.html").write_text("<!doctype html>\n")
        run(["go", "build", "-buildvcs=false", "-o", str(binary), "./cmd/alertmanager"], source)
        shutil.rmtree(source)

    @contextmanager
    def running(self, database_url: str, folder: Path) -> Iterator[Running]:
        """A server with an empty store; the database is not used."""
        del database_url
        port = free_port()
        configuration = folder / "alertmanager.yml"
        configuration.write_text(_CONFIGURATION)
        command = [
            self._command or str(CACHE / f"alertmanager-{VERSION}"),
            f"--config.file={configuration}",
            f"--storage.path={folder}",
            "--cluster.listen-address=",
            f"--web.listen-address={LOOPBACK}:{port}",
        ]
        with process(command, folder, f"{address(port)}/-/ready") as pid:
            yield Running(port, {self.name: [pid]})

    @staticmethod
    def encode(alerts: Sequence[PrometheusAlert]) -> bytes:
        """A list of alerts of its API, version 2."""
        posted = [_posted(alert) for alert in alerts]
        return request("POST", "/api/v2/alerts", {"Content-Type": "application/json"}, orjson.dumps(posted))

    def shows(self, client: httpx.Client, wanted: Wanted) -> bool:
        """Whether each sender's last alert is listed: what comes over one connection is taken in its order."""
        pods = "|".join(sorted({alert.labels["pod"] for alert in wanted.last}))
        shown = {_identity(labels) for labels in self._listed(client, f'pod=~"{pods}"')}
        return shown >= {_identity(alert.labels) for alert in wanted.last}

    def check(self, client: httpx.Client, wanted: Wanted) -> None:
        """Exactly the alerts that fire in the end must be listed; resolved ones are not shown."""
        shown = {_identity(labels) for labels in self._listed(client)}
        firing = {_identity(one.labels) for one in wanted.final.values() if one.status == "firing"}
        if shown != firing:
            raise PeerFailedError(f"{len(firing - shown)} alerts are missing, {len(shown - firing)} should be over")

    def _listed(self, client: httpx.Client, *filters: str) -> list[dict[str, str]]:
        answer = client.get("/api/v2/alerts", params=[("filter", one) for one in filters]).raise_for_status()
        return [one["labels"] for one in answer.json()]


def _posted(alert: PrometheusAlert) -> dict[str, object]:
    times = {"startsAt": alert.starts_at} | ({"endsAt": alert.ends_at} if alert.ends_at else {})
    return {"labels": alert.labels, "annotations": alert.annotations, **times}


def _identity(labels: object) -> bytes:
    return orjson.dumps(labels, option=orjson.OPT_SORT_KEYS)
