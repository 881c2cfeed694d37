"""Webhooks of Alertmanager, version 4 (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NO_END = "0001-01-01T00:00:00Z"
"""Go's zero time, which stands for "not over"."""


@dataclass(frozen=True, slots=True)
class PrometheusAlert:
    """One alert; times are RFC 3339 with up to nanoseconds, an empty ``ends_at`` means that it is firing."""

    labels: Mapping[str, str]
    starts_at: str
    ends_at: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``firing`` or ``resolved``."""
        return "resolved" if self.ends_at else "firing"

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the labels, as long as Alertmanager's own."""
        text = "\xff".join(f"{name}\xff{value}" for name, value in sorted(self.labels.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def webhook(
    alerts: Sequence[PrometheusAlert],
    *,
    secret: str,
    receiver: str = "incidents",
    group_by: Sequence[str] = ("alertname",),
    truncated: int = 0,
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one notification of a group; the secret goes as a bearer token."""
    group = {name: alerts[0].labels[name] for name in group_by if alerts and name in alerts[0].labels}
    document = {
        "receiver": receiver,
        "status": "firing" if any(alert.status == "firing" for alert in alerts) else "resolved",
        "alerts": [_alert(alert) for alert in alerts],
        "groupLabels": group,
        "commonLabels": _shared([alert.labels for alert in alerts]),
        "commonAnnotations": _shared([alert.annotations for alert in alerts]),
        "externalURL": "http://alertmanager.example.org:9093",
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f'{name}="{value}"' for name, value in group.items()) + "}",
        "truncatedAlerts": truncated,
    }
    body = json.dumps(document, separators=(",", ":")).encode() + b"\n"  # Go's encoder ends with a line feed
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Alertmanager/0.28.0",
        "Authorization": f"Bearer {secret}",
    }
    return body, headers


def _alert(alert: PrometheusAlert) -> dict[str, Any]:
    return {
        "status": alert.status,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": alert.starts_at,
        "endsAt": alert.ends_at or NO_END,
        "generatorURL": "http://prometheus.example.org:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
        "fingerprint": alert.fingerprint,
    }


def _shared(maps: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not maps:
        return {}
    return {name: value for name, value in maps[0].items() if all(one.get(name) == value for one in maps)}
