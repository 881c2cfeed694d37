"""PagerDuty: what its webhooks become."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.kit.contract import Delivery
from connectors.kit.markers import marker
from connectors.pagerduty.config import check
from connectors.pagerduty.inbound import PagerDutyReceives, error_type, severity
from connectors.pagerduty.signature import sign, verify
from infra.fakes.pagerduty import deliveries
from streams.domain.catalogue import PROVIDER_INGESTED
from streams.domain.signals import ProviderIngested, Signal
from tests.connectors.examples import AT, AT_MS, SECRETS, delivery, integration

INCIDENT = deliveries.PagerDutyIncident("PINC1", "Checkout down", "checkout", AT, incident_key="checkout/down")


def parsed(
    event_type: str, incident: deliveries.PagerDutyIncident = INCIDENT, **more: Any
) -> Signal | ProviderIngested:
    signed = deliveries.webhook(event_type, incident, event_id="01E", occurred_at=AT, secrets=SECRETS, **more)
    one = delivery(signed)
    [(envelope, data)] = PagerDutyReceives().parse(integration("pagerduty"), one, json.loads(one.body))
    assert (envelope.source, envelope.id) == ("/integrations/pagerduty/int_1", "01E")
    assert data.raw == one.body
    assert isinstance(data, Signal | ProviderIngested)
    return data


def parse(document: Any) -> ProviderIngested:
    body = json.dumps(document).encode()
    [(_, data)] = PagerDutyReceives().parse(integration("pagerduty"), Delivery(body, {}), document)
    assert isinstance(data, ProviderIngested)
    return data


def test_the_header_may_carry_several_signatures_and_other_versions() -> None:
    body, right = b'{"event":{}}', sign(b'{"event":{}}', "a")
    assert verify(body, f"v0=abc, v1=00, {right}", ["a"])
    assert not verify(body, right.replace("v1=", "v2="), ["a"])
    assert not verify(body + b" ", right, ["a"])


def test_the_header_is_read_only_so_far() -> None:
    body = b"{}"
    assert not verify(body, "v1=00," * 100 + sign(body, "a"), ["a"])


def test_a_signature_as_openssl_makes_it() -> None:
    # printf '{"event":{}}' | openssl dgst -sha256 -hmac secret
    assert sign(b'{"event":{}}', "secret") == "v1=2c984a26b96792f49173390b114619a17f5699a0bb42f13aff472b980b3080b5"


@pytest.mark.parametrize(
    ("event_type", "status"),
    [("incident.triggered", "firing"), ("incident.reopened", "firing"), ("incident.resolved", "resolved")],
)
def test_incidents_become_signals(event_type: str, status: str) -> None:
    signal = parsed(event_type)
    assert isinstance(signal, Signal)
    assert signal.status == status
    assert (signal.fingerprint, signal.external_id) == ("PINC1", "PINC1")
    assert (signal.title, signal.service, signal.host) == ("Checkout down", "checkout", "")
    assert signal.event_time == AT_MS
    assert signal.labels["pagerduty_incident_key"] == "checkout/down"
    assert signal.links == {"pagerduty": "https://acme.pagerduty.com/incidents/PINC1"}


def test_an_acknowledgement_asks_for_one() -> None:
    data = parsed("incident.acknowledged", agent="Ada")
    assert isinstance(data, ProviderIngested)
    assert (data.action, data.external_id, data.actor) == ("acknowledge", "PINC1", "pagerduty:Ada")


def test_a_note_is_taken_over_but_not_our_own() -> None:
    theirs = parsed("incident.annotated", note="rolled back", agent="Ada")
    ours = parsed("incident.annotated", note=f"rolled back\n\n{marker('8d6c-1')}")
    assert isinstance(theirs, ProviderIngested)
    assert isinstance(ours, ProviderIngested)
    assert (theirs.action, theirs.text, theirs.external_id) == ("note", "rolled back", "PINC1")
    assert ours.action == "none"


@pytest.mark.parametrize("event_type", ["incident.priority_updated", "service.updated", "incident.never_heard_of"])
def test_other_types_are_kept_and_ask_for_nothing(event_type: str) -> None:
    data = parsed(event_type)
    assert isinstance(data, ProviderIngested)
    assert (data.action, data.problem, data.provider_type) == ("none", "", event_type)


def test_a_ping_creates_nothing() -> None:
    one = delivery(deliveries.ping("01P", AT, SECRETS))
    [(envelope, data)] = PagerDutyReceives().parse(integration("pagerduty"), one, json.loads(one.body))
    assert isinstance(data, ProviderIngested)
    assert (envelope.type, data.action, data.provider_type) == (PROVIDER_INGESTED, "none", "pagey.ping")


@pytest.mark.parametrize("document", [None, [], "x", {}, {"event": 1}, {"event": {"event_type": 3}}])
def test_what_is_no_event_is_a_problem(document: Any) -> None:
    assert parse(document).problem


def test_an_incident_without_an_id_is_a_problem() -> None:
    assert "without an incident id" in parse({"event": {"event_type": "incident.triggered", "data": {}}}).problem


def test_an_event_without_an_id_gets_a_derived_one() -> None:
    document = {"event": {"event_type": "incident.triggered", "data": {"id": "P1"}}}
    body = json.dumps(document).encode()
    first, second = (
        PagerDutyReceives().parse(integration("pagerduty"), Delivery(body, {}), document)[0][0].id for _ in range(2)
    )
    assert first == second != ""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"priority": {"summary": "P1"}, "urgency": "low"}, "SEV-1"),
        ({"priority": {"summary": "P5 - trivial"}}, "SEV-5"),
        ({"priority": {"summary": "Major"}, "urgency": "low"}, "SEV-4"),
        ({"priority": None, "urgency": "high"}, "SEV-2"),
        ({"urgency": ["odd"]}, "SEV-3"),
        ({}, "SEV-3"),
    ],
)
def test_severity(data: dict[str, Any], expected: str) -> None:
    assert severity(data) == expected


def test_titles_that_differ_in_numbers_are_the_same_trouble() -> None:
    assert error_type("5xx above 5.3 % on web-17 (0x3fa9)") == error_type("5xx above 12 % on web-4 (0x00ff)")
    assert error_type("Disk full") != error_type("Disk slow")
    assert error_type("Bad cafe") == "bad cafe"


def test_a_clock_out_of_range_is_unknown() -> None:
    one = delivery(
        deliveries.webhook("incident.triggered", INCIDENT, event_id="1", occurred_at="soon", secrets=SECRETS)
    )
    [(envelope, data)] = PagerDutyReceives().parse(integration("pagerduty"), one, json.loads(one.body))
    assert isinstance(data, Signal)
    assert (data.event_time, envelope.time) == (0, "")


def test_long_and_odd_texts_are_cut_but_identities_are_not() -> None:
    signal = parsed("incident.triggered", replace(INCIDENT, id="P" * 2000, title="a\0" * 2000))
    assert isinstance(signal, Signal)
    assert len(signal.title) == 500
    assert "\0" not in signal.title
    assert signal.external_id.startswith("sha256:")


def test_configuration_is_checked() -> None:
    assert check({"api_url": "https://api.pagerduty.com", "from_email": "ops@example.org"}) == ""
    assert "api_urll" in check({"api_urll": "x"})
    assert "host must be" in check({"api_url": "https://169.254.169.254"})
    assert check({"api_url": "http://127.0.0.1:8099"}) == ""
