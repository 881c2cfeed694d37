"""The storm: troubles of a shop as PagerDuty and Alertmanager would report them, signed, repeated and out of order.

What must come out is known beforehand: one incident a trouble, one disposition a delivery id.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.fakes.alertmanager import deliveries as alertmanager
from infra.fakes.pagerduty import deliveries as pagerduty
from streams.domain.envelope import rfc3339

MINUTE_MS = 60_000
REPEATED = 0.3
RESOLVED = 0.2
DISPLACEMENT = 25
"""How far a delivery may arrive from its place, in deliveries."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong, and how many alerts tell of it."""

    connector: str
    service: str
    name: str
    alerts: int
    severity: str


TROUBLES = (
    Trouble("alertmanager", "checkout", "HighRequestLatency", 80, "critical"),
    Trouble("alertmanager", "payments", "ErrorRateHigh", 50, "critical"),
    Trouble("alertmanager", "search", "PodCrashLooping", 40, "warning"),
    Trouble("alertmanager", "inventory", "DiskWillFillIn4Hours", 15, "warning"),
    Trouble("alertmanager", "gateway", "TLSCertificateExpiresSoon", 5, "info"),
    Trouble("pagerduty", "Checkout API", "p99 latency {n} ms above 800 ms", 30, "P1"),
    Trouble("pagerduty", "Billing", "Queue depth {n} and growing", 12, "P2"),
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook request."""

    connector: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The webhook secrets of the two integrations."""

    alertmanager: str
    pagerduty: str


def storm(now: int, secrets: Secrets, seed: int = 7) -> list[Delivery]:
    """The deliveries in the order of their arrival; equal arguments give equal deliveries (``now`` in milliseconds)."""
    rng = random.Random(seed)  # noqa: S311  a storm that everybody sees alike
    ordered = [delivery for trouble in TROUBLES for delivery in _tell(trouble, now, secrets, rng)]
    arrivals = [(place + rng.uniform(0, DISPLACEMENT), delivery) for place, delivery in enumerate(ordered)]
    arrivals += [(place + rng.uniform(1, 60), delivery) for place, delivery in arrivals if rng.random() < REPEATED]
    return [delivery for _, delivery in sorted(arrivals, key=lambda arrival: arrival[0])]


def _tell(trouble: Trouble, now: int, secrets: Secrets, rng: random.Random) -> Iterator[Delivery]:
    if trouble.connector == "pagerduty":
        yield from _by_pagerduty(trouble, now, secrets.pagerduty, rng)
    else:
        yield from _by_alertmanager(trouble, now, secrets.alertmanager, rng)


def _by_alertmanager(trouble: Trouble, now: int, secret: str, rng: random.Random) -> Iterator[Delivery]:
    alerts = [_alert(trouble, number, now, rng) for number in range(trouble.alerts)]
    alerts += [_over(alert, now, rng) for alert in alerts if rng.random() < RESOLVED]
    while alerts:
        group, alerts = _split(alerts, rng.randint(1, 3))
        body, headers = alertmanager.webhook(group, secret=secret, group_by=("alertname", "service"))
        yield Delivery("alertmanager", body, headers)


def _split(
    alerts: list[alertmanager.PrometheusAlert], size: int
) -> tuple[Sequence[alertmanager.PrometheusAlert], list[alertmanager.PrometheusAlert]]:
    return alerts[:size], alerts[size:]


def _alert(trouble: Trouble, number: int, now: int, rng: random.Random) -> alertmanager.PrometheusAlert:
    labels = {
        "alertname": trouble.name,
        "service": trouble.service,
        "instance": f"{trouble.service}-{number:03}.eu.example.org:9100",
        "severity": trouble.severity,
        "team": "shop",
    }
    annotations = {
        "summary": f"{trouble.name} on {trouble.service}",
        "runbook_url": f"https://runbooks.example.org/{trouble.name}",
    }
    return alertmanager.PrometheusAlert(
        labels, rfc3339(now - rng.randint(3 * MINUTE_MS, 6 * MINUTE_MS)), "", annotations
    )


def _over(alert: alertmanager.PrometheusAlert, now: int, rng: random.Random) -> alertmanager.PrometheusAlert:
    ended = rfc3339(now - rng.randint(0, 2 * MINUTE_MS))
    return alertmanager.PrometheusAlert(alert.labels, alert.starts_at, ended, alert.annotations)


def _by_pagerduty(trouble: Trouble, now: int, secret: str, rng: random.Random) -> Iterator[Delivery]:
    for number in range(trouble.alerts):
        began = now - rng.randint(3 * MINUTE_MS, 6 * MINUTE_MS)
        incident = pagerduty.PagerDutyIncident(
            id=f"P{abs(hash_of(trouble.service)) % 1000:03}{number:04}{now % 10**9:09}",
            title=trouble.name.format(n=rng.randint(801, 4000)),
            service=trouble.service,
            created_at=rfc3339(began),
            number=number + 1,
            priority=trouble.severity,
        )
        steps = [("incident.triggered", began)]
        if rng.random() < RESOLVED:
            steps.append(("incident.resolved", now - rng.randint(0, 2 * MINUTE_MS)))
        for kind, at in steps:
            event_id = f"01{incident.id}{kind.removeprefix('incident.').upper()}"
            body, headers = pagerduty.webhook(
                kind, incident, event_id=event_id, occurred_at=rfc3339(at), secrets=[secret]
            )
            yield Delivery("pagerduty", body, headers)


def hash_of(text: str) -> int:
    """A number from a text, the same in every process."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(text))
