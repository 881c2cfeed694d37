"""The load: real-shaped deliveries of troubles that come and go, from a seed.

Equal seeds give equal troubles, alerts and repeats. Which alerts belong together is known beforehand: each trouble is
one service with one kind of error, and all of it lies within one window and below the growth limits.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from infra.fakes.alertmanager import deliveries as alertmanager
from infra.fakes.pagerduty import deliveries as pagerduty
from infra.torture.ledger import Alert, Expected
from infra.torture.tenants import Tenant
from streams.domain.catalogue import SIGNAL
from streams.domain.envelope import rfc3339

MINUTE_MS = 60_000
REPEATED, RESOLVED, REPORTED, BAD, LARGE = 0.2, 0.2, 0.1, 0.04, 0.01
LIFETIME = (15, 45)
"""How many deliveries tell of one trouble."""

PAGERDUTY_ALERTS = 4
"""A person's action on an incident becomes a call for each of its PagerDuty incidents: few, so that calls stay few."""

CONNECTORS = ("alertmanager", "pagerduty", "cloudevents")
LARGE_BYTES = 300_000
"""More than a record carries: the body goes to object storage first."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request; ``expects`` is, for each id of its answer, what must become of it."""

    tenant: str
    path: str
    body: bytes
    headers: dict[str, str]
    source: str
    expects: tuple[tuple[Expected, Alert | None], ...]


@dataclass(slots=True)
class Trouble:
    """One thing that goes wrong; ``fired`` are the numbers of its alerts that were told of."""

    tenant: Tenant
    connector: str
    name: str
    began: int
    left: int
    fired: list[int] = field(default_factory=list)


class Load:
    """An endless, seeded source of deliveries, of which the share ``repeated`` was sent before."""

    def __init__(self, tenants: Sequence[Tenant], seed: int, repeated: float = REPEATED) -> None:
        self._repeated = repeated
        self._rng = random.Random(seed)  # noqa: S311  a load that can be repeated
        self._seed = seed
        self._count = 0
        self._troubles = [self._trouble(tenant, connector) for tenant in tenants for connector in CONNECTORS]
        self._recent: deque[Delivery] = deque(maxlen=200)

    def next(self) -> Delivery:
        """The next delivery: now and then one that was sent before."""
        if self._recent and self._rng.random() < self._repeated:
            return self._rng.choice(self._recent)
        place = self._rng.randrange(len(self._troubles))
        trouble = self._troubles[place]
        delivery = self._tell(trouble)
        self._recent.append(delivery)
        trouble.left -= 1
        if not trouble.left:
            self._troubles[place] = self._trouble(trouble.tenant, trouble.connector)
        return delivery

    def _trouble(self, tenant: Tenant, connector: str) -> Trouble:
        self._count += 1
        name = f"{connector}-{self._seed}-{self._count:05}"
        return Trouble(tenant, connector, name, time.time_ns() // 1_000_000, self._rng.randint(*LIFETIME))

    def _tell(self, trouble: Trouble) -> Delivery:
        match trouble.connector:
            case "alertmanager":
                return self._by_alertmanager(trouble)
            case "pagerduty":
                return self._by_pagerduty(trouble)
            case _:
                return self._by_cloudevents(trouble)

    def _alert_number(self, trouble: Trouble) -> tuple[int, bool]:
        """Which alert is told of, and whether it fires: a new one, or one that is over."""
        if trouble.fired and self._rng.random() < RESOLVED:
            return self._rng.choice(trouble.fired), False
        if trouble.connector == "pagerduty" and len(trouble.fired) >= PAGERDUTY_ALERTS:
            return self._rng.choice(trouble.fired), True
        trouble.fired.append(len(trouble.fired))
        return trouble.fired[-1], True

    def _at(self, trouble: Trouble, number: int) -> int:
        """When an alert began: of the trouble and the alert alone, so that a repeat tells the same."""
        return trouble.began - 3 * MINUTE_MS + number * 37 % (2 * MINUTE_MS)

    def _by_alertmanager(self, trouble: Trouble) -> Delivery:
        alerts, expects = [], list[tuple[Expected, Alert | None]]()
        for _ in range(self._rng.randint(1, 3)):
            number, firing = self._alert_number(trouble)
            began = self._at(trouble, number)
            labels = {
                "alertname": "ErrorRateHigh",
                "service": trouble.name,
                "instance": f"host-{number:03}.example.org:9100",
                "severity": "critical",
            }
            ended = "" if firing else rfc3339(began + MINUTE_MS)
            annotations = {"summary": f"Errors on {trouble.name}"}
            if self._rng.random() < LARGE:
                annotations["description"] = "x" * LARGE_BYTES
            one = alertmanager.PrometheusAlert(labels, rfc3339(began), ended, annotations)
            alerts.append(one)
            expects.append(("signal", Alert(trouble.name, one.fingerprint, firing)))
        endpoint = trouble.tenant.alertmanager
        body, headers = alertmanager.webhook(alerts, secret=endpoint.secret, group_by=("alertname", "service"))
        if self._rng.random() < BAD:
            body, place = _with_a_bad_alert(body, self._rng)
            expects.insert(place, ("poison", None))
        return Delivery(trouble.tenant.name, endpoint.path, body, headers, endpoint.source, tuple(expects))

    def _by_pagerduty(self, trouble: Trouble) -> Delivery:
        number, firing = self._alert_number(trouble)
        began = self._at(trouble, number)
        id_ = f"P{trouble.name}-{number}".replace("-", "").upper()
        incident = pagerduty.PagerDutyIncident(
            id_, f"Queue depth {1000 + number} and growing", trouble.name, rfc3339(began)
        )
        kind, expected, alert = "incident.triggered", "signal", Alert(trouble.name, id_, firing)
        note = ""
        if not firing:
            kind = "incident.resolved"
            began += MINUTE_MS
        elif self._rng.random() < REPORTED:
            kind = self._rng.choice(("incident.annotated", "incident.priority_updated"))
            expected, alert, note = "kept", Alert("", "", firing=False), "seen by the provider's people"
        endpoint = trouble.tenant.pagerduty
        body, headers = pagerduty.webhook(
            kind,
            incident,
            event_id=f"01{id_}{kind.removeprefix('incident.').upper()}",
            occurred_at=rfc3339(began),
            secrets=[endpoint.secret],
            agent="ada",
            note=note,
        )
        expects: tuple[tuple[Expected, Alert | None], ...]
        expects = (("kept", None),) if expected == "kept" else (("signal", alert),)
        return Delivery(trouble.tenant.name, endpoint.path, body, headers, endpoint.source, expects)

    def _by_cloudevents(self, trouble: Trouble) -> Delivery:
        events, expects = [], list[tuple[Expected, Alert | None]]()
        for _ in range(self._rng.randint(1, 5)):
            number, firing = self._alert_number(trouble)
            fingerprint = f"{trouble.name}/{number}"
            events.append(cloud_event(trouble.name, fingerprint, self._at(trouble, number), firing=firing))
            expects.append(("signal", Alert(trouble.name, fingerprint, firing)))
        headers = {
            "Content-Type": "application/cloudevents-batch+json",
            "Authorization": f"Bearer {trouble.tenant.admin_token}",
        }
        body = orjson.dumps(events)
        return Delivery(
            trouble.tenant.name, "/api/v1/events", body, headers, f"/torture/{trouble.name}", tuple(expects)
        )


def batch(tenant: Tenant, service: str, count: int) -> Delivery:
    """One CloudEvents batch: so many alerts of one trouble of its own, all of them firing."""
    began = time.time_ns() // 1_000_000
    names = [f"{service}/{number}" for number in range(count)]
    headers = {"Content-Type": "application/cloudevents-batch+json", "Authorization": f"Bearer {tenant.admin_token}"}
    body = orjson.dumps([cloud_event(service, name, began, firing=True) for name in names])
    expects = tuple[tuple[Expected, Alert | None], ...](("signal", Alert(service, name, firing=True)) for name in names)
    return Delivery(tenant.name, "/api/v1/events", body, headers, f"/torture/{service}", expects)


def cloud_event(service: str, fingerprint: str, at: int, *, firing: bool) -> dict[str, object]:
    """A canonical signal as a structured CloudEvent; its id is derived, so that telling it again changes nothing."""
    status = "firing" if firing else "resolved"
    return {
        "specversion": "1.0",
        "id": f"{fingerprint}/{status}",
        "source": f"/torture/{service}",
        "type": SIGNAL,
        "time": rfc3339(at if firing else at + MINUTE_MS),
        "data": {
            "title": f"Latency of {service}",
            "status": status,
            "service": service,
            "error_type": "latency",
            "fingerprint": fingerprint,
        },
    }


def _with_a_bad_alert(body: bytes, rng: random.Random) -> tuple[bytes, int]:
    """The group with one alert that says neither firing nor resolved, and its place."""
    document = orjson.loads(body)
    place = rng.randint(0, len(document["alerts"]))
    bad = {**document["alerts"][0], "status": "flapping", "fingerprint": f"bad{rng.getrandbits(48):012x}"}
    document["alerts"].insert(place, bad)
    return orjson.dumps(document), place
