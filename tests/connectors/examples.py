"""One genuine delivery of each connector, for the suites that run over the registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from connectors.kit.contract import Delivery, Integration, Secret
from infra.fakes.alertmanager import deliveries as alertmanager
from infra.fakes.incidentio import webhook as incidentio
from infra.fakes.jira import webhook as jira
from infra.fakes.pagerduty import deliveries as pagerduty
from infra.fakes.servicenow import webhook as servicenow

SECRETS = ("first-secret-of-the-integration", "second-secret-of-the-integration")
AT = "2026-11-22T10:00:00.123456789Z"
AT_MS = 1_795_341_600_123

Sign = Callable[[str], tuple[bytes, dict[str, str]]]


def pagerduty_triggered(secret: str) -> tuple[bytes, dict[str, str]]:
    """A triggered incident."""
    incident = pagerduty.PagerDutyIncident("PINC001", "Checkout: 5xx above 5 %", "checkout", AT, priority="P2")
    return pagerduty.webhook("incident.triggered", incident, event_id="01EVENT", occurred_at=AT, secrets=[secret])


def pagerduty_record(secret: str) -> tuple[bytes, dict[str, str]]:
    """An incident of ours that somebody acknowledged there."""
    incident = pagerduty.PagerDutyIncident(
        "PREC001", "Checkout fails", "checkout", AT, incident_key="inc-5b1c6c0e-int_1"
    )
    return pagerduty.webhook(
        "incident.acknowledged", incident, event_id="01RECORD", occurred_at=AT, secrets=[secret], agent="Ada"
    )


def alertmanager_group(secret: str) -> tuple[bytes, dict[str, str]]:
    """Two alerts, one of them resolved."""
    labels = {"alertname": "HighLatency", "service": "checkout", "severity": "critical", "instance": "web-1"}
    alerts = [
        alertmanager.PrometheusAlert(labels, AT, annotations={"summary": "slow"}),
        alertmanager.PrometheusAlert({**labels, "instance": "web-2"}, AT, "2026-11-22T10:05:00+00:00"),
    ]
    return alertmanager.webhook(alerts, secret=secret)


def cloudevents_structured(secret: str) -> tuple[bytes, dict[str, str]]:
    """A canonical signal in structured mode."""
    headers = {"Content-Type": "application/cloudevents+json", "Authorization": f"Bearer {secret}"}
    return json.dumps(canonical_event()).encode(), headers


def canonical_event(**changes: Any) -> dict[str, Any]:
    """A canonical signal as a CloudEvent."""
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "https://monitor.example.org",
        "type": "com.incidents.signal.v1",
        "time": AT,
        "data": {"title": "Disk full", "service": "storage", "severity": "SEV-2"},
    }
    return {**event, **changes}


def payload(connector: str, name: str) -> bytes:
    """A real-shaped body of ``payloads/``."""
    return (Path(__file__).parent / "payloads" / connector / f"{name}.json").read_bytes()


def servicenow_update(secret: str) -> tuple[bytes, dict[str, str]]:
    """An incident that somebody changed, signed now: the signature covers the time."""
    body = json.dumps({**json.loads(payload("servicenow", "incident_update")), "journal": []}).encode()
    return body, {"Content-Type": "application/json", **servicenow.sign(body, secret)}


def jira_updated(secret: str) -> tuple[bytes, dict[str, str]]:
    """An issue that somebody moved on."""
    body = payload("jira", "issue_updated")
    return body, {"Content-Type": "application/json", **jira.headers("d-1"), **jira.sign(body, secret)}


def incidentio_updated(secret: str) -> tuple[bytes, dict[str, str]]:
    """An incident that somebody renamed, signed now."""
    body = payload("incidentio", "incident_updated")
    headers = {"Content-Type": "application/json", "webhook-id": "msg_1"}
    return body, {**headers, **incidentio.sign(body, secret, headers)}


SIGNED: Mapping[str, Sign] = {
    "pagerduty": pagerduty_triggered,
    "pagerduty_records": pagerduty_record,
    "alertmanager": alertmanager_group,
    "cloudevents": cloudevents_structured,
    "servicenow": servicenow_update,
    "jira": jira_updated,
    "incidentio": incidentio_updated,
}


def signed_anew(connector: str, body: bytes, secret: str) -> dict[str, str]:
    """The headers of the connector's genuine delivery, for another body."""
    headers = SIGNED[connector](secret)[1]
    match connector:
        case "pagerduty" | "pagerduty_records":
            headers["X-PagerDuty-Signature"] = pagerduty.signatures(body, [secret])
        case "servicenow":
            headers |= servicenow.sign(body, secret)
        case "jira":
            headers |= jira.sign(body, secret)
        case "incidentio":
            headers |= incidentio.sign(body, secret, headers)
    return headers


CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "servicenow": {"base_url": "https://acme.service-now.com", "username": "incidents"},
    "jira": {"base_url": "https://acme.atlassian.net", "email": "incidents@acme.example", "project": "OPS"},
    "pagerduty_records": {"service_id": "PSERVICE"},
    "incidentio": {"marker_field_id": "01MARKER"},
}
"""What an integration of the connector needs to be configured with; the others need nothing."""


def delivery(signed: tuple[bytes, dict[str, str]], query: Mapping[str, str] | None = None) -> Delivery:
    """As the endpoint hands it to a connector."""
    body, headers = signed
    return Delivery(body, {name.lower(): value for name, value in headers.items()}, query or {})


def integration(connector: str, config: Mapping[str, Any] | None = None, *secrets: Secret) -> Integration:
    """An integration of this connector."""
    given = CONFIGS.get(connector, {}) if config is None else config
    return Integration("int_1", "acme", connector, connector, given, secrets)
