"""The codec: what is written is read, what is damaged is refused, and the CloudEvents SDK agrees."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import fastavro
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.base import Format
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from streams.codec import avro, binary, cloudevents
from streams.domain.catalogue import CATALOGUE, SIGNAL, TYPE_OF
from streams.domain.envelope import Envelope, milliseconds, rfc3339
from streams.domain.errors import InvalidEvent, UnknownSchema
from streams.domain.signals import Signal
from tests.catalogue.reading import example_of


def examples() -> list[Any]:
    found = []
    for spec in CATALOGUE:
        number = schemas.versions(spec.type)[-1]
        for _, example in schemas.examples(spec.type, number):
            writer = avro._parsed(spec.type, number)
            found.append(avro.decode(spec.type, avro.data_schema(spec.type, number), example_of(writer, example)))
    return found


def envelope_of(type_: str) -> Envelope:
    return Envelope(
        id="e-1", source="/s", type=type_, tenantid="acme", subject="i-1", time=rfc3339(1_780_000_000_000),
        correlationid="c", causationid="d", sequence=3, tenantsequence=9, recordedtime=1_780_000_000_000,
        intakespan="0:1:2", decider="1", prevhash="aa", hash="bb", datadigest="cc", datasalt="dd",
    )  # fmt: skip


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.type)
def test_what_is_written_is_read(spec: Any) -> None:
    for data in (example for example in examples() if type(example) is spec.data):
        value, headers = cloudevents.encode(envelope_of(spec.type), data)
        assert cloudevents.decode(headers, value) == (envelope_of(spec.type), data)


@settings(max_examples=100, deadline=None)
@given(st.builds(Signal, st.text()))
def test_any_signal_survives(data: Signal) -> None:
    value, headers = cloudevents.encode(Envelope("i", "/s", SIGNAL, "acme"), data)
    assert cloudevents.decode(headers, value)[1] == data


class RawFormat(Format):
    """The SDK's format port for data that is bytes already."""

    def read(self, *arguments: Any) -> Any:
        raise NotImplementedError

    def write(self, *arguments: Any) -> Any:
        raise NotImplementedError

    def write_data(self, data: Any, datacontenttype: Any) -> bytes:
        del datacontenttype
        return bytes(data)

    def read_data(self, body: Any, datacontenttype: Any) -> Any:
        del datacontenttype
        return body

    def get_content_type(self) -> str:
        return "application/cloudevents+avro"


def test_the_sdk_reads_what_the_codec_writes() -> None:
    data = Signal("High latency", fingerprint="f")
    value, headers = cloudevents.encode(envelope_of(SIGNAL), data)
    event = from_binary(KafkaMessage(headers=dict(headers), key=None, value=value), RawFormat(), CloudEvent)
    attributes = event.get_attributes()
    assert (attributes["id"], attributes["source"], attributes["type"]) == ("e-1", "/s", SIGNAL)
    assert attributes["tenantid"] == attributes["partitionkey"] == "acme"
    assert attributes["datacontenttype"] == "application/avro"
    assert avro.decode(SIGNAL, attributes["dataschema"], event.get_data()) == data  # type: ignore[arg-type]  # bytes here


def test_the_codec_reads_what_the_sdk_writes() -> None:
    data = Signal("High latency", fingerprint="f")
    value, uri = avro.encode(data)
    attributes = {"id": "e-1", "source": "/s", "type": SIGNAL, "specversion": "1.0", "tenantid": "acme"}
    event = CloudEvent({**attributes, "dataschema": uri, "datacontenttype": cloudevents.CONTENT_TYPE}, value)
    message = to_binary(event, RawFormat())
    headers = [(name, content) for name, content in message.headers.items() if name != "ce_time"]
    assert cloudevents.decode(headers, message.value) == (Envelope("e-1", "/s", SIGNAL, "acme"), data)


def written() -> tuple[bytes, dict[str, bytes]]:
    value, headers = cloudevents.encode(Envelope("i", "/s", SIGNAL, "acme"), Signal("t"))
    return value, dict(headers)


@pytest.mark.parametrize(
    ("header", "content", "reason"),
    [
        ("ce_id", None, "not-a-cloudevent"),
        ("ce_sequence", b"x", "not-a-cloudevent"),
        ("ce_subject", b"\xff", "not-a-cloudevent"),
        ("content-type", b"application/json", "unexpected-content-type"),
        ("ce_dataschema", b"https://elsewhere.example/schema", "unknown-schema"),
        ("ce_type", b"com.incidents.no.such.v1", "unknown-type"),
        ("ce_type", b"com.incidents.declared.v1", "unknown-type"),
    ],
)
def test_damaged_headers_are_refused_by_name(header: str, content: bytes | None, reason: str) -> None:
    value, headers = written()
    headers.pop(header, None)
    if content is not None:
        headers[header] = content
    with pytest.raises(InvalidEvent) as error:
        cloudevents.decode(list(headers.items()), value)
    assert error.value.reason == reason


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\xff" * 40])
def test_damaged_data_is_refused(damage: bytes) -> None:
    _, headers = written()
    with pytest.raises(InvalidEvent, match="undecodable-data"):
        cloudevents.decode(list(headers.items()), damage)
    with pytest.raises(InvalidEvent, match="undecodable-data"):
        cloudevents.decode(list(headers.items()), written()[0] + b"x")
    with pytest.raises(InvalidEvent, match="unexpected-content-type"):
        cloudevents.decode(list(headers.items()), None)


def test_a_newer_schema_is_no_poison() -> None:
    value, headers = written()
    headers["ce_dataschema"] = headers["ce_dataschema"].replace(b":1#", b":2#")
    with pytest.raises(UnknownSchema):
        cloudevents.decode(list(headers.items()), value)


def test_times_are_milliseconds_in_utc() -> None:
    assert rfc3339(1_780_000_000_123) == "2026-05-28T20:26:40.123Z"
    assert milliseconds("2026-05-28T22:26:40.123999999+02:00") == 1_780_000_000_123
    for bad in ("2026-05-28T22:26:40", "yesterday", ""):
        with pytest.raises(ValueError, match=r".*"):
            milliseconds(bad)


def test_every_field_of_the_envelope_travels() -> None:
    full = envelope_of(SIGNAL)
    assert all(getattr(full, field.name) for field in dataclasses.fields(Envelope) if field.name not in UNUSED)
    value, headers = cloudevents.encode(full, Signal("t"))
    assert cloudevents.decode(headers, value)[0] == full


UNUSED = {"traceparent", "dataclass", "dataref"}


def with_fastavro(data: Any) -> bytes:
    type_ = TYPE_OF[type(data)]
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, avro._parsed(type_, schemas.versions(type_)[-1]), dataclasses.asdict(data))
    return buffer.getvalue()


@pytest.mark.parametrize("data", examples(), ids=lambda data: type(data).__name__)
def test_fastavro_writes_the_same_bytes(data: Any) -> None:
    assert avro.encode(data)[0] == with_fastavro(data)


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        Signal,
        st.text(max_size=200),
        event_time=st.integers(-(2**63), 2**63 - 1),
        labels=st.dictionaries(st.text(max_size=100), st.text(max_size=100), max_size=5),
        raw=st.binary(max_size=200),
    )
)
def test_fastavro_writes_the_same_bytes_of_any_signal(data: Signal) -> None:
    assert avro.encode(data)[0] == with_fastavro(data)


def test_what_is_kept_encoded_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_KEPT", 5)
    binary._LONGS.clear()
    for n in range(100):
        data = Signal(f"title {n}", event_time=n)
        assert avro.encode(data)[0] == with_fastavro(data)
        assert len(binary._TEXTS) <= 5
        assert len(binary._LONGS) <= 5


def test_numbers_that_avro_cannot_hold_are_refused() -> None:
    with pytest.raises(OverflowError):
        avro.encode(Signal("t", event_time=2**63))
