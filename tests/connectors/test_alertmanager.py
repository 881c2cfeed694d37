"""Alertmanager: what its webhooks become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from connectors.alertmanager.config import check
from connectors.alertmanager.inbound import AlertmanagerReceives
from connectors.kit.contract import Delivery, Message
from infra.fakes.alertmanager.deliveries import NO_END, PrometheusAlert, webhook
from streams.domain.signals import ProviderIngested, Signal
from tests.connectors.examples import AT, AT_MS, delivery, integration

LABELS = {"alertname": "HighLatency", "job": "checkout", "severity": "page", "node": "n1"}
ENDED, ENDED_MS = "2026-11-22T12:00:00+02:00", 1_795_341_600_000


def parse(document: Any, config: Mapping[str, Any] | None = None) -> list[Message]:
    body = json.dumps(document).encode()
    return AlertmanagerReceives().parse(integration("alertmanager", config), Delivery(body, {}), document)


def group(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}", "receiver": "r", "alerts": list(alerts), **more}


def alert(**changes: Any) -> dict[str, Any]:
    whole = {"status": "firing", "labels": LABELS, "startsAt": AT, "endsAt": NO_END, "fingerprint": "f1"}
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def signal(document: dict[str, Any], config: Mapping[str, Any] | None = None) -> Signal:
    [(_, data)] = parse(document, config)
    assert isinstance(data, Signal)
    return data


def ids(document: dict[str, Any]) -> list[str]:
    return [envelope.id for envelope, _ in parse(document)]


def test_an_alert_becomes_a_signal() -> None:
    found = signal(
        group(alert(annotations={"summary": "slow", "description": "p99 above 2 s", "runbook_url": "http://r"}))
    )
    assert (found.title, found.description) == ("slow", "p99 above 2 s")
    assert (found.service, found.host, found.rule, found.error_type) == ("checkout", "n1", "HighLatency", "HighLatency")
    assert (found.severity, found.status, found.fingerprint) == ("SEV-1", "firing", "f1")
    assert found.event_time == AT_MS
    assert found.links["runbook"] == "http://r"


def test_a_resolved_one_has_the_time_of_its_end() -> None:
    found = signal(group(alert(status="resolved", startsAt="2026-11-22T09:00:00Z", endsAt=ENDED)))
    assert (found.status, found.event_time) == ("resolved", ENDED_MS)


def test_a_group_may_hold_both() -> None:
    alerts = [PrometheusAlert(LABELS, AT), PrometheusAlert({**LABELS, "node": "n2"}, AT, ENDED)]
    one = delivery(webhook(alerts, secret="s"))
    messages = AlertmanagerReceives().parse(integration("alertmanager"), one, json.loads(one.body))
    assert [data.status for _, data in messages if isinstance(data, Signal)] == ["firing", "resolved"]


def test_repeats_and_the_other_of_a_pair_give_the_same_ids() -> None:
    assert ids(group(alert())) == ids(group(alert(endsAt="2026-11-22T10:10:00Z"), externalURL="http://other"))


@pytest.mark.parametrize(
    "changes",
    [{"startsAt": ENDED}, {"fingerprint": "f2"}, {"status": "resolved", "endsAt": ENDED}],
)
def test_what_happened_anew_has_another_id(changes: dict[str, Any]) -> None:
    assert ids(group(alert())) != ids(group(alert(**changes)))


def test_each_end_of_an_alert_has_its_own_id() -> None:
    first = group(alert(status="resolved", endsAt=ENDED))
    assert ids(first) != ids(group(alert(status="resolved", endsAt="2026-11-22T13:00:00+02:00")))


def test_old_versions_have_no_fingerprint_and_a_numeric_group_key() -> None:
    first = signal(group(alert(fingerprint=None), groupKey=12345, version="3"))
    reordered = signal(group(alert(fingerprint=None, labels=dict(reversed(LABELS.items())))))
    assert first.fingerprint == reordered.fingerprint != ""
    assert (
        first.fingerprint != signal(group(alert(fingerprint=None, labels={**LABELS, "severity": "info"}))).fingerprint
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"status": "pending"},
        {"startsAt": "yesterday"},
        {"startsAt": None},
        {"startsAt": "2026-11-22T10:00:00"},
        {"status": "resolved", "endsAt": "later"},
        {"fingerprint": None, "labels": {}},
    ],
)
def test_a_bad_alert_does_not_hold_back_the_good_ones(bad: dict[str, Any]) -> None:
    messages = parse(group(alert(), alert(**bad), alert(fingerprint="f3")))
    kinds = [type(data) for _, data in messages]
    assert kinds == [Signal, ProviderIngested, Signal]
    problem = messages[1][1]
    assert isinstance(problem, ProviderIngested)
    assert problem.problem.startswith("alert: ")
    assert json.loads(problem.raw)["alerts"] == [alert(**bad)]


@pytest.mark.parametrize("bad", [None, 3, "x", []])
def test_an_alert_that_is_no_object_is_a_problem(bad: Any) -> None:
    [(_, data)] = parse(group(bad))
    assert isinstance(data, ProviderIngested)
    assert data.problem


@pytest.mark.parametrize("document", [None, [], {}, {"alerts": {}}, "x"])
def test_what_is_no_group_is_a_problem(document: Any) -> None:
    [(_, data)] = parse(document)
    assert isinstance(data, ProviderIngested)
    assert data.problem == "no list of alerts"


def test_alerts_that_were_left_out_are_noted() -> None:
    messages = parse(group(alert(), truncatedAlerts=3))
    assert [type(data) for _, data in messages] == [Signal, ProviderIngested]
    note = messages[1][1]
    assert isinstance(note, ProviderIngested)
    assert (note.provider_type, note.problem) == ("alertmanager.truncated", "")
    assert note.text.startswith("3 alerts")


def test_an_empty_group_is_kept() -> None:
    [(_, data)] = parse(group())
    assert isinstance(data, ProviderIngested)
    assert (data.provider_type, data.problem) == ("alertmanager.empty", "")


def test_severities_are_the_integrations_to_say() -> None:
    own = {"severities": {"page": "SEV-2", "Sev0": "SEV-1"}}
    assert signal(group(alert()), own).severity == "SEV-2"
    assert signal(group(alert(labels={**LABELS, "severity": "Sev0"})), own).severity == "SEV-1"
    assert signal(group(alert(labels={**LABELS, "severity": "WARNING"})), own).severity == "SEV-3"
    assert check(own) == ""
    assert "SEV-9" not in check({"severities": {"page": "SEV-9"}})
    assert "page" in check({"severities": {"page": "SEV-9"}})
    assert check({"other": 1})


def test_the_secret_may_be_in_the_url() -> None:
    verify = AlertmanagerReceives().verify
    assert verify(Delivery(b"", {}, {"key": "s"}), ["s"], 0)
    assert not verify(Delivery(b"", {}, {"key": "x"}), ["s"], 0)
    assert not verify(Delivery(b"", {"authorization": "Basic s"}), ["s"], 0)
