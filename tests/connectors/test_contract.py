"""What every connector must do, over the registry: a new one is tested the day it appears."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

import connectors
from connectors.kit.contract import Delivery, Receives, Secret
from connectors.registry import CONNECTORS
from streams.codec import cloudevents
from streams.domain.catalogue import SIGNAL
from streams.domain.signals import Signal
from streams.domain.tickets import TICKET_OBSERVED, TicketObserved
from tests.connectors.examples import SECRETS, SIGNED, delivery, integration

NOW = int(time.time() * 1000)  # where a signature covers the time, the example is signed now
RECEIVING = sorted(name for name, connector in CONNECTORS.items() if connector.receives)


def receives(name: str) -> Receives:
    found = CONNECTORS[name].receives
    assert found is not None
    return found


def test_every_folder_is_registered_and_has_an_example() -> None:
    root = Path(connectors.__file__).parent
    folders = {path.parent.name for path in root.glob("*/__init__.py")} - {"kit"}
    assert folders == {connector.partition("_")[0] for connector in CONNECTORS}
    assert set(RECEIVING) == set(SIGNED)


@pytest.mark.parametrize("name", RECEIVING)
def test_a_genuine_delivery_is_verified(name: str) -> None:
    assert receives(name).verify(delivery(SIGNED[name](SECRETS[0])), SECRETS[:1], NOW)


@pytest.mark.parametrize("name", RECEIVING)
def test_both_secrets_count_while_a_rotation_overlaps(name: str) -> None:
    for secret in SECRETS:
        assert receives(name).verify(delivery(SIGNED[name](secret)), SECRETS, NOW)


@pytest.mark.parametrize("name", RECEIVING)
def test_another_secret_is_refused(name: str) -> None:
    assert not receives(name).verify(delivery(SIGNED[name]("another")), SECRETS, NOW)


@pytest.mark.parametrize("name", RECEIVING)
@pytest.mark.parametrize("secrets", [(), ("",)])
def test_no_secret_closes_the_endpoint(name: str, secrets: tuple[str, ...]) -> None:
    assert not receives(name).verify(delivery(SIGNED[name]("")), secrets, NOW)
    assert not receives(name).verify(delivery(SIGNED[name](SECRETS[0])), secrets, NOW)


@pytest.mark.parametrize("name", RECEIVING)
def test_a_missing_signature_is_refused(name: str) -> None:
    body, _ = SIGNED[name](SECRETS[0])
    assert not receives(name).verify(Delivery(body, {"content-type": "application/json"}), SECRETS, NOW)


@pytest.mark.parametrize("name", RECEIVING)
@pytest.mark.parametrize("junk", ["", "v1=", "Bearer", "Bearer ", "Bearer \xff", "v1=\xff,,,v1=", "," * 5000])
def test_junk_in_place_of_a_signature_is_refused(name: str, junk: str) -> None:
    body, _ = SIGNED[name](SECRETS[0])
    named = ("x-pagerduty-signature", "authorization", "x-hub-signature", "x-incidents-signature")
    headers = {**dict.fromkeys((*named, "webhook-signature", "svix-signature"), junk), "webhook-id": "msg_1"}
    headers |= {"x-incidents-timestamp": str(NOW // 1000), "webhook-timestamp": str(NOW // 1000)}
    assert not receives(name).verify(Delivery(body, headers, {"key": junk}), SECRETS, NOW)


def test_an_expired_secret_does_not_count() -> None:
    old, new = Secret("webhook", "old", expires_at=NOW), Secret("webhook", "new")
    token = Secret("api_token", "token")
    assert integration("pagerduty", None, new, old, token).valid("webhook", NOW) == ["new"]
    assert integration("pagerduty", None, new, old, token).valid("webhook", NOW - 1) == ["new", "old"]


@pytest.mark.parametrize("name", RECEIVING)
def test_the_example_becomes_what_the_codec_carries(name: str) -> None:
    one = delivery(SIGNED[name](SECRETS[0]))
    messages = receives(name).parse(integration(name), one, json.loads(one.body))
    assert messages
    for envelope, data in messages:
        assert envelope.tenantid == "acme"
        assert (data.connector, data.integration_id) == (name, "int_1")
        if CONNECTORS[name].tickets:
            assert envelope.type == TICKET_OBSERVED
            assert isinstance(data, TicketObserved)
            assert data.external_id
            assert data.updated_at
            assert data.fields
        else:
            assert envelope.type == SIGNAL
            assert isinstance(data, Signal)
            assert data.title
            assert data.event_time
        value, headers = cloudevents.encode(envelope, data)
        assert cloudevents.decode(headers, value) == (envelope, data)


@pytest.mark.parametrize("name", RECEIVING)
def test_a_replayed_delivery_has_the_same_identity(name: str) -> None:
    one = delivery(SIGNED[name](SECRETS[0]))
    again = delivery(SIGNED[name](SECRETS[1]))
    document = json.loads(one.body)
    first, second = (receives(name).parse(integration(name), each, document) for each in (one, again))
    assert [(e.source, e.id) for e, _ in first] == [(e.source, e.id) for e, _ in second]
    assert len({e.id for e, _ in first}) == len(first)


@pytest.mark.parametrize("name", RECEIVING)
def test_a_raw_body_can_be_parsed_again_by_itself(name: str) -> None:
    one = delivery(SIGNED[name](SECRETS[0]))
    for envelope, data in receives(name).parse(integration(name), one, json.loads(one.body)):
        again = replace(one, body=data.raw)
        assert receives(name).parse(integration(name), again, json.loads(data.raw)) == [(envelope, data)]


@pytest.mark.parametrize("name", RECEIVING)
def test_secrets_do_not_show(name: str) -> None:
    shown = repr(integration(name, None, Secret("webhook", SECRETS[0]), Secret("api_token", SECRETS[1])))
    assert SECRETS[0] not in shown
    assert SECRETS[1] not in shown
