"""Webhook version 4, and what older and other senders make of it (connectors.md section 5), to messages.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. There is no event id, so one is derived for
each alert from what a repeat leaves the same: repeats and the second of a pair of Alertmanagers give equal ids, while
resolving and firing again (a new ``startsAt``) give new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from connectors.alertmanager.config import severity
from connectors.kit import bearer, limits
from connectors.kit.contract import Delivery, Integration, Message
from connectors.kit.intake import as_object, digest, in_range, ingested_message, misunderstood, signal_message
from streams.domain.envelope import milliseconds
from streams.domain.signals import Signal, SignalStatus

_STATUSES: Final[dict[str, SignalStatus]] = {"firing": "firing", "resolved": "resolved"}
_RUNBOOKS = ("runbook_url", "runbook")


class AlertmanagerReceives:
    """Webhooks with a group of alerts."""

    content_types = frozenset({"application/json"})

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
        """By bearer token or ``?key=`` in the URL: Alertmanager signs nothing."""
        del now
        return bearer.verify(delivery, secrets, in_url=True)

    def parse(self, integration: Integration, delivery: Delivery, document: Any) -> list[Message]:
        """A message for each alert, firing and resolved mixed: one that is wrong does not hold back the others."""
        group = as_object(document)
        alerts = group.get("alerts")
        if not isinstance(alerts, list):
            delivery_id = digest(integration.source, delivery.body)
            return [misunderstood(integration, delivery_id, delivery.body, "no list of alerts")]
        shared = _shared(group)
        whole = delivery.body if len(alerts) == 1 else b""
        messages = [_message(integration, shared, alert, whole) for alert in alerts]
        if not alerts or _truncated(group):
            messages.append(_incomplete(integration, group, delivery.body))
        return messages


def _shared(group: Mapping[str, Any]) -> dict[str, str]:
    """What every alert's raw body repeats of its group: what it takes to parse it anew to the same id, and no more."""
    return {
        "version": limits.text(group.get("version")),
        "receiver": limits.identity(group.get("receiver")),
        "groupKey": limits.identity(group.get("groupKey")),
        "externalURL": limits.text(group.get("externalURL"), limits.LABEL_CHARACTERS),
    }


def _message(integration: Integration, group: Mapping[str, str], alert: Any, whole: bytes) -> Message:
    """``raw`` is again a webhook body, with this alert alone, so that it can be parsed anew by itself."""
    raw = whole or orjson.dumps({**group, "alerts": [alert]})
    try:
        return signal_message(integration, *_signal(integration, group, as_object(alert), raw))
    except (ValueError, OverflowError) as error:
        return misunderstood(integration, digest(integration.source, raw), raw, f"alert: {error}")


def _signal(
    integration: Integration, group: Mapping[str, str], alert: Mapping[str, Any], raw: bytes
) -> tuple[str, Signal]:
    status = _STATUSES.get(str(alert.get("status")))
    if status is None:
        raise ValueError(f"status is {limits.text(alert.get('status'))!r}, neither firing nor resolved")
    labels = limits.mapping(alert.get("labels"))
    annotations = limits.mapping(alert.get("annotations"), limits.TEXT_CHARACTERS)
    fingerprint = limits.identity(alert.get("fingerprint")) or _fingerprint(labels)
    started, ended = limits.text(alert.get("startsAt")), limits.text(alert.get("endsAt"))
    began = milliseconds(started)
    over = milliseconds(ended) if status == "resolved" and ended else 0
    signal = Signal(
        title=_title(labels, annotations),
        status=status,
        fingerprint=fingerprint,
        severity=severity(labels.get("severity", ""), integration.config),
        service=_first(labels, "service", "job"),
        host=_first(labels, "instance", "node", "pod"),
        error_type=_first(labels, "error_type", "alertname"),
        rule=labels.get("alertname", "")[: limits.NAME_CHARACTERS],
        description=_first(annotations, "description", "message", limit=limits.TEXT_CHARACTERS),
        event_time=in_range(max(over, began)),
        connector=integration.connector,
        integration_id=integration.integration_id,
        links=_links(group, alert, annotations),
        labels=labels,
        raw=raw,
    )
    identity = (
        integration.source,
        group["receiver"],
        group["groupKey"],
        fingerprint,
        status,
        started,
        ended if status == "resolved" else "",
    )
    return digest(*identity), signal


def _title(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    found = annotations.get("summary") or labels.get("alertname") or "Alert without a name"
    return found[: limits.TITLE_CHARACTERS]


def _fingerprint(labels: Mapping[str, str]) -> str:
    """For senders that give none: what it would be made of, the sorted labels."""
    if not labels:
        raise ValueError("neither fingerprint nor labels")
    return digest(*(part for pair in sorted(labels.items()) for part in pair))


def _first(values: Mapping[str, str], *names: str, limit: int = limits.NAME_CHARACTERS) -> str:
    for name in names:
        if found := values.get(name):
            return found[:limit]
    return ""


def _links(group: Mapping[str, str], alert: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, str]:
    found = {
        "source": limits.text(alert.get("generatorURL"), limits.LABEL_CHARACTERS),
        "runbook": _first(annotations, *_RUNBOOKS, limit=limits.LABEL_CHARACTERS),
        "alertmanager": group["externalURL"],
    }
    return {name: link for name, link in found.items() if link}


def _truncated(group: Mapping[str, Any]) -> int:
    count = group.get("truncatedAlerts")
    return count if isinstance(count, int) and count > 0 else 0


def _incomplete(integration: Integration, group: Mapping[str, Any], raw: bytes) -> Message:
    """A note that alerts are missing from this delivery: nothing may be inferred about them."""
    left_out = _truncated(group)
    kind, text = ("truncated", f"{left_out} alerts were left out by max_alerts") if left_out else ("empty", "no alerts")
    delivery_id = digest(integration.source, raw, kind)
    return ingested_message(integration, delivery_id, f"alertmanager.{kind}", raw, text=text)
