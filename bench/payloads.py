"""Real-shaped deliveries: Alertmanager groups and signed PagerDuty webhooks, with duplicates and resolves.

An alert has the labels and annotations of the Prometheus mixins for Kubernetes; a PagerDuty body has every member that
a V3 webhook has. Of the alerts 30 % repeat an earlier delivery (same id) and 20 % resolve an alert that fired. The two
distributions of keys: ``storm`` (Zipf over the services: a few of them have most of the alerts) and ``spread`` (all
services alike).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from bench.http import request
from infra.fakes.alertmanager import deliveries as alertmanager
from infra.fakes.alertmanager.deliveries import PrometheusAlert
from infra.fakes.pagerduty import deliveries as pagerduty
from infra.fakes.pagerduty.deliveries import PagerDutyIncident
from infra.torture.tenants import Tenant

DUPLICATES, RESOLVES = 0.3, 0.2
Keys = Literal["storm", "spread"]
_REMEMBERED = 400
_KINDS = ("KubePodCrashLooping", "HighRequestLatency", "TargetDown", "NodeFilesystemAlmostOutOfSpace")


@dataclass(frozen=True, slots=True)
class Group:
    """A request with several alerts in it; ``fresh`` of them are no duplicates."""

    request: bytes
    alerts: int
    fresh: int
    body_bytes: int


class _Service:
    """What one service has sent so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[PrometheusAlert] = []
        self.firing: list[PrometheusAlert] = []
        self.count = 0


def groups(
    tenant: Tenant, count: int, *, size: int = 100, keys: Keys = "storm", seed: int = 1, services: int = 200
) -> Iterator[Group]:
    """Webhooks of Alertmanager, each with a group of ``size`` alerts of one service."""
    for found in alert_groups(tenant.name, count, size=size, keys=keys, seed=seed, services=services):
        body, headers = alertmanager.webhook(
            [alert for alert, _ in found], secret=tenant.alertmanager.secret, group_by=("service",)
        )
        fresh = sum(is_fresh for _, is_fresh in found)
        yield Group(request("POST", tenant.alertmanager.path, headers, body), size, fresh, len(body))


def alert_groups(
    name: str, count: int, *, size: int = 100, keys: Keys = "storm", seed: int = 1, services: int = 200
) -> Iterator[list[tuple[PrometheusAlert, bool]]]:
    """The alerts of each group that a tenant of this name is sent, and whether each is fresh (no duplicate)."""
    choice = random.Random(f"{name}-{seed}")
    made = [_Service(f"svc-{seed}-{n:03d}") for n in range(services)]
    weights = list(accumulate(1 / (n + 1) if keys == "storm" else 1 for n in range(services)))
    started = int(time.time()) - 600
    for _ in range(count):
        [service] = choice.choices(made, cum_weights=weights)
        yield [_next(choice, service, started) for _ in range(size)]


def _next(choice: random.Random, service: _Service, started: int) -> tuple[PrometheusAlert, bool]:
    kind = choice.random()
    if service.sent and kind < DUPLICATES:
        return choice.choice(service.sent[-_REMEMBERED:]), False
    if service.firing and kind < DUPLICATES + RESOLVES:
        old = service.firing.pop(choice.randrange(len(service.firing)))
        alert = PrometheusAlert(old.labels, old.starts_at, _time(started + 300 + service.count % 300), old.annotations)
    else:
        alert = _alert(choice, service, _time(started + service.count % 300))
        service.firing.append(alert)
    service.count += 1
    service.sent.append(alert)
    return alert, True


def _alert(choice: random.Random, service: _Service, starts_at: str) -> PrometheusAlert:
    kind, number = choice.choice(_KINDS), service.count
    pod = f"{service.name}-7c9d8f6b5-{number:05x}"
    labels = {
        "alertname": kind,
        "service": service.name,
        "severity": choice.choice(("critical", "warning", "warning")),
        "cluster": "eu-central-1-prod",
        "namespace": f"team-{len(service.name) % 7}",
        "pod": pod,
        "container": "app",
        "instance": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:9100",
        "job": "kube-state-metrics",
        "prometheus": "monitoring/k8s",
    }
    annotations = {
        "summary": f"{kind} on {service.name}",
        "description": f"Pod team/{pod} (app) has been in a bad state for longer than 15 minutes.",
        "runbook_url": f"https://runbooks.prometheus-operator.dev/runbooks/kubernetes/{kind.lower()}",
    }
    return PrometheusAlert(labels, starts_at, annotations=annotations)


def fresh(tenant: Tenant, count: int, *, seed: int = 1, services: int = 200) -> Iterator[bytes]:
    """Webhooks of Alertmanager with one new alert each."""
    for alert in alerts(f"{tenant.name}-{seed}", count, services=services):
        body, headers = alertmanager.webhook([alert], secret=tenant.alertmanager.secret, group_by=("service",))
        yield request("POST", tenant.alertmanager.path, headers, body)


def alerts(name: str, count: int, *, services: int = 200) -> Iterator[PrometheusAlert]:
    """Firing alerts, all different; the names of the services begin with ``name``."""
    choice = random.Random(name)
    made = [_Service(f"svc-{name}-{n:03d}") for n in range(services)]
    started = int(time.time()) - 600
    for n in range(count):
        service = choice.choice(made)
        service.count = n
        yield _alert(choice, service, _time(started + n % 300))


def single_webhooks(tenant: Tenant, count: int, *, seed: int = 1, services: int = 200) -> Iterator[bytes]:
    """Requests of PagerDuty with one event each, signed."""
    choice = random.Random(f"{tenant.name}-{seed}")
    sent: list[bytes] = []
    firing: list[PagerDutyIncident] = []
    for n in range(count):
        kind = choice.random()
        if sent and kind < DUPLICATES:
            yield choice.choice(sent[-_REMEMBERED:])
            continue
        if firing and kind < DUPLICATES + RESOLVES:
            event_type, incident = "incident.resolved", firing.pop(choice.randrange(len(firing)))
        else:
            service = f"svc-{seed}-{choice.randrange(services):03d}"
            incident = PagerDutyIncident(
                f"Q{seed:X}{n:011X}",
                f"Latency of {service} above 2 s on node-{n % 50}",
                service,
                _time(int(time.time())),
                n + 1,
            )
            event_type = "incident.triggered"
            firing.append(incident)
        body, headers = pagerduty.webhook(
            event_type,
            incident,
            event_id=f"01{tenant.name[:4].upper()}{seed:02X}{n:018X}",
            occurred_at=_time(int(time.time())),
            secrets=[tenant.pagerduty.secret],
        )
        sent.append(request("POST", tenant.pagerduty.path, headers, body))
        yield sent[-1]


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
