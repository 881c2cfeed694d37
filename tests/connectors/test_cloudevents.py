"""CloudEvents: the three modes, canonical events, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from connectors.cloudevents.inbound import CloudEventsReceives
from connectors.kit.contract import Delivery, Message, Unparseable
from streams.domain.envelope import milliseconds
from streams.domain.signals import ProviderIngested, Signal
from tests.connectors.examples import AT, AT_MS, canonical_event, integration

STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
MAPPING = {"mapping": {"rules": [{"type": "com.example.*", "fields": {"title": {"path": "$.data.name"}}}]}}


def parse(document: Any, headers: Mapping[str, str] = STRUCTURED, config: Any = None) -> list[Message]:
    one = Delivery(orjson.dumps(document), headers)
    return CloudEventsReceives().parse(integration("cloudevents", config), one, document)


def refused(document: Any, headers: Mapping[str, str] = STRUCTURED, config: Any = None) -> Unparseable:
    with pytest.raises(Unparseable) as caught:
        parse(document, headers, config)
    return caught.value


def test_a_canonical_event_keeps_the_producers_identity() -> None:
    [(envelope, data)] = parse(canonical_event(traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01"))
    assert isinstance(data, Signal)
    assert (envelope.source, envelope.id) == ("https://monitor.example.org", "e-1")
    assert envelope.time == "2026-11-22T10:00:00.123Z"
    assert envelope.traceparent.startswith("00-")
    assert (data.title, data.service, data.severity, data.event_time) == ("Disk full", "storage", "SEV-2", AT_MS)


def test_the_sdk_and_we_read_the_same() -> None:
    event = canonical_event()
    attributes = {name: value for name, value in event.items() if name not in {"data", "time"}}
    attributes |= {"subject": 'größe "x" %', "datacontenttype": "application/json"}
    made = CloudEvent(dict(attributes), event["data"])
    structured, binary = to_structured_event(made), to_binary_event(made)
    first = parse(json.loads(structured.body), _lower(structured.headers))
    second = parse(json.loads(binary.body), _lower(binary.headers))
    assert [e for e, _ in first] == [e for e, _ in second]
    assert [d.title for _, d in first if isinstance(d, Signal)] == ["Disk full"]
    assert json.loads(second[0][1].raw)["subject"] == 'größe "x" %'


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_data_may_be_in_base64() -> None:
    event = canonical_event()
    event["data_base64"] = base64.b64encode(orjson.dumps(event.pop("data"))).decode()
    [(_, data)] = parse(event)
    assert isinstance(data, Signal)
    assert data.title == "Disk full"


def test_a_batch_becomes_a_message_each() -> None:
    messages = parse([canonical_event(id=str(n)) for n in range(3)], BATCH)
    assert [envelope.id for envelope, _ in messages] == ["0", "1", "2"]
    assert parse([], BATCH) == []


@pytest.mark.parametrize(
    "bad",
    [
        3,
        {},
        canonical_event(id=""),
        canonical_event(id=None),
        canonical_event(id=7),
        canonical_event(id="x" * 600),
        canonical_event(id="a\nb"),
        canonical_event(source=""),
        canonical_event(source="/integrations/pagerduty/int_1"),
        canonical_event(source="/dispatcher"),
        canonical_event(specversion="0.3"),
        canonical_event(time="yesterday"),
        canonical_event(time="2026-11-22T10:00:00"),
        canonical_event(time=5),
        canonical_event(**{"Bad-Name": "x"}),
        canonical_event(data=None),
        canonical_event(data=[1]),
        canonical_event(data={"service": "no title"}),
        canonical_event(data={"title": 3}),
        canonical_event(data={"title": "t", "severity": "critical"}),
        canonical_event(data={"title": "t", "status": "open"}),
        canonical_event(data={"title": "t", "kind": "x"}),
        canonical_event(data={"title": "t", "unheard_of": 1}),
        canonical_event(data={"title": "t", "raw_ref": "sha256/00"}),
        canonical_event(data={"title": "t", "integration_id": "other"}),
        canonical_event(data={"title": "t", "labels": {"a": 1}}),
        canonical_event(data={"title": "t", "event_time": "soon"}),
        canonical_event(data={"title": "t", "event_time": True}),
        canonical_event(data_base64="!!"),
        {**canonical_event(), "data_base64": "e30="},
        canonical_event(type="com.incidents.command.acknowledge.v1"),
        canonical_event(type="com.incidents.declared.v1"),
        canonical_event(type="com.example.unmapped", data={"x": 1}),
    ],
)
def test_one_bad_event_refuses_the_batch_and_is_named(bad: Any) -> None:
    assert refused([canonical_event(), bad, canonical_event(id="e-3")], BATCH).index == 1
    assert refused(bad).index == -1


def test_a_batch_is_an_array_and_not_too_long() -> None:
    assert refused({}, BATCH).index == -1
    assert "1000" in refused([canonical_event()] * 1001, BATCH).detail


def test_canonical_data_may_come_under_another_type() -> None:
    [(envelope, data)] = parse(canonical_event(type="org.example.alert"))
    assert isinstance(data, Signal)
    assert envelope.type == "com.incidents.signal.v1"


def test_a_mapping_is_used_and_what_fits_no_rule_is_kept() -> None:
    mapped = parse(canonical_event(type="com.example.a", data={"name": 5}), config=MAPPING)
    kept = parse(canonical_event(type="org.example.a", data={"name": "x"}), config=MAPPING)
    assert isinstance(mapped[0][1], Signal)
    assert mapped[0][1].title == "5"
    assert isinstance(kept[0][1], ProviderIngested)
    assert (kept[0][1].action, kept[0][1].problem, kept[0][0].source) == ("none", "", "https://monitor.example.org")


def test_a_mapping_cannot_reach_reserved_types() -> None:
    everything = {"mapping": {"rules": [{"type": "*", "fields": {"title": {"value": "x"}}}]}}
    assert "product's own" in refused(canonical_event(type="com.incidents.closed.v1"), config=everything).detail


def test_a_mapping_that_finds_no_title_refuses_the_event() -> None:
    assert "title" in refused(canonical_event(type="com.example.a", data={}), config=MAPPING).detail


def test_times_are_taken_from_the_data_first() -> None:
    data = {"title": "t", "event_time": "2020-01-01T00:00:00Z"}
    [(_, found)] = parse(canonical_event(data=data))
    assert isinstance(found, Signal)
    assert found.event_time == milliseconds("2020-01-01T00:00:00Z")
    assert AT
